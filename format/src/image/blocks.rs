//! Sets of chunk list blocks: the blocks that images use, possibly shared with other images.
//!
//! The images are untrusted: a leaf of a few hundred bytes can claim millions of extents, and name blocks of
//! absent lists. So a set never takes more memory for a range of a list than a bitmap of that range.

use std::collections::BTreeMap;
use std::iter;

use super::Image;
use crate::digest::ListId;
use crate::error::Result;
use crate::ondisk::list::ListShape;
use crate::units::ListBlock;

/// The minimum number of pending runs before they are merged.
const MERGE_EVERY: usize = 1 << 16;
/// The blocks of a bitmap page: at least a chunk.
const PAGE_BLOCKS: u64 = 64 * PAGE_WORDS as u64;
const PAGE_WORDS: usize = 64;
/// The runs in one page from which on a bitmap is smaller: 512 bytes and a tree node.
const DENSE_RUNS: usize = 40;

/// Blocks, grouped by list.
///
/// Memory per 4096 blocks of a list: 16 bytes a run or about 560 bytes in all, whichever is less. That is at
/// most 1.25 bits per block of the lists. While extents are added, it is half as much again, plus 1 MiB.
#[derive(Debug, Default)]
pub(crate) struct BlockSet {
    lists: BTreeMap<ListId, ListBlocks>,
    /// The number of runs of all lists that await merging.
    waiting: usize,
    /// The number of runs of all lists after the last merge.
    merged: usize,
}

/// The blocks of one list.
#[derive(Debug)]
pub(crate) struct ListBlocks {
    pub shape: ListShape,
    /// Runs as (first block, end). The first `merged` runs are ascending, disjoint, and outside the pages of
    /// `dense`.
    runs: Vec<(u64, u64)>,
    merged: usize,
    /// Pages with many runs, by number: bit *b* mod 64 of word *b* / 64 for block *b*.
    dense: BTreeMap<u64, Page>,
}

type Page = Box<[u64; PAGE_WORDS]>;

/// A chunk and a subset of its blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChunkBlocks {
    pub chunk: u64,
    /// Bit *b* mod 8 of byte *b* / 8 for block *b*.
    pub mask: Vec<u8>,
}

impl BlockSet {
    /// Collects the blocks of these images.
    pub fn of<'a>(images: impl IntoIterator<Item = &'a Image>) -> Result<Self> {
        let mut set = Self::default();
        for image in images {
            set.add_image(image)?;
        }
        set.merge();
        set.lists.values_mut().for_each(|list| list.runs.shrink_to_fit());
        Ok(set)
    }

    /// Adds the blocks of an image. Call [`Self::merge`] before any query.
    pub fn add_image(&mut self, image: &Image) -> Result<()> {
        image.for_each_extent(|_, blocks, list, source| {
            self.add(&list.id, list.shape, source, blocks);
            Ok(())
        })
    }

    fn add(&mut self, id: &ListId, shape: ListShape, start: ListBlock, blocks: u64) {
        let list = self.lists.entry(*id).or_insert_with(|| ListBlocks::new(shape));
        self.waiting += usize::from(list.add(start.0, (start + blocks).0));
        if self.waiting >= self.merged / 2 + MERGE_EVERY {
            self.merge();
        }
    }

    /// Merges the runs added so far.
    pub fn merge(&mut self) {
        self.lists.values_mut().for_each(ListBlocks::merge);
        self.waiting = 0;
        self.merged = self.lists.values().map(|list| list.merged).sum();
    }

    /// Removes the blocks in `other`, and any list that becomes empty.
    pub fn subtract(&mut self, other: &Self) {
        for (id, blocks) in &mut self.lists {
            if let Some(other) = other.lists.get(id) {
                blocks.subtract(other);
            }
        }
        self.lists.retain(|_, blocks| blocks.runs().next().is_some());
    }

    /// Returns the lists, in ascending order of ids.
    pub fn lists(&self) -> impl Iterator<Item = (&ListId, &ListBlocks)> {
        self.lists.iter()
    }

    /// Counts the blocks in both sets.
    pub fn common(&self, other: &Self) -> u64 {
        let both = self.lists.iter().filter_map(|(id, blocks)| Some((blocks, other.lists.get(id)?)));
        both.map(|(one, other)| one.common(other)).sum()
    }
}

impl ListBlocks {
    fn new(shape: ListShape) -> Self {
        Self { shape, runs: Vec::new(), merged: 0, dense: BTreeMap::new() }
    }

