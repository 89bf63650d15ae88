//! Digests of many blocks in parallel.
//!
//! Hashing a single 4 KiB input uses four of BLAKE3's SIMD lanes, of up to sixteen. Here each lane hashes a
//! different block: the first KiB of sixteen blocks, then the second. This is three times as fast with
//! AVX-512 (see `spec/rationale.md`); narrower processors were not measured. The code builds BLAKE3's tree
//! for this one input length (BLAKE3 specification, section 2.1): four leaves, two parents, a root.

use blake3::IncrementCounter;
use blake3::platform::Platform;

use super::{BlockDigest, DIGEST_LEN};
use crate::limits::BLOCK_LEN;

/// The inputs hashed at once: the most lanes that BLAKE3 has on any platform.
pub(super) const LANES: usize = 16;
const LEAF_LEN: usize = 1024;
const PARENT_LEN: usize = 2 * DIGEST_LEN;
/// BLAKE3's initial value and flags (specification, tables 1 and 3).
const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
pub(super) const CHUNK_START: u8 = 1;
pub(super) const CHUNK_END: u8 = 2;
const PARENT: u8 = 4;
pub(super) const ROOT: u8 = 8;

type Block = [u8; BLOCK_LEN];
/// One value per lane.
type Lanes<T> = [T; LANES];

/// Appends the digests of `blocks`, whole blocks in order, to `digests`.
pub fn block_digests<'a>(blocks: impl IntoIterator<Item = &'a Block>, digests: &mut Vec<BlockDigest>) {
    let mut blocks = blocks.into_iter();
    let platform = Platform::detect();
    let mut group: Lanes<&Block> = [&[0; BLOCK_LEN]; LANES];
    loop {
        let mut count = 0;
        for (lane, block) in group.iter_mut().zip(blocks.by_ref()) {
            *lane = block;
            count += 1;
        }
        digests.extend(digests_of_group(platform, &group[..count]));
        if count < LANES {
            return;
        }
    }
}

/// Computes the digests of at most [`LANES`] blocks.
fn digests_of_group(platform: Platform, blocks: &[&Block]) -> impl Iterator<Item = BlockDigest> {
    let mut hash = Hash { platform, lanes: blocks.len(), made: [[0; DIGEST_LEN]; LANES] };
    let mut halves: [Lanes<[u8; PARENT_LEN]>; 2] = [[[0; PARENT_LEN]; LANES]; 2];
    for leaf in 0..4 {
        hash.leaves(blocks, leaf);
        hash.put(&mut halves[leaf / 2], leaf % 2);
    }
    let mut roots = [[0; PARENT_LEN]; LANES];
    for (half, pairs) in halves.iter().enumerate() {
        hash.parents(pairs, PARENT);
        hash.put(&mut roots, half);
    }
    hash.parents(&roots, PARENT | ROOT);
    hash.made.into_iter().take(blocks.len()).map(BlockDigest::from_bytes)
}

/// One hashing step across all lanes.
struct Hash {
    platform: Platform,
    lanes: usize,
    /// The output of the last step.
    made: Lanes<[u8; DIGEST_LEN]>,
}

impl Hash {
    /// Hashes KiB `leaf` of every block.
    fn leaves(&mut self, blocks: &[&Block], leaf: usize) {
        let mut inputs: Lanes<&[u8; LEAF_LEN]> = [&[0; LEAF_LEN]; LANES];
        for (input, block) in inputs.iter_mut().zip(blocks) {
            *input = &block.as_chunks().0[leaf];
        }
        self.run(&inputs, leaf as u64, 0, CHUNK_START, CHUNK_END);
    }

    /// Hashes one pair per lane.
    fn parents(&mut self, pairs: &Lanes<[u8; PARENT_LEN]>, flags: u8) {
        self.run(&pairs.each_ref(), 0, flags, 0, 0);
    }

    fn run<const LEN: usize>(
        &mut self,
        inputs: &Lanes<&[u8; LEN]>,
        counter: u64,
        flags: u8,
        start: u8,
        end: u8,
    ) {
        let (inputs, made) = (&inputs[..self.lanes], self.made[..self.lanes].as_flattened_mut());
        let increment = IncrementCounter::No;
        self.platform.hash_many(inputs, &IV, counter, increment, flags, start, end, made);
    }

    /// Copies the output of the last step into one side of each pair.
    fn put(&self, pairs: &mut Lanes<[u8; PARENT_LEN]>, side: usize) {
        for (pair, made) in pairs.iter_mut().zip(&self.made) {
            pair.as_chunks_mut().0[side] = *made;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::block_digest;

    #[test]
    fn digests_made_side_by_side_are_those_made_alone() {
        let data: Vec<u8> = (0..40 * BLOCK_LEN).map(|at| (at / 5 % 253) as u8).collect();
        let blocks: &[Block] = data.as_chunks().0;
        for count in 0..=blocks.len() {
            let mut found = vec![BlockDigest::ZERO];
            block_digests(&blocks[..count], &mut found);
            let alone = blocks[..count].iter().map(|block| block_digest(block));
            let expected: Vec<_> = std::iter::once(BlockDigest::ZERO).chain(alone).collect();
            assert_eq!(found, expected, "{count} blocks");
        }
    }
}
