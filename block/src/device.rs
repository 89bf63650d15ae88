//! The trait that front ends and tools use to read a disk by position.

use std::fmt::Debug;

use crate::error::Result;
use crate::failure::BlockError;

/// The content of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    /// Data, which may happen to be zeros.
    Data,
    /// Zeros, known without a read.
    Zero,
}

/// A run of uniform kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The kind of the run.
    pub kind: RunKind,
    /// The length, in bytes; at least 1.
    pub len: u64,
}

/// The sector sizes that a disk was made for. They do not change its content, but the partition table of a
/// disk with 4096-byte sectors counts in those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SectorBits {
    /// log2 of the logical sector size in bytes: 9 to 12.
    pub logical: u8,
    /// log2 of the physical sector size in bytes, at least `logical`.
    pub physical: u8,
}

impl Default for SectorBits {
    /// Returns logical sectors of 512 bytes on physical sectors of 4096.
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
    /// Returns the size of a logical sector, in bytes.
    #[must_use]
    pub fn logical_bytes(self) -> u64 {
        1 << self.logical
    }

    /// Returns the size of a physical sector, in bytes.
    #[must_use]
    pub fn physical_bytes(self) -> u64 {
        1 << self.physical
    }
}

/// A disk: an image, or a foreign file being imported. Many threads use it at once.
pub trait BlockDevice: Send + Sync + Debug {
    /// Returns the size of the disk, in bytes.
    fn size(&self) -> u64;

    /// Fills `buf` from byte `offset`.
    ///
    /// # Errors
    /// [`BlockError::OutOfRange`] past the end; otherwise damage or an I/O error. After an error the content of
    /// `buf` is unspecified.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;

    /// Returns the run of data or zeros at byte `offset`, cut after `len` bytes. Neighbouring runs may be of
    /// the same kind. `len` must not be zero.
    ///
    /// # Errors
    /// The same as [`BlockDevice::read_at`].
    fn map(&self, offset: u64, len: u64) -> Result<Run>;

    /// Fills `buf` from byte `offset` if the data is already in memory, and returns whether it did. Never
    /// reads, decodes or waits. On `false` the content of `buf` is unspecified.
    ///
    /// # Errors
    /// The same as [`BlockDevice::read_at`].
    fn try_read_cached(&self, _offset: u64, _buf: &mut [u8]) -> Result<bool> {
        Ok(false)
    }

    /// Returns the sector sizes that the disk was made for.
    fn sector_bits(&self) -> SectorBits {
        SectorBits::default()
    }

    /// Like [`BlockDevice::map`], but also counts the ancestors in which the data is the same.
    ///
    /// # Errors
    /// The same as [`BlockDevice::map`].
    fn depth(&self, offset: u64, len: u64) -> Result<DepthRun> {
        let run = self.map(offset, len)?;
        Ok(DepthRun { start: offset, len: run.len, kind: run.kind, depth: 0 })
    }

    /// Returns the name of the disk for messages.
    fn name(&self) -> String;
}

/// A run of one kind and one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DepthRun {
    /// The first byte.
    pub start: u64,
    /// The length, in bytes.
    pub len: u64,
    /// Data or zeros.
    pub kind: RunKind,
    /// The number of steps up the lineage over which the data is unchanged.
    pub depth: u32,
}

/// Checks that a range lies inside a disk of `size` bytes.
pub fn check_range(offset: u64, len: u64, size: u64) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(BlockError::OutOfRange { offset, len, size }.into()),
    }
}

/// Calls `each` with the start and length of each maximal run of one kind, front to back.
///
/// # Errors
/// Any error of the device or of `each`.
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
