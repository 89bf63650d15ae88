//! Binary fuse filters: less than seven bits for each key of 48 bits.
//!
//! After Graf, Lemire, *Binary Fuse Filters: Fast and Smaller Than Xor Filters* (2022): a key selects one
//! slot in each of four adjacent segments. The XOR of the four fingerprints there equals the key's own.
//! Fingerprints are six bits long, so one in 64 absent keys passes. Unlike a Bloom filter, a binary fuse
//! filter is built from all its keys at once. A filter is therefore a sequence of parts, each over a
//! fixed number of sorted keys and built as soon as these are known:
//!
//! ```text
//! guard         u64, over what follows and the part's number
//! try           u8: which of the hashes that the part's number gives; 255: every key passes
//! fingerprints  four slots to three bytes
//! ```
//!
//! Equal keys give equal bytes. A hash fails for one full part in 30, and at worst for one small part in
//! three. If all [`TRIES`] hashes failed, every key would pass, but that practically never happens.

use crate::guard::guard_by_key;

/// The number of keys in every part except the last: 193 pages of a segment. At just over 2^16 keys,
/// building a part stays within the CPU cache. Larger parts gain little.
pub(crate) const PART_KEYS: u64 = 193 * 340;
const GUARD_LEN: usize = 8;
const PART_HEAD_LEN: usize = GUARD_LEN + 1;
const FINGERPRINT_MASK: u64 = 63;
/// The number of hashes tried for a part.
const TRIES: u8 = 64;
const PASSES_ALL: u8 = u8::MAX;

/// The layout of a part's slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    /// log2 of the slots in a segment.
    segment_bits: u32,
    /// The number of slots that can be a key's first: those of all segments except the last three.
    firsts: u64,
}

impl Shape {
    /// Returns the shape for `keys` keys, at most [`PART_KEYS`]. It is never longer than that of a full
    /// part.
    fn for_keys(keys: u64) -> Self {
        let most = Self::by_rule(PART_KEYS);
        Some(Self::by_rule(keys)).filter(|shape| shape.slots() < most.slots()).unwrap_or(most)
    }

    /// Applies the paper's formulas for four segments. Logarithms are rounded down to integers, so that
    /// every machine gets the same result.
    fn by_rule(keys: u64) -> Self {
        let log = keys.max(2).ilog2();
        // log(keys) / log(2.91) - 0.5; at least four slots, to fill whole bytes.
        let segment_bits = ((13 * log).saturating_sub(10) / 20).max(2);
        // 0.77 + 0.305 * log(600 000) / log(keys) slots a key.
        let slots = keys * (77 + 586 / u64::from(log)) / 100 + 1;
        let segments = slots.div_ceil(1 << segment_bits).saturating_sub(3).max(1);
        Self { segment_bits, firsts: segments << segment_bits }
    }

    fn slots(self) -> usize {
        self.firsts as usize + (3 << self.segment_bits)
    }

    /// The length of a part, in bytes.
    fn len(self) -> usize {
        PART_HEAD_LEN + self.slots() / 4 * 3
    }

    /// Returns the four slots of a key's hash. The high bits select the first slot. The slots in the next
    /// segments use bits that affect no other choice.
    fn slots_of(self, hash: u64) -> [usize; 4] {
        let first = ((u128::from(hash) * u128::from(self.firsts)) >> 64) as u64;
        let mask = (1 << self.segment_bits) - 1;
        let slot = |n: u64, bits: u64| ((first + (n << self.segment_bits)) ^ (bits & mask)) as usize;
        [slot(0, 0), slot(1, hash >> 34), slot(2, hash >> 20), slot(3, hash)]
    }
}

/// Mixes 64 bits bijectively (the finalizer of MurmurHash3).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

fn seed(part: u64, attempt: u8) -> u64 {
    mix(part << 8 | u64::from(attempt))
}

fn hash(key: u64, seed: u64) -> u64 {
    mix(key.wrapping_add(seed))
}

/// Takes the fingerprint from bits of the hash that select no slot.
fn fingerprint(hash: u64) -> u8 {
    (hash >> 14 & FINGERPRINT_MASK) as u8
}

/// Returns the length of a part over `keys` keys, in bytes.
pub(crate) fn part_len(keys: u64) -> u64 {
    Shape::for_keys(keys).len() as u64
}

/// Returns the length of a filter over `keys` keys, in bytes.
pub(crate) fn filter_len(keys: u64) -> u64 {
    let last = keys % PART_KEYS;
    keys / PART_KEYS * part_len(PART_KEYS) + if last == 0 { 0 } else { part_len(last) }
}

/// A filter open for lookups.
#[derive(Debug)]
pub(crate) struct Filter {
    bytes: Vec<u8>,
    /// By part; `None` if every key passes. Stored apart from the fingerprints: reading a seed there would
    /// make a lookup wait for memory twice.
    seeds: Vec<Option<u64>>,
    /// The shape of all parts except the last.
    shape: Shape,
    shape_last: Shape,
}

