//! Writes chunk lists and locators: tables with one record per chunk, a page at a time.

use std::collections::HashMap;
use std::sync::Arc;

use super::pack_writer::Placed;
use super::stage::Stage;
use crate::digest::{DIGEST_LEN, Digest, object_digest, page_digest};
use crate::error::{BlockError, Result};
use crate::limits::{LOCATOR_PACKS_MAX, LOCATOR_RECORDS_MAX, TABLE_PAGE_RECORDS};
use crate::ondisk::list::{ListRoot, ListShape, with_trailer};
use crate::ondisk::locator::{self, FramePlace, LocatorRoot};
use crate::storage::Append;

/// A table of fixed-size records, written a page at a time.
#[derive(Debug)]
struct TableWriter {
    name: String,
    object: Arc<dyn Append>,
    page: Vec<u8>,
    page_len: usize,
    digests: Vec<Digest>,
}

impl TableWriter {
    fn begin(stage: &Stage, name: String, record_len: usize) -> Result<Self> {
        let object = stage.create(&name)?;
        let page_len = record_len * TABLE_PAGE_RECORDS as usize;
        Ok(Self { name, object, page: Vec::with_capacity(page_len), page_len, digests: Vec::new() })
    }

    fn record(&mut self, stage: &Stage, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        write(&mut self.page);
        if self.page.len() == self.page_len { self.flush(stage) } else { Ok(()) }
    }

    fn flush(&mut self, stage: &Stage) -> Result<()> {
        if !self.page.is_empty() {
            self.digests.push(page_digest(&self.page));
            stage.append(self.object.as_ref(), &self.name, &self.page)?;
            self.page.clear();
        }
        Ok(())
    }

    fn end(&self, stage: &Stage, root: &[u8]) -> Result<()> {
        stage.append(self.object.as_ref(), &self.name, &with_trailer(root.to_vec()))
    }
}

/// A pack that a locator refers to: one of the store, or the number of one being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PackName {
    Known(Digest),
    New(u32),
}

/// A frame that a locator places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LocatedFrame {
    pub pack: PackName,
    pub offset: u32,
    pub len: u32,
    pub partial: bool,
    pub guard: u64,
}

impl LocatedFrame {
    /// Returns the location of a frame just written.
    pub fn new(placed: &Placed, partial: bool) -> Self {
        let Placed { pack, offset, len, guard } = *placed;
        Self { pack: PackName::New(pack), offset, len, partial, guard }
    }

    /// Returns the location of a frame that another locator of the store places.
    pub fn known(place: &FramePlace, pack: Digest) -> Self {
        let FramePlace { offset, len, partial, guard, .. } = *place;
        Self { pack: PackName::Known(pack), offset, len, partial, guard }
    }
}

/// Writes one locator, chunk by chunk.
#[derive(Debug)]
pub(crate) struct LocatorWriter {
    places: TableWriter,
    chunks: u64,
    /// The number of chunks so far.
    next: u64,
    packs: Vec<PackName>,
    numbers: HashMap<PackName, u32>,
    /// Further frames of chunks with several, and the number of them already written.
    further: Vec<FramePlace>,
    written_further: u64,
    in_part: bool,
}

impl LocatorWriter {
    /// Begins a locator of `chunks` chunks. An import does not know the number yet and passes `None`.
    pub fn begin(stage: &Stage, name: String, chunks: Option<u64>) -> Result<Self> {
        Ok(Self {
            places: TableWriter::begin(stage, name, locator::RECORD_LEN)?,
            chunks: chunks.unwrap_or(0),
            next: 0,
            packs: Vec::new(),
            numbers: HashMap::new(),
            further: Vec::new(),
            written_further: 0,
            in_part: false,
        })
    }

    /// Adds the frames of the next chunk.
    pub fn chunk(&mut self, stage: &Stage, frames: &[LocatedFrame]) -> Result<()> {
        let mut places: Vec<_> = frames.iter().map(|frame| self.place(frame)).collect();
        self.in_part |= frames.len() != 1 || frames.iter().any(|frame| frame.partial);
        let count = places.len();
        // The first frame's record is the chunk's own; the others are linked behind it.
        for (number, place) in places.iter_mut().enumerate().take(count.saturating_sub(1)) {
            place.next = (self.chunks + self.further.len() as u64 + number as u64) as u32;
        }
        let first = places.first().copied().unwrap_or(FramePlace::NONE);
        self.further.extend(places.iter().skip(1));
        self.next += 1;
        self.places.record(stage, |page| first.encode(page))
    }

    /// Adds `chunks` chunks without frames.
    pub fn skip(&mut self, stage: &Stage, chunks: u64) -> Result<()> {
        (0..chunks).try_for_each(|_| self.chunk(stage, &[]))
    }

