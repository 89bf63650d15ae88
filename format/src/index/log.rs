//! Digest logs: the digests of a list's blocks in the list's order, proved by its chunk ids.
//!
//! Only a list held whole has a log. Chunk ids cover all blocks of a list, present or not, and a list
//! held in part may have few of them. Its digests are computed from the frames of the requested page, so
//! each belongs to a block that was just read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use rayon::prelude::*;

use crate::digest::{BlockDigest, DIGEST_LEN, ListId, LogKey, block_digests, chunk_ids, object_digest};
use crate::error::{Error, Result, StoreError};
use crate::limits::{BLOCK_LEN, TABLE_PAGE_RECORDS};
use crate::ondisk::list::ListShape;
use crate::storage::ObjectName;
use crate::store::InStore;
use crate::store::list::List;
use crate::store::names;
use crate::store::{Reader, StoreInner, VerifyMode};
use crate::units::ListBlock;

/// Digests per page: 4 KiB, or those of a whole chunk if that is more.
const PAGE_BLOCKS: u64 = 128;
/// The digests cached by [`Digests`], in bytes: those of 2 GiB of disks, or of some 10,000 small lists.
const DIGESTS_KEPT_BYTES: u64 = 16 << 20;
/// The memory of a cached page beside its digests, in bytes: the key, and the overhead of the cache and
/// the allocator.
const KEEPING_BYTES: u64 = 160;
/// The number of chunks digested at a time: enough for every thread, few enough for memory.
const BATCH_CHUNKS: usize = 256;

/// Returns the name by which the index knows a list: its id if the store holds all of it. If the list is
/// held in part, its blocks may change with its locator. Each locator therefore gives a new name, and no
/// entry of the index describes an earlier state.
pub(crate) fn key_of_list(list: &List) -> Result<LogKey> {
    let locator = match list.locator() {
        // The bundle leaves the whole list to its base, and has no index.
        Err(error) if error.is_absent() && list.is_of_bundle() => return Ok(LogKey::of_whole(&list.id)),
        other => other?,
    };
    if locator.root.in_part {
        Ok(LogKey::new(object_digest(&[*list.id.as_bytes(), locator.digest.0].concat())))
    } else {
        Ok(LogKey::of_whole(&list.id))
    }
}

impl LogKey {
    /// Returns the key of a list that the store holds whole.
    pub fn of_whole(list: &ListId) -> Self {
        Self::new(list.digest())
    }

    /// Returns the list of this key, which must be that of a whole list, as the key of every log is.
    pub fn whole_list(&self) -> ListId {
        ListId::new(self.digest())
    }
}

/// Whether the list has no log because the store does not hold all of it. A bundle has no index.
pub(crate) fn is_in_part(list: &List) -> Result<bool> {
    Ok(list.is_of_bundle() || list.locator()?.root.in_part)
}

/// The state of a log's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogFile {
    /// The file exists, and all parts read so far were correct.
    Sound,
    /// The file is missing or wrong.
    Unsound,
    /// The list is held in part, so it has no file.
    None,
}

impl LogFile {
    fn found(list: &List, key: &LogKey, lens: &HashMap<LogKey, u64>) -> Self {
        let len = list.shape.blocks * DIGEST_LEN as u64;
        if lens.get(key) == Some(&len) { Self::Sound } else { Self::Unsound }
    }
}

/// The log of one list, or its substitute for a list held in part.
#[derive(Debug)]
pub(crate) struct Log {
    pub list: Arc<List>,
    /// See [`key_of_list`].
    pub key: LogKey,
    name: ObjectName,
    file: LogFile,
}

/// A callback for chunks that cannot be decoded, with the error.
pub(crate) type Hurt<'a> = &'a mut dyn FnMut(u64, &Error);

/// Returns the name of the log object of the list that the index knows as `key`.
pub(crate) fn object_name(key: &LogKey) -> ObjectName {
    ObjectName::made(format!("{}/logs/{key}", names::INDEX))
}

/// Removes a log, so that the next import rebuilds it.
pub(crate) fn remove(shared: &StoreInner, key: &LogKey) {
    let _ = shared.storage.remove(&[object_name(key)]);
}

