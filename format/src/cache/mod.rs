//! A single bounded cache of decoded chunks and verified pages for all images of a process.
//!
//! Chunks are keyed by list and number ([`chunks`], [`shard`], [`chunk`]). A list's id determines its chunks,
//! so ten appliances on one base cache the base's hot chunks once. A hot read does not need the chunk's id.
//! Chunks are read in place under a shared lock, without reference counts. Pages and leaves are keyed by
//! digest in a `quick_cache`. If several readers miss the same entry, one loads it and the others wait.
//!
//! A cache owns all of its memory, numbers included: when its last handle is dropped, the system has it back.
//!
//! The bound covers the content of both, plus a fixed overhead per entry. Pages may take half of it, or three
//! quarters of a small cache; chunks have the rest.

mod chunk;
mod chunks;
mod shard;

use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache as QuickCache;
use self_cell::{MutBorrow, self_cell};

pub use crate::buffer::MemoryPages;
pub(crate) use chunk::{Chunk, Loaded, Trust};
pub(crate) use chunks::ListNumber;

use chunks::Chunks;

use crate::buffer::{Arenas, Pool};
use crate::digest::{Digest, ListId};
use crate::error::Result;
use crate::map::SearchableLeaf;

/// The overhead of an entry in bytes: key, value, counters and its share of the tables.
const ENTRY_OVERHEAD_BYTES: u64 = 192;
/// The expected bytes of a page, used only to size the tables.
const PAGE_EXPECTED_BYTES: u64 = 32 << 10;
/// The divisors of the whole cache: the share of pages, and the share that images may keep of those.
const PAGES_PART: u64 = 2;
const KEPT_PART: u64 = 8;
/// The share of pages in a small cache, up to this many bytes. One page locates a thousand chunks, so reading
/// a page again costs more than reading a chunk.
const PAGES_SMALL_BYTES: u64 = 4 << 20;
const PAGES_SMALL_PART: (u64, u64) = (3, 4);
/// The share of arenas, for chunks of the default length. The rest leaves room for chunks of other lengths,
/// even if all pieces are idle.
const ARENAS_PART: (u64, u64) = (5, 8);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// A leaf, searchable, with this many blocks (log2).
    Leaf(u8),
    ListPage,
    LocatorPage,
}

impl KeyKind {
    fn number(self) -> u64 {
        match self {
            Self::ListPage => 1,
            Self::LocatorPage => 2,
            Self::Leaf(bits) => 3 + u64::from(bits),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    kind: KeyKind,
    digest: Digest,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Digests are uniform, so eight bytes hash as well as all.
        state.write_u64(self.digest.prefix() ^ self.kind.number());
    }
}

#[derive(Debug, Clone)]
enum Value {
    Leaf(Arc<SearchableLeaf>),
    Page(Bytes),
}

#[derive(Debug, Clone)]
struct Weigh;

impl Weighter<Key, Value> for Weigh {
    fn weight(&self, _: &Key, value: &Value) -> u64 {
        ENTRY_OVERHEAD_BYTES
            + match value {
                Value::Leaf(leaf) => leaf.bytes(),
                Value::Page(page) => page.len() as u64,
            }
    }
}

/// A cache entry pinned by an image; its bytes count until it is dropped.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    what: Arc<T>,
    bytes: u64,
    total: Arc<AtomicU64>,
}