    /// Adds a run of at least one block; returns whether this adds a run that awaits merging.
    fn add(&mut self, start: u64, end: u64) -> bool {
        match self.runs.last_mut() {
            // If the last run was merged, it stays disjoint from the others: no run follows it.
            Some(last) if last.1 == start => {
                last.1 = end;
                self.merged = self.merged.min(self.runs.len() - 1);
                false
            }
            _ => {
                self.runs.push((start, end));
                true
            }
        }
    }

    fn merge(&mut self) {
        if self.merged == self.runs.len() {
            return;
        }
        self.runs.sort_unstable();
        self.runs.dedup_by(|next, last| {
            let joins = next.0 <= last.1;
            if joins {
                last.1 = last.1.max(next.1);
            }
            joins
        });
        let pages = self.runs.chunk_by(|one, other| one.0 / PAGE_BLOCKS == other.0 / PAGE_BLOCKS);
        for page in pages.filter(|page| page.len() >= DENSE_RUNS) {
            self.dense.entry(page[0].0 / PAGE_BLOCKS).or_insert_with(|| Box::new([0; PAGE_WORDS]));
        }
        if !self.dense.is_empty() {
            self.runs.retain_mut(|run| move_bits(run, &mut self.dense));
        }
        self.runs.shrink_to(2 * self.runs.len());
        self.merged = self.runs.len();
    }

    /// Returns all runs in ascending order; two may touch.
    fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut sparse = self.runs.iter().copied().peekable();
        let dense = self.dense.iter().flat_map(|(number, page)| bit_runs(number * PAGE_BLOCKS, page));
        let mut dense = dense.peekable();
        iter::from_fn(move || match (sparse.peek(), dense.peek()) {
            (Some(one), Some(other)) if one > other => dense.next(),
            (None, _) => dense.next(),
            _ => sparse.next(),
        })
    }

    fn subtract(&mut self, other: &Self) {
        let mut left = Self::new(self.shape);
        let mut others = other.runs().peekable();
        for (mut start, end) in self.runs() {
            while let Some((from, to)) = others.peek().copied().filter(|other| other.0 < end) {
                if to > start {
                    if from > start {
                        left.add(start, from);
                    }
                    start = to;
                }
                if to > end {
                    break; // the next run may overlap the rest of it
                }
                others.next();
            }
            if start < end {
                left.add(start, end);
            }
            if left.runs.len() >= left.merged + left.merged / 2 + MERGE_EVERY {
                left.merge();
            }
        }
        left.merge();
        *self = left;
    }

    fn common(&self, other: &Self) -> u64 {
        let (mut one, mut other) = (self.runs().peekable(), other.runs().peekable());
        let mut blocks = 0;
        while let (Some(&(start, end)), Some(&(other_start, other_end))) = (one.peek(), other.peek()) {
            blocks += end.min(other_end).saturating_sub(start.max(other_start));
            if end < other_end {
                one.next();
            } else {
                other.next();
            }
        }
        blocks
    }

    /// Counts the blocks.
    pub fn blocks(&self) -> u64 {
        let bits = self.dense.values().flat_map(|page| page.iter());
        self.runs.iter().map(|(start, end)| end - start).sum::<u64>()
            + bits.map(|word| u64::from(word.count_ones())).sum::<u64>()
    }

    /// Returns the chunks that have any of the blocks, in ascending order.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkBlocks> {
        let chunk_blocks = u64::from(self.shape.chunk_blocks);
        let mut runs = self.runs().peekable();
        iter::from_fn(move || {
            let chunk = runs.peek()?.0 / chunk_blocks;
            let first = chunk * chunk_blocks;
            let mut mask = vec![0u8; self.shape.blocks_of(chunk).div_ceil(8) as usize];
            while let Some((start, end)) = runs.peek_mut().filter(|run| run.0 < first + chunk_blocks) {
                for block in *start - first..(*end).min(first + chunk_blocks) - first {
                    if let Some(byte) = mask.get_mut((block / 8) as usize) {
                        *byte |= 1 << (block % 8);
                    }
                }
                if *end > first + chunk_blocks {
                    *start = first + chunk_blocks;
                    break;
                }
                runs.next();
            }
            Some(ChunkBlocks { chunk, mask })
        })
    }
}