impl Filter {
    /// Creates a filter from the bytes of its parts; `None` if they are damaged.
    pub fn from_bytes(bytes: Vec<u8>, keys: u64) -> Option<Self> {
        if bytes.len() as u64 != filter_len(keys) {
            return None;
        }
        let shape = Shape::for_keys(PART_KEYS);
        let last = keys % PART_KEYS;
        let shape_last = if last == 0 { shape } else { Shape::for_keys(last) };
        let seed_of = |(number, part): (u64, &[u8])| {
            let (guard, content) = part.split_first_chunk::<GUARD_LEN>()?;
            let attempt = *content.first()?;
            let is_sound = u64::from_le_bytes(*guard) == guard_by_key(number, content);
            is_sound.then(|| (attempt != PASSES_ALL).then(|| seed(number, attempt)))
        };
        let seeds = (0..).zip(bytes.chunks(shape.len())).map(seed_of).collect::<Option<_>>()?;
        Some(Self { bytes, seeds, shape, shape_last })
    }

    /// Returns false if `key` is not among the keys of the part. May return true by chance.
    pub fn may_contain(&self, part: usize, key: u64) -> bool {
        let Some(Some(seed)) = self.seeds.get(part) else { return true };
        let shape = if part + 1 == self.seeds.len() { self.shape_last } else { self.shape };
        let hash = hash(key, *seed);
        let start = part * self.shape.len() + PART_HEAD_LEN;
        let found = shape.slots_of(hash).map(|slot| {
            let at = start + slot / 4 * 3;
            let [a, b, c] = [self.bytes[at], self.bytes[at + 1], self.bytes[at + 2]];
            (u32::from_le_bytes([a, b, c, 0]) >> (6 * (slot % 4))) as u8
        });
        let sum = found[0] ^ found[1] ^ found[2] ^ found[3] ^ fingerprint(hash);
        u64::from(sum) & FINGERPRINT_MASK == 0
    }
}

/// Builds the parts of a filter, one after the other, in memory for one part: 4 MiB.
#[derive(Debug, Default)]
pub(crate) struct PartBuilder {
    /// The part's number.
    number: u64,
    /// The number of keys added, including duplicates.
    added: u64,
    keys: Vec<u64>,
    /// For each slot, the number of remaining keys that use it, and the XOR of their hashes.
    counts: Vec<u32>,
    sums: Vec<u64>,
    /// Slots that had a single key when they were pushed.
    alone: Vec<usize>,
    /// Hashes of keys in peeling order, each with a slot that it had alone.
    taken: Vec<(u64, usize)>,
    fingerprints: Vec<u8>,
}

impl PartBuilder {
    /// Adds a key to the part.
    pub fn add(&mut self, key: u64) {
        self.added += 1;
        if self.keys.last() != Some(&key) {
            self.keys.push(key);
        }
    }

