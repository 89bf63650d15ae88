//! Disks made from seeds, and the blocks that they bring.

use std::collections::{BTreeMap, HashSet};

use melv_block::{BlockDevice, BlockError, Result, Run, RunKind};

use crate::random::{BLOCK, Rng, noise, text};

/// Makes a disk of `size` bytes, any number: runs of zeros, of blocks from a small pool, of compressible and
/// of incompressible blocks.
pub fn random_disk(seed: u64, size: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut disk = Vec::with_capacity(size + BLOCK);
    while disk.len() < size {
        let run = 1 + rng.below(24);
        let kind = rng.below(5);
        for _ in 0..run {
            match kind {
                0 => disk.resize(disk.len() + BLOCK, 0),
                1 => disk.extend(text(rng.below(8))),
                2 => disk.extend(text(rng.next())),
                3 => disk.extend(noise(rng.below(16))),
                _ => disk.extend(noise(rng.next())),
            }
        }
    }
    disk.truncate(size);
    disk
}

/// A disk in memory that knows its zero blocks.
#[derive(Debug, Clone)]
pub struct VecDisk(pub Vec<u8>);

fn range_of(offset: u64, len: u64, size: u64) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(BlockError::OutOfRange { offset, len, size }.into()),
    }
}

impl BlockDevice for VecDisk {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        range_of(offset, buf.len() as u64, self.size())?;
        buf.copy_from_slice(&self.0[offset as usize..][..buf.len()]);
        Ok(())
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        range_of(offset, len, self.size())?;
        let end = ((offset / BLOCK as u64 + 1) * BLOCK as u64).min(offset + len);
        let zero = self.0[offset as usize..end as usize].iter().all(|&byte| byte == 0);
        Ok(Run { kind: if zero { RunKind::Zero } else { RunKind::Data }, len: end - offset })
    }

    fn name(&self) -> String {
        "vec".into()
    }
}

/// A disk of any size whose few blocks of data are made from seeds.
#[derive(Debug, Clone, Default)]
pub struct SeedDisk {
    /// In bytes.
    pub size: u64,
    /// Seeds by block number.
    pub blocks: BTreeMap<u64, u64>,
}

impl SeedDisk {
    /// Overwrites `count` blocks from `first` on.
    pub fn write(&mut self, first: u64, count: u64, seed: u64) {
        self.blocks.extend((0..count).map(|n| (first + n, seed + n)));
    }

    /// Makes a sparse disk with `per_leaf` blocks at the start of every 256 MiB.
    pub fn with_every_leaf(size: u64, per_leaf: u64) -> Self {
        let mut disk = Self { size, blocks: BTreeMap::new() };
        for leaf in 0..size.div_ceil(256 << 20) {
            disk.write(leaf << 16, per_leaf, leaf * 1000 + 7);
        }
        disk
    }
}

impl BlockDevice for SeedDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        range_of(offset, buf.len() as u64, self.size)?;
        let mut filled = 0;
        while filled < buf.len() {
            let at = offset + filled as u64;
            let within = (at % BLOCK as u64) as usize;
            let len = (BLOCK - within).min(buf.len() - filled);
            let out = &mut buf[filled..filled + len];
            match self.blocks.get(&(at / BLOCK as u64)) {
                Some(&seed) => out.copy_from_slice(&noise(seed)[within..within + len]),
                None => out.fill(0),
            }
            filled += len;
        }
        Ok(())
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        range_of(offset, len, self.size)?;
        let block = offset / BLOCK as u64;
        let (kind, next) = if self.blocks.contains_key(&block) {
            let mut next = block + 1;
            while self.blocks.contains_key(&next) && (next - block) * (BLOCK as u64) < len {
                next += 1;
            }
            (RunKind::Data, next)
        } else {
            let next = self.blocks.range(block..).next().map_or(u64::MAX >> 12, |(next, _)| *next);
            (RunKind::Zero, next)
        };
        Ok(Run { kind, len: (next * BLOCK as u64 - offset).min(len) })
    }

    fn name(&self) -> String {
        "seeds".into()
    }
}

/// Counts unseen blocks as the format must.
#[derive(Debug, Default, Clone)]
pub struct Seen(HashSet<[u8; 32]>);

impl Seen {
    /// Returns the bytes of non-zero blocks, and of those not seen before.
    pub fn add(&mut self, disk: &[u8]) -> (u64, u64) {
        let (mut data, mut new) = (0, 0);
        for block in disk.chunks(BLOCK) {
            if block.iter().all(|&byte| byte == 0) {
                continue;
            }
            let mut padded = [0; BLOCK];
            padded[..block.len()].copy_from_slice(block);
            data += BLOCK as u64;
            if self.0.insert(*blake3::hash(&padded).as_bytes()) {
                new += BLOCK as u64;
            }
        }
        (data, new)
    }
}
