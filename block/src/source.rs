//! Disks to be read once: by position, span by span, or front to back.

use std::io::Read;

use crate::device::{BlockDevice, SectorBits};
use crate::error::Result;

/// A disk to import.
pub struct Source<'a> {
    /// The name in messages.
    pub name: String,
    /// The way to read it.
    pub kind: SourceKind<'a>,
}

/// The ways in which a disk can be read.
pub enum SourceKind<'a> {
    /// By position, from many threads.
    Device(&'a dyn BlockDevice),
    /// Span by span, in ascending order.
    Spans(Box<dyn SpanStream + 'a>),
    /// Front to back; the size is known at the end.
    Stream(Box<dyn Read + Send + 'a>),
}

impl std::fmt::Debug for SourceKind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Device(_) => "Device",
            Self::Spans(_) => "Spans",
            Self::Stream(_) => "Stream",
        })
    }
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A disk that arrives front to back, a span at a time, with a size known in advance: a foreign format from a
/// pipe.
pub trait SpanStream: Send {
    /// Returns the size of the disk, in bytes.
    fn size(&self) -> u64;

    /// The same as [`BlockDevice::sector_bits`].
    fn sector_bits(&self) -> SectorBits {
        SectorBits::default()
    }

    /// Returns the next span that holds data, in ascending order; `None` once the stream has ended and passed
    /// all possible checks.
    ///
    /// # Errors
    /// Any error of the stream, and any fault in the data received.
    fn next_span(&mut self) -> Result<Option<ArrivedSpan>>;
}

type Fill = Box<dyn FnOnce(&mut [u8]) -> Result<()> + Send>;

/// A span whose bytes have arrived, possibly still encoded.
pub struct ArrivedSpan {
    /// Its number in the disk, in units of [`SPAN_LEN`](crate::SPAN_LEN) bytes.
    pub number: u64,
    /// Writes its data into a zeroed buffer of the span's length. Called once, on any thread, so that spans
    /// are decoded in parallel.
    pub fill: Fill,
}

impl std::fmt::Debug for ArrivedSpan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArrivedSpan").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<'a> Source<'a> {
    /// Creates the source of an import from a disk that is read by position, from many threads.
    #[must_use]
    pub fn device(device: &'a dyn BlockDevice) -> Self {
        Self { name: device.name(), kind: SourceKind::Device(device) }
    }

    /// Creates a source from a disk that arrives span by span.
    pub fn spans(spans: impl SpanStream + 'a, name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: SourceKind::Spans(Box::new(spans)) }
    }

    /// Creates a source from a disk that is read front to back; its size is known only at the end.
    pub fn stream(stream: impl Read + Send + 'a, name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: SourceKind::Stream(Box::new(stream)) }
    }
}
