//! Shared code of the benches: made-up disks, counting readers, and the oracle for stored sizes.

pub mod figures;
pub mod floor;
pub mod memory;
pub mod nbd;
pub mod numbered;
pub mod paired;
pub mod report;
pub mod watched;
pub mod workload;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use melv::storage::ReadAt;
use melv::{BlockDevice, Run, RunKind};
use rayon::prelude::*;

/// Bytes in a block.
pub const BLOCK_LEN: usize = 4096;

/// A reader that logs the offset and length of each call. Clones share the log.
#[derive(Debug)]
pub struct Counted<R> {
    inner: Arc<R>,
    calls: Arc<Mutex<Vec<(u64, usize)>>>,
}

impl<R> Clone for Counted<R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), calls: self.calls.clone() }
    }
}

impl<R> Counted<R> {
    /// Wraps `inner` with an empty log.
    pub fn new(inner: R) -> Self {
        Self { inner: Arc::new(inner), calls: Arc::default() }
    }

    /// Returns the calls since the last `take`.
    #[must_use]
    pub fn take(&self) -> Vec<(u64, usize)> {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<R: ReadAt> ReadAt for Counted<R> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push((offset, buf.len()));
        self.inner.read_exact_at(buf, offset)
    }
}

/// Returns the offset of the first data at or after `from`, or the disk's size if there is none.
///
/// # Errors
/// Any error of the disk's map.
pub fn first_data(device: &dyn BlockDevice, from: u64) -> melv::Result<u64> {
    let mut at = from;
    while at < device.size() {
        let run = device.map(at, device.size() - at)?;
        if run.kind == RunKind::Data {
            break;
        }
        at += run.len;
    }
    Ok(at)
}

/// A wide disk with 16 KiB of data at even distances, none of it repeated.
#[derive(Debug)]
pub struct WideDisk {
    size: u64,
    apart: u64,
}

const TIB: u64 = 1 << 40;
const MIB: u64 = 1 << 20;
const DATA: u64 = 4 * BLOCK_LEN as u64;

impl WideDisk {
    /// Makes a disk of `tib` TiB with data every `mib` MiB.
    #[must_use]
    pub fn new(tib: u64, mib: u64) -> Self {
        Self { size: tib * TIB, apart: mib * MIB }
    }

    /// Makes a disk of 1 TiB whose map has every leaf: each covers 256 MiB.
    #[must_use]
    pub fn of_one_tib() -> Self {
        Self::new(1, 256)
    }
}

impl BlockDevice for WideDisk {
    fn size(&self) -> u64 {
        self.size
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> melv::Result<()> {
        for (block, at) in buf.chunks_mut(BLOCK_LEN).zip((offset..).step_by(BLOCK_LEN)) {
            block.fill(0);
            if at % self.apart < DATA {
                block[..8].copy_from_slice(&(at + 1).to_le_bytes());
            }
        }
        Ok(())
    }
    fn map(&self, offset: u64, len: u64) -> melv::Result<Run> {
        let within = offset % self.apart;
        let (kind, left) =
            if within < DATA { (RunKind::Data, DATA - within) } else { (RunKind::Zero, self.apart - within) };
        Ok(Run { kind, len: left.min(len) })
    }
    fn name(&self) -> String {
        "wide".into()
    }
}

/// The sizes that exact sharing and bare zstd reach on disks in a given order. Uses only blake3 and zstd,
/// none of melv's code.
#[derive(Debug)]
pub struct Oracle {
    seen: HashSet<[u8; 32]>,
    chunk_len: usize,
    level: i32,
}

/// The bytes that one disk adds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Brought {
    /// Bytes in blocks that are not zero.
    pub data_bytes: u64,
    /// Bytes in blocks not seen before.
    pub new_bytes: u64,
    /// Bytes of the new blocks after zstd, per chunk; a chunk that does not shrink counts in full.
    pub compressed_bytes: u64,
}

impl Oracle {
    /// Makes an oracle that has seen no disk.
    #[must_use]
    pub fn new(chunk_len: usize, level: i32) -> Self {
        Self { seen: HashSet::new(), chunk_len, level }
    }

    /// Takes the next disk.
    ///
    /// # Errors
    /// Any read error.
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

/// Returns the digest of a block, padded with zeros; `None` if it is all zeros.
#[must_use]
pub fn digest(block: &[u8]) -> Option<[u8; 32]> {
    let mut padded = [0; BLOCK_LEN];
    padded[..block.len()].copy_from_slice(block);
    padded.iter().any(|&byte| byte != 0).then(|| *blake3::hash(&padded).as_bytes())
}

/// Makes a disk of `blocks` blocks that compresses about as well as programs do and repeats no block.
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
        // Half noise, half repeats of a word: zstd reduces it to a little less than half.
        let word = next().to_le_bytes();
        let repeats = (next() % 12) as usize;
        disk.extend_from_slice(&next().to_le_bytes());
        (0..repeats).for_each(|_| disk.extend_from_slice(&word[..4]));
    }
    disk.truncate(blocks * BLOCK_LEN);
    disk
}
