//! A disk of another program, in any format.

use melv_block::{BlockDevice, Result};

use crate::warning::Warning;

/// A format of disks that this crate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiskFormat {
    /// A raw disk, with nothing but its bytes.
    Raw,
    /// A VMDK of any kind.
    Vmdk,
}

/// A disk of another program, open for reading from any number of threads.
pub trait ForeignDisk: BlockDevice {
    /// Returns the format.
    fn format(&self) -> DiskFormat;

    /// Returns the size of the disk, in bytes, as its format gives it: that of a raw file without padding.
    fn unpadded_size(&self) -> u64;

    /// Returns the oddities of the disk that are no reason to refuse it.
    fn warnings(&self) -> &[Warning];

    /// Fails if any of the disk's files was modified since it was opened, as far as its timestamps and size
    /// show. A block device has neither and always passes.
    ///
    /// # Errors
    /// [`BlockError::Changed`](melv_block::BlockError::Changed) with the file's name;
    /// [`BlockError::Io`](melv_block::BlockError::Io).
    fn check_unchanged(&self) -> Result<()>;
}
