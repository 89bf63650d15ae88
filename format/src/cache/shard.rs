//! One shard of the chunks that are held: which of them, and which goes first. Pure: no locks.
//!
//! The policy is S3-FIFO (Yang and others, "FIFO queues are all you need for cache eviction", SOSP
//! 2023): a chunk enters a small queue; one that is read again there moves to the main queue, one that
//! is not leaves, and is remembered: if it comes back, it enters the main queue. So one read of a whole
//! disk pushes out nothing that is used. A hit changes one flag, and nothing moves.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};

use super::Chunk;

/// What a chunk costs beyond its bytes: its slot, its places in the queue and in the allocator.
const OVERHEAD_BYTES: u64 = 256;
/// The small queue's share of the bytes.
const SMALL_PART: u64 = 10;
/// Chunks that have left the small queue are remembered at least so many.
const GONE_MIN: usize = 64;

/// A list's number in the process and a chunk's number in the list.
pub(super) type Key = u64;

/// Mixes a key whose parts count up from zero.
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

/// All bits of the key in all bits of what it gives: a multiplication folded in half.
pub(super) fn mix(key: Key) -> u64 {
    let product = u128::from(key) * 0x9e37_79b9_7f4a_7c15;
    (product >> 64) as u64 ^ product as u64
}

pub(super) type KeyState = BuildHasherDefault<KeyHasher>;

#[derive(Debug)]
struct Slot {
    chunk: Chunk,
    /// Read since it was last thought of leaving.
    is_used: AtomicBool,
    is_main: bool,
}

/// Chunks, bounded in bytes by whoever calls [`Shard::shrink`].
#[derive(Debug, Default)]
pub(super) struct Shard {
    slots: HashMap<Key, Slot, KeyState>,
    /// Both in the order of arrival; every key of `slots` is in one of them, once.
    small: VecDeque<Key>,
    main: VecDeque<Key>,
    small_bytes: u64,
    main_bytes: u64,
    gone: Gone,
}

/// Keys that left the small queue lately.
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

fn weight(chunk: &Chunk) -> u64 {
    (chunk.bytes.len() + chunk.held.as_ref().map_or(0, |mask| mask.len())) as u64 + OVERHEAD_BYTES
}

impl Shard {
    /// A chunk, which counts as used from now on.
    pub fn get(&self, key: Key) -> Option<&Chunk> {
        let slot = self.slots.get(&key)?;
        // Mostly it is set already: a store would take the line from the other readers.
        if !slot.is_used.load(Ordering::Relaxed) {
            slot.is_used.store(true, Ordering::Relaxed);
        }
        Some(&slot.chunk)
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.small_bytes + self.main_bytes
    }

    /// Puts a chunk in, in the place of the one with its key if there is one.
    pub fn insert(&mut self, key: Key, chunk: Chunk) {
        let bytes = weight(&chunk);
        match self.slots.entry(key) {
            Entry::Occupied(mut slot) => {
                let slot = slot.get_mut();
                let held = if slot.is_main { &mut self.main_bytes } else { &mut self.small_bytes };
                *held = *held + bytes - weight(&slot.chunk);
                slot.chunk = chunk;
            }
            Entry::Vacant(slot) => {
                let is_main = self.gone.keys.contains(&key);
                slot.insert(Slot { chunk, is_used: AtomicBool::new(false), is_main });
                if is_main {
                    self.main.push_back(key);
                    self.main_bytes += bytes;
                } else {
                    self.small.push_back(key);
                    self.small_bytes += bytes;
                }
            }
        }
    }

    /// Lets chunks go until no more than `bytes_max` bytes are held.
    pub fn shrink(&mut self, bytes_max: u64) {
        while self.bytes() > bytes_max {
            let is_small = self.small_bytes > bytes_max / SMALL_PART || self.main.is_empty();
            let key = if is_small { self.small.pop_front() } else { self.main.pop_front() };
            let Some(key) = key else { return };
            let Entry::Occupied(mut slot) = self.slots.entry(key) else { continue };
            let bytes = weight(&slot.get().chunk);
            let stays = std::mem::take(slot.get_mut().is_used.get_mut());
            match (is_small, stays) {
                (true, true) => {
                    slot.get_mut().is_main = true;
                    self.small_bytes -= bytes;
                    self.main_bytes += bytes;
                    self.main.push_back(key);
                }
                (true, false) => {
                    slot.remove();
                    self.small_bytes -= bytes;
                    self.gone.add(key, self.slots.len().max(GONE_MIN));
                }
                (false, true) => self.main.push_back(key),
                (false, false) => {
                    slot.remove();
                    self.main_bytes -= bytes;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::{Arenas, Buffer};
    use crate::cache::Trust;

    const LEN: usize = 4096;
    const EACH: u64 = LEN as u64 + OVERHEAD_BYTES;

    fn chunk(len: usize) -> Chunk {
        Chunk { bytes: Buffer::new(len, &Arenas::new(0)), held: None, trust: Trust::Proved }
    }

    fn add(shard: &mut Shard, key: Key, bytes_max: u64) {
        shard.insert(key, chunk(LEN));
        shard.shrink(bytes_max);
    }

    fn check(shard: &Shard) {
        let queued: HashSet<_> = shard.small.iter().chain(&shard.main).collect();
        assert_eq!(queued.len(), shard.small.len() + shard.main.len(), "a key is queued once");
        assert_eq!(queued, shard.slots.keys().collect());
        let bytes = |main| shard.slots.values().filter(move |slot| slot.is_main == main);
        assert_eq!(bytes(false).map(|slot| weight(&slot.chunk)).sum::<u64>(), shard.small_bytes);
        assert_eq!(bytes(true).map(|slot| weight(&slot.chunk)).sum::<u64>(), shard.main_bytes);
    }

    #[test]
    fn what_is_read_again_outlasts_a_scan() {
        let (mut shard, max) = (Shard::default(), 20 * EACH);
        for key in 0..10 {
            add(&mut shard, key, max);
            assert!(shard.get(key).is_some());
        }
        for key in 1000..2000 {
            add(&mut shard, key, max);
            check(&shard);
            assert!(shard.bytes() <= max);
        }
        assert!((0..10).all(|key| shard.get(key).is_some()));
    }

    #[test]
    fn what_comes_back_soon_stays() {
        let (mut shard, max) = (Shard::default(), 20 * EACH);
        (0..40).for_each(|key| add(&mut shard, key, max));
        assert!(shard.get(0).is_none());
        add(&mut shard, 0, max);
        (100..200).for_each(|key| add(&mut shard, key, max));
        check(&shard);
        assert!(shard.get(0).is_some());
    }

    #[test]
    fn bytes_are_counted_right_when_chunks_are_replaced_and_all_leave() {
        let mut shard = Shard::default();
        for key in 0..8 {
            shard.insert(key % 4, chunk(LEN * (1 + key as usize)));
            check(&shard);
        }
        shard.shrink(3 * EACH);
        check(&shard);
        shard.shrink(0);
        assert_eq!((shard.bytes(), shard.slots.len()), (0, 0));
    }
}
