//! The one entry point for disks in files: it tells the format by the content.

use std::path::Path;

use melv_block::{BlockDevice, Container, RawFile, Result, padded_size};

use crate::error::DiskError;
use crate::foreign_disk::{DiskFormat, ForeignDisk};
use crate::gate::Gate;
use crate::raw::RawDisk;
#[cfg(feature = "vmdk")]
use crate::vmdk::{VmdkDisk, neighbours};
use crate::warning::Warning;

/// Options of opening a disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// The format; without one, it is told by the content.
    pub format: Option<DiskFormat>,
    /// Whether a raw disk whose size is not a multiple of 512 is padded with zeros. Otherwise it is refused.
    pub pad: bool,
    /// Permission to open files that the disk names.
    pub gate: Gate,
}

/// Opens the disk in the regular file or on the block device `path`.
///
/// ```
/// use melv_disks::{DiskFormat, Gate, OpenOptions, open};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("disk.raw");
/// std::fs::write(&path, [7; 8192])?;
/// let disk = open(&path, &OpenOptions { gate: Gate::Nothing, ..OpenOptions::default() })?;
/// assert_eq!((disk.format(), disk.size()), (DiskFormat::Raw, 8192));
///
/// let mut sector = [0; 512];
/// disk.read_at(4096, &mut sector)?;
/// assert_eq!(sector, [7; 512]);
/// disk.warnings().iter().for_each(|warning| eprintln!("{warning}"));
/// disk.check_unchanged()?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`DiskError::ForeignFormat`] for a format that is not read; [`BlockError::NotDisk`] and
/// [`BlockError::OddSize`]; the errors of the format, as of [`VmdkDisk::open`](crate::vmdk::VmdkDisk::open);
/// [`BlockError::Io`].
///
/// [`BlockError::NotDisk`]: melv_block::BlockError::NotDisk
/// [`BlockError::OddSize`]: melv_block::BlockError::OddSize
/// [`BlockError::Io`]: melv_block::BlockError::Io
pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Box<dyn ForeignDisk>> {
    let path = path.as_ref();
    // Padded for now: a foreign file of an odd size is reported as foreign.
    let file = RawFile::open(path, true)?;
    match options.format {
        Some(DiskFormat::Raw) => raw(file, options.pad, Vec::new),
        Some(DiskFormat::Vmdk) => vmdk(file, path, Container::VmdkSparse, options.gate),
        None => match file.container()? {
            Some(format @ (Container::VmdkSparse | Container::VmdkDescriptor)) => {
                vmdk(file, path, format, options.gate)
            }
            Some(format) => {
                Err(DiskError::ForeignFormat { object: path.display().to_string(), format }.into())
            }
            None => raw(file, options.pad, || warnings_beside(path, options.gate)),
        },
    }
}

fn raw(file: RawFile, pad: bool, warnings: impl FnOnce() -> Vec<Warning>) -> Result<Box<dyn ForeignDisk>> {
    padded_size(file.file_size(), pad, &file.name())?;
    Ok(Box::new(RawDisk::new(file, warnings())))
}

#[cfg(feature = "vmdk")]
fn vmdk(file: RawFile, path: &Path, _: Container, gate: Gate) -> Result<Box<dyn ForeignDisk>> {
    Ok(Box::new(VmdkDisk::of_file(file, path, gate)?))
}

#[cfg(not(feature = "vmdk"))]
fn vmdk(_: RawFile, path: &Path, format: Container, _: Gate) -> Result<Box<dyn ForeignDisk>> {
    Err(DiskError::ForeignFormat { object: path.display().to_string(), format }.into())
}

/// Returns the warnings about VMDKs beside a raw disk that refer to it.
#[cfg(feature = "vmdk")]
fn warnings_beside(path: &Path, gate: Gate) -> Vec<Warning> {
    neighbours(path, gate)
}

#[cfg(not(feature = "vmdk"))]
fn warnings_beside(_: &Path, _: Gate) -> Vec<Warning> {
    Vec::new()
}
