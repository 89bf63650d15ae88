//! A file or block device that is read in place.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{OFlags, SeekFrom};

/// An open regular file or block device, and its length.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    len: u64,
    is_device: bool,
}

/// The operation that failed, a verb, and the refusal.
pub(crate) type Failed = (&'static str, io::Error);

impl LocalFile {
    /// Opens a regular file or a block device for reading.
    ///
    /// # Errors
    /// Errors of the system; `InvalidInput` for other types of files.
    pub fn open(path: &Path) -> io::Result<Self> {
        let measured = Self::measure(open_for_reading(path)?).map_err(|(_, error)| error)?;
        let (file, _) = measured.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "neither a regular file nor a block device")
        })?;
        Ok(file)
    }

    /// Measures an open file; `None` for other types than regular files and block devices.
    pub(crate) fn measure(file: File) -> Result<Option<(Self, Metadata)>, Failed> {
        let metadata = file.metadata().map_err(|error| ("look at", error))?;
        let is_device = metadata.file_type().is_block_device();
        if !is_device && !metadata.is_file() {
            return Ok(None);
        }
        let len = if is_device {
            rustix::fs::seek(&file, SeekFrom::End(0)).map_err(|error| ("measure", error.into()))?
        } else {
            metadata.len()
        };
        Ok(Some((Self { file, len, is_device }, metadata)))
    }

    /// Returns the open file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Returns the length in bytes when it was opened.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "nobody asks whether a disk is empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether this is a block device, whose size is independent of its content.
    #[must_use]
    pub fn is_device(&self) -> bool {
        self.is_device
    }

    /// Fills `buf` from byte `offset`.
    ///
    /// # Errors
    /// Errors of the system; `UnexpectedEof` past the end.
    pub fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

/// Opens a file for reading. Nonblocking: opening a named pipe would wait for a writer.
pub(crate) fn open_for_reading(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}
