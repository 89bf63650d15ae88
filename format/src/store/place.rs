//! Errors about objects of a store, told with the place of the store: inside the library an object is known by
//! its name alone, and whoever prints an error knows which store it came from.

use super::names::{INDEX, LISTS, LOCATORS, LOCK, MANIFESTS, PACKS, PAGES, REFS, STORE, TMP};
use crate::digest::Digest;
use crate::error::{BlockError, Error, StoreError};
use crate::ondisk::reference::is_name;

/// The object of a store that the error is about, with its offset where the text has one; `None` for
/// errors about anything else.
pub(crate) fn store_object(error: &Error) -> Option<&str> {
    let object = match (error.detail(), error.detail()) {
        (Some(BlockError::Io { object, .. } | BlockError::NoSpace { object, .. }), _)
        | (Some(BlockError::Unsupported { object, .. }), _)
        | (_, Some(StoreError::Conflict { object } | StoreError::Corrupt { object, .. }))
        | (_, Some(StoreError::Gone { object, .. } | StoreError::DigestMismatch { what: object, .. })) => {
            object
        }
        _ => return None,
    };
    begins_as_object(object).then_some(object.as_str())
}

/// The same error, whose object is named with the place of its store before it, as a path. An error that
/// is not about an object of a store is returned as it is.
pub(crate) fn in_store(mut error: Error, place: &str) -> Error {
    if store_object(&error).is_some()
        && let Some(object) = error.object_mut()
    {
        *object = format!("{}/{object}", place.trim_end_matches('/'));
    }
    error
}

/// Whether `text` begins with the name of an object of a store, or of a folder of such: `packs/` and a digest,
/// `refs/web/latest`, `melv.store`. A place in the object may follow, after a blank.
fn begins_as_object(text: &str) -> bool {
    let name = text.split_once(' ').map_or(text, |(name, _)| name);
    let Some((folder, rest)) = name.split_once('/') else {
        return [STORE, LOCK, TMP, PACKS, LISTS, LOCATORS, PAGES, MANIFESTS, REFS, INDEX].contains(&name);
    };
    match folder {
        PACKS | LISTS | LOCATORS | PAGES | MANIFESTS => rest.parse::<Digest>().is_ok(),
        REFS => rest.split('/').all(is_name),
        TMP => rest == STORE || rest.split('/').next().is_some_and(|writer| writer.parse::<u64>().is_ok()),
        INDEX => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::StoreErrors;

    #[test]
    fn names_of_objects_are_told_from_paths() {
        let digest = Digest([7; 32]);
        let pack = format!("packs/{digest}");
        let at = format!("{pack} at byte 5");
        for object in
            ["melv.store", "lock", "tmp/0/pack-0", "tmp/12/lock", "refs/web/latest", "packs", &pack, &at]
        {
            assert!(begins_as_object(object), "{object}");
        }
        for other in ["disk.raw", "./lock", "/packs", "packs/x.raw", "tmp/disk.raw", "refs/A/b", "a/lock", ""]
        {
            assert!(!begins_as_object(other), "{other}");
        }
    }

    #[test]
    fn errors_of_objects_name_the_place_and_others_are_left_alone() {
        let io = |object: &str| Error::io("open", object, std::io::ErrorKind::PermissionDenied.into());
        assert_eq!(io("melv.store").in_store("/srv/s").to_string(), "cannot open /srv/s/melv.store");
        assert_eq!(io("lock at byte 3").in_store("/").to_string(), "cannot open /lock at byte 3");
        assert_eq!(io("disk.raw").in_store("/srv/s").to_string(), "cannot open disk.raw");
        assert_eq!(io("/srv/s/lock").in_store("/srv/s").to_string(), "cannot open /srv/s/lock");
        assert_eq!(Error::from(BlockError::Interrupted).in_store("/srv/s").to_string(), "interrupted");
    }
}
