//! Oddities of a disk that are no reason to refuse it.

use std::fmt;

/// A warning for the user who imports the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The file's name.
    pub object: String,
    /// The oddity of the file.
    pub oddity: Oddity,
}

/// An oddity of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Oddity {
    /// The file was not closed cleanly: the guest's last writes may be missing.
    Unclean,
    /// A transfer changed the bytes that reveal converted line ends. The tables are sound
    /// nevertheless; uncompressed grains have no check of their own.
    Newlines,
    /// Bytes follow the end of the stream.
    Padding {
        /// The number of bytes.
        bytes: u64,
    },
    /// A flat file extends beyond the last byte that the descriptor uses.
    Unused {
        /// The number of unused bytes.
        bytes: u64,
    },
    /// A descriptor next to the file names it as an extent of its disk.
    Piece {
        /// The descriptor's file name.
        name: String,
    },
    /// A snapshot next to the file names this disk as its parent and has a later state.
    Child {
        /// The snapshot's file name.
        name: String,
    },
    /// The disk's logical sectors are not 512 bytes long, and its partition tables count them.
    SectorSize {
        /// The logical sector size, in bytes.
        bytes: u64,
    },
    /// The descriptor has an impossible sector size, which is ignored.
    OddSectorSize {
        /// The sector size, in bytes.
        bytes: u64,
    },
    /// The descriptor fills its space to the last byte without ending its last line: it may be truncated.
    FullDescriptor,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.object)?;
        match &self.oddity {
            Oddity::Unclean => f.write_str("it was not closed cleanly; the last writes may be missing"),
            Oddity::Newlines => f.write_str("a transfer has changed its line ends; its data may be damaged"),
            Oddity::Padding { bytes } => write!(f, "{bytes} bytes follow the end of the stream"),
            Oddity::Unused { bytes } => write!(f, "it has {bytes} more bytes than the descriptor uses"),
            Oddity::Piece { name } => {
                write!(f, "it is only a piece of the disk that {name:?} beside it describes")
            }
            Oddity::Child { name } => {
                write!(f, "{name:?} beside it is a later snapshot, which has this disk as its parent")
            }
            Oddity::SectorSize { bytes } => write!(
                f,
                "the disk has sectors of {bytes} bytes: partitions are found only with this size \
                 (losetup -b {bytes}, logical_block_size={bytes})"
            ),
            Oddity::OddSectorSize { bytes } => {
                write!(f, "its descriptor has sectors of {bytes} bytes, which no disk has; 512 are assumed")
            }
            Oddity::FullDescriptor => f.write_str("its descriptor fills its space and may have been cut off"),
        }
    }
}
