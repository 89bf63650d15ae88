//! Failures of writing a disk.

use std::io;

use thiserror::Error;

use crate::{
    boot::{BootError, CommandLineError},
    erofs::ErofsError,
    fat::FatError,
    gpt::GptError,
};

/// The reason that a disk cannot be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The command line.
    #[error(transparent)]
    CommandLine(#[from] CommandLineError),
    /// The files that firmware starts.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The EFI system partition.
    #[error("the EFI system partition")]
    Fat(#[from] FatError),
    /// The partition table.
    #[error("the partition table")]
    Gpt(#[from] GptError),
    /// The root.
    #[error("the root file system")]
    Erofs(#[from] ErofsError),
    /// The kernel and its initrd are larger than an EFI system partition.
    #[error("kernel and initrd have {found} bytes, and {limit} fit into the EFI system partition")]
    TooLarge {
        /// Bytes.
        found: u64,
        /// Most bytes.
        limit: u64,
    },
    /// The file has bytes, which would stand in place of zeros.
    #[error("the file of the disk has {length} bytes, expected none")]
    NotEmpty {
        /// Bytes of the file.
        length: u64,
    },
    /// The file of the disk.
    #[error("byte {offset} of the disk")]
    Io {
        /// The byte.
        offset: u64,
        /// The failure.
        source: io::Error,
    },
}

impl DiskError {
    pub(super) fn at(offset: u64) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { offset, source }
    }
}
