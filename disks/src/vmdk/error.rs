//! The failures of disks in other programs' formats.

use std::io;

use melv_block::{BlockError, Detail, Error, ErrorKind, Position};

use super::{Fault, Parent};

/// A failure of a disk in a format of another program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The disk holds only the changes to another one, its parent, which is not read.
    #[error(
        "{object} is a difference to the parent {parent}: without it, it is no disk, and this version of \
         melv does not read the two together"
    )]
    Difference {
        /// The file.
        object: String,
        /// The disk that it changes.
        parent: Box<Parent>,
    },
    /// A disk in VMware's format is damaged, breaks the rules of the format, or asks for something that
    /// no reader should do.
    #[error("{object} is not sound at byte {offset}")]
    Vmdk {
        /// The file.
        object: String,
        /// The byte in it.
        offset: u64,
        /// The broken rule.
        #[source]
        fault: Fault,
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
            Self::Difference { .. } => ErrorKind::Unsupported,
            Self::Vmdk { .. } => ErrorKind::Damaged,
            Self::MissingExtent { .. } => ErrorKind::NotFound,
        }
    }

    fn object(&self) -> Option<&str> {
        match self {
            Self::Difference { object, .. }
            | Self::Vmdk { object, .. }
            | Self::MissingExtent { object, .. } => Some(object),
        }
    }

    fn position(&self) -> Option<Position> {
        match self {
            Self::Vmdk { offset, .. } => Some(Position::Byte(*offset)),
            Self::Difference { .. } | Self::MissingExtent { .. } => None,
        }
    }
}

/// Whether the file is not sound.
pub(crate) fn is_unsound(error: &Error) -> bool {
    matches!(error.detail(), Some(DiskError::Vmdk { .. }))
}

impl Fault {
    /// Converts the fault into an error about `object` at byte `offset`: damage, a missing feature,
    /// or a missing parent.
    pub(crate) fn at(self, object: impl Into<String>, offset: u64) -> Error {
        let object = object.into();
        match self {
            Self::Unsupported { feature } => BlockError::Unsupported { object, feature }.into(),
            Self::Difference { parent } => DiskError::Difference { object, parent }.into(),
            fault => DiskError::Vmdk { object, offset, fault }.into(),
        }
    }
}
