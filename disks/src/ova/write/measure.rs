//! The two passes over a disk: one that measures, and one that writes the same bytes.

use std::io::{self, Write};

use melv_block::Deferred;
use sha2::{Digest as _, Sha256};

use super::error::OvaError;
use super::manifest::Digest;

/// The length of a VMDK's header, in bytes.
const HEAD_LEN: usize = 512;
const SECTOR_LEN: u64 = 512;
/// The flags of a stream-optimized VMDK: grains are compressed, and markers stand before structures.
const STREAM_FLAGS: u32 = 0x3_0000;

/// The outcome of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measured {
    /// The number of bytes.
    pub(super) size: u64,
    /// Their digest.
    pub(super) digest: Digest,
}

/// Returns the outcome of a pass over bytes in memory.
pub(super) fn measured(bytes: &[u8]) -> Measured {
    Measured { size: bytes.len() as u64, digest: Sha256::digest(bytes).into() }
}

/// Counts and digests a stream, and keeps its head.
#[derive(Debug, Default)]
pub(super) struct Measure {
    size: u64,
    sha256: Sha256,
    head: Vec<u8>,
}

impl Measure {
    /// Ends the pass over the disk `file`, which must be a stream-optimized VMDK of `capacity` bytes.
    ///
    /// # Errors
    /// [`OvaError::NotStream`]; [`OvaError::Capacity`].
    pub(super) fn finish(self, file: &str, capacity: u64) -> Result<Measured, OvaError> {
        let found = stream_capacity(&self.head).ok_or_else(|| OvaError::NotStream {
            file: file.into(),
            found: self.head.iter().copied().take(16).collect(),
        })?;
        if found != capacity {
            return Err(OvaError::Capacity { file: file.into(), found, expected: capacity });
        }
        Ok(Measured { size: self.size, digest: self.sha256.finalize().into() })
    }
}

impl Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let missing = HEAD_LEN.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
        self.sha256.update(bytes);
        self.size = self.size.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the capacity that the header of a stream-optimized VMDK tells, in bytes.
///
/// Source: VMware, *Virtual Disk Format 5.0*, "Hosted Sparse Extent Header": magic, version and flags of 32 bits,
/// then the capacity in sectors, 64 bits, all little-endian.
fn stream_capacity(head: &[u8]) -> Option<u64> {
    let magic = head.get(..4)?;
    let flags = u32::from_le_bytes(head.get(8..12)?.try_into().ok()?);
    let sectors = u64::from_le_bytes(head.get(12..20)?.try_into().ok()?);
    let is_stream = magic == b"KDMV" && flags & STREAM_FLAGS == STREAM_FLAGS && head.len() == HEAD_LEN;
    is_stream.then_some(sectors)?.checked_mul(SECTOR_LEN)
}

/// Passes on a stream that must equal a measured one, and never more bytes than that.
pub(super) struct Repeat<'a> {
    out: &'a mut dyn Write,
    file: &'a str,
    expected: Measured,
    size: u64,
    sha256: Sha256,
}

impl<'a> Repeat<'a> {
    pub(super) fn new(out: &'a mut dyn Write, file: &'a str, expected: Measured) -> Self {
        Self { out, file, expected, size: 0, sha256: Sha256::new() }
    }

    /// Ends the pass.
    ///
    /// # Errors
    /// [`OvaError::DiskChanged`].
    pub(super) fn finish(self) -> Result<(), OvaError> {
        let found = Measured { size: self.size, digest: self.sha256.clone().finalize().into() };
        if found == self.expected { Ok(()) } else { Err(changed(self.file, self.expected.size)) }
    }
}

impl Write for Repeat<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.expected.size.saturating_sub(self.size);
        if bytes.len() as u64 > left {
            let (file, size) = (self.file.to_owned(), self.expected.size);
            return Err(Deferred::io_error(move |_| changed(&file, size).into()));
        }
        let written = self.out.write(bytes)?;
        let bytes = bytes.get(..written).unwrap_or(bytes);
        self.sha256.update(bytes);
        self.size = self.size.saturating_add(bytes.len() as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn changed(file: &str, expected: u64) -> OvaError {
    OvaError::DiskChanged { file: file.into(), expected }
}
