//! Finds chunks that a store already has, in the list being loaded or in another one.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::digest::{ChunkId, DIGEST_LEN};
use crate::error::Result;
use crate::heal::Health;
use crate::image::ChunkBlocks;
use crate::limits::TABLE_PAGE_RECORDS;
use crate::ondisk::frame;
use crate::store::StoreInner;
use crate::store::journal::committed_lists;
use crate::store::list::List;
use crate::store::merge::OwnList;
use crate::store::reframe::is_all;
use crate::store::runs::Runs;
use crate::write::LocatedFrame;

/// The number of chunks looked up at a time: each lookup scans all chunk ids of the store.
pub(super) const WINDOW: usize = 1 << 18;

/// The part of a chunk that a store lacks.
#[derive(Debug)]
pub(super) enum Lacking {
    /// Only the place in this list: another list has the same frame.
    Known(LocatedFrame),
    /// The blocks in this mask.
    Wanted(Vec<u8>),
}

/// The lists of a store.
pub(super) struct KnownChunks {
    shared: Arc<StoreInner>,
    lists: Vec<Arc<List>>,
    health: Arc<Health>,
}

impl KnownChunks {
    /// Opens all lists committed now, and skips damaged ones.
    pub fn open(shared: &Arc<StoreInner>, health: &Arc<Health>) -> Result<Self> {
        let mut lists = Vec::new();
        for id in committed_lists(shared)? {
            match shared.reader.list(&id, None).and_then(|list| list.locator().map(|_| list)) {
                Ok(list) => lists.push(list),
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => health.add_tables(&id, &error),
            }
        }
        Ok(Self { shared: shared.clone(), lists, health: health.clone() })
    }

    /// Returns the missing parts of these chunks of `from`. `own` is the store's copy of that list, if
    /// any.
    pub fn lacking(
        &self,
        window: &[ChunkBlocks],
        own: Option<&OwnList>,
        from: &List,
    ) -> Result<Vec<(u64, Lacking)>> {
        let suspects = own.map(|own| self.health.suspects_of(&own.list.id)).unwrap_or_default();
        let look = |chunk: &ChunkBlocks| -> Result<Option<(u64, Vec<u8>, bool)>> {
            let mut wanted = chunk.mask.clone();
            let held = |own: &OwnList| self.blocks_present(own, chunk, &suspects, from);
            let held = own.map(held).transpose()?.unwrap_or_default();
            wanted.iter_mut().zip(&held).for_each(|(wanted, held)| *wanted &= !held);
            let none_held = held.iter().all(|bits| *bits == 0);
            Ok(wanted.iter().any(|bits| *bits != 0).then_some((chunk.chunk, wanted, none_held)))
        };
        let lacking: Vec<_> =
            window.par_iter().filter_map(|chunk| look(chunk).transpose()).collect::<Result<_>>()?;
        let absent = lacking.iter().filter(|(_, _, none_held)| *none_held).map(|(chunk, ..)| *chunk);
        let mut known = self.elsewhere(from, absent)?;
        let lacks = |(chunk, wanted, _)| match known.remove(&chunk) {
            Some(frame) => (chunk, Lacking::Known(frame)),
            None => (chunk, Lacking::Wanted(wanted)),
        };
        Ok(lacking.into_iter().map(lacks).collect())
    }

    /// Returns the blocks of a chunk that need not be stored again. For a chunk that may be damaged,
    /// these are the blocks just found sound, or none if the bundle brings the whole chunk.
    fn blocks_present(
        &self,
        own: &OwnList,
        chunk: &ChunkBlocks,
        suspects: &Runs,
        from: &List,
    ) -> Result<Vec<u8>> {
        let ChunkBlocks { chunk, mask } = chunk;
        if !suspects.has(*chunk) {
            return self.shared.reader.blocks_present(&own.list, *chunk);
        }
        if is_all(mask, from.shape.blocks_of(*chunk)) {
            return Ok(Vec::new());
        }
        self.shared.reader.blocks_present_soundly(&own.list, *chunk)
    }

    /// Finds whole frames for chunks of `from` in other lists of the store, by chunk number.
    fn elsewhere(
        &self,
        from: &List,
        chunks: impl Iterator<Item = u64>,
    ) -> Result<HashMap<u64, LocatedFrame>> {
        let mut found = HashMap::new();
        let others: Vec<_> = self.lists.iter().filter(|list| list.id != from.id).collect();
        if others.is_empty() {
            return Ok(found);
        }
        let mut wanted: HashMap<ChunkId, Vec<u64>> = HashMap::new();
        for chunk in chunks {
            wanted.entry(from.chunk_id(chunk)?).or_default().push(chunk);
        }
        for list in others {
            let in_part = list.locator()?.root.in_part;
            for number in 0..list.shape.pages() {
                if wanted.is_empty() {
                    return Ok(found);
                }
                if in_part && self.is_empty_page(list, number)? {
                    continue;
                }
                let page = match list.page(number) {
                    Ok(page) => page,
                    Err(error) if error.is_transient() => return Err(error),
                    // Do not share from a damaged page.
                    Err(_) => continue,
                };
                for (id, chunk) in page.chunks_exact(DIGEST_LEN).zip(number * TABLE_PAGE_RECORDS..) {
                    let id = ChunkId::from_bytes(id.try_into().unwrap_or_default());
                    if wanted.contains_key(&id)
                        && let Some(frame) = self.whole_frame(list, chunk)?
                    {
                        let chunks = wanted.remove(&id).unwrap_or_default();
                        found.extend(chunks.into_iter().map(|chunk| (chunk, frame)));
                    }
                }
            }
        }
        Ok(found)
    }

    /// Whether a page of a locator holds no usable frame.
    fn is_empty_page(&self, list: &List, number: u64) -> Result<bool> {
        match list.with_locator(|locator| locator.is_empty_page(&self.shared.reader.objects, number)) {
            Err(error) if error.is_transient() => Err(error),
            is_empty => Ok(is_empty.unwrap_or(true)),
        }
    }

    fn whole_frame(&self, list: &List, chunk: u64) -> Result<Option<LocatedFrame>> {
        let told = || -> Result<_> {
            if self.health.of_list(list)?.has(chunk) || list.record(chunk)?.is_absent() {
                return Ok(Vec::new());
            }
            list.places_now(chunk)
        };
        let places = match told() {
            Err(error) if error.is_transient() => return Err(error),
            // Do not share from a damaged list.
            Err(error) => {
                self.health.add_tables(&list.id, &error);
                return Ok(None);
            }
            Ok(places) => places,
        };
        let whole = places.iter().find(|(place, _)| !place.partial);
        Ok(whole.map(|(place, pack)| LocatedFrame::known(place, *pack)))
    }
}

impl ChunkBlocks {
    /// Returns the number of blocks in the mask.
    pub fn count(&self) -> u64 {
        (0..self.mask.len() as u32 * 8).filter(|&block| frame::has(&self.mask, block)).count() as u64
    }
}
