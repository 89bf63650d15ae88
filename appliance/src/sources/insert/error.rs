//! Faults of entries that a tree does not take.

use std::io;

use crate::sources::shown;

use super::names::NameFault;

/// An entry that cannot become part of the tree.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", shown(path))]
pub struct InsertError {
    /// Path of the entry, as its archive has it.
    pub path: Vec<u8>,
    /// The fault.
    pub fault: InsertFault,
}

/// The reason why a tree does not take an entry.
#[derive(Debug, thiserror::Error)]
pub enum InsertFault {
    /// The path cannot be.
    #[error(transparent)]
    Name(#[from] NameFault),
    /// The target of a hard link cannot be a path.
    #[error("the hard link's target {}: {fault}", shown(target))]
    LinkName {
        /// The target.
        target: Vec<u8>,
        /// The fault.
        fault: NameFault,
    },
    /// A hard link's target is not there.
    #[error("the hard link's target {} is not there", shown(.0))]
    NoTarget(Vec<u8>),
    /// A hard link's target is a folder.
    #[error("the hard link's target {} is a folder", shown(.0))]
    FolderTarget(Vec<u8>),
    /// The root, or one of the root's folders below `usr/`, is to become a file.
    #[error("the path is a folder of every tree, and the entry is none")]
    FixedFolder,
    /// A link stands for a folder that lies below `usr/`, and that folder is full.
    #[error("the link leads to {}, and the files of both folders would lie in one", shown(.0))]
    FixedLink(Vec<u8>),
    /// A parent is a file.
    #[error("the parent {} is a file", shown(.0))]
    FileParent(Vec<u8>),
    /// The path leads through too many links.
    #[error("the path leads through more links than a path may, or through a circle of them")]
    Links,
    /// A target of a symbolic link that no file system holds.
    #[error("the target of the link has {0} bytes or a NUL")]
    Target(usize),
    /// Two packages have different files at one path.
    #[error("the packages {first} and {second} have different {first_kind} and {second_kind} there")]
    Conflict {
        /// The package that came first.
        first: String,
        /// Its kind of entry.
        first_kind: &'static str,
        /// The package that came second.
        second: String,
        /// Its kind of entry.
        second_kind: &'static str,
    },
    /// A whiteout that names nothing, or a folder of every tree.
    #[error("the whiteout names nothing that can be removed")]
    Whiteout,
    /// An extended attribute that no file system holds.
    #[error("the extended attribute {} has a name that cannot be", shown(.0))]
    XattrName(Vec<u8>),
    /// The extended attributes are too long.
    #[error("the extended attributes have {found} bytes, and {limit} are the most")]
    Xattrs {
        /// Bytes of names and values.
        found: usize,
        /// The most.
        limit: usize,
    },
    /// The tree is full.
    #[error("the tree would have more than {limit} {of}")]
    Limit {
        /// The thing that is counted.
        of: &'static str,
        /// The most.
        limit: u64,
    },
    /// Contents to compare could not be read.
    #[error("the contents of two files could not be compared: {0}")]
    Compare(io::Error),
}
