//! Adds the store's location to errors about its objects. The library knows objects only by name; the
//! code that prints an error knows the store.

use super::names::{INDEX, LISTS, LOCATORS, LOCK, MANIFESTS, PACKS, PAGES, REFS, STORE, TMP};
use crate::digest::Digest;
use crate::error::Error;
use crate::ondisk::reference::is_name;

impl Error {
    /// Returns the store object that the error is about, with its offset if the text has one; `None` for
    /// errors about anything else.
    #[must_use]
    pub fn store_object(&self) -> Option<&str> {
        let object = match self {
            Self::Io { object, .. }
            | Self::NoSpace { object, .. }
            | Self::Conflict { object }
            | Self::Unsupported { object, .. }
            | Self::Corrupt { object, .. } => object,
            Self::DigestMismatch { what, .. } => what,
            _ => return None,
        };
        begins_as_object(object).then_some(object)
    }

    /// Prefixes the object's name with the store's location, as a path. Returns an error about anything
    /// else unchanged.
    #[must_use]
    pub fn in_store(mut self, place: &str) -> Self {
        if self.store_object().is_none() {
            return self;
        }
        if let Self::Io { object, .. }
        | Self::NoSpace { object, .. }
        | Self::Conflict { object }
        | Self::Unsupported { object, .. }
        | Self::Corrupt { object, .. }
        | Self::DigestMismatch { what: object, .. } = &mut self
        {
            *object = format!("{}/{object}", place.trim_end_matches('/'));
        }
        self
    }
}

/// Whether `text` begins with the name of a store object or of an object folder: `packs/` and a digest,
/// `refs/web/latest`, `melv.store`. A place within the object may follow after a space.
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
        assert_eq!(Error::Interrupted.in_store("/srv/s").to_string(), "interrupted");
    }
}
