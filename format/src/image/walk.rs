//! An image's sources front to back, for code that compares or counts them without reading data.

use std::sync::Arc;

use super::Image;
use crate::digest::ListId;
use crate::error::{Result, StoreError};
use crate::fault::RuleViolation;
use crate::map::SearchableLeaf;
use crate::store::list::List;
use crate::units::{GuestBlock, ListBlock};
use melv_block::BlockDevice;

/// A run of guest blocks with one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The first guest block.
    pub start: GuestBlock,
    /// The length in blocks.
    pub blocks: u64,
    /// The list and the first block in it; `None` for zeros.
    pub source: Option<(ListId, ListBlock)>,
}

impl Piece {
    /// Returns the part of the piece from guest block `start` on, which must lie in the piece.
    pub fn from(self, start: GuestBlock) -> Self {
        let skip = start - self.start;
        let source = self.source.map(|(list, block)| (list, block + skip));
        Self { start, blocks: self.blocks - skip, source }
    }
}

impl Image {
    /// Calls `each` with every piece of leaf `leaf`, gaps included.
    pub(crate) fn for_each_piece(&self, leaf: u64, mut each: impl FnMut(Piece) -> Result<()>) -> Result<()> {
        let geometry = &self.record.manifest.geometry;
        let base = GuestBlock(leaf * geometry.leaf_blocks());
        let end = (base + geometry.leaf_blocks()).min(GuestBlock(geometry.blocks()));
        let mut at = base;
        if let Some(slot) = self.slot_of(leaf) {
            let leaf = self.record.leaf(slot)?;
            let leaf = &leaf.leaf;
            for extent in &leaf.extents {
                let start = base + extent.start;
                if start > at {
                    each(Piece { start: at, blocks: start - at, source: None })?;
                }
                let list = leaf.lists.get(extent.list as usize).copied().unwrap_or_default();
                let source = Some((list, ListBlock(extent.source)));
                each(Piece { start, blocks: extent.blocks, source })?;
                at = start + extent.blocks;
            }
        }
        if at < end {
            each(Piece { start: at, blocks: end - at, source: None })?;
        }
        Ok(())
    }

    /// Calls `each` with every extent of the image: its first block, its length in blocks, its list, and the
    /// first block there. Zeros have no extents.
    pub(crate) fn for_each_extent(
        &self,
        mut each: impl FnMut(GuestBlock, u64, &Arc<List>, ListBlock) -> Result<()>,
    ) -> Result<()> {
        let leaf_blocks = self.record.manifest.geometry.leaf_blocks();
        for slot in 0..self.record.map_root.len() {
            let leaf = self.record.leaf(slot)?;
            let leaf = &leaf.leaf;
            let base = GuestBlock(u64::from(self.record.map_root[slot].index) * leaf_blocks);
            let lists = (0..leaf.lists.len())
                .map(|list| self.list_of(leaf, list as u32))
                .collect::<Result<Vec<_>>>()?;
            for extent in &leaf.extents {
                if let Some(list) = lists.get(extent.list as usize) {
                    let (block, max) = (extent.source + extent.blocks, list.shape.blocks);
                    if block > max {
                        return Err(StoreError::corrupt(
                            self.name(),
                            0,
                            RuleViolation::ExtentRange { block, max },
                        ));
                    }
                    each(base + extent.start, extent.blocks, list, ListBlock(extent.source))?;
                }
            }
        }
        Ok(())
    }
}

/// A cursor that finds the sources of guest blocks in ascending order.
#[derive(Debug)]
pub(crate) struct SourceCursor {
    image: Image,
    leaf: Option<(u64, Option<Arc<SearchableLeaf>>)>,
    /// The first extent of the leaf that may still match.
    next: usize,
}

impl SourceCursor {
    pub fn new(image: Image) -> Self {
        Self { image, leaf: None, next: 0 }
    }

    /// Returns the source list and block of guest block `block`; `None` for zeros and past the end.
    pub fn at(&mut self, block: GuestBlock) -> Result<Option<(ListId, ListBlock)>> {
        let (number, within) = block.in_leaf(self.image.record.leaf_bits);
        if self.leaf.as_ref().is_none_or(|(current, _)| *current != number) {
            let slot = self.image.slot_of(number);
            let leaf = slot.map(|slot| self.image.record.leaf(slot)).transpose()?;
            self.leaf = Some((number, leaf));
            self.next = 0;
        }
        let Some((_, Some(leaf))) = &self.leaf else { return Ok(None) };
        let leaf = &leaf.leaf;
        while leaf.extents.get(self.next).is_some_and(|extent| extent.end() <= within.0) {
            self.next += 1;
        }
        Ok(leaf.extents.get(self.next).filter(|extent| extent.start <= within.0).map(|extent| {
            let list = leaf.lists.get(extent.list as usize).copied().unwrap_or_default();
            (list, ListBlock(extent.source + within.0 - extent.start))
        }))
    }
}
