//! Checks a stream's tables against the grains received, in little memory.
//!
//! Grains of a stream come in disk order, so the table of a 32 MiB range is complete when the next
//! range begins. Only its digest is kept; a table in the stream, before or after the grains, must
//! have the same digest. A table after its grains is checked on arrival; afterwards only its sector
//! and its number are kept.

use crate::vmdk::VmdkViolation;
use crate::vmdk::layout::extent_layout::{ExtentLayout, ViolationAt, Whole};
use crate::vmdk::layout::header::SECTOR_LEN;
use crate::vmdk::layout::tables::{Metadata, Table, check_redundant, decode};
use blake3::Hash;

/// Returns the digest of a table in which every zero grain is 0.
fn digest_of(entries: &[u32]) -> Hash {
    let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    blake3::hash(&bytes)
}

/// The grains and tables of a stream received so far. Memory: 40 bytes per table with a grain, and
/// 8 per table received. At most [`TABLES_MAX`](crate::vmdk::layout::limits::TABLES_MAX) of the first and twice
/// as many of the second take 80 and 32 MiB.
#[derive(Debug)]
pub(crate) struct StreamTables {
    table_entries: usize,
    /// The number and the entries of the table of the latest grain.
    current: Option<(u64, Box<[u32]>)>,
    /// The complete tables with at least one grain, in ascending order.
    complete: Vec<Complete>,
    /// The tables received, in ascending order of their sectors.
    came: Vec<Came>,
    /// The non-empty tables before the grains, with their offsets, in ascending order.
    promised: Option<Vec<Promise>>,
    /// The sectors of the directories received and found sound.
    directories: Vec<u64>,
}

/// A table whose grains have all been received.
#[derive(Debug, Clone, Copy)]
struct Complete {
    number: u32,
    /// The sector of its first grain.
    first: u32,
    digest: Hash,
}

/// A table received in the stream.
#[derive(Debug, Clone, Copy)]
struct Came {
    sector: u32,
    /// Its number in the directory, or [`EMPTY`].
    number: u32,
}

/// The number of tables kept beyond the maximum for the disk: padding may look like empty tables.
const EMPTY_SPARE: u64 = 4096;
/// The number recorded for a table without grains.
const EMPTY: u32 = u32::MAX;

fn first_of(entries: &[u32]) -> Option<u32> {
    entries.iter().copied().find(|&entry| entry != 0)
}

/// A non-empty table before the grains.
#[derive(Debug, Clone, Copy)]
struct Promise {
    number: u64,
    place: u64,
    digest: Hash,
}

impl StreamTables {
    pub fn new(layout: &ExtentLayout) -> Self {
        Self {
            table_entries: layout.table_entries as usize,
            current: None,
            complete: Vec::new(),
            came: Vec::new(),
            promised: None,
            directories: Vec::new(),
        }
    }

    /// Reads the tables in `front`, which holds all bytes before the first grain.
    ///
    /// # Errors
    /// The first fault, with its offset.
    pub fn promise(&mut self, layout: &ExtentLayout, front: &[u8]) -> Result<(), ViolationAt> {
        let len = front.len() as u64;
        let bytes = |sector: u64, len: u64| -> Result<&[u8], ViolationAt> {
            let start = sector.saturating_mul(SECTOR_LEN);
            let end = start.saturating_add(len);
            let found = front.len() as u64;
            let inside = (end <= found).then(|| &front[start as usize..end as usize]);
            inside.ok_or((start, VmdkViolation::Truncated { needed: end, found }))
        };
        let Some(directory_sector) = layout.directory_sector else {
            return Ok(());
        };
        let primary = decode(bytes(directory_sector, layout.directory_bytes())?);
        let redundant = layout.redundant_sector.map(|sector| bytes(sector, layout.directory_bytes()));
        let redundant = redundant.transpose()?.map(decode);
        let metadata = Metadata::new(layout, &primary, redundant.as_deref(), len)?;
        let mut promised = Vec::new();
        for (number, &sector) in primary.iter().enumerate() {
            let number = number as u64;
            let copy = redundant.as_ref().map(|redundant| u64::from(redundant[number as usize]));
            let entry_place = directory_sector * SECTOR_LEN + number * 4;
            if copy.is_some_and(|copy| (copy == 0) != (sector == 0)) {
                let what = "a table's sector";
                let (found, expected) = (u64::from(sector), copy.unwrap_or_default());
                return Err((
                    entry_place,
                    VmdkViolation::Disagree {
                        what,
                        found,
                        expected,
                        by: layout.redundant_one(Whole::Unknown),
                    },
                ));
            }
            if sector == 0 {
                continue;
            }
            let place = u64::from(sector) * SECTOR_LEN;
            let entries = decode(bytes(u64::from(sector), layout.table_bytes())?);
            if let Some(copy) = copy {
                let copy = decode(bytes(copy, layout.table_bytes())?);
                let (what, by) = ("an entry of a grain table", layout.redundant_one(Whole::Unknown));
                check_redundant(place, what, by, entries.iter().copied(), copy.iter().copied())?;
            }
            // Grains may lie at any offset: the file's length is unknown.
            let table = Table::new(layout, &metadata, number, place, entries, u64::MAX)?;
            if table.entries.iter().any(|&entry| entry != 0) {
                promised.push(Promise { number, place, digest: digest_of(&table.entries) });
            }
        }
        self.promised = Some(promised);
        Ok(())
    }

