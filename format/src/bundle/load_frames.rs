//! Writes frames of a bundle into packs of a store.

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

/// The limits of a batch: chunks, and their bytes.
const BATCH_CHUNKS: usize = 256;
const BATCH_BYTES: usize = 16 << 20;
/// The maximum number of chunks remembered, to avoid writing a chunk of several lists twice. Later chunks
/// may be written again.
pub(super) const REMEMBERED_MAX: usize = 1 << 18;

/// Returns the number of chunks of a list that make up a batch.
pub(super) fn batch_chunks(shape: &ListShape) -> usize {
    (BATCH_BYTES / (shape.chunk_blocks as usize * BLOCK_LEN)).clamp(4, BATCH_CHUNKS)
}

/// Writes frames.
pub(super) struct FrameWriter<'a> {
    from: &'a Arc<Shared>,
    packs: PackWriter<'a>,
    /// Whole frames of the packs being written, by chunk id.
    written: HashMap<Digest, LocatedFrame>,
}

impl<'a> FrameWriter<'a> {
    pub fn new(stage: &'a Stage, from: &'a Arc<Shared>) -> Self {
        Self { from, packs: PackWriter::new(stage), written: HashMap::new() }
    }

    /// Returns the number of chunks to pass to [`FrameWriter::write`] at a time.
    pub fn batch(&self, shape: &ListShape) -> usize {
        batch_chunks(shape)
    }

    /// Returns frames for a batch of chunks of `list`. Encodes missing chunks on all threads, checks them
    /// against their chunk ids, and writes them.
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

    /// Finishes the packs, adds them to `moves`, and returns their ids. Later frames go to new packs.
    pub fn finish_packs(&mut self, moves: &mut Moves) -> Result<Vec<Digest>> {
        let next = self.packs.after();
        let (ids, made) = std::mem::replace(&mut self.packs, next).finish()?;
        self.written.clear();

        moves.extend(made);
        Ok(ids)
    }
}
