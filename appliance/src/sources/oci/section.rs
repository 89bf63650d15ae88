//! A range of a file as bytes that come once.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    sync::Arc,
};

/// A range of a file, read by position: several may read one file.
#[derive(Debug, Clone)]
pub(super) struct Section {
    file: Arc<File>,
    position: u64,
    end: u64,
}

impl Section {
    /// Makes a section of `len` bytes from `offset` on.
    pub(super) fn new(file: Arc<File>, offset: u64, len: u64) -> Self {
        Self { file, position: offset, end: offset.saturating_add(len) }
    }

    /// Returns the bytes that are left.
    pub(super) fn len(&self) -> u64 {
        self.end - self.position
    }

    /// Passes over `count` bytes. Returns the number that were there.
    pub(super) fn pass(&mut self, count: u64) -> u64 {
        let count = count.min(self.len());
        self.position += count;
        count
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.len()).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.file.read_at(&mut buffer[..most], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
