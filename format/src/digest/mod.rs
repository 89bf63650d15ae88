//! Digests: the only module that names `blake3`.
//!
//! | input | computed as (spec section 4) |
//! |---|---|
//! | block | plain BLAKE3-256 of its 4096 bytes |
//! | chunk id | derive-key `melv 2026 chunk v1` over u64 block count and the blocks' digests |
//! | object | derive-key `melv 2026 object v1` over the object's bytes: list, manifest, map and span pages |
//! | table page | derive-key `melv 2026 page v1` over the page's records |
//! | span, content id | derive-key `melv 2026 span v1`, `melv 2026 content v1`: see [`crate::content`] |

mod blocks;
mod chunks;
mod ids;

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

pub use blocks::block_digests;
pub use chunks::chunk_ids;
pub use ids::{BlockDigest, ChunkId, ContentId, Id, ImageId, ListId, LogKey, PackId, PageFileId, PageId};

/// Bytes in a digest.
pub const DIGEST_LEN: usize = 32;

/// A BLAKE3-256 digest: a hash value. An id is a type of its own. All zeros means "none" where the format permits it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Digest(pub [u8; DIGEST_LEN]);

impl Digest {
    /// The digest that means "none".
    pub const ZERO: Self = Self([0; DIGEST_LEN]);

    /// Whether this is [`Digest::ZERO`].
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// Returns the first eight bytes as a little-endian number: the key of the block index, and the seed of a
    /// frame's guard.
    #[must_use]
    pub fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// Returns the first twelve hexadecimal digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(12);
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The error for text that is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 lower-case hexadecimal digits")]
pub struct ParseDigestError;

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let bytes = text.as_bytes();
        if bytes.len() != 2 * DIGEST_LEN {
            return Err(ParseDigestError);
        }
        let nibble = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(ParseDigestError),
        };
        let mut digest = [0; DIGEST_LEN];
        for (out, pair) in digest.iter_mut().zip(bytes.chunks_exact(2)) {
            *out = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(digest))
    }
}

const CHUNK_CONTEXT: &str = "melv 2026 chunk v1";

/// A BLAKE3 state that has absorbed its context; cloning it is cheaper than deriving it again.
type Derived = LazyLock<blake3::Hasher>;

static CHUNK: Derived = LazyLock::new(|| blake3::Hasher::new_derive_key(CHUNK_CONTEXT));
static OBJECT: Derived = LazyLock::new(|| blake3::Hasher::new_derive_key("melv 2026 object v1"));
static PAGE: Derived = LazyLock::new(|| blake3::Hasher::new_derive_key("melv 2026 page v1"));
static SPAN: Derived = LazyLock::new(|| blake3::Hasher::new_derive_key("melv 2026 span v1"));
static CONTENT: Derived = LazyLock::new(|| blake3::Hasher::new_derive_key("melv 2026 content v1"));

/// Computes the digest of one block: plain BLAKE3-256, so that anyone can check it with common tools.
#[must_use]
pub fn block_digest(block: &[u8]) -> BlockDigest {
    BlockDigest::from_bytes(*blake3::hash(block).as_bytes())
}

/// Computes the id of a chunk from its blocks' digests, in order, and their count.
#[must_use]
pub fn chunk_id(blocks: &[BlockDigest]) -> ChunkId {
    // A single update takes half the time of many; the count and all digests usually fit into one.
    const AT_ONCE: usize = 31;
    let mut piece = [0; 8 + AT_ONCE * DIGEST_LEN];
    piece[..8].copy_from_slice(&(blocks.len() as u64).to_le_bytes());
    let (first, rest) = blocks.split_at(blocks.len().min(AT_ONCE));
    for (place, block) in piece[8..].as_chunks_mut().0.iter_mut().zip(first) {
        *place = *block.as_bytes();
    }
    let mut hasher = Hasher::chunk();
    hasher.update(&piece[..8 + first.len() * DIGEST_LEN]);
    rest.iter().for_each(|block| hasher.update(block.as_bytes()));
    ChunkId::new(hasher.finish())
}

/// Computes the digest of a whole object: its id if it has one, otherwise the checksum at its end.
#[must_use]
pub fn object_digest(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::object();
    hasher.update(bytes);
    hasher.finish()
}

/// Computes the digest of one page of a table of fixed-size records.
#[must_use]
pub fn page_digest(records: &[u8]) -> Digest {
    let mut hasher = Hasher(PAGE.clone());
    hasher.update(records);
    hasher.finish()
}

/// An incremental digest.
#[derive(Clone, Debug)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// Starts a chunk id.
    #[must_use]
    pub fn chunk() -> Self {
        Self(CHUNK.clone())
    }

    /// Starts an object digest.
    #[must_use]
    pub fn object() -> Self {
        Self(OBJECT.clone())
    }

    /// Starts a span digest.
    #[must_use]
    pub fn span() -> Self {
        Self(SPAN.clone())
    }

    /// Starts a content id.
    #[must_use]
    pub fn content() -> Self {
        Self(CONTENT.clone())
    }

    /// Absorbs bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of all bytes absorbed.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_digest_convert_both_ways() {
        let digest = block_digest(b"abc");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!("AB".repeat(32).parse::<BlockDigest>(), Err(ParseDigestError));
        assert_eq!("ab".parse::<Digest>(), Err(ParseDigestError));
    }

    #[test]
    fn a_chunk_id_depends_on_count_and_order() {
        let (a, b) = (block_digest(b"a"), block_digest(b"b"));
        assert_ne!(chunk_id(&[a, b]), chunk_id(&[b, a]));
        assert_ne!(chunk_id(&[a]), chunk_id(&[a, b]));
    }
}