    /// Records a grain that was received at `sector` of the stream.
    ///
    /// # Errors
    /// A completed table differs from the table before the grains, or the grain follows its own table.
    pub fn grain(&mut self, grain: u64, sector: u32) -> Result<(), ViolationAt> {
        let entries = self.table_entries;
        let number = grain / entries as u64;
        if self.complete.last().is_some_and(|last| u64::from(last.number) == number) {
            let why = "a grain came after its table";
            return Err((u64::from(sector) * SECTOR_LEN, VmdkViolation::StreamTable { table: number, why }));
        }
        if self.current.as_ref().is_none_or(|(current, _)| *current != number) {
            self.complete_table()?;
            self.current = Some((number, vec![0; entries].into()));
        }
        if let Some((_, table)) = &mut self.current {
            table[(grain % entries as u64) as usize] = sector;
        }
        Ok(())
    }

    fn complete_table(&mut self) -> Result<(), ViolationAt> {
        let Some((number, entries)) = self.current.take() else {
            return Ok(());
        };
        let digest = digest_of(&entries);
        if let Some(promised) = &self.promised {
            match promised.get(self.complete.len()) {
                Some(promise) if promise.number == number && promise.digest == digest => {}
                promise => return Err(not_as_promised(promise.copied(), number, &entries)),
            }
        }
        let first = first_of(&entries).unwrap_or_default();
        self.complete.push(Complete { number: number as u32, first, digest });
        Ok(())
    }

    /// Checks a table that was received at `sector`, after its grains.
    ///
    /// # Errors
    /// More tables than the disk can have, or a table that differs from the grains received; with
    /// the offset.
    pub fn table(&mut self, layout: &ExtentLayout, sector: u64, bytes: &[u8]) -> Result<(), ViolationAt> {
        let place = sector * SECTOR_LEN;
        let Ok(sector) = u32::try_from(sector) else {
            let (what, expected) = ("the sector of a grain table in the stream", "a number of 32 bits");
            return Err((place, VmdkViolation::Value { what, found: sector, expected }));
        };
        let mut entries = decode(&bytes[..(layout.table_bytes() as usize).min(bytes.len())]);
        entries
            .iter_mut()
            .filter(|entry| layout.has_zero_grains && **entry == 1)
            .for_each(|entry| *entry = 0);
        let number = match first_of(&entries) {
            None => EMPTY,
            Some(first) => self.number_of(first, &entries, place)?,
        };
        // The stream may hold a redundant directory, too. Surplus empty tables are harmless unless
        // a directory names one.
        let most = 2 * layout.tables;
        if (self.came.len() as u64) < most + EMPTY_SPARE {
            self.came.push(Came { sector, number });
        } else if number != EMPTY {
            let (what, found) = ("the number of grain tables in the stream", self.came.len() as u64 + 1);
            return Err((
                place,
                VmdkViolation::Disagree {
                    what,
                    found,
                    expected: most,
                    by: "its header, which gives the maximum",
                },
            ));
        }
        Ok(())
    }

