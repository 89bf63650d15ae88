//! Merges the store's list and locator with those of a commit (spec section 9.2).

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;

use super::errors::StoreErrors;
use super::list::{List, Locator, load_root_by_trailer, root_bytes};
use super::list_writer::{LocatedFrame, LocatorWriter, write_list};
use super::names;
use super::open::Shared;
use super::runs::Runs;
use super::stage::Stage;
use crate::digest::{DIGEST_LEN, Digest, page_digest};
use crate::error::{Error, Result, StoreError};
use crate::limits::TABLE_PAGE_RECORDS;
use crate::ondisk::list::ListShape;
use crate::storage::ReadAt;

/// A list that a commit brings.
#[derive(Debug, Clone)]
pub(crate) struct StagedList {
    pub id: Digest,
    /// Staged names of the list and of its locator.
    pub list: String,
    pub locator: String,
    /// The root digest of the store's locator at the time the missing frames were selected; the inner
    /// `None` if there was none. The outer `None` means an import, which brings all chunks.
    pub over: Option<Option<Digest>>,
    /// Chunks of the store's own list that are damaged or may be.
    pub suspects: Arc<Runs>,
}

/// Staged names of the replacements for the store's list and locator.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub list: Option<String>,
    pub locator: Option<String>,
}

/// The store's own copy of a list.
#[derive(Debug)]
pub(crate) struct OwnList {
    pub list: Arc<List>,
    pub locator: Arc<Locator>,
    /// Missing packs that the locator refers to; their frames do not count as held.
    pub gone: HashSet<Digest>,
}

impl OwnList {
    /// Opens list `id` anew, if the store's copy is usable. With `shape`, taken from another copy of the
    /// list, the root of the store's own list may be damaged.
    pub fn find(shared: &Arc<Shared>, id: &Digest, shape: Option<ListShape>) -> Result<Option<Self>> {
        let Some((list, locator)) = open_now(shared, id, shape)? else { return Ok(None) };
        let mut gone = HashSet::new();
        for pack in &locator.root.packs {
            let name = names::object(names::PACKS, pack);
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
        shared: &Arc<Shared>,
        id: &Digest,
        shape: Option<ListShape>,
    ) -> Result<Option<Digest>> {
        Ok(open_now(shared, id, shape)?.map(|(_, locator)| locator.digest))
    }

    /// Returns the frames of a chunk.
    fn frames(&self, shared: &Shared, chunk: u64) -> Result<Vec<LocatedFrame>> {
        frames_of(shared, &self.list, &self.locator, chunk)
    }

    /// Returns the sound frames of a chunk. Each was decoded and its chunk id checked. Returns none if
    /// the list or its locator is damaged here.
    fn sound_frames(&self, shared: &Shared, chunk: u64) -> Result<Vec<LocatedFrame>> {
        let sound = self.list.sound_places(shared, &self.locator, chunk)?;
        Ok(sound.iter().map(|(place, pack, _)| LocatedFrame::known(place, *pack)).collect())
    }
}

/// Reads a list and its locator anew; `None` if they are absent or unusable.
fn open_now(
    shared: &Arc<Shared>,
    id: &Digest,
    shape: Option<ListShape>,
) -> Result<Option<(List, Arc<Locator>)>> {
    shared.forget_list(id);
    let open = |shape| List::open(shared, *id, shape).and_then(|list| Ok((list.locator()?, list)));
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

/// Merges the store's list with a staged one. `try_number` keeps the names of several attempts apart.
pub(crate) fn merge(
    stage: &Stage,
    shared: &Arc<Shared>,
    own: &OwnList,
    staged: &StagedList,
    try_number: u32,
) -> Result<Merged> {
    if let Some(over) = staged.over
        && over != Some(own.locator.digest)
    {
        return Err(StoreError::Conflict { object: own.list.object_name() }.into());
    }
    let list = merge_lists(stage, shared, staged, try_number)?;
    if !own.locator.root.in_part && own.gone.is_empty() && staged.suspects.is_empty() {
        return Ok(Merged { list, locator: None });
    }
    let new = Locator::load(shared, staged.locator.clone(), &staged.id, &own.list.shape)?;
    let locator = merge_locators(stage, shared, own, &new, &staged.suspects, try_number)?;
    new.close(shared);
    Ok(Merged { list, locator: Some(locator) })
}

/// Writes a locator with the frames of both. If either holds a chunk whole, only that frame is used. For
/// a chunk that may be damaged, a whole new frame is preferred; otherwise the sound old frames and the
/// new ones are combined. Without new frames, the old ones stay unchanged.
fn merge_locators(
    stage: &Stage,
    shared: &Arc<Shared>,
    own: &OwnList,
    new: &Locator,
    suspects: &Runs,
    try_number: u32,
) -> Result<String> {
    let list = &own.list;
    let name = format!("merged-locator-{}-{try_number}", list.id);
    let mut writer = LocatorWriter::begin(stage, name.clone(), Some(list.shape.chunks()))?;
    let is_whole = |frames: &[LocatedFrame]| frames.first().is_some_and(|first| !first.partial);
    for chunk in 0..list.shape.chunks() {
        let more = || frames_of(shared, list, new, chunk);
        let frames = if suspects.has(chunk) {
            let more = more()?;
            match more.first() {
                Some(first) if !first.partial => more,
                None => or_none(own.frames(shared, chunk))?,
                Some(_) => [own.sound_frames(shared, chunk)?, more].concat(),
            }
        } else {
            let mut frames = own.frames(shared, chunk)?;
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
        writer.chunk(stage, &frames)?;
    }
    writer.finish(stage, list.id, &[])?;
    Ok(stage.staged(&name))
}

/// Returns no frames if a damaged locator cannot provide them.
fn or_none(frames: Result<Vec<LocatedFrame>>) -> Result<Vec<LocatedFrame>> {
    match frames {
        Err(error) if error.is_damage() => Ok(Vec::new()),
        other => other,
    }
}

fn frames_of(shared: &Shared, list: &List, locator: &Locator, chunk: u64) -> Result<Vec<LocatedFrame>> {
    list.located(shared, locator, chunk)
}

impl List {
    /// Returns the frames of a chunk in the form for a locator writer; empty if the chunk is absent.
    pub fn located(&self, shared: &Shared, locator: &Locator, chunk: u64) -> Result<Vec<LocatedFrame>> {
        if locator.record(shared, chunk)?.is_absent() {
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
    shared: &Arc<Shared>,
    staged: &StagedList,
    try_number: u32,
) -> Result<Option<String>> {
    let name = names::object(names::LISTS, &staged.id);
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
    let merged = format!("merged-list-{}-{try_number}", staged.id);
    let root_bytes = root_bytes(new.as_ref(), &staged.list, &staged.id, &root.shape)?;
    write_list(stage, &merged, &root.shape, &root_bytes, |number| match read(own.as_ref(), number)? {
        None => read(new.as_ref(), number),
        page => Ok(page),
    })?;
    Ok(Some(stage.staged(&merged)))
}
