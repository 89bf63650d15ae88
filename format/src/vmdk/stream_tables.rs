//! Holding a stream's tables against the grains that came, in little memory.
//!
//! Grains of a stream come in the order of the disk, so the table of 32 MiB of them is complete
//! when a grain of the next one comes. What is kept is its digest; a table of the stream, before
//! or after, must have the same.

use std::collections::HashMap;

use super::Fault;
use super::header::SECTOR_LEN;
use super::layout::{Layout, Placed};
use super::tables::{Metadata, Table, check_redundant, decode};
use crate::digest::{Digest, object_digest};

/// The digest of a table whose grains of zeros are all written as 0.
fn digest_of(entries: &[u32]) -> Digest {
    let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    object_digest(&bytes)
}

/// What the grains and the tables of a stream say, as far as it came: 40 bytes for each table.
#[derive(Debug)]
pub(super) struct StreamTables {
    table_entries: usize,
    /// The table of the grains that come now.
    current: Option<(u64, Box<[u32]>)>,
    /// The complete ones: those that hold a grain, in ascending order.
    complete: Vec<(u64, Digest)>,
    /// Tables that came in the stream, by their sector.
    came: HashMap<u64, Digest>,
    /// Tables that came before the grains, with their places, in ascending order.
    promised: Option<Vec<Promise>>,
    /// Directories that came and were found right, by their sector.
    directories: Vec<u64>,
}

/// A table in front of the grains that holds some.
#[derive(Debug, Clone, Copy)]
struct Promise {
    number: u64,
    place: u64,
    digest: Digest,
}

impl StreamTables {
    pub fn new(layout: &Layout) -> Self {
        Self {
            table_entries: layout.table_entries as usize,
            current: None,
            complete: Vec::new(),
            came: HashMap::new(),
            promised: None,
            directories: Vec::new(),
        }
    }

