//! The frame guard: the only module that names `twox-hash`.
//!
//! XXH3-64 of a frame's stored bytes, seeded with the first eight bytes of its chunk id, so that another
//! chunk's bytes never pass. It catches accidents before the decoder sees them (spec section 6.3). Forgery is
//! caught by the chunk id instead.

use twox_hash::XxHash3_64;

use crate::digest::ChunkId;

/// Computes the guard of `stored`, the bytes of a frame of chunk `id`.
#[must_use]
pub fn guard(id: &ChunkId, stored: &[u8]) -> u64 {
    guard_by_key(id.prefix(), stored)
}

/// Computes the guard of `stored` from only the first eight bytes of the chunk id.
#[must_use]
pub fn guard_by_key(key: u64, stored: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(key, stored)
}
