//! Linux's `.config`: lines merged into it, and lines checked against it, pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    error::Fallen,
    fragments::Line,
    kconfig::Kconfig,
    setting::{Setting, Value},
};

/// The values of a `.config` by symbol, with `CONFIG_`. Symbols that are not set are not there.
pub(super) fn values(config: &str) -> BTreeMap<&str, &str> {
    config
        .lines()
        .filter(|line| line.starts_with("CONFIG_"))
        .filter_map(|line| line.split_once('='))
        .collect()
}

/// Returns the `.config` with our lines in place of its own.
///
/// Of a choice, Linux takes one of several that are set, and says nothing. So all others of a choice are turned off,
/// where a line turns one on; a line of the declaration wins over ours.
pub(super) fn merge(config: &str, lines: &[Line], kconfig: &Kconfig) -> (String, Vec<Line>) {
    let lines = without_rivals(lines, kconfig);
    let named: BTreeSet<&str> = lines.iter().map(|line| line.setting.symbol.as_str()).collect();
    let mut rivals = BTreeSet::new();
    for line in lines.iter().filter(|line| line.setting.value == Value::Yes) {
        rivals.extend(kconfig.rivals(line.setting.name()).map(|name| format!("CONFIG_{name}")));
    }
    rivals.retain(|symbol| !named.contains(symbol.as_str()));
    let replaced =
        |line: &&str| symbol(line).is_some_and(|symbol| named.contains(symbol) || rivals.contains(symbol));
    let mut merged = String::new();
    for line in config.lines().filter(|line| !replaced(line)) {
        merged.push_str(line);
        merged.push('\n');
    }
    let off = |symbol: String| Setting { symbol, value: Value::No };
    for setting in rivals.into_iter().map(off).chain(lines.iter().map(|line| line.setting.clone())) {
        merged.push_str(&setting.line());
        merged.push('\n');
    }
    (merged, lines)
}

/// Returns the lines without those of ours that choose other than the declaration.
fn without_rivals(lines: &[Line], kconfig: &Kconfig) -> Vec<Line> {
    let chosen = lines.iter().filter(|line| line.origin.is_none() && line.setting.value == Value::Yes);
    let rivals: BTreeSet<&str> = chosen.flat_map(|line| kconfig.rivals(line.setting.name())).collect();
    let loses = |line: &Line| {
        line.origin.is_some() && line.setting.value == Value::Yes && rivals.contains(line.setting.name())
    };
    lines.iter().filter(|line| !loses(line)).cloned().collect()
}

/// Returns the symbol of a line of a `.config`.
fn symbol(line: &str) -> Option<&str> {
    match line.strip_prefix("# ") {
        Some(rest) => rest.strip_suffix(" is not set"),
        None => line.split_once('=').map(|(symbol, _)| symbol),
    }
}

/// Returns the lines that do not stand in the final `.config`, in their order.
pub(super) fn fallen(config: &str, lines: &[Line], kconfig: &Kconfig) -> Vec<Fallen> {
    let values = values(config);
    let mut fallen = Vec::new();
    for line in lines {
        let found = values.get(line.setting.symbol.as_str()).copied();
        let stands = match &line.setting.value {
            Value::Yes => found == Some("y"),
            Value::No => found.is_none(),
            Value::Number(number) => found == Some(number),
            Value::Text(text) => {
                found.and_then(|found| found.strip_prefix('"')?.strip_suffix('"')) == Some(text)
            }
        };
        if !stands {
            let name = line.setting.name();
            let is_on = |name: &str| values.contains_key(format!("CONFIG_{name}").as_str());
            fallen.push(Fallen {
                line: line.setting.to_string(),
                fragment: line.origin,
                found: found.map(str::to_owned),
                is_known: kconfig.knows(name),
                lacking: if found.is_none() { kconfig.lacking(name, is_on) } else { Vec::new() },
            });
        }
    }
    fallen
}

#[cfg(test)]
mod tests {
    use super::*;

