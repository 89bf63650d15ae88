//! Names of objects in the storage, and of images as users write them.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, Id, ImageId, ListId, PackId, PageFileId};
use crate::error::{BlockError, Error, Result};
use crate::limits::NAME_LEN_MAX;
use crate::ondisk::reference::is_name;
use crate::storage::ObjectName;

/// The store's header.
pub(crate) static STORE: ObjectName = ObjectName::constant("melv.store");
/// The lock for changing references and publishing objects.
pub(crate) static LOCK: ObjectName = ObjectName::constant("lock");
/// The header of a store that is being created.
pub(crate) static NEW_STORE: ObjectName = ObjectName::constant("tmp/melv.store");
/// The lock for merging and tidying the block index.
pub(crate) static INDEX_LOCK: ObjectName = ObjectName::constant("index/lock");
/// The notes of damage that readers found.
pub(crate) static INDEX_NOTES: ObjectName = ObjectName::constant("index/damaged");
/// Work in progress, with a folder for each writer.
pub(crate) const TMP: &str = "tmp";
pub(crate) const PACKS: &str = "packs";
/// The folder of packs, as a name that no object has.
pub(crate) static PACKS_FOLDER: ObjectName = ObjectName::constant(PACKS);
pub(crate) const LISTS: &str = "lists";
pub(crate) const LOCATORS: &str = "locators";
pub(crate) const PAGES: &str = "pages";
pub(crate) const MANIFESTS: &str = "manifests";
pub(crate) const REFS: &str = "refs";
/// The block index: a cache.
pub(crate) const INDEX: &str = "index";

/// Returns the name `folder/digest`, where a bundle's table or a listing gives the kind.
pub(super) fn object(folder: &str, digest: &Digest) -> ObjectName {
    ObjectName::made(format!("{folder}/{digest}"))
}

/// Returns the name of an object in the folder of a stage.
pub(crate) fn staged(folder: &str, part: &str) -> ObjectName {
    ObjectName::made(format!("{folder}/{part}"))
}

/// Returns the name of a pack.
pub(crate) fn pack(id: &PackId) -> ObjectName {
    object(PACKS, &id.digest())
}

/// Returns the name of a chunk list.
pub(crate) fn list(id: &ListId) -> ObjectName {
    object(LISTS, &id.digest())
}

/// Returns the name of the locator of a chunk list.
pub(crate) fn locator(list: &ListId) -> ObjectName {
    object(LOCATORS, &list.digest())
}

/// Returns the names of a chunk list and of its locator.
pub(crate) fn list_and_locator(id: &ListId) -> [ObjectName; 2] {
    [list(id), locator(id)]
}

/// Returns the name of a page file.
pub(crate) fn page_file(id: &PageFileId) -> ObjectName {
    object(PAGES, &id.digest())
}

/// Returns the name of the record of an image.
pub(crate) fn manifest(image: &ImageId) -> ObjectName {
    object(MANIFESTS, &image.digest())
}

/// Returns the digest in the last part of an object's name.
pub(crate) fn digest_of(name: &str) -> Option<Digest> {
    name.rsplit('/').next()?.parse().ok()
}

/// Returns the id in the last part of the name of an object, whose folder must be that of the id's kind.
pub(crate) fn id_of<I: Id>(name: &str) -> Option<I> {
    digest_of(name).map(I::new)
}

const EXPECTED_NAME: &str = "NAME or NAME:TAG of lower-case letters and digits with single . _ - between them, \
                             at most 255 bytes each";

/// A checked `NAME:TAG`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefName {
    name: String,
    tag: String,
}

