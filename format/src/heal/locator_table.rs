//! Rebuilds a damaged locator from the indexes of the store's packs. They list the frames by the first
//! eight bytes of the chunk id. Every frame is decoded and its chunk id checked before the locator refers
//! to it.

use std::sync::Arc;

use super::replace::replace;
use crate::digest::{ChunkId, DIGEST_LEN, ListId, PackId, object_digest};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{LOCATOR_ROOT_LEN_MAX, TABLE_PAGE_RECORDS};
use crate::ondisk::frame;
use crate::ondisk::locator::{self, FramePlace};
use crate::ondisk::pack::{FRAMES_OFFSET, FrameRecord};
use crate::store::list::{List, Locator};
use crate::store::merge::OwnList;
use crate::store::stage::Stage;
use crate::store::{StoreInner, names, read_range, scrub};
use crate::write::{LocatedFrame, LocatorWriter};

/// The number of pages searched for at a time: each search reads the indexes of all packs.
const WINDOW_PAGES: u64 = 256;

/// A chunk to find.
struct Wanted {
    key: u64,
    chunk: u64,
    id: ChunkId,
    /// The frames found, and a mask of the blocks they hold.
    frames: Vec<LocatedFrame>,
    held: Vec<u8>,
}

/// Rebuilds the locator of list `id` if it is damaged. Returns whether it did. The list itself must be
/// sound.
pub(super) fn heal(shared: &Arc<StoreInner>, id: &ListId) -> Result<bool> {
    let list = List::open(&shared.reader.objects, *id, None)?;
    let old = match list.reload_locator() {
        Err(error) if error.is_transient() => return Err(error),
        Err(error) if error.kind() == ErrorKind::Unsupported && is_as_written(shared, id)? => {
            return Ok(false);
        }
        old => old.ok(),
    };
    if let Some(old) = &old
        && bad_pages(shared, old)?.is_empty()
    {
        return Ok(false);
    }
    let stage = Stage::begin(shared)?;
    let mut writer = LocatorWriter::begin(&stage, Some(list.shape.chunks()))?;
    let mut found = 0;
    for first in (0..list.shape.pages()).step_by(WINDOW_PAGES as usize) {
        let pages = first..(first + WINDOW_PAGES).min(list.shape.pages());
        let mut window = window(&list, old.as_deref(), pages)?;
        if window.iter().any(|wanted| wanted.frames.is_empty()) {
            search(shared, &list, &mut window)?;
        }
        window.sort_unstable_by_key(|wanted| wanted.chunk);
        for wanted in &window {
            found += u64::from(!wanted.frames.is_empty());
            writer.chunk(&wanted.frames)?;
        }
    }
    if found == 0 {
        return Ok(false);
    }
    let locators = vec![writer.finish(id, &[])?];
    let over = OwnList::locator_now(shared, id, Some(list.shape))?;
    Ok(replace(&stage, id, list.shape, over, &[&locators])?.is_some())
}

/// Whether the root of a locator matches its checksum. If so, an unsupported feature comes from a newer
/// melv, not from a flipped bit.
fn is_as_written(shared: &StoreInner, id: &ListId) -> Result<bool> {
    let name = names::locator(id);
    let object = shared.reader.objects.open_anew(&name)?;
    let end = object.len().saturating_sub(locator::TRAILER_LEN);
    let trailer = read_range(object.as_ref(), &name, end, locator::TRAILER_LEN.min(object.len()))?;
    let root_len = trailer.first_chunk().map_or(0, |len| u64::from_le_bytes(*len));
    if root_len > LOCATOR_ROOT_LEN_MAX || root_len > end || root_len < DIGEST_LEN as u64 {
        return Ok(false);
    }
    let root = read_range(object.as_ref(), &name, end - root_len, root_len)?;
    let (content, checksum) = root.split_at(root.len() - DIGEST_LEN);
    Ok(object_digest(content).0 == checksum)
}

