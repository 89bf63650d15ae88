//! Which places of a file hold a grain already, so that two grains at one place are found.
//!
//! A bit for each grain's length of the file: grains that do not overlap never begin in the same
//! one. So two at one place are always found, and two that overlap by a part where the writer
//! aligned some and not others may be missed; inside one table all overlaps are found. Compressed
//! grains need no bits: those with markers say which grain they are, and of those without only
//! overlaps inside one table are found.

use std::sync::{Mutex, PoisonError};

use super::Fault;
use super::header::SECTOR_LEN;
use super::layout::{Grains, Layout, Placed};
use super::tables::Table;

/// The places taken so far by the tables seen so far.
#[derive(Debug)]
pub(super) struct Claims(Option<Mutex<Taken>>);

#[derive(Debug)]
struct Taken {
    tables: Box<[bool]>,
    places: Vec<u64>,
}

impl Claims {
    /// For a file of so many bytes; takes what it needs from the `budget` of bytes for all files
    /// of a disk, or checks nothing if it is not enough. The bits cost memory as they are set.
    pub fn new(layout: &Layout, file_bytes: u64, budget: &mut u64) -> Self {
        let bytes = (file_bytes / layout.grain_bytes() / 64 + 1) * 8;
        if layout.grains != Grains::Plain || bytes > *budget {
            return Self(None);
        }
        *budget -= bytes;
        let places = vec![0; (bytes / 8) as usize];
        Self(Some(Mutex::new(Taken { tables: vec![false; layout.tables as usize].into(), places })))
    }

    /// Takes the places of a table that lies at `place`, once.
    ///
    /// # Errors
    /// A grain whose place was taken, and its entry's offset in the file.
    pub fn take(&self, layout: &Layout, number: u64, place: u64, table: &Table) -> Result<(), Placed> {
        let Some(taken) = &self.0 else {
            return Ok(());
        };
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.tables.get_mut(number as usize) {
            Some(seen) if !*seen => *seen = true,
            _ => return Ok(()),
        }
        let first = number * u64::from(layout.table_entries);
        // The disk's last grain may be short, and then another may begin in the same bit's part.
        let is_whole = |at: usize| layout.len_of_grain(first + at as u64) == layout.grain_bytes();
        let used = table.entries.iter().enumerate().filter(|(at, entry)| **entry != 0 && is_whole(*at));
        for (at, &sector) in used {
            let slot = u64::from(sector) * SECTOR_LEN / layout.grain_bytes();
            // The table's entries were found to lie inside the file.
            let Some(word) = taken.places.get_mut((slot / 64) as usize) else {
                continue;
            };
            let bit = 1 << (slot % 64);
            if *word & bit != 0 {
                let why = "where a grain of another table lies";
                let fault = Fault::GrainPlace { table: number, entry: at as u64, sector, why };
                return Err((place + at as u64 * 4, fault));
            }
            *word |= bit;
        }
        Ok(())
    }
}
