//! Map leaves in memory: built from runs of blocks in ascending order, then searched. Pure.

use crate::digest::ListId;
use crate::ondisk::map_leaf::{Extent, MapLeaf};
use crate::units::{GuestBlock, LeafBlock, ListBlock};

/// The number of extent ends compared with a block at once.
const ENDS_AT_ONCE: usize = 4;

/// A leaf prepared for look-ups. It has at least twice as many buckets as extents, or one per block. Each
/// bucket stores its first relevant extent, so look-up time does not depend on the number of extents. A few
/// ends are compared without a branch: a data-dependent branch would be mispredicted half of the time and
/// stall the reads after it.
#[derive(Debug)]
pub(crate) struct SearchableLeaf {
    pub leaf: MapLeaf,
    leaf_blocks: u64,
    /// log2 of the blocks in a bucket.
    bucket_bits: u32,
    /// For each bucket, the first extent that ends after the bucket's start.
    first: Vec<u32>,
    /// The end of each extent, followed by `ENDS_AT_ONCE` sentinels above any block.
    ends: Vec<u64>,
}

/// A run of blocks at some position of a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeafRun {
    /// The list's number in the leaf and the first block in it; `None` for zeros.
    pub source: Option<(u32, ListBlock)>,
    /// The length in blocks; at least 1.
    pub blocks: u64,
}

impl SearchableLeaf {
    /// Prepares a leaf of `leaf_blocks` blocks, a power of two.
    pub fn new(leaf: MapLeaf, leaf_blocks: u64) -> Self {
        let buckets = (2 * leaf.extents.len() as u64).next_power_of_two().min(leaf_blocks);
        let bucket_bits = (leaf_blocks / buckets).trailing_zeros();
        let mut first = Vec::with_capacity(buckets as usize);
        let mut next = 0;
        for bucket in 0..buckets {
            while leaf.extents.get(next).is_some_and(|extent| extent.end() <= bucket << bucket_bits) {
                next += 1;
            }
            first.push(next as u32);
        }
        let mut ends = Vec::with_capacity(leaf.extents.len() + ENDS_AT_ONCE);
        ends.extend(leaf.extents.iter().map(Extent::end));
        ends.extend([u64::MAX; ENDS_AT_ONCE]);
        Self { leaf, leaf_blocks, bucket_bits, first, ends }
    }

    /// Returns the run at `block`, up to the end of its extent or gap.
    #[inline]
    pub fn run_at(&self, LeafBlock(block): LeafBlock) -> LeafRun {
        let bucket = (block >> self.bucket_bits) as usize;
        let mut next = self.first.get(bucket).map_or(self.leaf.extents.len(), |&first| first as usize);
        while let Some((ends, _)) = self.ends[next..].split_first_chunk::<ENDS_AT_ONCE>() {
            let passed: usize = ends.iter().map(|&end| usize::from(end <= block)).sum();
            next += passed;
            if passed < ENDS_AT_ONCE {
                break;
            }
        }
        match self.leaf.extents.get(next) {
            Some(extent) if extent.start <= block => {
                let skip = block - extent.start;
                LeafRun {
                    source: Some((extent.list, ListBlock(extent.source + skip))),
                    blocks: extent.blocks - skip,
                }
            }
            Some(extent) => LeafRun { source: None, blocks: extent.start - block },
            None => LeafRun { source: None, blocks: self.leaf_blocks - block },
        }
    }

    /// Returns the memory used, in bytes.
    pub fn bytes(&self) -> u64 {
        let leaf = &self.leaf;
        (size_of_val(leaf.lists.as_slice())
            + size_of_val(leaf.extents.as_slice())
            + size_of_val(&*self.first)
            + size_of_val(&*self.ends)) as u64
    }
}

/// A builder of the leaves of one map. The caller numbers lists globally; each leaf numbers its own lists by
/// first use.
#[derive(Debug)]
pub(crate) struct LeafBuilder {
    leaf_blocks: u64,
    index: u64,
    extents: Vec<Extent>,
    /// The caller's number of each list, by the leaf's number.
    lists: Vec<u32>,
}

/// A leaf that still has the caller's list numbers.
#[derive(Debug)]
pub(crate) struct BuiltLeaf {
    /// The leaf's number in the disk.
    pub index: u64,
    /// The caller's number of each list, by the leaf's number.
    pub lists: Vec<u32>,
    pub extents: Vec<Extent>,
}

impl LeafBuilder {
    pub fn new(leaf_blocks: u64) -> Self {
        Self { leaf_blocks, index: 0, extents: Vec::new(), lists: Vec::new() }
    }

    /// Adds a run of `blocks` guest blocks at `block`, mapped to consecutive blocks of `list` from `source`
    /// on. Runs must ascend and stay within one leaf. Returns the previous leaf if this run starts a new one.
    pub fn push(
        &mut self,
        block: GuestBlock,
        blocks: u64,
        list: u32,
        source: ListBlock,
    ) -> Option<BuiltLeaf> {
        let (index, start) = (block.0 / self.leaf_blocks, block.0 % self.leaf_blocks);
        let done = if index == self.index { None } else { self.take() };
        self.index = index;
        if let Some(last) = self.extents.last_mut() {
            let same_list = self.lists.get(last.list as usize) == Some(&list);
            if same_list && last.end() == start && last.source + last.blocks == source.0 {
                last.blocks += blocks;
                return done;
            }
        }
        let number = self.number_of(list);
        self.extents.push(Extent { start, blocks, list: number, source: source.0 });
        done
    }

    fn number_of(&mut self, list: u32) -> u32 {
        let found = self.lists.iter().position(|&known| known == list).unwrap_or_else(|| {
            self.lists.push(list);
            self.lists.len() - 1
        });
        u32::try_from(found).unwrap_or(u32::MAX)
    }

    /// Takes the current leaf, if it has any extent.
    pub fn take(&mut self) -> Option<BuiltLeaf> {
        if self.extents.is_empty() {
            return None;
        }
        let (extents, lists) = (std::mem::take(&mut self.extents), std::mem::take(&mut self.lists));
        Some(BuiltLeaf { index: self.index, lists, extents })
    }
}

impl BuiltLeaf {
    /// Replaces the list numbers by ids.
    pub fn resolve(self, id_of: impl Fn(u32) -> ListId) -> MapLeaf {
        MapLeaf { lists: self.lists.into_iter().map(id_of).collect(), extents: self.extents }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_found_in_leaves_of_every_density() {
        const BLOCKS: u64 = 1 << 10;
        for step in [1, 2, 3, 7, 100, 1023] {
            let mut builder = LeafBuilder::new(BLOCKS);
            let held = |block: u64| block.is_multiple_of(step) || block > 900;
            for block in (0..BLOCKS).filter(|&block| held(block)) {
                assert!(builder.push(GuestBlock(block), 1, 0, ListBlock(5000 - 2 * block)).is_none());
            }
            let leaf = builder.take().unwrap().resolve(|_| ListId::ZERO);
            let leaf = SearchableLeaf::new(leaf, BLOCKS);
            for block in 0..BLOCKS {
                let run = leaf.run_at(LeafBlock(block));
                assert_eq!(
                    run.source,
                    held(block).then_some((0, ListBlock(5000 - 2 * block))),
                    "block {block} of step {step}"
                );
                let end = block + run.blocks;
                assert!(end <= BLOCKS && (run.source.is_some() || !(block..end).any(held)));
            }
        }
    }
}
