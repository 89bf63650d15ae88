//! The cost on this machine of the steps that the format requires of a read or an import, and nothing else.
//! Calls only libc (through `std`), zstd and BLAKE3; contexts and buffers are reused, pages are warm.
//!
//! | floor | steps |
//! |---|---|
//! | cold read | pread of the frame, decode, copy of 4 KiB to the caller |
//! | the same, checked | also the digests of the chunk's blocks and its id |
//! | hot read | pread of 4 KiB of a raw file in the page cache |
//! | sequential read | pread of each frame, decode into the caller's memory; or checked |
//! | import, unique | pread, test for zeros, digest of each block, zstd of each chunk of new blocks |
//! | import, shared | pread, test for zeros, digest of each block |
//!
//! No floor includes the frame's guard: it is a choice of the format, not a cost of the machine.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use blake3::IncrementCounter;
use blake3::platform::Platform;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, get_error_name};

/// Bytes in a block.
pub const BLOCK_LEN: usize = 4096;
/// Bytes before a frame's payload.
const HEAD_LEN: usize = 4;
/// The number of blocks hashed side by side: BLAKE3's widest.
const LANES: usize = 16;
/// Bytes per read call where a disk is read in order.
const SPAN_LEN: usize = 1 << 20;

/// A frame in a file, and the wanted block in it.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The index of the file.
    pub file: usize,
    /// The offset of the frame in its file.
    pub offset: u64,
    /// The length of the frame, in bytes.
    pub len: usize,
    /// The length of the chunk, in bytes.
    pub plain_len: usize,
    /// The offset of the wanted block in the chunk.
    pub within: usize,
}

fn zstd_error(code: usize) -> io::Error {
    io::Error::other(get_error_name(code))
}

/// One thread's contexts and buffers.
pub struct Worker {
    decoder: DCtx<'static>,
    stored: Vec<u8>,
    plain: Vec<u8>,
    chunk_key: blake3::Hasher,
    digests: Vec<[u8; 32]>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            decoder: DCtx::create(),
            stored: Vec::new(),
            plain: Vec::new(),
            chunk_key: blake3::Hasher::new_derive_key("melv 2026 chunk v1"),
            digests: Vec::new(),
        }
    }
}

/// Decodes a frame into `plain`; `stored` begins with the frame's head.
fn decode(decoder: &mut DCtx<'_>, stored: &[u8], plain: &mut [u8]) -> io::Result<()> {
    let (head, payload) = stored.split_at(HEAD_LEN);
    if head[0] == 0 {
        plain.copy_from_slice(payload);
        return Ok(());
    }
    let made = decoder.decompress(plain, payload).map_err(zstd_error)?;
    if made == plain.len() { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

impl Worker {
    /// Reads and decodes one frame, verifies it if `checked`, and copies the wanted block to `out`.
    ///
    /// # Errors
    /// Any read or decode error.
    pub fn cold(&mut self, files: &[File], wanted: &Wanted, checked: bool, out: &mut [u8]) -> io::Result<()> {
        let mut plain = std::mem::take(&mut self.plain);
        plain.resize(wanted.plain_len, 0);
        self.frame(files, wanted, checked, &mut plain)?;
        out.copy_from_slice(&plain[wanted.within..wanted.within + out.len()]);
        self.plain = plain;
        Ok(())
    }

    /// Reads and decodes one frame into `plain`.
    fn frame(&mut self, files: &[File], wanted: &Wanted, checked: bool, plain: &mut [u8]) -> io::Result<()> {
        self.stored.resize(wanted.len, 0);
        files[wanted.file].read_exact_at(&mut self.stored, wanted.offset)?;
        decode(&mut self.decoder, &self.stored, plain)?;
        if checked {
            self.digests.clear();
            digests_of_blocks(plain.chunks_exact(BLOCK_LEN), &mut self.digests);
            let mut id = self.chunk_key.clone();
            id.update(&(self.digests.len() as u64).to_le_bytes());
            id.update(self.digests.as_flattened());
            std::hint::black_box(id.finalize());
        }
        Ok(())
    }

    /// Decodes a frame that is in memory.
    ///
    /// # Errors
    /// Any decode error.
    pub fn decode(&mut self, stored: &[u8], plain_len: usize) -> io::Result<()> {
        self.plain.resize(plain_len, 0);
        decode(&mut self.decoder, stored, &mut self.plain)
    }
}

/// Calls `work` once with each number below `count`, on `threads` threads.
fn share_out<S: Default>(
    threads: usize,
    count: usize,
    work: impl Fn(&mut S, usize) -> io::Result<()> + Sync,
) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    let one = || {
        let mut state = S::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            work(&mut state, number)?;
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(one)).collect();
        let own = one();
        let joined = others.into_iter().map(|other| other.join().unwrap_or(Err(io::ErrorKind::Other.into())));
        joined.fold(own, io::Result::and)
    })
}

