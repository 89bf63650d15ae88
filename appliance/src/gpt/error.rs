//! Faults of partitions that a table cannot hold.

/// Partitions that a table cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GptError {
    /// The boot code does not fit the MBR.
    #[error("boot code of {length} bytes, expected at most 440")]
    BootCodeTooLong {
        /// Bytes of the code.
        length: usize,
    },
    /// The table has more partitions than entries.
    #[error("{count} partitions, expected at most 128")]
    TooManyPartitions {
        /// The number of partitions.
        count: usize,
    },
    /// A partition has no bytes.
    #[error("partition {number}: no bytes")]
    Empty {
        /// The partition, from 1.
        number: usize,
    },
    /// A partition's name does not fit its entry, or has a NUL.
    #[error("partition {number}: a name of {units} UTF-16 units, expected at most 36 without NUL")]
    InvalidName {
        /// The partition, from 1.
        number: usize,
        /// UTF-16 units of the name.
        units: usize,
    },
    /// A partition's type, or its own GUID, is zero, which marks an entry as free.
    #[error("partition {number}: a GUID of zeros")]
    NilGuid {
        /// The partition, from 1.
        number: usize,
    },
    /// Two partitions have one GUID.
    #[error("partition {number}: its GUID {guid} is that of partition {first}")]
    DuplicateGuid {
        /// The second partition, from 1.
        number: usize,
        /// The first partition.
        first: usize,
        /// The GUID.
        guid: super::Guid,
    },
    /// The disk would be longer than 2^63 bytes.
    #[error("partition {number}: ends beyond 2^63 bytes")]
    TooLong {
        /// The partition, from 1.
        number: usize,
    },
}
