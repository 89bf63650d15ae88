//! Ranges of bytes of an object.

/// The number of new ranges collected before they are merged into the sorted ones.
const MERGE_EVERY: usize = 1 << 10;

/// A set of bytes of one object. Memory: 16 bytes for each range, and half as much again while ranges are
/// added out of order.
#[derive(Debug, Default)]
pub(super) struct ByteRanges {
    /// The first byte and the end of each range. Ranges before `merged` are ascending and disjoint.
    ranges: Vec<(u64, u64)>,
    merged: usize,
}

impl ByteRanges {
    /// Adds `len` bytes from `start` on. Some may already be in the set.
    pub fn add(&mut self, start: u64, len: u64) {
        let end = start.saturating_add(len);
        match self.ranges.last_mut() {
            _ if start == end => return,
            // Ranges added in the order of the object join into one.
            Some(last) if last.1 == start => last.1 = end,
            _ => self.ranges.push((start, end)),
        }
        if self.ranges.len() >= self.merged + self.merged / 2 + MERGE_EVERY {
            self.merge();
        }
    }

    fn merge(&mut self) {
        self.ranges.sort_unstable();
        self.ranges.dedup_by(|next, last| {
            let joins = next.0 <= last.1;
            if joins {
                last.1 = last.1.max(next.1);
            }
            joins
        });
        self.merged = self.ranges.len();
    }

    /// Counts the bytes of the set within `start..end`.
    pub fn bytes_within(&mut self, start: u64, end: u64) -> u64 {
        self.merge();
        let within = |range: &(u64, u64)| range.1.min(end).saturating_sub(range.0.max(start));
        self.ranges.iter().map(within).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_byte_counts_once_however_often_and_in_whatever_order_it_was_added() {
        let mut state = 7u64;
        let mut below = move |max: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % max
        };
        for most in [3, 40, 5000] {
            let (mut ranges, mut bytes) = (ByteRanges::default(), BTreeSet::new());
            for _ in 0..most {
                let (start, len) = (below(20_000), below(30));
                ranges.add(start, len);
                bytes.extend(start..start + len);
            }
            assert_eq!(ranges.bytes_within(0, u64::MAX), bytes.len() as u64);
            assert_eq!(ranges.bytes_within(500, 900), bytes.range(500..900).count() as u64);
        }
    }

    #[test]
    fn neighbours_are_one_range_and_the_greatest_numbers_do_no_harm() {
        let mut ranges = ByteRanges::default();
        (0..100_000).for_each(|number| ranges.add(number * 10, 10));
        assert_eq!(ranges.ranges.len(), 1);
        ranges.add(u64::MAX - 1, u64::MAX);
        ranges.add(5, 0);
        assert_eq!(ranges.bytes_within(0, u64::MAX), 1_000_001);
    }
}
