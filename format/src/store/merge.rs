//! Merges the store's list and locator with those of a commit (spec section 9.2).

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;

use super::errors::StoreErrors;
use super::list::{List, Locator, load_root_by_trailer, root_bytes};
use super::names;
use super::open::StoreInner;
use super::reader::Reader;
use super::runs::Runs;
use super::stage::Stage;
use crate::digest::{DIGEST_LEN, Digest, ListId, PackId, page_digest};
use crate::error::{Error, Result, StoreError};
use crate::limits::TABLE_PAGE_RECORDS;
use crate::ondisk::list::ListShape;
use crate::storage::{ObjectName, ReadAt};
use crate::write::{LocatedFrame, LocatorWriter, copy_list};

/// A list that a commit brings.
#[derive(Debug, Clone)]
pub(crate) struct StagedList {
    pub id: ListId,
    /// Staged names of the list and of its locator.
    pub list: ObjectName,
    pub locator: ObjectName,
    /// The store's locator when the missing frames were selected.
    pub based: Based,
    /// Chunks of the store's own list that are damaged or may be.
    pub suspects: Arc<Runs>,
}

/// The locator that the store must still have when a list is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Based {
    /// Any or none: the commit brings all chunks, as an import does.
    Anything,
    /// None.
    Absent,
    /// The one with this root digest.
    On(Digest),
}

/// Staged names of the replacements for the store's list and locator.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub list: Option<ObjectName>,
    pub locator: Option<ObjectName>,
}

/// The store's own copy of a list.
#[derive(Debug)]
pub(crate) struct OwnList {
    pub list: Arc<List>,
    pub locator: Arc<Locator>,
    /// Missing packs that the locator refers to; their frames do not count as held.
    pub gone: HashSet<PackId>,
}

impl OwnList {
    /// Opens list `id` anew, if the store's copy is usable. With `shape`, taken from another copy of the
    /// list, the root of the store's own list may be damaged.
    pub fn find(shared: &Arc<StoreInner>, id: &ListId, shape: Option<ListShape>) -> Result<Option<Self>> {
        let Some((list, locator)) = open_now(shared, id, shape)? else { return Ok(None) };
        let mut gone = HashSet::new();
        for pack in &locator.root.packs {
            let name = names::pack(pack);
            match shared.storage.open(&name) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => drop(gone.insert(*pack)),
                Err(error) => return Err(StoreError::unopened(name, error)),
            }
        }
        Ok(Some(Self { list: Arc::new(list), locator, gone }))
    }

    /// Returns the root digest of the store's current locator of list `id`, if it is usable.
    pub fn locator_now(
        shared: &Arc<StoreInner>,
        id: &ListId,
        shape: Option<ListShape>,
    ) -> Result<Option<Digest>> {
        Ok(open_now(shared, id, shape)?.map(|(_, locator)| locator.digest))
    }

    /// Returns the frames of a chunk.
    fn frames(&self, chunk: u64) -> Result<Vec<LocatedFrame>> {
        self.list.located(&self.locator, chunk)
    }

    /// Returns the sound frames of a chunk. Each was decoded and its chunk id checked. Returns none if
    /// the list or its locator is damaged here.
    fn sound_frames(&self, reader: &Reader, chunk: u64) -> Result<Vec<LocatedFrame>> {
        let sound = self.list.sound_places(reader, &self.locator, chunk)?;
        Ok(sound.iter().map(|(place, pack, _)| LocatedFrame::known(place, *pack)).collect())
    }
}

/// Reads a list and its locator anew; `None` if they are absent or unusable.
fn open_now(
    shared: &Arc<StoreInner>,
    id: &ListId,
    shape: Option<ListShape>,
) -> Result<Option<(List, Arc<Locator>)>> {
    shared.reader.lists.forget(id);
    let open =
        |shape| List::open(&shared.reader.objects, *id, shape).and_then(|list| Ok((list.locator()?, list)));
    let opened = match (open(None), shape) {
        (Err(error), Some(shape)) if !error.is_transient() => open(Some(shape)),
        (opened, _) => opened,
    };
    match opened {
        Ok((locator, list)) => Ok(Some((list, locator))),
        Err(error) if error.is_transient() => Err(error),
        Err(_) => Ok(None),
    }
}

/// Merges the store's list with a staged one.
pub(crate) fn merge(
    stage: &Stage,
    shared: &Arc<StoreInner>,
    own: &OwnList,
    staged: &StagedList,
) -> Result<Merged> {
    if ![Based::Anything, Based::On(own.locator.digest)].contains(&staged.based) {
        return Err(StoreError::Conflict { object: own.list.object_name().into() }.into());
    }
    let list = merge_lists(stage, shared, staged)?;
    if !own.locator.root.in_part && own.gone.is_empty() && staged.suspects.is_empty() {
        return Ok(Merged { list, locator: None });
    }
    let new = Locator::load(&shared.reader.objects, staged.locator.clone(), &staged.id, &own.list.shape)?;
    let locator = merge_locators(stage, shared, own, &new, &staged.suspects)?;
    new.close(&shared.reader.objects);
    Ok(Merged { list, locator: Some(locator) })
}

