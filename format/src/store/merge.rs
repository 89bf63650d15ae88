//! A list and locator of the store and those that a commit brings, made into one (spec section 9.2).

use std::collections::HashSet;
use std::sync::Arc;

use super::list::{List, Locator};
use super::list_writer::{LocatedFrame, LocatorWriter, PackName, write_list};
use super::names;
use super::open::Shared;
use super::stage::Stage;
use crate::digest::{DIGEST_LEN, Digest, page_digest};
use crate::error::{Error, Result};
use crate::limits::TABLE_PAGE_RECORDS;

/// A list that a commit brings.
#[derive(Debug, Clone)]
pub(crate) struct StagedList {
    pub id: Digest,
    /// Staged name of the list, and of its locator.
    pub list: String,
    pub locator: String,
    /// For frames that were chosen by what the store lacks: the root digest of the store's locator
    /// then, or none where it had none. What an import brings holds all its chunks.
    pub over: Option<Option<Digest>>,
}

/// Staged names of what replaces the store's list and locator.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub list: Option<String>,
    pub locator: Option<String>,
}

/// A list as the store has it.
#[derive(Debug)]
pub(crate) struct OwnList {
    pub list: Arc<List>,
    pub locator: Arc<Locator>,
    /// Packs that the locator names and that are gone: what is in them is not held.
    pub gone: HashSet<Digest>,
}

impl OwnList {
    /// List `id`, opened anew, if the store has it in a state that can be built on.
    pub fn find(shared: &Arc<Shared>, id: &Digest) -> Result<Option<Self>> {
        shared.forget_list(id);
        let opened = List::open(shared, *id, None).and_then(|list| Ok((list.locator()?, list)));
        let (locator, list) = match opened {
            Ok(opened) => opened,
            Err(error) if error.may_pass() => return Err(error),
            Err(_) => return Ok(None),
        };
        let mut gone = HashSet::new();
        for pack in &locator.root.packs {
            let name = names::object(names::PACKS, pack);
            match shared.storage.open(&name) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => drop(gone.insert(*pack)),
                Err(error) => return Err(Error::io("open", name, error)),
            }
        }
        Ok(Some(Self { list: Arc::new(list), locator, gone }))
    }

    /// The frames of a chunk that are there.
    fn frames(&self, shared: &Shared, chunk: u64) -> Result<Vec<LocatedFrame>> {
        let mut frames = frames_of(shared, &self.list, &self.locator, chunk)?;
        let is_gone = |frame: &LocatedFrame| match frame.pack {
            PackName::Known(pack) => self.gone.contains(&pack),
            PackName::New(_) => false,
        };
        if !self.gone.is_empty() {
            frames.retain(|frame| !is_gone(frame));
        }
        Ok(frames)
    }
}

/// Makes one of the store's list and a staged one.
pub(crate) fn merge(
    stage: &Stage,
    shared: &Arc<Shared>,
    own: &OwnList,
    staged: &StagedList,
) -> Result<Merged> {
    if let Some(over) = staged.over
        && over != Some(own.locator.digest)
    {
        return Err(Error::Conflict { object: own.list.object_name() });
    }
    if !own.locator.root.in_part && own.gone.is_empty() {
        return Ok(Merged::default());
    }
    let new = Locator::load(shared, staged.locator.clone(), &staged.id, &own.list.shape)?;
    let merged_list = merge_lists(stage, shared, &own.list, staged)?;
    let merged = merge_locators(stage, shared, own, &new)?;
    shared.forget_object(&staged.locator);
    Ok(Merged { list: merged_list, locator: Some(merged) })
}

/// A locator with the frames of both; where either holds a chunk whole, that frame alone.
fn merge_locators(stage: &Stage, shared: &Shared, own: &OwnList, new: &Locator) -> Result<String> {
    let list = &own.list;
    let name = format!("merged-locator-{}", list.id);
    let mut writer = LocatorWriter::begin(stage, name.clone(), Some(list.shape.chunks()))?;
    for chunk in 0..list.shape.chunks() {
        let mut frames = own.frames(shared, chunk)?;
        if frames.first().is_none_or(|first| first.partial) {
            let more = frames_of(shared, list, new, chunk)?;
            if more.first().is_some_and(|first| !first.partial) {
                frames = more;
            } else {
                frames.extend(more);
            }
        }
        writer.chunk(stage, &frames)?;
    }
    writer.finish(stage, list.id, &[])?;
    Ok(stage.staged(&name))
}

fn frames_of(shared: &Shared, list: &List, locator: &Locator, chunk: u64) -> Result<Vec<LocatedFrame>> {
    if locator.record(shared, chunk)?.is_absent() {
        return Ok(Vec::new());
    }
    let places = list.places(locator, chunk)?;
    Ok(places.iter().map(|(place, pack)| LocatedFrame::known(place, *pack)).collect())
}

/// A list with the pages of both; none where the store's has all that the other has.
fn merge_lists(
    stage: &Stage,
    shared: &Arc<Shared>,
    list: &List,
    staged: &StagedList,
) -> Result<Option<String>> {
    let root = list.root()?.clone();
    let own = shared.storage.open(&list.object_name());
    let own = own.map_err(|error| Error::io("open", list.object_name(), error))?;
    let new = shared.storage.open(&staged.list).map_err(|error| Error::io("open", &staged.list, error))?;
    let read = |object: &dyn crate::storage::ReadAt, number: u64| {
        let records = (root.shape.chunks() - number * TABLE_PAGE_RECORDS).min(TABLE_PAGE_RECORDS);
        let mut page = vec![0; records as usize * DIGEST_LEN];
        let offset = number * TABLE_PAGE_RECORDS * DIGEST_LEN as u64;
        object
            .read_exact_at(&mut page, offset)
            .map_err(|error| Error::io("read", list.object_name(), error))?;
        let is_there = root.pages.get(number as usize) == Some(&page_digest(&page));
        Result::Ok(is_there.then(|| bytes::Bytes::from(page)))
    };
    let mut adds = false;
    for number in 0..root.shape.pages() {
        adds |= read(own.as_ref(), number)?.is_none() && read(new.as_ref(), number)?.is_some();
    }
    if !adds {
        return Ok(None);
    }
    let name = format!("merged-list-{}", list.id);
    write_list(stage, &name, &root.shape, &list.root_bytes()?, |number| match read(own.as_ref(), number)? {
        None => read(new.as_ref(), number),
        page => Ok(page),
    })?;
    Ok(Some(stage.staged(&name)))
}
