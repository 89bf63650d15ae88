//! The cache of decoded chunks. Reads share their shard's lock; a missing chunk is loaded once, however many
//! readers wait for it.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use super::Chunk;
use super::shard::{Key, Shard, mix};
use crate::digest::Digest;
use crate::error::Result;

/// The minimum bytes of a shard: enough for the largest chunk, and for the eviction policy to work.
const SHARD_BYTES_MIN: u64 = 32 << 20;
const SHARDS_MAX: u64 = 64;

/// A list's number in the process, which identifies its chunks in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListNumber(u32);

/// The chunks of all lists.
#[derive(Debug)]
pub(super) struct Chunks {
    shards: Box<[Locked]>,
    lists: Mutex<HashMap<Digest, u32>>,
}

#[derive(Debug, Default)]
struct Locked {
    shard: RwLock<Shard>,
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

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Chunks {
    pub fn new(bytes_max: u64) -> Self {
        // A power of two, so that a few bits of a key select the shard.
        let shards = (bytes_max / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        let shards = 1u64 << shards.ilog2();
        Self { shards: (0..shards).map(|_| Locked::default()).collect(), lists: Mutex::default() }
    }

    /// Returns the number of a list, which is the same for all callers.
    pub fn list_number(&self, id: &Digest) -> ListNumber {
        let mut lists = held(&self.lists);
        let next = lists.len() as u32;
        ListNumber(*lists.entry(*id).or_insert(next))
    }

    /// Returns the bytes held.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(|locked| locked.read().bytes()).sum()
    }

    /// Returns the shard of a chunk, and its key there. Consecutive chunks of a list go to different shards,
    /// which balances the load; each list starts at a different shard.
    fn place(&self, list: ListNumber, chunk: u64) -> (&Locked, Key) {
        let list = u64::from(list.0);
        let shard = mix(list).wrapping_add(chunk) as usize & (self.shards.len() - 1);
        // A list has at most 2^24 chunks, so the halves of the key do not overlap.
        (&self.shards[shard], list << 32 | chunk >> self.shards.len().ilog2())
    }

    /// Calls `read` with a chunk, if it is cached.
    pub fn read<R>(&self, list: ListNumber, chunk: u64, read: impl FnOnce(&Chunk) -> R) -> Option<R> {
        let (locked, key) = self.place(list, chunk);
        locked.read().get(key).map(read)
    }

    /// Calls `read` with a chunk. If it is not cached, one reader loads it while the others wait. All chunks
    /// together may take `bytes_max` bytes.
    #[inline]
    pub fn read_or_load<R>(
        &self,
        list: ListNumber,
        chunk: u64,
        bytes_max: impl Fn() -> u64,
        read: impl Fn(&Chunk) -> R,
        load: impl FnOnce() -> Result<Chunk>,
    ) -> Result<R> {
        let (locked, key) = self.place(list, chunk);
        if let Some(found) = locked.read().get(key).map(&read) {
            return Ok(found);
        }
        self.load(locked, key, bytes_max, read, load)
    }

    /// Out of line, to keep the hit path small.
    #[cold]
    #[inline(never)]
    fn load<R>(
        &self,
        locked: &Locked,
        key: Key,
        bytes_max: impl Fn() -> u64,
        read: impl Fn(&Chunk) -> R,
        load: impl FnOnce() -> Result<Chunk>,
    ) -> Result<R> {
        let _loading = locked.begin(key);
        // Another reader may have loaded it between the first lookup and `begin`.
        if let Some(found) = locked.read().get(key).map(&read) {
            return Ok(found);
        }
        let loaded = load()?;
        let found = read(&loaded);
        locked.insert(key, loaded, || bytes_max() / self.shards.len() as u64);
        Ok(found)
    }

    /// Replaces a cached chunk that lacks the needed blocks or trust.
    pub fn replace(&self, list: ListNumber, chunk: u64, bytes_max: impl Fn() -> u64, loaded: Chunk) {
        let (locked, key) = self.place(list, chunk);
        locked.insert(key, loaded, || bytes_max() / self.shards.len() as u64);
    }

    /// Evicts chunks until all together take at most `bytes_max` bytes.
    pub fn shrink(&self, bytes_max: u64) {
        let each_max = bytes_max / self.shards.len() as u64;
        for locked in &self.shards {
            if locked.read().bytes() > each_max {
                locked.shard.write().unwrap_or_else(PoisonError::into_inner).shrink(each_max);
            }
        }
    }
}

/// A reader's exclusive right to load a chunk.
struct Loading<'a> {
    locked: &'a Locked,
    key: Key,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let mut loading = held(&self.locked.loading);
        loading.keys.retain(|key| *key != self.key);
        // `notify_all` is a system call even without waiters.
        if loading.waiting > 0 {
            self.locked.loaded.notify_all();
        }
    }
}

impl Locked {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Shard> {
        self.shard.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other reader loads the chunk, then claims it.
    fn begin(&self, key: Key) -> Loading<'_> {
        let mut loading = held(&self.loading);
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
    fn insert(&self, key: Key, chunk: Chunk, bytes_max: impl Fn() -> u64) {
        let mut shard = self.shard.write().unwrap_or_else(PoisonError::into_inner);
        shard.insert(key, chunk);
        shard.shrink(bytes_max());
    }
}
