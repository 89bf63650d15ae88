//! The form of a path to a bundle, and the first bytes of the file.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use melv::Container;

/// The file name suffix of a bundle.
pub const SUFFIX: &str = ".melv";
/// The length of the magic bytes at the start of a bundle.
const MAGIC_LEN: usize = 8;

/// Splits a bundle reference, recognized by its form, into path and image. The last `.melv#` separates them,
/// unless a slash follows: image names have none.
pub fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(at) = text.rfind(".melv#") {
        let (path, image) = (&text[..at + SUFFIX.len()], &text[at + SUFFIX.len() + 1..]);
        if !image.contains('/') {
            return Some((path, Some(image)));
        }
    }
    text.ends_with(SUFFIX).then_some((text, None))
}

/// Whether a file or block device starts with the magic bytes of a bundle. Opens nothing else: opening a pipe
/// or another device might hang or have side effects.
pub fn begins_as_bundle(path: &Path) -> bool {
    let is_disk = |metadata: std::fs::Metadata| metadata.is_file() || metadata.file_type().is_block_device();
    if !std::fs::metadata(path).is_ok_and(is_disk) {
        return false;
    }
    let mut first = [0; MAGIC_LEN];
    File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok()
        && Container::of(&first, &[]) == Some(Container::Bundle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_are_told_by_the_end_of_their_path() {
        assert_eq!(split("web.melv"), Some(("web.melv", None)));
        assert_eq!(split("a/web.melv#x:1"), Some(("a/web.melv", Some("x:1"))));
        assert_eq!(split("a.melv#b.melv"), Some(("a.melv", Some("b.melv"))));
        assert_eq!(split("a.melv#dir/b.melv"), Some(("a.melv#dir/b.melv", None)));
        assert_eq!(split("a#b.melv"), Some(("a#b.melv", None)));
        assert_eq!(split("a.melv#"), Some(("a.melv", Some(""))));
        for other in ["web", "web:1", "melv", "web.melv:1", "a#b", "web.melv.raw", "a.melv#b/c"] {
            assert_eq!(split(other), None, "{other}");
        }
    }
}