    /// Returns the number of the table received at byte `place`, which its first grain determines.
    fn number_of(&mut self, first: u32, entries: &[u32], place: u64) -> Result<u32, ViolationAt> {
        let begun = self.current.as_ref().and_then(|(_, current)| first_of(current));
        if begun.is_some_and(|begun| begun <= first) {
            self.complete_table()?;
        }
        // Grains arrive in disk order, so the first sectors of their tables are in ascending order.
        let at = self.complete.partition_point(|complete| complete.first < first);
        match self.complete.get(at) {
            Some(complete) if complete.digest == digest_of(entries) => Ok(complete.number),
            near => {
                let last = near.or(self.complete.last()).map_or(0, |complete| u64::from(complete.number));
                let why = "a grain is missing, or is not at its place in the table";
                Err((place, VmdkViolation::StreamTable { table: last, why }))
            }
        }
    }

    /// Checks a directory that was received at `sector`, after the last grain: its tables must be
    /// those of the grains received.
    ///
    /// # Errors
    /// The first wrong entry, with its offset in the stream.
    pub fn directory(&mut self, layout: &ExtentLayout, sector: u64, bytes: &[u8]) -> Result<(), ViolationAt> {
        self.complete_table()?;
        let directory = decode(&bytes[..(layout.directory_bytes() as usize).min(bytes.len())]);
        let mut complete = self.complete.iter().peekable();
        for (number, &table) in directory.iter().enumerate() {
            let offset = sector * SECTOR_LEN + number as u64 * 4;
            let expected = complete.next_if(|complete| u64::from(complete.number) == number as u64);
            let found = match table {
                0 => EMPTY,
                _ => self.came_at(table).ok_or((
                    offset,
                    VmdkViolation::Value {
                        what: "an entry of the grain directory",
                        found: u64::from(table),
                        expected: "0 or the sector of a table in the stream",
                    },
                ))?,
            };
            if found != expected.map_or(EMPTY, |complete| complete.number) {
                let what = "an entry of the grain directory";
                let expected = "the sector of a table that lists the grains of the stream at their places";
                return Err((offset, VmdkViolation::Value { what, found: u64::from(table), expected }));
            }
        }
        self.directories.push(sector);
        Ok(())
    }

    /// Returns the number of the table received at a sector.
    fn came_at(&self, sector: u32) -> Option<u32> {
        let at = self.came.binary_search_by_key(&sector, |came| came.sector).ok()?;
        self.came.get(at).map(|came| came.number)
    }

    /// Whether a directory has been received and checked: no grain may follow it.
    pub fn has_directory(&self) -> bool {
        !self.directories.is_empty()
    }

    /// Checks that the stream had its grain tables and every grain in them. `layout` gives the
    /// sectors of the required directories; `offset` is the end of the stream.
    ///
    /// # Errors
    /// The missing part.
    pub fn finish(&mut self, layout: &ExtentLayout, offset: u64) -> Result<(), ViolationAt> {
        self.complete_table()?;
        if let Some(promised) = &self.promised {
            return match promised.get(self.complete.len()) {
                None => Ok(()),
                Some(promise) => {
                    let expected = "the grains that an earlier table lists";
                    Err((offset.max(promise.place), VmdkViolation::Cut { expected }))
                }
            };
        }
        for needed in [layout.directory_sector, layout.redundant_sector].into_iter().flatten() {
            if self.directories.is_empty() {
                return Err((offset, VmdkViolation::Cut { expected: "the grain directory" }));
            }
            if !self.directories.contains(&needed) {
                let found = self.directories.first().copied().unwrap_or_default();
                let what = "the sector of the grain directory";
                return Err((
                    offset,
                    VmdkViolation::Disagree { what, found, expected: needed, by: "the header or footer" },
                ));
            }
        }
        Ok(())
    }
}

