//! A file system from its mounting to its end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuser::{Config, Session, SessionACL};
use melv::serving::Catalog;

use crate::error::{Error, Result};
use crate::filesystem::Images;
use crate::mounts::{self, MountEntry};
use crate::{device, folder};

/// How images are mounted.
#[derive(Debug, Clone, Default)]
pub struct MountOptions {
    /// Other users may read, too.
    pub allow_other: bool,
    /// Threads that answer the kernel; `None` is one for each core, and at least two.
    pub threads: Option<usize>,
}

/// Images that are mounted. What the kernel asks waits until [`Mounted::run`]; dropping this unmounts.
#[derive(Debug)]
pub struct Mounted {
    // Dropped before the device is closed, or unmounting would find nobody who answers.
    unmounter: Unmounter,
    session: Option<Session<Images>>,
}

/// Ends a mount of this process, from any thread.
#[derive(Debug, Clone)]
pub struct Unmounter {
    entry: Arc<MountEntry>,
}

impl Mounted {
    /// Mounts the images of `catalog` at `dir`, an empty folder.
    ///
    /// # Errors
    /// Those of [`check`](crate::check); refusals of the kernel and of `fusermount3`.
    pub fn new(catalog: Arc<Catalog>, dir: &Path, options: &MountOptions) -> Result<Self> {
        let (dir, lock) = folder::check_and_lock(dir)?;
        let device = device::mount(&dir, options.allow_other)?;
        drop(lock);
        let unmounter = Unmounter::of(&dir)?;
        let mut mounted = Self { unmounter, session: None };
        let mut config = Config::default();
        config.n_threads = Some(options.threads.unwrap_or_else(default_threads).max(1));
        config.clone_fd = true;
        config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
        let session = Session::from_fd(Images::new(catalog), device, config.acl, config);
        mounted.session = Some(session.map_err(|source| Error::io("begin serving", dir, source))?);
        Ok(mounted)
    }

    /// Where it is mounted: a path without symbolic links.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.unmounter.entry.dir
    }

    /// What ends it.
    #[must_use]
    pub fn unmounter(&self) -> Unmounter {
        self.unmounter.clone()
    }

    /// Answers the kernel until the file system is unmounted and nobody has a file of it open.
    ///
    /// # Errors
    /// When threads cannot be begun, or one of them failed.
    pub fn run(mut self) -> Result<()> {
        let dir = self.dir().to_owned();
        let Some(session) = self.session.take() else { return Ok(()) };
        session.run().map_err(|source| Error::io("serve", dir, source))
    }
}

/// One thread for each core, and two where there is one core: while one reads a disk, the other answers.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).max(2)
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Most often it is unmounted already, and that is why it ends.
        let _ = self.unmounter.unmount_lazily();
    }
}

impl Unmounter {
    fn of(dir: &Path) -> Result<Self> {
        let entry = mounts::at(dir)?.filter(|entry| entry.is_melv() && entry.source == *mounts::source());
        let entry = entry.ok_or_else(|| Error::NotMounted { dir: dir.into() });
        Ok(Self { entry: Arc::new(entry?) })
    }

    /// Unmounts, if nobody has a file open or is in a folder.
    ///
    /// # Errors
    /// [`Error::Busy`]; refusals of the kernel and of `fusermount3`.
    pub fn unmount(&self) -> Result<()> {
        self.end(false)
    }

    /// Takes the file system out of the tree of folders; it ends when nobody has a file open any more.
    ///
    /// # Errors
    /// Refusals of the kernel and of `fusermount3`.
    pub fn unmount_lazily(&self) -> Result<()> {
        self.end(true)
    }

    /// Where it is, or was, mounted.
    #[must_use]
    pub fn dir(&self) -> &PathBuf {
        &self.entry.dir
    }

    fn end(&self, is_lazy: bool) -> Result<()> {
        // What another has mounted there since is not touched.
        match mounts::at(&self.entry.dir)? {
            Some(entry) if entry == *self.entry => device::unmount(&self.entry.dir, is_lazy),
            _ => Ok(()),
        }
    }
}
