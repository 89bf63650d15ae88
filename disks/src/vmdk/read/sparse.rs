//! Opens a hosted sparse extent in a file and finds its tables.

use std::sync::{Arc, Mutex};

use crate::vmdk::VmdkViolation;
use crate::vmdk::layout::extent_layout::{ExtentLayout, Grains, ViolationAt, Whole};
use crate::vmdk::layout::grain_overlaps::GrainOverlaps;
use crate::vmdk::layout::header::{HEADER_LEN, SECTOR_LEN, SparseHeader};
use crate::vmdk::layout::limits::{
    DESCRIPTOR_LEN_MAX, END_LEN, GRAINS_CACHED_BYTES, OVERLAPS_BYTES_MAX, TABLES_CACHED, TABLES_MAX,
};
use crate::vmdk::layout::marker::{Marker, check_padding};
use crate::vmdk::layout::oddities;
use crate::vmdk::layout::tables::{Metadata, Table, check_fixed, check_redundant, decode};
use crate::vmdk::read::files::{ExtentFile, read};
use crate::vmdk::read::recent::Recent;
use crate::warning::{Oddity, Warning};
use melv_block::RunKind;
use melv_block::{BlockError, Result};

/// The memory that the extents of a disk may share.
#[derive(Debug)]
pub(crate) struct Budget {
    tables: u64,
    overlaps_bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { tables: TABLES_MAX, overlaps_bytes: OVERLAPS_BYTES_MAX }
    }
}

/// The caches that all extents of a disk share.
#[derive(Debug)]
pub(crate) struct DiskCaches {
    pub tables: Recent<Table>,
    /// Inflated grains. Concurrent partial reads of a grain wait for the first, which inflates it.
    pub grains: Recent<Mutex<Option<Vec<u8>>>>,
}

impl DiskCaches {
    /// Creates the caches for a disk whose longest grain has `grain_bytes` bytes.
    pub fn new(grain_bytes: u64) -> Self {
        let grains = (GRAINS_CACHED_BYTES / grain_bytes.max(1)).clamp(2, 256);
        Self { tables: Recent::new(TABLES_CACHED), grains: Recent::new(grains as usize) }
    }
}

/// An open sparse extent.
#[derive(Debug)]
pub(crate) struct SparseExtent {
    /// Its index in the disk.
    pub number: u32,
    pub file: Arc<ExtentFile>,
    pub layout: ExtentLayout,
    metadata: Metadata,
    directory: Box<[u32]>,
    redundant: Option<Box<[u32]>>,
    overlaps: GrainOverlaps,
}

