//! A file or block device as an object that is read in place.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{OFlags, SeekFrom};

use super::ReadAt;

/// A file or block device.
#[derive(Debug)]
pub struct Medium {
    file: File,
    len: u64,
    is_device: bool,
}

impl Medium {
    /// Opens a regular file or a block device for reading.
    ///
    /// # Errors
    /// Errors of the system; `InvalidInput` for other types of files.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Nonblocking: opening a named pipe would wait for a writer.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        let is_device = metadata.file_type().is_block_device();
        if !is_device && !metadata.is_file() {
            let text = "neither a regular file nor a block device";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let len = if is_device { rustix::fs::seek(&file, SeekFrom::End(0))? } else { metadata.len() };
        Ok(Self { file, len, is_device })
    }

    /// Whether this is a block device, whose size is independent of its content.
    #[must_use]
    pub fn is_device(&self) -> bool {
        self.is_device
    }
}

impl ReadAt for Medium {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}
