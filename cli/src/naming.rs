//! Names that images are given: those that cannot be used afterwards are refused, and those made of a file's
//! name can be used.

use std::path::Path;

use deunicode::deunicode;
use melv::RefName;

use crate::bundle_ref::SUFFIX;
use crate::exit::Failure;

/// The name that `text` is, to be given to an image. Where a reference is wanted, what ends as a bundle does
/// is the path of one, so no image gets such a name.
pub fn new_name(text: &str) -> Result<RefName, Failure> {
    let name: RefName = text.parse()?;
    if is_usable(&name) {
        return Ok(name);
    }
    Err(Failure::Usage(format!(
        "name {text:?} is not acceptable: where an image is wanted, what ends in {SUFFIX} is the path of a bundle"
    )))
}

fn is_usable(name: &RefName) -> bool {
    !name.name().ends_with(SUFFIX) && !name.tag().ends_with(SUFFIX)
}

/// The name for the image of a bundle that goes on under its old name, if that can be used.
pub fn kept_name(name: &RefName) -> Option<RefName> {
    if is_usable(name) { Some(name.clone()) } else { of_stem(name.name()) }
}

/// The name for an image without one, made of the name of its file: in Latin letters, without the endings of
/// a disk and of a bundle.
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

/// Whether `text` ends as the path of a bundle does and yet means an image: images that an older melv named
/// so, or that came in a bundle, are still to be had by name and tag.
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
