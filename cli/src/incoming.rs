//! A disk that is read from a pipe, in a format detected from its content as for a file.

use std::io::Read;

use melv::content::span_of_bytes;
use melv::limits::SPAN_LEN;
use melv::{
    Container, Digest, DiskError, Error, PeekedReader, PeekedStream, RawStream, SpanStream, StreamedDisk,
    vmdk,
};
use rayon::prelude::*;

use crate::failure::Failure;
use crate::format::Format;
use crate::stdin::{self, Pipe};

/// The number of spans per thread in a batch.
const SPANS_PER_THREAD: usize = 4;

/// A disk that is read from a pipe.
pub type Incoming<'a> = StreamedDisk<Pipe<'a>>;

/// Examines the first bytes of the pipe and opens it in the given format, or else in the one detected. `name`
/// is for messages.
///
/// # Errors
/// A format that cannot be read from a pipe; errors of reading.
pub fn open<'a>(pipe: Pipe<'a>, name: &str, format: Option<Format>) -> Result<Incoming<'a>, Failure> {
    open_peeked(peeked(pipe, name, format)?, name, format)
}

/// As [`open`], for a disk that must not be empty.
///
/// # Errors
/// Those of [`open`], and [`Failure::Empty`] for an empty pipe.
pub fn open_some<'a>(pipe: Pipe<'a>, name: &str, format: Option<Format>) -> Result<Incoming<'a>, Failure> {
    let stream = peeked(pipe, name, format)?;
    if stream.is_empty() {
        return Err(Failure::Empty { name: name.into() });
    }
    open_peeked(stream, name, format)
}

fn peeked<'a>(pipe: Pipe<'a>, name: &str, format: Option<Format>) -> Result<PeekedStream<Pipe<'a>>, Failure> {
    if format == Some(Format::Bundle) {
        return Err(Failure::Usage(stdin::NO_BUNDLE.into()));
    }
    Ok(PeekedStream::read(pipe, name)?)
}

fn open_peeked<'a>(
    stream: PeekedStream<Pipe<'a>>,
    name: &str,
    format: Option<Format>,
) -> Result<Incoming<'a>, Failure> {
    stream.open(format.and_then(Format::of_disk)).map_err(|error| match error.detail() {
        Some(DiskError::ForeignFormat { format: Container::Bundle, .. }) => {
            Failure::PipedBundle { name: name.into() }
        }
        _ => Failure::of_disk(error),
    })
}

/// Passes the spans of the disk to `each` in batches, in ascending order of their numbers. Leaves out spans
/// of a VMDK without data. Returns the size of the disk in bytes. Needs 8 MiB of memory a thread.
///
/// # Errors
/// Errors of reading and of `each`.
pub fn for_each_batch(
    disk: &mut Incoming<'_>,
    name: &str,
    each: &mut dyn FnMut(&[Span<'_>]) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    match disk {
        Incoming::Raw(raw) => batches_of_raw(raw, name, each),
        Incoming::Vmdk(stream) => batches_of_spans(stream, each),
    }
}

/// A span from the pipe: its number and its bytes.
pub type Span<'a> = (u64, &'a [u8]);

