//! The failures of disks, files and devices.

use std::io;

use crate::error::{Deferred, Detail, Error, ErrorKind};

/// A failure that any disk, file or device can have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The operating system or the storage refused an operation.
    #[error("cannot {operation} {object}")]
    Io {
        /// The operation, a verb: `read`, `append to`, `sync`, …
        operation: &'static str,
        /// The object or file, with its offset where there is one.
        object: String,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// No space is left. A store is as it was before.
    #[error("no space left to {operation} {object}")]
    NoSpace {
        /// The operation, a verb.
        operation: &'static str,
        /// The object or file.
        object: String,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// A file of this name exists.
    #[error("file {name} already exists")]
    FileExists {
        /// The file.
        name: String,
    },
    /// An argument is not acceptable.
    #[error("{what} {found:?} is invalid, expected {expected}")]
    Invalid {
        /// The argument's meaning.
        what: &'static str,
        /// The argument as it was given.
        found: String,
        /// The acceptable values.
        expected: &'static str,
    },
    /// A disk's size is not a multiple of 512.
    #[error("the size of {object} is {size} bytes, expected a multiple of 512")]
    OddSize {
        /// The disk.
        object: String,
        /// Its size in bytes.
        size: u64,
    },
    /// An input is neither a regular file nor a block device.
    #[error("disk {object:?} is invalid, expected a regular file or a block device")]
    NotDisk {
        /// The input.
        object: String,
    },
    /// The bytes are sound, but of a kind or version that this release cannot handle.
    #[error("{object} needs a feature that this version of melv does not have: {feature}")]
    Unsupported {
        /// The file or object.
        object: String,
        /// The feature.
        feature: String,
    },
    /// A block device cannot be written, or not without being forced.
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
        /// The length in bytes.
        len: u64,
        /// The disk's size in bytes.
        size: u64,
    },
    /// A limit of the format or of this implementation.
    #[error("{what} is {found}, the limit is {max}")]
    Limit {
        /// The limited quantity.
        what: &'static str,
        /// The value that was wanted.
        found: u64,
        /// The largest possible value.
        max: u64,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// The reason why a block device is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceState {
    /// The kernel permits no writes.
    ReadOnly,
    /// It is mounted, or a part of another device.
    Busy,
    /// It is smaller than the data.
    TooSmall {
        /// Its size in bytes.
        room_bytes: u64,
        /// The bytes to be written.
        needed_bytes: u64,
    },
    /// It holds a file system, a partition table or a part of a volume group, which only a forced write
    /// overwrites.
    Holds(String),
}

impl std::fmt::Display for DeviceState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ReadOnly => f.write_str("is read-only"),
            Self::Busy => f.write_str("is in use: it is mounted, or part of another device"),
            Self::TooSmall { room_bytes, needed_bytes } => {
                write!(f, "has {room_bytes} bytes, but {needed_bytes} bytes must be written")
            }
            Self::Holds(content) => write!(f, "holds {content}, which the output would overwrite"),
        }
    }
}

impl DeviceState {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::ReadOnly => ErrorKind::ReadOnly,
            Self::Busy => ErrorKind::Conflict,
            Self::TooSmall { .. } => ErrorKind::Limit,
            Self::Holds(_) => ErrorKind::Exists,
        }
    }
}

impl Detail for BlockError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
                _ => ErrorKind::Io,
            },
            Self::NoSpace { .. } => ErrorKind::NoSpace,
            Self::FileExists { .. } => ErrorKind::Exists,
            Self::Invalid { .. } | Self::OddSize { .. } | Self::NotDisk { .. } | Self::OutOfRange { .. } => {
                ErrorKind::Invalid
            }
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Device { state, .. } => state.kind(),
            Self::Changed { .. } => ErrorKind::Changed,
            Self::Limit { .. } => ErrorKind::Limit,
            Self::Interrupted => ErrorKind::Interrupted,
        }
    }

    fn object(&self) -> Option<&str> {
        match self {
            Self::Io { object, .. }
            | Self::NoSpace { object, .. }
            | Self::Unsupported { object, .. }
            | Self::OddSize { object, .. }
            | Self::NotDisk { object }
            | Self::Changed { object } => Some(object),
            Self::FileExists { name: object } | Self::Device { device: object, .. } => Some(object),
            Self::Invalid { .. } | Self::OutOfRange { .. } | Self::Limit { .. } | Self::Interrupted => None,
        }
    }

    fn object_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Io { object, .. } | Self::NoSpace { object, .. } | Self::Unsupported { object, .. } => {
                Some(object)
            }
            _ => None,
        }
    }
}

impl Error {
    /// Wraps a refusal of the operating system. A full medium becomes [`ErrorKind::NoSpace`], a missing
    /// file [`ErrorKind::NotFound`]; an `io::Error` that carries a [`Deferred`] becomes that error.
    pub fn io(operation: &'static str, object: impl Into<String>, source: io::Error) -> Self {
        let object = object.into();
        if let Some(deferred) = source.get_ref().and_then(|inner| inner.downcast_ref::<Deferred>()) {
            return deferred.of(object);
        }
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                BlockError::NoSpace { operation, object, source }.into()
            }
            _ => BlockError::Io { operation, object, source }.into(),
        }
    }
}
