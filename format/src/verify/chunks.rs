//! Lists chunk by chunk: which blocks cannot be read, and whom that hurts.

use std::collections::BTreeSet;
use std::sync::Arc;

use rayon::prelude::*;

use super::Verifier;
use crate::device::BlockDevice;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::image::Image;
use crate::limits::{BLOCK_LEN, TABLE_PAGE_RECORDS};
use crate::ondisk::frame;
use crate::ondisk::pack;
use crate::store::carry::is_all;
use crate::store::list::List;
use crate::store::{Shared, VerifyMode, names};

/// The chunks of a list that cannot be read, with one reason.
#[derive(Default)]
pub(super) struct BadChunks {
    pub chunks: BTreeSet<u64>,
    pub reason: String,
    pub error: Option<Arc<Error>>,
}

/// Blocks of a list that the store does not hold, nor says that it does: runs, ascending.
#[derive(Default)]
pub(super) struct Lacking(Vec<(u64, u64)>);

impl Lacking {
    fn add(&mut self, start: u64, end: u64) {
        match self.0.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => self.0.push((start, end)),
        }
    }

    /// Calls `each` with the parts of blocks `source..source + blocks` that are not held.
    fn ranges(&self, source: u64, blocks: u64, mut each: impl FnMut(u64, u64)) {
        let end = source + blocks;
        let first = self.0.partition_point(|run| run.1 <= source);
        for run in self.0[first..].iter().take_while(|run| run.0 < end) {
            let start = run.0.max(source);
            each(start, run.1.min(end) - start);
        }
    }
}