impl<T> Kept<T> {
    pub(crate) fn get(&self) -> &T {
        &self.what
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

self_cell!(
    /// The chunks together with the arenas that hold their bytes. Chunks borrow from arenas, so that a chunk is
    /// one pointer to its bytes; that both are in one place is the reason for this crate.
    struct ChunksInArenas {
        owner: MutBorrow<Arenas>,
        #[not_covariant]
        dependent: Chunks,
    }
);

/// The cache. Clones share it; give one to every store that a process opens.
#[derive(Debug, Clone)]
pub struct Cache(Arc<Parts>);

struct Parts {
    bytes_max: u64,
    chunks: ChunksInArenas,
    pages: QuickCache<Key, Value, Weigh>,
    /// The weight of the pages when the last one was added: asking `quick_cache` is slower than a look-up.
    pages_bytes: AtomicU64,
    pages_come: Mutex<()>,
    /// The bytes of entries about to be added or pinned, for which room has been made.
    reserved_bytes: AtomicU64,
    /// The bytes pinned by images.
    kept_bytes: Arc<AtomicU64>,
    /// The number of the next store that uses this cache.
    next_store: AtomicU32,
    decoded_bytes: AtomicU64,
    decoded_chunks: AtomicU64,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("bytes", &self.bytes()).field("bytes_max", &self.bytes_max).finish()
    }
}

impl Parts {
    fn with_chunks<R>(&self, call: impl FnOnce(&Chunks<'_>) -> R) -> R {
        self.chunks.with_dependent(|_, chunks| call(chunks))
    }

    fn bytes(&self) -> u64 {
        self.with_chunks(|chunks| chunks.bytes())
            + self.pages_bytes.load(Ordering::Relaxed)
            + self.kept_bytes.load(Ordering::Relaxed)
    }

    /// Returns the bytes that chunks may take.
    fn chunks_max(&self) -> u64 {
        let pages = self.reserved_bytes.load(Ordering::Relaxed)
            + self.pages_bytes.load(Ordering::Relaxed)
            + self.kept_bytes.load(Ordering::Relaxed);
        self.bytes_max.saturating_sub(pages).saturating_sub(self.with_chunks(|chunks| chunks.idle_bytes()))
    }

    /// Makes room for an entry about to be added.
    fn reserve(&self, bytes: u64) {
        self.reserved_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.with_chunks(|chunks| chunks.shrink(self.chunks_max()));
    }

    /// Ends the reservation, whether or not the entry was added.
    fn release(&self, bytes: u64) {
        self.reserved_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Returns the bytes that pages may take in a cache of `bytes_max` bytes.
fn pages_max(bytes_max: u64) -> u64 {
    let (part, of) = PAGES_SMALL_PART;
    (bytes_max / PAGES_PART).max((bytes_max / of * part).min(PAGES_SMALL_BYTES))
}

impl Cache {
    /// Creates a cache of at most `bytes_max` bytes on huge pages.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self::with_memory(bytes_max, MemoryPages::Huge)
    }

    /// Creates a cache of at most `bytes_max` bytes on pages of this size.
    ///
    /// The cache keeps memory that it has used, for later use, until its last handle is dropped: a clone, or a
    /// store that uses it.
    #[must_use]
    pub fn with_memory(bytes_max: u64, memory: MemoryPages) -> Self {
        let pages_max = pages_max(bytes_max);
        // At least the minimum of one shard: with two small shards, one would fill up before the other.
        let pages = usize::try_from(pages_max / PAGE_EXPECTED_BYTES).unwrap_or(usize::MAX).max(32);
        let arenas_max = bytes_max / ARENAS_PART.1 * ARENAS_PART.0;
        Self(Arc::new(Parts {
            bytes_max,
            chunks: ChunksInArenas::new(MutBorrow::new(Arenas::default()), |arenas| {
                Chunks::new(bytes_max, Pool::new(arenas.borrow_mut(), arenas_max, memory))
            }),
            pages: QuickCache::with_weighter(pages, pages_max, Weigh),
            pages_bytes: AtomicU64::new(0),
            pages_come: Mutex::new(()),
            reserved_bytes: AtomicU64::new(0),
            kept_bytes: Arc::default(),
            next_store: AtomicU32::new(1),
            decoded_bytes: AtomicU64::new(0),
            decoded_chunks: AtomicU64::new(0),
        }))
    }

    /// Returns the bytes held now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// Returns the bytes decoded so far by stores with this cache, including chunks that were not cached.
    #[must_use]
    pub fn decoded_bytes(&self) -> u64 {
        self.0.decoded_bytes.load(Ordering::Relaxed)
    }

    /// Returns the number of chunks decoded so far, counted like [`Cache::decoded_bytes`].
    #[must_use]
    pub fn decoded_chunks(&self) -> u64 {
        self.0.decoded_chunks.load(Ordering::Relaxed)
    }

    /// Returns the limit, in bytes.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.0.bytes_max
    }

    pub(crate) fn add_decoded(&self, chunks: usize, bytes: usize) {
        self.0.decoded_chunks.fetch_add(chunks as u64, Ordering::Relaxed);
        self.0.decoded_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns this cache's number for a list.
    pub(crate) fn list_number(&self, id: &ListId) -> ListNumber {
        self.0.with_chunks(|chunks| chunks.list_number(id))
    }

    /// Returns a number for one more store of this cache. It takes four bytes in every cached chunk, and wraps
    /// around after four billion stores.
    pub(crate) fn new_store_number(&self) -> NonZeroU32 {
        NonZeroU32::new(self.0.next_store.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU32::MAX)
    }

    /// Calls `read` with a chunk of `len` bytes; if it is not cached, `load` fills these bytes.
    pub(crate) fn read_chunk<R>(
        &self,
        list: ListNumber,
        chunk: u64,
        len: usize,
        read: impl Fn(&Chunk<'_>) -> R,
        load: impl FnOnce(&mut [u8]) -> Result<Loaded>,
    ) -> Result<R> {
        let bytes_max = || self.0.chunks_max();
        self.0.with_chunks(|chunks| chunks.read_or_load(list, chunk, len, bytes_max, read, load))
    }

    /// Calls `read` with a chunk, if it is cached.
    pub(crate) fn try_read_cached<R>(
        &self,
        list: ListNumber,
        chunk: u64,
        read: impl FnOnce(&Chunk<'_>) -> R,
    ) -> Option<R> {
        self.0.with_chunks(|chunks| chunks.read(list, chunk, read))
    }

    /// Loads the `len` bytes of a chunk anew and calls `read` with it. Unless that fails, the chunk replaces the
    /// cached one, which lacks the needed blocks or trust.
    pub(crate) fn replace_chunk<R>(
        &self,
        list: ListNumber,
        chunk: u64,
        len: usize,
        read: impl FnOnce(&Chunk<'_>) -> Result<R>,
        load: impl FnOnce(&mut [u8]) -> Result<Loaded>,
    ) -> Result<R> {
        let bytes_max = || self.0.chunks_max();
        self.0.with_chunks(|chunks| chunks.replace(list, chunk, len, bytes_max, read, load))
    }

    pub(crate) fn leaf(
        &self,
        digest: Digest,
        leaf_bits: u8,
        load: impl FnOnce() -> Result<SearchableLeaf>,
    ) -> Result<Arc<SearchableLeaf>> {
        let key = Key { kind: KeyKind::Leaf(leaf_bits), digest };
        match self.value(&key, || load().map(|leaf| Value::Leaf(Arc::new(leaf))))? {
            Value::Leaf(leaf) => Ok(leaf),
            Value::Page(_) => unreachable!("the key's kind says what the value is"),
        }
    }

    /// Pins an entry of `bytes` bytes for as long as its image is open, if there is room.
    pub(crate) fn keep<T>(&self, what: &Arc<T>, bytes: u64) -> Option<Kept<T>> {
        let (total, bytes_max) = (&self.0.kept_bytes, self.0.bytes_max / KEPT_PART);
        let more = |kept: u64| Some(kept + bytes).filter(|kept| *kept <= bytes_max);
        more(total.load(Ordering::Relaxed))?;
        self.0.reserve(bytes);
        let is_kept = total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        self.0.release(bytes);
        is_kept.then(|| Kept { what: what.clone(), bytes, total: total.clone() })
    }

    pub(crate) fn page(
        &self,
        kind: KeyKind,
        digest: Digest,
        load: impl FnOnce() -> Result<Bytes>,
    ) -> Result<Bytes> {
        match self.value(&Key { kind, digest }, || load().map(Value::Page))? {
            Value::Page(page) => Ok(page),
            Value::Leaf(_) => unreachable!("the key's kind says what the value is"),
        }
    }

    fn value(&self, key: &Key, load: impl FnOnce() -> Result<Value>) -> Result<Value> {
        let mut coming = 0;
        let value = self.0.pages.get_or_insert_with(key, || {
            let value = load()?;
            coming = Weigh.weight(key, &value);
            self.0.reserve(coming);
            Ok(value)
        });
        if coming > 0 {
            // Serialised, so that the last stored weight is also the latest.
            let _one = self.0.pages_come.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.pages_bytes.store(self.0.pages.weight(), Ordering::Relaxed);
            self.0.release(coming);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 4096;

    fn load(cache: &Cache, list: ListNumber, byte: u8, store: NonZeroU32) {
        let load = |plain: &mut [u8]| {
            plain.fill(byte);
            Ok(Loaded { held: None, trust: Trust::Guarded(store) })
        };
        cache.read_chunk(list, 0, LEN, |_| (), load).expect("it is loaded");
    }

    #[test]
    fn numbers_of_lists_and_stores_mean_something_in_their_own_cache_alone() {
        let caches = [Cache::new(1 << 20), Cache::new(1 << 20)];
        let stores = caches.each_ref().map(Cache::new_store_number);
        assert_eq!(stores[0], stores[1], "each cache counts its own");
        assert_ne!(stores[0], caches[0].new_store_number());
        let list = caches[0].list_number(&ListId::ZERO);
        load(&caches[0], list, 7, stores[0]);
        let read = |chunk: &Chunk<'_>| (chunk.bytes()[0], chunk.trust());
        assert_eq!(caches[1].try_read_cached(list, 0, read), None, "the other cache has no such list");
        load(&caches[1], list, 8, caches[1].new_store_number());
        assert_eq!(caches[0].try_read_cached(list, 0, read), Some((7, Trust::Guarded(stores[0]))));
    }
}
