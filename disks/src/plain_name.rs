//! The names of files beside a disk that may be opened because the disk names them.

/// The maximum length of a plain name, in bytes, as in file systems.
const NAME_LEN_MAX: usize = 255;

/// Returns the reason not to open a file of this name beside the disk, if there is one.
pub(crate) fn name_refusal(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("an empty name")
    } else if name.starts_with('/') {
        Some("an absolute path")
    } else if name == "." || name == ".." {
        Some("a folder")
    } else if name.contains("://") {
        Some("a URL")
    } else if name.contains(['/', '\\']) {
        Some("a path")
    } else if name.chars().any(char::is_control) {
        Some("with control characters")
    } else if name.len() > NAME_LEN_MAX {
        Some("longer than any file name")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_opened() {
        let plain = ["a.vmdk", "disk 12:30.vmdk", "web:1.vmdk", "a:", "a b", "...", "中.vmdk", "-f001.vmdk"];
        assert!(plain.iter().all(|name| name_refusal(name).is_none()));
        let others = [
            "",
            ".",
            "..",
            "/etc/passwd",
            "../a",
            "a/b",
            "C:\\a",
            "a\\b",
            "json:{\"file\":\"/a\"}",
            "nbd:unix:/a",
            "a\u{1}",
            "a\0b",
        ];
        for name in others {
            assert!(name_refusal(name).is_some(), "{name:?}");
        }
        assert!(name_refusal("http://host/a").is_some_and(|why| why.contains("URL")));
        assert!(name_refusal(&"x".repeat(256)).is_some());
    }
}
