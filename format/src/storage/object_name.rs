//! Names of objects.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

/// The most parts of a name.
pub(super) const PARTS_MAX: usize = 8;

/// The name of an object: one to eight parts with `/` between them, each of lower-case letters, digits,
/// `.`, `-`, `_` and `~`, and none of them `.` or `..`.
///
/// A name therefore never leads out of the place of a storage, whatever a back end makes of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(Cow<'static, str>);

/// The text is not the name of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the name of an object: one to eight parts of lower-case letters, digits, . - _ ~ with / between them"
)]
pub struct NotObjectName;

impl ObjectName {
    /// Takes a constant for a name. In a `static`, the compiler refuses one that is none.
    pub(crate) const fn constant(text: &'static str) -> Self {
        assert!(is_name(text), "not the name of an object");
        Self(Cow::Borrowed(text))
    }

    /// Takes a text that this crate made of parts of names.
    pub(crate) fn made(text: String) -> Self {
        debug_assert!(is_name(&text), "{text:?} is no name");
        Self(Cow::Owned(text))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut at, mut part_at, mut parts) = (0, 0, 1);
    while at <= bytes.len() {
        match if at < bytes.len() { bytes[at] } else { b'/' } {
            b'/' => {
                let len = at - part_at;
                let is_dots = len > 0
                    && bytes[part_at] == b'.'
                    && (len == 1 || (len == 2 && bytes[part_at + 1] == b'.'));
                if len == 0 || is_dots {
                    return false;
                }
                part_at = at + 1;
                parts += (at < bytes.len()) as usize;
            }
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {}
            _ => return false,
        }
        at += 1;
    }
    parts <= PARTS_MAX
}

impl FromStr for ObjectName {
    type Err = NotObjectName;

    fn from_str(text: &str) -> Result<Self, NotObjectName> {
        if is_name(text) { Ok(Self(Cow::Owned(text.to_owned()))) } else { Err(NotObjectName) }
    }
}

impl Deref for ObjectName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ObjectName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl From<ObjectName> for String {
    fn from(name: ObjectName) -> Self {
        name.0.into_owned()
    }
}

impl From<&ObjectName> for String {
    fn from(name: &ObjectName) -> Self {
        name.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_out_of_its_place() {
        for text in ["lock", "melv.store", "packs/0a", "refs/web/latest", "tmp/1-2/index/a", "a.b-c_d~e"] {
            assert_eq!(text.parse::<ObjectName>().as_deref(), Ok(text));
        }
        let nine = "1/2/3/4/5/6/7/8/9";
        for text in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "A", "a b", "a\0", "ä", nine] {
            assert_eq!(text.parse::<ObjectName>(), Err(NotObjectName), "{text:?}");
        }
    }
}
