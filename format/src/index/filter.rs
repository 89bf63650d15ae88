//! A blocked Bloom filter: ten bits and one cache line for each key of 48 bits.
//!
//! After Putze, Sanders, Singler, *Cache-, Hash- and Space-Efficient Bloom Filters* (2007): a key
//! picks one line of 512 bits and sets six bits in it. About 1 % of the keys that are not there
//! pass. The bits are what a segment stores.

/// Bytes in a line.
const LINE_LEN: usize = 64;
const LINE_BITS: u64 = LINE_LEN as u64 * 8;
const BITS_PER_KEY: u64 = 10;
const PROBES: u32 = 6;

/// A filter over keys that are uniform already (parts of digests).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter(Vec<u8>);

impl Filter {
    /// An empty filter for `keys` keys.
    pub fn for_keys(keys: u64) -> Self {
        Self(vec![0; Self::len_for(keys)])
    }

    /// Bytes of a filter for `keys` keys.
    pub fn len_for(keys: u64) -> usize {
        (keys * BITS_PER_KEY).div_ceil(LINE_BITS).max(1) as usize * LINE_LEN
    }

    /// A filter from its bytes, a whole number of lines.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The line of `key`, and the bits that it has there.
    fn probes(&self, key: u64) -> (usize, impl Iterator<Item = (usize, u8)> + use<>) {
        let lines = (self.0.len() / LINE_LEN) as u64;
        // The high part of a product picks evenly without a division.
        let line = ((u128::from(key) * u128::from(lines)) >> 48) as usize * LINE_LEN;
        // Six numbers of nine bits from another product of the key.
        let bits = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let probe = move |n: u32| {
            let bit = (bits >> (10 + 9 * n)) as usize % LINE_BITS as usize;
            (bit / 8, 1 << (bit % 8))
        };
        (line, (0..PROBES).map(probe))
    }

    pub fn insert(&mut self, key: u64) {
        let (line, probes) = self.probes(key);
        let line = &mut self.0[line..line + LINE_LEN];
        probes.for_each(|(byte, bit)| line[byte] |= bit);
    }

    /// False where `key` was never inserted; true where it was, and by chance.
    pub fn may_contain(&self, key: u64) -> bool {
        let (line, mut probes) = self.probes(key);
        let line = &self.0[line..line + LINE_LEN];
        probes.all(|(byte, bit)| line[byte] & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::block_digest;

    fn key(number: u64) -> u64 {
        crate::index::entry::key_of(&block_digest(&number.to_le_bytes()))
    }

    #[test]
    fn every_key_passes_and_few_others() {
        let mut filter = Filter::for_keys(100_000);
        (0..100_000).for_each(|number| filter.insert(key(number)));
        assert!((0..100_000).all(|number| filter.may_contain(key(number))));
        let wrong = (100_000..200_000).filter(|&number| filter.may_contain(key(number))).count();
        assert!(wrong < 2_500, "{wrong} of 100000 pass by chance");
    }
}
