//! Reads a sparse extent. Each grain is inflated once, directly into its destination, and adjacent
//! grains are read together.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use crate::vmdk::VmdkViolation;
use crate::vmdk::layout::extent_layout::{GRAIN_HEAD_LEN, Grains};
use crate::vmdk::layout::grain::Inflater;
use crate::vmdk::layout::header::SECTOR_LEN;
use crate::vmdk::layout::limits::GROUP_LEN_MAX;
use crate::vmdk::layout::marker::Marker;
use crate::vmdk::layout::tables::Table;
use crate::vmdk::read::sparse::{DiskCaches, SparseExtent};
use melv_block::Result;
use melv_block::{Run, RunKind};

/// The maximum length of the buffer that a thread keeps between reads.
const KEPT_LEN_MAX: usize = 4 << 20;

/// The decoder and the buffer of a thread.
#[derive(Default)]
struct Scratch {
    inflater: Inflater,
    stored: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Calls `act` with the thread's own decoder.
pub(crate) fn with_inflater<T>(act: impl FnOnce(&mut Inflater) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| act(&mut scratch.inflater))
}

/// A whole compressed grain and its destination.
struct Wanted<'a> {
    sector: u32,
    grain: u64,
    out: &'a mut [u8],
}

impl SparseExtent {
    /// Fills `buf` from byte `offset` of the extent's part of the disk, within its capacity.
    ///
    /// # Errors
    /// The first fault in a table or a grain, and the errors of reading the file.
    pub fn read_at(&self, caches: &DiskCaches, mut offset: u64, mut buf: &mut [u8]) -> Result<()> {
        let coverage = self.layout.coverage_bytes();
        while !buf.is_empty() {
            let (number, start) = (offset / coverage, offset % coverage);
            let len = (coverage - start).min(buf.len() as u64);
            let (now, rest) = std::mem::take(&mut buf).split_at_mut(len as usize);
            match self.table(caches, number)? {
                None => now.fill(0),
                Some(table) if self.layout.grains == Grains::Plain => self.read_plain(&table, start, now)?,
                Some(table) => self.read_compressed(caches, number, &table, start, now)?,
            }
            offset += len;
            buf = rest;
        }
        Ok(())
    }

    /// Returns the run at `offset`. It ends within one table, or with a sequence of absent tables.
    ///
    /// # Errors
    /// The first fault in the table.
    pub fn map(&self, caches: &DiskCaches, offset: u64, len: u64) -> Result<Run> {
        let (coverage, grain_bytes) = (self.layout.coverage_bytes(), self.layout.grain_bytes());
        let (number, start) = (offset / coverage, offset % coverage);
        let Some(table) = self.table(caches, number)? else {
            let absent = self.absent_tables(number, len / coverage + 2);
            let found = (absent * coverage).saturating_sub(start).max(1);
            return Ok(Run { kind: RunKind::Zero, len: found.min(len) });
        };
        let first = (start / grain_bytes) as usize;
        let rest = table.entries.get(first..).unwrap_or_default();
        let is_data = rest.first().is_some_and(|&sector| sector != 0);
        let alike = rest.iter().take_while(|&&sector| (sector != 0) == is_data).count();
        let end = (first + alike.max(1)) as u64 * grain_bytes;
        let kind = if is_data { RunKind::Data } else { RunKind::Zero };
        Ok(Run { kind, len: (end - start).min(len) })
    }

    /// Reads from byte `start` of one table's range, with one read per contiguous part of the file.
    fn read_plain(&self, table: &Table, start: u64, buf: &mut [u8]) -> Result<()> {
        let grain_bytes = self.layout.grain_bytes();
        let end = start + buf.len() as u64;
        let mut at = start;
        while at < end {
            let first = at / grain_bytes;
            let Some(&sector) = table.entries.get(first as usize) else {
                break;
            };
            let goes_on = |next: u64| {
                let expected = match sector {
                    0 => 0,
                    _ => u64::from(sector) + (next - first) * self.layout.grain_sectors,
                };
                table.entries.get(next as usize).is_some_and(|&found| u64::from(found) == expected)
            };
            let mut next = first + 1;
            while next * grain_bytes < end && goes_on(next) {
                next += 1;
            }
            let until = (next * grain_bytes).min(end);
            let piece = &mut buf[(at - start) as usize..(until - start) as usize];
            match sector {
                0 => piece.fill(0),
                _ => self.file.read_at(u64::from(sector) * SECTOR_LEN + at % grain_bytes, piece)?,
            }
            at = until;
        }
        Ok(())
    }

