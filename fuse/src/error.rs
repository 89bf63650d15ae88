//! What can go wrong with a mount, sorted by what the caller does about it.

use std::io;
use std::path::PathBuf;

/// The result of almost every fallible call here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that mounting and unmounting can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing at the path.
    #[error("there is no folder {}", dir.display())]
    Missing {
        /// The path.
        dir: PathBuf,
    },
    /// Something else than a folder is at the path.
    #[error("{} is not a folder", dir.display())]
    NotFolder {
        /// The path.
        dir: PathBuf,
    },
    /// The folder has something in it, which would be hidden.
    #[error("{} is not empty, and what is in it could not be seen while images are mounted there", dir.display())]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
    },
    /// Images are mounted there already.
    #[error("melv has mounted images at {} already", dir.display())]
    Mounted {
        /// The folder.
        dir: PathBuf,
    },
    /// Images were mounted there, and the process that served them is gone.
    #[error("melv had mounted images at {}, but the process that served them is gone", dir.display())]
    Dead {
        /// The folder.
        dir: PathBuf,
    },
    /// melv has mounted nothing there.
    #[error("melv has mounted nothing at {}", dir.display())]
    NotMounted {
        /// The path.
        dir: PathBuf,
    },
    /// A file there is open, or a folder there is somebody's working folder.
    #[error("{} is in use: a program has one of its files open, is in it, or mounts one of its files", dir.display())]
    Busy {
        /// The folder.
        dir: PathBuf,
    },
    /// It was unmounted, but the process that served it goes on.
    #[error("{} is unmounted, but process {pid}, which served it, has not ended", dir.display())]
    StillRunning {
        /// The folder.
        dir: PathBuf,
        /// The process.
        pid: u32,
    },
    /// The kernel cannot do it.
    #[error("cannot open /dev/fuse, the kernel's device for file systems of programs")]
    NoDevice {
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// `fusermount3`, which mounts for users other than root, refused.
    #[error("fusermount3 refused {}: {said}", dir.display())]
    Helper {
        /// The folder.
        dir: PathBuf,
        /// Its words.
        said: String,
    },
    /// The system refused an operation.
    #[error("cannot {operation} {}", object.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// At which path.
        object: PathBuf,
        /// The refusal.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Wraps a refusal of the system.
    pub(crate) fn io(
        operation: &'static str,
        object: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Io { operation, object: object.into(), source: source.into() }
    }
}
