//! The common part of both writers. It cuts a disk into pieces; many threads read and process them,
//! and one thread writes them in disk order.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rayon::Yield;

use crate::raw::ExportOptions;
use crate::vmdk::layout::header::SECTOR_LEN;
use melv_block::{BlockDevice, RunKind};
use melv_block::{BlockError, Error, Result};

/// The length of a grain, in sectors: 64 KiB, the only size that every product reads.
pub(crate) const GRAIN_SECTORS: u64 = 128;
/// The length of a grain, in bytes.
pub(crate) const GRAIN_LEN: usize = (GRAIN_SECTORS * SECTOR_LEN) as usize;
/// The number of entries in a grain table, which the technical note fixes at 512.
pub(crate) const TABLE_ENTRIES: usize = 512;
/// The length of a grain table, in sectors.
pub(crate) const TABLE_SECTORS: u64 = (TABLE_ENTRIES * ENTRY_LEN) as u64 / SECTOR_LEN;
/// The length of an entry of a table or a directory, in bytes.
pub(crate) const ENTRY_LEN: usize = 4;
/// The length of disk that one grain table covers (32 MiB).
pub(crate) const COVERAGE_LEN: u64 = (TABLE_ENTRIES * GRAIN_LEN) as u64;
/// The maximum length of a file, in sectors: tables and directories hold 32-bit sector numbers.
pub(crate) const FILE_SECTORS_MAX: u64 = u32::MAX as u64;
/// The maximum size of a disk, in bytes. Its directory has 16 MiB, the most that careful readers
/// load. VMware's products make disks of up to 62 TiB, about half of this.
const DISK_LEN_MAX: u64 = 128 << 40;

/// The number of grains in a piece: 1 MiB, as in a raw export. A grain table covers whole pieces.
const PIECE_GRAINS: usize = 16;
const PIECE_LEN: u64 = (PIECE_GRAINS * GRAIN_LEN) as u64;
/// The maximum number of unwritten pieces per thread, enough that no thread waits for the writing one.
const PIECES_PER_THREAD: usize = 3;
/// The time to wait for a piece before looking for other work again.
const NAP: Duration = Duration::from_millis(1);

/// The options of writing a VMDK.
#[derive(Debug, Default)]
pub struct WriteOptions<'a> {
    /// The disk's content id, if known. The file's own content ids are derived from it, so that
    /// they differ exactly if the content does. Without it, they are fixed.
    pub content: Option<[u8; 32]>,
    /// The options that all exports share.
    pub export: ExportOptions<'a>,
}

/// Returns the disk's size in sectors, if a VMDK can hold it.
///
/// # Errors
/// [`BlockError::Invalid`] for an empty disk or a partial sector; [`BlockError::Limit`].
pub(crate) fn capacity_sectors(device: &dyn BlockDevice) -> Result<u64> {
    let size = device.size();
    let refused = |expected| {
        let found = format!("{size} bytes of {}", device.name());
        Error::from(BlockError::Invalid { what: "disk size", found, expected })
    };
    if size == 0 {
        return Err(refused("at least one sector, since a VMDK cannot be empty"));
    }
    if !size.is_multiple_of(SECTOR_LEN) {
        return Err(refused("a multiple of 512, since a VMDK counts sectors"));
    }
    if size > DISK_LEN_MAX {
        return Err(
            BlockError::Limit { what: "size of a disk as VMDK", found: size, max: DISK_LEN_MAX }.into()
        );
    }
    Ok(size / SECTOR_LEN)
}

/// Converts a sector number into a table entry. `end` is the sector after the structure there.
///
/// # Errors
/// [`BlockError::Limit`] if the file would exceed 32-bit sector numbers.
pub(crate) fn entry(sector: u64, end: u64) -> Result<u32> {
    match u32::try_from(sector) {
        Ok(sector) if end <= FILE_SECTORS_MAX => Ok(sector),
        _ => Err(BlockError::Limit { what: "sectors in a VMDK", found: end, max: FILE_SECTORS_MAX }.into()),
    }
}

/// Encodes a table or a directory.
pub(crate) fn encode_entries(entries: &[u32]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.to_le_bytes()).collect()
}

/// Consecutive grains of the disk.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The number of the first grain.
    pub(crate) first_grain: u64,
    /// The bytes of the grains; zeros beyond the end of the disk.
    pub(crate) bytes: Vec<u8>,
}

impl Piece {
    /// Returns the grains that are not all zeros, with their indexes in the piece.
    pub(crate) fn stored_grains(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.bytes.chunks_exact(GRAIN_LEN).enumerate().filter(|(_, grain)| !is_zero(grain))
    }

    /// Returns the offset of the piece's end on the disk.
    fn end_bytes(&self) -> u64 {
        self.first_grain * GRAIN_LEN as u64 + self.bytes.len() as u64
    }

