//! Our own lines of the configuration, from `fragments/*.config`, pure.

use crate::declaration::Profile;

use super::{
    error::TailoredError,
    setting::{Setting, SettingFault, Value},
    version::Version,
};

/// A file of lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment {
    /// Name without its ending.
    pub(super) name: &'static str,
    /// The lines, each with its reason.
    pub(super) text: &'static str,
}

macro_rules! fragment {
    ($name:literal) => {
        Fragment { name: $name, text: include_str!(concat!("../fragments/", $name, ".config")) }
    };
}

const COMMON: Fragment = fragment!("common");
const PORTABLE: Fragment = fragment!("portable");
const MICRO: Fragment = fragment!("micro");
const INSECURE: Fragment = fragment!("insecure");
/// Lines whose symbols have other names in other versions.
const VERSIONED: [(Version, Fragment, Fragment); 2] = [
    (Version { major: 6, minor: 1 }, fragment!("linux-6.1"), fragment!("mitigations-6.1")),
    (Version { major: 6, minor: 12 }, fragment!("linux-6.12"), fragment!("mitigations-6.12")),
];

/// A line with the fragment that has it; none is the declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) setting: Setting,
    pub(super) origin: Option<&'static str>,
}

/// Returns the versions that have fragments.
pub(super) fn versions() -> Vec<Version> {
    VERSIONED.iter().map(|(version, ..)| *version).collect()
}

/// Returns all fragments that a kernel may be made of, whatever its version.
pub(super) fn candidates(profile: Profile, insecure: bool) -> Vec<Fragment> {
    let mut fragments = vec![COMMON, of(profile)];
    for (_, names, mitigations) in VERSIONED {
        fragments.extend([names, if insecure { INSECURE } else { mitigations }]);
    }
    fragments
}

fn of(profile: Profile) -> Fragment {
    match profile {
        Profile::Portable => PORTABLE,
        Profile::Micro => MICRO,
    }
}

/// Returns the lines of a kernel: those of the fragments, then those of the declaration, which take their place.
pub(super) fn lines(
    version: Version,
    profile: Profile,
    insecure: bool,
    declared: &[Setting],
) -> Result<Vec<Line>, TailoredError> {
    let found = VERSIONED.iter().find(|(known, ..)| *known == version);
    let (_, names, mitigations) =
        found.ok_or_else(|| TailoredError::Version { found: version, known: versions() })?;
    let protection = if insecure { INSECURE } else { *mitigations };
    let mut lines = Vec::new();
    for fragment in [COMMON, *names, of(profile), protection] {
        for setting in parse(fragment.text).map_err(TailoredError::Line)? {
            let line = Line { setting, origin: Some(fragment.name) };
            put(&mut lines, line, |old| old.origin == Some(mitigations.name))?;
        }
    }
    for setting in declared {
        let line = Line { setting: setting.clone(), origin: None };
        put(&mut lines, line, |old| old.origin == Some(mitigations.name))?;
    }
    Ok(lines)
}

/// Adds a line in the place of an earlier one for the same symbol.
fn put(lines: &mut Vec<Line>, line: Line, is_fixed: impl Fn(&Line) -> bool) -> Result<(), TailoredError> {
    let old = lines.iter_mut().find(|old| old.setting.symbol == line.setting.symbol);
    match old {
        None => lines.push(line),
        Some(old) if old.setting == line.setting => {}
        Some(old) if old.origin.is_none() => {
            let (first, second) = (old.setting.to_string(), line.setting.to_string());
            return Err(TailoredError::Contradiction { first, second });
        }
        Some(old) if is_fixed(old) => {
            return Err(TailoredError::Mitigation { line: line.setting.to_string() });
        }
        Some(old) => *old = line,
    }
    Ok(())
}

/// Reads a fragment: a setting a line, a reason behind `#`.
fn parse(text: &str) -> Result<Vec<Setting>, SettingFault> {
    let lines = text.lines().map(|line| line.split_once('#').map_or(line, |(setting, _)| setting).trim());
    lines.filter(|line| !line.is_empty()).map(Setting::parse).collect()
}

/// Programs that pack the kernel, by the symbol that chooses them.
const COMPRESSORS: [(&str, &str); 7] = [
    ("CONFIG_KERNEL_GZIP", "gzip"),
    ("CONFIG_KERNEL_BZIP2", "bzip2"),
    ("CONFIG_KERNEL_LZMA", "lzma"),
    ("CONFIG_KERNEL_XZ", "xz"),
    ("CONFIG_KERNEL_LZO", "lzop"),
    ("CONFIG_KERNEL_LZ4", "lz4"),
    ("CONFIG_KERNEL_ZSTD", "zstd"),
];

