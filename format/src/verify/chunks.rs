//! Checks lists chunk by chunk for unreadable blocks, and finds the affected images.

use std::collections::BTreeSet;
use std::sync::Arc;

use rayon::prelude::*;

use super::bad_chunks::{BadChunks, Lacking};
use super::damaged::{object_of, text_of};
use super::ranges::{Range, Ranges, Rest};
use super::verifier::Verifier;
use crate::digest::ListId;
use crate::error::{Error, ErrorKind, Result, StoreError};
use crate::fault::RuleViolation;
use crate::image::Image;
use crate::limits::{BLOCK_LEN, TABLE_PAGE_RECORDS};
use crate::ondisk::frame;
use crate::ondisk::pack;
use crate::store::InStore;
use crate::store::list::{List, Locator};
use crate::store::reframe::is_all;
use crate::store::{Reader, VerifyMode, names};
use crate::units::ListBlock;
use melv_block::BlockDevice;

/// The reason for unreadable blocks that the store does not claim to hold.
const LACKS: &str = "its frames here do not hold these blocks (rule block-absent)";

/// The size at which a batch of chunks is checked; it may be exceeded by one page.
const BATCH_CHUNKS: usize = 1024;

/// A list, its bad chunks with the blocks per chunk, and its missing blocks.
type Unheld<'a> = (ListId, Option<(&'a BadChunks, u64)>, Option<&'a Lacking>);

/// Chunks to check.
type Batch = Vec<(Arc<List>, u64)>;

