//! The section `.modinfo` of a kernel module: texts `key=value`, each with a NUL (`include/linux/module.h` of Linux).

use object::{
    LittleEndian as LE,
    elf::FileHeader64,
    read::elf::{FileHeader as _, SectionHeader as _},
};

/// Texts of one section at most. A driver of many devices has a thousand aliases.
const MAX_TEXTS: usize = 65_536;

/// Facts that a module states about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModuleInfo {
    /// Name, with `_` for `-`.
    pub name: Option<String>,
    /// Modules that must be loaded before.
    pub depends: Vec<String>,
    /// Modules that are loaded before, if they are there.
    pub before: Vec<String>,
    /// Modules that are loaded after, if they are there.
    pub after: Vec<String>,
    /// Names that the kernel may ask for it by.
    pub aliases: Vec<String>,
    /// Release of the kernel, and options that change the layout of its structures.
    pub vermagic: Option<String>,
}

/// Reads the section of a module. `None` for a file that is no module of x86-64, or a damaged one.
#[must_use]
pub fn module_info(bytes: &[u8]) -> Option<ModuleInfo> {
    let header = FileHeader64::<LE>::parse(bytes).ok()?;
    let sections = header.sections(LE, bytes).ok()?;
    let (_, section) = sections.section_by_name(LE, b".modinfo")?;
    let texts = section.data(LE, bytes).ok()?;
    Some(texts_of(texts))
}

/// Reads the texts of a section.
fn texts_of(texts: &[u8]) -> ModuleInfo {
    let mut info = ModuleInfo::default();
    for text in texts.split(|byte| *byte == 0).take(MAX_TEXTS) {
        let Some((key, value)) = std::str::from_utf8(text).ok().and_then(|text| text.split_once('=')) else {
            continue;
        };
        match key {
            "name" => info.name = Some(plain(value)),
            "depends" => info.depends.extend(value.split(',').filter(|name| !name.is_empty()).map(plain)),
            "softdep" => soft(value, &mut info),
            "alias" => info.aliases.push(value.to_owned()),
            "vermagic" => info.vermagic = Some(value.to_owned()),
            _ => {}
        }
    }
    info
}

/// Reads `pre: a b post: c`.
fn soft(value: &str, info: &mut ModuleInfo) {
    let mut list: Option<&mut Vec<String>> = None;
    for word in value.split_whitespace() {
        match word {
            "pre:" => list = Some(&mut info.before),
            "post:" => list = Some(&mut info.after),
            name => {
                if let Some(list) = &mut list {
                    list.push(plain(name));
                }
            }
        }
    }
}

/// Returns a name as the kernel compares it: `-` and `_` are one.
pub(super) fn plain(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_a_section_are_read_and_others_passed_over() {
        let texts = b"license=GPL\0depends=virtio,virtio-ring\0softdep=pre: crc32c  post: b-c d\0alias=a\0alias=b*\0\0x\0vermagic=6.1 SMP\0name=a-b";
        let info = texts_of(texts);
        assert_eq!(info.depends, ["virtio", "virtio_ring"]);
        assert_eq!(
            (info.before, info.after),
            (vec!["crc32c".to_owned()], vec!["b_c".to_owned(), "d".to_owned()])
        );
        assert_eq!(info.aliases, ["a", "b*"]);
        assert_eq!((info.name.as_deref(), info.vermagic.as_deref()), (Some("a_b"), Some("6.1 SMP")));
        assert_eq!(texts_of(b"depends="), ModuleInfo::default());
        assert_eq!(texts_of(b"softdep=x pre:"), ModuleInfo::default());
    }
}
