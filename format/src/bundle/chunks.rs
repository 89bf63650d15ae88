//! Writes the chunks of lists into a bundle: frames into packs, their places into locators, in the order of
//! the chunks. Packs grow to their maximum length.

use rayon::prelude::*;

use super::frames::{FrameWriter, batch_chunks};
use super::writer::BundleWriter;
use crate::digest::ListId;
use crate::error::Result;
use crate::image::{ChunkBlocks, ListBlocks};
use crate::limits::TABLE_PAGE_RECORDS;
use crate::store::Reader;
use crate::store::reframe::PortableFrame;
use crate::write::{ListCopier, LocatorWriter};

/// A list whose chunks have all been written.
struct WrittenList<'a, 'b> {
    id: ListId,
    root: bytes::Bytes,
    ids: ListCopier<'a, BundleWriter<'b>>,
    places: LocatorWriter<'a, BundleWriter<'b>>,
}

/// Writes the chunks of all lists.
pub(super) struct ChunkWriter<'a, 'b> {
    writer: &'a BundleWriter<'b>,
    reader: &'a Reader,
    frames: FrameWriter<'a, BundleWriter<'b>>,
    lists: Vec<WrittenList<'a, 'b>>,
}

impl<'a, 'b> ChunkWriter<'a, 'b> {
    pub fn new(writer: &'a BundleWriter<'b>, reader: &'a Reader) -> Self {
        Self { writer, reader, frames: FrameWriter::new(writer), lists: Vec::new() }
    }

    /// Writes the given blocks of a list. Calls `done` with the number of blocks after every batch.
    pub fn list(
        &mut self,
        id: &ListId,
        blocks: &ListBlocks,
        done: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let reader = self.reader;
        let list = reader.list(id, Some(blocks.shape))?;
        let mut ids = ListCopier::begin(self.writer, list.root()?.shape)?;
        let mut places = LocatorWriter::begin(self.writer, Some(blocks.shape.chunks()))?;
        // The page of the chunk before. Its ids are written first, and its places with the next record.
        let mut page = None;
        let mut chunks = blocks.chunks().peekable();
        while chunks.peek().is_some() {
            let batch: Vec<_> = chunks.by_ref().take(batch_chunks(&blocks.shape)).collect();
            let reframe =
                |chunk: &ChunkBlocks| reader.reframe(&list, chunk.chunk, &chunk.mask, reader.verify);
            let frames: Vec<PortableFrame> = batch.par_iter().map(reframe).collect::<Result<_>>()?;
            for (chunk, portable) in batch.iter().zip(&frames) {
                let frame = self.frames.frame(portable)?;
                let next = chunk.chunk / TABLE_PAGE_RECORDS;
                if let Some(done) = page.replace(next).filter(|done| *done != next) {
                    ids.page(done, &list.page(done)?)?;
                }
                places.skip_to(chunk.chunk)?;
                places.chunk(&[frame])?;
            }
            done(batch.iter().map(ChunkBlocks::count).sum())?;
        }
        if let Some(last) = page {
            ids.page(last, &list.page(last)?)?;
        }
        places.skip_to(blocks.shape.chunks())?;
        places.flush()?;
        self.writer.flush_pages()?;
        self.lists.push(WrittenList { id: *id, root: list.root_bytes()?, ids, places });
        Ok(())
    }

    /// Closes the last pack, and finishes lists and locators.
    pub fn finish(mut self) -> Result<()> {
        let (pack_ids, _) = self.frames.finish_packs()?;
        for list in self.lists {
            list.ids.finish(&list.id, &list.root)?;
            list.places.finish(&list.id, &pack_ids)?;
        }
        Ok(())
    }
}
