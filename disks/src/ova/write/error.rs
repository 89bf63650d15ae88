//! Refusals of machines and packages.

use melv_block::{Detail, ErrorKind};

/// A machine that cannot be described, or a disk that does not fit its package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OvaError {
    /// A text that no descriptor should hold.
    #[error("the {field} {found:?} {fault}")]
    Text {
        /// The meaning of the text.
        field: &'static str,
        /// Its first 80 characters.
        found: String,
        /// The broken rule.
        fault: TextFault,
    },
    /// A number outside its range.
    #[error("the {field} is {found}, expected a multiple of {step} from {min} to {max}")]
    Number {
        /// The meaning of the number, with its unit.
        field: &'static str,
        /// The number.
        found: u64,
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
        /// The unit that it must be a multiple of.
        step: u64,
    },
    /// More data disks than one controller has places for.
    #[error("the machine has {found} data disks, the limit is {max}")]
    DataDisks {
        /// The number of data disks.
        found: usize,
        /// The largest number.
        max: usize,
    },
    /// Two data disks whose names differ in nothing, or in the case of letters alone.
    #[error("the name {name:?} of a data disk is used twice")]
    DuplicateDataDisk {
        /// The second name.
        name: String,
    },
    /// A disk in a package must be a stream-optimized VMDK.
    #[error("the disk {file} begins with {found:?}, expected the header of a stream-optimized VMDK")]
    NotStream {
        /// The file in the package.
        file: String,
        /// Its first bytes, at most 16.
        found: Vec<u8>,
    },
    /// The disk has another size than the machine tells.
    #[error("the disk {file} has a capacity of {found} bytes, expected {expected}")]
    Capacity {
        /// The file in the package.
        file: String,
        /// The capacity in the disk's header, in bytes.
        found: u64,
        /// The machine's, in bytes.
        expected: u64,
    },
    /// The second pass over a disk gave other bytes than the first.
    #[error("the disk {file} differs between two passes, expected the same {expected} bytes")]
    DiskChanged {
        /// The file in the package.
        file: String,
        /// The number of bytes in the first pass.
        expected: u64,
    },
}

/// A rule of texts that a text breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextFault {
    /// It is empty.
    #[error("is empty")]
    Empty,
    /// It is longer than products keep.
    #[error("has {found} characters, the limit is {max}")]
    Long {
        /// Its length, in characters.
        found: usize,
        /// The largest length.
        max: usize,
    },
    /// It holds a character that neither XML nor a VMX file can hold, or that changes its meaning.
    #[error("holds the character {character:?} at byte {at}")]
    Character {
        /// The character.
        character: char,
        /// The byte at which it begins.
        at: usize,
    },
    /// It begins or ends with a blank, which readers drop.
    #[error("begins or ends with a blank")]
    Blank,
    /// It begins with a dot, so that a folder of this name is hidden or another one.
    #[error("begins with a dot")]
    Dot,
}

impl Detail for OvaError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Text { .. }
            | Self::Number { .. }
            | Self::DuplicateDataDisk { .. }
            | Self::NotStream { .. }
            | Self::Capacity { .. } => ErrorKind::Invalid,
            Self::DataDisks { .. } => ErrorKind::Limit,
            Self::DiskChanged { .. } => ErrorKind::Changed,
        }
    }

    fn object(&self) -> Option<&str> {
        match self {
            Self::NotStream { file, .. } | Self::Capacity { file, .. } | Self::DiskChanged { file, .. } => {
                Some(file)
            }
            _ => None,
        }
    }
}
