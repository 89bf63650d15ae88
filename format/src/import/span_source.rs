//! The disk as a sequence of spans that hold data, in order.

use std::io::Read;

use super::options::ImportOptions;
use crate::error::{BlockError, Error, Result, StoreError};
use crate::limits::{BLOCK_LEN, SPAN_LEN};
use melv_block::{ArrivedSpan, Source, SourceKind, SpanStream, padded_size};
use melv_block::{BlockDevice, RunKind};

/// The bytes read before they are hashed: less than half of a core's own cache.
const PIECE_LEN: usize = 128 << 10;

/// A span to be hashed.
pub(super) struct PendingSpan {
    /// The span's number in the disk.
    pub number: u64,
    /// The source of its bytes.
    pub data: SpanInput,
    /// The length of the span, in bytes.
    pub len: usize,
}

/// The source of a span's bytes.
pub(super) enum SpanInput {
    /// Bytes that the feed had to read itself.
    Read(Vec<u8>),
    /// The ranges with data in the span (offset and length in bytes), still to be read from the device.
    Runs(Vec<(u32, u32)>),
    /// Bytes that have arrived, possibly still encoded.
    Arrived(ArrivedSpan),
}

/// A feed: returns spans with data, front to back.
pub(super) enum SpanSource<'a> {
    Device {
        device: &'a dyn BlockDevice,
        offset: u64,
        pending: Option<(u64, u64)>,
    },
    Spans {
        spans: Box<dyn SpanStream + 'a>,
        offset: u64,
    },
    Stream {
        stream: Box<dyn Read + Send + 'a>,
        name: String,
        offset: u64,
        pad: bool,
        /// The required length of the stream, in bytes.
        expected: Option<u64>,
        ended: bool,
        size_max: u64,
    },
}

impl<'a> SpanSource<'a> {
    pub fn new(source: Source<'a>, options: &ImportOptions<'_>, size_max: u64) -> Self {
        match source.kind {
            SourceKind::Device(device) => Self::Device { device, offset: 0, pending: None },
            SourceKind::Spans(spans) => Self::Spans { spans, offset: 0 },
            SourceKind::Stream(stream) => Self::Stream {
                stream,
                name: source.name,
                offset: 0,
                pad: options.pad,
                expected: options.size_bytes,
                ended: false,
                size_max,
            },
        }
    }

    /// Returns the bytes passed so far, holes included; after the last span, the disk's size.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Device { offset, .. } | Self::Spans { offset, .. } | Self::Stream { offset, .. } => *offset,
        }
    }

    /// Returns the next span with data. `buffer` supplies memory if the feed itself must read.
    pub fn next(&mut self, buffer: impl FnOnce() -> Vec<u8>) -> Result<Option<PendingSpan>> {
        match self {
            Self::Device { device, offset, pending } => next_of_device(*device, offset, pending),
            Self::Spans { spans, offset } => next_of_spans(spans.as_mut(), offset),
            Self::Stream { stream, name, offset, pad, expected, ended, size_max } => {
                if *ended {
                    return Ok(None);
                }
                let mut data = buffer();
                let len = fill(stream, &mut data)
                    .map_err(|error| Error::io("read", format!("{name} at byte {offset}"), error))?;
                let span = *offset / SPAN_LEN as u64;
                *offset += len as u64;
                if *offset > *size_max {
                    return Err(BlockError::Limit {
                        what: "bytes of a stream",
                        found: *offset,
                        max: *size_max,
                    }
                    .into());
                }
                let is_last = len < SPAN_LEN;
                check_size(name, *offset, is_last, *expected)?;
                if is_last {
                    *ended = true;
                    let size = padded_size(*offset, *pad, name)?;
                    data.resize(len + (size - *offset) as usize, 0);
                    *offset = size;
                }
                let len = data.len();
                Ok((len > 0).then_some(PendingSpan { number: span, data: SpanInput::Read(data), len }))
            }
        }
    }
}

/// Fails if a stream ends before its required length or goes on after it.
fn check_size(name: &str, found: u64, is_last: bool, expected: Option<u64>) -> Result<()> {
    match expected {
        Some(expected) if found > expected || is_last && found < expected => {
            let found = is_last.then_some(found);
            Err(StoreError::SizeMismatch { object: name.into(), expected, found }.into())
        }
        _ => Ok(()),
    }
}

fn next_of_spans(spans: &mut dyn SpanStream, offset: &mut u64) -> Result<Option<PendingSpan>> {
    let size = spans.size();
    let Some(arrived) = spans.next_span()? else {
        *offset = size;
        return Ok(None);
    };
    let span = arrived.number;
    let start = span.saturating_mul(SPAN_LEN as u64);
    if start < *offset || start >= size {
        return Err(BlockError::OutOfRange { offset: start, len: SPAN_LEN as u64, size }.into());
    }
    let len = (size - start).min(SPAN_LEN as u64);
    *offset = start + len;
    Ok(Some(PendingSpan { number: span, data: SpanInput::Arrived(arrived), len: len as usize }))
}

/// Reads the bytes of a span; only the last span of the stream may be shorter.
fn fill(stream: &mut dyn Read, data: &mut Vec<u8>) -> std::io::Result<usize> {
    data.clear();
    stream.take(SPAN_LEN as u64).read_to_end(data)
}