impl Verifier<'_> {
    /// Every page of ids and places, every place; in full mode every frame.
    pub(super) fn check_lists(&mut self) -> Result<()> {
        let lists: Vec<_> = self.lists.values().flatten().cloned().collect();
        for list in lists {
            let pages = list.shape.pages();
            for page in 0..pages {
                let first = page * TABLE_PAGE_RECORDS;
                let chunks = first..(first + TABLE_PAGE_RECORDS).min(list.shape.chunks());
                let is_empty = match self.is_empty_page(self.shared(), &list, page) {
                    Ok(is_empty) => is_empty,
                    Err(error) => {
                        self.bad_chunk(&list.id, first, error);
                        false
                    }
                };
                if is_empty {
                    let blocks = u64::from(list.shape.chunk_blocks);
                    let end = (chunks.end * blocks).min(list.shape.blocks);
                    self.lacking.entry(list.id).or_default().add(chunks.start * blocks, end);
                    continue;
                }
                self.report.chunks += chunks.end - chunks.start;
                let checked: Vec<_> =
                    chunks.into_par_iter().map(|chunk| (chunk, self.check_chunk(&list, chunk))).collect();
                for (chunk, result) in checked {
                    match result {
                        Ok(None) => {}
                        Ok(Some(held)) => self.lacking_chunk(&list, chunk, &held),
                        Err(Error::Interrupted) => return Err(Error::Interrupted),
                        Err(error) => self.bad_chunk(&list.id, chunk, error),
                    }
                }
            }
        }
        Ok(())
    }

    fn bad_chunk(&mut self, list: &Digest, chunk: u64, error: Error) {
        let bad = self.bad.entry(*list).or_default();
        bad.chunks.insert(chunk);
        if bad.error.is_none() {
            bad.reason = text_of(&error);
            bad.error = Some(Arc::new(error));
        }
    }

    /// Whether a list is held in part and nothing of this page's chunks is, here or in the base: told at
    /// once, for such pages may be very many.
    fn is_empty_page(&self, shared: &Shared, list: &List, page: u64) -> Result<bool> {
        let is_empty = match list.locator() {
            Ok(locator) => locator.root.in_part && locator.is_empty_page(shared, page)?,
            // Of a bundle that leaves all of the list to its base, or of such a base.
            Err(error) if error.is_absent() && shared.bundle.is_some() => true,
            Err(error) => return Err(error),
        };
        match shared.bases() {
            Some((base, _)) if is_empty => match base.list(&list.id, Some(list.shape)) {
                Ok(list) => self.is_empty_page(base, &list, page),
                Err(error) if error.is_absent() => Ok(true),
                Err(error) => Err(error),
            },
            _ => Ok(is_empty),
        }
    }

    /// Notes the blocks of a chunk that are not held.
    fn lacking_chunk(&mut self, list: &List, chunk: u64, held: &[u8]) {
        let first = chunk * u64::from(list.shape.chunk_blocks);
        let lacking = self.lacking.entry(list.id).or_default();
        for (block, number) in (first..).zip(0..list.shape.blocks_of(chunk)) {
            if !frame::has(held, number) {
                lacking.add(block, block + 1);
            }
        }
    }

    /// Looks at a chunk; gives a mask of the blocks held where they are not all of them.
    fn check_chunk(&self, list: &List, chunk: u64) -> Result<Option<Vec<u8>>> {
        self.step()?;
        let shared = self.shared();
        // What a bundle leaves out, its base has.
        let has_base = shared.bases().is_some();
        if !has_base {
            let locator = list.locator()?;
            let record = locator.record(shared, chunk)?;
            if !record.is_whole() && !locator.root.in_part {
                let (name, fault) =
                    (names::object(names::LOCATORS, &list.id), Fault::BlockAbsent { block: 0 });
                return Err(Error::corrupt(name, chunk, fault));
            }
            if record.is_absent() {
                return Ok(Some(vec![0; list.shape.blocks_of(chunk).div_ceil(8) as usize]));
            }
        }
        let id = list.chunk_id(chunk)?;
        if self.options.full || has_base {
            return shared
                .load_chunk(list, chunk, &id, VerifyMode::Full)
                .map(|loaded| loaded.held.map(|held| held.to_vec()));
        }
        let locator = list.locator()?;
        list.places(&locator, chunk)?.iter().try_for_each(|(place, id)| {
            let name = names::object(names::PACKS, id);
            let pack = shared.open_checked(&name, pack::FRAMES_OFFSET, pack::decode_head)?;
            let (end, max) = (u64::from(place.offset) + u64::from(place.len), pack.len());
            if end <= max { Ok(()) } else { Err(Error::corrupt(name, end, Fault::FramePlace { end, max })) }
        })?;
        let held = shared.held(list, chunk)?;
        Ok(Some(held).filter(|held| !is_all(held, list.shape.blocks_of(chunk))))
    }

    /// Tells of bad chunks in lists that no image uses: nobody reads them, but imports share them.
    pub(super) fn unused_lists(&mut self, images: &[Image]) {
        let used: BTreeSet<_> =
            images.iter().flat_map(|image| image.manifest().lists.iter().map(|list| list.id)).collect();
        let unused: Vec<_> = self.bad.iter().filter(|(id, _)| !used.contains(*id)).collect();
        let told: Vec<_> = unused.into_iter().map(|(id, bad)| unreadable(id, bad.reason.clone())).collect();
        for error in told {
            self.damaged(None, 0, 0, error);
        }
    }

    /// Tells what bad chunks mean for an image.
    pub(super) fn image_extents(&mut self, image: &Image) -> Result<()> {
        if self.bad.is_empty() && self.lacking.is_empty() {
            return Ok(());
        }
        let size = image.size();
        let mut hurt: Vec<(u64, u64, Digest)> = Vec::new();
        for leaf in 0..image.manifest().geometry.leaves() {
            // A leaf that cannot be read was told of already.
            let _ = image.for_each_piece(leaf, |piece| {
                let Some((list, source)) = piece.source else { return Ok(()) };
                let mut hurts = |first: u64, blocks: u64| {
                    let start = (piece.start + first - source) * BLOCK_LEN as u64;
                    hurt.push((start, (blocks * BLOCK_LEN as u64).min(size - start), list));
                };
                if let Some(bad) = self.bad.get(&list) {
                    let shape = image.record.list_shape(&list)?;
                    bad.ranges(source, piece.blocks, u64::from(shape.chunk_blocks), &mut hurts);
                }
                if let Some(lacking) = self.lacking.get(&list) {
                    lacking.ranges(source, piece.blocks, &mut hurts);
                }
                Ok(())
            });
        }
        hurt.dedup_by(|next, last| {
            let joins = last.0 + last.1 == next.0 && last.2 == next.2;
            if joins {
                last.1 += next.1;
            }
            joins
        });
        for (start, len, list) in hurt {
            let lacks = || "its frames here do not hold these blocks (rule block-absent)".to_owned();
            let reason = self.bad.get(&list).map_or_else(lacks, |bad| bad.reason.clone());
            self.damaged(Some(image.id()), start, len, unreadable(&list, reason));
        }
        Ok(())
    }
}

impl BadChunks {
    /// Calls `each` with the parts of blocks `source..source + blocks` that lie in bad chunks.
    fn ranges(&self, source: u64, blocks: u64, chunk_blocks: u64, mut each: impl FnMut(u64, u64)) {
        let end = source + blocks;
        if self.chunks.is_empty() {
            return each(source, blocks); // the whole list is bad
        }
        for chunk in self.chunks.range(source / chunk_blocks..=(end - 1) / chunk_blocks) {
            let first = (chunk * chunk_blocks).max(source);
            each(first, ((chunk + 1) * chunk_blocks).min(end) - first);
        }
    }
}

/// Chunks of a list cannot be read, for this reason.
fn unreadable(list: &Digest, reason: String) -> Error {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidData, reason);
    Error::Io { operation: "read chunks of", object: names::object(names::LISTS, list), source }
}

/// The error and its causes in one line.
pub(super) fn text_of(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
