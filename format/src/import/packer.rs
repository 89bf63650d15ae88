//! Packing, in order: frames into packs, ids into lists.

use crate::digest::ChunkId;
use crate::error::Result;
use crate::store::stage::{Move, Moves, Stage};
use crate::write::{ListWriter, PackWriter, WrittenList, encode_whole};

use super::chunk_bytes::ChunkBytes;
use super::deduplicator::ChunkJob;

/// A compressed chunk.
pub(super) struct EncodedChunk {
    pub list: u32,
    pub id: ChunkId,
    pub blocks: u32,
    pub frame: Vec<u8>,
    /// The chunk's uncompressed bytes, whose memory is reused.
    pub plain: ChunkBytes,
}

/// Compresses a chunk into `frame`.
pub(super) fn encode(job: ChunkJob, level: i32, mut frame: Vec<u8>) -> Result<EncodedChunk> {
    frame.clear();
    encode_whole(&job.id, job.plain.bytes(), level, &mut frame)?;
    Ok(EncodedChunk { list: job.list, id: job.id, blocks: job.blocks, frame, plain: job.plain })
}

/// The writer of an import's packs and lists.
pub(super) struct Packer<'a> {
    stage: &'a Stage,
    packs: PackWriter<'a, Stage>,
    lists: Vec<ListWriter<'a, Stage>>,
    chunk_blocks: u32,
}

impl<'a> Packer<'a> {
    pub fn new(stage: &'a Stage, chunk_blocks: u32) -> Self {
        Self { stage, packs: PackWriter::new(stage), lists: Vec::new(), chunk_blocks }
    }

    /// Adds the next chunk.
    pub fn chunk(&mut self, chunk: &EncodedChunk) -> Result<()> {
        while self.lists.len() <= chunk.list as usize {
            self.lists.push(ListWriter::begin(self.stage, self.chunk_blocks)?);
        }
        let frame = self.packs.frame(&chunk.id, &chunk.frame, false)?;
        match self.lists.get_mut(chunk.list as usize) {
            Some(list) => list.chunk(&chunk.id, chunk.blocks, frame),
            None => Ok(()),
        }
    }

    /// Closes packs and lists; returns the lists and the packs to publish.
    pub fn finish(mut self) -> Result<(Vec<WrittenList<Move>>, Moves)> {
        let (pack_ids, moves) = self.packs.finish()?;
        let lists = self.lists.into_iter().map(|list| list.finish(&pack_ids)).collect::<Result<_>>()?;
        Ok((lists, moves))
    }
}
