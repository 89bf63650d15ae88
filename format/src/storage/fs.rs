//! The interface below a folder of objects: the few file system operations that [`FileStorage`] needs.
//!
//! [`RealFs`] uses the operating system, and the tests use a crash model. So the tests exercise the very
//! code that decides when to sync.
//!
//! Every path is relative to an open folder and never leads out of it: no part of it may be a symbolic
//! link.
//!
//! [`FileStorage`]: super::FileStorage
//! [`RealFs`]: super::RealFs

use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::io;
use std::path::Path;

use super::LockMode;
use super::machine::Machine;

/// The type of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// Anything else, including symbolic links.
    Other,
}

/// The metadata of a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The type.
    pub kind: Kind,
    /// The length, in bytes.
    pub len: u64,
    /// The number of its names; zero after removal.
    pub links: u64,
    /// The time of its last content change, in nanoseconds since 1970.
    pub modified_nanos: Option<u64>,
    /// The owner, if it is neither root nor this process's user.
    pub foreign_owner: Option<u32>,
}

/// The purpose for which a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading an existing file.
    Read,
    /// Appending to a new file.
    Create,
    /// Locking; creates the file if it is missing.
    Lock,
}

/// The reason for a sync. Tests omit the syncs of one kind and must detect a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncPoint {
    /// The bytes of an object.
    Object,
    /// A folder that received names.
    Target,
    /// A folder above a folder that receives names.
    Chain,
    /// The parent of the root.
    AboveRoot,
    /// A folder in which the root, or a folder above it, was created.
    MadePlace,
    /// The parent of the deepest folder on the path to the root that already existed.
    AbovePlace,
    /// A folder from which names were removed.
    Removal,
    /// A folder that received names from another writer, which may have died before its sync.
    Settle,
}

/// A file system.
pub trait Fs: Clone + Debug + Send + Sync + 'static {
    /// An open folder.
    type Folder: Debug + Send + Sync + 'static;
    /// An open file.
    type File: Debug + Send + Sync + 'static;

    /// Opens the folder at `path`. Follows links: users may name a store through one.
    fn place(&self, path: &Path) -> io::Result<Self::Folder>;

    /// Opens the parent of a folder.
    fn above(&self, folder: &Self::Folder) -> io::Result<Self::Folder>;

    /// Opens a folder beneath another; the folder itself for an empty path.
    fn folder(&self, beneath: &Self::Folder, path: &str) -> io::Result<Self::Folder>;

    /// Opens a file beneath a folder, without blocking.
    fn open(&self, beneath: &Self::Folder, path: &str, access: Access) -> io::Result<Self::File>;

    /// Creates a folder in another.
    fn make_folder(&self, folder: &Self::Folder, name: &OsStr) -> io::Result<()>;

    /// Removes an empty folder from another.
    fn remove_folder(&self, folder: &Self::Folder, name: &str) -> io::Result<()>;

    /// Removes a file from a folder.
    fn remove_file(&self, folder: &Self::Folder, name: &str) -> io::Result<()>;

    /// Renames a file atomically, replacing any file with the new name.
    fn rename(&self, from: (&Self::Folder, &str), to: (&Self::Folder, &str)) -> io::Result<()>;

    /// Gives a file a second name, which must be free.
    fn link(&self, from: (&Self::Folder, &str), to: (&Self::Folder, &str)) -> io::Result<()>;

    /// Lists a folder, in any order.
    fn entries(&self, folder: &Self::Folder) -> io::Result<Vec<(OsString, Kind)>>;

    /// Returns the metadata of a name in a folder.
    fn stat(&self, folder: &Self::Folder, name: &str) -> io::Result<Stat>;

    /// Returns the metadata of an open file.
    fn stat_file(&self, file: &Self::File) -> io::Result<Stat>;

    /// Returns the metadata of an open folder.
    fn stat_folder(&self, folder: &Self::Folder) -> io::Result<Stat>;

    /// Fills `buf` from byte `offset`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, file: &Self::File, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Appends to a file opened with [`Access::Create`].
    fn append(&self, file: &Self::File, bytes: &[u8]) -> io::Result<()>;

    /// Replaces the whole content of a file by `bytes`.
    fn rewrite(&self, file: &Self::File, bytes: &[u8]) -> io::Result<()>;

    /// Makes the bytes of a file durable.
    fn sync(&self, file: &Self::File, point: SyncPoint) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Self::Folder, point: SyncPoint) -> io::Result<()>;

    /// Tries to lock a file until it is closed. Returns false if another holder is in the way.
    fn lock(&self, file: &Self::File, mode: LockMode) -> io::Result<bool>;

    /// Returns this machine's identity, if known.
    fn machine(&self) -> Option<Machine>;
}
