//! The choices of a build.

use std::path::PathBuf;

use crate::{
    image::SourceFolders,
    lock::{PackageName, Uri},
};

/// The use of the lock beside the declaration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LockMode {
    /// It is used where it answers the declaration, and made where there is none. Where it answers another question,
    /// only the difference is resolved anew.
    #[default]
    Use,
    /// It must be there and answer the declaration.
    Locked,
    /// All packages are resolved anew.
    UpdateAll,
    /// These packages are resolved anew.
    Update(Vec<PackageName>),
}

/// The choices of a build.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of all caches. It may be deleted at any time.
    pub cache: PathBuf,
    /// Folder of temporary files; those of a build are gone once it ends.
    pub temporary: PathBuf,
    /// Mirror of the suite's main archive in place of Debian's own.
    pub mirror: Option<Uri>,
    /// Whether only the cache is asked.
    pub offline: bool,
    /// The use of the lock.
    pub lock: LockMode,
    /// Folders from which files may be copied.
    pub folders: SourceFolders,
}

/// A phase of a build, for those who watch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Packages are resolved.
    Resolve,
    /// Files are fetched: bytes that are there, and all bytes.
    Fetch {
        /// Bytes that are there.
        done: u64,
        /// All bytes.
        total: u64,
    },
    /// Packages are unpacked: packages that are done, and all of them.
    Unpack {
        /// Packages that are done.
        done: u64,
        /// All packages.
        total: u64,
    },
    /// The kernel is taken or built.
    Kernel,
    /// The kernel is compiled: steps that are done, and an estimate of all of them.
    Compile {
        /// Steps that are done.
        done: u64,
        /// All steps.
        total: u64,
    },
    /// The needed files are found.
    Close,
    /// The disk is written.
    Write,
}
