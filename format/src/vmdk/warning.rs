//! What is odd about a VMDK and no reason to refuse it.

use std::fmt;

use super::header::{FLAG_NEWLINES, SparseHeader};

/// Something to be told to whoever imports the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The file.
    pub object: String,
    /// What is odd about it.
    pub oddity: Oddity,
}

/// What can be odd about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Oddity {
    /// Its writer did not close it: what the guest wrote last may not be in it.
    Unclean,
    /// The bytes that show whether a transfer changed line ends were changed. The tables were
    /// found sound nevertheless; grains that are not compressed have no check of their own.
    Newlines,
    /// Bytes follow the end of the stream.
    Padding {
        /// How many.
        bytes: u64,
    },
    /// A flat file goes on behind the last byte that the descriptor uses.
    Unused {
        /// By how many bytes.
        bytes: u64,
    },
    /// A descriptor beside names this file as a piece of its disk.
    Piece {
        /// The descriptor's file name.
        name: String,
    },
    /// A difference beside names this disk as its parent: it has a later state.
    Child {
        /// The difference's file name.
        name: String,
    },
    /// The disk was made for sectors of another size than 512 bytes, and partition tables count them.
    SectorSize {
        /// Bytes in a logical sector.
        bytes: u64,
    },
    /// The descriptor has a size of sectors that no disk has. It is left out.
    OddSectorSize {
        /// The size that it has.
        bytes: u64,
    },
    /// The descriptor fills its room to the last byte and does not end with a line: it may have
    /// been cut.
    FullDescriptor,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.object)?;
        match &self.oddity {
            Oddity::Unclean => f.write_str("it was not closed cleanly; the last writes may be missing"),
            Oddity::Newlines => f.write_str("a transfer has changed its line ends; its data may be damaged"),
            Oddity::Padding { bytes } => write!(f, "{bytes} bytes follow the end of the stream"),
            Oddity::Unused { bytes } => write!(f, "it has {bytes} bytes more than the descriptor uses"),
            Oddity::Piece { name } => {
                write!(f, "it is a piece of {name:?}, which lies beside it and says what the disk is")
            }
            Oddity::Child { name } => {
                write!(
                    f,
                    "{name:?} beside it is a snapshot that has this disk as its parent, and a later state"
                )
            }
            Oddity::SectorSize { bytes } => write!(
                f,
                "the disk has sectors of {bytes} bytes: partitions are found only with them \
                 (losetup -b {bytes}, logical_block_size={bytes})"
            ),
            Oddity::OddSectorSize { bytes } => {
                write!(f, "its descriptor has sectors of {bytes} bytes, which no disk has; 512 are assumed")
            }
            Oddity::FullDescriptor => f.write_str("its descriptor fills its room and may have been cut"),
        }
    }
}

/// What is odd about a sparse extent's header.
pub(super) fn of_header(object: &str, header: &SparseHeader) -> Vec<Warning> {
    let warning = |oddity| Warning { object: object.to_owned(), oddity };
    let unclean = header.is_unclean.then_some(Oddity::Unclean);
    let newlines = (header.has(FLAG_NEWLINES) && !header.newlines_intact).then_some(Oddity::Newlines);
    unclean.into_iter().chain(newlines).map(warning).collect()
}

/// What is odd about an embedded descriptor's room.
pub(super) fn of_descriptor(object: &str, room: &[u8]) -> Option<Warning> {
    let is_full = room.last().is_some_and(|&byte| byte != 0 && byte != b'\n' && byte != b' ');
    is_full.then(|| Warning { object: object.to_owned(), oddity: Oddity::FullDescriptor })
}
