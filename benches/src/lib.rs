//! What benches share: made-up disks, and the oracle that stored sizes are held against.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rayon::prelude::*;

/// Bytes in a block.
pub const BLOCK_LEN: usize = 4096;

/// What exact sharing and bare zstd make of disks in a given order: nothing but blake3 and zstd,
/// none of melv's code.
#[derive(Debug)]
pub struct Oracle {
    seen: HashSet<[u8; 32]>,
    chunk_len: usize,
    level: i32,
}

/// What one disk brings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Brought {
    /// Bytes in blocks that are not zero.
    pub data_bytes: u64,
    /// Those not seen before.
    pub new_bytes: u64,
    /// What zstd makes of them, in chunks, or the chunk where that is no smaller.
    pub compressed_bytes: u64,
}

impl Oracle {
    /// An oracle that has seen nothing.
    #[must_use]
    pub fn new(chunk_len: usize, level: i32) -> Self {
        Self { seen: HashSet::new(), chunk_len, level }
    }

    /// Takes the next disk.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn disk(&mut self, path: &Path) -> io::Result<Brought> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut brought = Brought::default();
        let mut new = Vec::new();
        let mut piece = vec![0; 16 << 20];
        let mut offset = 0;
        while offset < size {
            let len = (size - offset).min(piece.len() as u64) as usize;
            file.read_exact_at(&mut piece[..len], offset)?;
            self.piece(&mut piece[..len], &mut brought, &mut new);
            let whole = new.len() - new.len() % self.chunk_len;
            brought.compressed_bytes += self.compress(&new[..whole])?;
            new.drain(..whole);
            offset += len as u64;
        }
        brought.compressed_bytes += self.compress(&new)?;
        Ok(brought)
    }

    fn piece(&mut self, piece: &mut [u8], brought: &mut Brought, new: &mut Vec<u8>) {
        let digests: Vec<_> = piece.par_chunks(BLOCK_LEN).map(digest).collect();
        for (block, digest) in piece.chunks(BLOCK_LEN).zip(digests) {
            let Some(digest) = digest else { continue };
            brought.data_bytes += BLOCK_LEN as u64;
            if self.seen.insert(digest) {
                brought.new_bytes += BLOCK_LEN as u64;
                new.extend_from_slice(block);
                new.resize(new.len().next_multiple_of(BLOCK_LEN), 0);
            }
        }
    }

    fn compress(&self, new: &[u8]) -> io::Result<u64> {
        let one = |chunk: &[u8]| Ok(zstd::bulk::compress(chunk, self.level)?.len().min(chunk.len()) as u64);
        new.par_chunks(self.chunk_len).map(one).sum()
    }
}

/// The digest of a block, padded with zeros; `None` where it is all zeros.
fn digest(block: &[u8]) -> Option<[u8; 32]> {
    let mut padded = [0; BLOCK_LEN];
    padded[..block.len()].copy_from_slice(block);
    padded.iter().any(|&byte| byte != 0).then(|| *blake3::hash(&padded).as_bytes())
}

/// A disk of `blocks` blocks that compresses about as programs do, and repeats nothing.
#[must_use]
pub fn made_up_disk(blocks: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut disk = Vec::with_capacity(blocks * BLOCK_LEN);
    while disk.len() < blocks * BLOCK_LEN {
        // Half noise, half repeats of a word: zstd makes a little less than half of it.
        let word = next().to_le_bytes();
        let repeats = (next() % 12) as usize;
        disk.extend_from_slice(&next().to_le_bytes());
        (0..repeats).for_each(|_| disk.extend_from_slice(&word[..4]));
    }
    disk.truncate(blocks * BLOCK_LEN);
    disk
}
