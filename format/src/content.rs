//! The content id: the digest of the bytes a guest reads, independent of the container (spec section 4.3).
//!
//! ```text
//! span digest = BLAKE3 derive-key "melv 2026 span v1" over, in order,
//!               each maximal run of zero blocks  00, u64 count
//!               each other block                 01, its digest
//! content id  = BLAKE3 derive-key "melv 2026 content v1" over u64 disk size in bytes and, in order,
//!               each maximal run of zero spans   00, u64 count
//!               each other span                  01, its digest
//! ```

use crate::digest::{BlockDigest, ContentId, DIGEST_LEN, Digest, Hasher, block_digest, block_digests};
use crate::limits::BLOCK_LEN;

/// A digest over runs of zeros and digests of non-zero items.
#[derive(Debug, Clone)]
struct RunHasher {
    hasher: Hasher,
    zeros: u64,
}

impl RunHasher {
    fn zeros(&mut self, count: u64) {
        self.zeros += count;
    }

    fn digest(&mut self, digest: &Digest) {
        self.settle();
        self.hasher.update(&[1]);
        self.hasher.update(&digest.0);
    }

    fn settle(&mut self) {
        if self.zeros > 0 {
            self.hasher.update(&[0]);
            self.hasher.update(&self.zeros.to_le_bytes());
            self.zeros = 0;
        }
    }

    fn finish(mut self) -> Digest {
        self.settle();
        self.hasher.finish()
    }
}

/// Computes the digest of a span from its blocks in order (`None` for a zero block); `None` if all are zero.
#[must_use]
pub fn span_digest(blocks: &[Option<BlockDigest>]) -> Option<Digest> {
    if blocks.iter().all(Option::is_none) {
        return None;
    }
    // Joined first: BLAKE3 hashes one long input several times as fast as many short ones.
    let mut records = Vec::with_capacity(blocks.len() * (1 + DIGEST_LEN));
    for run in blocks.chunk_by(|one, other| one.is_none() && other.is_none()) {
        match run {
            [Some(digest)] => {
                records.push(1);
                records.extend_from_slice(digest.as_bytes());
            }
            zeros => {
                records.push(0);
                records.extend_from_slice(&(zeros.len() as u64).to_le_bytes());
            }
        }
    }
    let mut hasher = Hasher::span();
    hasher.update(&records);
    Some(hasher.finish())
}

/// Appends the digests of a span's blocks (`None` for a zero block), padding a short last block.
pub(crate) fn span_blocks(data: &[u8], blocks: &mut Vec<Option<BlockDigest>>) {
    let start = blocks.len();
    let (whole, tail) = data.as_chunks::<BLOCK_LEN>();
    blocks.extend(whole.iter().map(|block| (!is_zero(block)).then_some(BlockDigest::ZERO)));
    let has_data = |(block, digest): (_, &Option<BlockDigest>)| digest.map(|_| block);
    let mut digests = Vec::with_capacity(whole.len());
    block_digests(whole.iter().zip(&blocks[start..]).filter_map(has_data), &mut digests);
    blocks[start..].iter_mut().flatten().zip(digests).for_each(|(slot, digest)| *slot = digest);
    if !tail.is_empty() {
        let mut padded = [0; BLOCK_LEN];
        padded[..tail.len()].copy_from_slice(tail);
        blocks.push((!is_zero(tail)).then(|| block_digest(&padded)));
    }
}

/// Whether all bytes are zero; at most one block long.
fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; BLOCK_LEN] = [0; BLOCK_LEN];
    bytes == &ZEROS[..bytes.len()]
}

/// Computes the digest of a span from its bytes, or `None` if all are zero. The last block may be short.
#[must_use]
pub fn span_of_bytes(data: &[u8]) -> Option<Digest> {
    let mut blocks = Vec::new();
    span_blocks(data, &mut blocks);
    span_digest(&blocks)
}

/// Builds a content id from the spans of a disk, fed in ascending order.
///
/// The digest begins with the disk size. If that is known only at the end, as with a pipe, collect the spans
/// and call [`ContentHasher::of_spans`].
#[derive(Debug, Clone)]
pub struct ContentHasher {
    runs: RunHasher,
    next_span: u64,
    spans: u64,
}

impl ContentHasher {
    /// Starts the content id of a disk of `size_bytes` with `spans` spans.
    #[must_use]
    pub fn new(size_bytes: u64, spans: u64) -> Self {
        let mut hasher = Hasher::content();
        hasher.update(&size_bytes.to_le_bytes());
        Self { runs: RunHasher { hasher, zeros: 0 }, next_span: 0, spans }
    }

    /// Adds the non-zero span `number`; any spans skipped since the previous call are zero.
    pub fn span(&mut self, number: u64, digest: &Digest) {
        self.runs.zeros(number - self.next_span);
        self.runs.digest(digest);
        self.next_span = number + 1;
    }

    /// Returns the content id; the spans after the last one fed are zero.
    #[must_use]
    pub fn finish(mut self) -> ContentId {
        self.runs.zeros(self.spans - self.next_span);
        ContentId::new(self.runs.finish())
    }

    /// Computes the content id of a disk from its non-zero spans in ascending order.
    pub fn of_spans(
        size_bytes: u64,
        spans: u64,
        found: impl IntoIterator<Item = (u64, Digest)>,
    ) -> ContentId {
        let mut hasher = Self::new(size_bytes, spans);
        for (number, digest) in found {
            hasher.span(number, &digest);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::object_digest;

    #[test]
    fn zero_runs_are_maximal_whatever_the_feeding() {
        let digest = object_digest(b"x");
        let one = ContentHasher::of_spans(3 << 20, 3, [(2, digest)]);
        let other = ContentHasher::of_spans(3 << 20, 3, [(1, digest)]);
        assert_ne!(one, other);
        assert_ne!(one, ContentHasher::of_spans(4 << 20, 4, [(2, digest)]));
    }

    #[test]
    fn a_span_of_zeros_has_no_digest() {
        assert_eq!(span_digest(&[None; 256]), None);
        assert_ne!(
            span_digest(&[None, Some(block_digest(b"x"))]),
            span_digest(&[Some(block_digest(b"x")), None])
        );
    }
}