/// Returns the lengths of all logs, by key.
pub(crate) fn lens(reader: &Reader) -> Result<HashMap<LogKey, u64>> {
    let folder = format!("{}/logs", names::INDEX);
    let listed = reader.source().list(&folder).map_err(|error| Error::io("list", folder, error))?;
    Ok(listed
        .iter()
        .filter_map(|object| Some((LogKey::new(names::digest_of(&object.name)?), object.len)))
        .collect())
}

/// Returns the number of blocks per log page, a multiple of the chunk's.
pub(crate) fn page_blocks(shape: &ListShape) -> u64 {
    PAGE_BLOCKS.max(u64::from(shape.chunk_blocks))
}

impl Log {
    /// Creates the log of `list`. `lens` tells whether its file exists. Keeps no file open.
    ///
    /// # Errors
    /// Damage of the list's locator.
    pub fn new(list: Arc<List>, lens: &HashMap<LogKey, u64>) -> Result<Self> {
        let key = key_of_list(&list)?;
        let file = if is_in_part(&list)? { LogFile::None } else { LogFile::found(&list, &key, lens) };
        Ok(Self { list, key, name: object_name(&key), file })
    }

    /// Checks again for a file that was missing or wrong.
    pub fn look_again(&mut self, reader: &Reader, lens: &HashMap<LogKey, u64>) {
        reader.objects.forget(&self.name);
        self.file = LogFile::found(&self.list, &self.key, lens);
    }

    /// Whether the list should have a file, but it is missing or wrong.
    pub fn is_unsound(&self) -> bool {
        self.file == LogFile::Unsound
    }

