//! Builders of sound objects, and of unsound ones with valid checksums.

use std::fmt::Debug;
use std::str::FromStr;

use melv::digest::{BlockDigest, ChunkId, DIGEST_LEN, PackId, object_digest};
use melv::limits::BLOCK_LEN;
use melv::ondisk::header::HEADER_LEN;
use melv::ondisk::pack;

/// The offsets of header fields.
pub const MAJOR: usize = 8;
pub const MINOR: usize = 9;
pub const ALGORITHM: usize = 10;
pub const REFUSE: usize = 12;
pub const IGNORE: usize = 16;
pub const WRITER: usize = 20;
const BODY_LEN: usize = 24;

/// Returns `bytes` with `new` written over them at `at`.
pub fn patch(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

/// Returns `bytes` followed by `more`.
pub fn longer(bytes: &[u8], more: &[u8]) -> Vec<u8> {
    [bytes, more].concat()
}

/// Sets the header's body length to the actual length.
pub fn fit(bytes: Vec<u8>) -> Vec<u8> {
    let body_len = (bytes.len() - HEADER_LEN) as u64;
    patch(&bytes, BODY_LEN, &body_len.to_le_bytes())
}

/// Recomputes the digest at the end of the object.
pub fn seal(bytes: &[u8]) -> Vec<u8> {
    let covered = bytes.len() - DIGEST_LEN;
    patch(bytes, covered, &object_digest(&bytes[..covered]).0)
}

/// Recomputes the digest over a record's head and places.
pub fn seal_record(bytes: &[u8]) -> Vec<u8> {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let start = 96 + number(32);
    let len = 32 * number(44) + 16 * (number(48) + number(52));
    let covered = [&bytes[..64], &bytes[start..start + len]].concat();
    patch(bytes, 64, &object_digest(&covered).0)
}

/// Makes a digest of one repeated number.
pub fn made_up<I: FromStr<Err: Debug>>(number: u8) -> I {
    format!("{number:02x}").repeat(DIGEST_LEN).parse().unwrap()
}

/// Makes a block of one repeated byte.
pub fn block(byte: u8) -> Vec<u8> {
    vec![byte; BLOCK_LEN]
}

/// Makes an incompressible block, the same on every machine: xorshift64.
pub fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..BLOCK_LEN / 8).flat_map(|_| next()).collect()
}

/// Returns the guard of a frame.
pub fn guard(id: &ChunkId, stored: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(stored, id.prefix())
}

/// Returns a guard as the index writes it.
pub fn guard_text(id: &ChunkId, stored: &[u8]) -> String {
    format!("{:016x}", guard(id, stored))
}

/// The kinds of zstd blocks.
pub const ZSTD_RAW: u32 = 0;
pub const ZSTD_RLE: u32 = 1;
pub const ZSTD_COMPRESSED: u32 = 2;
pub const ZSTD_RESERVED: u32 = 3;

/// Makes a zstd block; its header states `len`.
pub fn zstd_block(kind: u32, len: u32, last: bool, body: &[u8]) -> Vec<u8> {
    let head = u32::from(last) | kind << 1 | len << 3;
    [&head.to_le_bytes()[..3], body].concat()
}

/// Makes a zstd frame of 256 to 65,791 bytes of content in one segment.
pub fn zstd_frame(content_len: u16, blocks: &[Vec<u8>]) -> Vec<u8> {
    let stated = (content_len - 256).to_le_bytes();
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x60], &stated[..], &blocks.concat()].concat()
}

/// Makes a zstd frame of less than 256 bytes in one raw block; it states `content_len`.
pub fn zstd_small(content_len: u8, bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap();
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, content_len], &zstd_block(ZSTD_RAW, len, true, bytes)[..]].concat()
}

/// Makes a zstd frame of runs of one byte.
pub fn zstd_runs(runs: &[(u8, u32)]) -> Vec<u8> {
    let total: u32 = runs.iter().map(|(_, len)| len).sum();
    let last = runs.len() - 1;
    let block =
        |(number, (byte, len)): (usize, &(u8, u32))| zstd_block(ZSTD_RLE, *len, number == last, &[*byte]);
    zstd_frame(u16::try_from(total).unwrap(), &runs.iter().enumerate().map(block).collect::<Vec<_>>())
}

/// Makes a whole frame: codec, no transform, no flags.
pub fn whole(codec: u8, payload: &[u8]) -> Vec<u8> {
    [&[codec, 0, 0, 0], payload].concat()
}

/// Makes a partial frame.
pub fn partial(codec: u8, mask: &[u8], absent: &[BlockDigest], payload: &[u8]) -> Vec<u8> {
    let absent: Vec<u8> = absent.iter().flat_map(|digest| *digest.as_bytes()).collect();
    [&[codec, 0, 1, 0], mask, &absent, payload].concat()
}

/// Makes a pack with this head, and its id; each frame comes with its chunk's id.
pub fn pack_of(head: &[u8], frames: &[(ChunkId, Vec<u8>)]) -> (Vec<u8>, PackId) {
    let index: Vec<u8> = frames
        .iter()
        .flat_map(|(id, frame)| {
            let len = u32::try_from(frame.len()).unwrap();
            [&id.as_bytes()[..8], &len.to_le_bytes(), &guard(id, frame).to_le_bytes()].concat()
        })
        .collect();
    let bodies: Vec<u8> = frames.iter().flat_map(|(_, frame)| frame.clone()).collect();
    let counts = [(frames.len() as u64).to_le_bytes(), (bodies.len() as u64).to_le_bytes()].concat();
    let id = PackId::new(object_digest(&[head, &index, &counts].concat()));
    ([head, &bodies, &index, &counts, id.as_bytes(), b"melvpend"].concat(), id)
}

/// Makes a pack as this version writes it.
pub fn pack(frames: &[(ChunkId, Vec<u8>)]) -> (Vec<u8>, PackId) {
    pack_of(&pack::encode_head(), frames)
}

/// Returns a table's pages, its root and the length of the root.
pub fn table_file(pages: &[u8], root: &[u8]) -> Vec<u8> {
    [pages, root, &(root.len() as u64).to_le_bytes()].concat()
}
