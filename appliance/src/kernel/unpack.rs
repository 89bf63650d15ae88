//! Compressed data, unpacked up to a limit. Memory grows with the output, never by a number that the data tell.

use std::io::Read;

use thiserror::Error;

/// Memory that an xz decoder may take: enough for dictionaries of 64 MiB (`xz -9`, and the kernel's 32 MiB).
const XZ_MEMORY: u64 = 80 << 20;
/// Log of the largest window of zstd: `--ultra -22`, as the kernel's build has it.
const ZSTD_WINDOW: u32 = 27;
/// Unpacked bytes of one LZ4 block of the legacy frame format.
const LZ4_BLOCK: usize = 8 << 20;

/// A fault of compressed data.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnpackFault {
    /// The data are damaged.
    #[error("the {0} data are damaged")]
    Damaged(&'static str),
    /// The output would be longer than allowed.
    #[error("the data unpack to more than {0} bytes")]
    TooLong(usize),
    /// A compression that is known by name alone.
    #[error("{0} is not supported; supported are xz, zstd, LZ4 and none")]
    Unsupported(&'static str),
    /// No known compression.
    #[error("no known compression; the data begin with {0:02x?}")]
    Unknown([u8; 4]),
}

/// Unpacks data of a compression that is told by its first bytes. Bytes after the end of a stream are left.
pub(super) fn unpack(data: &[u8], limit: usize) -> Result<Vec<u8>, UnpackFault> {
    match data {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => xz(data, limit),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => zstd(data, limit),
        [0x02, 0x21, 0x4c, 0x18, rest @ ..] => lz4(rest, limit),
        [0x7f, b'E', b'L', b'F', ..] if data.len() <= limit => Ok(data.to_vec()),
        [0x7f, b'E', b'L', b'F', ..] => Err(UnpackFault::TooLong(limit)),
        [0x1f, 0x8b, ..] => Err(UnpackFault::Unsupported("gzip")),
        [b'B', b'Z', b'h', ..] => Err(UnpackFault::Unsupported("bzip2")),
        [0x5d, 0, 0, ..] => Err(UnpackFault::Unsupported("LZMA")),
        [0x89, b'L', b'Z', b'O', ..] => Err(UnpackFault::Unsupported("LZO")),
        _ => {
            let byte = |at: usize| data.get(at).copied().unwrap_or_default();
            Err(UnpackFault::Unknown([byte(0), byte(1), byte(2), byte(3)]))
        }
    }
}

fn xz(data: &[u8], limit: usize) -> Result<Vec<u8>, UnpackFault> {
    let damaged = UnpackFault::Damaged("xz");
    let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0).map_err(|_| damaged.clone())?;
    read(liblzma::bufread::XzDecoder::new_stream(data, stream), limit, damaged)
}

fn zstd(data: &[u8], limit: usize) -> Result<Vec<u8>, UnpackFault> {
    let damaged = UnpackFault::Damaged("zstd");
    let mut decoder = zstd::Decoder::with_buffer(data).map_err(|_| damaged.clone())?.single_frame();
    decoder.window_log_max(ZSTD_WINDOW).map_err(|_| damaged.clone())?;
    read(decoder, limit, damaged)
}

fn read(decoder: impl Read, limit: usize, damaged: UnpackFault) -> Result<Vec<u8>, UnpackFault> {
    let mut output = Vec::new();
    decoder.take(limit as u64 + 1).read_to_end(&mut output).map_err(|_| damaged)?;
    if output.len() > limit { Err(UnpackFault::TooLong(limit)) } else { Ok(output) }
}

/// Unpacks the legacy frame format after its magic (`lz4 -l`): blocks with their lengths in 4 bytes, each of 8 MiB
/// once unpacked, but the last one. The kernel's build appends the unpacked size, so that the last length is short.
fn lz4(data: &[u8], limit: usize) -> Result<Vec<u8>, UnpackFault> {
    let damaged = || UnpackFault::Damaged("LZ4");
    let mut output: Vec<u8> = Vec::new();
    let mut rest = data;
    let mut block = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        if after.is_empty() {
            // These four bytes were the unpacked size.
            return if length == output.len() { Ok(output) } else { Err(damaged()) };
        }
        let packed = after.get(..length).ok_or_else(damaged)?;
        // A packed byte stands for at most 255 others.
        block.resize(LZ4_BLOCK.min(length.saturating_mul(255)), 0);
        let count = lz4_flex::block::decompress_into(packed, &mut block).map_err(|_| damaged())?;
        if output.len() + count > limit {
            return Err(UnpackFault::TooLong(limit));
        }
        output.extend_from_slice(&block[..count]);
        rest = &after[length..];
    }
    if rest.is_empty() { Ok(output) } else { Err(damaged()) }
}
