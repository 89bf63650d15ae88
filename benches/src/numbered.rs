//! Made-up disks of numbered contents: any number of distinct blocks that cost next to nothing to make,
//! compress and store. The block index treats them like any other blocks.

use std::ops::Range;

use melv::{BlockDevice, BlockError, Run, RunKind};

use crate::BLOCK_LEN;

/// Fills a block with content `number`: contents are distinct and never all zeros.
pub fn fill_block(number: u64, block: &mut [u8]) {
    block.fill(0);
    let content = mixed(number + 1).to_le_bytes();
    let len = block.len().min(content.len());
    block[..len].copy_from_slice(&content[..len]);
}

/// Applies the finisher of `SplitMix64`: one to one, and only zero maps to zero.
#[must_use]
pub fn mixed(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A disk whose blocks are the contents of these numbers, in order.
#[derive(Debug)]
pub struct NumberedDisk(pub Range<u64>);

impl BlockDevice for NumberedDisk {
    fn size(&self) -> u64 {
        (self.0.end - self.0.start) * BLOCK_LEN as u64
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> melv::Result<()> {
        let first = self.0.start + first_block(offset, buf, self.size())?;
        (first..).zip(buf.chunks_mut(BLOCK_LEN)).for_each(|(number, block)| fill_block(number, block));
        Ok(())
    }
    fn map(&self, _: u64, len: u64) -> melv::Result<Run> {
        Ok(Run { kind: RunKind::Data, len })
    }
    fn name(&self) -> String {
        format!("numbered {:?}", self.0)
    }
}

/// A disk that lists its blocks by number: 0 for zeros, else one more than the content number, which
/// `scatter` then maps.
#[derive(Debug)]
pub struct OrderedDisk {
    /// The number of each block.
    pub order: Vec<u32>,
    /// The map from content numbers to scattered numbers.
    pub scatter: Scatter,
}

impl BlockDevice for OrderedDisk {
    fn size(&self) -> u64 {
        (self.order.len() * BLOCK_LEN) as u64
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> melv::Result<()> {
        let first = first_block(offset, buf, self.size())? as usize;
        for (&number, block) in self.order[first..].iter().zip(buf.chunks_mut(BLOCK_LEN)) {
            match number.checked_sub(1) {
                Some(number) => fill_block(self.scatter.of(number.into()), block),
                None => block.fill(0),
            }
        }
        Ok(())
    }
    fn map(&self, offset: u64, len: u64) -> melv::Result<Run> {
        let (first, block_len) = (offset as usize / BLOCK_LEN, BLOCK_LEN as u64);
        let is_zero = self.order[first] == 0;
        let blocks = self.order[first..].iter().take_while(|&&number| (number == 0) == is_zero).count();
        let kind = if is_zero { RunKind::Zero } else { RunKind::Data };
        Ok(Run { kind, len: (blocks as u64 * block_len - offset % block_len).min(len) })
    }
    fn name(&self) -> String {
        "ordered".into()
    }
}

/// A spread of numbers evenly over a larger range, in contiguous pieces.
#[derive(Debug, Clone, Copy)]
pub struct Scatter {
    /// The size of the range, a power of two.
    pub numbers: u64,
    /// The numbers per piece, a power of two.
    pub piece: u64,
}

impl Scatter {
    /// Returns the scattered position of `number`.
    #[must_use]
    pub fn of(&self, number: u64) -> u64 {
        // Odd, so that the product takes every value once.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let pieces = (self.numbers / self.piece).max(1);
        (number / self.piece).wrapping_mul(STEP) % pieces * self.piece + number % self.piece
    }
}

/// Returns the block at `offset`; these disks are read by whole blocks only.
fn first_block(offset: u64, buf: &[u8], size: u64) -> melv::Result<u64> {
    let (len, block_len) = (buf.len() as u64, BLOCK_LEN as u64);
    if offset.is_multiple_of(block_len) && offset.saturating_add(len) <= size {
        Ok(offset / block_len)
    } else {
        Err(BlockError::OutOfRange { offset, len, size }.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn contents_differ_and_pieces_do_not_meet() {
        let content = |number| {
            let mut block = [1; BLOCK_LEN];
            fill_block(number, &mut block);
            block
        };
        let contents: HashSet<_> = (0..1000).map(content).collect();
        assert_eq!(contents.len(), 1000);
        assert!(!contents.contains(&[0; BLOCK_LEN]));
        let scatter = Scatter { numbers: 1 << 16, piece: 16 };
        let places: HashSet<_> = (0..1 << 16).map(|number| scatter.of(number)).collect();
        assert_eq!(places.len(), 1 << 16);
        assert_eq!(scatter.of(17), scatter.of(16) + 1);
    }
}
