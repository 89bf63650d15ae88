//! Writes a table: records of one length, a page at a time, then the root.

use super::sink::{ObjectKind, Sink};
use crate::digest::{Digest, page_digest};
use crate::error::Result;
use crate::limits::TABLE_PAGE_RECORDS;
use crate::ondisk::list::with_trailer;

/// Writes the records of a list or locator.
pub(super) struct TableWriter<'a, S: Sink> {
    sink: &'a S,
    object: S::Object,
    record_len: usize,
    page: Vec<u8>,
    /// Whether the page has a record that readers need. A page without one can be left out of a sparse object.
    is_needed: bool,
    /// The digest of a page of records that no reader needs. All these records are equal.
    unneeded: Option<Digest>,
    digests: Vec<Digest>,
}

impl<'a, S: Sink> TableWriter<'a, S> {
    pub fn begin(sink: &'a S, kind: ObjectKind, record_len: usize) -> Result<Self> {
        let object = sink.begin(kind, Vec::new())?;
        let page = Vec::with_capacity(record_len * TABLE_PAGE_RECORDS as usize);
        Ok(Self { sink, object, record_len, page, is_needed: false, unneeded: None, digests: Vec::new() })
    }

    fn page_len(&self) -> usize {
        self.record_len * TABLE_PAGE_RECORDS as usize
    }

    /// Appends a record. A full page is written when the next record is added.
    pub fn record(&mut self, is_needed: bool, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        if self.page.len() == self.page_len() {
            self.write_page()?;
        }
        write(&mut self.page);
        self.is_needed |= is_needed;
        Ok(())
    }

    /// Appends `count` records that no reader needs, all equal to `record`. A sparse sink takes whole pages of
    /// them at once.
    pub fn skip(&mut self, mut count: u64, record: &[u8]) -> Result<()> {
        while count > 0 {
            if self.page.len() == self.page_len() {
                self.write_page()?;
            }
            match self.unneeded {
                Some(digest) if S::IS_SPARSE && self.page.is_empty() && count >= TABLE_PAGE_RECORDS => {
                    self.digests.push(digest);
                    count -= TABLE_PAGE_RECORDS;
                }
                _ => {
                    let room = ((self.page_len() - self.page.len()) / self.record_len) as u64;
                    let records = count.min(room);
                    (0..records).for_each(|_| self.page.extend_from_slice(record));
                    count -= records;
                }
            }
        }
        Ok(())
    }

    fn write_page(&mut self) -> Result<()> {
        if self.page.is_empty() {
            return Ok(());
        }
        let is_full = self.page.len() == self.page_len();
        let digest = match self.unneeded {
            Some(digest) if is_full && !self.is_needed => digest,
            _ => page_digest(&self.page),
        };
        if is_full && !self.is_needed {
            self.unneeded = Some(digest);
        }
        if self.is_needed || !S::IS_SPARSE {
            let at = self.digests.len() * self.page_len();
            self.sink.write(&mut self.object, at as u64, &self.page)?;
        }
        self.digests.push(digest);
        self.page.clear();
        self.is_needed = false;
        Ok(())
    }

    /// Writes the last page and frees its memory, after all records were added.
    pub fn flush(&mut self) -> Result<()> {
        self.write_page()?;
        self.page = Vec::new();
        Ok(())
    }

    /// Returns and forgets the digests of all pages written.
    pub fn take_digests(&mut self) -> Vec<Digest> {
        std::mem::take(&mut self.digests)
    }

    /// Finishes a table of `records` records under its id.
    pub fn finish(self, id: &Digest, records: u64, root: Vec<u8>) -> Result<S::Finished> {
        self.sink.finish(self.object, id, records * self.record_len as u64, with_trailer(root))
    }
}
