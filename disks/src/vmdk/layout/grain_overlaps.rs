//! Detects two grains stored at the same place of a file.
//!
//! The map has one bit per grain length of the file, and grains that do not overlap never begin in
//! the same one. Two grains at the same place are always found. A partial overlap may be missed if
//! the writer aligned some grains but not others; inside one table all overlaps are found.
//! Compressed grains need no bits: a marker says which grain follows it, and without markers only
//! overlaps inside one table are found.

use std::sync::{Mutex, PoisonError};

use crate::vmdk::VmdkViolation;
use crate::vmdk::layout::extent_layout::{ExtentLayout, Grains, ViolationAt};
use crate::vmdk::layout::header::SECTOR_LEN;
use crate::vmdk::layout::tables::Table;

/// The places of the grains of the tables seen so far.
#[derive(Debug)]
pub(crate) struct GrainOverlaps(Option<Mutex<Recorded>>);

#[derive(Debug)]
struct Recorded {
    /// For each table, [`UNSEEN`], [`GOOD`], or the index of its first faulty entry.
    verdicts: Box<[u16]>,
    places: Vec<u64>,
}

const UNSEEN: u16 = u16::MAX;
const GOOD: u16 = u16::MAX - 1;

impl GrainOverlaps {
    /// Returns an empty map for a file of `file_bytes`, and deducts its size from `budget`, which
    /// all files of a disk share. If the budget is too small, nothing is checked. The map's zeroed
    /// pages take memory only once a bit in them is set.
    pub fn new(layout: &ExtentLayout, file_bytes: u64, budget: &mut u64) -> Self {
        let bytes = (file_bytes / layout.grain_bytes() / 64 + 1) * 8;
        if layout.grains != Grains::Plain || bytes > *budget {
            return Self(None);
        }
        *budget -= bytes;
        let places = vec![0; (bytes / 8) as usize];
        Self(Some(Mutex::new(Recorded { verdicts: vec![UNSEEN; layout.tables as usize].into(), places })))
    }

    /// Records the places of the grains of a table at file offset `place`. Later calls for the same
    /// table return the verdict of the first.
    ///
    /// # Errors
    /// [`VmdkViolation::GrainPlace`] for a grain at a recorded place, with the file offset of its entry.
    pub fn record(
        &self,
        layout: &ExtentLayout,
        number: u64,
        place: u64,
        table: &Table,
    ) -> Result<(), ViolationAt> {
        let Some(recorded) = &self.0 else {
            return Ok(());
        };
        let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let Recorded { verdicts, places } = &mut *recorded;
        let Some(verdict) = verdicts.get_mut(number as usize) else {
            return Ok(());
        };
        if *verdict == UNSEEN {
            *verdict = record_all(places, layout, number, table).map_or(GOOD, |at| at as u16);
        }
        match *verdict {
            GOOD => Ok(()),
            entry => {
                let sector = table.entries.get(usize::from(entry)).copied().unwrap_or_default();
                let why = "which overlaps a grain of another table";
                let violation =
                    VmdkViolation::GrainPlace { table: number, entry: u64::from(entry), sector, why };
                Err((place + u64::from(entry) * 4, violation))
            }
        }
    }
}

/// Records the places of a table's grains; returns the first entry whose place was recorded before.
fn record_all(places: &mut [u64], layout: &ExtentLayout, number: u64, table: &Table) -> Option<usize> {
    let first = number * u64::from(layout.table_entries);
    // The disk's last grain may be short; another grain may then begin within the same bit's range.
    let is_whole = |at: usize| layout.len_of_grain(first + at as u64) == layout.grain_bytes();
    let used = table.entries.iter().enumerate().filter(|(at, entry)| **entry != 0 && is_whole(*at));
    for (at, &sector) in used {
        let slot = u64::from(sector) * SECTOR_LEN / layout.grain_bytes();
        // The table's entries are already known to lie inside the file.
        let Some(word) = places.get_mut((slot / 64) as usize) else {
            continue;
        };
        let bit = 1 << (slot % 64);
        if *word & bit != 0 {
            return Some(at);
        }
        *word |= bit;
    }
    None
}
