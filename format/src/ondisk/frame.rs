//! A frame: the stored form of a chunk, or of some of its blocks (spec section 6.3).
//!
//! ```text
//! codec u8 | transform u8 | flags u8 | 0 | [mask | digests of the absent blocks] | payload
//! ```

use super::cursor::{Cursor, Put};
use crate::codec::Codec;
use crate::digest::{BlockDigest, DIGEST_LEN};
use crate::fault::RuleViolation;
use crate::limits::BLOCK_LEN;

/// Bytes before the mask or the payload.
pub const HEAD_LEN: usize = 4;
const FLAG_PARTIAL: u8 = 1;

/// The blocks of a chunk that a frame holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// All blocks.
    Whole,
    /// Some blocks. The frame has the digests of the absent ones, so that the chunk id can be checked.
    Partial {
        /// Bit *b* % 8 of byte *b* / 8 is set if block *b* is present.
        mask: Vec<u8>,
        /// The digests of the absent blocks, in ascending order.
        absent: Vec<BlockDigest>,
    },
}

/// Whether bit `block` of `mask` is set.
#[must_use]
pub fn has(mask: &[u8], block: u32) -> bool {
    mask.get(block as usize / 8).is_some_and(|byte| byte >> (block % 8) & 1 == 1)
}

/// A parsed frame; the payload is not decoded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The codec of the payload.
    pub codec: Codec,
    /// The blocks that the frame holds.
    pub presence: Presence,
    /// The encoded blocks.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Parses and checks a frame of a chunk of `blocks` blocks.
    pub fn decode(bytes: &'a [u8], blocks: u32) -> Result<Self, RuleViolation> {
        let mut cursor = Cursor::new(bytes);
        let codec = Codec::from_number(cursor.u8()?)?;
        let transform = cursor.u8()?;
        if transform != 0 {
            return Err(RuleViolation::Transform { found: transform });
        }
        let flags = cursor.u8()?;
        if flags & !FLAG_PARTIAL != 0 {
            return Err(RuleViolation::Reserved { offset: 2 });
        }
        cursor.reserved(1)?;
        let presence = if flags & FLAG_PARTIAL == 0 {
            Presence::Whole
        } else {
            let mask = cursor.bytes(blocks.div_ceil(8) as usize)?.to_vec();
            let held: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
            let within = (0..blocks).filter(|&block| has(&mask, block)).count();
            if held == 0 || held >= blocks || within != held as usize {
                return Err(RuleViolation::FrameMask);
            }
            let absent = (held..blocks).map(|_| cursor.id()).collect::<Result<_, _>>()?;
            Presence::Partial { mask, absent }
        };
        Ok(Self { codec, presence, payload: cursor.rest() })
    }

    /// Returns the number of blocks held, for a chunk of `blocks` blocks.
    #[must_use]
    pub fn held(&self, blocks: u32) -> u32 {
        match &self.presence {
            Presence::Whole => blocks,
            Presence::Partial { mask, .. } => mask.iter().map(|byte| byte.count_ones()).sum(),
        }
    }

    /// Decodes the held blocks, back to back, into `plain`, which has exactly their length.
    pub fn decode_payload(&self, plain: &mut [u8]) -> Result<(), RuleViolation> {
        self.codec.decode(self.payload, plain)
    }
}

/// Appends the head of a whole frame; the payload follows.
pub fn encode_head(codec: Codec, out: &mut Vec<u8>) {
    out.extend_from_slice(&[codec as u8, 0, 0, 0]);
}

/// Appends the head, mask and digests of a partial frame; the payload follows.
pub fn encode_partial_head(codec: Codec, mask: &[u8], absent: &[BlockDigest], out: &mut Vec<u8>) {
    out.reserve(HEAD_LEN + mask.len() + absent.len() * DIGEST_LEN);
    out.extend_from_slice(&[codec as u8, 0, FLAG_PARTIAL, 0]);
    out.extend_from_slice(mask);
    for digest in absent {
        out.put_id(digest);
    }
}

/// Returns the length of `blocks` blocks, in bytes.
#[must_use]
pub fn plain_len(blocks: u32) -> usize {
    blocks as usize * BLOCK_LEN
}
