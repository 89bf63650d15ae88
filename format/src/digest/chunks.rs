//! Ids of many chunks in parallel.
//!
//! Proving a page of digests means proving the ids of many chunks of one length. Each lane hashes a chunk, as
//! in [`super::blocks`] it hashes a block. The input for a chunk is its count and its digests: a whole number
//! of BLAKE3's blocks, plus eight bytes. The whole blocks go first in parallel, then each chunk's last bytes
//! alone. The ids of a page take a fifth of the time this way.

use std::sync::LazyLock;

use blake3::IncrementCounter;
use blake3::platform::Platform;

use super::blocks::{CHUNK_END, CHUNK_START, LANES, ROOT};
use super::{BlockDigest, ChunkId, DIGEST_LEN, chunk_id};

const COUNT_LEN: usize = 8;
/// The bytes BLAKE3 compresses at a time, and its flag for derived keys (specification, table 3).
const STEP_LEN: usize = 64;
const DERIVE_KEY_MATERIAL: u8 = 64;

type Words = [u32; 8];

/// The key derived from the context of chunk ids.
static KEY: LazyLock<Words> =
    LazyLock::new(|| words(&blake3::hazmat::hash_derive_key_context(super::CHUNK_CONTEXT)));

fn words(bytes: &[u8; DIGEST_LEN]) -> Words {
    let (words, _) = bytes.as_chunks();
    std::array::from_fn(|at| u32::from_le_bytes(words[at]))
}

/// Appends the ids of consecutive chunks of `chunk_blocks` blocks with the given `digests` to `ids`. The last
/// chunk may be shorter.
pub fn chunk_ids(digests: &[BlockDigest], chunk_blocks: usize, ids: &mut Vec<ChunkId>) {
    let whole = digests.len() / chunk_blocks * chunk_blocks;
    let (whole, rest) = digests.split_at(whole);
    match chunk_blocks {
        4 => side_by_side::<{ 4 * DIGEST_LEN }>(whole, ids),
        8 => side_by_side::<{ 8 * DIGEST_LEN }>(whole, ids),
        16 => side_by_side::<{ 16 * DIGEST_LEN }>(whole, ids),
        _ => ids.extend(whole.chunks(chunk_blocks).map(chunk_id)),
    }
    ids.extend(rest.chunks(chunk_blocks).map(chunk_id));
}

/// Does the same for whole chunks of `LEN` bytes of digests.
fn side_by_side<const LEN: usize>(digests: &[BlockDigest], ids: &mut Vec<ChunkId>) {
    let platform = Platform::detect();
    let chunk_blocks = LEN / DIGEST_LEN;
    // `inputs` has the count and the digests without their last eight bytes; `lasts` has those.
    let mut inputs = [[0; LEN]; LANES];
    let mut lasts = [[0; STEP_LEN]; LANES];
    let mut made = [[0; DIGEST_LEN]; LANES];
    for group in digests.chunks(LANES * chunk_blocks) {
        let lanes = group.len() / chunk_blocks;
        for ((input, last), chunk) in inputs.iter_mut().zip(&mut lasts).zip(group.chunks(chunk_blocks)) {
            input[..COUNT_LEN].copy_from_slice(&(chunk_blocks as u64).to_le_bytes());
            let (front, end) = (&chunk[..chunk_blocks - 1], chunk[chunk_blocks - 1].as_bytes());
            let (body, part) = input[COUNT_LEN..].split_at_mut(front.len() * DIGEST_LEN);
            for (place, digest) in body.as_chunks_mut().0.iter_mut().zip(front) {
                *place = *digest.as_bytes();
            }
            part.copy_from_slice(&end[..part.len()]);
            last[..COUNT_LEN].copy_from_slice(&end[DIGEST_LEN - COUNT_LEN..]);
        }
        let (increment, flags) = (IncrementCounter::No, DERIVE_KEY_MATERIAL);
        let out = made[..lanes].as_flattened_mut();
        let inputs = inputs.each_ref();
        platform.hash_many(&inputs[..lanes], &KEY, 0, increment, flags, CHUNK_START, 0, out);
        ids.extend(made[..lanes].iter().zip(&lasts).map(|(made, last)| {
            let mut state = words(made);
            platform.compress_in_place(&mut state, last, COUNT_LEN as u8, 0, flags | CHUNK_END | ROOT);
            let mut id = [0; DIGEST_LEN];
            for (place, word) in id.as_chunks_mut().0.iter_mut().zip(state) {
                *place = word.to_le_bytes();
            }
            ChunkId::from_bytes(id)
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::block_digest;

    #[test]
    fn ids_made_side_by_side_are_those_made_alone() {
        let digests: Vec<_> = (0..600u32).map(|number| block_digest(&number.to_le_bytes())).collect();
        for chunk_blocks in [1, 2, 4, 8, 16, 32, 256] {
            for count in (0..digests.len()).step_by(7) {
                let digests = &digests[..count];
                let mut found = vec![ChunkId::ZERO];
                chunk_ids(digests, chunk_blocks, &mut found);
                let alone = digests.chunks(chunk_blocks).map(chunk_id);
                let expected: Vec<_> = std::iter::once(ChunkId::ZERO).chain(alone).collect();
                assert_eq!(found, expected, "{count} digests, {chunk_blocks} a chunk");
            }
        }
    }
}
