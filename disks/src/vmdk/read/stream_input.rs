//! A pipe read front to back, with the offset of every byte.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use crate::vmdk::VmdkViolation;
use crate::vmdk::layout::marker::check_padding;
use melv_block::{Error, Result};

/// The length of one read from the pipe, in bytes.
const READ_LEN: usize = 256 << 10;
/// The length of padding checked at a time, in bytes.
const DRAIN_LEN: u64 = 64 << 10;

/// The pipe and the current offset in it.
pub(crate) struct Input<R> {
    reader: BufReader<R>,
    /// Bytes that were returned, to be read again first.
    returned: Vec<u8>,
    pub name: Arc<str>,
    pub position: u64,
}

impl<R> std::fmt::Debug for Input<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("name", &self.name).field("position", &self.position).finish()
    }
}

impl<R: Read> Input<R> {
    pub fn new(reader: R, name: String) -> Self {
        Self {
            reader: BufReader::with_capacity(READ_LEN, reader),
            returned: Vec::new(),
            name: name.into(),
            position: 0,
        }
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::io("read", format!("{} at byte {}", self.name, self.position), error)
    }

    /// Appends the next `len` bytes, or fewer at the end of the pipe. Memory grows with the bytes
    /// received, not with `len`.
    pub fn append(&mut self, mut len: u64, bytes: &mut Vec<u8>) -> Result<()> {
        if !self.returned.is_empty() {
            let again = self.returned.len().min(usize::try_from(len).unwrap_or(usize::MAX));
            bytes.extend(self.returned.drain(..again));
            self.position += again as u64;
            len -= again as u64;
        }
        let read = self.reader.by_ref().take(len).read_to_end(bytes).map_err(|error| self.failed(error))?;
        self.position += read as u64;
        Ok(())
    }

    /// Returns the last bytes read to the input.
    pub fn give_back(&mut self, bytes: Vec<u8>) {
        self.position -= bytes.len() as u64;
        self.returned.splice(..0, bytes);
    }

    /// Does the same as [`Input::append`], but fewer bytes are an error.
    pub fn append_whole(&mut self, len: u64, bytes: &mut Vec<u8>, expected: &'static str) -> Result<()> {
        self.append(len, bytes)?;
        self.check_whole(bytes, len, expected)
    }

    pub fn check_whole(&self, bytes: &[u8], len: u64, expected: &'static str) -> Result<()> {
        if (bytes.len() as u64) < len {
            return Err(VmdkViolation::Cut { expected }.at(&*self.name, self.position));
        }
        Ok(())
    }

    pub fn skip(&mut self, len: u64, expected: &'static str) -> Result<()> {
        let again = self.returned.len().min(usize::try_from(len).unwrap_or(usize::MAX));
        self.returned.drain(..again);
        self.position += again as u64;
        let rest = len - again as u64;
        let skipped = io::copy(&mut self.reader.by_ref().take(rest), &mut io::sink());
        let skipped = skipped.map_err(|error| self.failed(error))?;
        self.position += skipped;
        if skipped < rest {
            return Err(VmdkViolation::Cut { expected }.at(&*self.name, self.position));
        }
        Ok(())
    }

    /// Reads to the end of the pipe and returns the number of bytes. All must be zeros, in any
    /// number, as on a device.
    pub fn drain(&mut self) -> Result<u64> {
        let (start, mut bytes) = (self.position, Vec::new());
        loop {
            bytes.clear();
            let place = self.position;
            self.append(DRAIN_LEN, &mut bytes)?;
            check_padding(&bytes, place).map_err(|(place, violation)| violation.at(&*self.name, place))?;
            if bytes.is_empty() {
                return Ok(self.position - start);
            }
        }
    }
}
