//! Finds sound frames for damaged chunks of a list.
//!
//! The list's log in the block index gives the blocks of a chunk. Each block may be anywhere in the
//! store. Without a log, another list may have a chunk of the same id.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::replace::{remember, replace};
use crate::digest::{BlockDigest, ChunkId, DIGEST_LEN, ListId, LogKey, block_digests, chunk_id};
use crate::error::Result;
use crate::index::{self, CommittedIndex, Health};
use crate::limits::{BLOCK_LEN, TABLE_PAGE_RECORDS};
use crate::store::list::List;
use crate::store::runs::Runs;
use crate::store::stage::Stage;
use crate::store::{StoreInner, VerifyMode};
use crate::units::ListBlock;
use crate::write::{LocatedFrame, LocatorWriter, PackWriter, encode_whole};

/// Finds sound blocks and builds frames from them.
pub(super) struct ChunkHealer<'a> {
    shared: &'a Arc<StoreInner>,
    index: &'a mut CommittedIndex,
    health: &'a Arc<Health>,
    level: i32,
    /// The chunk decoded last: blocks adjacent in one chunk are often adjacent in another.
    last: Option<(ListId, u64, Vec<u8>)>,
}

/// The healed part of a list.
#[derive(Default)]
pub(super) struct HealedChunks {
    pub chunks: Runs,
    pub stored_bytes: u64,
}

impl<'a> ChunkHealer<'a> {
    pub fn new(
        shared: &'a Arc<StoreInner>,
        index: &'a mut CommittedIndex,
        health: &'a Arc<Health>,
        level: i32,
    ) -> Result<Self> {
        Ok(Self { shared, index, health, level, last: None })
    }

    /// Provides sound frames for the chunks of `bad` whose blocks are all in the store.
    pub fn heal(&mut self, list: &Arc<List>, bad: &Runs) -> Result<HealedChunks> {
        let shared = self.shared;
        let stage = Stage::begin(shared)?;
        let mut packs = PackWriter::new(&stage);
        let mut frames: BTreeMap<u64, LocatedFrame> = BTreeMap::new();
        let mut untold: HashMap<ChunkId, Vec<u64>> = HashMap::new();
        for chunk in bad.numbers() {
            let id = list.chunk_id(chunk)?;
            let Some(digests) = self.index.told_digests(&list.id, chunk)? else {
                untold.entry(id).or_default().push(chunk);
                continue;
            };
            if let Some(frame) = self.same_chunk(&digests, &id)? {
                frames.insert(chunk, frame);
            } else if let Some(plain) = self.blocks(&digests, &id)? {
                let mut frame = Vec::new();
                encode_whole(&id, &plain, self.level, &mut frame)?;
                frames.insert(chunk, packs.frame(&id, &frame, false)?);
            }
        }
        let by_id = self.by_id(list, untold)?;
        let log_has_gaps = !by_id.is_empty();
        frames.extend(by_id);
        if frames.is_empty() {
            return Ok(HealedChunks::default());
        }
        let locator = list.reload_locator()?;
        let mut writer = LocatorWriter::begin(&stage, Some(list.shape.chunks()))?;
        for chunk in 0..list.shape.chunks() {
            match frames.get(&chunk) {
                Some(frame) => writer.chunk(&[*frame])?,
                None => writer.chunk(&list.located(&locator, chunk)?)?,
            }
        }
        let (ids, moves) = packs.finish()?;
        let locators = vec![writer.finish(&list.id, &ids)?];
        let Some(stored_bytes) =
            replace(&stage, &list.id, list.shape, Some(locator.digest), &[&moves, &locators])?
        else {
            return Ok(HealedChunks::default());
        };
        remember(shared, &moves);
        if log_has_gaps {
            // The next import rebuilds the whole log.
            index::remove_log(shared, &LogKey::of_whole(&list.id));
        }
        let mut healed = HealedChunks { stored_bytes, ..HealedChunks::default() };
        frames.keys().for_each(|chunk| healed.chunks.add(*chunk, chunk + 1));
        Ok(healed)
    }

