//! The index over all committed lists.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use quick_cache::unsync::Cache;

use super::entry::{Entry, key_of};
use super::health::Health;
use super::log::{self, Log};
use super::segment::{Segment, SegmentError};
use super::update;
use crate::digest::{BlockDigest, ListId, LogKey};
use crate::error::{Error, Result, StoreError};
use crate::fault::RuleViolation;
use crate::store::StoreInner;
use crate::store::list::List;
use crate::store::names;
use crate::units::ListBlock;

/// Log pages cached: 8 MiB of digests.
const LOG_PAGES_MAX: usize = 2048;

/// The place of a block in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// The list's number among the committed lists, in ascending order of ids.
    pub list: u32,
    /// The block within the list.
    pub block: ListBlock,
}

/// The index, open for one import over the lists committed when it began.
#[derive(Debug)]
pub(crate) struct CommittedIndex {
    shared: Arc<StoreInner>,
    /// By list number.
    logs: Vec<Log>,
    segments: Vec<OpenSegment>,
    pages: Cache<(u32, u64), Arc<[BlockDigest]>>,
    /// The page used last: consecutive lookups mostly stay on one page.
    last: Option<(u32, u64, Arc<[BlockDigest]>)>,
    candidates: Vec<Entry>,
    health: Arc<Health>,
    /// The pages whose chunks were all decoded. `None` unless [`CommittedIndex::decode_all`] was called.
    decoded: Option<HashSet<(u32, u64)>>,
    /// Lists that could not be opened, each with its error.
    unopened: Vec<(ListId, Error)>,
}

#[derive(Debug)]
struct OpenSegment {
    segment: Segment,
    /// Maps the segment's list numbers to ours; `None` for lists that no longer exist.
    numbers: Vec<Option<u32>>,
    /// Whether the segment is damaged and could not be rebuilt.
    is_lost: bool,
}

impl CommittedIndex {
    /// Opens the index over `lists`, and rebuilds missing or damaged parts. Damaged lists are left out:
    /// this costs sharing, but does not fail the import. Reports all damage to `health`.
    pub fn open(shared: &Arc<StoreInner>, lists: &[ListId], health: &Arc<Health>) -> Result<Self> {
        let lens = log::lens(&shared.reader)?;
        let mut logs = BTreeMap::new();
        let mut unopened = lost_lists(shared, lists, &lens);
        let is_any_lost = !unopened.is_empty();
        for id in lists {
            match update::newest_list(shared, id).and_then(|list| Log::new(list, &lens)) {
                Ok(log) => drop(logs.insert(*id, log)),
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => unopened.push((*id, error)),
            }
        }
        // Do not tidy while a list is lost: the index may help to restore it.
        let segments = match is_any_lost {
            true => update::open_segments(shared)?,
            false => open_segments(shared, lists, &logs, &lens)?,
        };
        let mut index = Self {
            shared: shared.clone(),
            segments: Vec::new(),
            logs: Vec::new(),
            pages: Cache::new(LOG_PAGES_MAX),
            last: None,
            candidates: Vec::new(),
            health: health.clone(),
            decoded: None,
            unopened,
        };
        let covered = |id: &LogKey| segments.iter().any(|segment| segment.lists.binary_search(id).is_ok());
        // Lists held in part have no log.
        let missing: Vec<_> = logs
            .values()
            .filter(|log| log.is_unsound() || !covered(&log.key))
            .map(|log| (log.key, log.list.clone()))
            .collect();
        let mut rebuilt = Vec::new();
        if !missing.is_empty() {
            rebuilt = update::rebuild(shared, missing, &segments, health)?;
            let lens = log::lens(&shared.reader)?;
            logs.values_mut()
                .filter(|log| log.is_unsound())
                .for_each(|log| log.look_again(&shared.reader, &lens));
        }
        let numbers: BTreeMap<LogKey, u32> = logs.values().map(|log| log.key).zip(0..).collect();
        index.logs = logs.into_values().collect();
        index.segments =
            segments.into_iter().chain(rebuilt).map(|segment| OpenSegment::new(segment, &numbers)).collect();
        Ok(index)
    }

    /// From now on, decodes every chunk and checks its id before sharing it.
    pub fn decode_all(&mut self) {
        self.decoded = Some(HashSet::new());
    }

    /// Returns the damaged lists that were left out, each with its error.
    pub fn unopened(&self) -> &[(ListId, Error)] {
        &self.unopened
    }

    /// Returns the lists, by number.
    pub fn lists(&self) -> impl Iterator<Item = &Arc<List>> {
        self.logs.iter().map(|log| &log.list)
    }