/// Returns the program that packs the kernel: the declaration's choice, else ours.
pub(super) fn compressor(profile: Profile, declared: &[Setting]) -> &'static str {
    let ours = parse(of(profile).text).unwrap_or_default();
    let chosen = |settings: &[Setting]| {
        let yes = |symbol| settings.iter().any(|line| line.symbol == symbol && line.value == Value::Yes);
        COMPRESSORS.iter().find(|(symbol, _)| yes(*symbol)).map(|(_, program)| *program)
    };
    chosen(declared).or_else(|| chosen(&ours)).unwrap_or("gzip")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Profile; 2] = [Profile::Portable, Profile::Micro];

    fn settings(lines: &[&str]) -> Vec<Setting> {
        lines.iter().map(|line| Setting::parse(line).unwrap()).collect()
    }

    #[test]
    fn every_line_of_every_fragment_has_a_value_and_a_reason() {
        for profile in BOTH {
            for fragment in [candidates(profile, true), candidates(profile, false)].concat() {
                let mut symbols = Vec::new();
                for line in fragment.text.lines().filter(|line| line.starts_with(|c: char| c != '#')) {
                    let (setting, reason) = line.split_once('#').expect(line);
                    let setting = Setting::parse(setting.trim()).unwrap();
                    assert!(reason.trim().len() > 3, "{line}");
                    assert!(!symbols.contains(&setting.symbol), "{}: {line}", fragment.name);
                    symbols.push(setting.symbol);
                }
                assert!(!symbols.is_empty());
            }
        }
    }

    #[test]
    fn mitigations_are_on_unless_the_declaration_is_insecure() {
        for version in versions() {
            for profile in BOTH {
                let has = |insecure, text: &str| {
                    let lines = lines(version, profile, insecure, &[]).unwrap();
                    lines.iter().any(|line| line.setting.to_string() == text)
                };
                assert!(has(false, "CONFIG_CPU_MITIGATIONS=y") && !has(false, "CONFIG_CPU_MITIGATIONS=n"));
                assert!(has(true, "CONFIG_CPU_MITIGATIONS=n") && !has(true, "CONFIG_CPU_MITIGATIONS=y"));
            }
        }
    }

    #[test]
    fn the_declaration_replaces_our_lines_but_mitigations() {
        let version = Version { major: 6, minor: 1 };
        let of = |insecure, texts: &[&str]| lines(version, Profile::Portable, insecure, &settings(texts));
        let replaced = of(false, &["CONFIG_IPV6=n", "CONFIG_NUMA=y"]).unwrap();
        let count = |name| replaced.iter().filter(|line| line.setting.symbol == name).count();
        assert_eq!((count("CONFIG_IPV6"), count("CONFIG_NUMA")), (1, 1));
        let fault = of(false, &["CONFIG_RETPOLINE=n"]).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "CONFIG_RETPOLINE=n turns a mitigation off, and the declaration is not insecure"
        );
        assert!(of(false, &["CONFIG_RETPOLINE=y"]).is_ok());
        assert!(of(true, &["CONFIG_RETPOLINE=n"]).is_ok());
    }

    #[test]
    fn a_declaration_that_contradicts_itself_is_refused() {
        let declared = settings(&["CONFIG_NUMA=y", "CONFIG_NUMA=y", "CONFIG_NUMA=n"]);
        let fault = lines(Version { major: 6, minor: 1 }, Profile::Micro, false, &declared).unwrap_err();
        assert_eq!(fault.to_string(), "the declaration says CONFIG_NUMA=y and CONFIG_NUMA=n");
    }

    #[test]
    fn another_version_is_refused_by_its_number() {
        let fault = lines(Version { major: 5, minor: 10 }, Profile::Micro, false, &[]).unwrap_err();
        assert_eq!(fault.to_string(), "the source is Linux 5.10; supported are 6.1, 6.12");
    }

    #[test]
    fn the_packer_is_the_one_that_the_lines_choose() {
        let of = |profile, lines: &[&str]| compressor(profile, &settings(lines));
        assert_eq!(of(Profile::Portable, &[]), "zstd");
        assert_eq!(of(Profile::Micro, &["CONFIG_KERNEL_LZ4=n"]), "xz");
        assert_eq!(of(Profile::Micro, &["CONFIG_KERNEL_LZ4=y"]), "lz4");
    }
}