    fn read(device: &dyn BlockDevice, start: u64, mut bytes: Vec<u8>) -> Result<Self> {
        let end = device.size().min(start + PIECE_LEN);
        let len = (end - start) as usize;
        bytes.resize(len.next_multiple_of(GRAIN_LEN), 0);
        let place = |at: u64| (at - start) as usize;
        // `unread..at` is mapped as data but not read yet, so that adjacent runs take one read.
        let (mut unread, mut at) = (start, start);
        while at < end {
            let run = device.map(at, end - at)?;
            if run.kind == RunKind::Zero {
                read_range(device, unread, &mut bytes[place(unread)..place(at)])?;
                unread = at + run.len;
                bytes[place(at)..place(unread)].fill(0);
            }
            at += run.len;
        }
        read_range(device, unread, &mut bytes[place(unread)..len])?;
        bytes[len..].fill(0);
        Ok(Self { first_grain: start / GRAIN_LEN as u64, bytes })
    }
}

fn read_range(device: &dyn BlockDevice, offset: u64, bytes: &mut [u8]) -> Result<()> {
    if bytes.is_empty() { Ok(()) } else { device.read_at(offset, bytes) }
}

fn is_zero(grain: &[u8]) -> bool {
    static ZEROS: [u8; 4096] = [0; 4096];
    grain.chunks(ZEROS.len()).all(|part| part == &ZEROS[..part.len()])
}

/// Buffers that are free for reuse.
#[derive(Debug, Default)]
pub(crate) struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    /// Returns a buffer with unspecified content.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub(crate) fn give(&self, buffer: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// An iterator over the starts of the pieces that are not known to be zeros, in ascending order.
struct Starts<'a> {
    device: &'a dyn BlockDevice,
    offset: u64,
    /// The end of the data that the device has reported.
    data_end: u64,
}

impl Iterator for Starts<'_> {
    type Item = Result<u64>;

    fn next(&mut self) -> Option<Result<u64>> {
        let size = self.device.size();
        while self.offset < size {
            if self.offset >= self.data_end {
                let run = match self.device.map(self.offset, size - self.offset) {
                    Ok(run) => run,
                    Err(error) => {
                        self.offset = size;
                        return Some(Err(error));
                    }
                };
                if run.kind == RunKind::Zero {
                    self.offset += run.len;
                    continue;
                }
                self.data_end = self.offset + run.len;
            }
            let start = self.offset - self.offset % PIECE_LEN;
            self.offset = start + PIECE_LEN;
            return Some(Ok(start));
        }
        None
    }
}

/// Reads the pieces of `device` that may hold data and calls `make` for each, on the threads of the
/// current `rayon` pool. Passes the results to `take` on this thread and in disk order, while the
/// pool works on later pieces. Buffers come from `spare`; `make` or `take` returns them. At most
/// [`PIECES_PER_THREAD`] pieces per thread are in progress.
///
/// # Errors
/// The first error in disk order of the device, of `make` or of `take`; [`BlockError::Interrupted`].
pub(crate) fn in_order<T: Send>(
    device: &dyn BlockDevice,
    options: &ExportOptions<'_>,
    spare: &Spare,
    make: impl Fn(Piece) -> Result<T> + Sync,
    mut take: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let most = rayon::current_num_threads() * PIECES_PER_THREAD;
    let make = &make;
    rayon::in_place_scope_fifo(|scope| {
        let mut starts = Starts { device, offset: 0, data_end: 0 };
        let mut under_way = VecDeque::with_capacity(most);
        loop {
            while under_way.len() < most {
                let Some(start) = starts.next() else { break };
                let (sender, receiver) = sync_channel(1);
                under_way.push_back(receiver);
                scope.spawn_fifo(move |_| {
                    let piece = start.and_then(|start| Piece::read(device, start, spare.take()));
                    // The receiver is gone once an earlier piece has failed.
                    let _ = sender.send(piece.and_then(|piece| Ok((piece.end_bytes(), make(piece)?))));
                });
            }
            options.check()?;
            let Some(receiver) = under_way.pop_front() else { break };
            // A piece that panicked sends no result; leaving the scope propagates the panic.
            let Some(made) = wait_for(&receiver) else { break };
            let (end_bytes, made) = made?;
            take(made)?;
            report(device, options, end_bytes);
        }
        Ok::<_, Error>(())
    })?;
    report(device, options, device.size());
    Ok(())
}

fn report(device: &dyn BlockDevice, options: &ExportOptions<'_>, done: u64) {
    if let Some(progress) = options.progress {
        progress(done.min(device.size()), device.size());
    }
}

/// Waits for the result, or returns `None` if its sender is gone. A thread of the pool meanwhile
/// works for the pool, because it may be the only one.
fn wait_for<T>(receiver: &Receiver<T>) -> Option<T> {
    loop {
        match receiver.try_recv() {
            Ok(made) => return Some(made),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        match rayon::yield_now() {
            Some(Yield::Executed) => {}
            Some(Yield::Idle) => match receiver.recv_timeout(NAP) {
                Ok(made) => return Some(made),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            },
            None => return receiver.recv().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_beyond_32_bits_is_a_limit() {
        assert_eq!(entry(5, FILE_SECTORS_MAX).ok(), Some(5));
        for (sector, end) in [(FILE_SECTORS_MAX - 2, FILE_SECTORS_MAX + 1), (1 << 32, (1 << 32) + 1)] {
            let error = entry(sector, end).expect_err("a limit");
            assert!(
                matches!(error.detail(), Some(BlockError::Limit { found, max, .. }) if *found == end && *max == u64::from(u32::MAX)),
                "{error}"
            );
        }
    }
}
