//! Do two disks read the same, and what is a disk's content id?

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::content::{ContentHasher, span_blocks, span_digest};
use crate::device::{BlockDevice, Run, RunKind};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits::SPAN_LEN;
use crate::ondisk::manifest::Geometry;

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

/// Compares two disks, on all threads of the current `rayon` pool.
///
/// # Errors
/// What reading either gives.
pub fn compare(
    one: &dyn BlockDevice,
    other: &dyn BlockDevice,
    cancel: Option<&AtomicBool>,
) -> Result<Comparison> {
    let size = one.size().min(other.size());
    let batch_len = (SPAN_LEN * rayon::current_num_threads() * 4) as u64;
    let mut offset = 0;
    while offset < size {
        check(cancel)?;
        // Where both are zero for long, there is nothing to read.
        let (left, right) = (one.map(offset, size - offset)?, other.map(offset, size - offset)?);
        let zeros = |run: &Run| run.kind == RunKind::Zero;
        if zeros(&left) && zeros(&right) {
            offset += left.len.min(right.len);
            continue;
        }
        let len = batch_len.min(size - offset);
        let pieces = (0..len.div_ceil(SPAN_LEN as u64)).into_par_iter();
        let first = pieces
            .map_init(
                || (Vec::new(), Vec::new()),
                |(left, right), number| {
                    let start = number * SPAN_LEN as u64;
                    let piece_len = (SPAN_LEN as u64).min(len - start) as usize;
                    left.resize(piece_len, 0);
                    right.resize(piece_len, 0);
                    one.read_at(offset + start, left)?;
                    other.read_at(offset + start, right)?;
                    let differs = left.iter().zip(&*right).position(|(left, right)| left != right);
                    Ok(if left == right { None } else { differs.map(|at| offset + start + at as u64) })
                },
            )
            .collect::<Vec<_>>()
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        if let Some(offset) = first.into_iter().flatten().next() {
            return Ok(Comparison::Differ { offset });
        }
        offset += len;
    }
    Ok(if one.size() == other.size() { Comparison::Same } else { Comparison::Differ { offset: size } })
}

fn check(cancel: Option<&AtomicBool>) -> Result<()> {
    match cancel {
        Some(cancel) if cancel.load(Ordering::Relaxed) => Err(Error::Interrupted),
        _ => Ok(()),
    }
}

/// The content id of a disk, on all threads of the current `rayon` pool.
///
/// # Errors
/// What reading it gives, and [`Error::Interrupted`].
pub fn content_of(
    device: &dyn BlockDevice,
    cancel: Option<&AtomicBool>,
    progress: Option<&(dyn Fn(u64, u64) + Sync)>,
) -> Result<Digest> {
    let geometry = Geometry::of_size(device.size());
    let mut content = ContentHasher::new(device.size(), geometry.spans());
    let batch = (rayon::current_num_threads() * 8) as u64;
    let mut span = 0;
    while span < geometry.spans() {
        check(cancel)?;
        let offset = span * SPAN_LEN as u64;
        let run = device.map(offset, device.size() - offset)?;
        let zero_spans = run.len / SPAN_LEN as u64;
        if run.kind == RunKind::Zero && zero_spans > 0 {
            span += zero_spans;
            continue;
        }
        let spans = span..(span + batch).min(geometry.spans());
        let digests = spans
            .clone()
            .into_par_iter()
            .map_init(
                || (Vec::new(), Vec::new()),
                |(data, blocks), number| digest_span(device, number, data, blocks),
            )
            .collect::<Vec<_>>()
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        for (number, digest) in spans.clone().zip(digests) {
            if let Some(digest) = digest {
                content.span(number, &digest);
            }
        }
        span = spans.end;
        if let Some(progress) = progress {
            progress((span * SPAN_LEN as u64).min(device.size()), device.size());
        }
    }
    Ok(content.finish())
}

fn digest_span(
    device: &dyn BlockDevice,
    number: u64,
    data: &mut Vec<u8>,
    blocks: &mut Vec<Option<Digest>>,
) -> Result<Option<Digest>> {
    let offset = number * SPAN_LEN as u64;
    data.resize((device.size() - offset).min(SPAN_LEN as u64) as usize, 0);
    device.read_at(offset, data)?;
    blocks.clear();
    span_blocks(data, blocks);
    Ok(span_digest(blocks))
}
