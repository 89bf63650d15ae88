//! The failures of disks in other programs' formats.

use std::io;

#[cfg(feature = "vmdk")]
use melv_block::{BlockError, Error};
use melv_block::{Container, Detail, ErrorKind, Position};

#[cfg(feature = "vmdk")]
use crate::vmdk::{Parent, VmdkViolation};

/// A failure of a disk in a format of another program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The disk holds only the changes to another one, its parent, which is not read.
    #[cfg(feature = "vmdk")]
    #[error(
        "{object} is a difference to the parent {parent}: it is incomplete without the parent, and this \
         version of melv cannot read the two together"
    )]
    Difference {
        /// The file.
        object: String,
        /// The disk that it changes.
        parent: Box<Parent>,
    },
    /// A disk in VMware's format is damaged, breaks the rules of the format, or asks for something that
    /// no reader should do.
    #[cfg(feature = "vmdk")]
    #[error("{object} is invalid at byte {offset}")]
    Vmdk {
        /// The file.
        object: String,
        /// The byte in it.
        offset: u64,
        /// The broken rule.
        #[source]
        violation: VmdkViolation,
    },
    /// A file in a format that is not read.
    #[error("{object} is in the format {}, which this version of melv does not read", .format.name())]
    ForeignFormat {
        /// The file or pipe.
        object: String,
        /// Its format.
        format: Container,
    },
    /// A file that a disk names, and that the caller's [`Gate`](crate::Gate) does not let be opened.
    #[error("{object} names the file {name:?}, and no other file may be opened for it")]
    GateClosed {
        /// The file that names it.
        object: String,
        /// The name.
        name: String,
    },
    /// A file that the disk consists of, and that its descriptor names, is missing.
    #[error("cannot open the extent {object}")]
    MissingExtent {
        /// The file.
        object: String,
        /// The refusal.
        #[source]
        source: io::Error,
    },
}

impl Detail for DiskError {
    fn kind(&self) -> ErrorKind {
        match self {
            #[cfg(feature = "vmdk")]
            Self::Difference { .. } => ErrorKind::Unsupported,
            #[cfg(feature = "vmdk")]
            Self::Vmdk { .. } => ErrorKind::Damaged,
            Self::ForeignFormat { .. } => ErrorKind::Unsupported,
            Self::GateClosed { .. } => ErrorKind::Invalid,
            Self::MissingExtent { .. } => ErrorKind::NotFound,
        }
    }

    fn object(&self) -> Option<&str> {
        match self {
            #[cfg(feature = "vmdk")]
            Self::Difference { object, .. } | Self::Vmdk { object, .. } => Some(object),
            Self::ForeignFormat { object, .. }
            | Self::GateClosed { object, .. }
            | Self::MissingExtent { object, .. } => Some(object),
        }
    }

    fn position(&self) -> Option<Position> {
        match self {
            #[cfg(feature = "vmdk")]
            Self::Vmdk { offset, .. } => Some(Position::Byte(*offset)),
            _ => None,
        }
    }
}

#[cfg(feature = "vmdk")]
impl VmdkViolation {
    /// Converts the violation into an error about `object` at byte `offset`: damage, a missing feature,
    /// or a missing parent.
    pub(crate) fn at(self, object: impl Into<String>, offset: u64) -> Error {
        let object = object.into();
        match self {
            Self::Unsupported { feature } => BlockError::Unsupported { object, feature }.into(),
            Self::Difference { parent } => DiskError::Difference { object, parent }.into(),
            violation => DiskError::Vmdk { object, offset, violation }.into(),
        }
    }
}
