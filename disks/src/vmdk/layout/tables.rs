//! Decodes and checks grain directories and grain tables.
//!
//! Source of the layout: VMware, *Virtual Disk Format 5.0*, "Hosted Sparse Extents": a directory
//! and its tables are 32-bit little-endian sectors of the file; 0 is "none".

use crate::vmdk::VmdkViolation;
use crate::vmdk::layout::extent_layout::{ExtentLayout, GRAIN_HEAD_LEN, Grains, Region, ViolationAt};
use crate::vmdk::layout::header::SECTOR_LEN;

/// The entry of a zero grain, if the header allows it.
const ZERO_GRAIN: u32 = 1;

/// Decodes the entries of a directory or table.
pub(crate) fn decode(bytes: &[u8]) -> Box<[u32]> {
    bytes.as_chunks::<4>().0.iter().map(|entry| u32::from_le_bytes(*entry)).collect()
}

/// All structures of a file apart from its grains.
#[derive(Debug)]
pub(crate) struct Metadata {
    fixed: Vec<Region>,
    /// The first sectors of the tables of both directories, in ascending order.
    tables: Box<[u32]>,
    table_sectors: u64,
    overhead_sectors: u64,
}

impl Metadata {
    /// Checks that the header, the descriptor, the directories and the tables lie inside the
    /// `file_bytes` of the file and do not overlap.
    ///
    /// # Errors
    /// The fault, with the file offset of the structure or entry that shows it.
    pub fn new(
        layout: &ExtentLayout,
        directory: &[u32],
        redundant: Option<&[u32]>,
        file_bytes: u64,
    ) -> Result<Self, ViolationAt> {
        let fixed = layout.fixed_regions();
        check_fixed(&fixed, file_bytes)?;
        let table_sectors = layout.table_sectors();
        let places = [(layout.directory_sector, Some(directory)), (layout.redundant_sector, redundant)];
        let mut tables = Vec::new();
        for (sector, entries) in places {
            let (Some(sector), Some(entries)) = (sector, entries) else {
                continue;
            };
            for (number, &table) in entries.iter().enumerate().filter(|(_, table)| **table != 0) {
                let place = sector * SECTOR_LEN + number as u64 * 4;
                let region = table_region(table, table_sectors);
                let needed = u64::from(table) * SECTOR_LEN + layout.table_bytes();
                if needed > file_bytes {
                    return Err((place, VmdkViolation::Truncated { needed, found: file_bytes }));
                }
                if let Some(violation) = fixed.iter().find_map(|fixed| region.over(fixed)) {
                    return Err((place, violation));
                }
                tables.push(table);
            }
        }
        tables.sort_unstable();
        for pair in tables.windows(2) {
            let [one, other] = [pair[0], pair[1]].map(|table| table_region(table, table_sectors));
            if let Some(violation) = other.over(&one) {
                return Err((other.start * SECTOR_LEN, violation));
            }
        }
        let overhead_sectors = layout.overhead_sectors;
        Ok(Self { fixed, tables: tables.into(), table_sectors, overhead_sectors })
    }

    /// Returns a description of the structure that a grain would overlap, if any.
    fn in_the_way(&self, start: u64, sectors: u64) -> Option<&'static str> {
        if start < self.overhead_sectors {
            return Some("which the header places before the first grain");
        }
        let grain = Region { what: "", start, sectors };
        if self.fixed.iter().any(|fixed| grain.over(fixed).is_some()) {
            return Some("which overlaps the header, the descriptor or a directory");
        }
        // This is the last table that begins before the grain ends.
        let after = self.tables.partition_point(|&table| u64::from(table) < grain.end());
        let table = after.checked_sub(1).and_then(|at| self.tables.get(at))?;
        let reaches_in = u64::from(*table) + self.table_sectors > start;
        reaches_in.then_some("which overlaps a grain table")
    }
}

fn table_region(sector: u32, sectors: u64) -> Region {
    Region { what: "a grain table", start: u64::from(sector), sectors }
}

