//! Writes frames into packs and their places into locators, in the order of the chunks.
//!
//! Packs grow to their maximum length. Pages of ids and places are written between the frames. Each page
//! of ids is directly followed by its page of places, for readers that fetch by requests. After 128 GiB
//! of data, pages are written in groups that grow with the bundle. This keeps the table short, and at
//! most a sixty-fourth of the pages in memory.

use std::collections::HashMap;

use rayon::prelude::*;

use super::load_frames::{REMEMBERED_MAX, batch_chunks};
use super::writer::{BundleWriter, Pieces};
use crate::digest::{Digest, page_digest};
use crate::error::{BlockError, Result};
use crate::guard::guard;
use crate::image::{ChunkBlocks, ListBlocks};
use crate::limits::{PACK_FRAMES_MAX, PACK_LEN_MAX, TABLE_PAGE_RECORDS};
use crate::ondisk::bundle::ObjectKind;
use crate::ondisk::list::{ListShape, with_trailer};
use crate::ondisk::locator::{self, FramePlace, LocatorRoot};
use crate::ondisk::pack::{self, FRAMES_OFFSET, FrameRecord};
use crate::store::Shared;
use crate::store::carry::Carried;
use crate::store::list::List;

/// The number of id pages written singly, each as a separate piece of its list.
const PAGES_SINGLE: u64 = 4096;
/// Later pages wait until they amount to this fraction (1/64) of the pages already written.
const PAGES_SHARE: u64 = 64;

/// A pack still being filled.
struct OpenPack {
    records: Vec<FrameRecord>,
    /// The length of the object so far, in bytes.
    len: u64,
    pieces: Pieces,
}

/// A pack that is complete except for its head.
struct ClosedPack {
    id: Digest,
    len: u64,
    pieces: Pieces,
}

/// A list whose chunks have all been written.
struct WrittenList {
    id: Digest,
    shape: ListShape,
    root: bytes::Bytes,
    list_pieces: Pieces,
    locator_pieces: Pieces,
    /// The locator's pages, and its packs by their numbers in this bundle.
    locator_pages: Vec<Digest>,
    packs: Vec<u32>,
    in_part: bool,
}

/// Pages waiting to be written: number, ids, places.
type Waiting = Vec<(u64, Vec<u8>, Vec<u8>)>;

/// Writes the chunks of all lists.
pub(super) struct ChunkWriter<'a, 'b> {
    writer: &'a mut BundleWriter<'b>,
    shared: &'a std::sync::Arc<Shared>,
    open: Option<OpenPack>,
    closed: Vec<ClosedPack>,
    lists: Vec<WrittenList>,
    pages_written: u64,
    /// Whole frames by chunk id, each with its pack number and place, to avoid writing a chunk of several
    /// lists twice.
    written: HashMap<Digest, (u32, FramePlace)>,
}

/// The roots and heads, which are written after all frames but read first.
pub(super) struct Roots {
    closed: Vec<ClosedPack>,
    lists: Vec<WrittenList>,
}

impl<'a, 'b> ChunkWriter<'a, 'b> {
    pub fn new(writer: &'a mut BundleWriter<'b>, shared: &'a std::sync::Arc<Shared>) -> Self {
        Self {
            writer,
            shared,
            open: None,
            closed: Vec::new(),
            lists: Vec::new(),
            pages_written: 0,
            written: HashMap::new(),
        }
    }

    /// Writes the given blocks of a list. Calls `done` with the number of blocks after every batch.
    pub fn list(
        &mut self,
        id: &Digest,
        blocks: &ListBlocks,
        done: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let list = self.shared.list(id, Some(blocks.shape))?;
        let mut table = PlaceTable::new(blocks.shape);
        let mut written = WrittenList {
            id: *id,
            shape: list.root()?.shape,
            root: list.root_bytes()?,
            list_pieces: Pieces::default(),
            locator_pieces: Pieces::default(),
            locator_pages: Vec::new(),
            packs: Vec::new(),
            in_part: false,
        };
        let mut waiting = Waiting::new();
        let mut chunks = blocks.chunks().peekable();
        while chunks.peek().is_some() {
            let batch: Vec<_> = chunks.by_ref().take(batch_chunks(&blocks.shape)).collect();
            let carry =
                |chunk: &ChunkBlocks| self.shared.carry(&list, chunk.chunk, &chunk.mask, self.shared.verify);
            let carried: Vec<Carried> = batch.par_iter().map(carry).collect::<Result<_>>()?;
            for (chunk, carried) in batch.iter().zip(&carried) {
                written.in_part |= carried.partial;
                let place = self.frame(carried, &mut written.packs)?;
                if let Some(page) = table.put(chunk.chunk, &place) {
                    self.page(&list, page, &mut waiting, &mut written)?;
                }
            }
            done(batch.iter().map(ChunkBlocks::count).sum())?;
        }
        if let Some(page) = table.take() {
            self.page(&list, page, &mut waiting, &mut written)?;
        }
        self.flush(&mut waiting, &mut written)?;
        written.in_part |= table.chunks < blocks.shape.chunks();
        written.locator_pages = table.digests();
        self.lists.push(written);
        Ok(())
    }

