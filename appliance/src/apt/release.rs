//! The signed list of an archive's lists: `InRelease`. Pure.

use crate::lock::Date;
use crate::sha256::Sha256;

/// A list that a release names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedFile {
    /// Digest.
    pub sha256: Sha256,
    /// Length in bytes.
    pub size: u64,
}

/// Finds the time of a release: the field `Date`.
pub(crate) fn date(text: &str) -> Option<Date> {
    text.lines().find_map(|line| Date::from_release(line.strip_prefix("Date: ")?.trim()))
}

/// Finds a list by its path, as `main/Contents-amd64.gz`, in the field `SHA256`.
pub(crate) fn file(text: &str, path: &str) -> Option<ListedFile> {
    let lines = text.lines().skip_while(|line| *line != "SHA256:").skip(1);
    lines.take_while(|line| line.starts_with(' ')).find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (sha256, size, name) = (words.next()?, words.next()?, words.next()?);
        if name != path {
            return None;
        }
        Some(ListedFile { sha256: sha256.parse().ok()?, size: size.parse().ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_and_digests_are_found() {
        let hex = "a".repeat(64);
        let text = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\n\nOrigin: Debian\nDate: Sat, 17 May 2025 09:12:21 UTC\nMD5Sum:\n \
            {hex} 1 main/a\nSHA256:\n {hex} 12 main/a\n {hex} x main/b\nX: y\n {hex} 1 main/c\n"
        );
        assert_eq!(date(&text).unwrap().to_string(), "2025-05-17T09:12:21Z");
        assert_eq!(file(&text, "main/a").unwrap().size, 12);
        assert_eq!(file(&text, "main/b"), None);
        assert_eq!(file(&text, "main/c"), None);
        assert_eq!(date("Date: x"), None);
    }
}
