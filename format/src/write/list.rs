//! Writes chunk lists: from chunk ids, or from the pages of another copy.

use super::locator::LocatorWriter;
use super::pack::LocatedFrame;
use super::sink::{ObjectKind, Sink};
use super::table::TableWriter;
use crate::digest::{ChunkId, DIGEST_LEN, ListId, PackId, object_digest};
use crate::error::Result;
use crate::limits::TABLE_PAGE_RECORDS;
use crate::ondisk::list::{ListRoot, ListShape, with_trailer};

/// Writes one list and its locator.
pub(crate) struct ListWriter<'a, S: Sink> {
    ids: TableWriter<'a, S>,
    places: LocatorWriter<'a, S>,
    chunk_blocks: u32,
    blocks: u64,
}

/// A finished list and its locator.
#[derive(Debug, Clone)]
pub(crate) struct WrittenList<F> {
    pub id: ListId,
    pub shape: ListShape,
    pub list: F,
    pub locator: F,
}

impl<'a, S: Sink> ListWriter<'a, S> {
    pub fn begin(sink: &'a S, chunk_blocks: u32) -> Result<Self> {
        let ids = TableWriter::begin(sink, ObjectKind::List, DIGEST_LEN)?;
        Ok(Self { ids, places: LocatorWriter::begin(sink, None)?, chunk_blocks, blocks: 0 })
    }

    /// Adds the next chunk, of `blocks` blocks; only the last may have fewer than the others.
    pub fn chunk(&mut self, id: &ChunkId, blocks: u32, frame: LocatedFrame) -> Result<()> {
        self.blocks += u64::from(blocks);
        self.ids.record(true, |page| page.extend_from_slice(id.as_bytes()))?;
        self.places.chunk(&[frame])
    }

    /// Finishes the list and its locator. `pack_ids` are the ids of the pack writer's packs.
    pub fn finish(mut self, pack_ids: &[PackId]) -> Result<WrittenList<S::Finished>> {
        let shape = ListShape { chunk_blocks: self.chunk_blocks, blocks: self.blocks };
        self.ids.flush()?;
        let root = ListRoot { shape, pages: self.ids.take_digests() }.encode();
        let id = ListId::new(object_digest(&root));
        let list = self.ids.finish(&id.digest(), shape.chunks(), root)?;
        Ok(WrittenList { id, shape, list, locator: self.places.finish(&id, pack_ids)? })
    }
}

/// Copies a list of which the source may hold only some pages. Pages that it lacks become zeros, or are
/// left out of a sparse sink.
pub(crate) struct ListCopier<'a, S: Sink> {
    sink: &'a S,
    object: S::Object,
    shape: ListShape,
    /// The number of the first page not yet written.
    next: u64,
}

impl<'a, S: Sink> ListCopier<'a, S> {
    pub fn begin(sink: &'a S, shape: ListShape) -> Result<Self> {
        Ok(Self { sink, object: sink.begin(ObjectKind::List, Vec::new())?, shape, next: 0 })
    }

    /// Adds a page of chunk ids. Pages ascend.
    pub fn page(&mut self, number: u64, ids: &[u8]) -> Result<()> {
        self.skip_to(number)?;
        self.next = number + 1;
        self.sink.write(&mut self.object, number * TABLE_PAGE_RECORDS * DIGEST_LEN as u64, ids)
    }

    fn skip_to(&mut self, number: u64) -> Result<()> {
        while !S::IS_SPARSE && self.next < number {
            let left = self.shape.chunks() - self.next * TABLE_PAGE_RECORDS;
            let records = left.min(TABLE_PAGE_RECORDS) as usize;
            self.page(self.next, &vec![0; records * DIGEST_LEN])?;
        }
        Ok(())
    }

    /// Finishes list `id` with its root.
    pub fn finish(mut self, id: &ListId, root: &[u8]) -> Result<S::Finished> {
        self.skip_to(self.shape.pages())?;
        self.sink.finish(self.object, &id.digest(), self.shape.root_offset(), with_trailer(root.to_vec()))
    }
}

/// Copies list `id`, whose root is `root`, to `sink`. `page` returns the pages that the source holds.
pub(crate) fn copy_list<S: Sink>(
    sink: &S,
    id: &ListId,
    shape: &ListShape,
    root: &[u8],
    mut page: impl FnMut(u64) -> Result<Option<bytes::Bytes>>,
) -> Result<S::Finished> {
    let mut copier = ListCopier::begin(sink, *shape)?;
    for number in 0..shape.pages() {
        if let Some(ids) = page(number)? {
            copier.page(number, &ids)?;
        }
    }
    copier.finish(id, root)
}
