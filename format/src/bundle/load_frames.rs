//! Frames of a bundle into packs of a store.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::known_chunks::Lacking;
use crate::digest::Digest;
use crate::error::Result;
use crate::limits::BLOCK_LEN;
use crate::ondisk::list::ListShape;
use crate::store::carry::Carried;
use crate::store::list::List;
use crate::store::list_writer::LocatedFrame;
use crate::store::pack_writer::PackWriter;
use crate::store::stage::{Moves, Stage};
use crate::store::{Shared, VerifyMode};

/// Chunks in work at a time, and their bytes.
const BATCH_CHUNKS: usize = 256;
const BATCH_BYTES: usize = 16 << 20;
/// Chunks of which it is remembered where they were written, so that one that comes again, in another
/// list, is not written again. Beyond so many it may be.
pub(super) const REMEMBERED_MAX: usize = 1 << 18;

/// How many chunks of a list make a batch.
pub(super) fn batch_chunks(shape: &ListShape) -> usize {
    (BATCH_BYTES / (shape.chunk_blocks as usize * BLOCK_LEN)).clamp(4, BATCH_CHUNKS)
}

/// Writes frames.
pub(super) struct FrameWriter<'a> {
    from: &'a Arc<Shared>,
    packs: PackWriter<'a>,
    /// Whole frames of the packs being written, by chunk.
    written: HashMap<Digest, LocatedFrame>,
}

impl<'a> FrameWriter<'a> {
    pub fn new(stage: &'a Stage, from: &'a Arc<Shared>) -> Self {
        Self { from, packs: PackWriter::new(stage), written: HashMap::new() }
    }

    /// How many chunks of a list to hand to [`FrameWriter::write`] at a time.
    pub fn batch(&self, shape: &ListShape) -> usize {
        batch_chunks(shape)
    }

    /// Frames for a batch of chunks of `list`: those to be stored are made on all threads, checked
    /// against their chunk ids, and written.
    pub fn write(&mut self, list: &List, batch: &[(u64, Lacking)]) -> Result<Vec<LocatedFrame>> {
        let carry = |(chunk, lacking): &(u64, Lacking)| match lacking {
            Lacking::Known(_) => Ok(None),
            Lacking::Wanted(mask) => self.from.carry(list, *chunk, mask, VerifyMode::Full).map(Some),
        };
        let carried: Vec<_> = batch.par_iter().map(carry).collect::<Result<_>>()?;
        let mut located = Vec::with_capacity(batch.len());
        for ((_, lacking), carried) in batch.iter().zip(&carried) {
            match (lacking, carried) {
                (Lacking::Known(frame), _) => located.push(*frame),
                (_, Some(carried)) => located.push(self.frame(carried)?),
                (Lacking::Wanted(_), None) => unreachable!("what is wanted was carried"),
            }
        }
        Ok(located)
    }

    fn frame(&mut self, carried: &Carried) -> Result<LocatedFrame> {
        if !carried.partial
            && let Some(frame) = self.written.get(&carried.id)
        {
            return Ok(*frame);
        }
        let placed = self.packs.frame(&carried.id, &carried.frame)?;
        let located = LocatedFrame::new(&placed, carried.partial);
        if !carried.partial && self.written.len() < REMEMBERED_MAX {
            self.written.insert(carried.id, located);
        }
        Ok(located)
    }

    /// Ends the packs; gives their ids, and adds them to what is to be published. Frames written after
    /// this go to others.
    pub fn finish_packs(&mut self, moves: &mut Moves) -> Result<Vec<Digest>> {
        let next = self.packs.after();
        let (ids, made) = std::mem::replace(&mut self.packs, next).finish()?;
        self.written.clear();

        moves.extend(made);
        Ok(ids)
    }
}
