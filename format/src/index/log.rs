//! Digest logs: the digests of a list's blocks in the list's order, proved by its chunk ids.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use rayon::prelude::*;

use crate::digest::{DIGEST_LEN, Digest, block_digest, chunk_id, object_digest};
use crate::error::{Error, Result};
use crate::limits::BLOCK_LEN;
use crate::ondisk::list::ListShape;
use crate::store::list::List;
use crate::store::names;
use crate::store::{Shared, VerifyMode};

/// Digests to a page: 4 KiB, or a whole chunk's where that is more.
const PAGE_BLOCKS: u64 = 128;

/// The name under which the index knows a list: its id, where the store holds all of it. Of a list
/// that is held in part, what is held may change with its locator: another locator, another name, so
/// that nothing in the index speaks of a list as it was.
pub(crate) fn key_of_list(list: &List) -> Result<Digest> {
    let locator = match list.locator() {
        // A bundle that leaves the whole list to its base; it has no index.
        Err(error) if error.is_absent() && list.is_of_bundle() => return Ok(list.id),
        other => other?,
    };
    Ok(if locator.root.in_part { object_digest(&[list.id.0, locator.digest.0].concat()) } else { list.id })
}

/// The log of one list.
#[derive(Debug)]
pub(crate) struct Log {
    pub list: Arc<List>,
    /// See [`key_of_list`].
    pub key: Digest,
    /// Whether the file is there and was right as far as it was read.
    sound: bool,
    /// Whether the list's frames were found to be there.
    reachable: bool,
}

/// The object that holds the log of the list that the index knows as `key`.
pub(crate) fn object_name(key: &Digest) -> String {
    format!("{}/logs/{key}", names::INDEX)
}

/// The lengths of all logs, by key.
pub(crate) fn lens(shared: &Shared) -> Result<HashMap<Digest, u64>> {
    let folder = format!("{}/logs", names::INDEX);
    let listed = shared.storage.list(&folder).map_err(|error| Error::io("list", folder, error))?;
    Ok(listed.iter().filter_map(|object| Some((names::digest_of(&object.name)?, object.len))).collect())
}

/// Blocks to a page of a log, a multiple of the chunk's.
pub(crate) fn page_blocks(shape: &ListShape) -> u64 {
    PAGE_BLOCKS.max(u64::from(shape.chunk_blocks))
}

impl Log {
    /// The log of `list`, if there is one among those of these lengths. No file is kept open.
    ///
    /// # Errors
    /// When the list's locator is damaged.
    pub fn new(list: Arc<List>, lens: &HashMap<Digest, u64>) -> Result<Self> {
        let key = key_of_list(&list)?;
        let sound = lens.get(&key) == Some(&(list.shape.blocks * DIGEST_LEN as u64));
        Ok(Self { list, key, sound, reachable: false })
    }

    /// Whether the file was there, and right as far as it was read.
    pub fn is_sound(&self) -> bool {
        self.sound
    }

    /// Fails unless the list's locator and packs are there, so that nothing is shared with what is
    /// lost. Looked at once.
    pub fn check_reachable(&mut self, shared: &Shared) -> Result<()> {
        if !self.reachable {
            self.list.check_reachable(shared)?;
            self.reachable = true;
        }
        Ok(())
    }

    /// Page `number`, proved. Where the file is missing or wrong, it is made from the frames.
    ///
    /// # Errors
    /// When the frames are damaged too.
    pub fn page(&mut self, shared: &Shared, number: u64) -> Result<Arc<[Digest]>> {
        let per_page = page_blocks(&self.list.shape);
        let first = number * per_page;
        let count = self.list.shape.blocks.saturating_sub(first).min(per_page) as usize;
        if self.sound {
            let mut bytes = vec![0; count * DIGEST_LEN];
            let object = shared.open_object(&object_name(&self.key)).ok();
            let read = object.map(|object| object.read_exact_at(&mut bytes, first * DIGEST_LEN as u64));
            if matches!(read, Some(Ok(()))) {
                let digests: Vec<_> = bytes
                    .chunks_exact(DIGEST_LEN)
                    .map(|digest| Digest(digest.try_into().unwrap_or_default()))
                    .collect();
                if let Some(proved) = self.prove(shared, first, digests)? {
                    return Ok(proved.into());
                }
            }
            tracing::warn!(list = %self.list.id, "the block index is damaged here; making it again");
            self.sound = false;
        }
        let chunk_blocks = u64::from(self.list.shape.chunk_blocks);
        let chunks = first / chunk_blocks..(first + count as u64).div_ceil(chunk_blocks);
        let digests =
            chunks.map(|chunk| chunk_digests(shared, &self.list, chunk)).collect::<Result<Vec<_>>>()?;
        Ok(digests.concat().into())
    }

