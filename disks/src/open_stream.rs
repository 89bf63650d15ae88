//! The one entry point for disks from pipes: it tells the format by the first bytes.

use std::io::{Cursor, Read};

use melv_block::container::FIRST_LEN;
use melv_block::{Container, Error, Result};

use crate::error::DiskError;
use crate::foreign_disk::DiskFormat;
#[cfg(feature = "vmdk")]
use crate::raw::PeekedReader;
use crate::raw::RawStream;
#[cfg(feature = "vmdk")]
use crate::vmdk;
use crate::warning::Warning;

/// A pipe whose first bytes have been read, to tell its format. No byte is lost by that.
#[derive(Debug)]
pub struct PeekedStream<R> {
    first: Vec<u8>,
    reader: R,
    name: String,
}

/// A disk that is read front to back.
#[derive(Debug)]
pub enum StreamedDisk<R> {
    /// A raw disk, with nothing but its bytes.
    Raw(RawStream<R>),
    /// A stream VMDK.
    #[cfg(feature = "vmdk")]
    Vmdk(Box<vmdk::Stream<PeekedReader<R>>>),
}

impl<R: Read> PeekedStream<R> {
    /// Reads ahead the bytes that determine the format: 64 KiB, or all of a shorter stream. Readers of the
    /// disk see them again. `name` is for messages.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read(mut reader: R, name: impl Into<String>) -> Result<Self> {
        let (mut first, name) = (Vec::new(), name.into());
        let read = reader.by_ref().take(FIRST_LEN as u64).read_to_end(&mut first);
        read.map_err(|error| Error::io("read", format!("{name} at byte 0"), error))?;
        Ok(Self { first, reader, name })
    }

    /// Whether no bytes came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

impl<R: Read + Send> PeekedStream<R> {
    /// Opens the disk in the given format, or else in the one that its first bytes show. Formats that are
    /// marked at their end alone are refused there, by reading.
    ///
    /// # Errors
    /// [`DiskError::ForeignFormat`] for a format that cannot be read from a pipe; those of
    /// [`vmdk::Stream::open`](crate::vmdk::Stream::open).
    pub fn open(self, format: Option<DiskFormat>) -> Result<StreamedDisk<R>> {
        let Self { first, reader, name } = self;
        let is_checked = format.is_none();
        let format = format.map_or_else(
            || Container::of(&first, &[]),
            |format| match format {
                DiskFormat::Raw => None,
                DiskFormat::Vmdk => Some(Container::VmdkSparse),
            },
        );
        let reader = Cursor::new(first).chain(reader);
        match format {
            #[cfg(feature = "vmdk")]
            Some(Container::VmdkSparse | Container::VmdkDescriptor) => {
                Ok(StreamedDisk::Vmdk(Box::new(vmdk::Stream::open(reader, name)?)))
            }
            Some(format) => Err(DiskError::ForeignFormat { object: name, format }.into()),
            None => Ok(StreamedDisk::Raw(RawStream::new(reader, name, is_checked))),
        }
    }
}

impl<R: Read + Send> StreamedDisk<R> {
    /// Returns the size of the disk in bytes, if it is known before the end.
    #[must_use]
    pub fn known_size(&self) -> Option<u64> {
        match self {
            Self::Raw(_) => None,
            #[cfg(feature = "vmdk")]
            Self::Vmdk(stream) => Some(melv_block::SpanStream::size(stream.as_ref())),
        }
    }

    /// Returns the oddities found so far that are no reason to refuse the disk.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        match self {
            Self::Raw(_) => &[],
            #[cfg(feature = "vmdk")]
            Self::Vmdk(stream) => stream.warnings(),
        }
    }
}