    /// Writes a frame. `packs` holds the packs that its list uses so far.
    fn frame(&mut self, carried: &Carried, packs: &mut Vec<u32>) -> Result<FramePlace> {
        if !carried.partial
            && let Some((number, place)) = self.written.get(&carried.id)
        {
            return Ok(FramePlace { pack: number_in(packs, *number), ..*place });
        }
        let len = carried.frame.len() as u64;
        if self.open.as_ref().is_some_and(|open| open.is_full(len)) {
            self.close_pack()?;
        }
        let number = self.closed.len() as u32;
        let open = self.open.get_or_insert_with(OpenPack::new);
        let guard = guard(&carried.id, &carried.frame);
        let offset = self.writer.append(&carried.frame)?;
        open.pieces.add(open.len, offset, len);
        let at = open.len;
        open.len += len;
        open.records.push(FrameRecord { key: carried.id.prefix(), len: len as u32, guard });
        let (pack, partial) = (number_in(packs, number), carried.partial);
        let place = FramePlace { pack, offset: at as u32, len: len as u32, partial, next: 0, guard };
        if !partial && self.written.len() < REMEMBERED_MAX {
            self.written.insert(carried.id, (number, place));
        }
        Ok(place)
    }

    fn close_pack(&mut self) -> Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let (tail, id) = pack::encode_tail(&open.records);
        let offset = self.writer.append(&tail)?;
        open.pieces.add(open.len, offset, tail.len() as u64);
        self.closed.push(ClosedPack { id, len: open.len + tail.len() as u64, pieces: open.pieces });
        Ok(())
    }

    /// Queues a completed page of places together with its page of ids.
    fn page(
        &mut self,
        list: &List,
        page: (u64, Vec<u8>),
        waiting: &mut Waiting,
        written: &mut WrittenList,
    ) -> Result<()> {
        let (number, places) = page;
        waiting.push((number, list.page(number)?.to_vec(), places));
        let single = self.pages_written < PAGES_SINGLE;
        let enough = if single { 1 } else { self.pages_written / PAGES_SHARE };
        if waiting.len() as u64 >= enough { self.flush(waiting, written) } else { Ok(()) }
    }

    fn flush(&mut self, waiting: &mut Waiting, written: &mut WrittenList) -> Result<()> {
        for (number, ids, _) in waiting.iter() {
            let at = number * TABLE_PAGE_RECORDS * crate::digest::DIGEST_LEN as u64;
            let offset = self.writer.append(ids)?;
            written.list_pieces.add(at, offset, ids.len() as u64);
        }
        for (number, _, places) in waiting.iter() {
            let at = number * TABLE_PAGE_RECORDS * locator::RECORD_LEN as u64;
            let offset = self.writer.append(places)?;
            written.locator_pieces.add(at, offset, places.len() as u64);
        }
        self.pages_written += waiting.len() as u64;
        waiting.clear();
        Ok(())
    }

    /// Closes the last pack.
    pub fn finish(mut self) -> Result<Roots> {
        self.close_pack()?;
        Ok(Roots { closed: self.closed, lists: self.lists })
    }
}

impl Roots {
    /// Writes the roots of lists and locators, and the heads of packs.
    pub fn write(mut self, writer: &mut BundleWriter<'_>) -> Result<()> {
        for list in std::mem::take(&mut self.lists) {
            self.list(list, writer)?;
        }
        for mut pack in self.closed {
            let head = pack::encode_head();
            let offset = writer.append(&head)?;
            pack.pieces.add(0, offset, head.len() as u64);
            writer.object(ObjectKind::Pack, pack.id, pack.len, pack.pieces);
        }
        Ok(())
    }