/// Writes a locator with the frames of both. If either holds a chunk whole, only that frame is used. For
/// a chunk that may be damaged, a whole new frame is preferred; otherwise the sound old frames and the
/// new ones are combined. Without new frames, the old ones stay unchanged.
fn merge_locators(
    stage: &Stage,
    shared: &Arc<StoreInner>,
    own: &OwnList,
    new: &Locator,
    suspects: &Runs,
) -> Result<ObjectName> {
    let list = &own.list;
    let mut writer = LocatorWriter::begin(stage, Some(list.shape.chunks()))?;
    let is_whole = |frames: &[LocatedFrame]| frames.first().is_some_and(|first| !first.is_partial());
    for chunk in 0..list.shape.chunks() {
        let more = || list.located(new, chunk);
        let frames = if suspects.has(chunk) {
            let more = more()?;
            match more.first() {
                Some(first) if !first.is_partial() => more,
                None => or_none(own.frames(chunk))?,
                Some(_) => [own.sound_frames(&shared.reader, chunk)?, more].concat(),
            }
        } else {
            let mut frames = own.frames(chunk)?;
            if !is_whole(&frames) {
                let more = more()?;
                if is_whole(&more) {
                    frames = more;
                } else {
                    frames.extend(more);
                }
            }
            frames
        };
        writer.chunk(&frames)?;
    }
    let (locator, _) = writer.finish(&list.id, &[])?;
    Ok(locator)
}

/// Returns no frames if a damaged locator cannot provide them.
fn or_none(frames: Result<Vec<LocatedFrame>>) -> Result<Vec<LocatedFrame>> {
    match frames {
        Err(error) if error.is_damage() => Ok(Vec::new()),
        other => other,
    }
}

impl List {
    /// Returns the frames of a chunk in the form for a locator writer; empty if the chunk is absent.
    pub fn located(&self, locator: &Locator, chunk: u64) -> Result<Vec<LocatedFrame>> {
        if locator.record(&self.objects, chunk)?.is_absent() {
            return Ok(Vec::new());
        }
        let places = self.places(locator, chunk)?;
        Ok(places.iter().map(|(place, pack)| LocatedFrame::known(place, *pack)).collect())
    }
}

/// Writes a list with the pages of both, to replace the store's. Returns `None` if the store's list is
/// sound and lacks no page of the other.
pub(crate) fn merge_lists(
    stage: &Stage,
    shared: &Arc<StoreInner>,
    staged: &StagedList,
) -> Result<Option<ObjectName>> {
    let name = names::list(&staged.id);
    let own = match shared.storage.open(&name) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(staged.list.clone())),
        own => own.map_err(|error| StoreError::unopened(&name, error))?,
    };
    let new = shared.storage.open(&staged.list).map_err(|error| StoreError::unopened(&staged.list, error))?;
    let root = load_root_by_trailer(new.as_ref(), &staged.list, &staged.id)?;
    let read = |object: &dyn ReadAt, number: u64| {
        let records = (root.shape.chunks() - number * TABLE_PAGE_RECORDS).min(TABLE_PAGE_RECORDS);
        let mut page = vec![0; records as usize * DIGEST_LEN];
        let offset = number * TABLE_PAGE_RECORDS * DIGEST_LEN as u64;
        match object.read_exact_at(&mut page, offset) {
            // The list was truncated.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            done => done.map_err(|error| Error::io("read", &name, error))?,
        }
        let is_there = root.pages.get(number as usize) == Some(&page_digest(&page));
        Result::Ok(is_there.then(|| bytes::Bytes::from(page)))
    };
    let mut adds = match load_root_by_trailer(own.as_ref(), &name, &staged.id) {
        Err(error) if error.is_transient() => return Err(error),
        root => root.is_err(),
    };
    for number in 0..root.shape.pages() {
        adds = adds || read(own.as_ref(), number)?.is_none() && read(new.as_ref(), number)?.is_some();
    }
    if !adds {
        return Ok(None);
    }
    let root_bytes = root_bytes(new.as_ref(), &staged.list, &staged.id, &root.shape)?;
    let both = |number| match read(own.as_ref(), number)? {
        None => read(new.as_ref(), number),
        page => Ok(page),
    };
    let (merged, _) = copy_list(stage, &staged.id, &root.shape, &root_bytes, both)?;
    Ok(Some(merged))
}
