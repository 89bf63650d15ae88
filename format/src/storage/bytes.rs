//! Bytes in memory as an object.

use std::io;
use std::sync::Arc;

use super::ReadAt;

/// Bytes in memory that are read by position: a whole object, or a whole bundle. Clones share the bytes.
#[derive(Debug, Clone)]
pub struct BytesObject(Arc<Vec<u8>>);

impl From<Vec<u8>> for BytesObject {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(bytes))
    }
}

impl From<Arc<Vec<u8>>> for BytesObject {
    fn from(bytes: Arc<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl ReadAt for BytesObject {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = self.0.get(start..).and_then(|rest| rest.get(..buf.len()));
        buf.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
