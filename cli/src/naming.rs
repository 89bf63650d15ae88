//! Names for new images. A chosen name that could not be used later is refused; a name made from a file's can
//! be used.

use std::path::Path;

use deunicode::deunicode;
use melv::RefName;

use crate::bundle_path::SUFFIX;
use crate::failure::Failure;

/// Parses the name of a new image. A text that ends like a bundle stands for its path wherever a reference is
/// expected, so no image gets such a name.
pub fn new_name(text: &str) -> Result<RefName, Failure> {
    let name: RefName = text.parse()?;
    if is_usable(&name) {
        return Ok(name);
    }
    Err(Failure::Usage(format!(
        "name {text:?} is invalid: a reference that ends in {SUFFIX} is the path of a bundle"
    )))
}

fn is_usable(name: &RefName) -> bool {
    !name.name().ends_with(SUFFIX) && !name.tag().ends_with(SUFFIX)
}

/// Returns the name for an image from a bundle: its old one, if that can be used, or one made from it.
pub fn kept_name(name: &RefName) -> Option<RefName> {
    if is_usable(name) { Some(name.clone()) } else { of_stem(name.name()) }
}

/// Makes a name for an image from the name of its file: in Latin letters, without the suffixes of a disk and
/// of a bundle.
pub fn of_file(path: &Path) -> Option<RefName> {
    of_stem(&path.file_stem()?.to_string_lossy())
}

fn of_stem(stem: &str) -> Option<RefName> {
    let name = RefName::from_stem(&deunicode(stem))?;
    match name.name().strip_suffix(SUFFIX) {
        Some(shorter) => of_stem(shorter),
        None => Some(name),
    }
}

/// Whether `text` ends like the path of a bundle but is an image name. Images with such names, from an older
/// melv or from a bundle, remain accessible by name and tag.
pub fn is_old_name(text: &str) -> bool {
    text.contains(':') && text.parse::<RefName>().is_ok() && !Path::new(text).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_be_taken_for_bundles_are_refused() {
        for bad in ["x.melv", "x.melv:latest", "x.melv:1", "x:1.melv"] {
            assert!(new_name(bad).is_err(), "{bad}");
        }
        for good in ["x", "melv", "x.melv.old", "melv:melv", "x-melv:1"] {
            assert!(new_name(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn names_made_of_files_can_be_used() {
        let made = |file: &str| of_file(Path::new(file)).map(|name| name.name().to_owned());
        let cases = [
            ("web.raw", Some("web")),
            ("x.melv.raw", Some("x")),
            ("x.MELV.raw", Some("x")),
            ("x.melv.melv", Some("x")),
            ("x.melv-.raw", Some("x")),
            (".melv.raw", Some("melv")),
            ("Größe.raw", Some("grosse")),
            ("Gro\u{308}ße.raw", Some("grosse")),
            ("Ünïcødé Диск.raw", Some("unicode-disk")),
            ("磁盘.raw", Some("ci-pan")),
            ("___.raw", None),
        ];
        for (file, name) in cases {
            assert_eq!(made(file).as_deref(), name, "{file}");
        }
    }
}
