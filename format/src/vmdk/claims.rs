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
    /// Of each table [`UNSEEN`], [`GOOD`], or the number of its faulty entry.
    verdicts: Box<[u16]>,
    places: Vec<u64>,
}

const UNSEEN: u16 = u16::MAX;
const GOOD: u16 = u16::MAX - 1;

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
        Self(Some(Mutex::new(Taken { verdicts: vec![UNSEEN; layout.tables as usize].into(), places })))
    }

    /// Takes the places of a table that lies at `place`, once; what was found then is what is
    /// found always.
    ///
    /// # Errors
    /// A grain whose place was taken, and its entry's offset in the file.
    pub fn take(&self, layout: &Layout, number: u64, place: u64, table: &Table) -> Result<(), Placed> {
        let Some(taken) = &self.0 else {
            return Ok(());
        };
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        let Taken { verdicts, places } = &mut *taken;
        let Some(verdict) = verdicts.get_mut(number as usize) else {
            return Ok(());
        };
        if *verdict == UNSEEN {
            *verdict = take_all(places, layout, number, table).map_or(GOOD, |at| at as u16);
        }
        match *verdict {
            GOOD => Ok(()),
            entry => {
                let sector = table.entries.get(usize::from(entry)).copied().unwrap_or_default();
                let why = "where a grain of another table lies";
                let fault = Fault::GrainPlace { table: number, entry: u64::from(entry), sector, why };
                Err((place + u64::from(entry) * 4, fault))
            }
        }
    }
}

/// Takes the places of a table's grains; the first entry whose place was taken.
fn take_all(places: &mut [u64], layout: &Layout, number: u64, table: &Table) -> Option<usize> {
    let first = number * u64::from(layout.table_entries);
    // The disk's last grain may be short, and then another may begin in the same bit's part.
    let is_whole = |at: usize| layout.len_of_grain(first + at as u64) == layout.grain_bytes();
    let used = table.entries.iter().enumerate().filter(|(at, entry)| **entry != 0 && is_whole(*at));
    for (at, &sector) in used {
        let slot = u64::from(sector) * SECTOR_LEN / layout.grain_bytes();
        // The table's entries were found to lie inside the file.
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
