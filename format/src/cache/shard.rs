//! One shard of the chunk cache: its entries and their eviction order. Pure: no locks.
//!
//! The policy is S3-FIFO (Yang and others, "FIFO queues are all you need for cache eviction", SOSP 2023). A
//! chunk enters a small queue. If it is read again there, it moves to the main queue; otherwise it is
//! evicted, but its key is remembered. If it returns, it enters the main queue directly. Hence one sequential
//! read of a disk evicts no hot chunk. A hit sets one flag and moves nothing.
//!
//! Chunks lie by number in tables of [`TABLE_LEN`]. A hit touches 17 bytes per chunk, against 48 and more in
//! a hash map. For a gigabyte of chunks that is half a megabyte, which stays in the CPU cache while gigabytes
//! of chunks stream through it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU8, Ordering};

use super::Chunk;
use crate::buffer::Pool;

/// The overhead of a chunk beyond its bytes and its table: its slots in the queues and in the allocator.
const OVERHEAD_BYTES: u64 = 128;
/// log2 of the chunks in a table.
const TABLE_BITS: u32 = 6;
const TABLE_LEN: usize = 1 << TABLE_BITS;
const TABLE_BYTES: u64 = size_of::<Table<'static>>() as u64 + 64;
/// The small queue's share of the bytes: one part in this many.
const SMALL_PART: u64 = 10;
/// The minimum number of keys remembered after eviction from the small queue.
const GONE_MIN: usize = 64;

/// The list's number in the cache (upper half), and the chunk's number among the list's chunks in this
/// shard.
pub(super) type Key = u64;

/// A hasher for keys whose parts count up from zero.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64")
    }

    fn write_u64(&mut self, key: Key) {
        self.0 = mix(key);
    }
}

/// Spreads all bits of the key over the result: a multiplication, folded in half.
pub(super) fn mix(key: Key) -> u64 {
    let product = u128::from(key) * 0x9e37_79b9_7f4a_7c15;
    (product >> 64) as u64 ^ product as u64
}

pub(super) type KeyState = BuildHasherDefault<KeyHasher>;

/// The chunk was read since it entered a queue.
const USED: u8 = 1;
/// The chunk is in the main queue.
const MAIN: u8 = 2;

/// A range of neighbouring chunks, with those of them that are cached.
#[derive(Debug)]
struct Table<'a> {
    chunks: [Option<Chunk<'a>>; TABLE_LEN],
    marks: [AtomicU8; TABLE_LEN],
    held: usize,
}

impl Default for Table<'_> {
    fn default() -> Self {
        Self { chunks: [const { None }; TABLE_LEN], marks: [const { AtomicU8::new(0) }; TABLE_LEN], held: 0 }
    }
}

fn place(key: Key) -> (Key, usize) {
    (key >> TABLE_BITS, key as usize % TABLE_LEN)
}

/// A shard; its caller bounds it through [`Shard::shrink`].
#[derive(Debug, Default)]
pub(super) struct Shard<'a> {
    /// The tables, by the upper bits of the key; none is empty.
    tables: HashMap<Key, Box<Table<'a>>, KeyState>,
    /// The number of chunks.
    len: usize,
    /// Both queues are in order of arrival; each chunk is in exactly one of them.
    small: VecDeque<Key>,
    main: VecDeque<Key>,
    small_bytes: u64,
    main_bytes: u64,
    gone: Gone,
}

/// The keys recently evicted from the small queue.
#[derive(Debug, Default)]
struct Gone {
    order: VecDeque<Key>,
    keys: HashSet<Key, KeyState>,
}

impl Gone {
    fn add(&mut self, key: Key, max: usize) {
        if self.keys.insert(key) {
            self.order.push_back(key);
        }
        while self.order.len() > max {
            self.order.pop_front().map(|key| self.keys.remove(&key));
        }
    }
}

fn weight(chunk: &Chunk<'_>) -> u64 {
    (chunk.bytes().len() + chunk.present().map_or(0, <[u8]>::len)) as u64 + OVERHEAD_BYTES
}