    /// Takes in the tables in `front`, all bytes before the first grain.
    ///
    /// # Errors
    /// What is wrong with them, and its offset.
    pub fn promise(&mut self, layout: &Layout, front: &[u8]) -> Result<(), Placed> {
        let len = front.len() as u64;
        let bytes = |sector: u64, len: u64| -> Result<&[u8], Placed> {
            let start = sector.saturating_mul(SECTOR_LEN);
            let end = start.saturating_add(len);
            let found = front.len() as u64;
            let inside = (end <= found).then(|| &front[start as usize..end as usize]);
            inside.ok_or((start, Fault::Truncated { needed: end, found }))
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
                    Fault::Disagree { what, found, expected, by: "the redundant directory" },
                ));
            }
            if sector == 0 {
                continue;
            }
            let place = u64::from(sector) * SECTOR_LEN;
            let entries = decode(bytes(u64::from(sector), layout.table_bytes())?);
            if let Some(copy) = copy {
                let copy = decode(bytes(copy, layout.table_bytes())?);
                let what = "an entry of a grain table";
                check_redundant(place, what, entries.iter().copied(), copy.iter().copied())?;
            }
            // Grains may lie anywhere behind: the file's length is not known.
            let table = Table::new(layout, &metadata, number, place, entries, u64::MAX)?;
            if table.entries.iter().any(|&entry| entry != 0) {
                promised.push(Promise { number, place, digest: digest_of(&table.entries) });
            }
        }
        self.promised = Some(promised);
        Ok(())
    }

    /// Takes in a grain that came at `sector` of the stream.
    ///
    /// # Errors
    /// Where a table that it completes is not what was promised.
    pub fn grain(&mut self, grain: u64, sector: u32) -> Result<(), Placed> {
        let entries = self.table_entries;
        let number = grain / entries as u64;
        if self.current.as_ref().is_none_or(|(current, _)| *current != number) {
            self.complete_table()?;
            self.current = Some((number, vec![0; entries].into()));
        }
        if let Some((_, table)) = &mut self.current {
            table[(grain % entries as u64) as usize] = sector;
        }
        Ok(())
    }

    fn complete_table(&mut self) -> Result<(), Placed> {
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
        self.complete.push((number, digest));
        Ok(())
    }

    /// Takes in a table that came at `sector`.
    ///
    /// # Errors
    /// Where more came than the disk can have, in both directories.
    pub fn table(&mut self, layout: &Layout, sector: u64, bytes: &[u8]) -> Result<(), Fault> {
        let mut entries = decode(&bytes[..(layout.table_bytes() as usize).min(bytes.len())]);
        entries
            .iter_mut()
            .filter(|entry| layout.has_zero_grains && **entry == 1)
            .for_each(|entry| *entry = 0);
        self.came.insert(sector, digest_of(&entries));
        let (found, most) = (self.came.len() as u64, 2 * layout.tables);
        if found > most {
            let what = "the number of grain tables in the stream";
            return Err(Fault::Disagree { what, found, expected: most, by: "its capacity at most" });
        }
        Ok(())
    }

    /// Checks a directory that came at `sector`: its tables must be those of the grains that came,
    /// of which this is the end.
    ///
    /// # Errors
    /// The first entry that is wrong, and its offset in the stream.
    pub fn directory(&mut self, layout: &Layout, sector: u64, bytes: &[u8]) -> Result<(), Placed> {
        self.complete_table()?;
        let directory = decode(&bytes[..(layout.directory_bytes() as usize).min(bytes.len())]);
        let empty = digest_of(&vec![0; self.table_entries]);
        let mut complete = self.complete.iter().peekable();
        for (number, &table) in directory.iter().enumerate() {
            let offset = sector * SECTOR_LEN + number as u64 * 4;
            let expected =
                complete.next_if(|(complete, _)| *complete == number as u64).map(|(_, digest)| *digest);
            let found = match table {
                0 => empty,
                _ => *self.came.get(&u64::from(table)).ok_or((
                    offset,
                    Fault::Value {
                        what: "an entry of the grain directory",
                        found: u64::from(table),
                        expected: "0 or the sector of a table that came in the stream",
                    },
                ))?,
            };
            if found != expected.unwrap_or(empty) {
                let what = "an entry of the grain directory";
                let expected = "the sector of a table that has the grains that came, where they came";
                return Err((offset, Fault::Value { what, found: u64::from(table), expected }));
            }
        }
        self.directories.push(sector);
        Ok(())
    }

    /// Whether a directory that came has been checked already: no grain may follow it.
    pub fn has_directory(&self) -> bool {
        !self.directories.is_empty()
    }

    /// Checks that the stream said which grains there are, and that all of them came.
    /// `layout` names the directories that must have come, `offset` is the stream's end.
    ///
    /// # Errors
    /// What did not come.
    pub fn finish(&mut self, layout: &Layout, offset: u64) -> Result<(), Placed> {
        self.complete_table()?;
        if let Some(promised) = &self.promised {
            return match promised.get(self.complete.len()) {
                None => Ok(()),
                Some(promise) => {
                    let expected = "the grains of a table in front of them";
                    Err((offset.max(promise.place), Fault::Cut { expected }))
                }
            };
        }
        for needed in [layout.directory_sector, layout.redundant_sector].into_iter().flatten() {
            if self.directories.is_empty() {
                return Err((offset, Fault::Cut { expected: "the grain directory" }));
            }
            if !self.directories.contains(&needed) {
                let found = self.directories.first().copied().unwrap_or_default();
                let what = "the sector of the grain directory";
                return Err((
                    offset,
                    Fault::Disagree { what, found, expected: needed, by: "the header or footer" },
                ));
            }
        }
        Ok(())
    }
}

/// The fault of a complete table that is not the next one promised.
fn not_as_promised(promise: Option<Promise>, number: u64, entries: &[u32]) -> Placed {
    let (place, table, why) = match promise {
        Some(promise) if promise.number == number => {
            (promise.place, number, "a grain is missing, or does not lie where the table says")
        }
        Some(promise) if promise.number < number => {
            (promise.place, promise.number, "the table has grains, and none came")
        }
        _ => {
            let first = entries.iter().find(|entry| **entry != 0).copied().unwrap_or_default();
            (u64::from(first) * SECTOR_LEN, number, "grains came, and the table has none")
        }
    };
    (place, Fault::StreamTable { table, why })
}
