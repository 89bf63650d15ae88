//! zstd: with [`super::profile`]'s tests, the only module that names `zstd`.
//!
//! Contexts are reused per thread: creating one costs more than decoding a chunk.

use std::cell::RefCell;
use std::io::{self, Cursor};

use ::zstd::bulk::{Compressor, Decompressor};

use crate::fault::RuleViolation;

thread_local! {
    static DECODER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    static ENCODER: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
}

/// The compression levels that the encoder accepts.
pub const LEVELS: std::ops::RangeInclusive<i32> = 1..=19;

/// Fills `plain` exactly from one zstd frame that passed [`super::profile::check`].
pub(super) fn decode(payload: &[u8], plain: &mut [u8]) -> Result<(), RuleViolation> {
    DECODER.with_borrow_mut(|slot| {
        let refused = |error: io::Error| RuleViolation::ZstdDecode { reason: error.to_string() };
        let decoder = match slot {
            Some(decoder) => decoder,
            None => slot.insert(Decompressor::new().map_err(refused)?),
        };
        let made = decoder.decompress_to_buffer(payload, plain).map_err(refused)?;
        if made == plain.len() {
            Ok(())
        } else {
            Err(RuleViolation::DecodedLength { expected: plain.len() as u64, found: made as u64 })
        }
    })
}

/// Appends the zstd frame of `plain` to `out`.
///
/// # Errors
/// Fails if zstd refuses the level or runs out of memory.
pub fn encode(plain: &[u8], level: i32, out: &mut Vec<u8>) -> io::Result<()> {
    ENCODER.with_borrow_mut(|slot| {
        let encoder = match slot {
            Some((made_for, encoder)) if *made_for == level => encoder,
            _ => &mut slot.insert((level, Compressor::new(level)?)).1,
        };
        let start = out.len();
        out.reserve(zstd_bound(plain.len()));
        // zstd writes after the existing bytes, so nothing is zeroed first.
        let mut behind = Cursor::new(out);
        behind.set_position(start as u64);
        encoder.compress_to_buffer(plain, &mut behind).map(drop)
    })
}

/// Returns the maximum compressed size of `len` bytes (zstd's `ZSTD_COMPRESSBOUND`).
fn zstd_bound(len: usize) -> usize {
    len + (len >> 8) + if len < 128 << 10 { ((128 << 10) - len) >> 11 } else { 0 }
}
