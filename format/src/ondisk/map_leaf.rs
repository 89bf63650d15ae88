//! A map leaf: the extents of one fixed range of the guest disk (spec section 7.4).
//!
//! Blocks outside all extents are zero. Extents are in ascending order and maximal. A source is coded as the
//! difference from the end of the previous extent of the same list. A run of neighbours thus costs three to
//! four bytes.

use super::cursor::{Cursor, Put, unzigzag, zigzag};
use super::header::{self, HEADER_LEN, Kind};
use crate::digest::{DIGEST_LEN, ListId};
use crate::fault::RuleViolation;
use crate::limits::LIST_BLOCKS_MAX;

/// The minimum bytes of an extent.
const EXTENT_LEN_MIN: usize = 2;
const GAP: u64 = 1;
const LIST_CHANGES: u64 = 2;

/// Fills in the id of list `number` in a leaf that was encoded before the id was known.
pub fn set_list(leaf: &mut [u8], number: usize, id: &ListId) {
    let at = HEADER_LEN + 8 + number * DIGEST_LEN;
    if let Some(place) = leaf.get_mut(at..at + DIGEST_LEN) {
        place.copy_from_slice(id.as_bytes());
    }
}

/// A run of guest blocks, backed by consecutive blocks of one chunk list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The first block, counted from the leaf's start.
    pub start: u64,
    /// The length in blocks; at least 1.
    pub blocks: u64,
    /// The list's number in the leaf.
    pub list: u32,
    /// The first block in the list.
    pub source: u64,
}

impl Extent {
    /// Returns the block after the last.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.blocks
    }

    /// Whether `next` could be merged into this extent.
    #[must_use]
    pub fn continues_with(&self, next: &Self) -> bool {
        self.end() == next.start && self.list == next.list && self.source + self.blocks == next.source
    }
}

/// A leaf: its lists, in the order of their first use, and its extents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MapLeaf {
    /// The chunk lists.
    pub lists: Vec<ListId>,
    /// The extents in ascending order, merged.
    pub extents: Vec<Extent>,
}

impl MapLeaf {
    /// Encodes the leaf; its object digest names it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = header::begin(Kind::MapLeaf);
        out.put_u32(u32::try_from(self.lists.len()).unwrap_or(u32::MAX));
        out.put_u32(u32::try_from(self.extents.len()).unwrap_or(u32::MAX));
        for list in &self.lists {
            out.put_id(list);
        }
        let mut expected = vec![0u64; self.lists.len()];
        let (mut end, mut list) = (0, 0);
        for extent in &self.extents {
            let (gap, changes) = (extent.start - end, extent.list != list);
            let flags = if gap > 0 { GAP } else { 0 } | if changes { LIST_CHANGES } else { 0 };
            out.put_varint((extent.blocks - 1) << 2 | flags);
            if gap > 0 {
                out.put_varint(gap - 1);
            }
            if changes {
                out.put_varint(u64::from(extent.list));
            }
            if let Some(expected) = expected.get_mut(extent.list as usize) {
                out.put_varint(zigzag(extent.source.cast_signed() - expected.cast_signed()));
                *expected = extent.source + extent.blocks;
            }
            (end, list) = (extent.end(), extent.list);
        }
        header::finish(&mut out);
        out
    }

    /// Decodes and checks a leaf of `leaf_blocks` blocks.
    pub fn decode(bytes: &[u8], leaf_blocks: u64) -> Result<Self, RuleViolation> {
        let (_, mut cursor) = header::decode_whole(Kind::MapLeaf, bytes)?;
        let (lists, extents) = (u64::from(cursor.u32()?), u64::from(cursor.u32()?));
        let lists = cursor.count("list count", lists, DIGEST_LEN)?;
        let lists = (0..lists).map(|_| cursor.id()).collect::<Result<Vec<_>, _>>()?;
        let count = cursor.count("extent count", extents, EXTENT_LEN_MIN)?;
        if count == 0 {
            return Err(RuleViolation::EmptyPage);
        }
        if extents > leaf_blocks {
            return Err(RuleViolation::Limit { what: "extent count", found: extents, max: leaf_blocks });
        }
        let mut decoder = ExtentDecoder { expected: vec![0; lists.len()], used: 0, last: None, leaf_blocks };
        let extents = (0..count).map(|_| decoder.next(&mut cursor)).collect::<Result<Vec<_>, _>>()?;
        cursor.end()?;
        if decoder.used != lists.len() as u64 {
            return Err(RuleViolation::ListUnused { lists: lists.len() as u64, used: decoder.used });
        }
        let mut sorted = lists.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(RuleViolation::ListTwice);
        }
        Ok(Self { lists, extents })
    }
}

/// The state of the difference coding of extents.
struct ExtentDecoder {
    /// For each list, the block after the last extent's source.
    expected: Vec<u64>,
    /// The number of lists used by extents so far.
    used: u64,
    last: Option<Extent>,
    leaf_blocks: u64,
}

impl ExtentDecoder {
    fn next(&mut self, cursor: &mut Cursor<'_>) -> Result<Extent, RuleViolation> {
        let head = cursor.varint()?;
        let end = self.last.map_or(0, |last| last.end());
        let start = if head & GAP != 0 { cursor.varint()?.checked_add(end + 1) } else { Some(end) };
        let start = start.ok_or(RuleViolation::VarintOverflow)?;
        let list = self.list(head & LIST_CHANGES != 0, start, cursor)?;
        let blocks = (head >> 2) + 1;
        let range = |end: Option<u64>, max: u64| match end {
            Some(end) if end <= max => Ok(()),
            _ => Err(RuleViolation::ExtentRange { block: end.unwrap_or(u64::MAX), max }),
        };
        range(start.checked_add(blocks), self.leaf_blocks)?;
        let expected = self
            .expected
            .get_mut(list as usize)
            .ok_or(RuleViolation::ListUnused { lists: 0, used: self.used })?;
        let delta = unzigzag(cursor.varint()?);
        let source = expected
            .checked_add_signed(delta)
            .ok_or(RuleViolation::ExtentRange { block: 0, max: LIST_BLOCKS_MAX })?;
        range(source.checked_add(blocks), LIST_BLOCKS_MAX)?;
        *expected = source + blocks;
        let extent = Extent { start, blocks, list, source };
        if self.last.is_some_and(|last| last.continues_with(&extent)) {
            return Err(RuleViolation::ExtentUnmerged { block: start });
        }
        self.last = Some(extent);
        Ok(extent)
    }

    fn list(&mut self, changes: bool, start: u64, cursor: &mut Cursor<'_>) -> Result<u32, RuleViolation> {
        let last = self.last.map_or(0, |last| last.list);
        let list = if changes { cursor.varint()? } else { u64::from(last) };
        if changes && list == u64::from(last) {
            return Err(RuleViolation::ListUnchanged { block: start });
        }
        if list > self.used {
            return Err(RuleViolation::ListFirstUse { found: list, max: self.used });
        }
        self.used = self.used.max(list + 1);
        u32::try_from(list).map_err(|_| RuleViolation::VarintOverflow)
    }
}
