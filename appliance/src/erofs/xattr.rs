//! Extended attributes of an inode, stored behind it.
//!
//! A header of 12 bytes, then each attribute: length of the name without its class, class, length of the value (16
//! bits), name, value, zeros up to 4 bytes. The inode counts them in units of 4 bytes, and the header as one unit:
//! `struct erofs_xattr_ibody_header` and `struct erofs_xattr_entry`.

use std::collections::BTreeMap;

use super::error::ErofsError;

/// Attributes by full name.
type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

const HEADER_BYTES: u64 = 12;
const ENTRY_BYTES: u64 = 4;

/// Bytes of the header and all entries at most: the count has 16 bits.
const MAX_BYTES: u64 = HEADER_BYTES + (u16::MAX as u64 - 1) * 4;

/// Bytes of a full name at most: Linux's `XATTR_NAME_MAX`.
const NAME_BYTES: usize = 255;

/// Names that stand for a whole attribute, with their class.
const WHOLE: [(&[u8], u8); 2] = [(b"system.posix_acl_access", 2), (b"system.posix_acl_default", 3)];

/// Starts of names, with their class.
const STARTS: [(&[u8], u8); 3] = [(b"user.", 1), (b"trusted.", 4), (b"security.", 6)];

/// Splits a full name in class and rest.
fn class(name: &[u8]) -> Option<(u8, &[u8])> {
    if let Some((_, class)) = WHOLE.iter().find(|(whole, _)| *whole == name) {
        return Some((*class, b""));
    }
    STARTS.iter().find_map(|(start, class)| name.strip_prefix(*start).map(|rest| (*class, rest)))
}

fn entry_bytes(rest: &[u8], value: &[u8]) -> u64 {
    (ENTRY_BYTES + rest.len() as u64 + value.len() as u64).next_multiple_of(4)
}

/// Checks names and sizes of attributes. `path` is called only for an error.
pub(super) fn check(xattrs: &Xattrs, path: &dyn Fn() -> String) -> Result<(), ErofsError> {
    for (name, value) in xattrs {
        let text = || name.escape_ascii().to_string();
        let Some((_, rest)) = class(name) else {
            return Err(ErofsError::UnsupportedXattr { path: path(), name: text() });
        };
        let bare = rest.is_empty() && !WHOLE.iter().any(|(whole, _)| *whole == name.as_slice());
        if bare || name.len() > NAME_BYTES || name.contains(&0) {
            return Err(ErofsError::InvalidXattrName { path: path(), name: text(), length: name.len() });
        }
        if u16::try_from(value.len()).is_err() {
            return Err(ErofsError::XattrTooLong { path: path(), name: text(), length: value.len() });
        }
    }
    let length = bytes(xattrs);
    if length > MAX_BYTES {
        return Err(ErofsError::XattrsTooLong { path: path(), length });
    }
    Ok(())
}

/// Returns the bytes that attributes take behind their inode, 0 for none.
pub(super) fn bytes(xattrs: &Xattrs) -> u64 {
    if xattrs.is_empty() {
        return 0;
    }
    let entries = xattrs.iter().filter_map(|(name, value)| Some(entry_bytes(class(name)?.1, value)));
    HEADER_BYTES + entries.sum::<u64>()
}

/// Returns the count that the inode holds for attributes of `bytes` bytes.
pub(super) fn count(bytes: u64) -> u16 {
    if bytes == 0 {
        return 0;
    }
    u16::try_from((bytes - HEADER_BYTES) / 4 + 1).unwrap_or(u16::MAX)
}

/// Appends header and entries of checked attributes, by name.
pub(super) fn encode(xattrs: &Xattrs, output: &mut Vec<u8>) {
    if xattrs.is_empty() {
        return;
    }
    output.extend_from_slice(&[0; HEADER_BYTES as usize]);
    for (name, value) in xattrs {
        let Some((class, rest)) = class(name) else { continue };
        let (Ok(name_bytes), Ok(value_bytes)) = (u8::try_from(rest.len()), u16::try_from(value.len())) else {
            continue;
        };
        let end = output.len() + entry_bytes(rest, value) as usize;
        output.extend_from_slice(&[name_bytes, class]);
        output.extend_from_slice(&value_bytes.to_le_bytes());
        output.extend_from_slice(rest);
        output.extend_from_slice(value);
        output.resize(end, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_number() {
        let cases: [(&[u8], u8, &[u8]); 6] = [
            (b"user.a", 1, b"a"),
            (b"system.posix_acl_access", 2, b""),
            (b"system.posix_acl_default", 3, b""),
            (b"trusted.overlay.opaque", 4, b"overlay.opaque"),
            (b"security.capability", 6, b"capability"),
            (b"security.selinux", 6, b"selinux"),
        ];
        for (name, number, rest) in cases {
            assert_eq!(class(name), Some((number, rest)));
        }
        for name in [&b"system.nfs4_acl"[..], b"system.posix_acl_access.x", b"lustre.lov", b"usera", b""] {
            assert_eq!(class(name), None);
        }
    }

    #[test]
    fn an_attribute_is_header_entry_name_value_and_padding() {
        let xattrs = BTreeMap::from([(b"user.ab".to_vec(), b"xyz".to_vec())]);
        let mut output = Vec::new();
        encode(&xattrs, &mut output);
        assert_eq!(output, b"\0\0\0\0\0\0\0\0\0\0\0\0\x02\x01\x03\0abxyz\0\0\0");
        assert_eq!(output.len() as u64, bytes(&xattrs));
        assert_eq!(count(bytes(&xattrs)), 4);
    }
}
