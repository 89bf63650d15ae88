//! The parent of a differencing disk, as its descriptor names it.
//!
//! VMware's products write `parentCID` and `parentFileNameHint`, VirtualBox `ddb.uuid.parent` alone,
//! native snapshots `ddb.nativeParentHint`. A reader that misses one of them reads zeros instead of the
//! parent's data. Therefore every key that contains "parent" counts, in any spelling.

use std::fmt;

use crate::vmdk::layout::lines::{lines, shown};

/// The parent of a differencing disk; at least one field is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parent {
    /// The name of its file when the child was made: a hint.
    pub file: Option<String>,
    /// Its content id, as 8 hexadecimal digits.
    pub cid: Option<String>,
    /// Its UUID.
    pub uuid: Option<String>,
    /// Any other key that names it, with the value.
    pub other: Option<String>,
}

/// Returns a key or an id in lower case, without blanks, quotes, braces and parentheses.
pub(crate) fn bare(text: &str) -> String {
    let is_around = |char: char| char.is_whitespace() || matches!(char, '"' | '\'' | '{' | '}' | '(' | ')');
    text.chars().filter(|&char| !is_around(char)).collect::<String>().to_lowercase()
}

/// Whether an id means "none": it is empty or all zeros.
fn is_none(id: &str) -> bool {
    id.strip_prefix("0x").unwrap_or(id).chars().all(|char| matches!(char, '0' | '-'))
}

/// Parses a content id, a 32-bit hexadecimal number.
pub(crate) fn cid(value: &str) -> Option<u32> {
    let id = bare(value);
    let digits = id.strip_prefix("0x").unwrap_or(&id);
    let is_number = digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

impl Parent {
    /// Returns the parent that a descriptor's text names, if any. The first line that sets a field counts.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let mut parent = Self::default();
        for line in lines(text).filter(|line| !line.starts_with('#')) {
            if let Some((key, value)) = line.split_once('=') {
                parent.note(&bare(key), value.trim());
            }
        }
        (parent != Self::default()).then_some(parent)
    }

    fn note(&mut self, key: &str, value: &str) {
        if !key.contains("parent") {
            return;
        }
        let id = bare(value);
        let name = value.trim_matches(|char: char| char.is_whitespace() || matches!(char, '"' | '\''));
        let is_file = key.contains("hint") || key.contains("file") || key.contains("name");
        let (slot, found) = if is_file {
            (&mut self.file, (!name.is_empty()).then(|| shown(name)))
        } else if key == "parentcid" {
            // Parsing the descriptor reports any other text.
            let number = cid(value).filter(|number| ![0, u32::MAX].contains(number));
            (&mut self.cid, number.map(|number| format!("{number:08x}")))
        } else if is_none(&id) || id == "ffffffff" {
            return;
        } else if key == "ddb.uuid.parent" {
            (&mut self.uuid, Some(shown(&id)))
        } else {
            (&mut self.other, Some(format!("{} = {}", shown(key), shown(&id))))
        };
        *slot = slot.take().or(found);
    }
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_ref().map(|file| format!("{file:?}"));
        let uuid = self.uuid.as_ref().map(|uuid| format!("{{{uuid}}}"));
        let cid = self.cid.as_ref().map(|cid| format!("content id {cid}"));
        let known: Vec<_> = [file, uuid, cid].into_iter().flatten().collect();
        match (&known[..], &self.other) {
            ([], Some(other)) => f.write_str(other),
            _ => f.write_str(&known.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_told_however_its_key_and_value_are_spelt() {
        let uuid = "9f8e7d6c-5b4a-3928-1706-f5e4d3c2b1a0";
        for line in [
            format!("ddb.uuid.parent=\"{uuid}\""),
            format!("DDB.UUID.Parent = \"{{{}}}\"", uuid.to_uppercase()),
            format!("\tddb.uuid.parent\t=\t'{uuid}'"),
            format!("ddb.uuid.parent={uuid}"),
            format!("\"ddb.uuid.parent\" = \"{uuid}"),
            format!("ddb.uuid.parent=\"\"\rddb.uuid.parent=\"{uuid}\""),
        ] {
            let parent = Parent::of(&line).expect(&line);
            assert_eq!(parent.to_string(), format!("{{{uuid}}}"), "{line}");
        }
        for (line, shown) in [
            ("parentCID=0badcafe", "content id 0badcafe"),
            (" PARENTcid = \"0BADCAFE\" ", "content id 0badcafe"),
            ("parentCID=0xbadcafe", "content id 0badcafe"),
            ("parentCID=ffffffff\nparentCID=1", "content id 00000001"),
            ("parentFileNameHint=base.vmdk", "\"base.vmdk\""),
            ("parentCID=ffffffff\r\nparentfilenamehint = \" base.vmdk \"", "\"base.vmdk\""),
            ("parentCID=1\nparentFileNameHint=\"b\"", "\"b\", content id 00000001"),
            ("ddb.nativeParentHint=\"x\"", "\"x\""),
            ("ddb.uuid.parentmodification=\"{1-2}\"", "ddb.uuid.parentmodification = 1-2"),
            ("ddb.nativeParentCID=\"12\"", "ddb.nativeparentcid = 12"),
        ] {
            assert_eq!(Parent::of(line).map(|parent| parent.to_string()).as_deref(), Some(shown), "{line}");
        }
    }

    #[test]
    fn ids_of_zeros_and_empty_names_are_no_parents() {
        let zeros = "00000000-0000-0000-0000-000000000000";
        for line in [
            format!("ddb.uuid.parent=\"{zeros}\""),
            format!("ddb.uuid.parent = {{{zeros}}}\nddb.uuid.parentmodification=\"{{{zeros}}}\""),
            "ddb.uuid.parent=\"\"".into(),
            "ddb.uuid.parent=".into(),
            "ddb.uuid.parent = \"00000000000000000000000000000000\"".into(),
            "parentCID=ffffffff".into(),
            "parentCID = \"FFFFFFFF\"".into(),
            "parentCID=00000000".into(),
            "parentFileNameHint=\"\"\nparentFileNameHint=\" \"".into(),
            "# parentCID=12345678\n  #ddb.uuid.parent=\"1\"".into(),
            "ddb.uuid.image=\"9f8e7d6c\"".into(),
        ] {
            assert_eq!(Parent::of(&line), None, "{line}");
        }
    }
}
