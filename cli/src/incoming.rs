//! A disk that is read from a pipe, in a format detected from its content as for a file. Only the first
//! bytes, until they are read again, and the last ones are kept.

use std::io::{self, Chain, Cursor, Read};

use melv::SpanStream;
use melv::container::{FIRST_LEN, LAST_LEN};
use melv::content::span_of_bytes;
use melv::limits::SPAN_LEN;
use melv::vmdk::{self, Warning};
use melv::{BlockError, Container, Digest, Error};
use rayon::prelude::*;

use crate::failure::Failure;
use crate::format::Format;
use crate::stdin::{self, Pipe};

/// The number of spans per thread in a batch.
const SPANS_PER_THREAD: usize = 4;

/// A pipe from its first byte on, although its first bytes were examined.
pub type Whole<'a> = Chain<Cursor<Vec<u8>>, Pipe<'a>>;

/// A disk that is read from a pipe.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// A raw disk, with nothing but its bytes.
    Raw(Checked<'a>),
    /// A stream VMDK.
    Vmdk(Box<vmdk::Stream<Whole<'a>>>),
}

impl<'a> Incoming<'a> {
    /// Examines the first bytes of the pipe and opens it in the given format, or else in the one detected.
    /// `name` is for messages.
    ///
    /// # Errors
    /// [`Failure::ForeignFile`] for a format that cannot be read from a pipe; errors of reading.
    pub fn open(pipe: Pipe<'a>, name: &str, format: Option<Format>) -> Result<Self, Failure> {
        Self::of_first(first_bytes(pipe, name, format)?, name, format)
    }

    /// As [`Incoming::open`], for a disk that must not be empty.
    ///
    /// # Errors
    /// Those of [`Incoming::open`], and [`Failure::Empty`] for an empty pipe.
    pub fn open_some(pipe: Pipe<'a>, name: &str, format: Option<Format>) -> Result<Self, Failure> {
        let whole = first_bytes(pipe, name, format)?;
        if whole.0.is_empty() {
            return Err(Failure::Empty { name: name.into() });
        }
        Self::of_first(whole, name, format)
    }

    fn of_first(
        (first, pipe): (Vec<u8>, Pipe<'a>),
        name: &str,
        format: Option<Format>,
    ) -> Result<Self, Failure> {
        let container = if format.is_none() { Container::of(&first, &[]) } else { None };
        let whole = Cursor::new(first).chain(pipe);
        match (format, container) {
            (Some(Format::Vmdk), _) | (_, Some(Container::VmdkSparse | Container::VmdkDescriptor)) => {
                let stream = vmdk::Stream::open(whole, name).map_err(Failure::of_vmdk)?;
                Ok(Self::Vmdk(Box::new(stream)))
            }
            (_, Some(Container::Bundle)) => Err(Failure::PipedBundle { name: name.into() }),
            (_, Some(format)) => Err(Failure::ForeignFile { path: name.into(), format }),
            (_, None) => Ok(Self::Raw(Checked { whole, last: Vec::new(), is_raw: format.is_some() })),
        }
    }

    /// Returns the peculiarities found so far that are no reason to refuse the disk.
    pub fn warnings(&self) -> Vec<Warning> {
        match self {
            Self::Raw(_) => Vec::new(),
            Self::Vmdk(stream) => stream.warnings().to_vec(),
        }
    }

    /// Returns the size of the disk in bytes, if it is known before the end.
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::Raw(_) => None,
            Self::Vmdk(stream) => Some(stream.size()),
        }
    }

    /// Passes the spans of the disk to `each` in batches, in ascending order of their numbers. Leaves out
    /// spans of a VMDK without data. Returns the size of the disk in bytes. Needs 8 MiB of memory a thread.
    ///
    /// # Errors
    /// Errors of reading and of `each`.
    pub fn for_each_batch(
        &mut self,
        name: &str,
        each: &mut dyn FnMut(&[Span<'_>]) -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        match self {
            Self::Raw(raw) => raw.for_each_batch(name, each),
            Self::Vmdk(stream) => batches_of_spans(stream, each),
        }
    }
}

/// Reads the bytes that determine the format, and returns them with the rest of the pipe.
fn first_bytes<'a>(
    mut pipe: Pipe<'a>,
    name: &str,
    format: Option<Format>,
) -> Result<(Vec<u8>, Pipe<'a>), Failure> {
    if format == Some(Format::Bundle) {
        return Err(Failure::Usage(stdin::NO_BUNDLE.into()));
    }
    let mut first = Vec::new();
    let read = (&mut pipe).take(FIRST_LEN as u64).read_to_end(&mut first);
    read.map_err(|error| Error::io("read", format!("{name} at byte 0"), error))?;
    Ok((first, pipe))
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
    stream: &mut vmdk::Stream<Whole<'_>>,
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

/// A raw disk from a pipe. Reading fails at the end if the last bytes are those of another format.
#[derive(Debug)]
pub struct Checked<'a> {
    whole: Whole<'a>,
    last: Vec<u8>,
    /// Whether the user chose raw, which turns the check of the last bytes off.
    is_raw: bool,
}