    /// `digests`, of whole chunks from block `first` on, if they hash to the list's chunk ids. Those
    /// of a chunk that is held in part prove nothing about which blocks are: they are made from its
    /// frames.
    fn prove(&self, shared: &Shared, first: u64, mut digests: Vec<Digest>) -> Result<Option<Vec<Digest>>> {
        let chunk_blocks = self.list.shape.chunk_blocks as usize;
        let locator = self.list.locator()?;
        let chunks = first / chunk_blocks as u64..;
        for (chunk, blocks) in chunks.zip(digests.chunks_mut(chunk_blocks)) {
            if locator.root.in_part && !locator.record(shared, chunk)?.is_whole() {
                blocks.copy_from_slice(&chunk_digests(shared, &self.list, chunk)?);
            } else if chunk_id(blocks) != self.list.chunk_id(chunk)? {
                return Ok(None);
            }
        }
        Ok(Some(digests))
    }
}

/// The digests of a chunk's blocks, from its frame. Blocks of which this store holds only the
/// digest, as after loading a bundle, count as not held: their digest is left zero.
fn chunk_digests(shared: &Shared, list: &List, chunk: u64) -> Result<Vec<Digest>> {
    if shared.bases().is_none() && list.locator()?.record(shared, chunk)?.is_absent() {
        return Ok(vec![Digest::ZERO; list.shape.blocks_of(chunk) as usize]);
    }
    let id = list.chunk_id(chunk)?;
    let loaded = shared.load_chunk(list, chunk, &id, VerifyMode::Full)?;
    let digest = |(block, number): (&[u8], u32)| match loaded.check_held(number, 1) {
        Ok(()) => block_digest(block),
        Err(_) => Digest::ZERO,
    };
    Ok(loaded.bytes.chunks_exact(BLOCK_LEN).zip(0u32..).map(digest).collect())
}

/// Calls `each` with all digests of a list in order, made from its frames, many at a time.
pub(crate) fn rebuild(
    shared: &Shared,
    list: &List,
    mut each: impl FnMut(&[Digest]) -> Result<()>,
) -> Result<()> {
    // Enough chunks for every thread, few enough to hold.
    const BATCH: u64 = 256;
    let chunks = list.shape.chunks();
    for first in (0..chunks).step_by(BATCH as usize) {
        let batch = first..(first + BATCH).min(chunks);
        let made: Vec<_> =
            batch.into_par_iter().map(|chunk| chunk_digests(shared, list, chunk)).collect::<Result<_>>()?;
        made.iter().try_for_each(|digests| each(digests))?;
    }
    Ok(())
}

/// The digests of any list's blocks, proved by chunk ids: for those who verify.
#[derive(Debug)]
pub(crate) struct Digests {
    shared: Arc<Shared>,
    logs: HashMap<Digest, Log>,
    lens: HashMap<Digest, u64>,
    last: Option<(Digest, u64, Arc<[Digest]>)>,
}

impl Digests {
    /// Without an index, or with a damaged one, digests are made from the frames.
    pub fn new(shared: &Arc<Shared>) -> Self {
        let lens = lens(shared).unwrap_or_default();
        Self { shared: shared.clone(), logs: HashMap::new(), lens, last: None }
    }

    /// The digest of block `block` of list `id`.
    ///
    /// # Errors
    /// When neither a log nor the frames can give it.
    pub fn of(&mut self, id: &Digest, block: u64) -> Result<Digest> {
        let log = match self.logs.entry(*id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Log::new(self.shared.list(id, None)?, &self.lens)?),
        };
        let per_page = page_blocks(&log.list.shape);
        let number = block / per_page;
        let page = match &self.last {
            Some((last, last_number, page)) if last == id && *last_number == number => page.clone(),
            _ => log.page(&self.shared, number)?,
        };
        let digest = page.get((block % per_page) as usize).copied().filter(|digest| !digest.is_zero());
        self.last = Some((*id, number, page));
        digest.ok_or_else(|| {
            let fault = crate::fault::Fault::BlockAbsent { block: (block % per_page) as u32 };
            Error::corrupt(log.list.object_name(), number, fault)
        })
    }
}