    /// Returns the whole frame of another list's chunk with the same blocks, if any.
    fn same_chunk(&mut self, digests: &[BlockDigest], id: &ChunkId) -> Result<Option<LocatedFrame>> {
        let Some(found) = digests.first().map(|first| self.index.find(first)).transpose()?.flatten() else {
            return Ok(None);
        };
        let Some(list) = self.index.list(found.list).cloned() else { return Ok(None) };
        let chunk_blocks = u64::from(list.shape.chunk_blocks);
        let chunk = found.block.0 / chunk_blocks;
        if found.block.0 % chunk_blocks != 0 || list.chunk_id(chunk)? != *id {
            return Ok(None);
        }
        self.whole_frame(&list, chunk)
    }

    fn whole_frame(&self, list: &List, chunk: u64) -> Result<Option<LocatedFrame>> {
        if self.health.of_list(list)?.has(chunk) || list.record(chunk)?.is_absent() {
            return Ok(None);
        }
        let places = list.places_now(chunk)?;
        let whole = places.iter().find(|(place, _)| !place.partial);
        Ok(whole.map(|(place, pack)| LocatedFrame::known(place, *pack)))
    }

    /// Assembles a chunk from its blocks, or returns `None` if a block is missing.
    fn blocks(&mut self, digests: &[BlockDigest], id: &ChunkId) -> Result<Option<Vec<u8>>> {
        let mut plain = Vec::with_capacity(digests.len() * BLOCK_LEN);
        for digest in digests {
            let Some(found) = self.index.find(digest)? else { return Ok(None) };
            let Some(list) = self.index.list(found.list).cloned() else { return Ok(None) };
            if !self.block(&list, found.block, &mut plain)? {
                return Ok(None);
            }
        }
        let mut found = Vec::with_capacity(digests.len());
        block_digests(plain.as_chunks().0, &mut found);
        Ok((chunk_id(&found) == *id).then_some(plain))
    }

    /// Appends a block of a list after decoding and checking its chunk. Returns whether the block is
    /// available.
    fn block(&mut self, list: &List, ListBlock(block): ListBlock, plain: &mut Vec<u8>) -> Result<bool> {
        let chunk_blocks = u64::from(list.shape.chunk_blocks);
        let (chunk, within) = (block / chunk_blocks, (block % chunk_blocks) as usize);
        let is_last = |last: &(ListId, u64, Vec<u8>)| last.0 == list.id && last.1 == chunk;
        if !self.last.as_ref().is_some_and(is_last) {
            let loaded = list
                .chunk_id(chunk)
                .and_then(|id| self.shared.reader.load_chunk(list, chunk, &id, VerifyMode::Full));
            match loaded {
                Ok(loaded) => self.last = Some((list.id, chunk, loaded.bytes().to_vec())),
                Err(error) if error.is_transient() => return Err(error),
                Err(_) => return Ok(false),
            }
        }
        let bytes = self.last.as_ref().map(|last| &last.2[..]).unwrap_or_default();
        match bytes.get(within * BLOCK_LEN..(within + 1) * BLOCK_LEN) {
            Some(block) => plain.extend_from_slice(block),
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Finds frames in other lists for chunks known only by id.
    fn by_id(
        &self,
        healed: &List,
        mut untold: HashMap<ChunkId, Vec<u64>>,
    ) -> Result<BTreeMap<u64, LocatedFrame>> {
        let mut found = BTreeMap::new();
        for list in self.index.lists().filter(|list| list.id != healed.id) {
            for number in 0..list.shape.pages() {
                if untold.is_empty() {
                    return Ok(found);
                }
                let page = match list.page(number) {
                    Ok(page) => page,
                    Err(error) if error.is_transient() => return Err(error),
                    Err(_) => continue,
                };
                for (id, chunk) in page.chunks_exact(DIGEST_LEN).zip(number * TABLE_PAGE_RECORDS..) {
                    let id = ChunkId::from_bytes(id.try_into().unwrap_or_default());
                    if untold.contains_key(&id)
                        && let Some(frame) = self.whole_frame(list, chunk)?
                    {
                        let chunks = untold.remove(&id).unwrap_or_default();
                        found.extend(chunks.into_iter().map(|chunk| (chunk, frame)));
                    }
                }
            }
        }
        Ok(found)
    }
}
