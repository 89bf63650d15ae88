//! One file without a name that holds the contents of a tree.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::contents::Contents;

/// Failure of a spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder takes no temporary file.
    #[error("no temporary file can be made in {}", folder.display())]
    Create {
        /// The folder.
        folder: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The disk takes no more bytes, or fails.
    #[error("byte {offset} of the temporary file cannot be written")]
    Write {
        /// The first byte that was not written.
        offset: u64,
        /// The reason.
        source: io::Error,
    },
    /// The contents are longer than they may be.
    #[error("the contents have {needed} bytes or more, and {limit} are the most")]
    Full {
        /// Bytes with the content that did not fit.
        needed: u64,
        /// The most bytes.
        limit: u64,
    },
}

/// Contents one after the other, in a file that vanishes with this value.
#[derive(Debug)]
pub struct Spool {
    file: File,
    len: u64,
    limit: u64,
}

impl Spool {
    /// Makes an empty spool of at most `limit` bytes in `folder`. The file has no name.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Create`].
    pub fn new(folder: &Path, limit: u64) -> Result<Self, SpoolError> {
        let file = tempfile::tempfile_in(folder)
            .map_err(|source| SpoolError::Create { folder: folder.to_path_buf(), source })?;
        Ok(Self { file, len: 0, limit })
    }

    /// Returns the number of bytes, which is the offset of the next.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.len
    }

    /// Checks that `count` bytes more fit.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Full`].
    pub fn check_room(&self, count: u64) -> Result<u64, SpoolError> {
        let needed = self.len.saturating_add(count);
        if needed > self.limit { Err(SpoolError::Full { needed, limit: self.limit }) } else { Ok(needed) }
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Full`] and [`SpoolError::Write`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        let end = self.check_room(bytes.len() as u64)?;
        self.file
            .write_all_at(bytes, self.len)
            .map_err(|source| SpoolError::Write { offset: self.len, source })?;
        self.len = end;
        Ok(())
    }

    /// Appends zeros, as a hole where the file system can.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Full`] and [`SpoolError::Write`].
    pub fn append_zeros(&mut self, count: u64) -> Result<(), SpoolError> {
        let end = self.check_room(count)?;
        self.file.set_len(end).map_err(|source| SpoolError::Write { offset: self.len, source })?;
        self.len = end;
        Ok(())
    }
}

impl Contents for Spool {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_read_back_by_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path(), 1 << 20).unwrap();
        spool.append(b"first").unwrap();
        let second = spool.position();
        spool.append_zeros(3).unwrap();
        spool.append(b"second").unwrap();
        let mut bytes = [7; 9];
        spool.read_at(second, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0\0\0second");
        assert!(spool.read_at(second, &mut [0; 10]).is_err());
    }

    #[test]
    fn the_file_has_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path(), 10).unwrap();
        spool.append(b"x").unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn more_than_the_limit_is_refused_and_nothing_of_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path(), 10).unwrap();
        spool.append(b"0123456789").unwrap();
        for error in [spool.append(b"x").unwrap_err(), spool.append_zeros(u64::MAX).unwrap_err()] {
            assert!(matches!(error, SpoolError::Full { limit: 10, .. }));
        }
        assert_eq!(spool.position(), 10);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_with_its_path() {
        let error = Spool::new(Path::new("/nowhere/at/all"), 1).unwrap_err();
        assert!(matches!(error, SpoolError::Create { .. }) && error.to_string().contains("/nowhere/at/all"));
    }

    #[test]
    fn a_full_disk_is_an_error_with_its_source() {
        // Writing to the device `full` fails as a full disk does.
        let file = File::options().read(true).write(true).open("/dev/full").unwrap();
        let mut spool = Spool { file, len: 0, limit: 1 << 20 };
        let SpoolError::Write { source, .. } = spool.append(b"x").unwrap_err() else { panic!() };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    }
}
