//! A segment's entry for one block.
//!
//! An entry takes twelve bytes on disk: 48 bits of the digest and 48 bits of the place. In a store of one
//! TiB, a lookup meets a wrong candidate once in a million times, and the log then rejects it.

/// The length of an entry on disk, in bytes.
pub(crate) const ENTRY_LEN: usize = 12;
/// log2 of the maximum number of blocks in a list: 2^24 chunks of 2^10 blocks. The list takes the other
/// bits.
const BLOCK_BITS: u32 = 34;
/// The maximum number of lists in a segment, limited by the bits of an entry.
pub(crate) const LISTS_MAX: usize = 1 << (48 - BLOCK_BITS);

/// Returns the key of a digest: its first six bytes, as a number.
pub(crate) fn key_of(digest: &crate::digest::BlockDigest) -> u64 {
    digest.prefix() & ((1 << 48) - 1)
}

/// The key of a block's digest, and the block's place. Sorted by key, then list, then block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// See [`key_of`].
    pub key: u64,
    place: u64,
}

impl Entry {
    pub fn new(key: u64, list: u32, block: u64) -> Self {
        Self { key, place: u64::from(list) << BLOCK_BITS | block }
    }

    /// Returns the number of the list within the segment, below [`LISTS_MAX`].
    pub fn list(&self) -> u32 {
        (self.place >> BLOCK_BITS) as u32
    }

    /// Returns the block within the list.
    pub fn block(&self) -> u64 {
        self.place & ((1 << BLOCK_BITS) - 1)
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.to_le_bytes()[..6]);
        out.extend_from_slice(&self.place.to_le_bytes()[..6]);
    }

    /// Decodes an entry.
    pub fn decode(bytes: &[u8; ENTRY_LEN]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
        Self {
            key: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]),
            place: u64::from_le_bytes([g, h, i, j, k, l, 0, 0]),
        }
    }
}
