//! Packages and VMX files on this machine: complete and synced before they have their names.

use std::io::Write;
use std::path::{Path, PathBuf};

use melv_block::{BlockDevice, BlockError, Result, Target};

use super::machine::Machine;
use super::package::{BlankDisks, PackageDisk, write_ova};
use super::vmx::{VmxFiles, vmx_files};
use crate::raw::ExportOptions;
use crate::vmdk::{self, WriteOptions};

/// Writes `machine` with the disk `device` as the package `path`. The disk is compressed twice: see
/// [`write_ova`].
///
/// Returns the file's length.
///
/// # Errors
/// Those of [`write_ova`]; [`BlockError::FileExists`] for an existing file, [`BlockError::Invalid`] for a device.
pub fn export_ova_file(
    machine: &Machine,
    device: &dyn BlockDevice,
    path: &Path,
    options: &WriteOptions<'_>,
) -> Result<u64> {
    let target = Target::find_file(path, "a file")?;
    target
        .create(options.export.force, |out| export_ova(machine, device, &mut out.file(), out.name(), options))
}

/// Writes `machine` with the disk `device` as a package, front to back. `name` is the stream's name in messages.
///
/// Returns the number of bytes written.
///
/// # Errors
/// Those of [`write_ova`].
pub fn export_ova(
    machine: &Machine,
    device: &dyn BlockDevice,
    out: &mut dyn Write,
    name: &str,
    options: &WriteOptions<'_>,
) -> Result<u64> {
    let blank = WriteOptions { content: None, export: ExportOptions { progress: None, ..options.export } };
    let mut disks = |disk: PackageDisk<'_>, file: &str, out: &mut dyn Write| {
        let written = match disk {
            PackageDisk::System => vmdk::export_stream(device, out, file, options),
            PackageDisk::Blank(disk) => vmdk::export_stream(disk, out, file, &blank),
        };
        written.map(|_| ())
    };
    write_ova(machine, BlankDisks::Files, &mut disks, out, name)
}

/// Writes `machine` as the VMX file `path`, its disk as a VMDK of the same name beside it, and its blank data disks.
///
/// Returns the sum of the files' lengths.
///
/// # Errors
/// [`BlockError::FileExists`] for an existing file, of which the others then stay; [`OvaError::Text`](super::OvaError::Text) for a name that
/// a VMX file cannot hold; the errors of reading and writing.
pub fn export_vmx(
    machine: &Machine,
    device: &dyn BlockDevice,
    path: &Path,
    options: &WriteOptions<'_>,
) -> Result<u64> {
    let target = Target::find_file(path, "a file")?;
    let stem = Path::new(target.file_name()).file_stem().and_then(|stem| stem.to_str());
    let stem = stem.ok_or_else(|| invalid(path, "a file name in UTF-8"))?;
    let VmxFiles { text, system_disk, blank_disks } = vmx_files(machine, stem)?;
    let beside = |name: &str| path.with_file_name(name);
    let all: Vec<PathBuf> = std::iter::once(beside(&system_disk))
        .chain(blank_disks.iter().map(|disk| beside(&disk.file)))
        .collect();
    // A file that is in the way is told before the work.
    if let Some(taken) = all.iter().find(|path| !options.export.force && path.symlink_metadata().is_ok()) {
        return Err(BlockError::FileExists { name: taken.display().to_string() }.into());
    }
    let blank = WriteOptions { content: None, export: ExportOptions { progress: None, ..options.export } };
    let mut bytes = vmdk::export_sparse(device, &beside(&system_disk), options)?;
    for disk in &blank_disks {
        bytes += vmdk::export_sparse(&disk.content, &beside(&disk.file), &blank)?;
    }
    target.create(options.export.force, |out| out.write_at(text.as_bytes(), 0))?;
    Ok(bytes + text.len() as u64)
}

fn invalid(path: &Path, expected: &'static str) -> melv_block::Error {
    BlockError::Invalid { what: "output", found: path.display().to_string(), expected }.into()
}
