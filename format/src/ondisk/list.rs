//! A chunk list: pages of chunk ids, then the root that refers to them (spec section 6.1).
//!
//! ```text
//! page 0 | page 1 | … | root | u64 length of the root
//! ```
//!
//! A page holds 1024 ids, the last one fewer, so an id's position follows from its number alone.

use super::cursor::Put;
use super::header::{self, Kind};
use crate::digest::{DIGEST_LEN, Digest};
use crate::fault::RuleViolation;
use crate::limits::{BLOCK_BITS, CHUNK_BLOCKS_MAX, LIST_BLOCKS_MAX, LIST_CHUNKS_MAX, TABLE_PAGE_RECORDS};

/// Bytes of the root's length at the end of the file.
pub const TRAILER_LEN: u64 = 8;

/// Returns the end of a list or locator file: its root, then the root's length.
#[must_use]
pub fn with_trailer(mut root: Vec<u8>) -> Vec<u8> {
    let len = root.len() as u64;
    root.put_u64(len);
    root
}
const FIXED_LEN: u64 = 48;

/// A list's shape: its root without the digests of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListShape {
    /// Blocks in every chunk but the last; a power of two.
    pub chunk_blocks: u32,
    /// Blocks in the list.
    pub blocks: u64,
}

impl ListShape {
    /// Returns the number of chunks in the list.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.blocks.div_ceil(u64::from(self.chunk_blocks))
    }

    /// Returns the number of blocks in chunk `chunk`.
    #[must_use]
    pub fn blocks_of(&self, chunk: u64) -> u32 {
        let first = chunk.saturating_mul(u64::from(self.chunk_blocks));
        let left = self.blocks.saturating_sub(first);
        u32::try_from(left).unwrap_or(u32::MAX).min(self.chunk_blocks)
    }

    /// Returns the number of pages of chunk ids.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.chunks().div_ceil(TABLE_PAGE_RECORDS)
    }

    /// Returns the offset of the root in the file.
    #[must_use]
    pub fn root_offset(&self) -> u64 {
        self.chunks() * DIGEST_LEN as u64
    }

    /// Returns the length of the root, in bytes.
    #[must_use]
    pub fn root_len(&self) -> u64 {
        FIXED_LEN + self.pages() * DIGEST_LEN as u64
    }

    /// Returns the length of the file, in bytes.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.root_offset() + self.root_len() + TRAILER_LEN
    }

    /// Checks the limits.
    pub fn check(&self) -> Result<(), RuleViolation> {
        if !self.chunk_blocks.is_power_of_two() || self.chunk_blocks > CHUNK_BLOCKS_MAX {
            return Err(RuleViolation::ChunkBlocks { found: self.chunk_blocks });
        }
        if self.blocks == 0 {
            return Err(RuleViolation::EmptyList);
        }
        if self.blocks > LIST_BLOCKS_MAX {
            return Err(RuleViolation::Limit {
                what: "blocks of a list",
                found: self.blocks,
                max: LIST_BLOCKS_MAX,
            });
        }
        if self.chunks() > LIST_CHUNKS_MAX {
            return Err(RuleViolation::Limit {
                what: "chunks of a list",
                found: self.chunks(),
                max: LIST_CHUNKS_MAX,
            });
        }
        Ok(())
    }
}

/// A list's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRoot {
    /// The shape.
    pub shape: ListShape,
    /// The digest of each page of chunk ids.
    pub pages: Vec<Digest>,
}

impl ListRoot {
    /// Encodes the root; its object digest is the list's id.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = header::begin(Kind::List);
        out.extend_from_slice(&[BLOCK_BITS, 0, 0, 0]);
        out.put_u32(self.shape.chunk_blocks);
        out.put_u64(self.shape.blocks);
        for page in &self.pages {
            out.put_digest(page);
        }
        header::finish(&mut out);
        out
    }

    /// Decodes and checks a root.
    pub fn decode(bytes: &[u8]) -> Result<Self, RuleViolation> {
        let (_, mut cursor) = header::decode_whole(Kind::List, bytes)?;
        let block_bits = cursor.u8()?;
        if block_bits != BLOCK_BITS {
            return Err(RuleViolation::BlockBits { found: block_bits });
        }
        cursor.reserved(3)?;
        let shape = ListShape { chunk_blocks: cursor.u32()?, blocks: cursor.u64()? };
        shape.check()?;
        let count = cursor.count("pages of a list", shape.pages(), DIGEST_LEN)?;
        let pages = (0..count).map(|_| cursor.digest()).collect::<Result<_, _>>()?;
        cursor.end()?;
        Ok(Self { shape, pages })
    }
}
