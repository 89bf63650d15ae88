//! Faults of files that the volume cannot hold, and failures of its writing.

use std::io;

/// Files that a FAT16 volume cannot hold, or a failed write.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FatError {
    /// The volume's size is not one of FAT16 with clusters of 4 KiB.
    #[error("a volume of {size} bytes, expected whole MiB from 17 to 256")]
    InvalidSize {
        /// The size in bytes.
        size: u64,
    },
    /// The label is not one.
    #[error("label {label:?}: expected 1 to 11 of A to Z, 0 to 9, '_', '-' and inner spaces")]
    InvalidLabel {
        /// The label.
        label: String,
    },
    /// A path has a part that is not a long name of FAT.
    #[error("{path:?}: {name:?} is not a name of FAT")]
    InvalidName {
        /// The whole path.
        path: String,
        /// The part.
        name: String,
    },
    /// Two paths differ in the case of letters at most.
    #[error("{path:?}: a second file of this name, but for the case of letters")]
    Duplicate {
        /// The second path.
        path: String,
    },
    /// A file is used as a folder.
    #[error("{path:?}: a part of it is a file")]
    NotAFolder {
        /// The path with more parts.
        path: String,
    },
    /// A folder has so many similar names that no short names are left.
    #[error("{name:?}: no short name is left for it")]
    NoShortName {
        /// The long name.
        name: String,
    },
    /// The root has more than 512 entries; a long name takes several.
    #[error("a root folder of {entries} entries, expected at most 512")]
    RootFull {
        /// Entries that it needs.
        entries: u64,
    },
    /// A folder is longer than FAT allows.
    #[error("a folder of {entries} entries, expected at most 65536")]
    FolderFull {
        /// Entries that it needs.
        entries: u64,
    },
    /// The files need more clusters than the volume has.
    #[error("{path:?}: no space: {needed} clusters of 4 KiB needed so far, the volume has {clusters}")]
    NoSpace {
        /// The file that does not fit, or empty for folders.
        path: String,
        /// Clusters that are needed, this file's included.
        needed: u64,
        /// Clusters of the volume.
        clusters: u64,
    },
    /// The range of a content ends beyond 64 bits.
    #[error("{path:?}: {length} bytes from byte {offset} of the spool end beyond 64 bits")]
    InvalidRange {
        /// The file.
        path: String,
        /// The first byte.
        offset: u64,
        /// The length in bytes.
        length: u64,
    },
    /// A file's content could not be read.
    #[error("{path:?}: byte {offset} cannot be read")]
    Read {
        /// The file.
        path: String,
        /// The place in the file.
        offset: u64,
        /// The reason.
        source: io::Error,
    },
    /// The output did not take the volume.
    #[error("the volume cannot be written at byte {offset}")]
    Write {
        /// The place in the volume.
        offset: u64,
        /// The reason.
        source: io::Error,
    },
}
