//! The errors of mounting and unmounting, distinguished by the caller's reaction.

use std::io;
use std::path::PathBuf;

/// The result of almost every fallible call in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The errors of mounting and unmounting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The path does not exist.
    #[error("there is no folder {}", dir.display())]
    Missing {
        /// The path.
        dir: PathBuf,
    },
    /// The path is not a folder.
    #[error("{} is not a folder", dir.display())]
    NotFolder {
        /// The path.
        dir: PathBuf,
    },
    /// The folder has content, which the mount would hide.
    #[error("{} is not empty, and a mount would hide its files", dir.display())]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder has images mounted already.
    #[error("melv has already mounted images at {}", dir.display())]
    Mounted {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder has images mounted, but the process that served them is gone.
    #[error("melv had mounted images at {}, but the process that served them is gone", dir.display())]
    Dead {
        /// The folder.
        dir: PathBuf,
    },
    /// The path is not a mount of melv.
    #[error("melv has mounted nothing at {}", dir.display())]
    NotMounted {
        /// The path.
        dir: PathBuf,
    },
    /// A file of the mount is open, or one of its folders is a working folder.
    #[error("{} is in use: a program has one of its files open, works in it, or has mounted one of its files", dir.display())]
    Busy {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder was unmounted, but the process that served it continues.
    #[error("{} is unmounted, but process {pid}, which served it, has not ended", dir.display())]
    StillRunning {
        /// The folder.
        dir: PathBuf,
        /// The process id.
        pid: u32,
    },
    /// The kernel's FUSE device cannot be opened.
    #[error("cannot open /dev/fuse, the kernel's device for FUSE")]
    NoDevice {
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// `fusermount3`, which mounts for users other than root, refused.
    #[error("fusermount3 refused {}: {said}", dir.display())]
    Helper {
        /// The folder.
        dir: PathBuf,
        /// The message of `fusermount3`.
        said: String,
    },
    /// The system refused an operation.
    #[error("cannot {operation} {}", object.display())]
    Io {
        /// The failed operation.
        operation: &'static str,
        /// The path of the operation.
        object: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Wraps an error of the system.
    pub(crate) fn io(
        operation: &'static str,
        object: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Io { operation, object: object.into(), source: source.into() }
    }
}
