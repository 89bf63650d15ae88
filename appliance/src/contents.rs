//! Reading of file contents, and copying them into an image.

use std::io::{self, Write};

use crate::tree::Content;

/// Reads ranges of the spool that [`Content::Spooled`] names.
pub trait Contents {
    /// Fills `buffer` with the bytes that start at byte `offset`.
    ///
    /// # Errors
    ///
    /// Fails when the range cannot be read in full.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// Bytes in memory are a spool: for tests, and for trees that name no spool (an empty vector).
impl Contents for Vec<u8> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// The side on which a copy failed.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// Byte `offset` of the file could not be read.
    Read { offset: u64, source: io::Error },
    /// The output did not take the bytes.
    Write(io::Error),
}

/// Bytes that a copy holds in memory at most.
const BUFFER_BYTES: usize = 1 << 18;

/// Source of padding.
static ZEROS: [u8; 4096] = [0; 4096];

/// Whether the range of a content ends within 64 bits.
pub(crate) fn is_addressable(content: &Content) -> bool {
    match content {
        Content::Spooled { offset, len } => offset.checked_add(*len).is_some(),
        Content::Bytes(_) | Content::Zeros { .. } => true,
    }
}

/// Writes a content, without padding. `buffer` is used again from copy to copy.
pub(crate) fn copy(
    content: &Content,
    contents: &dyn Contents,
    buffer: &mut Vec<u8>,
    output: &mut dyn Write,
) -> Result<(), CopyError> {
    match content {
        Content::Bytes(bytes) => output.write_all(bytes).map_err(CopyError::Write),
        Content::Zeros { len } => write_zeros(*len, output).map_err(CopyError::Write),
        Content::Spooled { offset, len } => {
            let mut done = 0;
            while done < *len {
                let step = (*len - done).min(BUFFER_BYTES as u64);
                buffer.resize(step as usize, 0);
                let start = offset.checked_add(done).ok_or_else(|| CopyError::Read {
                    offset: done,
                    source: io::ErrorKind::UnexpectedEof.into(),
                })?;
                contents.read_at(start, buffer).map_err(|source| CopyError::Read { offset: done, source })?;
                output.write_all(buffer).map_err(CopyError::Write)?;
                done += step;
            }
            Ok(())
        }
    }
}

/// Writes `count` zeros.
pub(crate) fn write_zeros(count: u64, output: &mut dyn Write) -> io::Result<()> {
    let mut left = count;
    while left > 0 {
        let step = left.min(ZEROS.len() as u64);
        output.write_all(&ZEROS[..step as usize])?;
        left -= step;
    }
    Ok(())
}

/// Counts the bytes that pass to another writer.
#[derive(Debug)]
pub(crate) struct Counted<W> {
    inner: W,
    position: u64,
}

impl<W: Write> Counted<W> {
    /// Starts at 0.
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, position: 0 }
    }

    /// Returns the number of bytes written so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Writes zeros until byte `position`; nothing when that is behind.
    pub(crate) fn pad_to(&mut self, position: u64) -> io::Result<()> {
        write_zeros(position.saturating_sub(self.position), self)
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Bytes in memory are a spool: for trees that name none (an empty slice).
impl Contents for [u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Reads a whole content, whose length the caller has checked.
///
/// # Errors
///
/// Errors of reading.
pub(crate) fn read(content: &Content, contents: &dyn Contents) -> io::Result<Vec<u8>> {
    match content {
        Content::Bytes(bytes) => Ok(bytes.clone()),
        Content::Zeros { len } => Ok(vec![0; usize::try_from(*len).map_err(io::Error::other)?]),
        Content::Spooled { offset, len } => {
            let mut bytes = vec![0; usize::try_from(*len).map_err(io::Error::other)?];
            contents.read_at(*offset, &mut bytes)?;
            Ok(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_beyond_the_spool_is_an_error() {
        let spool = b"0123456789".to_vec();
        let mut buffer = [0; 4];
        assert!(spool.read_at(6, &mut buffer).is_ok());
        for offset in [7, 10, u64::MAX] {
            assert!(spool.read_at(offset, &mut buffer).is_err());
        }
    }

    #[test]
    fn a_copy_longer_than_the_buffer_is_whole() {
        let spool: Vec<u8> = (0..BUFFER_BYTES * 2 + 77).map(|at| (at % 251) as u8).collect();
        let content = Content::Spooled { offset: 5, len: spool.len() as u64 - 5 };
        let mut output = Vec::new();
        copy(&content, &spool, &mut Vec::new(), &mut output).unwrap();
        assert_eq!(output, spool[5..]);
    }
}
