//! Errors, grouped by the caller's next step.

use std::io;

use crate::digest::Digest;
use crate::fault::Fault;

/// The result of almost every fallible call of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error of this library.
///
/// Variants are divided by the caller's next step: retry, free space, wait, correct the call, report damage,
/// or upgrade. A message names the operation, the object and the expectation. The cause is kept as the source
/// and never repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system or the storage refused an operation.
    #[error("cannot {operation} {object}")]
    Io {
        /// The operation: `read`, `append to`, `sync`, …
        operation: &'static str,
        /// The object or file, with its offset if there is one.
        object: String,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The storage is full. The store is unchanged.
    #[error("no space left to {operation} {object}")]
    NoSpace {
        /// The operation.
        operation: &'static str,
        /// The object or file.
        object: String,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// A change was committed, but the storage failed to make it durable. The change may or may not survive
    /// the next power loss, but never in part. The next writer of the store settles it.
    #[error("{what} {name} was changed, and it is not known whether that lasts")]
    OutcomeUnknown {
        /// The kind of thing that was changed.
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
        /// The path that was tried.
        path: String,
    },
    /// Another process held the lock for longer than the caller was willing to wait.
    #[error("{object} is locked by another process (waited {waited_seconds} s); try again or wait longer")]
    Locked {
        /// The lock.
        object: String,
        /// The time waited, in seconds.
        waited_seconds: u64,
    },
    /// The image, reference or object does not exist.
    #[error("{what} {name} is not in this store")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A short image id matches several images.
    #[error("{prefix} is short for {count} images; give more digits")]
    Ambiguous {
        /// The digits given.
        prefix: String,
        /// The number of matching images.
        count: usize,
        /// The first matching images, in ascending order.
        candidates: Vec<Candidate>,
    },
    /// The name is already taken.
    #[error("{what} {name} exists already")]
    Exists {
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Another writer changed the same thing between the caller's read and its commit; nothing was stored.
    #[error("{object} was changed by another writer; nothing was stored, try again")]
    Conflict {
        /// The object.
        object: String,
    },
    /// The caller tried to change a bundle.
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
        /// The user's uid.
        owner: u32,
    },
    /// A bundle was saved without one of its base images, and the store does not have that image.
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
        /// The name of the argument.
        what: &'static str,
        /// The value given.
        found: String,
        /// The values that are acceptable.
        expected: &'static str,
    },
    /// The object is sound, but its kind or version is beyond this release.
    #[error("{object} needs a feature that this version of melv does not have: {feature}")]
    Unsupported {
        /// The file or object.
        object: String,
        /// The missing feature.
        feature: String,
    },
    /// A disk that holds only the changes relative to a parent disk, which is not read.
    #[error(
        "{object} is a difference to the parent {parent}: without it, it is no disk, and this version of \
         melv does not read the two together"
    )]
    Difference {
        /// The file.
        object: String,
        /// The parent disk.
        parent: Box<crate::vmdk::Parent>,
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
        fault: Fault,
    },
    /// A VMware disk is damaged, breaks the rules of its format, or makes demands that no reader should meet.
    #[error("{object} is not sound at byte {offset}")]
    Vmdk {
        /// The file.
        object: String,
        /// The byte offset of the problem.
        offset: u64,
        /// The problem.
        #[source]
        fault: crate::vmdk::Fault,
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
        expected: Digest,
        /// The actual content id.
        found: Digest,
    },
    /// A block device cannot be written, or only with `force`.
    #[error("{device} {state}")]
    Device {
        /// The device.
        device: String,
        /// The reason.
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
        /// The first byte.
        offset: u64,
        /// The length, in bytes.
        len: u64,
        /// The disk's size, in bytes.
        size: u64,
    },
    /// A request beyond a limit of the format or of this implementation.
    #[error("{what} is {found}, the limit is {max}")]
    Limit {
        /// The limited quantity.
        what: &'static str,
        /// The requested value.
        found: u64,
        /// The largest permitted value.
        max: u64,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// An earlier sync of this store handle failed, so the handle refuses further writes.
    #[error("an earlier sync failed, so this handle refuses to write; reopen the store")]
    Poisoned,
}

/// An image that matches a short id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The image id.
    pub image: Digest,
    /// Its names, `NAME:TAG`.
    pub names: Vec<String>,
}

/// The reason for not writing to a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceState {
    /// The kernel reports the device as read-only.
    ReadOnly,
    /// It is mounted, or part of another device.
    Busy,
    /// It is smaller than the data to be written.
    TooSmall {
        /// The size of the device, in bytes.
        room_bytes: u64,
        /// The bytes to be written.
        needed_bytes: u64,
    },
    /// It holds data that would be lost: a file system, a partition table, a part of a volume group. It is
    /// overwritten only with `force`.
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
    /// Wraps an operating system error; a full disk becomes [`Error::NoSpace`].
    pub fn io(operation: &'static str, object: impl Into<String>, source: io::Error) -> Self {
        let object = object.into();
        // A storage that interprets the format, such as a bundle, can report a broken rule as an I/O error.
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

    /// Wraps a broken rule and its position; a fault that only needs a newer reader becomes
    /// [`Error::Unsupported`].
    pub fn corrupt(object: impl Into<String>, offset: u64, fault: Fault) -> Self {
        let object = object.into();
        if fault.is_unsupported() {
            Self::Unsupported { object, feature: fault.to_string() }
        } else {
            Self::Corrupt { object, offset, chunk: None, fault }
        }
    }

    /// Adds the number of the chunk that was being decoded.
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

    /// Whether the same request may succeed later. Damage is permanent and can be worked around; a transient
    /// error must end the operation.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::NoSpace { .. } | Self::Interrupted) && !self.is_not_found()
    }

    /// Whether an object or file is missing, including one that another object refers to.
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
