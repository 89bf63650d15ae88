//! What a segment says of one block.

use crate::limits::LIST_BLOCKS_MAX;

/// Bytes of an entry on disk.
pub(crate) const ENTRY_LEN: usize = 16;
const BLOCK_BITS: u32 = LIST_BLOCKS_MAX.trailing_zeros();

/// The key of a block's digest, and where the block lies. Sorted by key, then list, then block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// The digest's first eight bytes.
    pub key: u64,
    /// Which of the segment's lists, below 2^24, above which block, below 2^40.
    place: u64,
}

impl Entry {
    pub fn new(key: u64, list: u32, block: u64) -> Self {
        Self { key, place: u64::from(list) << BLOCK_BITS | block }
    }

    pub fn list(&self) -> u32 {
        (self.place >> BLOCK_BITS) as u32
    }

    pub fn block(&self) -> u64 {
        self.place & (LIST_BLOCKS_MAX - 1)
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.to_le_bytes());
        out.extend_from_slice(&self.place.to_le_bytes());
    }

    /// Takes an entry from the first 16 bytes of `bytes`.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (key, rest) = bytes.split_first_chunk()?;
        let place = rest.first_chunk()?;
        Some(Self { key: u64::from_le_bytes(*key), place: u64::from_le_bytes(*place) })
    }
}
