//! Comparison of two disks, and the content id of one.
//!
//! The disk's map says which ranges hold data. Those ranges are split into pieces no longer than a span; only
//! short holes between them are read. Pieces of many runs are read in one batch, so that a disk with
//! scattered data still keeps all threads busy.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::content::{ContentHasher, span_blocks, span_digest};
use crate::digest::{BlockDigest, ContentId, Digest};
use crate::error::{BlockError, Result};
use crate::limits::{BLOCK_LEN, SPAN_LEN};
use crate::ondisk::manifest::Geometry;
use melv_block::{BlockDevice, RunKind};

/// The longest hole, in bytes, that is read along with the data around it: cheaper than two reads.
const GAP_LEN_MAX: u64 = 64 << 10;
/// The bytes in a batch, per thread.
const BATCH_LEN: usize = 8 << 20;
/// The most pieces in a batch, however short they are.
const BATCH_PIECES_MAX: usize = 16 << 10;

/// The result of comparing two disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Same size, same bytes.
    Same,
    /// Different content. If one disk is a prefix of the other, `offset` is its end.
    Differ {
        /// The first byte that differs.
        offset: u64,
    },
}

/// A range within one span in which at least one disk has data: whole blocks, except at the disk's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    /// The first byte.
    start: u64,
    /// The length, in bytes.
    len: usize,
    /// Whether each disk has data here; otherwise it reads as zeros.
    has_data: [bool; 2],
}

impl Piece {
    fn span(&self) -> u64 {
        self.start / SPAN_LEN as u64
    }

    /// Reads the piece from disk `number`, or fills in zeros if the disk's map has no data here.
    fn read(&self, device: &dyn BlockDevice, number: usize, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.resize(self.len, 0);
        if self.has_data[number] {
            return device.read_at(self.start, buffer);
        }
        buffer.fill(0);
        Ok(())
    }
}

/// A cursor over the map of one disk, front to back.
#[derive(Debug)]
struct Runs<'a> {
    device: &'a dyn BlockDevice,
    kind: RunKind,
    /// The end of the most recent run.
    end: u64,
}

impl Runs<'_> {
    /// Returns whether `offset` holds data, and the end of that run, at most `size`.
    fn at(&mut self, offset: u64, size: u64) -> Result<(bool, u64)> {
        if self.end <= offset {
            let run = self.device.map(offset, size - offset)?;
            (self.kind, self.end) = (run.kind, offset.saturating_add(run.len));
        }
        Ok((self.kind == RunKind::Data, self.end.min(size)))
    }
}

/// An iterator over the pieces of one or two disks, front to back.
#[derive(Debug)]
struct Pieces<'a> {
    runs: Vec<Runs<'a>>,
    size: u64,
    offset: u64,
    /// A piece already found, left over for the next batch.
    pending: Option<Piece>,
}