    /// Does the same as [`SparseExtent::read_plain`] for compressed grains.
    fn read_compressed(
        &self,
        caches: &DiskCaches,
        number: u64,
        table: &Table,
        start: u64,
        mut buf: &mut [u8],
    ) -> Result<()> {
        let grain_bytes = self.layout.grain_bytes();
        let mut group: Vec<Wanted<'_>> = Vec::new();
        let mut at = start;
        while !buf.is_empty() {
            let (entry, within) = (at / grain_bytes, at % grain_bytes);
            let Some(&sector) = table.entries.get(entry as usize) else {
                break;
            };
            let grain = number * u64::from(self.layout.table_entries) + entry;
            let grain_len = self.layout.len_of_grain(grain);
            let len = (grain_len - within).min(buf.len() as u64);
            let (out, rest) = std::mem::take(&mut buf).split_at_mut(len as usize);
            (buf, at) = (rest, at + len);
            if sector == 0 {
                out.fill(0);
            } else if len == grain_len {
                if !self.joins(&group, sector) {
                    self.read_group(table, std::mem::take(&mut group))?;
                }
                group.push(Wanted { sector, grain, out });
            } else {
                self.read_part(caches, table, sector, grain, within, out)?;
            }
        }
        self.read_group(table, group)
    }

    /// Whether a grain lies close enough after those of a group to be read with them.
    fn joins(&self, group: &[Wanted<'_>], sector: u32) -> bool {
        let behind = |wanted: &Wanted<'_>| sector.checked_sub(wanted.sector).filter(|&by| by != 0);
        match (group.first().and_then(behind), group.last().and_then(behind)) {
            (Some(first), Some(last)) => {
                u64::from(first) * SECTOR_LEN < GROUP_LEN_MAX
                    && u64::from(last) * SECTOR_LEN <= self.layout.stored_bytes_max()
            }
            _ => group.is_empty(),
        }
    }

    /// Reads the grains of a group with one read, and inflates each.
    fn read_group(&self, table: &Table, group: Vec<Wanted<'_>>) -> Result<()> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            return Ok(());
        };
        let start = u64::from(first.sector) * SECTOR_LEN;
        let end = self.end_of_stored(last.sector, table.next_after(last.sector))?;
        let len = (end - start) as usize;
        SCRATCH.with_borrow_mut(|scratch| {
            if scratch.stored.len() < len {
                scratch.stored.resize(len, 0);
            }
            let stored = &mut scratch.stored[..len];
            self.file.read_at(start, stored)?;
            let mut group = group.into_iter().peekable();
            while let Some(wanted) = group.next() {
                let place = u64::from(wanted.sector) * SECTOR_LEN;
                let next = group.peek().map(|next| next.sector).or_else(|| table.next_after(wanted.sector));
                let end = self.end_of_room(wanted.sector, next).min(end);
                let room = &stored[(place - start) as usize..(end - start) as usize];
                self.inflate(&mut scratch.inflater, room, wanted)
                    .map_err(|violation| violation.at(self.file.name(), place))?;
            }
            if scratch.stored.len() > KEPT_LEN_MAX {
                scratch.stored = Vec::new();
            }
            Ok(())
        })
    }

    /// Returns the end of the space that a grain may take, as a file offset: the earliest of the
    /// grain at `next`, the end of the file, and the maximum stored length.
    fn end_of_room(&self, sector: u32, next: Option<u32>) -> u64 {
        let place = u64::from(sector) * SECTOR_LEN;
        let end = next.map_or(u64::MAX, |next| u64::from(next) * SECTOR_LEN);
        end.min(place + self.layout.stored_bytes_max()).min(self.file.file_size()).max(place)
    }

    /// Does the same as [`SparseExtent::end_of_room`], but limits a long space to the length in the
    /// grain's marker, because the bytes read are held in memory.
    fn end_of_stored(&self, sector: u32, next: Option<u32>) -> Result<u64> {
        let (place, end) = (u64::from(sector) * SECTOR_LEN, self.end_of_room(sector, next));
        if self.layout.grains != Grains::Marked || end - place <= self.layout.grain_bytes() {
            return Ok(end);
        }
        let mut head = [0; GRAIN_HEAD_LEN as usize];
        self.file.read_at(place, &mut head)?;
        let stored = Marker::grain_head(&head).map_or(0, |(_, len)| u64::from(len));
        Ok(end.min(place + GRAIN_HEAD_LEN + stored))
    }

    fn inflate(&self, inflater: &mut Inflater, room: &[u8], wanted: Wanted<'_>) -> Result<(), VmdkViolation> {
        let lba = wanted.grain * self.layout.grain_sectors;
        let grain_bytes = self.layout.grain_bytes();
        if self.layout.grains == Grains::Marked {
            inflater.inflate_marked(room, lba, grain_bytes, wanted.out)
        } else {
            inflater.inflate(room, false, lba, grain_bytes, wanted.out)
        }
    }

    /// Reads a part of a compressed grain. The inflated grain is cached for other partial reads.
    fn read_part(
        &self,
        caches: &DiskCaches,
        table: &Table,
        sector: u32,
        grain: u64,
        within: u64,
        out: &mut [u8],
    ) -> Result<()> {
        let slot = caches.grains.get_or_put((self.number, grain), Mutex::new(None));
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match slot.as_mut() {
            Some(bytes) => bytes,
            None => {
                let mut bytes = vec![0; self.layout.len_of_grain(grain) as usize];
                self.read_group(table, vec![Wanted { sector, grain, out: &mut bytes }])?;
                slot.insert(bytes)
            }
        };
        out.copy_from_slice(&bytes[within as usize..][..out.len()]);
        Ok(())
    }
}
