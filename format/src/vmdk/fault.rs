//! What can be wrong with a VMDK.

use super::Parent;
use super::error::DiskError;
use crate::error::{BlockError, Error};

/// Why a VMDK is refused: what was expected, what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file ends before a structure does.
    #[error("the file has {found} bytes, {needed} are needed: it was cut off")]
    Truncated {
        /// Bytes that the structure reaches to.
        needed: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// A sparse extent does not begin with `KDMV`.
    #[error("the first bytes are not those of a sparse extent, \"KDMV\"")]
    Magic,
    /// A file that is no VMDK by its first bytes.
    #[error("the file begins neither with \"KDMV\" nor with the line \"# Disk DescriptorFile\"")]
    NotVmdk,
    /// Sound perhaps, but of a kind that is not read.
    #[error("{feature}")]
    Unsupported {
        /// What would be needed.
        feature: String,
    },
    /// Sound perhaps, but a difference to another disk.
    #[error("a difference to {parent}")]
    Difference {
        /// The other one.
        parent: Box<Parent>,
    },
    /// A number is out of its range.
    #[error("{what} is {found}, expected {expected}")]
    Value {
        /// Which number.
        what: &'static str,
        /// The number.
        found: u64,
        /// What it may be.
        expected: &'static str,
    },
    /// Two places say the same thing differently.
    #[error("{what} is {found}, but {expected} by {by}")]
    Disagree {
        /// What both say.
        what: &'static str,
        /// The number here.
        found: u64,
        /// The number there.
        expected: u64,
        /// Where "there" is.
        by: &'static str,
    },
    /// Two structures lie over each other.
    #[error("{what} in sectors {start}..{end} lies over {other}")]
    Overlap {
        /// One of them.
        what: &'static str,
        /// Its first sector.
        start: u64,
        /// The sector after its last.
        end: u64,
        /// The other.
        other: &'static str,
    },
    /// A grain table has an entry that cannot be.
    #[error("entry {entry} of grain table {table} is sector {sector}, {why}")]
    GrainPlace {
        /// Which table, by its number in the directory.
        table: u64,
        /// Which entry.
        entry: u64,
        /// What the entry says.
        sector: u32,
        /// Why no grain can lie there.
        why: &'static str,
    },
    /// A table in front of a stream's grains does not say what came.
    #[error("grain table {table} and the grains that came in the stream disagree: {why}")]
    StreamTable {
        /// Which table, by its number in the directory.
        table: u64,
        /// How they disagree.
        why: &'static str,
    },
    /// A compressed grain is longer or shorter than a grain.
    #[error("the grain of sector {lba} inflates to {found} bytes, expected {expected}")]
    GrainLen {
        /// The grain's first sector in the disk.
        lba: u64,
        /// Bytes that came out, counted no further than one too many.
        found: u64,
        /// Bytes in the grain.
        expected: u64,
    },
    /// A compressed grain is no whole zlib stream.
    #[error("the grain of sector {lba} is not a zlib stream: {why}")]
    Inflate {
        /// The grain's first sector in the disk.
        lba: u64,
        /// What the decoder met.
        why: &'static str,
    },
    /// A descriptor longer than any is.
    #[error("the descriptor has {found} bytes, no more than {max} are read")]
    DescriptorLen {
        /// Its bytes.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// A line of the descriptor, or the lack of one.
    #[error("line {line} of the descriptor is {text:?}, expected {expected}")]
    Descriptor {
        /// Counted from 1; the number of lines where one is missing.
        line: usize,
        /// The line, or what of it matters, cut short where it is long.
        text: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A sparse extent that has no descriptor, so that nothing says what it is a part of.
    #[error("this sparse extent has no descriptor in it: open the descriptor file that names it")]
    NoDescriptor,
    /// A descriptor inside a sparse extent that speaks of other extents.
    #[error(
        "the descriptor in this sparse extent has {extents} extents, the first of type {kind}; expected one, SPARSE"
    )]
    Embedded {
        /// How many.
        extents: usize,
        /// The first one's type.
        kind: &'static str,
    },
    /// An extent's name, or the file of that name, is not acceptable.
    #[error(
        "the descriptor names the extent {name:?}, {why}; an extent must be a regular file \
         with a plain name beside the descriptor, and nothing else is ever opened"
    )]
    Extent {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Grains of a stream that do not come in the order of the disk.
    #[error(
        "the grain of sector {found} comes after that of sector {previous}: a pipe is read in the \
         order of the disk only; give it as a file"
    )]
    Order {
        /// The grain's sector in the disk.
        found: u64,
        /// That of the grain before it.
        previous: u64,
    },
    /// A stream that ends more than once.
    #[error("the stream ends here, and at byte {other} too: these are two streams, not one")]
    TwoEnds {
        /// Where the other footer lies.
        other: u64,
    },
    /// A stream that ends too early.
    #[error("the stream ends here, expected {expected}: it was cut off")]
    Cut {
        /// What should have come.
        expected: &'static str,
    },
}

impl Fault {
    /// The fault with its place: damage, or what merely needs another reader.
    pub(crate) fn at(self, object: impl Into<String>, offset: u64) -> Error {
        let object = object.into();
        match self {
            Self::Unsupported { feature } => BlockError::Unsupported { object, feature }.into(),
            Self::Difference { parent } => DiskError::Difference { object, parent }.into(),
            fault => DiskError::Vmdk { object, offset, fault }.into(),
        }
    }

    pub(super) fn unsupported(feature: impl Into<String>) -> Self {
        Self::Unsupported { feature: feature.into() }
    }
}
