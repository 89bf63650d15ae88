//! The seam beneath a folder of objects: the few operations of a file system that [`FileStorage`]
//! is made of.
//!
//! [`RealFs`] is the system's; the crash model of the tests is another. So the code that decides what
//! is synced, and when, is the code that is tested.
//!
//! Every path is relative to a folder that is held open, and is never led out of it: no part of it may
//! be a symbolic link.
//!
//! [`FileStorage`]: super::FileStorage
//! [`RealFs`]: super::RealFs

use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::io;
use std::path::Path;

use super::LockMode;
use super::machine::Machine;

/// What a name in a folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// Anything else, symbolic links among it.
    Other,
}

/// What is known of a file or folder beside its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Bytes.
    pub len: u64,
    /// Names that it has; none once it was removed.
    pub links: u64,
    /// When its content last changed, in nanoseconds since 1970.
    pub modified_nanos: Option<u64>,
    /// Its owner, where that is neither root nor the user of this process.
    pub foreign_owner: Option<u32>,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// For reading; it is there.
    Read,
    /// For appending; it is not there yet.
    Create,
    /// To be locked, and made where it is not there.
    Lock,
}

/// Why a folder is synced: a test leaves one out and must find that something is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncPoint {
    /// Bytes of an object.
    Object,
    /// A folder in which names were given.
    Target,
    /// A folder whose folders names are given in.
    Chain,
    /// The folder in which the root lies.
    AboveRoot,
    /// A folder in which the root, or one above it, was made.
    MadePlace,
    /// The folder above the first one on the way to the root that was there.
    AbovePlace,
    /// A folder from which names were removed.
    Removal,
    /// A folder whose names another writer gave, who may have died before this.
    Settle,
}

/// A file system.
pub trait Fs: Clone + Debug + Send + Sync + 'static {
    /// An open folder.
    type Folder: Debug + Send + Sync + 'static;
    /// An open file.
    type File: Debug + Send + Sync + 'static;

    /// Opens the folder at `path`, following links: users may name a store through one.
    fn place(&self, path: &Path) -> io::Result<Self::Folder>;

    /// Opens the folder above one.
    fn above(&self, folder: &Self::Folder) -> io::Result<Self::Folder>;

    /// Opens a folder beneath one; the folder itself for an empty path.
    fn folder(&self, beneath: &Self::Folder, path: &str) -> io::Result<Self::Folder>;

    /// Opens a file beneath a folder, without waiting for anybody.
    fn open(&self, beneath: &Self::Folder, path: &str, access: Access) -> io::Result<Self::File>;

    /// Makes a folder in one.
    fn make_folder(&self, folder: &Self::Folder, name: &OsStr) -> io::Result<()>;

    /// Removes an empty folder from one.
    fn remove_folder(&self, folder: &Self::Folder, name: &str) -> io::Result<()>;

    /// Removes a file from a folder.
    fn remove_file(&self, folder: &Self::Folder, name: &str) -> io::Result<()>;

    /// Renames a file in one step, replacing what had the name.
    fn rename(&self, from: (&Self::Folder, &str), to: (&Self::Folder, &str)) -> io::Result<()>;

    /// Gives a file a second name, which must be free.
    fn link(&self, from: (&Self::Folder, &str), to: (&Self::Folder, &str)) -> io::Result<()>;

    /// Lists a folder, in any order.
    fn entries(&self, folder: &Self::Folder) -> io::Result<Vec<(OsString, Kind)>>;

    /// Looks at a name in a folder.
    fn stat(&self, folder: &Self::Folder, name: &str) -> io::Result<Stat>;

    /// Looks at an open file.
    fn stat_file(&self, file: &Self::File) -> io::Result<Stat>;

    /// Looks at an open folder.
    fn stat_folder(&self, folder: &Self::Folder) -> io::Result<Stat>;

    /// Fills `buf` from byte `offset`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, file: &Self::File, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Appends to a file that was created.
    fn append(&self, file: &Self::File, bytes: &[u8]) -> io::Result<()>;

    /// Puts `bytes` in the place of all that a file has.
    fn rewrite(&self, file: &Self::File, bytes: &[u8]) -> io::Result<()>;

    /// Makes the bytes of a file durable.
    fn sync(&self, file: &Self::File, point: SyncPoint) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Self::Folder, point: SyncPoint) -> io::Result<()>;

    /// Tries to lock a file until it is closed; false where another holder is in the way.
    fn lock(&self, file: &Self::File, mode: LockMode) -> io::Result<bool>;

    /// Tells which machine this is, if it can be known.
    fn machine(&self) -> Option<Machine>;
}
