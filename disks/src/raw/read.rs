//! Raw disks in files, on block devices and from pipes.

use std::io::{self, Chain, Cursor, Read};

use melv_block::container::LAST_LEN;
use melv_block::{BlockDevice, Container, Deferred, RawFile, Result, Run};

use crate::error::DiskError;
use crate::foreign_disk::{DiskFormat, ForeignDisk};
use crate::warning::Warning;

/// A raw disk in a file or on a block device.
#[derive(Debug)]
pub(crate) struct RawDisk {
    file: RawFile,
    warnings: Vec<Warning>,
}

impl RawDisk {
    /// Wraps an open file, with the warnings about files beside it.
    pub(crate) fn new(file: RawFile, warnings: Vec<Warning>) -> Self {
        Self { file, warnings }
    }
}

impl BlockDevice for RawDisk {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_at(offset, buf)
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        self.file.map(offset, len)
    }

    fn name(&self) -> String {
        self.file.name()
    }
}

impl ForeignDisk for RawDisk {
    fn format(&self) -> DiskFormat {
        DiskFormat::Raw
    }

    fn unpadded_size(&self) -> u64 {
        self.file.file_size()
    }

    fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    fn check_unchanged(&self) -> Result<()> {
        self.file.check_unchanged()
    }
}

/// A pipe from its first byte on, although its first bytes were examined.
pub type PeekedReader<R> = Chain<Cursor<Vec<u8>>, R>;

/// A raw disk from a pipe. Reading fails at the end if the last bytes are those of another format.
#[derive(Debug)]
pub struct RawStream<R> {
    reader: PeekedReader<R>,
    name: String,
    last: Vec<u8>,
    /// Whether the last bytes are checked. The caller turns this off by choosing raw.
    is_checked: bool,
}

impl<R> RawStream<R> {
    pub(crate) fn new(reader: PeekedReader<R>, name: String, is_checked: bool) -> Self {
        Self { reader, name, last: Vec::new(), is_checked }
    }

    fn keep_last(&mut self, data: &[u8]) {
        let new = data.len().min(LAST_LEN);
        let old = (self.last.len() + new).saturating_sub(LAST_LEN);
        self.last.drain(..old);
        self.last.extend_from_slice(&data[data.len() - new..]);
    }
}

impl<R: Read> Read for RawStream<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buf)?;
        if !self.is_checked || buf.is_empty() {
            return Ok(read);
        }
        self.keep_last(&buf[..read]);
        if read == 0
            && let Some(format) = Container::of(&[], &self.last)
        {
            let object = self.name.clone();
            return Err(Deferred::io_error(move |_| {
                DiskError::ForeignFormat { object: object.clone(), format }.into()
            }));
        }
        Ok(read)
    }
}
