//! The cache of decoded chunks. Reads share their shard's lock; a missing chunk is loaded once, however many
//! readers wait for it.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use super::shard::{Key, Shard, mix};
use super::{Chunk, Loaded};
use crate::buffer::Pool;
use crate::digest::ListId;
use crate::error::Result;

/// The minimum bytes of a shard: enough for the largest chunk, and for the eviction policy to work.
const SHARD_BYTES_MIN: u64 = 32 << 20;
const SHARDS_MAX: u64 = 64;

/// A list's number in its cache, which identifies its chunks in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListNumber(u32);

/// The chunks of all lists, and the pool of their memory.
#[derive(Debug)]
pub(super) struct Chunks<'a> {
    shards: Box<[Locked<'a>]>,
    lists: Mutex<HashMap<ListId, u32>>,
    pool: Pool<'a>,
}

#[derive(Debug, Default)]
struct Locked<'a> {
    shard: RwLock<Shard<'a>>,
    loading: Mutex<LoadingKeys>,
    loaded: Condvar,
}

/// The chunks being loaded, and the number of readers waiting for one of them.
#[derive(Debug, Default)]
struct LoadingKeys {
    /// One key per loading reader, so the list is short.
    keys: Vec<Key>,
    waiting: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Chunks<'a> {
    /// Creates a table for `bytes_max` bytes of chunks, which take their memory from `pool`.
    pub fn new(bytes_max: u64, pool: Pool<'a>) -> Self {
        // A power of two, so that a few bits of a key select the shard.
        let shards = (bytes_max / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        let shards = 1u64 << shards.ilog2();
        Self { shards: (0..shards).map(|_| Locked::default()).collect(), lists: Mutex::default(), pool }
    }

    /// Returns the number of a list, which is the same for all callers.
    pub fn list_number(&self, id: &ListId) -> ListNumber {
        let mut lists = lock(&self.lists);
        let next = lists.len() as u32;
        ListNumber(*lists.entry(*id).or_insert(next))
    }

    /// Returns the bytes held.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(|locked| locked.read().bytes()).sum()
    }

    /// Returns the bytes of the pool that no chunk uses.
    pub fn idle_bytes(&self) -> u64 {
        self.pool.idle_bytes()
    }

    /// Returns the shard of a chunk, and its key there. Consecutive chunks of a list go to different shards,
    /// which balances the load; each list starts at a different shard.
    fn place(&self, list: ListNumber, chunk: u64) -> (&Locked<'a>, Key) {
        let list = u64::from(list.0);
        let shard = mix(list).wrapping_add(chunk) as usize & (self.shards.len() - 1);
        // A list has at most 2^24 chunks, so the halves of the key do not overlap.
        (&self.shards[shard], list << 32 | chunk >> self.shards.len().ilog2())
    }

    /// Calls `read` with a chunk, if it is cached.
    pub fn read<R>(&self, list: ListNumber, chunk: u64, read: impl FnOnce(&Chunk<'_>) -> R) -> Option<R> {
        let (locked, key) = self.place(list, chunk);
        locked.read().get(key).map(read)
    }

    /// Calls `read` with a chunk. If it is not cached, one reader loads its `len` bytes while the others wait.
    /// All chunks together may take `bytes_max` bytes.
    #[inline]
    pub fn read_or_load<R>(
        &self,
        list: ListNumber,
        chunk: u64,
        len: usize,
        bytes_max: impl Fn() -> u64,
        read: impl Fn(&Chunk<'_>) -> R,
        load: impl FnOnce(&mut [u8]) -> Result<Loaded>,
    ) -> Result<R> {
        let (locked, key) = self.place(list, chunk);
        if let Some(found) = locked.read().get(key).map(&read) {
            return Ok(found);
        }
        self.load(locked, key, len, bytes_max, read, load)
    }

    /// Out of line, to keep the hit path small.
    #[cold]
    #[inline(never)]
    fn load<R>(
        &self,
        locked: &Locked<'a>,
        key: Key,
        len: usize,
        bytes_max: impl Fn() -> u64,
        read: impl Fn(&Chunk<'_>) -> R,
        load: impl FnOnce(&mut [u8]) -> Result<Loaded>,
    ) -> Result<R> {
        let _loading = locked.begin(key);
        // Another reader may have loaded it between the first lookup and `begin`.
        if let Some(found) = locked.read().get(key).map(&read) {
            return Ok(found);
        }
        let mut bytes = self.pool.buffer(len);
        let loaded = load(&mut bytes)?;
        let chunk = Chunk::new(bytes.into_memory(), loaded);
        let found = read(&chunk);
        locked.insert(key, chunk, &self.pool, || bytes_max() / self.shards.len() as u64);
        Ok(found)
    }

    /// Loads the `len` bytes of a chunk anew and calls `read` with it. Unless that fails, the chunk replaces the
    /// cached one, which lacks the needed blocks or trust.
    pub fn replace<R>(
        &self,
        list: ListNumber,
        chunk: u64,
        len: usize,
        bytes_max: impl Fn() -> u64,
        read: impl FnOnce(&Chunk<'_>) -> Result<R>,
        load: impl FnOnce(&mut [u8]) -> Result<Loaded>,
    ) -> Result<R> {
        let (locked, key) = self.place(list, chunk);
        let mut bytes = self.pool.buffer(len);
        let loaded = load(&mut bytes)?;
        let chunk = Chunk::new(bytes.into_memory(), loaded);
        let found = read(&chunk);
        if found.is_ok() {
            locked.insert(key, chunk, &self.pool, || bytes_max() / self.shards.len() as u64);
        } else {
            chunk.give_back(&self.pool);
        }
        found
    }

    /// Evicts chunks until all together take at most `bytes_max` bytes.
    pub fn shrink(&self, bytes_max: u64) {
        let each_max = bytes_max / self.shards.len() as u64;
        for locked in &self.shards {
            if locked.read().bytes() > each_max {
                locked.shard.write().unwrap_or_else(PoisonError::into_inner).shrink(each_max, &self.pool);
            }
        }
    }
}

/// A reader's exclusive right to load a chunk.
struct Loading<'l, 'a> {
    locked: &'l Locked<'a>,
    key: Key,
}

impl Drop for Loading<'_, '_> {
    fn drop(&mut self) {
        let mut loading = lock(&self.locked.loading);
        loading.keys.retain(|key| *key != self.key);
        // `notify_all` is a system call even without waiters.
        if loading.waiting > 0 {
            self.locked.loaded.notify_all();
        }
    }
}

impl<'a> Locked<'a> {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Shard<'a>> {
        self.shard.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other reader loads the chunk, then claims it.
    fn begin(&self, key: Key) -> Loading<'_, 'a> {
        let mut loading = lock(&self.loading);
        while loading.keys.contains(&key) {
            loading.waiting += 1;
            loading = self.loaded.wait(loading).unwrap_or_else(PoisonError::into_inner);
            loading.waiting -= 1;
        }
        loading.keys.push(key);
        Loading { locked: self, key }
    }

    /// `bytes_max` is evaluated under the lock, so that a concurrent `shrink` either sees this chunk or is
    /// already reflected in the limit.
    fn insert(&self, key: Key, chunk: Chunk<'a>, pool: &Pool<'a>, bytes_max: impl Fn() -> u64) {
        let mut shard = self.shard.write().unwrap_or_else(PoisonError::into_inner);
        shard.insert(key, chunk, pool);
        shard.shrink(bytes_max(), pool);
    }
}
