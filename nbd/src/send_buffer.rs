//! A buffer for output whose memory is reused without being cleared.

use crate::wire::Put;

/// The maximum length of the buffer kept between replies, in bytes.
const KEPT_LEN_MAX: usize = 288 << 10;

/// SendBuffer that is not sent yet.
#[derive(Debug, Default)]
pub struct SendBuffer {
    /// A buffer of the largest length so far; the bytes after `len` are unspecified.
    bytes: Vec<u8>,
    len: usize,
}

impl SendBuffer {
    /// Returns the output.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Returns the length of the output, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the output is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Discards all but the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        if self.len == 0 && self.bytes.len() > KEPT_LEN_MAX {
            self.bytes = Vec::new();
        }
    }

    /// Appends `len` unspecified bytes and returns them.
    pub fn room(&mut self, len: usize) -> &mut [u8] {
        let (start, end) = (self.len, self.len + len);
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        self.len = end;
        &mut self.bytes[start..end]
    }
}

impl Put for SendBuffer {
    fn put(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
    }
}
