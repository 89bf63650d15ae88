//! What can go wrong, sorted by what the caller will do about it.

use std::io;

use crate::digest::Digest;
use crate::fault::Fault;

/// The result of almost every fallible call of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that a call of this library can fail with.
///
/// Variants are divided by what a caller does next: retry, free space, wait, correct the call,
/// report damage, or upgrade. Texts say what, where, what was expected; the cause is kept as
/// the source and never repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system or the storage refused an operation.
    #[error("cannot {operation} {object}")]
    Io {
        /// What was tried: `read`, `append to`, `sync`, …
        operation: &'static str,
        /// The object or file, with its offset where there is one.
        object: String,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// The storage is full. A store is as it was before.
    #[error("no space left to {operation} {object}")]
    NoSpace {
        /// What was tried.
        operation: &'static str,
        /// The object or file.
        object: String,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// The last step of a change was taken, and the storage failed to make it last: it may be there
    /// after the next loss of power or not, whole in any case. Whoever writes to the store next settles
    /// it.
    #[error("{what} {name} was changed, and it is not known whether that lasts")]
    OutcomeUnknown {
        /// What kind of thing was changed.
        what: &'static str,
        /// Its name.
        name: String,
        /// The failure.
        #[source]
        source: io::Error,
    },
    /// There is no store at this place.
    #[error("{path} is not a melv store; the first import creates one")]
    NoStore {
        /// Where it was looked for.
        path: String,
    },
    /// Another process held the lock for longer than the caller would wait.
    #[error("{object} is locked by another process (waited {waited_seconds} s); try again or wait longer")]
    Locked {
        /// The lock.
        object: String,
        /// How long was waited.
        waited_seconds: u64,
    },
    /// No such image, reference or object.
    #[error("{what} {name} is not in this store")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A short image id fits several images.
    #[error("{prefix} is short for {count} images; give more digits")]
    Ambiguous {
        /// The digits given.
        prefix: String,
        /// How many images begin so.
        count: usize,
        /// The first of them, in ascending order.
        candidates: Vec<Candidate>,
    },
    /// The name is taken.
    #[error("{what} {name} exists already")]
    Exists {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Another writer changed the same thing between the look at it and the commit; nothing was stored.
    #[error("{object} was changed by another writer; nothing was stored, try again")]
    Conflict {
        /// The object.
        object: String,
    },
    /// What was to be changed is a bundle.
    #[error("{object} is a bundle, which is read in place and never changed")]
    ReadOnly {
        /// The bundle.
        object: String,
    },
    /// The store belongs to another user, who may have written anything into it.
    #[error(
        "{store} belongs to another user (uid {owner}): it is read with every id checked, and not written"
    )]
    ForeignOwner {
        /// The store.
        store: String,
        /// The user's number.
        owner: u32,
    },
    /// A bundle was saved without an image that it builds on, and that image is not here.
    #[error(
        "{bundle} was saved without image @{base}, which is not in the store; it can be read only beside it"
    )]
    BaseMissing {
        /// The bundle.
        bundle: String,
        /// The image id.
        base: Digest,
    },
    /// An argument is not acceptable.
    #[error("{what} {found:?} is not acceptable: {expected}")]
    Invalid {
        /// Which argument.
        what: &'static str,
        /// What was given.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// Sound, but of a kind or version that this release cannot handle.
    #[error("{object} needs a feature that this version of melv does not have: {feature}")]
    Unsupported {
        /// The file or object.
        object: String,
        /// What it needs.
        feature: String,
    },
    /// A disk that holds only what was changed over another one, its parent, which is not read.
    #[error(
        "{object} is a difference to the parent {parent}: without it, it is no disk, and this version of \
         melv does not read the two together"
    )]
    Difference {
        /// The file.
        object: String,
        /// The disk that it is a difference to.
        parent: Box<crate::vmdk::Parent>,
    },
    /// Bytes break a rule of the format.
    #[error("{object} is damaged at byte {offset}{} (rule {})", of_chunk(*chunk), fault.rule())]
    Corrupt {
        /// The file or object.
        object: String,
        /// Where the damaged structure begins in it.
        offset: u64,
        /// Which chunk of its list cannot be decoded for it, if it is one chunk.
        chunk: Option<u64>,
        /// The broken rule.
        #[source]
        fault: Fault,
    },
    /// A disk in VMware's format is damaged, breaks the rules of the format, or asks for what no
    /// reader should do.
    #[error("{object} is not sound at byte {offset}")]
    Vmdk {
        /// The file.
        object: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        #[source]
        fault: crate::vmdk::Fault,
    },
    /// Content does not have the digest under which it was asked for.
    #[error("{what} has digest {found}, expected {expected}")]
    DigestMismatch {
        /// What was hashed, and where it lies.
        what: String,
        /// The digest asked for.
        expected: Digest,
        /// The digest of what was found.
        found: Digest,
    },
    /// The input is not as long as the caller said.
    #[error("{}; nothing was stored", of_size(object, *expected, *found))]
    SizeMismatch {
        /// The input.
        object: String,
        /// The bytes that it was to have.
        expected: u64,
        /// The bytes that it has; `None` where it had more when reading it was given up.
        found: Option<u64>,
    },
    /// The input does not have the content id that the caller said.
    #[error("the content id of {object} is {found}, expected {expected}; nothing was stored")]
    ContentMismatch {
        /// The input.
        object: String,
        /// The content id that it was to have.
        expected: Digest,
        /// The one that it has.
        found: Digest,
    },
    /// A block device cannot be written, or not without being forced.
    #[error("{device} {state}")]
    Device {
        /// The device.
        device: String,
        /// Why not.
        state: DeviceState,
    },
    /// The input changed while it was read.
    #[error("{object} changed while it was read; nothing was stored")]
    Changed {
        /// The input.
        object: String,
    },
    /// A range lies outside the disk.
    #[error("range {offset}+{len} is outside the disk of {size} bytes")]
    OutOfRange {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
        /// The disk's size in bytes.
        size: u64,
    },
    /// A limit of the format or of this implementation.
    #[error("{what} is {found}, the limit is {max}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How much was wanted.
        found: u64,
        /// How much is possible.
        max: u64,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// An earlier sync of this store handle failed, so nothing more may be written through it.
    #[error("an earlier sync failed, so this handle refuses to write; reopen the store")]
    Poisoned,
}

