//! Building map leaves: runs of blocks in ascending order become extents, leaf by leaf. Pure.

use crate::digest::Digest;
use crate::ondisk::map_leaf::{Extent, MapLeaf};

/// Builds the leaves of one map. Lists are numbered by the caller; a leaf numbers its own by
/// first use.
#[derive(Debug)]
pub(crate) struct LeafBuilder {
    leaf_blocks: u64,
    index: u64,
    extents: Vec<Extent>,
    /// The caller's numbers of the leaf's lists, by the leaf's numbers.
    lists: Vec<u32>,
}

/// A leaf whose lists are still the caller's numbers.
#[derive(Debug)]
pub(crate) struct BuiltLeaf {
    /// Number of the leaf in the disk.
    pub index: u64,
    /// The caller's numbers of the lists, by the leaf's numbers.
    pub lists: Vec<u32>,
    pub extents: Vec<Extent>,
}

impl LeafBuilder {
    pub fn new(leaf_blocks: u64) -> Self {
        Self { leaf_blocks, index: 0, extents: Vec::new(), lists: Vec::new() }
    }

    /// Adds guest block `block`, above all before it, whose source is block `source` of `list`.
    /// Gives the leaf before, if this block begins another.
    pub fn push(&mut self, block: u64, list: u32, source: u64) -> Option<BuiltLeaf> {
        let index = block / self.leaf_blocks;
        let done = if index == self.index { None } else { self.take() };
        self.index = index;
        let start = block % self.leaf_blocks;
        if let Some(last) = self.extents.last_mut() {
            let same_list = self.lists.get(last.list as usize) == Some(&list);
            if same_list && last.end() == start && last.source + last.blocks == source {
                last.blocks += 1;
                return done;
            }
        }
        let number = self.number_of(list);
        self.extents.push(Extent { start, blocks: 1, list: number, source });
        done
    }

    fn number_of(&mut self, list: u32) -> u32 {
        let found = self.lists.iter().position(|&known| known == list).unwrap_or_else(|| {
            self.lists.push(list);
            self.lists.len() - 1
        });
        u32::try_from(found).unwrap_or(u32::MAX)
    }

    /// The leaf in work, if it has any extent.
    pub fn take(&mut self) -> Option<BuiltLeaf> {
        if self.extents.is_empty() {
            return None;
        }
        let (extents, lists) = (std::mem::take(&mut self.extents), std::mem::take(&mut self.lists));
        Some(BuiltLeaf { index: self.index, lists, extents })
    }
}

impl BuiltLeaf {
    /// The leaf with its lists' ids.
    pub fn resolve(self, id_of: impl Fn(u32) -> Digest) -> MapLeaf {
        MapLeaf { lists: self.lists.into_iter().map(id_of).collect(), extents: self.extents }
    }
}