impl RefName {
    /// Returns the part before the colon.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the part after the colon.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    pub(crate) fn object(&self) -> ObjectName {
        ObjectName::made(format!("{REFS}/{}/{}", self.name, self.tag))
    }

    pub(crate) fn from_object(object: &str) -> Option<Self> {
        let (name, tag) = object.strip_prefix(REFS)?.strip_prefix('/')?.split_once('/')?;
        format!("{name}:{tag}").parse().ok()
    }

    /// Derives a name from a file's stem. Invalid characters become dashes, and no two separators stay in
    /// a row. Returns `None` if nothing is left.
    #[must_use]
    pub fn from_stem(stem: &str) -> Option<Self> {
        let mut name = String::new();
        for char in stem.chars().flat_map(char::to_lowercase) {
            match char {
                'a'..='z' | '0'..='9' => name.push(char),
                '.' | '_' if name.ends_with(|last: char| last.is_ascii_alphanumeric()) => name.push(char),
                _ if name.ends_with(|last: char| last.is_ascii_alphanumeric()) => name.push('-'),
                _ => {}
            }
        }
        name.truncate(NAME_LEN_MAX);
        name.trim_matches(|last: char| !last.is_ascii_alphanumeric()).parse().ok()
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

impl FromStr for RefName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, tag) = text.split_once(':').unwrap_or((text, "latest"));
        if is_name(name) && is_name(tag) {
            Ok(Self { name: name.into(), tag: tag.into() })
        } else {
            let expected = if text.starts_with('@') {
                "NAME or NAME:TAG, not an image id, which begins with @"
            } else {
                EXPECTED_NAME
            };
            Err(BlockError::Invalid { what: "name", found: text.chars().take(300).collect(), expected }
                .into())
        }
    }
}

/// A user's reference to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageRef {
    /// `NAME[:TAG]`, or the first digits of an image id.
    Name(RefName),
    /// `@IMAGE-ID`.
    Id(ImageId),
    /// `@` and the first digits of a printed image id.
    ShortId(String),
}

/// The minimum number of digits of a short image id.
pub(crate) const PREFIX_DIGITS_MIN: usize = 6;
/// The number of digits of an image id.
const ID_DIGITS: usize = 64;

/// Whether these can be the first digits of an image id.
pub(crate) fn is_short_id(digits: &str) -> bool {
    (PREFIX_DIGITS_MIN..=ID_DIGITS).contains(&digits.len())
        && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

impl FromStr for ImageRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some(digits) = text.strip_prefix('@') else { return Ok(Self::Name(text.parse()?)) };
        match digits.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) if is_short_id(digits) => Ok(Self::ShortId(digits.into())),
            Err(_) => Err(BlockError::Invalid {
                what: "image id",
                found: text.chars().take(300).collect(),
                expected: "@ and the 64 lower-case hexadecimal digits of the id, or its first 6 or more",
            }
            .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_contract() {
        for good in ["a", "web-1", "debian_12.base:v1.2", "0", &"a".repeat(255)] {
            assert!(good.parse::<RefName>().is_ok(), "{good}");
        }
        for bad in
            ["", "A", "a..b", "../a", "a/b", "-a", "a-", "a:", ":a", "a:b:c", "a\0", "ä", &"a".repeat(256)]
        {
            assert!(bad.parse::<RefName>().is_err(), "{bad}");
        }
        assert_eq!("a".parse::<RefName>().map(|name| name.to_string()).ok(), Some("a:latest".into()));
    }

    #[test]
    fn ids_are_taken_as_they_are_printed() {
        let id = ImageId::from_bytes([0xab; 32]);
        assert_eq!(format!("@{id}").parse::<ImageRef>().ok(), Some(ImageRef::Id(id)));
        for digits in ["abcdef", "0123456", &"a".repeat(63)] {
            let parsed = format!("@{digits}").parse::<ImageRef>().ok();
            assert_eq!(parsed, Some(ImageRef::ShortId(digits.into())), "{digits}");
        }
        for bad in ["@", "@abcde", "@ABCDEF", "@abcdeg", "@web", &format!("@{}", "a".repeat(65))] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad}");
        }
        assert_eq!("abcdef".parse::<ImageRef>().ok(), "abcdef".parse().ok().map(ImageRef::Name));
    }

    #[test]
    fn stems_are_made_to_fit() {
        let made = |stem: &str| RefName::from_stem(stem).map(|name| name.name().to_owned());
        assert_eq!(made("My Disk (1)"), Some("my-disk-1".into()));
        assert_eq!(made("..web__server--"), Some("web_server".into()));
        assert_eq!(made("___"), None);
    }
}