    /// Returns the digest of a block; `None` if it is absent or damaged.
    pub fn digest_at(&mut self, list: u32, block: ListBlock) -> Result<Option<BlockDigest>> {
        Ok(self.digests_from(list, block)?.first().copied())
    }

    /// Returns the digests of some blocks from `block` on; empty if that block is absent or damaged.
    pub fn digests_from(&mut self, list: u32, ListBlock(block): ListBlock) -> Result<&[BlockDigest]> {
        let Some(log) = self.logs.get_mut(list as usize) else { return Ok(&[]) };
        if block >= log.list.shape.blocks {
            return Ok(&[]);
        }
        let per_page = log::page_blocks(&log.list.shape);
        let (number, within) = (block / per_page, (block % per_page) as usize);
        let is_last = |last: &(u32, u64, Arc<[BlockDigest]>)| (last.0, last.1) == (list, number);
        if !self.last.as_ref().is_some_and(is_last) {
            let page = match self.pages.get(&(list, number)) {
                Some(page) => page.clone(),
                None => {
                    let decodes = self.decoded.as_mut().is_some_and(|done| done.insert((list, number)));
                    let made = sound_page(&self.shared, log, number, &self.health, decodes)?;
                    self.pages.insert((list, number), made.clone());
                    made
                }
            };
            self.last = Some((list, number, page));
        }
        Ok(self.last.as_ref().and_then(|(.., page)| page.get(within..)).unwrap_or_default())
    }

