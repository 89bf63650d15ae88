//! The failures of a store and of a bundle.

use std::io;

pub use melv_block::{BlockError, Deferred, Error, ErrorKind, Result, ResultExt};
use melv_block::{Detail, Position};

use crate::digest::{ContentId, Digest, ImageId};
use crate::fault::RuleViolation;

/// A failure of a store or a bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no store at this place.
    #[error("{path} is not a melv store")]
    NoStore {
        /// The path that was tried.
        path: String,
    },
    /// Another process held the lock for longer than the caller was willing to wait.
    #[error("{object} is locked by another process (waited {waited_seconds} s)")]
    Locked {
        /// The lock.
        object: String,
        /// The time waited, in seconds.
        waited_seconds: u64,
    },
    /// The file system of the store has no locks.
    #[error("cannot lock {object}")]
    NoLocks {
        /// The lock.
        object: String,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// The image, reference or object does not exist.
    #[error("{what} {name} is not in this store")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// An object is missing.
    #[error("cannot open {object}")]
    Gone {
        /// The object.
        object: String,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// A short image id matches several images.
    #[error("{prefix} is ambiguous: the ids of {count} images begin with it")]
    Ambiguous {
        /// The digits given.
        prefix: String,
        /// The number of matching images.
        count: usize,
        /// The first matching images, in ascending order.
        candidates: Vec<Candidate>,
    },
    /// The name is already taken.
    #[error("{what} {name} already exists")]
    Exists {
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Another writer changed the same thing between the caller's read and its commit; nothing was stored.
    #[error("{object} was changed by another writer; nothing was stored")]
    Conflict {
        /// The object.
        object: String,
    },
    /// The caller tried to change a bundle.
    #[error("{object} is a bundle, which cannot be changed")]
    ReadOnly {
        /// The bundle.
        object: String,
    },
    /// The store belongs to another user, who may have written anything into it.
    #[error(
        "{store} belongs to another user (uid {owner}): melv checks every id that it reads there, and writes nothing"
    )]
    ForeignOwner {
        /// The store.
        store: String,
        /// The user's uid.
        owner: u32,
    },
    /// A bundle was saved without one of its base images, and the store does not have that image.
    #[error(
        "{bundle} was saved without image @{base}, which is not in the store; it can be read only with that image"
    )]
    BaseMissing {
        /// The bundle.
        bundle: String,
        /// The image id.
        base: ImageId,
    },
    /// The bytes break a rule of the format.
    #[error("{object} is damaged at byte {offset}{} (rule {})", of_chunk(*chunk), fault.rule())]
    Corrupt {
        /// The file or object.
        object: String,
        /// The byte offset of the damaged structure.
        offset: u64,
        /// The number of the chunk that cannot be decoded, if a single chunk is affected.
        chunk: Option<u64>,
        /// The broken rule.
        #[source]
        fault: RuleViolation,
    },
    /// The content does not match the digest it was requested by.
    #[error("{what} has digest {found}, expected {expected}")]
    DigestMismatch {
        /// The hashed object and its location.
        what: String,
        /// The requested digest.
        expected: Digest,
        /// The digest of the content found.
        found: Digest,
    },
    /// The input is not as long as the caller said.
    #[error("{}; nothing was stored", of_size(object, *expected, *found))]
    SizeMismatch {
        /// The input.
        object: String,
        /// The expected length, in bytes.
        expected: u64,
        /// The actual length, in bytes; `None` if reading stopped because there was more than expected.
        found: Option<u64>,
    },
    /// The input does not have the content id that the caller gave.
    #[error("the content id of {object} is {found}, expected {expected}; nothing was stored")]
    ContentMismatch {
        /// The input.
        object: String,
        /// The expected content id.
        expected: ContentId,
        /// The actual content id.
        found: ContentId,
    },
    /// A change was committed, but the storage failed to make it durable. The change may or may not survive
    /// the next power loss, but never in part. The next writer of the store settles it.
    #[error("{what} {name} was changed, but the change may not survive a power failure")]
    OutcomeUnknown {
        /// The kind of thing that was changed.
        what: &'static str,
        /// Its name.
        name: String,
        /// The failure.
        #[source]
        source: io::Error,
    },
    /// Chunks of a list cannot be read.
    #[error("cannot read chunks of {object}: {reason}")]
    Unreadable {
        /// The list.
        object: String,
        /// The first reason found.
        reason: String,
    },
    /// An earlier sync of this store handle failed, so the handle refuses further writes.
    #[error("an earlier sync failed, so this handle refuses to write")]
    Poisoned,
}

