//! A raw file or a block device as a disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::SeekFrom;

use crate::container::{Container, FIRST_LEN, LAST_LEN};
use crate::device::{BlockDevice, Run, RunKind, check_range};
use crate::error::{Error, Result};
use crate::failure::BlockError;
use crate::local_file::{LocalFile, open_for_reading};

/// A raw file or a block device as a disk.
#[derive(Debug)]
pub struct RawFile {
    file: LocalFile,
    name: String,
    /// The size of the disk, in bytes: the file's, or with padding the next multiple of 512.
    size: u64,
    stamp: (i64, i64, i64, i64),
}

impl RawFile {
    /// Opens a regular file or a block device for reading. A size that is not a multiple of 512 is rounded up
    /// with zeros if `pad` is set, and refused otherwise.
    ///
    /// # Errors
    /// [`BlockError::Invalid`] for other kinds of files and for odd sizes.
    pub fn open(path: &Path, pad: bool) -> Result<Self> {
        let name = path.display().to_string();
        let file = open_for_reading(path).map_err(|error| Error::io("open", &name, error))?;
        Self::of_file(file, name, pad)
    }

    /// Like [`RawFile::open`], from an open file.
    pub fn of_file(file: File, name: String, pad: bool) -> Result<Self> {
        let measured = LocalFile::measure(file);
        let Some((file, metadata)) =
            measured.map_err(|(operation, error)| Error::io(operation, &name, error))?
        else {
            return Err(BlockError::NotDisk { object: name }.into());
        };
        let size = padded_size(file.len(), pad, &name)?;
        Ok(Self { file, name, size, stamp: stamp(&metadata) })
    }

    /// Returns the size of the file in bytes, without padding.
    #[must_use]
    pub fn file_size(&self) -> u64 {
        self.file.len()
    }

    /// Returns the file's device and inode, which identify it.
    pub fn identity(&self) -> Result<(u64, u64)> {
        let metadata =
            self.file.file().metadata().map_err(|error| Error::io("look at", &self.name, error))?;
        Ok((metadata.dev(), metadata.ino()))
    }

    /// Fails if a regular file was modified after it was opened, judging by its size and times. A block
    /// device has neither and always passes.
    ///
    /// # Errors
    /// [`BlockError::Changed`].
    pub fn check_unchanged(&self) -> Result<()> {
        if self.file.is_device() {
            return Ok(());
        }
        let metadata =
            self.file.file().metadata().map_err(|error| Error::io("look at", &self.name, error))?;
        if metadata.len() == self.file.len() && stamp(&metadata) == self.stamp {
            Ok(())
        } else {
            Err(BlockError::Changed { object: self.name.clone() }.into())
        }
    }

    /// Returns the first or last `most` bytes of the file, or fewer if it is smaller.
    fn edge(&self, most: usize, from_end: bool) -> Result<Vec<u8>> {
        let len = self.file.len().min(most as u64);
        let mut bytes = vec![0; len as usize];
        let offset = if from_end { self.file.len() - len } else { 0 };
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|error| Error::io("read", format!("{} at byte {offset}", self.name), error))?;
        Ok(bytes)
    }

    /// Detects the container format from the file's first and last bytes; `None` for a raw disk.
    ///
    /// # Errors
    /// Any error from reading the file.
    pub fn container(&self) -> Result<Option<Container>> {
        Ok(Container::of(&self.edge(FIRST_LEN, false)?, &self.edge(LAST_LEN, true)?))
    }
}

fn stamp(metadata: &std::fs::Metadata) -> (i64, i64, i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec())
}

/// Returns `size`, with `pad` rounded up to a multiple of 512.
///
/// # Errors
/// [`BlockError::Invalid`], naming `name`, if `size` is not a multiple of 512 and `pad` is not set.
pub fn padded_size(size: u64, pad: bool, name: &str) -> Result<u64> {
    if size.is_multiple_of(512) {
        Ok(size)
    } else if pad {
        Ok(size.next_multiple_of(512))
    } else {
        Err(BlockError::OddSize { object: name.into(), size }.into())
    }
}

impl BlockDevice for RawFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len() as u64, self.size)?;
        let there = (self.file.len().saturating_sub(offset)).min(buf.len() as u64) as usize;
        let (data, padding) = buf.split_at_mut(there);
        padding.fill(0);
        self.file.read_exact_at(data, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::from(BlockError::Changed { object: self.name.clone() }),
            _ => Error::io("read", format!("{} at byte {offset}", self.name), error),
        })
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        check_range(offset, len, self.size)?;
        let whole = Run { kind: RunKind::Data, len };
        if self.file.is_device() {
            return Ok(whole);
        }
        let seek = |to| rustix::fs::seek(self.file.file(), to);
        let failed = |error: rustix::io::Errno| {
            Error::io("find the holes in", format!("{} at byte {offset}", self.name), error.into())
        };
        match seek(SeekFrom::Data(offset)) {
            Ok(data) if data > offset => Ok(Run { kind: RunKind::Zero, len: (data - offset).min(len) }),
            Ok(_) => match seek(SeekFrom::Hole(offset)) {
                Ok(hole) => Ok(Run { kind: RunKind::Data, len: (hole - offset).clamp(1, len) }),
                Err(rustix::io::Errno::NXIO) => Err(BlockError::Changed { object: self.name.clone() }.into()),
                Err(error) => Err(failed(error)),
            },
            // No data up to the end, or the file has shrunk.
            Err(rustix::io::Errno::NXIO) => match self.file.file().metadata() {
                Ok(metadata) if metadata.len() < self.file.len() => {
                    Err(BlockError::Changed { object: self.name.clone() }.into())
                }
                _ => Ok(Run { kind: RunKind::Zero, len }),
            },
            // The file system does not report holes: treat everything as data.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => Ok(whole),
            Err(error) => Err(failed(error)),
        }
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}