/// Checks that the structures that the header locates lie inside the file and do not overlap.
pub(crate) fn check_fixed(fixed: &[Region], file_bytes: u64) -> Result<(), ViolationAt> {
    for (number, region) in fixed.iter().enumerate() {
        let place = region.start.saturating_mul(SECTOR_LEN);
        let needed = region.end().saturating_mul(SECTOR_LEN);
        if needed > file_bytes.next_multiple_of(SECTOR_LEN) {
            return Err((place, VmdkViolation::Truncated { needed, found: file_bytes }));
        }
        if let Some(violation) = fixed.iter().take(number).find_map(|other| region.over(other)) {
            return Err((place, violation));
        }
    }
    Ok(())
}

/// Checks that two copies of a directory or table agree; for directories, callers pass the presence
/// of tables. `place` is the first copy's file offset, `by` the other copy's name.
///
/// # Errors
/// The first entry that differs, with its file offset.
pub(crate) fn check_redundant(
    place: u64,
    what: &'static str,
    by: &'static str,
    primary: impl Iterator<Item = u32>,
    redundant: impl Iterator<Item = u32>,
) -> Result<(), ViolationAt> {
    for (number, (found, expected)) in primary.zip(redundant).enumerate() {
        if found != expected {
            let (found, expected) = (u64::from(found), u64::from(expected));
            let violation = VmdkViolation::Disagree { what, found, expected, by };
            return Err((place + number as u64 * 4, violation));
        }
    }
    Ok(())
}

/// A grain table with the file sector of each grain, 0 for zeros.
#[derive(Debug)]
pub(crate) struct Table {
    pub entries: Box<[u32]>,
}

impl Table {
    /// Checks the entries of table `number` at file offset `place`: each grain must lie inside the
    /// file and must not overlap metadata or another grain.
    ///
    /// # Errors
    /// The fault, with the entry's file offset.
    pub fn new(
        layout: &ExtentLayout,
        metadata: &Metadata,
        number: u64,
        place: u64,
        mut entries: Box<[u32]>,
        file_bytes: u64,
    ) -> Result<Self, ViolationAt> {
        let first_grain = number * u64::from(layout.table_entries);
        let mut used = Vec::with_capacity(entries.len());
        for (at, entry) in entries.iter_mut().enumerate() {
            if *entry == ZERO_GRAIN && layout.has_zero_grains {
                *entry = 0;
            }
            if *entry == 0 {
                continue;
            }
            let grain = first_grain + at as u64;
            let offset = place + at as u64 * 4;
            let violation = |why| {
                (offset, VmdkViolation::GrainPlace { table: number, entry: at as u64, sector: *entry, why })
            };
            if layout.len_of_grain(grain) == 0 {
                return Err(violation("for a grain past the end of the disk"));
            }
            let bytes = least_bytes(layout, grain);
            let start = u64::from(*entry);
            if let Some(why) = metadata.in_the_way(start, bytes.div_ceil(SECTOR_LEN)) {
                return Err(violation(why));
            }
            let needed = start * SECTOR_LEN + bytes;
            if needed > file_bytes {
                return Err((offset, VmdkViolation::Truncated { needed, found: file_bytes }));
            }
            used.push((*entry, at));
        }
        used.sort_unstable();
        for pair in used.windows(2) {
            let [(one, one_at), (sector, at)] = [pair[0], pair[1]];
            let least = least_bytes(layout, first_grain + one_at as u64).div_ceil(SECTOR_LEN);
            if u64::from(sector - one) < least {
                let why = "which overlaps another grain of the table";
                let violation = VmdkViolation::GrainPlace { table: number, entry: at as u64, sector, why };
                return Err((place + at as u64 * 4, violation));
            }
        }
        Ok(Self { entries })
    }

    /// Returns the sector of the next grain of this table after `sector`.
    pub fn next_after(&self, sector: u32) -> Option<u32> {
        self.entries.iter().copied().filter(|&entry| entry > sector).min()
    }
}

/// Returns the minimum space of a grain in the file, in bytes.
fn least_bytes(layout: &ExtentLayout, grain: u64) -> u64 {
    match layout.grains {
        Grains::Plain => layout.len_of_grain(grain),
        Grains::Bare | Grains::Marked => GRAIN_HEAD_LEN,
    }
}
