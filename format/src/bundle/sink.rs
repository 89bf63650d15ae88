//! The output of a bundle.

use crate::error::Result;
use crate::ondisk::bundle::HEAD_LEN;
use melv_block::OutputFile;

/// A file or device written front to back, and finally at its front.
pub trait BundleSink {
    /// Appends bytes. The first bytes follow the head's 512 bytes.
    ///
    /// # Errors
    /// Errors of the medium.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes all appended bytes durable, then writes the head and makes it durable.
    ///
    /// # Errors
    /// Errors of the medium; there is no bundle then.
    fn finish(&mut self, head: &[u8]) -> Result<()>;
}

/// A bundle in memory.
impl BundleSink for Vec<u8> {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.is_empty() {
            self.resize(HEAD_LEN as usize, 0);
        }
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self, head: &[u8]) -> Result<()> {
        self[..head.len()].copy_from_slice(head);
        Ok(())
    }
}

/// The size of a write to the file, in bytes.
const BUFFER_LEN: usize = 1 << 20;

/// A file under its temporary name, or a block device.
pub(super) struct FileSink<'a> {
    out: &'a OutputFile<'a>,
    buffer: Vec<u8>,
    /// The file offset of the buffer's first byte.
    offset: u64,
}

impl<'a> FileSink<'a> {
    /// Erases the head of any bundle already on the device: from now on it holds none.
    pub fn begin(out: &'a OutputFile<'a>) -> Result<Self> {
        out.write_at(&[0; HEAD_LEN as usize], 0)?;
        out.sync()?;
        Ok(Self { out, buffer: Vec::with_capacity(BUFFER_LEN), offset: HEAD_LEN })
    }

    fn flush(&mut self) -> Result<()> {
        self.out.write_at(&self.buffer, self.offset)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl BundleSink for FileSink<'_> {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_LEN { self.flush() } else { Ok(()) }
    }

    fn finish(&mut self, head: &[u8]) -> Result<()> {
        self.flush()?;
        self.out.sync()?;
        self.out.write_at(head, 0)?;
        self.out.sync()
    }
}