impl<'a> Shard<'a> {
    /// Returns a chunk and marks it as used.
    pub fn get(&self, key: Key) -> Option<&Chunk<'a>> {
        let (table, at) = place(key);
        let table = self.tables.get(&table)?;
        let chunk = table.chunks[at].as_ref()?;
        // Usually already set; an unconditional store would take the cache line from other readers.
        if table.marks[at].load(Ordering::Relaxed) & USED == 0 {
            table.marks[at].fetch_or(USED, Ordering::Relaxed);
        }
        Some(chunk)
    }

    /// Returns the bytes held.
    pub fn bytes(&self) -> u64 {
        self.small_bytes + self.main_bytes + self.tables.len() as u64 * TABLE_BYTES
    }

    /// Inserts a chunk of memory of `pool`, replacing any chunk with the same key.
    pub fn insert(&mut self, key: Key, chunk: Chunk<'a>, pool: &Pool<'a>) {
        let bytes = weight(&chunk);
        let (number, at) = place(key);
        let table = self.tables.entry(number).or_default();
        let mark = table.marks[at].get_mut();
        match table.chunks[at].replace(chunk) {
            Some(replaced) => {
                let held = if *mark & MAIN == 0 { &mut self.small_bytes } else { &mut self.main_bytes };
                *held = *held + bytes - weight(&replaced);
                replaced.give_back(pool);
            }
            None => {
                table.held += 1;
                self.len += 1;
                if self.gone.keys.contains(&key) {
                    *mark = MAIN;
                    self.main.push_back(key);
                    self.main_bytes += bytes;
                } else {
                    *mark = 0;
                    self.small.push_back(key);
                    self.small_bytes += bytes;
                }
            }
        }
    }

    /// Evicts chunks until at most `bytes_max` bytes are held.
    pub fn shrink(&mut self, bytes_max: u64, pool: &Pool<'a>) {
        while self.bytes() > bytes_max {
            let is_small = self.small_bytes > bytes_max / SMALL_PART || self.main.is_empty();
            let key = if is_small { self.small.pop_front() } else { self.main.pop_front() };
            let Some(key) = key else { return };
            let (number, at) = place(key);
            let Some(table) = self.tables.get_mut(&number) else { continue };
            let bytes = table.chunks[at].as_ref().map_or(0, weight);
            let mark = table.marks[at].get_mut();
            let is_used = *mark & USED != 0;
            *mark = MAIN;
            if is_small {
                self.small_bytes -= bytes;
            } else {
                self.main_bytes -= bytes;
            }
            if is_used {
                self.main_bytes += bytes;
                self.main.push_back(key);
                continue;
            }
            if let Some(chunk) = self.remove(number, at) {
                chunk.give_back(pool);
            }
            if is_small {
                self.gone.add(key, self.len.max(GONE_MIN));
            }
        }
    }

    fn remove(&mut self, number: Key, at: usize) -> Option<Chunk<'a>> {
        let Entry::Occupied(mut table) = self.tables.entry(number) else { return None };
        let removed = table.get_mut().chunks[at].take();
        table.get_mut().held -= 1;
        self.len -= 1;
        if table.get().held == 0 {
            table.remove();
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::{Arenas, Kept, Memory, MemoryPages};
    use crate::cache::{Loaded, Trust};

    const LEN: usize = 4096;
    const EACH: u64 = LEN as u64 + OVERHEAD_BYTES + TABLE_BYTES;

    fn chunk(len: usize) -> Chunk<'static> {
        Chunk::new(Memory::Other(Kept::new(len)), Loaded { held: None, trust: Trust::Proved })
    }

    fn add<'a>(shard: &mut Shard<'a>, pool: &Pool<'a>, key: Key, bytes_max: u64) {
        shard.insert(key, chunk(LEN), pool);
        shard.shrink(bytes_max, pool);
    }

    fn check(shard: &Shard<'_>) {
        let queued: HashSet<_> = shard.small.iter().chain(&shard.main).copied().collect();
        assert_eq!(queued.len(), shard.small.len() + shard.main.len(), "a key is queued once");
        let mut held = HashSet::new();
        let mut bytes = [0, 0];
        for (number, table) in &shard.tables {
            let chunks = table.chunks.iter().zip(&table.marks).enumerate();
            let chunks: Vec<_> =
                chunks.filter_map(|(at, (chunk, mark))| Some((at, chunk.as_ref()?, mark))).collect();
            assert_eq!(chunks.len(), table.held);
            assert!(table.held > 0);
            for (at, chunk, mark) in chunks {
                held.insert(number << TABLE_BITS | at as u64);
                bytes[usize::from(mark.load(Ordering::Relaxed) & MAIN != 0)] += weight(chunk);
            }
        }
        assert_eq!((queued, held.len()), (held, shard.len));
        assert_eq!(bytes, [shard.small_bytes, shard.main_bytes]);
    }

    #[test]
    fn what_is_read_again_outlasts_a_scan() {
        let mut arenas = Arenas::default();
        let pool = Pool::new(&mut arenas, 0, MemoryPages::Huge);
        let (mut shard, max) = (Shard::default(), 20 * EACH);
        for key in 0..10 {
            add(&mut shard, &pool, key, max);
            assert!(shard.get(key).is_some());
        }
        for key in 1000..2000 {
            add(&mut shard, &pool, key, max);
            check(&shard);
            assert!(shard.bytes() <= max);
        }
        assert!((0..10).all(|key| shard.get(key).is_some()));
    }

    #[test]
    fn what_comes_back_soon_stays() {
        let mut arenas = Arenas::default();
        let pool = Pool::new(&mut arenas, 0, MemoryPages::Huge);
        let (mut shard, max) = (Shard::default(), 20 * EACH);
        (0..40).for_each(|key| add(&mut shard, &pool, key, max));
        assert!(shard.get(0).is_none());
        add(&mut shard, &pool, 0, max);
        (100..200).for_each(|key| add(&mut shard, &pool, key, max));
        check(&shard);
        assert!(shard.get(0).is_some());
    }

    #[test]
    fn bytes_are_counted_right_when_chunks_are_replaced_and_all_leave() {
        let mut arenas = Arenas::default();
        let pool = Pool::new(&mut arenas, 0, MemoryPages::Huge);
        let mut shard = Shard::default();
        for key in 0..8 {
            shard.insert(key % 4, chunk(LEN * (1 + key as usize)), &pool);
            check(&shard);
        }
        shard.shrink(3 * EACH, &pool);
        check(&shard);
        shard.shrink(0, &pool);
        assert_eq!((shard.bytes(), shard.len), (0, 0));
    }
}
