//! The one trait that front ends and tools see: a disk that is read by position.

use std::fmt::Debug;

use crate::error::{BlockError, Result};

/// What a run of a disk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    /// Data; it may happen to be zeros.
    Data,
    /// Zeros, known without reading.
    Zero,
}

/// What is at a place, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// What.
    pub kind: RunKind,
    /// For how many bytes, at least one.
    pub len: u64,
}

/// The sizes of sectors that a disk was made for. They change no byte of it; the partition table of a
/// disk with sectors of 4096 bytes counts in those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SectorBits {
    /// log2 of the bytes in a logical sector: 9 to 12.
    pub logical: u8,
    /// log2 of the bytes in a physical one, not below it.
    pub physical: u8,
}

impl Default for SectorBits {
    /// Sectors of 512 bytes on physical ones of 4096.
    fn default() -> Self {
        Self { logical: 9, physical: 12 }
    }
}

impl From<(u8, u8)> for SectorBits {
    fn from((logical, physical): (u8, u8)) -> Self {
        Self { logical, physical }
    }
}

impl SectorBits {
    /// Bytes in a logical sector.
    #[must_use]
    pub fn logical_bytes(self) -> u64 {
        1 << self.logical
    }

    /// Bytes in a physical sector.
    #[must_use]
    pub fn physical_bytes(self) -> u64 {
        1 << self.physical
    }
}

/// A disk: an image, or a foreign file being imported. Used from many threads at once.
pub trait BlockDevice: Send + Sync + Debug {
    /// Bytes in the disk.
    fn size(&self) -> u64;

    /// Fills `buf` from byte `offset`.
    ///
    /// # Errors
    /// [`BlockError::OutOfRange`] past the end; damage and refusals of the medium otherwise. After an
    /// error the content of `buf` is not specified.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;

    /// What the disk holds from byte `offset` on; the run is cut after `len` bytes. Runs of one
    /// kind may follow each other.
    ///
    /// # Errors
    /// As [`BlockDevice::read_at`]; `len` must not be zero.
    fn map(&self, offset: u64, len: u64) -> Result<Run>;

    /// Fills `buf` from byte `offset` if copying is all that it takes, and tells whether it did: nothing
    /// is read, decoded or waited for. Otherwise the content of `buf` is not specified.
    ///
    /// # Errors
    /// As [`BlockDevice::read_at`].
    fn read_held(&self, _offset: u64, _buf: &mut [u8]) -> Result<bool> {
        Ok(false)
    }

    /// The sizes of sectors that the disk was made for.
    fn sector_bits(&self) -> SectorBits {
        SectorBits::default()
    }

    /// As [`BlockDevice::map`], and how many steps up its lineage what is there is the same.
    ///
    /// # Errors
    /// As [`BlockDevice::map`].
    fn depth(&self, offset: u64, len: u64) -> Result<DepthRun> {
        let run = self.map(offset, len)?;
        Ok(DepthRun { start: offset, len: run.len, kind: run.kind, depth: 0 })
    }

    /// What to call the disk in messages.
    fn name(&self) -> String;
}

/// A run of a disk of one kind and one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DepthRun {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// Data or zeros.
    pub kind: RunKind,
    /// Steps up the lineage over which it has not changed.
    pub depth: u32,
}

/// Checks that a range lies inside a disk of `size` bytes.
pub(crate) fn check_range(offset: u64, len: u64, size: u64) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(BlockError::OutOfRange { offset, len, size }.into()),
    }
}

/// Calls `each` with the start and the run of every maximal run of one kind, front to back.
///
/// # Errors
/// Those of the device and of `each`.
pub fn for_each_run(device: &dyn BlockDevice, mut each: impl FnMut(u64, Run) -> Result<()>) -> Result<()> {
    let size = device.size();
    let mut pending: Option<(u64, Run)> = None;
    let mut offset = 0;
    while offset < size {
        let run = device.map(offset, size - offset)?;
        pending = match pending {
            Some((start, last)) if last.kind == run.kind => {
                Some((start, Run { kind: run.kind, len: last.len + run.len }))
            }
            other => {
                if let Some((start, last)) = other {
                    each(start, last)?;
                }
                Some((offset, run))
            }
        };
        offset += run.len;
    }
    pending.map_or(Ok(()), |(start, run)| each(start, run))
}