/// Returns the unreadable pages of a locator.
fn bad_pages(shared: &StoreInner, locator: &Locator) -> Result<Vec<u64>> {
    let mut bad = Vec::new();
    for page in 0..locator.root.pages.len() as u64 {
        match locator.record(&shared.reader.objects, page * TABLE_PAGE_RECORDS) {
            Err(error) if error.is_transient() => return Err(error),
            Err(_) => bad.push(page),
            Ok(_) => {}
        }
    }
    Ok(bad)
}

/// Returns the chunks of some pages, sorted by key, with the frames still readable from the old locator.
fn window(list: &List, old: Option<&Locator>, pages: std::ops::Range<u64>) -> Result<Vec<Wanted>> {
    let mut window = Vec::new();
    for page in pages {
        let ids = match list.page(page) {
            Err(error) if error.is_transient() => return Err(error),
            // An absent or damaged page has no ids to search for.
            ids => ids.unwrap_or_default(),
        };
        let first = page * TABLE_PAGE_RECORDS;
        for chunk in first..(first + TABLE_PAGE_RECORDS).min(list.shape.chunks()) {
            let at = (chunk - first) as usize * DIGEST_LEN;
            let id = ids.get(at..at + DIGEST_LEN).and_then(|id| id.try_into().ok()).map(ChunkId::from_bytes);
            let frames = match old.map(|old| list.located(old, chunk)) {
                Some(Err(error)) if error.is_transient() => return Err(error),
                Some(Ok(frames)) => frames,
                _ => Vec::new(),
            };
            let held = vec![0; list.shape.blocks_of(chunk).div_ceil(8) as usize];
            let id = id.unwrap_or_default();
            window.push(Wanted { key: id.prefix(), chunk, id, frames, held });
        }
    }
    window.sort_unstable_by_key(|wanted| wanted.key);
    Ok(window)
}

/// Searches all packs for frames.
fn search(shared: &Arc<StoreInner>, list: &List, window: &mut [Wanted]) -> Result<()> {
    let listed = shared.storage.list(names::PACKS).map_err(|error| Error::io("list", names::PACKS, error))?;
    for object in listed {
        let Some(pack) = names::id_of(&object.name) else { continue };
        let records = scrub::open_anew(shared.storage.as_ref(), &object.name)
            .and_then(|opened| scrub::check_pack(opened.as_ref(), &object.name));
        let records = match records {
            Err(error) if error.is_transient() => return Err(error),
            records => records.unwrap_or_default(),
        };
        let mut offset = FRAMES_OFFSET;
        for record in records {
            let start = window.partition_point(|wanted| wanted.key < record.key);
            for wanted in window[start..].iter_mut().take_while(|wanted| wanted.key == record.key) {
                try_frame(shared, list, wanted, &pack, offset, &record)?;
            }
            offset += u64::from(record.len);
        }
    }
    Ok(())
}

/// Takes a frame if it is sound, belongs to this chunk, and holds no block found before.
fn try_frame(
    shared: &StoreInner,
    list: &List,
    wanted: &mut Wanted,
    pack: &PackId,
    offset: u64,
    record: &FrameRecord,
) -> Result<()> {
    let blocks = list.shape.blocks_of(wanted.chunk);
    let is_told = !wanted.frames.is_empty() && wanted.held.iter().all(|bits| *bits == 0);
    if is_told || wanted.id.is_zero() || (0..blocks).all(|block| frame::has(&wanted.held, block)) {
        return Ok(());
    }
    let offset = u32::try_from(offset).unwrap_or(u32::MAX);
    for partial in [false, true] {
        let place = FramePlace { pack: 0, offset, len: record.len, partial, next: 0, guard: record.guard };
        match shared.reader.check_frame(&place, pack, blocks, &wanted.id) {
            Ok(mask) if !partial => {
                wanted.frames = vec![LocatedFrame::known(&place, *pack)];
                wanted.held = mask;
            }
            Ok(mask) if wanted.held.iter().zip(&mask).all(|(held, bits)| held & bits == 0) => {
                wanted.frames.push(LocatedFrame::known(&place, *pack));
                wanted.held.iter_mut().zip(&mask).for_each(|(held, bits)| *held |= bits);
            }
            Err(error) if error.is_transient() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