    /// Finds a block with this digest. Of several, it prefers the list with the lowest id, then the first
    /// block.
    pub fn find(&mut self, digest: &BlockDigest) -> Result<Option<Found>> {
        let key = key_of(digest);
        let mut places: Vec<Found> = Vec::new();
        for number in 0..self.segments.len() {
            if self.segments[number].is_lost {
                continue;
            }
            let mut candidates = std::mem::take(&mut self.candidates);
            candidates.clear();
            if !self.segments[number].look_up(key, &mut candidates)? {
                self.replace(number)?;
                candidates.clear();
                if !self.segments[number].look_up(key, &mut candidates)? {
                    candidates.clear();
                }
            }
            let numbers = &self.segments[number].numbers;
            let place = |entry: &Entry| {
                let list = (*numbers.get(entry.list() as usize)?)?;
                Some(Found { list, block: ListBlock(entry.block()) })
            };
            places.extend(candidates.iter().filter_map(place));
            self.candidates = candidates;
        }
        places.sort_unstable_by_key(|place| (place.list, place.block));
        for place in places {
            if self.digest_at(place.list, place.block)? == Some(*digest) {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Returns the proved digests of a chunk's blocks, even if the chunk is damaged; `None` if neither
    /// log nor frames provide them.
    pub fn told_digests(&mut self, list: &ListId, chunk: u64) -> Result<Option<Vec<BlockDigest>>> {
        let Ok(number) = self.logs.binary_search_by(|log| log.list.id.cmp(list)) else { return Ok(None) };
        let log = &mut self.logs[number];
        let (per_page, chunk_blocks) =
            (log::page_blocks(&log.list.shape), u64::from(log.list.shape.chunk_blocks));
        let block = chunk * chunk_blocks;
        let page = match log.page(&self.shared.reader, block / per_page, &mut |_, _| ()) {
            Ok(page) => page,
            Err(error) if error.is_transient() => return Err(error),
            Err(_) => return Ok(None),
        };
        let start = (block % per_page) as usize;
        let end = start + log.list.shape.blocks_of(chunk) as usize;
        let digests = page.get(start..end.min(page.len())).unwrap_or_default();
        let is_told = !digests.is_empty() && digests.iter().all(|digest| !digest.is_zero());
        Ok(is_told.then(|| digests.to_vec()))
    }

    /// Returns the list that [`CommittedIndex::find`] calls `number`.
    pub fn list(&self, number: u32) -> Option<&Arc<List>> {
        self.logs.get(number as usize).map(|log| &log.list)
    }

    /// Rebuilds a damaged segment.
    fn replace(&mut self, number: usize) -> Result<()> {
        let damaged = &self.segments[number];
        tracing::warn!(segment = %damaged.segment.name, "the block index is damaged here; rebuilding it");
        let present = |list: &&u32| self.logs.get(**list as usize).is_some();
        let lists: Vec<_> = damaged
            .numbers
            .iter()
            .flatten()
            .filter(present)
            .map(|&list| &self.logs[list as usize])
            .map(|log| (log.key, log.list.clone()))
            .collect();
        update::remove_segment(&self.shared, &damaged.segment);
        let numbers: BTreeMap<LogKey, u32> = self.logs.iter().map(|log| log.key).zip(0..).collect();
        let mut made = update::rebuild(&self.shared, lists, &[], &self.health)?.into_iter();
        match made.next() {
            Some(segment) => self.segments[number] = OpenSegment::new(segment, &numbers),
            // Its lists are damaged too. Do not retry at every lookup.
            None => self.segments[number].is_lost = true,
        }
        self.segments.extend(made.map(|segment| OpenSegment::new(segment, &numbers)));
        Ok(())
    }

    /// Removes damaged logs, so that the next import rebuilds them.
    pub fn drop_damaged_logs(&self) {
        for log in self.logs.iter().filter(|log| log.is_unsound()) {
            let _ = self.shared.storage.remove(&[log::object_name(&log.key)]);
        }
    }
}

/// Finds lists that are missing although their logs and locators exist.
fn lost_lists(shared: &StoreInner, lists: &[ListId], lens: &HashMap<LogKey, u64>) -> Vec<(ListId, Error)> {
    let is_lost =
        |id: &ListId| lists.binary_search(id).is_err() && shared.storage.open(&names::locator(id)).is_ok();
    let error = |id: &ListId| StoreError::corrupt(names::list(id), 0, RuleViolation::Missing);
    lens.keys().map(LogKey::whole_list).filter(is_lost).map(|id| (id, error(&id))).collect()
}

/// Returns a page of a log, with zeros for blocks that must not be shared. Returns an empty page if the
/// list's own tables are damaged.
fn sound_page(
    shared: &Arc<StoreInner>,
    log: &mut Log,
    number: u64,
    health: &Health,
    decodes: bool,
) -> Result<Arc<[BlockDigest]>> {
    let list = log.list.clone();
    let page = health.of_list(&list).and_then(|_| {
        log.page(&shared.reader, number, &mut |chunk, error| health.add(&list.id, chunk, error))
    });
    let page = match page {
        Ok(page) => page,
        Err(error) if error.is_transient() => return Err(error),
        Err(error) => {
            health.add_tables(&list.id, &error);
            return Ok(Arc::from([]));
        }
    };
    let chunk_blocks = u64::from(list.shape.chunk_blocks);
    let first = number * log::page_blocks(&list.shape) / chunk_blocks;
    let chunks = first..first + (page.len() as u64).div_ceil(chunk_blocks);
    if decodes {
        health.decode_all(&list, chunks.clone())?;
    }
    let bad = health.suspects_of(&list.id);
    if !chunks.clone().any(|chunk| bad.has(chunk)) {
        return Ok(page);
    }
    let mut digests = page.to_vec();
    for (blocks, chunk) in digests.chunks_mut(chunk_blocks as usize).zip(chunks) {
        if bad.has(chunk) {
            blocks.fill(BlockDigest::ZERO);
        }
    }
    Ok(digests.into())
}

/// Opens the segments, and tries to drop lists that no longer exist.
fn open_segments(
    shared: &Arc<StoreInner>,
    lists: &[ListId],
    logs: &BTreeMap<ListId, Log>,
    lens: &HashMap<LogKey, u64>,
) -> Result<Vec<Segment>> {
    let segments = update::open_segments(shared)?;
    // Keep a list that is damaged now: it may be restored.
    let key = |id: &ListId| (logs.get(id).map_or(LogKey::of_whole(id), |log| log.key), *id);
    match update::tidy(shared, segments, lens, &lists.iter().map(key).collect()) {
        Ok(segments) => Ok(segments),
        Err(error) => {
            tracing::warn!(%error, "cannot tidy the block index; a later import will");
            update::open_segments(shared)
        }
    }
}

impl OpenSegment {
    fn new(segment: Segment, numbers: &BTreeMap<LogKey, u32>) -> Self {
        let numbers = segment.lists.iter().map(|id| numbers.get(id).copied()).collect();
        Self { segment, numbers, is_lost: false }
    }

    /// Appends to `found` the entries with this key; false where the segment is damaged.
    fn look_up(&self, key: u64, found: &mut Vec<Entry>) -> Result<bool> {
        match self.segment.find(key, found) {
            Ok(()) => Ok(true),
            Err(SegmentError::Damaged) => Ok(false),
            Err(SegmentError::Io(error)) => Err(Error::io("read", &self.segment.name, error)),
        }
    }
}
