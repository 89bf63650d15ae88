//! What both writers share: a disk cut into pieces that are read and worked on by many threads and
//! written in the order of the disk by one.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rayon::Yield;

use super::header::SECTOR_LEN;
use crate::device::{BlockDevice, RunKind};
use crate::digest::Digest;
use crate::error::{BlockError, Error, Result};
use crate::export::ExportOptions;

/// Sectors in a grain: the one size that every product reads (64 KiB).
pub(super) const GRAIN_SECTORS: u64 = 128;
/// Bytes in a grain.
pub(super) const GRAIN_LEN: usize = (GRAIN_SECTORS * SECTOR_LEN) as usize;
/// Entries in a grain table: the technical note fixes them at 512.
pub(super) const TABLE_ENTRIES: usize = 512;
/// Sectors in a grain table.
pub(super) const TABLE_SECTORS: u64 = (TABLE_ENTRIES * ENTRY_LEN) as u64 / SECTOR_LEN;
/// Bytes in an entry of a table or a directory.
pub(super) const ENTRY_LEN: usize = 4;
/// Bytes of disk under one grain table (32 MiB).
pub(super) const COVERAGE_LEN: u64 = (TABLE_ENTRIES * GRAIN_LEN) as u64;
/// Sectors in a file, at most: tables and directories hold the numbers of sectors in 32 bits.
pub(super) const FILE_SECTORS_MAX: u64 = u32::MAX as u64;
/// Bytes in a disk, at most: a directory of 16 MiB, which is as much as careful readers load, and
/// twice the largest disk that VMware's products make (62 TiB).
const DISK_LEN_MAX: u64 = 128 << 40;

/// Grains in a piece: 1 MiB, like the pieces of a raw export. A grain table covers whole pieces.
const PIECE_GRAINS: usize = 16;
const PIECE_LEN: u64 = (PIECE_GRAINS * GRAIN_LEN) as u64;
/// Pieces in work or waiting to be written, for each thread: enough that no thread waits for the
/// one that writes.
const PIECES_PER_THREAD: usize = 3;
/// How long to wait for a piece before looking for other work again.
const NAP: Duration = Duration::from_millis(1);

/// How to write a VMDK.
#[derive(Debug, Default)]
pub struct WriteOptions<'a> {
    /// The disk's content id, where it is known: the file's own content ids are cut from it, so
    /// that other content has others and equal content the same. Without it they are fixed.
    pub content: Option<Digest>,
    /// What all exports have in common.
    pub export: ExportOptions<'a>,
}

/// The sectors of a disk that a VMDK can hold.
///
/// # Errors
/// [`BlockError::Invalid`] for a disk of nothing or of parts of sectors, [`BlockError::Limit`].
pub(super) fn capacity_sectors(device: &dyn BlockDevice) -> Result<u64> {
    let size = device.size();
    let refused = |expected| {
        let found = format!("{size} bytes of {}", device.name());
        Error::from(BlockError::Invalid { what: "disk size", found, expected })
    };
    if size == 0 {
        return Err(refused("at least one sector: there is no VMDK without a capacity"));
    }
    if !size.is_multiple_of(SECTOR_LEN) {
        return Err(refused("a multiple of 512: a VMDK counts sectors"));
    }
    if size > DISK_LEN_MAX {
        return Err(
            BlockError::Limit { what: "size of a disk as VMDK", found: size, max: DISK_LEN_MAX }.into()
        );
    }
    Ok(size / SECTOR_LEN)
}

/// A place in a file as tables hold it. `end` is where what lies there ends.
///
/// # Errors
/// [`BlockError::Limit`] where the file would outgrow its tables.
pub(super) fn entry(sector: u64, end: u64) -> Result<u32> {
    match u32::try_from(sector) {
        Ok(sector) if end <= FILE_SECTORS_MAX => Ok(sector),
        _ => Err(BlockError::Limit { what: "sectors in a VMDK", found: end, max: FILE_SECTORS_MAX }.into()),
    }
}

/// The bytes of a table or a directory.
pub(super) fn encode_entries(entries: &[u32]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.to_le_bytes()).collect()
}

/// Grains that follow each other on the disk.
#[derive(Debug)]
pub(super) struct Piece {
    /// Number of the first one.
    pub(super) first_grain: u64,
    /// Their bytes; beyond the end of the disk, zeros.
    pub(super) bytes: Vec<u8>,
}

impl Piece {
    /// The grains that are not all zeros: which one in the piece, and its bytes.
    pub(super) fn stored_grains(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.bytes.chunks_exact(GRAIN_LEN).enumerate().filter(|(_, grain)| !is_zero(grain))
    }

    /// Where it ends on the disk.
    fn end_bytes(&self) -> u64 {
        self.first_grain * GRAIN_LEN as u64 + self.bytes.len() as u64
    }

    fn read(device: &dyn BlockDevice, start: u64, mut bytes: Vec<u8>) -> Result<Self> {
        let end = device.size().min(start + PIECE_LEN);
        let len = (end - start) as usize;
        bytes.resize(len.next_multiple_of(GRAIN_LEN), 0);
        let place = |at: u64| (at - start) as usize;
        // Data from `unread` on, as far as the map was followed: neighbouring runs are one read.
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

/// Buffers that have done their work, to be used again.
#[derive(Debug, Default)]
pub(super) struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    /// Some buffer; what it holds means nothing.
    pub(super) fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub(super) fn give(&self, buffer: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// The starts of the pieces that the device does not know to be zeros, in ascending order.
struct Starts<'a> {
    device: &'a dyn BlockDevice,
    offset: u64,
    /// Up to here, the device has said that there is data.
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

/// Reads the pieces of `device` that may hold data and has `make` work on each, on the threads of
/// the current `rayon` pool; hands what it made to `take`, on this thread and in the order of the
/// disk, while the pool works on the next ones. Buffers come from `spare`; `make` or `take` gives
/// them back. At most [`PIECES_PER_THREAD`] pieces a thread are under way.
///
/// # Errors
/// The first one in the order of the disk: those of the device, of `make` and of `take`;
/// [`BlockError::Interrupted`].
pub(super) fn in_order<T: Send>(
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
                    // Nobody waits for it once an earlier piece has failed.
                    let _ = sender.send(piece.and_then(|piece| Ok((piece.end_bytes(), make(piece)?))));
                });
            }
            options.check()?;
            let Some(receiver) = under_way.pop_front() else { break };
            // Nothing comes from a piece that panicked; leaving the scope passes the panic on.
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

/// What is sent, or `None` if it never will be. A thread of the pool works for the pool meanwhile:
/// it may be the only one.
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
