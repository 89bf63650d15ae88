//! Decoded chunks: read under their shard's lock, loaded once however many wait for one.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use super::Chunk;
use super::shard::{Key, Shard, mix};
use crate::digest::Digest;
use crate::error::Result;

/// Bytes of a shard at least: enough for the largest chunk, and for its policy to work.
const SHARD_BYTES_MIN: u64 = 32 << 20;
const SHARDS_MAX: u64 = 64;

/// What there is of a list's chunks in the cache, by its number in the process.
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

/// Which chunks are being loaded, and how many readers wait for one of them.
#[derive(Debug, Default)]
struct LoadingKeys {
    /// As many as there are readers that load: few.
    keys: Vec<Key>,
    waiting: usize,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Chunks {
    pub fn new(bytes_max: u64) -> Self {
        // A power of two, so that a few bits of a key tell the shard.
        let shards = (bytes_max / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        let shards = 1u64 << shards.ilog2();
        Self { shards: (0..shards).map(|_| Locked::default()).collect(), lists: Mutex::default() }
    }

    /// The number of a list, which is the same for all who ask.
    pub fn list_number(&self, id: &Digest) -> ListNumber {
        let mut lists = held(&self.lists);
        let next = lists.len() as u32;
        ListNumber(*lists.entry(*id).or_insert(next))
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(|locked| locked.read().bytes()).sum()
    }

    /// The shard of a chunk, and its key there. A list's chunks are dealt out in turn, so that all shards
    /// have as much to hold; lists begin at different ones.
    fn place(&self, list: ListNumber, chunk: u64) -> (&Locked, Key) {
        let list = u64::from(list.0);
        let shard = mix(list).wrapping_add(chunk) as usize & (self.shards.len() - 1);
        // Lists have at most 2^24 chunks.
        (&self.shards[shard], list << 32 | chunk >> self.shards.len().ilog2())
    }

    /// Calls `read` with a chunk, if it is here.
    pub fn read<R>(&self, list: ListNumber, chunk: u64, read: impl FnOnce(&Chunk) -> R) -> Option<R> {
        let (locked, key) = self.place(list, chunk);
        locked.read().get(key).map(read)
    }

    /// The same; a chunk that is not here is loaded first, by one of those who want it while the
    /// others wait. All chunks together may take `bytes_max` bytes.
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

    /// Apart, so that a hit does not carry the weight of a miss.
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
        // It may have come between the first look and the beginning.
        if let Some(found) = locked.read().get(key).map(&read) {
            return Ok(found);
        }
        let loaded = load()?;
        let found = read(&loaded);
        locked.insert(key, loaded, || bytes_max() / self.shards.len() as u64);
        Ok(found)
    }

    /// Puts a chunk in the place of one that was less than what is wanted.
    pub fn replace(&self, list: ListNumber, chunk: u64, bytes_max: impl Fn() -> u64, loaded: Chunk) {
        let (locked, key) = self.place(list, chunk);
        locked.insert(key, loaded, || bytes_max() / self.shards.len() as u64);
    }

    /// Lets chunks go until all together take no more than `bytes_max` bytes.
    pub fn shrink(&self, bytes_max: u64) {
        let each_max = bytes_max / self.shards.len() as u64;
        for locked in &self.shards {
            if locked.read().bytes() > each_max {
                locked.shard.write().unwrap_or_else(PoisonError::into_inner).shrink(each_max);
            }
        }
    }
}

/// One reader's turn to load a chunk.
struct Loading<'a> {
    locked: &'a Locked,
    key: Key,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let mut loading = held(&self.locked.loading);
        loading.keys.retain(|key| *key != self.key);
        // Waking nobody is a call to the kernel all the same.
        if loading.waiting > 0 {
            self.locked.loaded.notify_all();
        }
    }
}

impl Locked {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Shard> {
        self.shard.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody loads the chunk; then it is this one's turn.
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

    /// `bytes_max` is asked under the lock: who makes room later finds the chunk, who did it before is heeded.
    fn insert(&self, key: Key, chunk: Chunk, bytes_max: impl Fn() -> u64) {
        let mut shard = self.shard.write().unwrap_or_else(PoisonError::into_inner);
        shard.insert(key, chunk);
        shard.shrink(bytes_max());
    }
}
