//! Headers of an `ar` archive, pure.
//!
//! Layout: deb(5) of dpkg; ar(5) of the BSDs: a mark of eight bytes, then members, each behind a header of 60 bytes
//! and padded to an even length.

use crate::sources::tar::decimal;

/// The mark at the start.
pub(super) const MARK: &[u8; 8] = b"!<arch>\n";

/// Bytes of a member's header.
pub(super) const HEADER_BYTES: usize = 60;

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Name without spaces at its end, and without the `/` that some programs put there.
    pub(super) name: Vec<u8>,
    /// Bytes, without padding.
    pub(super) size: u64,
}

/// Parses a header. `None` is none.
pub(super) fn parse(header: &[u8; HEADER_BYTES]) -> Option<Member> {
    if &header[58..] != b"`\n" {
        return None;
    }
    let name = header[..16].trim_ascii_end();
    let name = name.strip_suffix(b"/").unwrap_or(name);
    if name.is_empty() || name.iter().any(|byte| !byte.is_ascii_graphic() || *byte == b'/') {
        return None;
    }
    Some(Member { name: name.to_vec(), size: decimal(header[48..58].trim_ascii_end())? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, size: &str, end: &str) -> [u8; HEADER_BYTES] {
        format!("{name:16}{:12}{:6}{:6}{:8}{size:10}{end:2}", 0, 0, 0, 100_644).as_bytes().try_into().unwrap()
    }

    #[test]
    fn members_have_a_name_and_a_size() {
        let member = |name: &str, size| Some(Member { name: name.into(), size });
        assert_eq!(parse(&header("debian-binary", "4", "`\n")), member("debian-binary", 4));
        assert_eq!(parse(&header("data.tar.xz/", "9999999999", "`\n")), member("data.tar.xz", 9_999_999_999));
        for header in [
            header("x", "4", "xx"),
            header("", "4", "`\n"),
            header("/", "4", "`\n"),
            header("../x", "4", "`\n"),
            header("x", "-4", "`\n"),
            header("x", "", "`\n"),
            header("x", "4 4", "`\n"),
        ] {
            assert_eq!(parse(&header), None);
        }
    }
}