impl SparseExtent {
    /// Opens the sparse extent in `file`. Reads its header, its footer and its directories (4 bytes
    /// per 32 MiB of disk). Checks that all tables lie inside the file and do not overlap.
    ///
    /// # Errors
    /// The first fault found, [`BlockError::Limit`], and the errors of reading the file.
    pub fn open(
        file: Arc<ExtentFile>,
        number: u32,
        budget: &mut Budget,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self> {
        let name = file.name();
        let placed = |(offset, violation): ViolationAt| violation.at(&name, offset);
        let len = file.file_size();
        let header = SparseHeader::decode(&read(&file, 0, len.min(HEADER_LEN as u64))?)
            .map_err(|violation| violation.at(&name, 0))?;
        let mut layout = ExtentLayout::of(&header).map_err(placed)?;
        // A directory after the grains may have a footer even if the header gives its sector.
        if layout.directory_sector.is_none_or(|sector| sector >= layout.overhead_sectors)
            && layout.grains != Grains::Plain
        {
            layout = with_footer(&file, &header, layout, warnings)?;
        }
        warnings.extend(oddities::of_header(&name, &header));
        let Some(left) = budget.tables.checked_sub(layout.tables) else {
            return Err(BlockError::Limit {
                what: "grain tables of a VMDK",
                found: layout.tables,
                max: TABLES_MAX,
            }
            .into());
        };
        budget.tables = left;
        check_fixed(&layout.fixed_regions(), len).map_err(placed)?;
        let directory = |sector: u64| -> Result<Box<[u32]>> {
            Ok(decode(&read(&file, sector * SECTOR_LEN, layout.directory_bytes())?))
        };
        let place = layout.directory_sector.unwrap_or_default();
        let primary = directory(place)?;
        let redundant = layout.redundant_sector.map(directory).transpose()?;
        if let Some(redundant) = &redundant {
            let there = |entries: &[u32]| -> Vec<u32> {
                entries.iter().map(|&entry| u32::from(entry != 0)).collect()
            };
            let what = "the number of tables at an entry of the grain directory";
            let (one, other) = (there(&primary), there(redundant));
            let is_whole = |sector: Option<u64>, directory: &[u32]| {
                let alone = ExtentLayout { directory_sector: sector, redundant_sector: None, ..layout };
                directory.iter().any(|&table| table != 0)
                    && Metadata::new(&alone, directory, None, len).is_ok()
            };
            let first = is_whole(layout.directory_sector, &primary);
            let by = layout.redundant_one(Whole::of(first, is_whole(layout.redundant_sector, redundant)));
            check_redundant(place * SECTOR_LEN, what, by, one.into_iter(), other.into_iter())
                .map_err(placed)?;
        }
        let metadata = Metadata::new(&layout, &primary, redundant.as_deref(), len).map_err(placed)?;
        let overlaps = GrainOverlaps::new(&layout, len, &mut budget.overlaps_bytes);
        Ok(Self { number, file, layout, metadata, directory: primary, redundant, overlaps })
    }

    /// Reads the embedded descriptor's space; `None` if it holds no text.
    ///
    /// # Errors
    /// [`VmdkViolation::DescriptorLen`], before anything is read.
    pub fn descriptor(&self) -> Result<Option<Vec<u8>>> {
        let Some((sector, sectors)) = self.layout.descriptor else {
            return Ok(None);
        };
        let found = sectors.saturating_mul(SECTOR_LEN);
        let offset = sector.saturating_mul(SECTOR_LEN);
        if found > DESCRIPTOR_LEN_MAX {
            let violation = VmdkViolation::DescriptorLen { found, max: DESCRIPTOR_LEN_MAX };
            return Err(violation.at(self.file.name(), offset));
        }
        let bytes = read(&self.file, offset, found)?;
        Ok(bytes.first().is_some_and(|&byte| byte != 0).then_some(bytes))
    }

    /// Returns the table with this number, or `None` if it is absent and its grains are all zeros. A
    /// table read from the file is checked against its redundant copy and everything else in the file.
    ///
    /// # Errors
    /// The first fault found, and the errors of reading the file.
    pub fn table(&self, caches: &DiskCaches, number: u64) -> Result<Option<Arc<Table>>> {
        let sector = |directory: &[u32]| {
            directory.get(number as usize).copied().filter(|sector| *sector != 0).map(u64::from)
        };
        let Some(primary) = sector(&self.directory) else {
            return Ok(None);
        };
        let key = (self.number, number);
        if let Some(table) = caches.tables.get(key) {
            return Ok(Some(table));
        }
        let entries = |sector: u64| -> Result<Box<[u32]>> {
            Ok(decode(&read(&self.file, sector * SECTOR_LEN, self.layout.table_bytes())?))
        };
        let placed = |(offset, violation): ViolationAt| violation.at(self.file.name(), offset);
        let place = primary * SECTOR_LEN;
        let found = entries(primary)?;
        if let Some(redundant) = self.redundant.as_deref().and_then(sector) {
            let copy = entries(redundant)?;
            let what = "an entry of a grain table";
            if found != copy {
                let by = self.layout.redundant_one(self.which_is_whole(number, place, &found, &copy));
                check_redundant(place, what, by, found.iter().copied(), copy.iter().copied())
                    .map_err(placed)?;
            }
        }
        let len = self.file.file_size();
        let table = Table::new(&self.layout, &self.metadata, number, place, found, len).map_err(placed)?;
        self.overlaps.record(&self.layout, number, place, &table).map_err(placed)?;
        Ok(Some(caches.tables.get_or_put(key, table)))
    }

    /// Finds the one of two conflicting tables that is sound and not empty.
    fn which_is_whole(&self, number: u64, place: u64, first: &[u32], copy: &[u32]) -> Whole {
        let is_whole = |entries: &[u32]| {
            let len = self.file.file_size();
            let table = Table::new(&self.layout, &self.metadata, number, place, entries.into(), len);
            table.is_ok_and(|table| table.entries.iter().any(|&entry| entry != 0))
        };
        Whole::of(is_whole(first), is_whole(copy))
    }

    /// Counts the consecutive absent tables from `number` on, up to `most`.
    pub fn absent_tables(&self, number: u64, most: u64) -> u64 {
        let rest = self.directory.iter().skip(number as usize).take(most.min(self.layout.tables) as usize);
        rest.take_while(|sector| **sector == 0).count() as u64
    }
}

/// Takes the directory's sector from the footer, in the sector before the end marker. Any number of
/// zeros may follow, but no other bytes. A second footer is refused, since a reader from the front
/// would stop at the first. Without a footer, the header must give the directory's sector.
fn with_footer(
    file: &ExtentFile,
    header: &SparseHeader,
    layout: ExtentLayout,
    warnings: &mut Vec<Warning>,
) -> Result<ExtentLayout> {
    let used = used_bytes(file)?;
    // This includes the end marker, which is all zeros.
    let end = (used.next_multiple_of(SECTOR_LEN) + SECTOR_LEN).min(file.file_size());
    let start = (end / SECTOR_LEN * SECTOR_LEN).saturating_sub(END_LEN);
    let window = read(file, start, end - start)?;
    let mut footers = footers(&window);
    let Some((at, footer)) = footers.next() else {
        if layout.directory_sector.is_some() {
            return Ok(layout);
        }
        let expected = "the footer, which locates the grain directory, and the end marker";
        return Err(VmdkViolation::Cut { expected }.at(file.name(), used));
    };
    let (place, behind) = (start + at as u64, at + SECTOR_LEN as usize);
    if let Some((other, _)) = footers.next() {
        return Err(VmdkViolation::TwoEnds { other: place }.at(file.name(), start + other as u64));
    }
    let placed = |(offset, violation): ViolationAt| violation.at(file.name(), offset);
    let marker = window[behind..].first_chunk::<{ SECTOR_LEN as usize }>();
    let marker = marker.and_then(|marker| marker.first_chunk());
    let is_end = marker.is_some_and(|marker| Marker::decode(marker) == Ok(Marker::End));
    let padding = behind + if is_end { SECTOR_LEN as usize } else { 0 };
    check_padding(&window[padding..], start + padding as u64).map_err(placed)?;
    if !is_end {
        let expected = "the marker that ends the stream";
        return Err(VmdkViolation::Cut { expected }.at(file.name(), start + behind as u64));
    }
    let bytes = file.file_size().saturating_sub(start + padding as u64);
    if bytes != 0 {
        warnings.push(Warning { object: file.name(), oddity: Oddity::Padding { bytes } });
    }
    layout.with_footer(header, &footer).map_err(|(offset, violation)| placed((place + offset, violation)))
}

/// Returns the length of a file up to its last non-zero byte. Searches backwards; it skips the
/// holes of a regular file, but reads the zeros of a device.
fn used_bytes(file: &ExtentFile) -> Result<u64> {
    let mut end = file.file_size();
    let mut is_first = true;
    while end > 0 {
        let start = (end - 1) / END_LEN * END_LEN;
        let window = read(file, start, end - start)?;
        if let Some(last) = window.iter().rposition(|&byte| byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = if is_first { data_end(file, start)? } else { start };
        is_first = false;
    }
    Ok(0)
}

/// Returns the end of the last run of data before `end`.
fn data_end(file: &ExtentFile, end: u64) -> Result<u64> {
    let (mut at, mut found) = (0, 0);
    while at < end {
        let run = file.map(at, end - at)?;
        at += run.len;
        if run.kind == RunKind::Data {
            found = at;
        }
    }
    Ok(found)
}

/// Returns the footers that follow a footer marker, last first, with their offsets in the window.
fn footers(window: &[u8]) -> impl Iterator<Item = (usize, SparseHeader)> {
    let sectors: Vec<&[u8]> = window.chunks_exact(SECTOR_LEN as usize).collect();
    let is_marker = |sector: &[u8]| {
        let marker = sector.first_chunk().map(Marker::decode);
        matches!(marker, Some(Ok(Marker::Footer { sectors: 0 | 1 })))
    };
    (1..sectors.len()).rev().filter_map(move |number| {
        let footer = SparseHeader::decode(sectors[number]).ok().filter(|_| is_marker(sectors[number - 1]))?;
        Some((number * SECTOR_LEN as usize, footer))
    })
}
