//! Decodes a descriptor's bytes to text; the only module that uses `encoding_rs`.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};

use crate::vmdk::VmdkViolation;
use melv_block::container::vmdk::BYTE_ORDER_MARK;

/// The replacement for bytes that are invalid in the descriptor's encoding.
pub(crate) const NO_TEXT: char = char::REPLACEMENT_CHARACTER;

/// Decodes the descriptor up to the first NUL, without its byte order mark; also returns whether
/// anything but NULs follows. A byte order mark selects UTF-16; otherwise the text names its
/// encoding, by default UTF-8. Invalid bytes become [`NO_TEXT`]: they are harmless in a comment,
/// but refused in an extent's name.
///
/// # Errors
/// [`VmdkViolation::Unsupported`] for an unknown encoding, and [`VmdkViolation::Descriptor`] for two conflicting
/// ones. Pure ASCII text never fails.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Cow<'_, str>, bool), VmdkViolation> {
    if let Some((wide, mark_len)) = Encoding::for_bom(bytes).filter(|(found, _)| *found != UTF_8) {
        let text = wide.decode_without_bom_handling(&bytes[mark_len..]).0.into_owned();
        let (text, rest) = text.split_at(text.find('\0').unwrap_or(text.len()));
        return Ok((Cow::Owned(text.to_owned()), rest.contains(|char| char != '\0')));
    }
    let (bytes, rest) = bytes.split_at(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
    Ok((decode_bytes(bytes)?, rest.iter().any(|&byte| byte != 0)))
}

fn decode_bytes(bytes: &[u8]) -> Result<Cow<'_, str>, VmdkViolation> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if let Some(text) = bytes.is_ascii().then(|| std::str::from_utf8(bytes).ok()).flatten() {
        return Ok(Cow::Borrowed(text));
    }
    Ok(declared(bytes)?.unwrap_or(UTF_8).decode_without_bom_handling(bytes).0)
}

/// Returns the encoding named by `encoding=` or `ddb.encoding=`; both lines are ASCII in every encoding.
fn declared(bytes: &[u8]) -> Result<Option<&'static Encoding>, VmdkViolation> {
    let mut declared: Option<&'static Encoding> = None;
    for (number, line) in bytes.split(|&byte| byte == b'\n' || byte == b'\r').enumerate() {
        let Some(equals) = line.iter().position(|&byte| byte == b'=') else {
            continue;
        };
        let (key, value) = (line[..equals].trim_ascii(), line[equals + 1..].trim_ascii());
        if !key.eq_ignore_ascii_case(b"encoding") && !key.eq_ignore_ascii_case(b"ddb.encoding") {
            continue;
        }
        let label = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        let found = Encoding::for_label_no_replacement(label).filter(|found| found.is_ascii_compatible());
        let Some(found) = found else {
            let label = String::from_utf8_lossy(label.get(..64).unwrap_or(label)).into_owned();
            return Err(VmdkViolation::unsupported(format!("a descriptor in the encoding {label:?}")));
        };
        if declared.is_some_and(|declared| declared != found) {
            let text = String::from_utf8_lossy(label).into_owned();
            return Err(VmdkViolation::Descriptor {
                line: number + 1,
                text,
                expected: "the encoding of the earlier line",
            });
        }
        declared = Some(found);
    }
    Ok(declared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_the_declared_encoding() {
        let text = |bytes: &[u8]| decode(bytes).map(|(text, _)| text.into_owned());
        assert_eq!(
            text(b"encoding=\"GBK\"\nRW 1 FLAT \"\xd6\xd0.vmdk\"").unwrap().lines().nth(1),
            Some("RW 1 FLAT \"中.vmdk\"")
        );
        assert_eq!(text(b"ddb.encoding = \"windows-1252\"\r\n\xe9").unwrap().chars().last(), Some('é'));
        assert_eq!(text("\u{feff}é".as_bytes()).unwrap(), "é");
        assert_eq!(text(b"\xe9").unwrap(), "\u{fffd}");
        assert_eq!(text(b"\xff\xfea\0\xe9\0\0\0b\0").unwrap(), "aé");
        assert_eq!(text(b"\xfe\xff\0a\0\xe9").unwrap(), "aé");
        assert!(decode(b"\xff\xfea\0\0\0b\0").unwrap().1 && decode(b"a\0\0b").unwrap().1);
        assert!(!decode(b"\xff\xfea\0\0\0").unwrap().1 && !decode(b"a\0\0").unwrap().1);
        assert_eq!(text(b"encoding=klingon\nversion=1").unwrap(), "encoding=klingon\nversion=1");
        assert!(matches!(text(b"encoding=klingon\n\xe9"), Err(VmdkViolation::Unsupported { .. })));
        assert!(matches!(text(b"encoding=UTF-16\n\xe9"), Err(VmdkViolation::Unsupported { .. })));
        assert!(matches!(
            text(b"encoding=GBK\nddb.encoding=UTF-8\n\xe9"),
            Err(VmdkViolation::Descriptor { line: 2, .. })
        ));
    }
}
