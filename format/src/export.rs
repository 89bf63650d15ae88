//! Out of the store: any disk as raw bytes, to a sparse file, a block device or a stream.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use rustix::fs::FallocateFlags;

use crate::device::{BlockDevice, RunKind, for_each_run};
use crate::error::{Error, Result};

/// Data is read and written in pieces of this size, one to a thread.
const PIECE_LEN: u64 = 1 << 20;
/// Pieces in work at once, for each thread.
const PIECES_PER_THREAD: usize = 2;

/// How to export.
#[derive(Default)]
pub struct ExportOptions<'a> {
    /// Replace a file that exists. A block device is written without this being asked.
    pub force: bool,
    /// Called with the bytes done so far and the disk's size.
    pub progress: Option<&'a (dyn Fn(u64, u64) + Sync)>,
    /// Set from outside to stop.
    pub cancel: Option<&'a AtomicBool>,
}

impl std::fmt::Debug for ExportOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExportOptions").field("force", &self.force).finish_non_exhaustive()
    }
}

impl ExportOptions<'_> {
    /// Fails once the caller has asked to stop.
    pub(crate) fn check(&self) -> Result<()> {
        match self.cancel {
            Some(cancel) if cancel.load(Ordering::Relaxed) => Err(Error::Interrupted),
            _ => Ok(()),
        }
    }
}

/// Writes `device` to the file or block device `path`, reading on all threads of the current
/// `rayon` pool; zeros become holes. The data is synced on return; a new file that could not be
/// finished is removed. Memory: 2 MiB a thread.
///
/// # Errors
/// [`Error::Exists`] for a file that is there; [`Error::NoSpace`]; what reading the disk gives.
pub fn export(device: &dyn BlockDevice, path: &Path, options: &ExportOptions<'_>) -> Result<u64> {
    let target = Target::find(path, "a file, a block device, or - for standard output")?;
    if target.is_block_device {
        return export_to_device(device, &target.path, &target.name, options);
    }
    target.create(options.force, |out| {
        out.set_len(device.size())?;
        write_data(device, out.file(), out.name(), options)
    })?;
    Ok(device.size())
}

/// Where an export goes, in whatever format.
pub(crate) struct Target {
    /// The file itself, where what was given is a link to it.
    path: PathBuf,
    /// As it was given, for messages.
    name: String,
    is_block_device: bool,
}

impl Target {
    /// What `path` leads to: nothing yet, a file, or a block device.
    ///
    /// # Errors
    /// [`Error::Invalid`], saying what was `expected`, for everything else.
    pub(crate) fn find(path: &Path, expected: &'static str) -> Result<Self> {
        let name = path.display().to_string();
        // A link stands for the file that it leads to.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let is_block_device = match std::fs::metadata(&path).map(|metadata| metadata.file_type()) {
            Ok(kind) if kind.is_block_device() => true,
            Ok(kind) if !kind.is_file() => {
                return Err(Error::Invalid { what: "output", found: name, expected });
            }
            _ => false,
        };
        Ok(Self { path, name, is_block_device })
    }

    /// What `path` leads to, for formats that only a file can hold.
    ///
    /// # Errors
    /// [`Error::Invalid`], saying what was `expected`, for everything but a file.
    pub(crate) fn find_file(path: &Path, expected: &'static str) -> Result<Self> {
        let target = Self::find(path, expected)?;
        if target.is_block_device {
            return Err(Error::Invalid { what: "output", found: target.name, expected });
        }
        Ok(target)
    }

    /// The last part of the path.
    pub(crate) fn file_name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// Makes the file: `fill` writes it under a temporary name beside the target, which it gets
    /// once it is complete and synced. Whatever fails, no part of a file stays.
    ///
    /// # Errors
    /// [`Error::Exists`] where the file is there and `force` is not set; those of the file system
    /// and of `fill`.
    pub(crate) fn create<T>(
        &self,
        force: bool,
        fill: impl FnOnce(&OutputFile<'_>) -> Result<T>,
    ) -> Result<T> {
        if !force && self.path.symlink_metadata().is_ok() {
            return Err(Error::Exists { what: "file", name: self.name.clone() });
        }
        let path = temporary_path(&self.path);
        let file = File::create_new(&path)
            .map_err(|error| Error::io("create", path.display().to_string(), error))?;
        let mut temporary = Temporary { path, is_there: true };
        let out = OutputFile { file, name: &self.name };
        let filled = fill(&out)?;
        out.file.sync_all().map_err(|error| Error::io("sync", &self.name, error))?;
        finish_file(&temporary.path, &self.path, force, &self.name)?;
        temporary.is_there = false;
        Ok(filled)
    }
}

/// A file that is being written.
pub(crate) struct OutputFile<'a> {
    file: File,
    name: &'a str,
}

impl OutputFile<'_> {
    /// The file, to be written in order.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// What to call it in messages: the name that it will have.
    pub(crate) fn name(&self) -> &str {
        self.name
    }

    /// Gives the file a length; what is beyond its end becomes a hole.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(|error| Error::io("extend", self.name, error))
    }

    /// Writes `bytes` at byte `offset`.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|error| Error::io("write", format!("{} at byte {offset}", self.name), error))
    }
}