impl<'a> Pieces<'a> {
    /// Covers the first `size` bytes of at most two disks.
    fn new(devices: &[&'a dyn BlockDevice], size: u64) -> Self {
        let runs = |device: &&'a dyn BlockDevice| Runs { device: *device, kind: RunKind::Zero, end: 0 };
        Self { runs: devices.iter().map(runs).collect(), size, offset: 0, pending: None }
    }

    /// Returns for each disk whether it has data at `offset`, and the end of the range for which that holds.
    fn at(&mut self, offset: u64) -> Result<([bool; 2], u64)> {
        let (mut has_data, mut end) = ([false; 2], self.size);
        for (runs, has_data) in self.runs.iter_mut().zip(&mut has_data) {
            let (is_data, run_end) = runs.at(offset, self.size)?;
            *has_data = is_data;
            end = end.min(run_end);
        }
        Ok((has_data, end))
    }

    fn next(&mut self) -> Result<Option<Piece>> {
        if let Some(piece) = self.pending.take() {
            return Ok(Some(piece));
        }
        let mut has_data = [false; 2];
        while !has_data.contains(&true) {
            if self.offset >= self.size {
                return Ok(None);
            }
            let (found, end) = self.at(self.offset)?;
            if found.contains(&true) { has_data = found } else { self.offset = end }
        }
        let start = self.offset - self.offset % BLOCK_LEN as u64;
        let span_end = (start - start % SPAN_LEN as u64).saturating_add(SPAN_LEN as u64).min(self.size);
        // `end` is the end of the last data, `seen` the end of the range already looked at.
        let (mut end, mut seen) = (self.offset, self.offset);
        while seen < span_end && seen - end <= GAP_LEN_MAX {
            let (found, run_end) = self.at(seen)?;
            seen = run_end.min(span_end);
            if found.contains(&true) {
                has_data.iter_mut().zip(found).for_each(|(any, now)| *any |= now);
                end = seen;
            }
        }
        self.offset = end.next_multiple_of(BLOCK_LEN as u64).min(span_end);
        Ok(Some(Piece { start, len: (self.offset - start) as usize, has_data }))
    }

    /// Returns the next pieces: enough to occupy every thread, few enough to hold in memory. A batch never
    /// splits a span. At the end of the disk it is empty.
    fn batch(&mut self, cancel: Option<&AtomicBool>) -> Result<Vec<Piece>> {
        let len_max = BATCH_LEN * rayon::current_num_threads();
        let (mut pieces, mut len): (Vec<Piece>, _) = (Vec::new(), 0);
        loop {
            check(cancel)?;
            let Some(piece) = self.next()? else { return Ok(pieces) };
            let is_full = len >= len_max || pieces.len() >= BATCH_PIECES_MAX;
            if is_full && pieces.last().is_some_and(|last| last.span() != piece.span()) {
                self.pending = Some(piece);
                return Ok(pieces);
            }
            len += piece.len;
            pieces.push(piece);
        }
    }
}

/// Compares two disks, on all threads of the current `rayon` pool. Holes are not read, except short ones.
///
/// # Errors
/// Any error from reading either disk, and [`BlockError::Interrupted`].
pub fn compare(
    one: &dyn BlockDevice,
    other: &dyn BlockDevice,
    cancel: Option<&AtomicBool>,
) -> Result<Comparison> {
    let size = one.size().min(other.size());
    let mut pieces = Pieces::new(&[one, other], size);
    loop {
        let batch = pieces.batch(cancel)?;
        if batch.is_empty() {
            break;
        }
        let first = batch
            .into_par_iter()
            .map_init(
                || (Vec::new(), Vec::new()),
                |(left, right), piece| {
                    piece.read(one, 0, left)?;
                    piece.read(other, 1, right)?;
                    if left == right {
                        return Ok(None);
                    }
                    let differs = left.iter().zip(&*right).position(|(left, right)| left != right);
                    Ok(differs.map(|at| piece.start + at as u64))
                },
            )
            .collect::<Vec<_>>()
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        if let Some(offset) = first.into_iter().flatten().next() {
            return Ok(Comparison::Differ { offset });
        }
    }
    Ok(if one.size() == other.size() { Comparison::Same } else { Comparison::Differ { offset: size } })
}

fn check(cancel: Option<&AtomicBool>) -> Result<()> {
    match cancel {
        Some(cancel) if cancel.load(Ordering::Relaxed) => Err(BlockError::Interrupted.into()),
        _ => Ok(()),
    }
}

/// Computes the content id of a disk, on all threads of the current `rayon` pool. Holes are not read, except
/// short ones.
///
/// # Errors
/// Any error from reading the disk, and [`BlockError::Interrupted`].
pub fn content_of(
    device: &dyn BlockDevice,
    cancel: Option<&AtomicBool>,
    progress: Option<&(dyn Fn(u64, u64) + Sync)>,
) -> Result<ContentId> {
    let size = device.size();
    let mut content = ContentHasher::new(size, Geometry::of_size(size).spans());
    let mut pieces = Pieces::new(&[device], size);
    loop {
        let batch = pieces.batch(cancel)?;
        let Some(last) = batch.last().copied() else { break };
        let spans: Vec<_> = batch.chunk_by(|one, other| one.span() == other.span()).collect();
        let digests = spans
            .par_iter()
            .map_init(
                || (Vec::new(), Vec::new()),
                |(data, blocks), pieces| digest_span(device, pieces, data, blocks),
            )
            .collect::<Vec<_>>()
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        for (number, digest) in digests.into_iter().flatten() {
            content.span(number, &digest);
        }
        if let Some(progress) = progress {
            progress(last.start + last.len as u64, size);
        }
    }
    Ok(content.finish())
}

/// Returns the number and digest of a span from all of its pieces, or `None` if the span is zero.
fn digest_span(
    device: &dyn BlockDevice,
    pieces: &[Piece],
    data: &mut Vec<u8>,
    blocks: &mut Vec<Option<BlockDigest>>,
) -> Result<Option<(u64, Digest)>> {
    let Some(first) = pieces.first() else { return Ok(None) };
    let span_start = first.span() * SPAN_LEN as u64;
    let span_len = (device.size() - span_start).min(SPAN_LEN as u64) as usize;
    blocks.clear();
    for piece in pieces {
        piece.read(device, 0, data)?;
        blocks.resize((piece.start - span_start) as usize / BLOCK_LEN, None);
        span_blocks(data, blocks);
    }
    blocks.resize(span_len.div_ceil(BLOCK_LEN), None);
    Ok(span_digest(blocks).map(|digest| (first.span(), digest)))
}