/// The error at the end of a disk that turns out to be in another format.
#[derive(Debug, thiserror::Error)]
#[error("it ends as a {} does", .0.name())]
struct Foreign(Container);

impl Checked<'_> {
    fn keep_last(&mut self, data: &[u8]) {
        let new = data.len().min(LAST_LEN);
        let old = (self.last.len() + new).saturating_sub(LAST_LEN);
        self.last.drain(..old);
        self.last.extend_from_slice(&data[data.len() - new..]);
    }

    fn for_each_batch(
        &mut self,
        name: &str,
        each: &mut dyn FnMut(&[Span<'_>]) -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        let batch_len = batch_spans() * SPAN_LEN;
        let mut batch = Vec::with_capacity(batch_len);
        let mut size = 0;
        loop {
            batch.clear();
            let read = self.take(batch_len as u64).read_to_end(&mut batch);
            read.map_err(|error| refusal(Error::io("read", format!("{name} at byte {size}"), error), name))?;
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
}

impl Read for Checked<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.whole.read(buf)?;
        if self.is_raw || buf.is_empty() {
            return Ok(read);
        }
        self.keep_last(&buf[..read]);
        if read == 0
            && let Some(container) = Container::of(&[], &self.last)
        {
            return Err(io::Error::other(Foreign(container)));
        }
        Ok(read)
    }
}

/// Turns an error into a failure, with a foreign format at the end as a failure of its own.
pub fn refusal(error: Error, name: &str) -> Failure {
    if let Some(BlockError::Io { source, .. }) = error.detail()
        && let Some(Foreign(format)) = source.get_ref().and_then(|inner| inner.downcast_ref())
    {
        return Failure::ForeignFile { path: name.into(), format: *format };
    }
    Failure::of_vmdk(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

    use std::sync::atomic::AtomicBool;

    use super::*;

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
            let mut incoming = Incoming::open(pipe(bytes.clone(), &cancel), "pipe", None).unwrap();
            let mut came = Vec::new();
            let mut take = |batch: &[Span<'_>]| {
                for (number, data) in batch {
                    assert_eq!(*number as usize * SPAN_LEN, came.len());
                    came.extend_from_slice(data);
                }
                Ok(())
            };
            assert_eq!(incoming.for_each_batch("pipe", &mut take).unwrap(), len as u64);
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
            let open = |format| Incoming::open(pipe(bytes.clone(), &cancel), "pipe", format);
            let ended = open(None).and_then(|mut disk| disk.for_each_batch("pipe", &mut |_| Ok(())));
            assert!(matches!(ended, Err(Failure::ForeignFile { .. })), "{len}");
            // An explicit raw format takes all bytes.
            let ended = open(Some(Format::Raw)).and_then(|mut disk| disk.for_each_batch("", &mut |_| Ok(())));
            assert_eq!(ended.unwrap(), bytes.len() as u64);
        }
    }
}
