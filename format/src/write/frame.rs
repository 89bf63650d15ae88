//! Encodes frames. Data that does not shrink is stored raw.

use crate::codec::{Codec, zstd};
use crate::digest::{BlockDigest, ChunkId};
use crate::error::{Error, Result};
use crate::ondisk::frame;

/// Appends the whole frame of chunk `id`.
///
/// # Errors
/// Fails if zstd runs out of memory.
pub(crate) fn encode_whole(id: &ChunkId, plain: &[u8], level: i32, out: &mut Vec<u8>) -> Result<()> {
    encode(id, plain, level, out, frame::encode_head)
}

/// Appends a frame of some blocks of chunk `id`: those of `mask`, back to back in `plain`. `absent` are the
/// digests of the others.
///
/// # Errors
/// Fails if zstd runs out of memory.
pub(crate) fn encode_partial(
    id: &ChunkId,
    plain: &[u8],
    mask: &[u8],
    absent: &[BlockDigest],
    level: i32,
    out: &mut Vec<u8>,
) -> Result<()> {
    encode(id, plain, level, out, |codec, out| frame::encode_partial_head(codec, mask, absent, out))
}

fn encode(
    id: &ChunkId,
    plain: &[u8],
    level: i32,
    out: &mut Vec<u8>,
    head: impl Fn(Codec, &mut Vec<u8>),
) -> Result<()> {
    let start = out.len();
    head(Codec::Zstd, out);
    let payload = out.len();
    zstd::encode(plain, level, out).map_err(|error| Error::io("compress", format!("chunk {id}"), error))?;
    if out.len() - payload >= plain.len() {
        out.truncate(start);
        head(Codec::Raw, out);
        out.extend_from_slice(plain);
    }
    Ok(())
}
