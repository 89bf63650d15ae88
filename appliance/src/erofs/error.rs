//! Faults of a tree that EROFS cannot hold, and failures of its writing.

use std::io;

/// A tree that EROFS cannot hold, or a failed write.
///
/// Paths are written with escapes for bytes that are not printable ASCII.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErofsError {
    /// The root of the tree is a file or a link.
    #[error("the root is not a folder")]
    RootNotDirectory,
    /// A folder names an inode that the tree does not have.
    #[error("{path}: names inode {id}, and the tree has {count}")]
    UnknownInode {
        /// The place.
        path: String,
        /// The inode's number.
        id: u32,
        /// The number of inodes in the tree.
        count: usize,
    },
    /// A folder has two names, or lies within itself.
    #[error("{path}: a second name of a folder")]
    DirectoryTwice {
        /// The second name.
        path: String,
    },
    /// A name is empty, `.` or `..`, or has a slash or a NUL.
    #[error("{path}: not a name: expected bytes without '/' and NUL, not '.' or '..'")]
    InvalidName {
        /// The place, with the name.
        path: String,
    },
    /// A name is longer than 255 bytes.
    #[error("{path}: a name of {length} bytes, expected at most 255")]
    NameTooLong {
        /// The place, with the name.
        path: String,
        /// Bytes of the name.
        length: usize,
    },
    /// The target of a link is empty, has a NUL, or is longer than 4095 bytes.
    #[error("{path}: a link to {length} bytes, expected 1 to 4095 without NUL")]
    InvalidTarget {
        /// The link.
        path: String,
        /// Bytes of the target.
        length: usize,
    },
    /// A mode has more than the twelve bits of permissions.
    #[error("{path}: mode {mode:#o}, expected at most 0o7777")]
    InvalidMode {
        /// The place.
        path: String,
        /// The mode.
        mode: u16,
    },
    /// A time has a second or more of nanoseconds.
    #[error("{path}: {nanoseconds} nanoseconds, expected less than 1000000000")]
    InvalidTime {
        /// The place; empty for the volume's epoch.
        path: String,
        /// The nanoseconds.
        nanoseconds: u32,
    },
    /// An attribute is of a class for which EROFS has no number.
    #[error("{path}: attribute {name}: expected user., trusted., security. or a POSIX access control list")]
    UnsupportedXattr {
        /// The place.
        path: String,
        /// The attribute's full name.
        name: String,
    },
    /// An attribute's name is longer than 255 bytes, has a NUL, or ends after its class.
    #[error(
        "{path}: attribute {name}: a name of {length} bytes, expected a class and more, at most 255, no NUL"
    )]
    InvalidXattrName {
        /// The place.
        path: String,
        /// The attribute's full name.
        name: String,
        /// Bytes of the name.
        length: usize,
    },
    /// An attribute's value is longer than 65,535 bytes.
    #[error("{path}: attribute {name}: a value of {length} bytes, expected at most 65535")]
    XattrTooLong {
        /// The place.
        path: String,
        /// The attribute's full name.
        name: String,
        /// Bytes of the value.
        length: usize,
    },
    /// All attributes of an inode take more than 262,148 bytes.
    #[error("{path}: attributes of {length} bytes, expected at most 262148")]
    XattrsTooLong {
        /// The place.
        path: String,
        /// Bytes of all entries and their header.
        length: u64,
    },
    /// A file of zeros is longer than a hole can be.
    #[error("{path}: a hole of {length} bytes, expected at most {max}")]
    HoleTooLong {
        /// The file.
        path: String,
        /// Bytes of the file.
        length: u64,
        /// The longest hole in bytes.
        max: u64,
    },
    /// The range of a content ends beyond 64 bits.
    #[error("{path}: {length} bytes from byte {offset} of the spool end beyond 64 bits")]
    InvalidRange {
        /// The file.
        path: String,
        /// The first byte.
        offset: u64,
        /// The length in bytes.
        length: u64,
    },
    /// An inode has more names than fit 32 bits.
    #[error("{path}: more than 4294967295 names")]
    TooManyLinks {
        /// The last name counted.
        path: String,
    },
    /// The tree has more inodes than fit 32 bits.
    #[error("more than 4294967294 inodes")]
    TooManyInodes,
    /// The image needs more blocks than 32 bits address.
    #[error("{path}: the image ends beyond block 4294967294")]
    TooManyBlocks {
        /// The inode for which no blocks are left.
        path: String,
    },
    /// The volume's label is longer than 15 bytes or has a NUL.
    #[error("a label of {length} bytes, expected at most 15 without NUL")]
    InvalidLabel {
        /// Bytes of the label.
        length: usize,
    },
    /// A file's content could not be read.
    #[error("{path}: byte {offset} cannot be read")]
    Read {
        /// The file.
        path: String,
        /// The place in the file.
        offset: u64,
        /// The reason.
        source: io::Error,
    },
    /// The output did not take the image.
    #[error("the image cannot be written at byte {offset}")]
    Write {
        /// The place in the image.
        offset: u64,
        /// The reason.
        source: io::Error,
    },
}