/// Frames per task of a thread: a span of plain bytes.
const FRAMES_AT_ONCE: usize = 32;

/// Reads and decodes frames in order into a span's memory, on `threads` threads.
///
/// # Errors
/// Any read or decode error.
pub fn sequential(files: &[File], frames: &[Wanted], checked: bool, threads: usize) -> io::Result<()> {
    share_out(threads, frames.len().div_ceil(FRAMES_AT_ONCE), |state: &mut (Worker, Vec<u8>), group| {
        let (worker, span) = state;
        let frames = frames.iter().skip(group * FRAMES_AT_ONCE).take(FRAMES_AT_ONCE);
        let mut at = 0;
        for wanted in frames {
            let end = at + wanted.plain_len;
            span.resize(span.len().max(end), 0);
            worker.frame(files, wanted, checked, &mut span[at..end])?;
            at = end;
        }
        Ok(())
    })
}

/// Decodes frames that are in memory, on `threads` threads.
///
/// # Errors
/// Any decode error.
pub fn decode_all(frames: &[(Vec<u8>, usize)], threads: usize) -> io::Result<()> {
    share_out(threads, frames.len().div_ceil(FRAMES_AT_ONCE), |worker: &mut Worker, group| {
        let mut frames = frames.iter().skip(group * FRAMES_AT_ONCE).take(FRAMES_AT_ONCE);
        frames.try_for_each(|(stored, plain_len)| worker.decode(stored, *plain_len))
    })
}

/// A span of data on a raw disk, with a flag per block for first occurrences.
#[derive(Debug, Clone)]
pub struct Span {
    /// The offset of the first byte.
    pub offset: u64,
    /// The length, in bytes.
    pub len: usize,
    /// For each block, whether it is to be compressed.
    pub is_new: Vec<bool>,
}

/// One thread's contexts and buffers of an import.
struct Importer {
    encoder: CCtx<'static>,
    span: Vec<u8>,
    chunk: Vec<u8>,
    frame: Vec<u8>,
    digests: Vec<[u8; 32]>,
}

impl Default for Importer {
    fn default() -> Self {
        Self {
            encoder: CCtx::create(),
            span: vec![0; SPAN_LEN],
            chunk: Vec::new(),
            frame: Vec::new(),
            digests: Vec::new(),
        }
    }
}

/// The compression of an import.
#[derive(Debug, Clone, Copy)]
pub struct Compression {
    /// Bytes of a chunk.
    pub chunk_len: usize,
    /// zstd's level.
    pub level: i32,
}

/// Reads and hashes the spans of a disk on `threads` threads, and compresses their new blocks if `how` is
/// given.
///
/// # Errors
/// Any read or compression error.
pub fn import(file: &File, spans: &[Span], how: Option<Compression>, threads: usize) -> io::Result<()> {
    share_out(threads, spans.len(), |importer: &mut Importer, number| {
        let span = &spans[number];
        let data = &mut importer.span[..span.len];
        file.read_exact_at(data, span.offset)?;
        let blocks = data.chunks_exact(BLOCK_LEN);
        importer.digests.clear();
        digests_of_blocks(blocks.clone().filter(|block| !is_zero(block)), &mut importer.digests);
        std::hint::black_box(&importer.digests);
        let Some(Compression { chunk_len, level }) = how else { return Ok(()) };
        importer.chunk.clear();
        for (block, _) in blocks.zip(&span.is_new).filter(|(_, is_new)| **is_new) {
            importer.chunk.extend_from_slice(block);
        }
        importer.encoder.set_parameter(CParameter::CompressionLevel(level)).map_err(zstd_error)?;
        for chunk in importer.chunk.chunks(chunk_len) {
            importer.frame.resize(2 * chunk_len, 0);
            importer.encoder.compress2(&mut importer.frame[..], chunk).map_err(zstd_error)?;
        }
        Ok(())
    })
}

