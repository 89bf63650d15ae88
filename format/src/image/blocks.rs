//! Sets of blocks of chunk lists: what images are made of, whoever else has it too.

use std::collections::BTreeMap;

use super::Image;
use crate::digest::Digest;
use crate::error::Result;
use crate::ondisk::list::ListShape;

/// Runs are merged whenever so many have gathered behind those merged already.
const MERGE_EVERY: usize = 1 << 16;

/// Blocks, by the list that they belong to. Memory: 16 bytes for each run.
#[derive(Debug, Default)]
pub(crate) struct BlockSet {
    lists: BTreeMap<Digest, ListBlocks>,
}

/// Blocks of one list.
#[derive(Debug)]
pub(crate) struct ListBlocks {
    pub shape: ListShape,
    /// First block and the one behind the last; ascending and apart, but for what was added since
    /// the last merge.
    runs: Vec<(u64, u64)>,
    merged: usize,
}

/// A chunk, and which of its blocks are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChunkBlocks {
    pub chunk: u64,
    /// Bit *b* of byte *b* / 8 for block *b*.
    pub mask: Vec<u8>,
}

impl BlockSet {
    /// The blocks of these images.
    pub fn of<'a>(images: impl IntoIterator<Item = &'a Image>) -> Result<Self> {
        let mut set = Self::default();
        for image in images {
            image.for_each_extent(|_, blocks, list, source| {
                let new = || ListBlocks { shape: list.shape, runs: Vec::new(), merged: 0 };
                set.lists.entry(list.id).or_insert_with(new).add(source, source + blocks);
                Ok(())
            })?;
        }
        set.lists.values_mut().for_each(ListBlocks::merge);
        Ok(set)
    }

    /// Takes away what `other` has; lists of which nothing is left go.
    pub fn subtract(&mut self, other: &Self) {
        for (id, blocks) in &mut self.lists {
            if let Some(other) = other.lists.get(id) {
                blocks.subtract(&other.runs);
            }
        }
        self.lists.retain(|_, blocks| !blocks.runs.is_empty());
    }

    /// The lists, in ascending order of ids.
    pub fn lists(&self) -> impl Iterator<Item = (&Digest, &ListBlocks)> {
        self.lists.iter()
    }

    /// How many blocks both have.
    pub fn common(&self, other: &Self) -> u64 {
        let both = self.lists.iter().filter_map(|(id, blocks)| Some((blocks, other.lists.get(id)?)));
        both.map(|(one, other)| one.common(&other.runs)).sum()
    }
}

impl ListBlocks {
    fn add(&mut self, start: u64, end: u64) {
        match self.runs.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => self.runs.push((start, end)),
        }
        if self.runs.len() >= 2 * self.merged + MERGE_EVERY {
            self.merge();
        }
    }

    fn merge(&mut self) {
        self.runs.sort_unstable();
        self.runs.dedup_by(|next, last| {
            let joins = next.0 <= last.1;
            if joins {
                last.1 = last.1.max(next.1);
            }
            joins
        });
        self.merged = self.runs.len();
    }

    fn subtract(&mut self, other: &[(u64, u64)]) {
        let mut left = Vec::with_capacity(self.runs.len());
        let mut next = 0;
        for &(mut start, end) in &self.runs {
            while other.get(next).is_some_and(|other| other.1 <= start) {
                next += 1;
            }
            let mut at = next;
            while let Some(&(from, to)) = other.get(at).filter(|other| other.0 < end) {
                if from > start {
                    left.push((start, from));
                }
                start = to;
                at += 1;
            }
            if start < end {
                left.push((start, end));
            }
        }
        self.runs = left;
        self.merged = self.runs.len();
    }

    fn common(&self, other: &[(u64, u64)]) -> u64 {
        let (mut one, mut other) = (self.runs.as_slice(), other);
        let mut blocks = 0;
        while let (Some(&(start, end)), Some(&(other_start, other_end))) = (one.first(), other.first()) {
            blocks += end.min(other_end).saturating_sub(start.max(other_start));
            if end < other_end {
                one = &one[1..];
            } else {
                other = &other[1..];
            }
        }
        blocks
    }

    /// How many blocks.
    pub fn blocks(&self) -> u64 {
        self.runs.iter().map(|(start, end)| end - start).sum()
    }

    /// The chunks that have any of the blocks, in ascending order.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkBlocks> {
        let chunk_blocks = u64::from(self.shape.chunk_blocks);
        let mut runs = self.runs.iter().copied().peekable();
        std::iter::from_fn(move || {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ListShape = ListShape { chunk_blocks: 4, blocks: 41 };

    fn set(runs: &[(u64, u64)]) -> ListBlocks {
        let mut blocks = ListBlocks { shape: SHAPE, runs: Vec::new(), merged: 0 };
        runs.iter().for_each(|&(start, end)| blocks.add(start, end));
        blocks.merge();
        blocks
    }

    #[test]
    fn sets_add_take_away_and_count_as_sets_of_numbers_do() {
        use std::collections::BTreeSet;
        let numbers =
            |runs: &[(u64, u64)]| -> BTreeSet<u64> { runs.iter().flat_map(|&(a, b)| a..b).collect() };
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
                assert_eq!(
                    left.common(&right.runs),
                    numbers(one).intersection(&numbers(other)).count() as u64
                );
                left.subtract(&right.runs);
                let expected: BTreeSet<_> = numbers(one).difference(&numbers(other)).copied().collect();
                assert_eq!(numbers(&left.runs), expected);
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
}
