//! Maps of sparse files, pure: GNU's old form, and the forms 0.0, 0.1 and 1.0 in pax records.
//!
//! Layout: GNU tar's manual, "Storing Sparse Files".

use crate::sources::limits::SPARSE_RANGES;

use super::{error::TarFault, number::signed};

/// A range of a file that has data. All else are zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first byte.
    pub offset: u64,
    /// The length in bytes.
    pub len: u64,
}

/// Bytes of a range in the old form: two numbers of twelve bytes.
const OLD_RANGE_BYTES: usize = 24;

/// Parses ranges of the old form. The first one without bytes in it ends them.
pub fn old_ranges(bytes: &[u8]) -> Result<Vec<Range>, TarFault> {
    let mut ranges = Vec::new();
    for entry in bytes.chunks_exact(OLD_RANGE_BYTES) {
        let (offset, len) = entry.split_at(12);
        if offset[0] == 0 || len[0] == 0 {
            break;
        }
        let number = |field| u64::try_from(signed(field)?).ok();
        let (Some(offset), Some(len)) = (number(offset), number(len)) else {
            return Err(TarFault::SparseMap);
        };
        ranges.push(Range { offset, len });
    }
    Ok(ranges)
}

/// Parses a decimal number of at most 20 digits.
pub fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 20 || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    bytes.iter().try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// Parses the map of form 0.1: offsets and lengths in turn, with commas.
pub fn comma_map(text: &[u8]) -> Result<Vec<Range>, TarFault> {
    let mut numbers = text.split(|byte| *byte == b',');
    let mut ranges = Vec::new();
    while let Some(offset) = numbers.next() {
        let len = numbers.next().and_then(decimal).ok_or(TarFault::SparseMap)?;
        push(&mut ranges, Range { offset: decimal(offset).ok_or(TarFault::SparseMap)?, len })?;
    }
    Ok(ranges)
}

/// Adds a range, up to the limit.
pub fn push(ranges: &mut Vec<Range>, range: Range) -> Result<(), TarFault> {
    if ranges.len() >= SPARSE_RANGES {
        return Err(TarFault::SparseMap);
    }
    ranges.push(range);
    Ok(())
}

/// Parses the map of form 1.0, block by block: a count, then offsets and lengths, one a line.
#[derive(Debug, Default)]
pub struct LineMap {
    line: Vec<u8>,
    count: Option<u64>,
    offset: Option<u64>,
    ranges: Vec<Range>,
}

impl LineMap {
    /// Takes one block. Returns the map once it is whole; padding follows it.
    pub fn take(&mut self, block: &[u8]) -> Result<Option<Vec<Range>>, TarFault> {
        for byte in block {
            if *byte != b'\n' {
                if self.line.len() >= 20 {
                    return Err(TarFault::SparseMap);
                }
                self.line.push(*byte);
                continue;
            }
            let number = decimal(&self.line).ok_or(TarFault::SparseMap)?;
            self.line.clear();
            match (self.count, self.offset.take()) {
                (None, _) => self.count = Some(number),
                (_, None) => self.offset = Some(number),
                (_, Some(offset)) => push(&mut self.ranges, Range { offset, len: number })?,
            }
            if self.offset.is_none() && self.count == Some(self.ranges.len() as u64) {
                return Ok(Some(std::mem::take(&mut self.ranges)));
            }
        }
        Ok(None)
    }
}

/// Checks a map: ascending, apart, within `real_size`, and of `stored` bytes in all.
pub fn check(ranges: &[Range], real_size: u64, stored: u64) -> Result<(), TarFault> {
    let (mut end, mut sum) = (0u64, 0u64);
    for range in ranges {
        if range.offset < end {
            return Err(TarFault::SparseMap);
        }
        end = range.offset.checked_add(range.len).ok_or(TarFault::SparseMap)?;
        sum = sum.checked_add(range.len).ok_or(TarFault::SparseMap)?;
    }
    if end > real_size || sum != stored { Err(TarFault::SparseMap) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_that_overlap_leave_the_file_or_miscount_are_refused() {
        let range = |offset, len| Range { offset, len };
        assert!(check(&[range(0, 5), range(5, 0), range(10, 2)], 12, 7).is_ok());
        for (ranges, real_size, stored) in [
            (vec![range(0, 5), range(4, 2)], 12, 7),
            (vec![range(10, 3)], 12, 3),
            (vec![range(0, 5)], 12, 6),
            (vec![range(u64::MAX, 2)], u64::MAX, 2),
            (vec![range(0, u64::MAX), range(u64::MAX, 1)], u64::MAX, 0),
        ] {
            assert_eq!(check(&ranges, real_size, stored), Err(TarFault::SparseMap));
        }
    }

    #[test]
    fn a_map_of_lines_may_be_split_anywhere() {
        let text = b"2\n0\n512\n4096\n100\n";
        for split in 0..text.len() {
            let mut map = LineMap::default();
            let first = map.take(&text[..split]).unwrap();
            assert!(first.is_none());
            let ranges = map.take(&text[split..]).unwrap().unwrap();
            assert_eq!(ranges, [Range { offset: 0, len: 512 }, Range { offset: 4096, len: 100 }]);
        }
        assert_eq!(LineMap::default().take(b"0\n").unwrap(), Some(vec![]));
        assert!(LineMap::default().take(b"111111111111111111111\n").is_err());
    }
}
