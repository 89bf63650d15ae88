//! Recognizes a VMDK by its first bytes.

use std::borrow::Cow;

/// The kind of a file, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A hosted sparse extent.
    Sparse,
    /// A descriptor in a file of its own.
    Descriptor,
    /// An older sparse extent of ESX.
    EsxSparse,
    /// A newer sparse extent of ESX.
    SeSparse,
}

/// The first four bytes of a hosted sparse extent.
pub const SPARSE_MAGIC: [u8; 4] = *b"KDMV";
/// The byte order mark of UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const ESX_MAGIC: &[u8] = b"COWD";
const SE_MAGIC: &[u8] = b"\xbe\xba\xfe\xca\0\0\0\0\x01\0\0\0\x02\0\0\0";

/// Returns a text's bytes without a byte order mark. UTF-16 becomes ASCII, with `?` for other characters.
fn narrow(first: &[u8]) -> Cow<'_, [u8]> {
    let is_big_endian = match first {
        [0xff, 0xfe, ..] => false,
        [0xfe, 0xff, ..] => true,
        _ => return Cow::Borrowed(first.strip_prefix(BYTE_ORDER_MARK).unwrap_or(first)),
    };
    let ascii = |unit: &[u8; 2]| match if is_big_endian { [unit[1], unit[0]] } else { *unit } {
        [byte, 0] => byte,
        _ => b'?',
    };
    first.as_chunks::<2>().0.iter().skip(1).map(ascii).collect()
}

/// Whether a file that begins with these bytes is a VMDK of a supported kind: a hosted sparse
/// extent, or a descriptor. 1 KiB is enough.
#[must_use]
pub fn looks_like(first: &[u8]) -> bool {
    matches!(mark(first), Some(Mark::Sparse | Mark::Descriptor))
}

/// Whether a file that begins with these bytes is a VMDK descriptor. Its first line apart from
/// blank lines and other comments must be `# Disk DescriptorFile`, in any case; some writers put a
/// blank into the second word.
#[must_use]
pub fn looks_like_descriptor(first: &[u8]) -> bool {
    let text = &*narrow(first);
    for line in text.split(|&byte| byte == b'\n' || byte == b'\r') {
        let line = line.trim_ascii();
        let Some(comment) = line.strip_prefix(b"#") else {
            if line.is_empty() {
                continue;
            }
            return false;
        };
        let begins = |mark: &[u8]| {
            comment.trim_ascii_start().get(..mark.len()).is_some_and(|found| found.eq_ignore_ascii_case(mark))
        };
        if begins(b"disk descriptorfile") || begins(b"disk descriptor file") {
            return true;
        }
    }
    false
}

/// Whether a text is a descriptor without its first comment: its first line apart from blank lines
/// and comments is `version=` and a number. This is too weak to recognize a VMDK; use it only if
/// the format is known.
#[must_use]
pub fn is_bare_descriptor(first: &[u8]) -> bool {
    let text = &*narrow(first);
    let mut lines = text.split(|&byte| byte == b'\n' || byte == b'\r').map(<[u8]>::trim_ascii);
    let Some(line) = lines.find(|line| !line.is_empty() && !line.starts_with(b"#")) else {
        return false;
    };
    let Some((key, value)) = line.split_at_checked(7) else {
        return false;
    };
    let number = value.trim_ascii_start().strip_prefix(b"=").map(<[u8]>::trim_ascii);
    let is_number = |number: &[u8]| {
        let number = number.strip_prefix(b"\"").and_then(|n| n.strip_suffix(b"\"")).unwrap_or(number);
        !number.is_empty() && number.iter().all(u8::is_ascii_digit)
    };
    key.eq_ignore_ascii_case(b"version") && number.is_some_and(is_number)
}

/// Tells the kind of a VMDK by its first bytes; `None` for anything else.
#[must_use]
pub fn mark(first: &[u8]) -> Option<Mark> {
    if first.starts_with(&SPARSE_MAGIC) {
        Some(Mark::Sparse)
    } else if first.starts_with(ESX_MAGIC) {
        Some(Mark::EsxSparse)
    } else if first.starts_with(SE_MAGIC) {
        Some(Mark::SeSparse)
    } else {
        looks_like_descriptor(first).then_some(Mark::Descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_told_however_they_are_written() {
        for text in [
            "# Disk DescriptorFile\nversion=1\n",
            "# Disk Descriptor File\r\nversion=1\r\n",
            "#disk descriptorfile",
            "\u{feff}# DISK DESCRIPTORFILE \n",
            "\n  \t\n# made by hand\n  # Disk DescriptorFile\n",
        ] {
            assert!(looks_like(text.as_bytes()), "{text:?}");
        }
        for text in ["", "#", "version=1\n# Disk DescriptorFile\n", "# Disk", "Disk DescriptorFile", "COWD"] {
            assert!(!looks_like(text.as_bytes()), "{text:?}");
        }
        assert!(looks_like(b"KDMV"));
        let text = "# Disk DescriptorFile\r\nversion=1";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert!(looks_like(&[b"\xff\xfe", &little[..]].concat()));
        assert!(looks_like(&[b"\xfe\xff", &big[..]].concat()));
        assert!(!looks_like(&little), "nothing says that it is UTF-16");
        for text in ["version=1\n", "# mine\r\n\n Version = \"3\" \nCID=1", "\u{feff}version=2"] {
            assert!(is_bare_descriptor(text.as_bytes()) && !looks_like(text.as_bytes()), "{text:?}");
        }
        for text in ["", "version", "version=", "version=x", "CID=1\nversion=1", "versions=1", "version 1"] {
            assert!(!is_bare_descriptor(text.as_bytes()), "{text:?}");
        }
    }
}