/// An image that a short id fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The image id.
    pub image: ImageId,
    /// Its names, `NAME:TAG`.
    pub names: Vec<String>,
}

fn of_size(object: &str, expected: u64, found: Option<u64>) -> String {
    match found {
        Some(found) => format!("{object} has {found} bytes, expected {expected}"),
        None => format!("{object} has more than the expected {expected} bytes"),
    }
}

fn of_chunk(chunk: Option<u64>) -> String {
    chunk.map_or_else(String::new, |number| format!(", chunk {number}"))
}

impl StoreError {
    /// The refusal to open an object of the store.
    pub(crate) fn unopened(object: impl Into<String>, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::NotFound => Self::Gone { object: object.into(), source }.into(),
            _ => Error::io("open", object, source),
        }
    }

    /// A broken rule with its place; a fault that merely needs a newer reader becomes
    /// [`BlockError::Unsupported`](crate::BlockError::Unsupported).
    pub fn corrupt(object: impl Into<String>, offset: u64, fault: RuleViolation) -> Error {
        let object = object.into();
        if fault.is_unsupported() {
            BlockError::Unsupported { object, feature: fault.to_string() }.into()
        } else {
            Self::Corrupt { object, offset, chunk: None, fault }.into()
        }
    }
}

impl Detail for StoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoStore { .. } => ErrorKind::NoStore,
            Self::Locked { .. } => ErrorKind::Busy,
            Self::NoLocks { .. } => ErrorKind::Io,
            Self::NotFound { .. } | Self::Gone { .. } | Self::BaseMissing { .. } => ErrorKind::NotFound,
            Self::Ambiguous { .. } => ErrorKind::Invalid,
            Self::Exists { .. } => ErrorKind::Exists,
            Self::Conflict { .. } => ErrorKind::Conflict,
            Self::ReadOnly { .. } | Self::ForeignOwner { .. } | Self::Poisoned => ErrorKind::ReadOnly,
            Self::Corrupt { .. } | Self::Unreadable { .. } => ErrorKind::Damaged,
            Self::DigestMismatch { .. } | Self::ContentMismatch { .. } => ErrorKind::Mismatch,
            Self::SizeMismatch { .. } => ErrorKind::Changed,
            Self::OutcomeUnknown { .. } => ErrorKind::Unknown,
        }
    }

    fn object(&self) -> Option<&str> {
        match self {
            Self::NoStore { path: object }
            | Self::Locked { object, .. }
            | Self::NoLocks { object, .. }
            | Self::Conflict { object }
            | Self::ReadOnly { object }
            | Self::ForeignOwner { store: object, .. }
            | Self::BaseMissing { bundle: object, .. }
            | Self::Corrupt { object, .. }
            | Self::Gone { object, .. }
            | Self::Unreadable { object, .. }
            | Self::DigestMismatch { what: object, .. }
            | Self::SizeMismatch { object, .. }
            | Self::ContentMismatch { object, .. } => Some(object),
            _ => None,
        }
    }

    fn object_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Conflict { object }
            | Self::Corrupt { object, .. }
            | Self::Gone { object, .. }
            | Self::DigestMismatch { what: object, .. } => Some(object),
            _ => None,
        }
    }

    fn position(&self) -> Option<Position> {
        match self {
            Self::Corrupt { chunk: Some(chunk), .. } => Some(Position::Chunk(*chunk)),
            Self::Corrupt { offset, .. } => Some(Position::Byte(*offset)),
            _ => None,
        }
    }
}