/// Moves the parts of a run that lie in dense pages into their bitmaps, and returns whether any part remains.
/// A dense page that the run covers is dropped, since the run already covers it. Hence only the first and
/// last page can need bits.
fn move_bits(run: &mut (u64, u64), dense: &mut BTreeMap<u64, Page>) -> bool {
    for number in [run.0 / PAGE_BLOCKS, (run.1 - 1) / PAGE_BLOCKS] {
        let (begin, end) = (number * PAGE_BLOCKS, (number + 1) * PAGE_BLOCKS);
        let (from, to) = (run.0.max(begin), run.1.min(end));
        if from < to
            && to - from < PAGE_BLOCKS
            && let Some(page) = dense.get_mut(&number)
        {
            set_bits(page, from - begin, to - begin);
            *run = if from == run.0 { (to, run.1) } else { (run.0, from) };
        }
    }
    let covered = run.0.div_ceil(PAGE_BLOCKS)..run.1 / PAGE_BLOCKS;
    while !covered.is_empty()
        && let Some((&number, _)) = dense.range(covered.clone()).next()
    {
        dense.remove(&number);
    }
    run.0 < run.1
}

/// Sets the bits from `start` to before `end`, at least one, of a page.
fn set_bits(page: &mut [u64; PAGE_WORDS], start: u64, end: u64) {
    let (first, last) = ((start / 64) as usize, ((end - 1) / 64) as usize);
    for (word, number) in page[first..=last].iter_mut().zip(first..) {
        let above = if number == first { u64::MAX << (start % 64) } else { u64::MAX };
        let below = if number == last { u64::MAX >> (63 - (end - 1) % 64) } else { u64::MAX };
        *word |= above & below;
    }
}

/// Returns the first bit at or after `at` with the value `set`.
fn next_bit(page: &[u64; PAGE_WORDS], at: u64, set: bool) -> Option<u64> {
    let mut wanted = u64::MAX << (at % 64);
    for (word, first) in page.iter().zip((0..).step_by(64)).skip((at / 64) as usize) {
        let found = wanted & if set { *word } else { !word };
        if found != 0 {
            return Some(first + u64::from(found.trailing_zeros()));
        }
        wanted = u64::MAX;
    }
    None
}