    const KCONFIG: &str = "\
choice
\tprompt \"Kernel compression mode\"
config KERNEL_GZIP
\tbool \"Gzip\"
config KERNEL_XZ
\tbool \"XZ\"
config KERNEL_ZSTD
\tbool \"ZSTD\"
endchoice
menuconfig MISC_FILESYSTEMS
\tbool \"Miscellaneous filesystems\"
if MISC_FILESYSTEMS
config EROFS_FS
\ttristate \"EROFS filesystem support\"
\tdepends on BLOCK && !BROKEN
endif
config HZ
\tint
";

    fn kconfig() -> Kconfig {
        let mut kconfig = Kconfig::default();
        kconfig.add(KCONFIG);
        kconfig
    }

    fn line(text: &str, origin: Option<&'static str>) -> Line {
        Line { setting: Setting::parse(text).unwrap(), origin }
    }

    #[test]
    fn lines_take_the_place_of_those_that_are_there() {
        let config = "# head\n# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=3\n";
        let lines = [line("CONFIG_A=y", None), line("CONFIG_B=n", None), line("CONFIG_D=\"x\"", None)];
        let (merged, kept) = merge(config, &lines, &kconfig());
        assert_eq!(merged, "# head\nCONFIG_C=3\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_D=\"x\"\n");
        assert_eq!(kept, lines);
    }

    #[test]
    fn of_a_choice_the_declaration_wins_and_the_others_are_turned_off() {
        let config = "CONFIG_KERNEL_GZIP=y\n# CONFIG_KERNEL_XZ is not set\n";
        let ours = line("CONFIG_KERNEL_XZ=y", Some("common"));
        let (merged, _) = merge(config, std::slice::from_ref(&ours), &kconfig());
        assert_eq!(
            merged,
            "# CONFIG_KERNEL_GZIP is not set\n# CONFIG_KERNEL_ZSTD is not set\nCONFIG_KERNEL_XZ=y\n"
        );
        let declared = line("CONFIG_KERNEL_ZSTD=y", None);
        let (merged, kept) = merge(config, &[ours, declared.clone()], &kconfig());
        assert!(merged.ends_with("# CONFIG_KERNEL_XZ is not set\nCONFIG_KERNEL_ZSTD=y\n"));
        assert_eq!(kept, [declared]);
    }

    #[test]
    fn a_line_that_vanished_is_told_with_what_it_needs() {
        let lines = [
            line("CONFIG_EROFS_FS=y", Some("common")),
            line("CONFIG_NO_SUCH=y", None),
            line("CONFIG_HZ=100", None),
            line("CONFIG_BLOCK=y", None),
            line("CONFIG_GONE=n", None),
        ];
        let told: Vec<String> = fallen("CONFIG_HZ=250\nCONFIG_BLOCK=y\n", &lines, &kconfig())
            .iter()
            .map(Fallen::to_string)
            .collect();
        assert_eq!(
            told,
            [
                "CONFIG_EROFS_FS=y (fragment common) is not set; it needs MISC_FILESYSTEMS",
                "CONFIG_NO_SUCH=y is not set; no symbol of this Linux has the name",
                "CONFIG_HZ=100 became 250",
            ]
        );
    }

    #[test]
    fn texts_and_absence_are_compared() {
        let config = "CONFIG_A=\"x y\"\nCONFIG_B=0x10\n# CONFIG_C is not set\nCONFIG_D=m\n";
        let good = [line("CONFIG_A=\"x y\"", None), line("CONFIG_B=0x10", None), line("CONFIG_C=n", None)];
        assert!(fallen(config, &good, &kconfig()).is_empty());
        for text in
            ["CONFIG_A=\"x\"", "CONFIG_B=16", "CONFIG_C=y", "CONFIG_D=y", "CONFIG_D=n", "CONFIG_E=\"\""]
        {
            assert_eq!(fallen(config, &[line(text, None)], &kconfig()).len(), 1, "{text}");
        }
    }
}
