//! A list and locator of the store and those that a commit brings, made into one (spec section 9.2).

use std::sync::Arc;

use super::list::{List, Locator};
use super::list_writer::{LocatedFrame, LocatorWriter, write_list};
use super::open::Shared;
use super::stage::Stage;
use crate::digest::{DIGEST_LEN, Digest, page_digest};
use crate::error::{Error, Result};
use crate::limits::TABLE_PAGE_RECORDS;
use crate::ondisk::locator::ABSENT;

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

/// Makes one of the store's list, which is sound, and a staged one.
pub(crate) fn merge(stage: &Stage, shared: &Arc<Shared>, staged: &StagedList) -> Result<Merged> {
    let list = List::open(shared, staged.id, None)?;
    let own = list.locator()?;
    if let Some(over) = staged.over
        && over != Some(own.digest)
    {
        return Err(Error::Conflict { object: list.object_name() });
    }
    if !own.root.in_part {
        return Ok(Merged::default());
    }
    let new = Locator::load(shared, staged.locator.clone(), &staged.id, &list.shape)?;
    let merged_list = merge_lists(stage, shared, &list, staged)?;
    let merged = merge_locators(stage, shared, &list, &own, &new)?;
    shared.forget_object(&staged.locator);
    Ok(Merged { list: merged_list, locator: Some(merged) })
}

/// A locator with the frames of both; where either holds a chunk whole, that frame alone.
fn merge_locators(
    stage: &Stage,
    shared: &Shared,
    list: &List,
    own: &Locator,
    new: &Locator,
) -> Result<String> {
    let name = format!("merged-locator-{}", list.id);
    let mut writer = LocatorWriter::begin(stage, name.clone(), Some(list.shape.chunks()))?;
    for chunk in 0..list.shape.chunks() {
        let mut frames = frames_of(shared, list, own, chunk)?;
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
    if locator.record(shared, chunk)?.pack == ABSENT {
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
    write_list(stage, &name, &root, |number| match read(own.as_ref(), number)? {
        None => read(new.as_ref(), number),
        page => Ok(page),
    })?;
    Ok(Some(stage.staged(&name)))
}