    /// Appends the part to `out`, with the length for the keys added, and begins the next part.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        // Mostly sorted already; then this takes one pass.
        self.keys.sort_unstable();
        self.keys.dedup();
        let shape = Shape::for_keys(self.added);
        let attempt = (0..TRIES).find(|&attempt| self.take_away(shape, seed(self.number, attempt)));
        self.fingerprints.clear();
        self.fingerprints.resize(shape.slots(), 0);
        if attempt.is_some() {
            // No key peeled later uses this slot, so its value is still free.
            for &(hash, slot) in self.taken.iter().rev() {
                let others = shape.slots_of(hash).iter().fold(0, |sum, &slot| sum ^ self.fingerprints[slot]);
                self.fingerprints[slot] = others ^ fingerprint(hash);
            }
        }
        let start = out.len();
        out.extend_from_slice(&[0; GUARD_LEN]);
        out.push(attempt.unwrap_or(PASSES_ALL));
        for four in self.fingerprints.as_chunks::<4>().0 {
            let bits = four.iter().rev().fold(0, |bits, &one| bits << 6 | u32::from(one));
            out.extend_from_slice(&bits.to_le_bytes()[..3]);
        }
        let guard = guard_by_key(self.number, &out[start + GUARD_LEN..]);
        out[start..start + GUARD_LEN].copy_from_slice(&guard.to_le_bytes());
        self.number += 1;
        self.added = 0;
        self.keys.clear();
    }

    /// Peels keys that have a slot alone until none remains. Returns whether all keys were peeled.
    fn take_away(&mut self, shape: Shape, seed: u64) -> bool {
        let (counts, sums) = (&mut self.counts, &mut self.sums);
        counts.clear();
        counts.resize(shape.slots(), 0);
        sums.clear();
        sums.resize(shape.slots(), 0);
        for &key in &self.keys {
            let hash = hash(key, seed);
            for slot in shape.slots_of(hash) {
                counts[slot] += 1;
                sums[slot] ^= hash;
            }
        }
        self.alone.clear();
        self.alone.extend((0..shape.slots()).filter(|&slot| counts[slot] == 1));
        self.taken.clear();
        while let Some(slot) = self.alone.pop() {
            if counts[slot] != 1 {
                continue;
            }
            let hash = sums[slot];
            self.taken.push((hash, slot));
            for slot in shape.slots_of(hash) {
                counts[slot] -= 1;
                sums[slot] ^= hash;
                if counts[slot] == 1 {
                    self.alone.push(slot);
                }
            }
        }
        self.taken.len() == self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::block_digest;

    fn key(number: u64) -> u64 {
        crate::index::entry::key_of(&block_digest(&number.to_le_bytes()))
    }

    /// Builds a filter over sorted keys, and returns it with its bytes.
    fn made(keys: &[u64]) -> (Filter, Vec<u8>) {
        let mut bytes = Vec::new();
        let mut builder = PartBuilder::default();
        for part in keys.chunks(PART_KEYS as usize) {
            part.iter().for_each(|&key| builder.add(key));
            builder.finish(&mut bytes);
        }
        let filter = Filter::from_bytes(bytes.clone(), keys.len() as u64).unwrap();
        (filter, bytes)
    }

    fn assert_all_pass(keys: &[u64]) -> Filter {
        let (filter, bytes) = made(keys);
        assert!(filter.seeds.iter().all(Option::is_some));
        for (number, &key) in keys.iter().enumerate() {
            assert!(filter.may_contain(number / PART_KEYS as usize, key), "key {number} of {}", keys.len());
        }
        assert_eq!(made(keys).1, bytes);
        filter
    }

    #[test]
    fn every_key_passes_and_few_others() {
        for count in [0, 1, 2, 3, 10, 100, 1000, 5000, 60_000, 65_535, 65_536, 65_620, 131_000, 300_000] {
            let mut keys: Vec<_> = (0..count).map(key).collect();
            keys.sort_unstable();
            let filter = assert_all_pass(&keys);
            if count >= 10 {
                let others = (count..count + 100_000).map(key);
                let wrong = others.filter(|&key| filter.may_contain(0, key)).count();
                assert!(wrong < 2_000, "{wrong} of 100000 pass by chance with {count} keys");
            }
        }
        assert!(filter_len(10) < 40);
        assert!((1..=PART_KEYS).all(|keys| part_len(keys) <= part_len(PART_KEYS)));
        assert!(filter_len(1 << 28) * 8 < (1 << 28) * 685 / 100);
    }

    #[test]
    fn equal_keys_and_keys_next_to_each_other_pass() {
        for count in [1, 2, 3, 10, 1000, 65_536, 300_000] {
            assert_all_pass(&vec![77; count]);
            let mut keys: Vec<_> = (0..count as u64).map(|number| key(number / 3)).collect();
            keys.sort_unstable();
            assert_all_pass(&keys);
            let keys: Vec<_> = (0..count as u64).map(|number| (1 << 47) + number).collect();
            assert_all_pass(&keys);
        }
    }

    #[test]
    fn bytes_of_any_kind_are_refused_or_answer() {
        let keys: Vec<_> = (0..500).map(|number| number << 30).collect();
        let (_, good) = made(&keys);
        assert!(Filter::from_bytes(good[1..].to_vec(), 500).is_none());
        assert!(Filter::from_bytes(good.clone(), 5000).is_none());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(Filter::from_bytes(bad, 500).is_none(), "byte {at}");
        }
        for fill in 0..=u8::MAX {
            let mut forged = vec![fill; good.len()];
            let guard = guard_by_key(0, &forged[GUARD_LEN..]);
            forged[..GUARD_LEN].copy_from_slice(&guard.to_le_bytes());
            let filter = Filter::from_bytes(forged, 500).unwrap();
            let passing = (0..1000).filter(|&number| filter.may_contain(0, key(number))).count();
            assert!(fill != PASSES_ALL || passing == 1000);
        }
    }

    #[test]
    fn where_no_hash_serves_every_key_passes() {
        // Two keys with equal hashes can only result from a defect.
        let mut builder = PartBuilder { added: 2, keys: vec![5, 6], ..Default::default() };
        assert!(builder.take_away(Shape::for_keys(2), 1));
        builder.keys = vec![5, 5];
        assert!(!builder.take_away(Shape::for_keys(2), 1));
        let mut part = vec![PASSES_ALL; part_len(2) as usize];
        let guard = guard_by_key(0, &part[GUARD_LEN..]);
        part[..GUARD_LEN].copy_from_slice(&guard.to_le_bytes());
        let filter = Filter::from_bytes(part, 2).unwrap();
        assert!((0..1000).all(|number| filter.may_contain(0, key(number))));
    }
}
