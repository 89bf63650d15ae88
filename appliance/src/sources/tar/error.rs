//! Faults of a tar, and their places.

use std::io;

use crate::sources::shown;

/// Failure to read a tar.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The bytes are no tar as POSIX, GNU or their common extensions have it.
    #[error("entry {entry}, byte {offset} of the tar: {fault}")]
    Malformed {
        /// Number of the entry, from 1.
        entry: u64,
        /// Byte of its header.
        offset: u64,
        /// The fault.
        fault: TarFault,
    },
    /// The tar ends early.
    #[error("entry {entry}: the tar ends at byte {offset}, within {within}")]
    Truncated {
        /// Number of the entry, from 1.
        entry: u64,
        /// The end.
        offset: u64,
        /// The part that is not whole.
        within: &'static str,
    },
    /// The bytes could not be read or unpacked.
    #[error("entry {entry}: the tar cannot be read at byte {offset}")]
    Read {
        /// Number of the entry, from 1.
        entry: u64,
        /// The byte.
        offset: u64,
        /// The reason: of the system, or a [`CompressionError`](crate::sources::CompressionError).
        source: io::Error,
    },
}

/// A fault of one entry of a tar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarFault {
    /// The header's sum is another.
    #[error("the check sum is {found}, and the header's bytes sum up to {computed}")]
    Checksum {
        /// The sum that the header tells.
        found: u64,
        /// The sum of its bytes.
        computed: u64,
    },
    /// A field holds no number, or one out of its range.
    #[error("the field {field} holds no number in its range")]
    Number {
        /// Name of the field.
        field: &'static str,
    },
    /// A zero block stands alone between headers.
    #[error("one zero block stands between headers, and two are the end")]
    LoneZeroBlock,
    /// An entry of a type that no rule here knows.
    #[error("the entry has the unknown type {:?}", char::from(*.0))]
    UnknownType(u8),
    /// A feature of tar that is not read here.
    #[error("{0} are not supported")]
    Unsupported(&'static str),
    /// An extension header is longer than any that is in use.
    #[error("an extension header claims {claimed} bytes, and {limit} are the most")]
    ExtensionTooLarge {
        /// The length that the header claims.
        claimed: u64,
        /// The most.
        limit: u64,
    },
    /// A record of an extension header is not `LENGTH KEY=VALUE`.
    #[error("byte {0} of the extension header starts no record")]
    Record(usize),
    /// A record has a value that cannot be.
    #[error("the record {} has a value that cannot be", shown(.0))]
    Value(Vec<u8>),
    /// A record stands for all entries that can only stand for one.
    #[error("the record {} stands for all entries", shown(.0))]
    Global(Vec<u8>),
    /// An extension header is the last of the tar.
    #[error("an extension header belongs to no entry")]
    Stray,
    /// The map of a sparse file contradicts its sizes, or itself.
    #[error("the map of the sparse file contradicts itself or the sizes")]
    SparseMap,
    /// An entry has a content although its name ends as a folder's.
    #[error("the name is a folder's, and {0} bytes follow")]
    FolderWithContent(u64),
    /// The entry has no name.
    #[error("the entry has no name")]
    NoName,
}