/// Returns the fault of a complete table that differs from the next table before the grains.
fn not_as_promised(promise: Option<Promise>, number: u64, entries: &[u32]) -> ViolationAt {
    let (place, table, why) = match promise {
        Some(promise) if promise.number == number => {
            (promise.place, number, "a grain is missing, or is not at its place in the table")
        }
        Some(promise) if promise.number < number => {
            (promise.place, promise.number, "the table lists grains, but the stream has none of them")
        }
        _ => {
            let first = entries.iter().find(|entry| **entry != 0).copied().unwrap_or_default();
            (u64::from(first) * SECTOR_LEN, number, "the stream has grains, but the table lists none")
        }
    };
    (place, VmdkViolation::StreamTable { table, why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmdk::layout::header::{FLAG_COMPRESSED, FLAG_MARKERS, SparseHeader};

    fn layout(tables: u64) -> ExtentLayout {
        let header = SparseHeader {
            version: 3,
            flags: FLAG_COMPRESSED | FLAG_MARKERS,
            capacity_sectors: tables * 8 * 128,
            grain_sectors: 8,
            descriptor_sector: 1,
            descriptor_sectors: 1,
            table_entries: 128,
            redundant_sector: 0,
            directory_sector: u64::MAX,
            overhead_sectors: 2,
            is_unclean: false,
            newlines_intact: true,
            compression: 1,
        };
        ExtentLayout::of(&header).expect("a sound header")
    }

    fn table(entries: &[(usize, u32)]) -> Vec<u8> {
        let mut table = vec![0u32; 128];
        entries.iter().for_each(|&(at, sector)| table[at] = sector);
        table.iter().flat_map(|entry| entry.to_le_bytes()).collect()
    }

    #[test]
    fn tables_cost_what_is_said_and_no_more_come_than_there_can_be() {
        assert_eq!((size_of::<Complete>(), size_of::<Came>()), (40, 8));
        let layout = layout(10_000);
        let mut tables = StreamTables::new(&layout);
        for number in 0..10_000 {
            tables.table(&layout, 10 + 2 * number, &table(&[])).expect("a table");
        }
        assert_eq!((tables.came.len(), tables.complete.len()), (10_000, 0));
        // Empty tables are harmless, but not all are kept.
        let most = 20_000 + EMPTY_SPARE;
        for number in 10_000..2 * most {
            tables.table(&layout, 10 + 2 * number, &table(&[])).expect("an empty table");
        }
        assert_eq!(tables.came.len() as u64, most);
        tables.grain(0, 8).expect("a grain");
        let (place, violation) = tables.table(&layout, 100_000, &table(&[(0, 8)])).expect_err("one too many");
        assert!(
            matches!(violation, VmdkViolation::Disagree { found, expected: 20_000, .. } if found == most + 1),
            "{violation}"
        );
        assert_eq!(place, 100_000 * SECTOR_LEN);
    }

    #[test]
    fn a_table_is_that_of_its_grains_wherever_it_comes() {
        let layout = layout(4);
        let mut tables = StreamTables::new(&layout);
        let (first, second, third) = (table(&[(0, 10), (5, 11)]), table(&[(1, 12)]), table(&[(0, 20)]));
        for (grain, sector) in [(0, 10), (5, 11), (129, 12)] {
            tables.grain(grain, sector).expect("a grain");
        }
        // The first table comes late, the second at once; the last table's grains follow both.
        tables.table(&layout, 14, &first).expect("the first");
        tables.table(&layout, 16, &second).expect("the second");
        assert!(matches!(tables.grain(130, 18), Err((_, VmdkViolation::StreamTable { table: 1, .. }))));
        tables.grain(384, 20).expect("a grain");
        for wrong in [table(&[(0, 10)]), table(&[(1, 20)]), table(&[(0, 20), (1, 21)]), table(&[(0, 99)])] {
            assert!(matches!(tables.table(&layout, 22, &wrong), Err((_, VmdkViolation::StreamTable { .. }))));
        }
        tables.table(&layout, 22, &third).expect("the last");
        let directory: Vec<u8> = [14u32, 16, 0, 22].iter().flat_map(|entry| entry.to_le_bytes()).collect();
        tables.directory(&layout, 24, &directory).expect("the directory");
        for wrong in [[16u32, 14, 0, 22], [14, 16, 22, 0], [14, 16, 22, 22], [14, 16, 0, 0], [14, 16, 0, 23]]
        {
            let bytes: Vec<u8> = wrong.iter().flat_map(|entry| entry.to_le_bytes()).collect();
            assert!(tables.directory(&layout, 24, &bytes).is_err(), "{wrong:?}");
        }
    }
}
