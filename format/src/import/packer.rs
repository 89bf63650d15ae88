//! Packing, in order: frames into packs, ids into lists.

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::store::carry::encode_whole;
use crate::store::list_writer::{ListWriter, WrittenList};
use crate::store::pack_writer::PackWriter;
use crate::store::stage::{Moves, Stage};

use super::plain::Plain;
use super::sequencer::ChunkJob;

/// A compressed chunk.
pub(super) struct EncodedChunk {
    pub list: u32,
    pub id: Digest,
    pub blocks: u32,
    pub frame: Vec<u8>,
    /// The chunk's uncompressed bytes, whose memory is reused.
    pub plain: Plain,
}

/// Compresses a chunk into `frame`.
pub(super) fn encode(job: ChunkJob, level: i32, mut frame: Vec<u8>) -> Result<EncodedChunk> {
    frame.clear();
    encode_whole(job.plain.bytes(), level, &mut frame)
        .map_err(|error| Error::io("compress", format!("chunk {}", job.id), error))?;
    Ok(EncodedChunk { list: job.list, id: job.id, blocks: job.blocks, frame, plain: job.plain })
}

/// The writer of an import's packs and lists.
pub(super) struct Packer<'a> {
    stage: &'a Stage,
    packs: PackWriter<'a>,
    lists: Vec<ListWriter>,
    chunk_blocks: u32,
}

impl<'a> Packer<'a> {
    pub fn new(stage: &'a Stage, chunk_blocks: u32) -> Self {
        Self { stage, packs: PackWriter::new(stage), lists: Vec::new(), chunk_blocks }
    }

    /// Adds the next chunk.
    pub fn chunk(&mut self, chunk: &EncodedChunk) -> Result<()> {
        while self.lists.len() <= chunk.list as usize {
            self.lists.push(ListWriter::begin(self.stage, self.lists.len(), self.chunk_blocks)?);
        }
        let placed = self.packs.frame(&chunk.id, &chunk.frame)?;
        match self.lists.get_mut(chunk.list as usize) {
            Some(list) => list.chunk(self.stage, &chunk.id, chunk.blocks, &placed),
            None => Ok(()),
        }
    }

    /// Closes packs and lists; returns the lists and the packs to publish.
    pub fn finish(self) -> Result<(Vec<WrittenList>, Moves)> {
        let (pack_ids, moves) = self.packs.finish()?;
        let stage = self.stage;
        let finish = |list: ListWriter| list.finish(stage, &pack_ids);
        let lists = self.lists.into_iter().map(finish).collect::<Result<_>>()?;
        Ok((lists, moves))
    }
}
