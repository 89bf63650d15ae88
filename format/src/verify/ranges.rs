//! Ranges of an image's disk: those to report, and those already reported.

use std::collections::BTreeMap;

use crate::digest::ImageId;

/// The number of ranges of one image reported singly for one reason; later ones are combined.
const RANGES_MAX: usize = 4096;

/// Damaged ranges, found in nearly ascending order. Adjacent ranges of the same kind are joined. Memory:
/// bounded.
#[derive(Debug)]
pub(super) struct Ranges<T> {
    found: Vec<Range<T>>,
    rest: Option<Rest<T>>,
}

/// A range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range<T> {
    pub start: u64,
    pub len: u64,
    pub what: T,
}

/// The ranges beyond the limit, combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest<T> {
    /// The lowest start and the highest end.
    pub start: u64,
    pub end: u64,
    /// The number of ranges.
    pub ranges: u64,
    /// Their total length, in bytes.
    pub bytes: u64,
    /// The kind of the first.
    pub first: T,
    last: Range<T>,
}

impl<T: Copy + PartialEq> Ranges<T> {
    pub fn new() -> Self {
        Self { found: Vec::new(), rest: None }
    }

    pub fn add(&mut self, start: u64, len: u64, what: T) {
        let range = Range { start, len, what };
        if let Some(rest) = &mut self.rest {
            rest.start = rest.start.min(start);
            rest.end = rest.end.max(start + len);
            rest.bytes += len;
            if !rest.last.join(range) {
                rest.ranges += 1;
                rest.last = range;
            }
            return;
        }
        if self.found.last_mut().is_some_and(|last| last.join(range)) {
            return;
        }
        if self.found.len() < RANGES_MAX {
            self.found.push(range);
        } else {
            self.rest =
                Some(Rest { start, end: start + len, ranges: 1, bytes: len, first: what, last: range });
        }
    }

    /// Returns the first ranges, and all others combined if there are more.
    pub fn finish(self) -> (Vec<Range<T>>, Option<Rest<T>>) {
        (self.found, self.rest)
    }
}

impl<T: PartialEq> Range<T> {
    /// Extends this range by `next` if it follows and is of the same kind. Returns whether it did.
    fn join(&mut self, next: Self) -> bool {
        let joins = self.start + self.len == next.start && self.what == next.what;
        if joins {
            self.len += next.len;
        }
        joins
    }
}

/// Reported ranges: for each image, disjoint ranges by start, with their ends.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<ImageId, BTreeMap<u64, u64>>);

impl Told {
    pub fn add(&mut self, image: ImageId, mut start: u64, len: u64) {
        let ranges = self.0.entry(image).or_default();
        let mut end = start.saturating_add(len);
        if start == end {
            return;
        }
        // Join all ranges that overlap or touch the new one.
        while let Some((&other, &other_end)) = ranges.range(..=end).next_back().filter(|met| *met.1 >= start)
        {
            ranges.remove(&other);
            (start, end) = (start.min(other), end.max(other_end));
        }
        ranges.insert(start, end);
    }

    /// Whether any byte of a range was already reported.
    pub fn has(&self, image: &ImageId, start: u64, len: u64) -> bool {
        let end = start.saturating_add(len);
        let before = self.0.get(image).and_then(|ranges| ranges.range(..end).next_back());
        before.is_some_and(|(_, other_end)| *other_end > start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_a_kind_are_one_range() {
        let mut ranges = Ranges::new();
        for (start, len, what) in [(0, 4, 'a'), (4, 4, 'a'), (8, 4, 'b'), (13, 1, 'b')] {
            ranges.add(start, len, what);
        }
        let range = |start, len, what| Range { start, len, what };
        assert_eq!(ranges.finish(), (vec![range(0, 8, 'a'), range(8, 4, 'b'), range(13, 1, 'b')], None));
    }

    #[test]
    fn too_many_ranges_are_counted() {
        let mut ranges = Ranges::new();
        let max = RANGES_MAX as u64;
        for number in 0..max + 1000 {
            ranges.add(number * 10, 3, 'a');
            ranges.add(number * 10 + 3, 1, 'a');
        }
        let (found, rest) = ranges.finish();
        assert_eq!(found.len(), RANGES_MAX);
        assert!(found.iter().all(|range| range.len == 4));
        let rest = rest.unwrap();
        let ends = (max * 10, (max + 999) * 10 + 4);
        assert_eq!((rest.start, rest.end, rest.ranges, rest.bytes), (ends.0, ends.1, 1000, 4000));
    }

    #[test]
    fn what_was_told_is_known() {
        let (image, other) = (ImageId::from_bytes([1; 32]), ImageId::from_bytes([2; 32]));
        let mut told = Told::default();
        for (start, len) in [(10, 10), (40, 5), (18, 4), (0, 0), (60, 1), (38, 30), (3, 1)] {
            told.add(image, start, len);
        }
        let bytes: Vec<u64> = (0..80).filter(|byte| told.has(&image, *byte, 1)).collect();
        assert_eq!(bytes, [3].into_iter().chain(10..22).chain(38..68).collect::<Vec<_>>());
        assert!(told.has(&image, 21, 17) && !told.has(&image, 22, 16));
        assert!(!told.has(&other, 0, 80));
    }
}
