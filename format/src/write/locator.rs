//! Writes a locator, chunk by chunk.

use std::collections::HashMap;

use super::pack::{LocatedFrame, PackName};
use super::sink::{ObjectKind, Sink};
use super::table::TableWriter;
use crate::digest::{ListId, PackId};
use crate::error::{BlockError, Result};
use crate::limits::{LOCATOR_PACKS_MAX, LOCATOR_RECORDS_MAX};
use crate::ondisk::locator::{self, FramePlace, LocatorRoot};

/// Writes one locator.
pub(crate) struct LocatorWriter<'a, S: Sink> {
    places: TableWriter<'a, S>,
    chunks: u64,
    /// The number of chunks so far.
    next: u64,
    packs: Vec<PackName>,
    numbers: HashMap<PackName, u32>,
    /// Further frames of chunks with several, and the number of them already written.
    further: Vec<FramePlace>,
    written_further: u64,
    in_part: bool,
}

impl<'a, S: Sink> LocatorWriter<'a, S> {
    /// Begins a locator of `chunks` chunks. An import does not know the number yet and passes `None`.
    pub fn begin(sink: &'a S, chunks: Option<u64>) -> Result<Self> {
        Ok(Self {
            places: TableWriter::begin(sink, ObjectKind::Locator, locator::RECORD_LEN)?,
            chunks: chunks.unwrap_or(0),
            next: 0,
            packs: Vec::new(),
            numbers: HashMap::new(),
            further: Vec::new(),
            written_further: 0,
            in_part: false,
        })
    }

    /// Adds the frames of the next chunk.
    pub fn chunk(&mut self, frames: &[LocatedFrame]) -> Result<()> {
        let mut places: Vec<_> = frames.iter().map(|frame| self.place(frame)).collect();
        self.in_part |= frames.len() != 1 || frames.iter().any(LocatedFrame::is_partial);
        let count = places.len();
        // The first frame's record is the chunk's own; the others are linked behind it.
        for (number, place) in places.iter_mut().enumerate().take(count.saturating_sub(1)) {
            place.next = (self.chunks + self.further.len() as u64 + number as u64) as u32;
        }
        let first = places.first().copied().unwrap_or(FramePlace::NONE);
        self.further.extend(places.iter().skip(1));
        self.next += 1;
        self.places.record(!first.is_absent(), |page| first.encode(page))
    }

    /// Adds chunks without frames until the next chunk is `chunk`.
    pub fn skip_to(&mut self, chunk: u64) -> Result<()> {
        let absent = chunk.saturating_sub(self.next);
        if absent == 0 {
            return Ok(());
        }
        let mut record = Vec::with_capacity(locator::RECORD_LEN);
        FramePlace::NONE.encode(&mut record);
        self.in_part = true;
        self.next = chunk;
        self.places.skip(absent, &record)
    }

    /// Writes and frees the buffers, after all chunks were added.
    pub fn flush(&mut self) -> Result<()> {
        for place in std::mem::take(&mut self.further) {
            self.places.record(true, |page| place.encode(page))?;
            self.written_further += 1;
        }
        self.places.flush()
    }

    fn place(&mut self, frame: &LocatedFrame) -> FramePlace {
        let packs = &mut self.packs;
        let pack = *self.numbers.entry(frame.pack).or_insert_with(|| {
            packs.push(frame.pack);
            packs.len() as u32 - 1
        });
        FramePlace { pack, next: 0, ..frame.place }
    }

    /// Finishes the locator of list `list`. `pack_ids` are the ids of the pack writer's packs.
    pub fn finish(mut self, list: &ListId, pack_ids: &[PackId]) -> Result<S::Finished> {
        self.flush()?;
        let records = self.next + self.written_further;
        check("records of a locator", records, LOCATOR_RECORDS_MAX)?;
        check("packs of a locator", self.packs.len() as u64, LOCATOR_PACKS_MAX)?;
        let pack_id = |name: &PackName| match name {
            PackName::Known(id) => *id,
            PackName::New(number) => pack_ids.get(*number as usize).copied().unwrap_or_default(),
        };
        let root = LocatorRoot {
            list: *list,
            chunks: self.next,
            records,
            in_part: self.in_part,
            packs: self.packs.iter().map(pack_id).collect(),
            pages: self.places.take_digests(),
        };
        self.places.finish(&list.digest(), records, root.encode())
    }
}

fn check(what: &'static str, found: u64, max: u64) -> Result<()> {
    if found <= max { Ok(()) } else { Err(BlockError::Limit { what, found, max }.into()) }
}