fn is_zero(block: &[u8]) -> bool {
    block == [0; BLOCK_LEN]
}

/// BLAKE3's initial state, and its flags for the start and end of a chunk, a parent and the root (BLAKE3
/// specification, sections 2.2 and 2.3).
const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const PARENT: u8 = 4;
const ROOT: u8 = 8;
const LEAF_LEN: usize = 1024;
const LEAVES: usize = BLOCK_LEN / LEAF_LEN;

/// Appends the BLAKE3 digests of blocks, as many at once as the machine has lanes.
fn digests_of_blocks<'a>(mut blocks: impl Iterator<Item = &'a [u8]>, out: &mut Vec<[u8; 32]>) {
    let platform = Platform::detect();
    let mut group: [&[u8]; LANES] = [&[]; LANES];
    loop {
        let mut count = 0;
        for (slot, block) in group.iter_mut().zip(blocks.by_ref()) {
            *slot = block;
            count += 1;
        }
        if count == 0 {
            return;
        }
        digests_of_group(platform, &group[..count], out);
    }
}

fn digests_of_group(platform: Platform, blocks: &[&[u8]], out: &mut Vec<[u8; 32]>) {
    let mut leaves = [[[0; 32]; LEAVES]; LANES];
    let mut made = [0; 32 * LANES];
    let made = &mut made[..32 * blocks.len()];
    for leaf in 0..LEAVES {
        let mut inputs = [&[0; LEAF_LEN]; LANES];
        for (input, block) in inputs.iter_mut().zip(blocks) {
            // A block has exactly this many leaves.
            *input = block[leaf * LEAF_LEN..].first_chunk().unwrap_or(&[0; LEAF_LEN]);
        }
        platform.hash_many(
            &inputs[..blocks.len()],
            &IV,
            leaf as u64,
            IncrementCounter::No,
            0,
            CHUNK_START,
            CHUNK_END,
            made,
        );
        for (leaves, made) in leaves.iter_mut().zip(made.as_chunks().0) {
            leaves[leaf] = *made;
        }
    }
    let parents = |pairs: &[[u8; 64]], flags: u8, made: &mut [u8]| {
        let mut inputs = [&[0; 64]; LANES];
        inputs.iter_mut().zip(pairs).for_each(|(input, pair)| *input = pair);
        platform.hash_many(&inputs[..pairs.len()], &IV, 0, IncrementCounter::No, flags, 0, 0, made);
    };
    let mut halves = [[0; 64]; LANES];
    for half in 0..2 {
        let mut pairs = [[0; 64]; LANES];
        for (pair, leaves) in pairs.iter_mut().zip(&leaves) {
            pair.copy_from_slice(leaves[2 * half..2 * half + 2].as_flattened());
        }
        parents(&pairs[..blocks.len()], PARENT, made);
        for (whole, made) in halves.iter_mut().zip(made.chunks_exact(32)) {
            whole[32 * half..32 * half + 32].copy_from_slice(made);
        }
    }
    parents(&halves[..blocks.len()], PARENT | ROOT, made);
    out.extend(made.as_chunks().0);
}

/// Reads 4 KiB of a file at each place.
///
/// # Errors
/// Any read error.
pub fn preads(file: &File, places: &[u64], out: &mut [u8]) -> io::Result<()> {
    places.iter().try_for_each(|&at| file.read_exact_at(out, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_made_side_by_side_are_those_of_blake3() {
        let data: Vec<u8> = (0..40 * BLOCK_LEN).map(|at| (at / 5 % 253) as u8).collect();
        for count in 0..40 {
            let blocks = || data.chunks_exact(BLOCK_LEN).take(count);
            let mut found = Vec::new();
            digests_of_blocks(blocks(), &mut found);
            let expected: Vec<_> = blocks().map(|block| *blake3::hash(block).as_bytes()).collect();
            assert_eq!(found, expected, "{count} blocks");
        }
    }
}