    fn list(&self, mut list: WrittenList, writer: &mut BundleWriter<'_>) -> Result<()> {
        let shape = list.shape;
        let root = with_trailer(list.root.to_vec());
        let offset = writer.append(&root)?;
        list.list_pieces.add(shape.root_offset(), offset, root.len() as u64);
        writer.object(ObjectKind::List, list.id, shape.file_len(), list.list_pieces);
        let pack_id =
            |number: &u32| self.closed.get(*number as usize).map(|pack| pack.id).unwrap_or_default();
        let located = LocatorRoot {
            list: list.id,
            chunks: shape.chunks(),
            records: shape.chunks(),
            in_part: list.in_part,
            packs: list.packs.iter().map(pack_id).collect(),
            pages: list.locator_pages,
        };
        let root = with_trailer(located.encode());
        let offset = writer.append(&root)?;
        let at = shape.chunks() * locator::RECORD_LEN as u64;
        list.locator_pieces.add(at, offset, root.len() as u64);
        writer.object(ObjectKind::Locator, list.id, at + root.len() as u64, list.locator_pieces);
        Ok(())
    }
}

/// Returns the number of a pack within a list's locator.
fn number_in(packs: &mut Vec<u32>, pack: u32) -> u32 {
    let at = packs.iter().rposition(|known| *known == pack).unwrap_or_else(|| {
        packs.push(pack);
        packs.len() - 1
    });
    at as u32
}

impl OpenPack {
    fn new() -> Self {
        Self { records: Vec::new(), len: FRAMES_OFFSET, pieces: Pieces::default() }
    }

    fn is_full(&self, next_len: u64) -> bool {
        let records = self.records.len() as u64 + 1;
        let len = self.len + next_len + records * pack::RECORD_LEN as u64 + pack::TRAILER_LEN;
        records > PACK_FRAMES_MAX || len >= PACK_LEN_MAX
    }
}

/// The records of a locator, in pages. Only pages with at least one frame are built.
struct PlaceTable {
    shape: ListShape,
    page: Option<(u64, Vec<u8>)>,
    digests: Vec<(u64, Digest)>,
    /// The number of chunks that have frames.
    chunks: u64,
}

impl PlaceTable {
    fn new(shape: ListShape) -> Self {
        Self { shape, page: None, digests: Vec::new(), chunks: 0 }
    }

    fn records_of(&self, page: u64) -> u64 {
        (self.shape.chunks() - page * TABLE_PAGE_RECORDS).min(TABLE_PAGE_RECORDS)
    }

    fn empty_page(&self, page: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        (0..self.records_of(page)).for_each(|_| FramePlace::NONE.encode(&mut bytes));
        bytes
    }

    /// Adds a chunk's record; chunks must ascend. Returns the previous page if this chunk begins another.
    fn put(&mut self, chunk: u64, place: &FramePlace) -> Option<(u64, Vec<u8>)> {
        let number = chunk / TABLE_PAGE_RECORDS;
        let done = if self.page.as_ref().is_some_and(|page| page.0 != number) { self.take() } else { None };
        if self.page.is_none() {
            self.page = Some((number, self.empty_page(number)));
        }
        if let Some((_, bytes)) = &mut self.page {
            let at = (chunk % TABLE_PAGE_RECORDS) as usize * locator::RECORD_LEN;
            let mut record = Vec::with_capacity(locator::RECORD_LEN);
            place.encode(&mut record);
            bytes[at..at + locator::RECORD_LEN].copy_from_slice(&record);
        }
        self.chunks += 1;
        done
    }

    /// Removes and returns the current page.
    fn take(&mut self) -> Option<(u64, Vec<u8>)> {
        let page = self.page.take()?;
        self.digests.push((page.0, page_digest(&page.1)));
        Some(page)
    }

    /// Returns the digests of all pages, including those without frames.
    fn digests(&self) -> Vec<Digest> {
        let full = page_digest(&self.empty_page(0));
        let last = self.shape.pages() - 1;
        let mut all = vec![full; self.shape.pages() as usize];
        all[last as usize] = page_digest(&self.empty_page(last));
        for (number, digest) in &self.digests {
            all[*number as usize] = *digest;
        }
        all
    }
}

/// Fails with [`BlockError::Interrupted`] once cancellation was requested.
pub(super) fn check_cancel(cancel: Option<&std::sync::atomic::AtomicBool>) -> Result<()> {
    match cancel {
        Some(cancel) if cancel.load(std::sync::atomic::Ordering::Relaxed) => {
            Err(BlockError::Interrupted.into())
        }
        _ => Ok(()),
    }
}
