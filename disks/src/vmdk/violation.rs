//! The rules that a VMDK can break.

use crate::vmdk::Parent;

/// The reason to refuse a VMDK, with the expected and the actual value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VmdkViolation {
    /// The file ends inside a structure.
    #[error("the file has {found} bytes, expected at least {needed}: it was cut off")]
    Truncated {
        /// The end of the structure, in bytes.
        needed: u64,
        /// The length of the file, in bytes.
        found: u64,
    },
    /// A sparse extent does not begin with `KDMV`.
    #[error("the first bytes are not \"KDMV\", which begins a sparse extent")]
    Magic,
    /// A file whose first bytes are not those of a VMDK.
    #[error("the file begins neither with \"KDMV\" nor with the line \"# Disk DescriptorFile\"")]
    NotVmdk,
    /// A kind of VMDK that is not supported; it may be sound.
    #[error("{feature}")]
    Unsupported {
        /// The missing feature.
        feature: String,
    },
    /// A differencing disk; it may be sound.
    #[error("a difference to {parent}")]
    Difference {
        /// The parent.
        parent: Box<Parent>,
    },
    /// A number is out of its range.
    #[error("{what} is {found}, expected {expected}")]
    Value {
        /// The name of the number.
        what: &'static str,
        /// The actual number.
        found: u64,
        /// The permitted values.
        expected: &'static str,
    },
    /// Two places give different numbers for the same thing.
    #[error("{what} is {found}, but {expected} according to {by}")]
    Disagree {
        /// The name of the number.
        what: &'static str,
        /// The number at this place.
        found: u64,
        /// The number at the other place.
        expected: u64,
        /// The other place.
        by: &'static str,
    },
    /// Two structures overlap.
    #[error("{what} in sectors {start}..{end} overlaps {other}")]
    Overlap {
        /// The first structure.
        what: &'static str,
        /// Its first sector.
        start: u64,
        /// The sector after its last.
        end: u64,
        /// The other structure.
        other: &'static str,
    },
    /// An impossible entry in a grain table.
    #[error("entry {entry} of grain table {table} is sector {sector}, {why}")]
    GrainPlace {
        /// The table's number in the directory.
        table: u64,
        /// The entry's index in the table.
        entry: u64,
        /// The sector in the entry.
        sector: u32,
        /// The reason why no grain can lie there.
        why: &'static str,
    },
    /// A table ahead of a stream's grains that disagrees with them.
    #[error("grain table {table} disagrees with the grains of the stream: {why}")]
    StreamTable {
        /// The table's number in the directory.
        table: u64,
        /// The disagreement.
        why: &'static str,
    },
    /// A compressed grain of the wrong inflated length.
    #[error("the grain of sector {lba} inflates to {found} bytes, expected {expected}")]
    GrainLen {
        /// The grain's first sector in the disk.
        lba: u64,
        /// The inflated length, in bytes, counted up to one byte too many.
        found: u64,
        /// The length of the grain, in bytes.
        expected: u64,
    },
    /// A compressed grain that is not one complete zlib stream.
    #[error("the grain of sector {lba} is not a zlib stream: {why}")]
    Inflate {
        /// The grain's first sector in the disk.
        lba: u64,
        /// The error of the decoder.
        why: &'static str,
    },
    /// A descriptor above the length limit.
    #[error("the descriptor has {found} bytes, the limit is {max}")]
    DescriptorLen {
        /// Its length, in bytes.
        found: u64,
        /// The limit, in bytes.
        max: u64,
    },
    /// A wrong or missing line of the descriptor.
    #[error("line {line} of the descriptor is {text:?}, expected {expected}")]
    Descriptor {
        /// The line number, from 1; the number of lines if one is missing.
        line: usize,
        /// The line or the relevant part of it, truncated if long.
        text: String,
        /// The expected syntax.
        expected: &'static str,
    },
    /// A sparse extent without a descriptor, so that its place in a disk is unknown.
    #[error("this sparse extent has no descriptor in it: open the descriptor file that names it")]
    NoDescriptor,
    /// A descriptor in a sparse extent that lists other extents.
    #[error(
        "the descriptor in this sparse extent has {extents} extents, the first of type {kind}; expected one, SPARSE"
    )]
    Embedded {
        /// The number of extents.
        extents: usize,
        /// The type of the first one.
        kind: &'static str,
    },
    /// An extent with an unacceptable name, or whose file is unacceptable.
    #[error(
        "the descriptor names the extent {name:?}, {why}; an extent must be a regular file \
         with a plain name beside the descriptor, and melv opens nothing else"
    )]
    Extent {
        /// The name of the extent.
        name: String,
        /// The reason to refuse it.
        why: &'static str,
    },
    /// Grains of a stream that are not in disk order.
    #[error(
        "the grain of sector {found} comes after that of sector {previous}: grains in a pipe \
         must follow the order of the disk; give it as a file"
    )]
    Order {
        /// The grain's sector in the disk.
        found: u64,
        /// The sector of the grain before it.
        previous: u64,
    },
    /// A stream with more than one end.
    #[error("the stream ends here, and at byte {other} too: these are two streams, not one")]
    TwoEnds {
        /// The file offset of the other footer.
        other: u64,
    },
    /// A stream that ends too early.
    #[error("the stream ends here, expected {expected}: it was cut off")]
    Cut {
        /// The part that is missing.
        expected: &'static str,
    },
}

impl VmdkViolation {
    pub(crate) fn unsupported(feature: impl Into<String>) -> Self {
        Self::Unsupported { feature: feature.into() }
    }
}