    /// Returns page `number`, proved. Without a sound file, computes the page from the frames. Digests of
    /// absent blocks and of damaged chunks are then zero, and `hurt` is called for each damaged chunk.
    ///
    /// # Errors
    /// Errors of the medium; damage of the list or of its locator.
    pub fn page(&mut self, reader: &Reader, number: u64, hurt: Hurt<'_>) -> Result<Arc<[BlockDigest]>> {
        let per_page = page_blocks(&self.list.shape);
        let first = number * per_page;
        let count = self.list.shape.blocks.saturating_sub(first).min(per_page) as usize;
        if self.file == LogFile::Sound {
            let mut bytes = vec![0; count * DIGEST_LEN];
            let object = match reader.objects.open(&self.name) {
                Err(error) if error.is_transient() => return Err(error),
                opened => opened.ok(),
            };
            let read = object.map(|object| object.read_exact_at(&mut bytes, first * DIGEST_LEN as u64));
            let is_read = match read {
                Some(Ok(())) => true,
                Some(Err(error)) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
                    return Err(Error::io("read", &self.name, error));
                }
                _ => false,
            };
            if is_read {
                let mut digests: Vec<_> =
                    bytes.as_chunks().0.iter().copied().map(BlockDigest::from_bytes).collect();
                if self.is_proved(reader, first, &digests)?
                    || self.fill_gaps(reader, first, &mut digests, hurt)?
                {
                    return Ok(digests.into());
                }
            }
            tracing::warn!(list = %self.list.id, "the block index is damaged here; rebuilding it");
            self.file = LogFile::Unsound;
        }
        let chunk_blocks = u64::from(self.list.shape.chunk_blocks);
        let chunks = first / chunk_blocks..(first + count as u64).div_ceil(chunk_blocks);
        let digests =
            chunks.map(|chunk| self.sound_digests(reader, chunk, hurt)).collect::<Result<Vec<_>>>()?;
        Ok(digests.concat().into())
    }

    /// Checks a log page that was written while chunks were damaged. Fills zeroed chunks with digests
    /// from their frames, if these are sound by now. Returns whether the rest is proved.
    fn fill_gaps(
        &self,
        reader: &Reader,
        first: u64,
        digests: &mut [BlockDigest],
        hurt: Hurt<'_>,
    ) -> Result<bool> {
        let chunk_blocks = self.list.shape.chunk_blocks as usize;
        for (at, chunk) in
            (first / chunk_blocks as u64..).enumerate().take(digests.len().div_ceil(chunk_blocks))
        {
            let start = at * chunk_blocks;
            let end = (start + chunk_blocks).min(digests.len());
            if digests[start..end].iter().all(BlockDigest::is_zero) {
                digests[start..end].copy_from_slice(&self.sound_digests(reader, chunk, hurt)?);
            } else if !self.is_proved(reader, first + start as u64, &digests[start..end])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether `digests`, of whole chunks from block `first` on, hash to the list's chunk ids, and all
    /// these chunks are present. The locator's records must confirm its root in this.
    fn is_proved(&self, reader: &Reader, first: u64, digests: &[BlockDigest]) -> Result<bool> {
        let chunk_blocks = self.list.shape.chunk_blocks as usize;
        let first = first / chunk_blocks as u64;
        let count = digests.len().div_ceil(chunk_blocks) as u64;
        if !self.list.with_locator(|locator| locator.are_whole(&reader.objects, first..first + count))? {
            return Ok(false);
        }
        let ids = self.list.chunk_ids(first..first + count)?;
        let mut found = Vec::with_capacity(count as usize);
        chunk_ids(digests, chunk_blocks, &mut found);
        Ok(found.iter().zip(ids.as_chunks().0).all(|(found, id)| found.as_bytes() == id))
    }

    /// Returns the digests of a chunk's blocks; zeros if its frames are damaged, so that neighbouring
    /// chunks stay usable.
    fn sound_digests(&self, reader: &Reader, chunk: u64, hurt: Hurt<'_>) -> Result<Vec<BlockDigest>> {
        or_zeros(&self.list, chunk, chunk_digests(reader, &self.list, chunk), hurt)
    }
}

/// Returns the digests of a chunk's blocks, or zeros if damage prevents that.
fn or_zeros(
    list: &List,
    chunk: u64,
    made: Result<Vec<BlockDigest>>,
    hurt: Hurt<'_>,
) -> Result<Vec<BlockDigest>> {
    made.or_else(|error| {
        if error.is_transient() {
            return Err(error);
        }
        hurt(chunk, &error);
        Ok(vec![BlockDigest::ZERO; list.shape.blocks_of(chunk) as usize])
    })
}

/// Computes the digests of a chunk's blocks from its frames. A frame may contain digests of absent
/// blocks, as after loading a bundle; those stay zero.
fn chunk_digests(reader: &Reader, list: &List, chunk: u64) -> Result<Vec<BlockDigest>> {
    if reader.base.is_none() && list.record(chunk)?.is_absent() {
        return Ok(vec![BlockDigest::ZERO; list.shape.blocks_of(chunk) as usize]);
    }
    let id = list.chunk_id(chunk)?;
    let loaded = reader.load_chunk(list, chunk, &id, VerifyMode::Full)?;
    let mut digests = Vec::with_capacity(loaded.bytes().len() / BLOCK_LEN);
    block_digests(loaded.bytes().as_chunks().0, &mut digests);
    for (digest, number) in digests.iter_mut().zip(0..) {
        if !loaded.has(number) {
            *digest = BlockDigest::ZERO;
        }
    }
    Ok(digests)
}

/// Calls `each` with the digests of each chunk in order, and the chunk's first block. Computes them from
/// the frames, many chunks at a time. Calls `hurt` for each damaged chunk, whose digests are zeros. In a
/// list held in part, skips chunks without a frame, and whole locator pages without any.
pub(crate) fn rebuild(
    reader: &Reader,
    list: &List,
    hurt: Hurt<'_>,
    mut each: impl FnMut(u64, &[BlockDigest]) -> Result<()>,
) -> Result<()> {
    let in_part = is_in_part(list)?;
    let chunks = list.shape.chunks();
    let mut batch = Vec::with_capacity(BATCH_CHUNKS);
    for page in 0..chunks.div_ceil(TABLE_PAGE_RECORDS) {
        if in_part && list.with_locator(|locator| locator.is_empty_page(&reader.objects, page))? {
            continue;
        }
        for chunk in page * TABLE_PAGE_RECORDS..((page + 1) * TABLE_PAGE_RECORDS).min(chunks) {
            if in_part && list.record(chunk)?.is_absent() {
                continue;
            }
            batch.push(chunk);
            if batch.len() == BATCH_CHUNKS {
                rebuild_batch(reader, list, &mut batch, hurt, &mut each)?;
            }
        }
    }
    rebuild_batch(reader, list, &mut batch, hurt, &mut each)
}

/// Computes the digests of the chunks in `batch`, and empties it.
fn rebuild_batch(
    reader: &Reader,
    list: &List,
    batch: &mut Vec<u64>,
    hurt: Hurt<'_>,
    each: &mut impl FnMut(u64, &[BlockDigest]) -> Result<()>,
) -> Result<()> {
    let made: Vec<_> = batch.par_iter().map(|&chunk| chunk_digests(reader, list, chunk)).collect();
    for (chunk, digests) in batch.drain(..).zip(made) {
        let digests = or_zeros(list, chunk, digests, hurt)?;
        each(chunk * u64::from(list.shape.chunk_blocks), &digests)?;
    }
    Ok(())
}

/// The memory of a page cached by [`Digests`].
#[derive(Debug, Clone)]
struct PageBytes;

impl Weighter<(ListId, u64), Arc<[BlockDigest]>> for PageBytes {
    fn weight(&self, _: &(ListId, u64), page: &Arc<[BlockDigest]>) -> u64 {
        page.len() as u64 * DIGEST_LEN as u64 + KEEPING_BYTES
    }
}

/// The digests of any list's blocks, proved by chunk ids, for verification.
///
/// One instance serves any number of images. Each list is opened once. Digests shared by images are read
/// and proved once, within [`DIGESTS_KEPT_BYTES`]. Memory: that, and some 200 bytes a list.
#[derive(Debug)]
pub(crate) struct Digests {
    reader: Arc<Reader>,
    logs: HashMap<ListId, Log>,
    lens: HashMap<LogKey, u64>,
    pages: Cache<(ListId, u64), Arc<[BlockDigest]>, PageBytes>,
    /// The page used last, and its blocks: consecutive lookups mostly stay on one page.
    last: Option<(ListId, Range<u64>, Arc<[BlockDigest]>)>,
}

impl Digests {
    /// Opens the logs. Without a sound index, digests are computed from the frames.
    pub fn new(reader: &Arc<Reader>) -> Self {
        let lens = lens(reader).unwrap_or_default();
        let small_page = DIGEST_LEN as u64 + KEEPING_BYTES;
        let items = (DIGESTS_KEPT_BYTES / small_page) as usize;
        let pages = Cache::with_weighter(items, DIGESTS_KEPT_BYTES, PageBytes);
        Self { reader: reader.clone(), logs: HashMap::new(), lens, pages, last: None }
    }

    /// Returns the digest of block `block` of list `id`.
    ///
    /// # Errors
    /// Fails if neither a log nor the frames provide it.
    pub fn of(&mut self, id: &ListId, ListBlock(block): ListBlock) -> Result<BlockDigest> {
        let (first, page) = match &self.last {
            Some((last, blocks, page)) if blocks.contains(&block) && last == id => (blocks.start, page),
            _ => {
                let (first, page) = self.page(id, block)?;
                let blocks = first..first + page.len() as u64;
                let (_, blocks, page) = self.last.insert((*id, blocks, page));
                (blocks.start, &*page)
            }
        };
        match page.get((block - first) as usize).copied().filter(|digest| !digest.is_zero()) {
            Some(digest) => Ok(digest),
            None => Err(why_none(&self.reader, &*self.reader.list(id, None)?, block)),
        }
    }

    /// Returns the page with a block's digest, and the block of its first digest.
    fn page(&mut self, id: &ListId, block: u64) -> Result<(u64, Arc<[BlockDigest]>)> {
        let log = match self.logs.entry(*id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Log::new(self.reader.list(id, None)?, &self.lens)?),
        };
        let per_page = page_blocks(&log.list.shape);
        let number = block / per_page;
        if let Some(page) = self.pages.get(&(*id, number)) {
            return Ok((number * per_page, page.clone()));
        }
        // `why_none` reports damage.
        let made = log.page(&self.reader, number, &mut |_, _| ())?;
        self.pages.insert((*id, number), made.clone());
        Ok((number * per_page, made))
    }
}

/// Returns the reason for a missing digest: damage of the chunk, or an absent block.
fn why_none(reader: &Reader, list: &List, block: u64) -> Error {
    let chunk_blocks = u64::from(list.shape.chunk_blocks);
    let (chunk, within) = (block / chunk_blocks, block % chunk_blocks);
    match list.chunk_id(chunk).and_then(|id| reader.load_chunk(list, chunk, &id, VerifyMode::Full)) {
        Err(error) => error,
        Ok(_) => {
            let fault = crate::fault::RuleViolation::BlockAbsent { block: within as u32 };
            StoreError::corrupt(list.object_name(), 0, fault)
        }
    }
}