/// An image that a short id fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The image id.
    pub image: Digest,
    /// Its names, `NAME:TAG`.
    pub names: Vec<String>,
}

/// Why a block device is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceState {
    /// The kernel lets nobody write to it.
    ReadOnly,
    /// It is mounted, or a part of another device.
    Busy,
    /// It has fewer bytes than what is to be written.
    TooSmall {
        /// Its bytes.
        room_bytes: u64,
        /// The bytes to be written.
        needed_bytes: u64,
    },
    /// Something is on it that would be lost: a file system, a partition table, a part of a volume
    /// group. Only a caller who forces the writing overwrites it.
    Holds(String),
}

impl std::fmt::Display for DeviceState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ReadOnly => f.write_str("is read-only"),
            Self::Busy => f.write_str("is in use: it is mounted, or a part of another device"),
            Self::TooSmall { room_bytes, needed_bytes } => {
                write!(f, "has {room_bytes} bytes, too few for the {needed_bytes} bytes to be written")
            }
            Self::Holds(what) => write!(f, "holds {what}, which would be overwritten"),
        }
    }
}

fn of_size(object: &str, expected: u64, found: Option<u64>) -> String {
    match found {
        Some(found) => format!("{object} has {found} bytes, expected {expected}"),
        None => format!("{object} has more bytes than the expected {expected}"),
    }
}

fn of_chunk(chunk: Option<u64>) -> String {
    chunk.map_or_else(String::new, |number| format!(", chunk {number}"))
}

impl Error {
    /// Wraps a refusal of the operating system, telling a full disk from the rest.
    pub fn io(operation: &'static str, object: impl Into<String>, source: io::Error) -> Self {
        let object = object.into();
        // Storage that is laid out by the format, as a bundle is, may find a rule broken.
        if let Some(fault) = source.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()) {
            return Self::corrupt(object, 0, fault.clone());
        }
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::NoSpace { operation, object, source }
            }
            _ => Self::Io { operation, object, source },
        }
    }

    /// Wraps a broken rule with its place; what merely needs a newer reader is told apart.
    pub fn corrupt(object: impl Into<String>, offset: u64, fault: Fault) -> Self {
        let object = object.into();
        if fault.is_unsupported() {
            Self::Unsupported { object, feature: fault.to_string() }
        } else {
            Self::Corrupt { object, offset, chunk: None, fault }
        }
    }

    /// The same, of what chunk `number` of a list is decoded from.
    #[must_use]
    pub(crate) fn in_chunk(mut self, number: u64) -> Self {
        if let Self::Corrupt { chunk, .. } = &mut self {
            *chunk = Some(number);
        }
        self
    }

    /// Whether the error says that stored bytes are damaged.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::DigestMismatch { .. })
    }

    /// Whether the storage refused what it may give at the next try. Damage stays, and can be
    /// worked around; what depends on the moment must end the work that met it.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::NoSpace { .. } | Self::Interrupted) && !self.is_not_found()
    }

    /// Whether the error is a missing object or file, be it that something names it.
    pub(crate) fn is_absent(&self) -> bool {
        self.is_not_found() || matches!(self, Self::Corrupt { fault: Fault::Missing, .. })
    }

    /// Whether the error is a missing object or file.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}