    /// Writes and frees the buffers, after all chunks were added.
    pub fn flush(&mut self, stage: &Stage) -> Result<()> {
        for place in std::mem::take(&mut self.further) {
            self.places.record(stage, |page| place.encode(page))?;
            self.written_further += 1;
        }
        self.places.flush(stage)?;
        self.places.page = Vec::new();
        Ok(())
    }

    /// Returns the number of chunks so far.
    pub fn position(&self) -> u64 {
        self.next
    }

    fn place(&mut self, frame: &LocatedFrame) -> FramePlace {
        let packs = &mut self.packs;
        let pack = *self.numbers.entry(frame.pack).or_insert_with(|| {
            packs.push(frame.pack);
            packs.len() as u32 - 1
        });
        let LocatedFrame { offset, len, partial, guard, .. } = *frame;
        FramePlace { pack, offset, len, partial, next: 0, guard }
    }

    /// Finishes the locator of list `list`. `pack_ids` are the ids of the packs being written.
    pub fn finish(mut self, stage: &Stage, list: Digest, pack_ids: &[Digest]) -> Result<()> {
        self.flush(stage)?;
        let records = self.next + self.written_further;
        check("records of a locator", records, LOCATOR_RECORDS_MAX)?;
        check("packs of a locator", self.packs.len() as u64, LOCATOR_PACKS_MAX)?;
        let pack_id = |name: &PackName| match name {
            PackName::Known(id) => *id,
            PackName::New(number) => pack_ids.get(*number as usize).copied().unwrap_or_default(),
        };
        let root = LocatorRoot {
            list,
            chunks: self.next,
            records,
            in_part: self.in_part,
            packs: self.packs.iter().map(pack_id).collect(),
            pages: std::mem::take(&mut self.places.digests),
        };
        self.places.end(stage, &root.encode())
    }
}

fn check(what: &'static str, found: u64, max: u64) -> Result<()> {
    if found <= max { Ok(()) } else { Err(BlockError::Limit { what, found, max }.into()) }
}

/// Writes one list and its locator.
#[derive(Debug)]
pub(crate) struct ListWriter {
    ids: TableWriter,
    places: LocatorWriter,
    chunk_blocks: u32,
    blocks: u64,
}

/// A finished list, with the staged names of its object and its locator.
#[derive(Debug, Clone)]
pub(crate) struct WrittenList {
    pub id: Digest,
    pub shape: ListShape,
    pub list: String,
    pub locator: String,
}

impl ListWriter {
    pub fn begin(stage: &Stage, number: usize, chunk_blocks: u32) -> Result<Self> {
        Ok(Self {
            ids: TableWriter::begin(stage, format!("list-{number}"), DIGEST_LEN)?,
            places: LocatorWriter::begin(stage, format!("locator-{number}"), None)?,
            chunk_blocks,
            blocks: 0,
        })
    }

    /// Adds the next chunk, of `blocks` blocks; only the last may have fewer than the others.
    pub fn chunk(&mut self, stage: &Stage, id: &Digest, blocks: u32, placed: &Placed) -> Result<()> {
        self.blocks += u64::from(blocks);
        self.ids.record(stage, |page| page.extend_from_slice(&id.0))?;
        self.places.chunk(stage, &[LocatedFrame::new(placed, false)])
    }

    /// Finishes the list and its locator. `pack_ids` are the ids of the pack writer's packs.
    pub fn finish(mut self, stage: &Stage, pack_ids: &[Digest]) -> Result<WrittenList> {
        let shape = ListShape { chunk_blocks: self.chunk_blocks, blocks: self.blocks };
        self.ids.flush(stage)?;
        let root = ListRoot { shape, pages: std::mem::take(&mut self.ids.digests) }.encode();
        let id = object_digest(&root);
        self.ids.end(stage, &root)?;
        let (list, locator) = (stage.staged(&self.ids.name), stage.staged(&self.places.places.name));
        self.places.finish(stage, id, pack_ids)?;
        Ok(WrittenList { id, shape, list, locator })
    }
}

/// Writes a list of which only some pages are available; absent pages become zeros.
pub(crate) fn write_list(
    stage: &Stage,
    name: &str,
    shape: &ListShape,
    root: &[u8],
    mut page: impl FnMut(u64) -> Result<Option<bytes::Bytes>>,
) -> Result<()> {
    let object = stage.create(name)?;
    let chunks = shape.chunks();
    for number in 0..shape.pages() {
        match page(number)? {
            Some(bytes) => stage.append(object.as_ref(), name, &bytes)?,
            None => {
                let records = (chunks - number * TABLE_PAGE_RECORDS).min(TABLE_PAGE_RECORDS) as usize;
                stage.append(object.as_ref(), name, &vec![0; records * DIGEST_LEN])?;
            }
        }
    }
    stage.append(object.as_ref(), name, &with_trailer(root.to_vec()))
}
