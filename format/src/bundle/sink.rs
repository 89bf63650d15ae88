//! Where a bundle is written to.

use crate::error::Result;
use crate::ondisk::bundle::HEAD_LEN;

/// A file or device that is written front to back, and at last at its front.
pub trait BundleSink {
    /// Appends bytes behind those appended so far; the first come behind the head's 512 bytes.
    ///
    /// # Errors
    /// Those of the medium.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes everything appended durable, and only then writes the head, and makes that durable.
    ///
    /// # Errors
    /// Those of the medium; there is no bundle then.
    fn finish(&mut self, head: &[u8]) -> Result<()>;
}

/// In memory.
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
