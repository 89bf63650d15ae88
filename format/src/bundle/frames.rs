//! Writes the frames of a batch of chunks, each whole frame once: into a store or into a bundle.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::digest::{ChunkId, PackId};
use crate::error::{BlockError, Result};
use crate::limits::BLOCK_LEN;
use crate::ondisk::list::ListShape;
use crate::store::reframe::PortableFrame;
use crate::write::{LocatedFrame, PackWriter, Sink};

/// The limits of a batch: chunks, and their bytes.
const BATCH_CHUNKS: usize = 256;
const BATCH_BYTES: usize = 16 << 20;
/// The maximum number of chunks remembered, to avoid writing a chunk of several lists twice. Later chunks
/// may be written again.
const REMEMBERED_MAX: usize = 1 << 18;

/// Returns the number of chunks of a list that make up a batch.
pub(super) fn batch_chunks(shape: &ListShape) -> usize {
    (BATCH_BYTES / (shape.chunk_blocks as usize * BLOCK_LEN)).clamp(4, BATCH_CHUNKS)
}

/// Fails with [`BlockError::Interrupted`] once cancellation was requested.
pub(super) fn check_cancel(cancel: Option<&AtomicBool>) -> Result<()> {
    match cancel {
        Some(cancel) if cancel.load(Ordering::Relaxed) => Err(BlockError::Interrupted.into()),
        _ => Ok(()),
    }
}

/// Writes frames.
pub(super) struct FrameWriter<'a, S: Sink> {
    packs: PackWriter<'a, S>,
    /// Whole frames of the packs being written, by chunk id.
    written: HashMap<ChunkId, LocatedFrame>,
}

impl<'a, S: Sink> FrameWriter<'a, S> {
    pub fn new(sink: &'a S) -> Self {
        Self { packs: PackWriter::new(sink), written: HashMap::new() }
    }

    /// Writes a frame, unless the same whole frame was written before.
    pub fn frame(&mut self, carried: &PortableFrame) -> Result<LocatedFrame> {
        if !carried.partial
            && let Some(frame) = self.written.get(&carried.id)
        {
            return Ok(*frame);
        }
        let located = self.packs.frame(&carried.id, &carried.frame, carried.partial)?;
        if !carried.partial && self.written.len() < REMEMBERED_MAX {
            self.written.insert(carried.id, located);
        }
        Ok(located)
    }

    /// Finishes the packs. Returns their ids, by number, and the packs. Later frames go to new packs.
    pub fn finish_packs(&mut self) -> Result<(Vec<PackId>, Vec<S::Finished>)> {
        self.written.clear();
        self.packs.finish()
    }
}
