//! Questions about errors of a store: is it damage, which object is meant, and where does it lie?
//!
//! Inside the library an object is known by its name alone; a caller that prints an error knows its store.

use super::names::{INDEX, LISTS, LOCATORS, LOCK, MANIFESTS, NEW_STORE, PACKS, PAGES, REFS, STORE, TMP};
use crate::digest::Digest;
use crate::error::{BlockError, Error, StoreError};
use crate::fault::RuleViolation;
use crate::ondisk::reference::is_name;

/// The questions that a store and its callers ask of an error.
pub trait StoreErrors: Sized {
    /// Whether the error says that stored bytes are damaged.
    fn is_damage(&self) -> bool;

    /// The broken rule of the format, if the error is one.
    fn fault(&self) -> Option<&RuleViolation>;

    /// The object of a store that the error is about, with its offset where the text has one; `None` for
    /// errors about anything else.
    fn store_object(&self) -> Option<&str>;

    /// The same error, whose object is named with the place of its store before it, as a path. An error that
    /// is not about an object of a store is returned as it is.
    #[must_use]
    fn in_store(self, place: &str) -> Self;
}

impl StoreErrors for Error {
    fn is_damage(&self) -> bool {
        matches!(self.detail(), Some(StoreError::Corrupt { .. } | StoreError::DigestMismatch { .. }))
    }

    fn fault(&self) -> Option<&RuleViolation> {
        match self.detail() {
            Some(StoreError::Corrupt { fault, .. }) => Some(fault),
            _ => None,
        }
    }

    fn store_object(&self) -> Option<&str> {
        store_object(self)
    }

    fn in_store(mut self, place: &str) -> Self {
        if self.store_object().is_some()
            && let Some(object) = self.object_mut()
        {
            *object = format!("{}/{object}", place.trim_end_matches('/'));
        }
        self
    }
}

/// The same for the crate alone.
pub(crate) trait InStore: Sized {
    /// The same error about the objects from which chunk `number` of a list is decoded.
    fn in_chunk(self, number: u64) -> Self;

    /// Whether the error is a missing object or file, even one that another object names.
    fn is_absent(&self) -> bool;
}

impl InStore for Error {
    fn in_chunk(mut self, number: u64) -> Self {
        if let Some(StoreError::Corrupt { chunk, .. }) = self.detail_mut() {
            *chunk = Some(number);
        }
        self
    }

    fn is_absent(&self) -> bool {
        self.is_not_found() || matches!(self.fault(), Some(RuleViolation::Missing))
    }
}

fn store_object(error: &Error) -> Option<&str> {
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

/// Whether `text` begins with the name of an object of a store, or of a folder of such: `packs/` and a digest,
/// `refs/web/latest`, `melv.store`. A place in the object may follow, after a blank.
fn begins_as_object(text: &str) -> bool {
    let name = text.split_once(' ').map_or(text, |(name, _)| name);
    let Some((folder, rest)) = name.split_once('/') else {
        return [STORE.as_str(), LOCK.as_str(), TMP, PACKS, LISTS, LOCATORS, PAGES, MANIFESTS, REFS, INDEX]
            .contains(&name);
    };
    match folder {
        PACKS | LISTS | LOCATORS | PAGES | MANIFESTS => rest.parse::<Digest>().is_ok(),
        REFS => rest.split('/').all(is_name),
        TMP => {
            name == NEW_STORE.as_str()
                || rest.split('/').next().is_some_and(|writer| writer.parse::<u64>().is_ok())
        }
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
        assert_eq!(Error::from(BlockError::Interrupted).in_store("/srv/s").to_string(), "interrupted");
    }
}
