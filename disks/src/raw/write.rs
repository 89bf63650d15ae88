//! Export of a disk as raw bytes to a sparse file, a block device or a stream.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use rustix::fs::FallocateFlags;

use melv_block::Target;
use melv_block::{BlockDevice, RunKind, for_each_run};
use melv_block::{BlockError, Error, Result};

/// The bytes that one thread reads and writes at a time.
const PIECE_LEN: u64 = 1 << 20;
/// The pieces in flight per thread.
const PIECES_PER_THREAD: usize = 2;

/// Options of an export.
#[derive(Default)]
pub struct ExportOptions<'a> {
    /// Whether to replace an existing file, or overwrite a block device that holds a file system, a partition
    /// table or the like.
    pub force: bool,
    /// Called with the bytes done so far and the disk's size.
    pub progress: Option<&'a (dyn Fn(u64, u64) + Sync)>,
    /// Set by the caller to stop the export.
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
            Some(cancel) if cancel.load(Ordering::Relaxed) => Err(BlockError::Interrupted.into()),
            _ => Ok(()),
        }
    }
}

/// Writes `device` to the file or block device `path`, reading on all threads of the current `rayon` pool.
/// Zeros become holes. The data is synced on return; an unfinished new file is removed. Memory: 2 MiB a
/// thread.
///
/// # Errors
/// [`BlockError::FileExists`] if the file exists; [`BlockError::Device`] if a block device cannot be written, or only with
/// `force`; [`BlockError::NoSpace`]; any error from reading the disk.
pub fn export(device: &dyn BlockDevice, path: &Path, options: &ExportOptions<'_>) -> Result<u64> {
    let target = Target::find(path, "a file or a block device")?;
    if target.is_block_device() {
        return export_to_device(device, &target, options);
    }
    target.create(options.force, |out| {
        out.set_len(device.size())?;
        write_data(device, out.file(), out.name(), options)
    })?;
    Ok(device.size())
}

fn export_to_device(device: &dyn BlockDevice, target: &Target, options: &ExportOptions<'_>) -> Result<u64> {
    let (file, name) = (target.open_device(options.force, device.size())?, target.name());
    for_each_run(device, |start, run| {
        if run.kind == RunKind::Zero { clear(&file, name, start, run.len) } else { Ok(()) }
    })?;
    write_data(device, &file, name, options)?;
    file.sync_all().map_err(|error| Error::io("sync", name, error))?;
    Ok(device.size())
}

/// Writes `device` to an open, empty regular file, regardless of its position. Zeros become holes. Nothing is
/// synced. `name` is for messages. Memory: 2 MiB a thread.
///
/// # Errors
/// [`BlockError::NoSpace`]; any error from reading or writing.
pub fn export_into(
    device: &dyn BlockDevice,
    file: &File,
    name: &str,
    options: &ExportOptions<'_>,
) -> Result<u64> {
    file.set_len(device.size()).map_err(|error| Error::io("extend", name, error))?;
    write_data(device, file, name, options)?;
    Ok(device.size())
}

/// Zeroes a range of a block device, through the kernel if it can, otherwise by writing zeros.
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

/// An iterator over the disk as pieces of data of at most [`PIECE_LEN`] and runs of zeros, in ascending
/// order.
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
            // Neighbouring runs of data form one piece, which ends at a multiple of `PIECE_LEN`.
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
    // One writer at a time: the kernel serialises writes to a file, and waiting writers would spin instead of
    // decoding.
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

/// Writes `device` to a stream, zeros included. All threads of the current `rayon` pool read; the output is
/// in order.
///
/// # Errors
/// Any error of the stream or from reading the disk.
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
