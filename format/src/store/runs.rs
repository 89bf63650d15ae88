//! Sets of numbers as ordered runs, for the chunks of a list.

use std::collections::BTreeMap;

/// A set of numbers. Memory: 16 bytes for each run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    /// The start and the end of each run; runs neither overlap nor touch.
    runs: BTreeMap<u64, u64>,
}

impl Runs {
    /// Adds `start..end`.
    pub fn add(&mut self, mut start: u64, mut end: u64) {
        if start >= end {
            return;
        }
        // Join all runs that overlap or touch the new one.
        while let Some((&other, &other_end)) =
            self.runs.range(..=end).next_back().filter(|met| *met.1 >= start)
        {
            self.runs.remove(&other);
            (start, end) = (start.min(other), end.max(other_end));
        }
        self.runs.insert(start, end);
    }

    /// Adds all of `other`.
    pub fn add_all(&mut self, other: &Self) {
        other.iter().for_each(|(start, end)| self.add(start, end));
    }

    /// Removes one number.
    pub fn remove(&mut self, number: u64) {
        let Some((&start, &end)) = self.runs.range(..=number).next_back().filter(|run| number < *run.1)
        else {
            return;
        };
        self.runs.remove(&start);
        self.add(start, number);
        self.add(number + 1, end);
    }

    /// Whether the set contains a number.
    pub fn has(&self, number: u64) -> bool {
        self.runs.range(..=number).next_back().is_some_and(|(_, end)| number < *end)
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Returns the number of elements.
    pub fn count(&self) -> u64 {
        self.iter().map(|(start, end)| end - start).sum()
    }

    /// Returns the number of runs.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Returns the runs in ascending order, each as start and end.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.runs.iter().map(|(start, end)| (*start, *end))
    }

    /// Returns the numbers in ascending order.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.iter().flat_map(|(start, end)| start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_meet_are_one_and_numbers_can_be_taken_out() {
        let mut runs = Runs::default();
        for (start, end) in [(10, 12), (14, 16), (12, 13), (0, 0), (3, 4), (13, 14), (2, 3)] {
            runs.add(start, end);
        }
        assert_eq!(runs.iter().collect::<Vec<_>>(), [(2, 4), (10, 16)]);
        assert!(runs.has(2) && runs.has(15) && !runs.has(16) && !runs.has(4) && !runs.has(9));
        runs.remove(12);
        runs.remove(2);
        runs.remove(40);
        assert_eq!(runs.iter().collect::<Vec<_>>(), [(3, 4), (10, 12), (13, 16)]);
        assert_eq!((runs.count(), runs.runs()), (6, 3));
        assert_eq!(runs.numbers().collect::<Vec<_>>(), [3, 10, 11, 13, 14, 15]);
    }
}
