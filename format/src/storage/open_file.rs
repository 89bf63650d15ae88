//! Open files of a folder: an object being read, one being written, and a lock.

use std::io;

use super::fs::{Fs, SyncPoint};
use super::{Append, LockGuard, ReadAt};

/// An object open for reading.
#[derive(Debug)]
pub(super) struct FileObject<F: Fs> {
    pub fs: F,
    pub file: F::File,
    pub len: u64,
    pub modified_nanos: Option<u64>,
}

impl<F: Fs> ReadAt for FileObject<F> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.fs.read_exact_at(&self.file, buf, offset)
    }

    fn modified_nanos(&self) -> Option<u64> {
        self.modified_nanos
    }
}

/// An object being written.
#[derive(Debug)]
pub(super) struct FileAppend<F: Fs> {
    pub fs: F,
    pub file: F::File,
}

impl<F: Fs> Append for FileAppend<F> {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.fs.append(&self.file, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.fs.sync(&self.file, SyncPoint::Object)
    }
}

/// A lock that is held.
#[derive(Debug)]
pub(super) struct FileLockGuard<F: Fs> {
    /// Closing the file releases the lock.
    pub _file: F::File,
}

impl<F: Fs> LockGuard for FileLockGuard<F> {}