impl Verifier<'_> {
    /// Checks every page of ids and places, and every place; in full mode every frame.
    pub(super) fn check_lists(&mut self) -> Result<()> {
        let lists: Vec<_> = self.lists.values().flatten().cloned().collect();
        let mut batch = Vec::new();
        for list in lists {
            // Report damage that affects all pages once, not for each page.
            if let Err(error) = self.check_tables(&list) {
                self.check_chunks(&mut batch)?;
                self.bad_chunks(&list.id, 0, list.shape.chunks(), &error);
                continue;
            }
            for page in 0..list.shape.pages() {
                self.check_page(&list, page, &mut batch)?;
                if batch.len() >= BATCH_CHUNKS {
                    self.check_chunks(&mut batch)?;
                }
            }
        }
        self.check_chunks(&mut batch)
    }

    /// Adds the chunks of one page of a list to the batch, unless the whole page is empty or unreadable.
    /// In that case the batch is checked first, because the findings of a list must be in order.
    fn check_page(&mut self, list: &Arc<List>, page: u64, batch: &mut Batch) -> Result<()> {
        self.check_cancel()?;
        let first = page * TABLE_PAGE_RECORDS;
        let chunks = first..(first + TABLE_PAGE_RECORDS).min(list.shape.chunks());
        let is_empty = list.as_it_is_now(|| self.is_empty_page(list, page));
        if let Ok(true) = is_empty {
            self.check_chunks(batch)?;
            let blocks = u64::from(list.shape.chunk_blocks);
            let end = (chunks.end * blocks).min(list.shape.blocks);
            self.lacking.entry(list.id).or_default().add(chunks.start * blocks, end);
            return Ok(());
        }
        self.report.chunks += chunks.end - chunks.start;
        // Report an unreadable page once, not for each chunk.
        if let Err(error) = is_empty.and_then(|_| list.page(page)) {
            self.check_chunks(batch)?;
            self.bad_chunks(&list.id, chunks.start, chunks.end, &error);
            return Ok(());
        }
        batch.extend(chunks.map(|chunk| (list.clone(), chunk)));
        Ok(())
    }

    /// Checks the chunks in the batch on all threads, and empties it. Chunks of many small lists share a
    /// batch, which saves dispatching work for each list.
    fn check_chunks(&mut self, batch: &mut Batch) -> Result<()> {
        let check = |(list, chunk): &(Arc<List>, u64)| self.check_chunk(list, *chunk);
        let checked: Vec<_> = batch.par_iter().map(check).collect();
        for ((list, chunk), result) in batch.drain(..).zip(checked) {
            match result {
                Ok(None) => {}
                Ok(Some(held)) => self.lacking_chunk(&list, chunk, &held),
                Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
                Err(error) => self.bad_chunks(&list.id, chunk, chunk + 1, &error),
            }
        }
        Ok(())
    }

    /// Records chunks behind those already recorded. The reason of a list's first bad chunks applies to
    /// all.
    fn bad_chunks(&mut self, list: &ListId, start: u64, end: u64, error: &Error) {
        let object = self.object_of_chunk(list, start, error);
        self.objects.note(&object, end - start, || text_of(error));
        let new = || BadChunks::whole_list(error);
        self.bad.entry(*list).or_insert_with(new).add(start, end);
    }

    /// Returns the object that makes a chunk unreadable: the one named by the error, or else the chunk's
    /// pack.
    fn object_of_chunk(&self, list: &ListId, chunk: u64, error: &Error) -> String {
        if let Some(object) = object_of(error) {
            return object.to_owned();
        }
        let list_name = || String::from(names::list(list));
        let Some(list) = self.lists.get(list).and_then(Option::as_ref) else { return list_name() };
        let pack = list.locator().and_then(|locator| {
            let place = locator.record(&self.reader().objects, chunk)?;
            Ok(String::from(locator.pack_name(&place)))
        });
        pack.unwrap_or_else(|_| list_name())
    }

    /// Fails if the root of the list, or of a locator used to read it, is damaged.
    fn check_tables(&self, list: &List) -> Result<()> {
        list.root()?;
        own_locator(self.reader(), list)?;
        let mut reader = self.reader();
        while let Some(base) = &reader.base {
            base_locator(&base.reader, list)?;
            reader = &base.reader;
        }
        Ok(())
    }

    /// Whether a list is held in part and no chunk of this page is present, here or in the base. Answered
    /// for the whole page, because such pages may be very many.
    fn is_empty_page(&self, list: &List, page: u64) -> Result<bool> {
        let mut reader = self.reader();
        let mut is_empty = match own_locator(reader, list)? {
            None => true,
            Some(locator) if locator.is_empty_page(&reader.objects, page)? => {
                if !locator.root.in_part {
                    return Err(not_in_part(list, page * TABLE_PAGE_RECORDS));
                }
                true
            }
            Some(_) => false,
        };
        while is_empty && let Some(base) = &reader.base {
            reader = &base.reader;
            is_empty = match base_locator(reader, list)? {
                None => true,
                Some(locator) => locator.root.in_part && locator.is_empty_page(&reader.objects, page)?,
            };
        }
        Ok(is_empty)
    }

    /// Records the missing blocks of a chunk.
    fn lacking_chunk(&mut self, list: &List, chunk: u64, held: &[u8]) {
        let first = chunk * u64::from(list.shape.chunk_blocks);
        let lacking = self.lacking.entry(list.id).or_default();
        for (block, number) in (first..).zip(0..list.shape.blocks_of(chunk)) {
            if !frame::has(held, number) {
                lacking.add(block, block + 1);
            }
        }
    }

    /// Checks a chunk. Returns a mask of the blocks held if some are missing.
    fn check_chunk(&self, list: &List, chunk: u64) -> Result<Option<Vec<u8>>> {
        self.step()?;
        list.as_it_is_now(|| self.look_at_chunk(list, chunk))
    }

    fn look_at_chunk(&self, list: &List, chunk: u64) -> Result<Option<Vec<u8>>> {
        let reader = self.reader();
        // The base has the blocks that a bundle leaves out.
        let has_base = reader.base.is_some();
        if let Some(locator) = own_locator(reader, list)?
            && (!has_base || !locator.root.in_part)
        {
            let record = locator.record(&reader.objects, chunk)?;
            let in_part = !record.is_whole() || record.next != 0;
            if in_part && !locator.root.in_part {
                return Err(not_in_part(list, chunk));
            }
            if record.is_absent() {
                return Ok(Some(vec![0; list.shape.blocks_of(chunk).div_ceil(8) as usize]));
            }
        }
        let id = list.chunk_id(chunk)?;
        if self.options.full || has_base {
            return reader
                .load_chunk(list, chunk, &id, VerifyMode::Full)
                .map(|loaded| loaded.present().map(<[u8]>::to_vec));
        }
        let locator = list.locator()?;
        list.places(&locator, chunk)?.iter().try_for_each(|(place, id)| {
            let name = names::pack(id);
            let pack = reader.objects.open_checked(&name, pack::FRAMES_OFFSET, pack::decode_head)?;
            let (end, max) = (u64::from(place.offset) + u64::from(place.len), pack.len());
            if end <= max {
                Ok(())
            } else {
                Err(StoreError::corrupt(name, end, RuleViolation::FramePlace { end, max }))
            }
        })?;
        let held = reader.blocks_present(list, chunk)?;
        Ok(Some(held).filter(|held| !is_all(held, list.shape.blocks_of(chunk))))
    }

    /// Reports bad chunks in lists that no image uses: no reader needs them, but imports share them.
    pub(super) fn unused_lists(&mut self, images: &[Image]) {
        let used: BTreeSet<_> =
            images.iter().flat_map(|image| image.manifest().lists.iter().map(|list| list.id)).collect();
        let unused = self.bad.iter().filter(|(id, _)| !used.contains(*id));
        let told: Vec<_> =
            unused.map(|(id, bad)| unreadable(names::list(id), bad.reason().to_owned())).collect();
        for error in told {
            self.hurt(None, 0, 0, error);
        }
    }

    /// Reports the effect of bad chunks on an image.
    pub(super) fn image_extents(&mut self, image: &Image) -> Result<()> {
        if self.bad.is_empty() && self.lacking.is_empty() {
            return Ok(());
        }
        let size = image.size();
        let mut hurt = Ranges::new();
        // The list of the previous piece: usually the next piece has the same one.
        let mut last: Option<Unheld<'_>> = None;
        for leaf in 0..image.manifest().geometry.leaves() {
            self.check_cancel()?;
            // An unreadable leaf has already been reported.
            let _ = image.for_each_piece(leaf, |piece| {
                let Some((list, source)) = piece.source else { return Ok(()) };
                let (_, bad, lacking) = match last {
                    Some(last @ (known, ..)) if known == list => last,
                    _ => {
                        let shape = image.record.list_shape(&list)?;
                        let bad = self.bad.get(&list).map(|bad| (bad, u64::from(shape.chunk_blocks)));
                        *last.insert((list, bad, self.lacking.get(&list)))
                    }
                };
                let mut hurts = |first: ListBlock, blocks: u64| {
                    let start = (piece.start + (first - source)).start();
                    hurt.add(start, (blocks * BLOCK_LEN as u64).min(size - start), list);
                };
                if let Some((bad, chunk_blocks)) = bad {
                    bad.ranges(source, piece.blocks, chunk_blocks, &mut hurts);
                }
                if let Some(lacking) = lacking {
                    lacking.ranges(source, piece.blocks, &mut hurts);
                }
                Ok(())
            });
        }
        self.tell_hurt(image, hurt);
        Ok(())
    }

    fn tell_hurt(&mut self, image: &Image, hurt: Ranges<ListId>) {
        let (hurt, rest) = hurt.finish();
        for Range { start, len, what } in hurt {
            let error = unreadable(names::list(&what), self.reason(&what));
            if !self.bad.contains_key(&what) {
                let locator = names::locator(&what);
                self.objects.note(&locator, 1, || format!("{locator}: {}", LACKS));
            }
            self.hurt(Some(image.id()), start, len, error);
        }
        if let Some(Rest { start, end, ranges, bytes, first, .. }) = rest {
            let lists = format!("{} and perhaps others", names::list(&first));
            let reason = self.reason(&first);
            let reason = format!("{ranges} further ranges here, {bytes} bytes in total; the first: {reason}");
            self.hurt(Some(image.id()), start, end - start, unreadable(lists, reason));
        }
    }

    fn reason(&self, list: &ListId) -> String {
        self.bad.get(list).map_or_else(|| LACKS.to_owned(), |bad| bad.reason().to_owned())
    }
}

/// Returns the list's locator; `None` if a bundle has none, because it leaves the whole list to its base.
fn own_locator(reader: &Reader, list: &List) -> Result<Option<Arc<Locator>>> {
    match list.locator() {
        Err(error) if error.is_absent() && reader.is_bundle() => Ok(None),
        other => other.map(Some),
    }
}

/// Returns a base's locator of a list, if the base has any of it.
fn base_locator(base: &Reader, list: &List) -> Result<Option<Arc<Locator>>> {
    match base.list(&list.id, Some(list.shape)).and_then(|list| list.locator()) {
        Err(error) if error.is_absent() => Ok(None),
        other => other.map(Some),
    }
}

/// Returns the error for a locator that claims one frame for every chunk, contrary to its record of
/// `chunk`.
fn not_in_part(list: &List, chunk: u64) -> Error {
    StoreError::corrupt(names::locator(&list.id), 0, RuleViolation::BlockAbsent { block: 0 }).in_chunk(chunk)
}

/// Returns the error for unreadable chunks of a list.
fn unreadable(object: impl Into<String>, reason: String) -> Error {
    StoreError::Unreadable { object: object.into(), reason }.into()
}