/// Returns the runs of a page whose first block is `first`.
fn bit_runs(first: u64, page: &[u64; PAGE_WORDS]) -> impl Iterator<Item = (u64, u64)> {
    let mut at = 0;
    iter::from_fn(move || {
        let start = next_bit(page, at, true)?;
        at = next_bit(page, start, false).unwrap_or(PAGE_BLOCKS);
        Some((first + start, first + at))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SHAPE: ListShape = ListShape { chunk_blocks: 4, blocks: 41 };

    fn set_of(shape: ListShape, runs: &[(u64, u64)]) -> ListBlocks {
        let mut blocks = ListBlocks::new(shape);
        for &(start, end) in runs {
            blocks.add(start, end);
        }
        blocks.merge();
        blocks
    }

    fn set(runs: &[(u64, u64)]) -> ListBlocks {
        set_of(SHAPE, runs)
    }

    fn numbers(runs: impl IntoIterator<Item = (u64, u64)>) -> BTreeSet<u64> {
        runs.into_iter().flat_map(|(start, end)| start..end).collect()
    }

    #[test]
    fn sets_add_take_away_and_count_as_sets_of_numbers_do() {
        let some: [&[(u64, u64)]; 6] = [
            &[],
            &[(0, 41)],
            &[(3, 4), (9, 17), (12, 20)],
            &[(16, 20), (0, 4), (4, 9)],
            &[(40, 41)],
            &[(5, 6), (7, 8), (18, 33)],
        ];
        for one in some {
            for other in some {
                let (mut left, right) = (set(one), set(other));
                let (one, other) = (numbers(one.iter().copied()), numbers(other.iter().copied()));
                assert_eq!(left.common(&right), one.intersection(&other).count() as u64);
                left.subtract(&right);
                let expected: BTreeSet<_> = one.difference(&other).copied().collect();
                assert_eq!(numbers(left.runs()), expected);
                let mut found = BTreeSet::new();
                for ChunkBlocks { chunk, mask } in left.chunks() {
                    assert_eq!(mask.len(), 1);
                    assert_ne!(mask[0], 0);
                    found.extend((0..4).filter(|bit| mask[0] >> bit & 1 == 1).map(|bit| chunk * 4 + bit));
                }
                assert_eq!(found, expected);
            }
        }
    }

    /// Random runs; every third page has many short ones.
    fn made(seed: u64, blocks: u64) -> Vec<(u64, u64)> {
        let mut state = seed | 1;
        let mut below = move |max: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % max
        };
        let mut runs = Vec::new();
        for _ in 0..below(4000) {
            let page = below(blocks.div_ceil(PAGE_BLOCKS)) / 3 * 3;
            let start = (page * PAGE_BLOCKS + below(PAGE_BLOCKS)).min(blocks - 1);
            runs.push((start, (start + 1 + below(3)).min(blocks)));
        }
        for _ in 0..below(6) {
            let start = below(blocks);
            runs.push((start, (start + 1 + below(2 * PAGE_BLOCKS)).min(blocks)));
        }
        runs
    }

    fn check_form(set: &ListBlocks) {
        let apart = |pair: &[(u64, u64)]| pair[0].1 < pair[1].0;
        assert!(set.runs.windows(2).all(apart) && set.merged == set.runs.len());
        for (number, page) in &set.dense {
            let (start, end) = (number * PAGE_BLOCKS, (number + 1) * PAGE_BLOCKS);
            assert!(page.iter().any(|word| *word != 0));
            assert!(set.runs.iter().all(|run| run.1 <= start || run.0 >= end), "a block is in both forms");
        }
        let mut per_page: BTreeMap<u64, usize> = BTreeMap::new();
        set.runs.iter().for_each(|run| *per_page.entry(run.0 / PAGE_BLOCKS).or_default() += 1);
        assert!(per_page.values().all(|runs| *runs <= DENSE_RUNS));
    }

    #[test]
    fn bits_and_runs_are_the_same_sets() {
        let shape = ListShape { chunk_blocks: 64, blocks: 13 * PAGE_BLOCKS - 100 };
        let mut dense = 0;
        for seed in 0..40 {
            let (one, other) = (made(seed, shape.blocks), made(1000 + seed / 2, shape.blocks));
            let mut left = ListBlocks::new(shape);
            for (run, count) in one.iter().zip(0..) {
                left.add(run.0, run.1);
                if count % 700 == 699 {
                    left.merge();
                }
            }
            left.merge();
            let right = set_of(shape, &other);
            check_form(&left);
            check_form(&right);
            dense += left.dense.len();
            let (one, other) = (numbers(one), numbers(other));
            assert_eq!(numbers(left.runs()), one);
            assert_eq!(left.blocks(), one.len() as u64);
            assert!(left.runs().zip(left.runs().skip(1)).all(|(run, next)| run.1 <= next.0));
            assert_eq!(left.common(&right), one.intersection(&other).count() as u64);
            let has = |chunk: &u64| one.range(chunk * 64..(chunk + 1) * 64).next().is_some();
            let expected: Vec<_> = (0..shape.chunks()).filter(has).collect();
            assert_eq!(left.chunks().map(|found| found.chunk).collect::<Vec<_>>(), expected);
            left.subtract(&right);
            check_form(&left);
            let expected: BTreeSet<_> = one.difference(&other).copied().collect();
            let mut found = BTreeSet::new();
            for ChunkBlocks { chunk, mask } in left.chunks() {
                assert!(mask.iter().any(|byte| *byte != 0));
                let bits = (0..8 * mask.len()).filter(|bit| mask[bit / 8] >> (bit % 8) & 1 == 1);
                found.extend(bits.map(|bit| chunk * 64 + bit as u64));
            }
            assert_eq!(found, expected);
        }
        assert!(dense > 40, "{dense} pages of bits");
    }

    #[test]
    fn many_short_runs_take_no_more_than_their_bits() {
        let shape = ListShape { chunk_blocks: 1024, blocks: 1 << 23 };
        let mut set = BlockSet::default();
        for block in (0..shape.blocks).step_by(2) {
            set.add(&ListId::from_bytes([1; 32]), shape, ListBlock(block), 1);
            let list = &set.lists[&ListId::from_bytes([1; 32])];
            assert!(list.runs.capacity() <= 2 * MERGE_EVERY + 4 * DENSE_RUNS, "{}", list.runs.capacity());
        }
        set.merge();
        let list = &set.lists[&ListId::from_bytes([1; 32])];
        assert_eq!((list.runs.len(), list.dense.len(), list.blocks()), (0, 1 << 11, 1 << 22));
        // All of them together collapse into one run.
        set.add(&ListId::from_bytes([1; 32]), shape, ListBlock(0), shape.blocks);
        set.merge();
        let list = &set.lists[&ListId::from_bytes([1; 32])];
        assert_eq!((&list.runs[..], list.dense.len()), (&[(0, shape.blocks)][..], 0));
    }
}