fn next_of_device(
    device: &dyn BlockDevice,
    offset: &mut u64,
    pending: &mut Option<(u64, u64)>,
) -> Result<Option<PendingSpan>> {
    let mut found: Option<(u64, Vec<(u32, u32)>)> = None;
    let pending_span = |(span, runs): (u64, Vec<_>)| {
        let len = (device.size() - span * SPAN_LEN as u64).min(SPAN_LEN as u64) as usize;
        PendingSpan { number: span, data: SpanInput::Runs(runs), len }
    };
    loop {
        let Some((start, end)) =
            pending.take().map_or_else(|| next_data(device, offset), |run| Ok(Some(run)))?
        else {
            return Ok(found.map(pending_span));
        };
        let span = start / SPAN_LEN as u64;
        let span_start = span * SPAN_LEN as u64;
        if found.as_ref().is_some_and(|(found, _)| *found != span) {
            *pending = Some((start, end));
            return Ok(found.map(pending_span));
        }
        let span_end = (span_start + SPAN_LEN as u64).min(device.size());
        let now = end.min(span_end);
        let (_, runs) = found.get_or_insert_with(|| (span, Vec::new()));
        runs.push(((start - span_start) as u32, (now - start) as u32));
        if end > now {
            *pending = Some((now, end));
        }
    }
}

/// Returns the start and end of the next run of data, in whole blocks (the disk's last may be short).
fn next_data(device: &dyn BlockDevice, offset: &mut u64) -> Result<Option<(u64, u64)>> {
    let size = device.size();
    while *offset < size {
        let start = *offset;
        let run = device.map(start, size - start)?;
        if run.kind == RunKind::Zero {
            *offset = start + run.len;
            continue;
        }
        let start = start - start % BLOCK_LEN as u64;
        let end = (*offset + run.len).next_multiple_of(BLOCK_LEN as u64).min(size);
        *offset = end;
        return Ok(Some((start, end)));
    }
    Ok(None)
}

impl PendingSpan {
    /// Returns the span's bytes, reading them unless the feed already did. Passes them to `each` piece by
    /// piece while they are in the CPU cache. Pieces are whole blocks, except the disk's last.
    pub fn read(
        self,
        device: Option<&dyn BlockDevice>,
        buffer: impl FnOnce() -> Vec<u8>,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Vec<u8>> {
        let (runs, mut data) = match self.data {
            SpanInput::Read(data) => (Vec::new(), data),
            SpanInput::Arrived(arrived) => {
                let mut data = buffer();
                data.clear();
                data.resize(self.len, 0);
                (arrived.fill)(&mut data)?;
                (Vec::new(), data)
            }
            SpanInput::Runs(runs) => {
                let mut data = buffer();
                data.resize(self.len, 0);
                (runs, data)
            }
        };
        for (number, piece) in data.chunks_mut(PIECE_LEN).enumerate() {
            if let Some(device) = device.filter(|_| !runs.is_empty()) {
                let first = number * PIECE_LEN;
                read_runs(device, self.number * SPAN_LEN as u64, &runs, first, piece)?;
            }
            each(piece);
        }
        Ok(data)
    }
}

/// Fills `piece`, which begins at offset `first` of the span at `start`: runs from the device, the rest with
/// zeros.
fn read_runs(
    device: &dyn BlockDevice,
    start: u64,
    runs: &[(u32, u32)],
    first: usize,
    piece: &mut [u8],
) -> Result<()> {
    let mut filled = 0;
    for &(offset, len) in runs {
        let from = (offset as usize).max(first) - first;
        let to = ((offset + len) as usize).min(first + piece.len()).saturating_sub(first);
        if from < to {
            piece[filled..from].fill(0);
            device.read_at(start + (first + from) as u64, &mut piece[from..to])?;
            filled = to;
        }
    }
    piece[filled..].fill(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use melv_block::Run;

    /// A device with ones in the given byte ranges; reading anything else fails.
    #[derive(Debug)]
    struct Sparse(u64, Vec<(u64, u64)>);

    impl BlockDevice for Sparse {
        fn size(&self) -> u64 {
            self.0
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
            let block = BLOCK_LEN as u64;
            let end = offset + buf.len() as u64;
            let near = |&(from, to): &(u64, u64)| {
                from / block * block <= offset && end <= to.next_multiple_of(block).min(self.0)
            };
            assert!(self.1.iter().any(near), "{offset}+{} is a hole", buf.len());
            buf.fill(1);
            Ok(())
        }
        fn map(&self, offset: u64, len: u64) -> Result<Run> {
            let inside = self.1.iter().find(|(from, to)| (*from..*to).contains(&offset));
            let next = self.1.iter().map(|run| run.0).find(|&from| from > offset).unwrap_or(self.0);
            Ok(match inside {
                Some((_, to)) => Run { kind: RunKind::Data, len: (to - offset).min(len) },
                None => Run { kind: RunKind::Zero, len: (next - offset).min(len) },
            })
        }
        fn name(&self) -> String {
            "sparse".into()
        }
    }

    #[test]
    fn holes_are_never_read_and_data_is_read_once() {
        let span = SPAN_LEN as u64;
        let disk = Sparse(
            5 * span + 512,
            vec![(4096, 8192), (12288, 16384), (span - 4096, span + 4096), (4 * span, 5 * span + 512)],
        );
        let options = ImportOptions::named("sparse".parse().unwrap());
        let mut feed = SpanSource::new(Source::device(&disk), &options, u64::MAX);
        let mut spans = Vec::new();
        while let Some(pending) = feed.next(Vec::new).unwrap() {
            let span = pending.number;
            let mut pieces = Vec::new();
            let data = pending.read(Some(&disk), Vec::new, |piece| pieces.extend_from_slice(piece)).unwrap();
            assert_eq!(pieces, data);
            spans.push((span, data.len(), data.iter().map(|&byte| u64::from(byte)).sum::<u64>()));
        }
        assert_eq!(spans, [(0, SPAN_LEN, 12288), (1, SPAN_LEN, 4096), (4, SPAN_LEN, span), (5, 512, 512)]);
        assert_eq!(feed.offset(), disk.0);
    }
}
