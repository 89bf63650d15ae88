//! Do two disks read the same, and what is a disk's content id?
//!
//! Holes are never read, beyond short ones between data: a disk's map says where it has data, and of
//! that pieces are made, none longer than a span. Pieces of many runs are read together, so that a
//! disk whose data lies scattered keeps all threads busy, too.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::content::{ContentHasher, span_blocks, span_digest};
use crate::device::{BlockDevice, RunKind};
use crate::digest::Digest;
use crate::error::{BlockError, Result};
use crate::limits::{BLOCK_LEN, SPAN_LEN};
use crate::ondisk::manifest::Geometry;

/// Holes up to so many bytes between data are read along with it: less work than two reads.
const GAP_LEN_MAX: u64 = 64 << 10;
/// Bytes read at a time, for each thread.
const BATCH_LEN: usize = 8 << 20;
/// Pieces read at a time, however short they are.
const BATCH_PIECES_MAX: usize = 16 << 10;

/// How two disks compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Every byte is the same, and there are as many.
    Same,
    /// They differ, first at this byte; where one is the beginning of the other, at its end.
    Differ {
        /// The first byte that differs.
        offset: u64,
    },
}

/// A stretch of one span in which some disk has data: whole blocks, but at the disks' end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    /// First byte.
    start: u64,
    /// Bytes.
    len: usize,
    /// Which of the disks have data here; the others have zeros.
    has_data: [bool; 2],
}

impl Piece {
    fn span(&self) -> u64 {
        self.start / SPAN_LEN as u64
    }

    /// Reads the piece of disk `number`, or fills in zeros where it is known to have no others.
    fn read(&self, device: &dyn BlockDevice, number: usize, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.resize(self.len, 0);
        if self.has_data[number] {
            return device.read_at(self.start, buffer);
        }
        buffer.fill(0);
        Ok(())
    }
}

/// The map of one disk, asked for front to back.
#[derive(Debug)]
struct Runs<'a> {
    device: &'a dyn BlockDevice,
    kind: RunKind,
    /// Where the run asked for last ends.
    end: u64,
}

impl Runs<'_> {
    /// Whether there is data at `offset`, and up to where all is of that kind, at most `size`.
    fn at(&mut self, offset: u64, size: u64) -> Result<(bool, u64)> {
        if self.end <= offset {
            let run = self.device.map(offset, size - offset)?;
            (self.kind, self.end) = (run.kind, offset.saturating_add(run.len));
        }
        Ok((self.kind == RunKind::Data, self.end.min(size)))
    }
}

/// The pieces of one or two disks, front to back.
#[derive(Debug)]
struct Pieces<'a> {
    runs: Vec<Runs<'a>>,
    size: u64,
    offset: u64,
    /// One that was found and is the next batch's.
    pending: Option<Piece>,
}

impl<'a> Pieces<'a> {
    /// Of the first `size` bytes of at most two disks.
    fn new(devices: &[&'a dyn BlockDevice], size: u64) -> Self {
        let runs = |device: &&'a dyn BlockDevice| Runs { device: *device, kind: RunKind::Zero, end: 0 };
        Self { runs: devices.iter().map(runs).collect(), size, offset: 0, pending: None }
    }

    /// Which disks have data at `offset`, and up to where that stays so.
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
        // Behind the last data, and behind what was looked at.
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

    /// The next pieces, enough for every thread and few enough to hold; all of a span or none. Empty at
    /// the end.
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

/// Compares two disks, on all threads of the current `rayon` pool. Each is read where it has data, and
/// not much beyond that.
///
/// # Errors
/// What reading either gives.
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

/// The content id of a disk, on all threads of the current `rayon` pool. It is read where it has data,
/// and not much beyond that.
///
/// # Errors
/// What reading it gives, and [`BlockError::Interrupted`].
pub fn content_of(
    device: &dyn BlockDevice,
    cancel: Option<&AtomicBool>,
    progress: Option<&(dyn Fn(u64, u64) + Sync)>,
) -> Result<Digest> {
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

/// The number and the digest of the span that these pieces are all the data of; none where it is zeros.
fn digest_span(
    device: &dyn BlockDevice,
    pieces: &[Piece],
    data: &mut Vec<u8>,
    blocks: &mut Vec<Option<Digest>>,
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
