//! One bounded memory of decoded chunks and checked pages for all images of a process.
//!
//! Keyed by digest: ten appliances on one base hold the base's hot chunks once. The bound counts
//! content and a fixed overhead an entry. Of several readers that miss the same key at once, one
//! loads and the others wait for it. The eviction policy is `quick_cache`'s S3-FIFO with ghosts.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache as QuickCache;

use crate::digest::Digest;
use crate::error::Result;
use crate::map::SearchableLeaf;

/// What an entry costs beyond its content: key, value, counters and its share of the tables.
const ENTRY_OVERHEAD_BYTES: u64 = 192;
/// For sizing the tables only.
const ENTRY_EXPECTED_BYTES: u64 = 32 << 10;

/// A chunk's blocks as decoded.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    /// All the chunk's bytes; those of absent blocks are zero.
    pub bytes: Bytes,
    /// Where the store holds only some of the blocks: their mask.
    pub held: Option<Arc<[u8]>>,
    /// How far the blocks can be trusted.
    pub trust: Trust,
}

/// How far a cached chunk can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Its blocks were checked against the chunk id: for everybody.
    Proved,
    /// Its frame was checked against the guard that this store (by number in the process) gives:
    /// for that store alone.
    Guarded(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Chunk,
    /// A leaf, made searchable as one of so many blocks (log2).
    Leaf(u8),
    ListPage,
    LocatorPage,
}

impl KeyKind {
    fn number(self) -> u64 {
        match self {
            Self::Chunk => 0,
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
        // Digests are uniform already: eight bytes of one are as good as all.
        state.write_u64(self.digest.prefix() ^ self.kind.number());
    }
}

#[derive(Debug, Clone)]
enum Value {
    Chunk(Chunk),
    Leaf(Arc<SearchableLeaf>),
    Page(Bytes),
}

#[derive(Debug, Clone)]
struct Weigh;

impl Weighter<Key, Value> for Weigh {
    fn weight(&self, _: &Key, value: &Value) -> u64 {
        ENTRY_OVERHEAD_BYTES
            + match value {
                Value::Chunk(chunk) => {
                    (chunk.bytes.len() + chunk.held.as_ref().map_or(0, |mask| mask.len())) as u64
                }
                Value::Leaf(leaf) => leaf.bytes(),
                Value::Page(page) => page.len() as u64,
            }
    }
}

/// The cache. Clones share it; give one to every store that a process opens.
#[derive(Clone)]
pub struct Cache(Arc<QuickCache<Key, Value, Weigh>>);

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("bytes", &self.bytes()).field("bytes_max", &self.0.capacity()).finish()
    }
}

impl Cache {
    /// A cache that holds at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        let entries = usize::try_from(bytes_max / ENTRY_EXPECTED_BYTES).unwrap_or(usize::MAX).max(64);
        Self(Arc::new(QuickCache::with_weighter(entries, bytes_max, Weigh)))
    }

    /// Bytes held now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.weight()
    }

    pub(crate) fn chunk(&self, id: Digest, load: impl FnOnce() -> Result<Chunk>) -> Result<Chunk> {
        let key = Key { kind: KeyKind::Chunk, digest: id };
        match self.0.get_or_insert_with(&key, || load().map(Value::Chunk))? {
            Value::Chunk(chunk) => Ok(chunk),
            _ => unreachable!("the key's kind says what the value is"),
        }
    }

    /// Puts a chunk in the place of one that was less than what is wanted.
    pub(crate) fn replace_chunk(&self, id: Digest, chunk: Chunk) {
        self.0.insert(Key { kind: KeyKind::Chunk, digest: id }, Value::Chunk(chunk));
    }

    pub(crate) fn peek_chunk(&self, id: Digest) -> Option<Chunk> {
        match self.0.get(&Key { kind: KeyKind::Chunk, digest: id }) {
            Some(Value::Chunk(chunk)) => Some(chunk),
            _ => None,
        }
    }

    pub(crate) fn leaf(
        &self,
        digest: Digest,
        leaf_bits: u8,
        load: impl FnOnce() -> Result<SearchableLeaf>,
    ) -> Result<Arc<SearchableLeaf>> {
        let key = Key { kind: KeyKind::Leaf(leaf_bits), digest };
        match self.0.get_or_insert_with(&key, || load().map(|leaf| Value::Leaf(Arc::new(leaf))))? {
            Value::Leaf(leaf) => Ok(leaf),
            _ => unreachable!("the key's kind says what the value is"),
        }
    }

    pub(crate) fn page(
        &self,
        kind: KeyKind,
        digest: Digest,
        load: impl FnOnce() -> Result<Bytes>,
    ) -> Result<Bytes> {
        match self.0.get_or_insert_with(&Key { kind, digest }, || load().map(Value::Page))? {
            Value::Page(page) => Ok(page),
            _ => unreachable!("the key's kind says what the value is"),
        }
    }
}
