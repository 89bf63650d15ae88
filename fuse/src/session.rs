//! A mounted file system, from start to end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuser::{Config, Session, SessionACL};
use melv_serve::{Budget, Exports};

use crate::error::{Error, Result};
use crate::filesystem::Images;
use crate::mounts::{self, MountEntry};
use crate::{device, folder};

/// The options of a mount.
#[derive(Debug, Clone, Default)]
pub struct MountOptions {
    /// Whether other users may read, too.
    pub allow_other: bool,
    /// The number of threads that answer the kernel; `None` means one for each core, at least two.
    pub threads: Option<usize>,
    /// The limits on threads beyond these, for this mount and all others with the same budget.
    pub budget: Budget,
}

/// Mounted images. Requests of the kernel wait until [`Mounted::run`]; dropping this unmounts.
#[derive(Debug)]
pub struct Mounted {
    // Dropped before the device is closed, because unmounting needs somebody to answer.
    unmounter: Unmounter,
    session: Option<Session<Images>>,
}

/// A handle to unmount images of this process from any thread.
#[derive(Debug, Clone)]
pub struct Unmounter {
    entry: Arc<MountEntry>,
}

impl Mounted {
    /// Mounts the disks of `exports` at `dir`, an empty folder.
    ///
    /// # Errors
    /// Those of [`check`](crate::check), and errors of the kernel and of `fusermount3`.
    pub fn new(exports: Arc<dyn Exports>, dir: &Path, options: &MountOptions) -> Result<Self> {
        let (dir, lock) = folder::check_and_lock(dir)?;
        let device = device::mount(&dir, options.allow_other)?;
        drop(lock);
        let unmounter = Unmounter::of(&dir)?;
        let mut mounted = Self { unmounter, session: None };
        let mut config = Config::default();
        config.n_threads = Some(options.threads.unwrap_or_else(default_threads).max(1));
        config.clone_fd = true;
        config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
        let session =
            Session::from_fd(Images::new(exports, options.budget.clone()), device, config.acl, config);
        mounted.session = Some(session.map_err(|source| Error::io("start serving", dir, source))?);
        Ok(mounted)
    }

    /// Returns the folder of the mount, a path without symbolic links.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.unmounter.entry.dir
    }

    /// Returns a handle that unmounts the images.
    #[must_use]
    pub fn unmounter(&self) -> Unmounter {
        self.unmounter.clone()
    }

    /// Answers the kernel until the file system is unmounted and all of its files are closed.
    ///
    /// # Errors
    /// If a thread cannot be started, or fails.
    pub fn run(mut self) -> Result<()> {
        let dir = self.dir().to_owned();
        let Some(session) = self.session.take() else { return Ok(()) };
        session.run().map_err(|source| Error::io("serve", dir, source))
    }
}

/// Returns one thread for each core, at least two: while one reads a disk, the other can answer.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).max(2)
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Usually it is already unmounted, which ended the session.
        let _ = self.unmounter.unmount_lazily();
    }
}

impl Unmounter {
    fn of(dir: &Path) -> Result<Self> {
        let entry = mounts::at(dir)?.filter(|entry| entry.is_melv() && entry.source == *mounts::source());
        let entry = entry.ok_or_else(|| Error::NotMounted { dir: dir.into() });
        Ok(Self { entry: Arc::new(entry?) })
    }

    /// Unmounts, unless a file is open or a folder is in use.
    ///
    /// # Errors
    /// [`Error::Busy`], and errors of the kernel and of `fusermount3`.
    pub fn unmount(&self) -> Result<()> {
        self.end(false)
    }

    /// Detaches the file system from the folder; it ends when its last file is closed.
    ///
    /// # Errors
    /// Errors of the kernel and of `fusermount3`.
    pub fn unmount_lazily(&self) -> Result<()> {
        self.end(true)
    }

    /// Returns the folder of the mount, also after its end.
    #[must_use]
    pub fn dir(&self) -> &PathBuf {
        &self.entry.dir
    }

    fn end(&self, is_lazy: bool) -> Result<()> {
        // Leave a later mount by another process alone.
        match mounts::at(&self.entry.dir)? {
            Some(entry) if entry == *self.entry => device::unmount(&self.entry.dir, is_lazy),
            _ => Ok(()),
        }
    }
}