/// Computes the digests of the nonzero spans in parallel.
pub fn digests(batch: &[Span<'_>]) -> Vec<(u64, Digest)> {
    let digest = |(number, data): &Span<'_>| Some((*number, span_of_bytes(data)?));
    batch.par_iter().filter_map(digest).collect()
}

fn batch_spans() -> usize {
    rayon::current_num_threads() * SPANS_PER_THREAD
}

fn batches_of_spans(
    stream: &mut vmdk::Stream<PeekedReader<Pipe<'_>>>,
    each: &mut dyn FnMut(&[Span<'_>]) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let size = stream.size();
    let span_len = SPAN_LEN as u64;
    loop {
        let mut batch = Vec::new();
        while batch.len() < batch_spans() {
            let Some(span) = stream.next_span()? else { break };
            batch.push(span);
        }
        if batch.is_empty() {
            return Ok(size);
        }
        let fill = |span: melv::ArrivedSpan| {
            let mut data = vec![0; size.saturating_sub(span.number * span_len).min(span_len) as usize];
            (span.fill)(&mut data)?;
            Ok((span.number, data))
        };
        let filled = batch.into_par_iter().map(fill).collect::<melv::Result<Vec<_>>>()?;
        let spans: Vec<Span<'_>> = filled.iter().map(|(number, data)| (*number, &data[..])).collect();
        each(&spans)?;
    }
}

fn batches_of_raw(
    raw: &mut RawStream<Pipe<'_>>,
    name: &str,
    each: &mut dyn FnMut(&[Span<'_>]) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let batch_len = batch_spans() * SPAN_LEN;
    let mut batch = Vec::with_capacity(batch_len);
    let mut size = 0;
    loop {
        batch.clear();
        let read = raw.take(batch_len as u64).read_to_end(&mut batch);
        read.map_err(|error| Failure::of_disk(Error::io("read", format!("{name} at byte {size}"), error)))?;
        let first = size / SPAN_LEN as u64;
        let spans: Vec<Span<'_>> = (first..).zip(batch.chunks(SPAN_LEN)).collect();
        if !spans.is_empty() {
            each(&spans)?;
        }
        size += batch.len() as u64;
        if batch.len() < batch_len {
            return Ok(size);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

    use std::io;
    use std::sync::atomic::AtomicBool;

    use melv::DiskFormat;
    use melv::container::FIRST_LEN;

    use super::*;

    fn is_foreign(error: &Error) -> bool {
        matches!(error.detail(), Some(DiskError::ForeignFormat { .. }))
    }

    /// Returns a pipe with these bytes.
    fn pipe(bytes: Vec<u8>, cancel: &AtomicBool) -> Pipe<'_> {
        let (reader, mut writer) = io::pipe().unwrap();
        std::thread::spawn(move || io::Write::write_all(&mut writer, &bytes));
        Pipe::new(reader.into(), cancel, None)
    }

    #[test]
    fn bytes_that_were_looked_at_are_not_lost() {
        let cancel = AtomicBool::new(false);
        for len in [1, 511, FIRST_LEN - 1, FIRST_LEN, FIRST_LEN + 1, 3 * SPAN_LEN + 5, 9 * SPAN_LEN] {
            let bytes: Vec<u8> = (0..len).map(|at| (at / 3) as u8 | 1).collect();
            let mut incoming = open(pipe(bytes.clone(), &cancel), "pipe", None).unwrap();
            let mut came = Vec::new();
            let mut take = |batch: &[Span<'_>]| {
                for (number, data) in batch {
                    assert_eq!(*number as usize * SPAN_LEN, came.len());
                    came.extend_from_slice(data);
                }
                Ok(())
            };
            assert_eq!(for_each_batch(&mut incoming, "pipe", &mut take).unwrap(), len as u64);
            assert!(came == bytes, "{len}");
        }
    }

    #[test]
    fn a_mark_at_the_end_is_found_however_the_bytes_arrive() {
        let cancel = AtomicBool::new(false);
        for len in [0, 1, 511, 512, 100_000, 4 * SPAN_LEN, 8 * SPAN_LEN, 8 * SPAN_LEN - 512] {
            let mut footer = vec![0; 512];
            footer[..8].copy_from_slice(b"conectix");
            let bytes = [vec![1; len], footer].concat();
            let open = |format| super::open(pipe(bytes.clone(), &cancel), "pipe", format);
            let ended = open(None).and_then(|mut disk| for_each_batch(&mut disk, "pipe", &mut |_| Ok(())));
            assert!(matches!(ended, Err(Failure::Melv(error)) if is_foreign(&error)), "{len}");
            // An explicit raw format takes all bytes.
            let ended = open(Some(Format::Disk(DiskFormat::Raw)))
                .and_then(|mut disk| for_each_batch(&mut disk, "", &mut |_| Ok(())));
            assert_eq!(ended.unwrap(), bytes.len() as u64);
        }
    }
}
