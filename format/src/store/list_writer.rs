//! Writing a chunk list and its locator side by side: one record of each for every chunk.

use std::sync::Arc;

use super::names;
use super::pack_writer::Placed;
use super::stage::{Moves, Stage};
use crate::digest::{DIGEST_LEN, Digest, object_digest, page_digest};
use crate::error::Result;
use crate::limits::TABLE_PAGE_RECORDS;
use crate::ondisk::list::{ListRoot, ListShape};
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
        let mut bytes = root.to_vec();
        bytes.extend_from_slice(&(root.len() as u64).to_le_bytes());
        stage.append(self.object.as_ref(), &self.name, &bytes)
    }
}

/// Writes one list and its locator.
#[derive(Debug)]
pub(crate) struct ListWriter {
    ids: TableWriter,
    places: TableWriter,
    chunk_blocks: u32,
    blocks: u64,
    /// Packs used so far, by the pack writer's numbers.
    packs: Vec<u32>,
}

/// A list that was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WrittenList {
    pub id: Digest,
    pub shape: ListShape,
}

impl ListWriter {
    pub fn begin(stage: &Stage, number: usize, chunk_blocks: u32) -> Result<Self> {
        Ok(Self {
            ids: TableWriter::begin(stage, format!("list-{number}"), DIGEST_LEN)?,
            places: TableWriter::begin(stage, format!("locator-{number}"), locator::RECORD_LEN)?,
            chunk_blocks,
            blocks: 0,
            packs: Vec::new(),
        })
    }

    /// Adds the next chunk, of `blocks` blocks; only the last may have fewer than the others.
    pub fn chunk(&mut self, stage: &Stage, id: &Digest, blocks: u32, placed: &Placed) -> Result<()> {
        if self.packs.last() != Some(&placed.pack) {
            self.packs.push(placed.pack);
        }
        let pack = u32::try_from(self.packs.len() - 1).unwrap_or(u32::MAX);
        let place = FramePlace { pack, offset: placed.offset, len: placed.len, partial: false, next: 0, guard: placed.guard };
        self.blocks += u64::from(blocks);
        self.ids.record(stage, |page| page.extend_from_slice(&id.0))?;
        self.places.record(stage, |page| place.encode(page))
    }

    /// Closes the list and its locator; `pack_ids` are those of the pack writer's packs.
    pub fn finish(mut self, stage: &Stage, pack_ids: &[Digest], moves: &mut Moves) -> Result<WrittenList> {
        let shape = ListShape { chunk_blocks: self.chunk_blocks, blocks: self.blocks };
        self.ids.flush(stage)?;
        self.places.flush(stage)?;
        let root = ListRoot { shape, pages: std::mem::take(&mut self.ids.digests) }.encode();
        let id = object_digest(&root);
        self.ids.end(stage, &root)?;
        let pack_id = |number: &u32| pack_ids.get(*number as usize).copied().unwrap_or_default();
        let located = LocatorRoot {
            list: id,
            chunks: shape.chunks(),
                        records: shape.chunks(),
            in_part: false,
            packs: self.packs.iter().map(pack_id).collect(),
            pages: std::mem::take(&mut self.places.digests),
        };
        self.places.end(stage, &located.encode())?;
        moves.push((stage.staged(&self.places.name), names::object(names::LOCATORS, &id)));
        moves.push((stage.staged(&self.ids.name), names::object(names::LISTS, &id)));
        Ok(WrittenList { id, shape })
    }
}
