//! Bytes to be sent, put together in memory that is used again and never cleared.

use crate::wire::Put;

/// Bytes kept between replies at most.
const KEPT_LEN_MAX: usize = 288 << 10;

/// What is to be sent next.
#[derive(Debug, Default)]
pub struct Output {
    /// As long as it ever was; what lies behind `len` has any value.
    bytes: Vec<u8>,
    len: usize,
}

impl Output {
    /// What is to be sent.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets what lies behind the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        if self.len == 0 && self.bytes.len() > KEPT_LEN_MAX {
            self.bytes = Vec::new();
        }
    }

    /// Appends `len` bytes of any value, and gives them.
    pub fn room(&mut self, len: usize) -> &mut [u8] {
        let (start, end) = (self.len, self.len + len);
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        self.len = end;
        &mut self.bytes[start..end]
    }
}

impl Put for Output {
    fn put(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
    }
}