/// A file under its temporary name: removed unless it was finished, also where a thread panics.
struct Temporary {
    path: PathBuf,
    is_there: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.is_there {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Beside the target, so that it can be renamed to it.
fn temporary_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}

/// Gives the finished file its name. Without `force` it must not take another's.
fn finish_file(temporary: &Path, path: &Path, force: bool, name: &str) -> Result<()> {
    if force {
        return std::fs::rename(temporary, path).map_err(|error| Error::io("rename to", name, error));
    }
    match std::fs::hard_link(temporary, path) {
        Ok(()) => std::fs::remove_file(temporary).map_err(|error| Error::io("remove", name, error)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::Exists { what: "file", name: name.into() })
        }
        // A file system without links: the name was free when this began.
        Err(_) => std::fs::rename(temporary, path).map_err(|error| Error::io("rename to", name, error)),
    }
}

fn export_to_device(
    device: &dyn BlockDevice,
    path: &Path,
    name: &str,
    options: &ExportOptions<'_>,
) -> Result<u64> {
    // Exclusively: the kernel refuses a device that is mounted or otherwise in use.
    let flags = rustix::fs::OFlags::EXCL.bits().cast_signed();
    let mut file = File::options()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| Error::io("open", name, error))?;
    let room = file.seek(std::io::SeekFrom::End(0)).map_err(|error| Error::io("measure", name, error))?;
    if room < device.size() {
        return Err(Error::Limit {
            what: "size of the disk for this block device",
            found: device.size(),
            max: room,
        });
    }
    for_each_run(device, |start, run| {
        if run.kind == RunKind::Zero { clear(&file, name, start, run.len) } else { Ok(()) }
    })?;
    write_data(device, &file, name, options)?;
    file.sync_all().map_err(|error| Error::io("sync", name, error))?;
    Ok(device.size())
}

/// Makes a range of a block device zero: by the kernel where it can, else by writing.
fn clear(file: &File, name: &str, start: u64, len: u64) -> Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    if rustix::fs::fallocate(file, flags, start, len).is_ok() {
        return Ok(());
    }
    let zeros = vec![0; PIECE_LEN as usize];
    let mut done = 0;
    while done < len {
        let now = (len - done).min(PIECE_LEN);
        file.write_all_at(&zeros[..now as usize], start + done)
            .map_err(|error| Error::io("write", format!("{name} at byte {}", start + done), error))?;
        done += now;
    }
    Ok(())
}

/// The data of a disk as pieces of at most [`PIECE_LEN`], in ascending order.
struct Pieces<'a> {
    device: &'a dyn BlockDevice,
    offset: u64,
}

impl Iterator for Pieces<'_> {
    type Item = Result<(u64, u64, RunKind)>;

    fn next(&mut self) -> Option<Self::Item> {
        let size = self.device.size();
        if self.offset >= size {
            return None;
        }
        let start = self.offset;
        let run = match self.device.map(start, size - start) {
            Ok(run) => run,
            Err(error) => {
                self.offset = size;
                return Some(Err(error));
            }
        };
        let mut len = run.len;
        if run.kind == RunKind::Data {
            // Neighbouring runs of data make one piece, which ends at a multiple of its size.
            let end = (start / PIECE_LEN + 1).saturating_mul(PIECE_LEN).min(size);
            while start + len < end {
                match self.device.map(start + len, end - start - len) {
                    Ok(next) if next.kind == RunKind::Data => len += next.len,
                    _ => break,
                }
            }
            len = len.min(end - start);
        }
        self.offset = start + len;
        Some(Ok((start, len, run.kind)))
    }
}

fn write_data(device: &dyn BlockDevice, file: &File, name: &str, options: &ExportOptions<'_>) -> Result<()> {
    let done = AtomicU64::new(0);
    // One writer at a time: the kernel lets no more than one into a file, and the others would
    // wait for it spinning instead of decoding.
    let writer = Mutex::new(());
    let pieces = Pieces { device, offset: 0 };
    pieces.par_bridge().try_for_each_init(Vec::new, |buffer, piece| {
        let (start, len, kind) = piece?;
        options.check()?;
        if kind == RunKind::Data {
            buffer.resize(len as usize, 0);
            device.read_at(start, buffer)?;
            let _writing = writer.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all_at(buffer, start)
                .map_err(|error| Error::io("write", format!("{name} at byte {start}"), error))?;
        }
        let done = done.fetch_add(len, Ordering::Relaxed) + len;
        if let Some(progress) = options.progress {
            progress(done, device.size());
        }
        Ok(())
    })
}

/// Writes `device` to a stream, zeros included; pieces are read on all threads of the current
/// `rayon` pool and written in order.
///
/// # Errors
/// Those of the stream and of reading the disk.
pub fn export_stream(
    device: &dyn BlockDevice,
    out: &mut dyn Write,
    name: &str,
    options: &ExportOptions<'_>,
) -> Result<u64> {
    let batch_len = PIECE_LEN * (rayon::current_num_threads() * PIECES_PER_THREAD) as u64;
    let mut batch = vec![0; batch_len.min(device.size()) as usize];
    let mut offset = 0;
    while offset < device.size() {
        options.check()?;
        let len = batch_len.min(device.size() - offset) as usize;
        let pieces = batch[..len].par_chunks_mut(PIECE_LEN as usize).enumerate();
        pieces.try_for_each(|(number, piece)| device.read_at(offset + number as u64 * PIECE_LEN, piece))?;
        out.write_all(&batch[..len])
            .map_err(|error| Error::io("write", format!("{name} at byte {offset}"), error))?;
        offset += len as u64;
        if let Some(progress) = options.progress {
            progress(offset, device.size());
        }
    }
    out.flush().map_err(|error| Error::io("write", name, error))?;
    Ok(device.size())
}
