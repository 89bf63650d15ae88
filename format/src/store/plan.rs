//! Determines the remaining work of a commit. Equal content has equal names, so the store may already
//! have parts of it. Sound objects are kept (spec section 9.4), others replaced.
//!
//! Most of this happens before the store's lock is taken, because lists may be long and packs large. A
//! check under the lock confirms the result.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::commit::{Plan, Publication};
use super::journal::recover;
use super::list::{Locator, load_root_by_trailer};
use super::merge::{Based, Merged, OwnList, StagedList, merge, merge_lists};
use super::names;
use super::scrub;
use super::stage::{Moves, Stage};
use crate::digest::{Digest, ListId, PackId};
use crate::error::{Result, StoreError};
use crate::fault::RuleViolation;
use crate::ondisk::list::ListShape;
use crate::storage::ObjectName;

/// The findings before the lock was taken.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// One entry for each list of the publication.
    lists: Vec<PreparedList>,
    /// Packs and page files that were in the store, by name, and whether they were sound.
    objects: BTreeMap<ObjectName, bool>,
}

#[derive(Debug)]
struct PreparedList {
    shape: ListShape,
    /// The root digest of the store's locator of this list at that time.
    over: Option<Digest>,
    bring: Merged,
    /// The packs that the new locator refers to.
    packs: BTreeSet<PackId>,
    /// The packs already missing at that time; nothing depends on them.
    gone: HashSet<PackId>,
}

impl Stage {
    /// Publishes staged objects, group by group, replacing unsound objects or filling free names. No
    /// journal is needed: everything readable before stays readable. Returns the growth of the store in
    /// bytes, or `None` if the store's locator of `list` is no longer `over` and nothing
    /// was done. The caller must hold the store's lock and have synced the objects.
    pub fn replace(
        &self,
        list: &ListId,
        shape: ListShape,
        over: Option<Digest>,
        groups: &[&Moves],
    ) -> Result<Option<u64>> {
        self.shared.check_writable()?;
        recover(&self.shared)?;
        if OwnList::locator_now(&self.shared, list, Some(shape))? != over {
            return Ok(None);
        }
        let (mut grown, mut old) = (0, 0);
        for (staged, name) in groups.iter().copied().flatten() {
            grown += self.len_of(staged)?.unwrap_or(0);
            old += self.len_of(name)?.unwrap_or(0);
        }
        for moves in groups.iter().filter(|moves| !moves.is_empty()) {
            self.publish(moves)?;
        }
        Ok(Some(u64::saturating_sub(grown, old)))
    }

    /// Compares a publication with the store, and merges lists that both have.
    pub(super) fn prepare(&self, publication: &Publication) -> Result<Prepared> {
        let lists = publication.lists.iter().map(|staged| self.prepare_list(staged));
        let lists = lists.collect::<Result<_>>()?;
        let mut objects = BTreeMap::new();
        for (_, name) in &publication.objects {
            if self.is_there(name)? {
                objects.insert(name.clone(), self.is_sound(name, true)?);
            }
        }
        Ok(Prepared { lists, objects })
    }

    fn prepare_list(&self, staged: &StagedList) -> Result<PreparedList> {
        let shared = &self.shared;
        let object =
            shared.storage.open(&staged.list).map_err(|error| StoreError::unopened(&staged.list, error))?;
        let shape = load_root_by_trailer(object.as_ref(), &staged.list, &staged.id)?.shape;
        let own = OwnList::find(shared, &staged.id, Some(shape))?;
        let bring = match &own {
            Some(own) => merge(self, shared, own, staged)?,
            None if matches!(staged.based, Based::On(_)) => {
                return Err(StoreError::Conflict { object: names::list(&staged.id).into() }.into());
            }
            None => {
                Merged { list: merge_lists(self, shared, staged)?, locator: Some(staged.locator.clone()) }
            }
        };
        let mut packs = BTreeSet::new();
        if let Some(from) = &bring.locator {
            let locator = Locator::load(&shared.reader.objects, from.clone(), &staged.id, &shape)?;
            locator.close(&shared.reader.objects);
            packs.extend(locator.root.packs);
        }
        let gone = own.as_ref().map_or_else(HashSet::new, |own| own.gone.clone());
        Ok(PreparedList { shape, over: own.map(|own| own.locator.digest), bring, packs, gone })
    }

    /// Whether an existing pack or page file is sound. `frames` tells whether to read the frames of packs
    /// too.
    fn is_sound(&self, name: &ObjectName, frames: bool) -> Result<bool> {
        let look = || -> Result<bool> {
            let object = scrub::open_anew(self.shared.storage.as_ref(), name)?;
            if !name.starts_with(names::PACKS) {
                return scrub::check_page_file(object.as_ref(), name).map(|()| true);
            }
            let records = scrub::check_pack(object.as_ref(), name)?;
            Ok(!frames || scrub::bad_frames(object.as_ref(), name, &records)?.0.is_empty())
        };
        match look() {
            Err(error) if error.is_transient() => Err(error),
            looked => Ok(looked.unwrap_or(false)),
        }
    }

    /// Finds objects that the store lacks or has damaged. Fails if an object that the images need is
    /// missing. The caller must hold the store's lock.
    pub(super) fn still_missing(&self, publication: &Publication, prepared: Prepared) -> Result<Plan> {
        let mut plan = Plan::default();
        for moved in &publication.records {
            let id = names::id_of(&moved.1).unwrap_or_default();
            match self.shared.reader.check_record(id) {
                Ok(()) => {}
                Err(error) if error.is_transient() => return Err(error),
                Err(_) => plan.records.push(moved.clone()),
            }
        }
        let (packs, gone) = self.lists_missing(publication, prepared.lists, &mut plan)?;
        self.objects_missing(publication, &packs, &prepared.objects, &mut plan)?;
        let is_brought = |name: &ObjectName| publication.objects.iter().any(|(_, to)| to == name);
        for pack in packs.difference(&gone) {
            // Frames found in the store have vanished since.
            let name = names::pack(pack);
            if !is_brought(&name) && !self.is_there(&name)? {
                return Err(StoreError::Conflict { object: name.into() }.into());
            }
        }
        let brought: BTreeSet<ObjectName> = plan.records.iter().map(|(_, name)| name.clone()).collect();
        for (_, image) in &publication.references {
            let record = names::manifest(image);
            if !brought.contains(&record) && !self.is_there(&record)? {
                return Err(StoreError::NotFound { what: "image", name: format!("@{image}") }.into());
            }
        }
        for name in &publication.needs {
            if !self.is_there(name)? {
                return Err(StoreError::corrupt(name, 0, RuleViolation::Missing));
            }
        }
        Ok(plan)
    }

    /// Adds lists that the store lacks in whole or in part. Returns the packs that their locators refer
    /// to, and those that were already missing.
    fn lists_missing(
        &self,
        publication: &Publication,
        prepared: Vec<PreparedList>,
        plan: &mut Plan,
    ) -> Result<(BTreeSet<PackId>, BTreeSet<PackId>)> {
        let (mut packs, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for (staged, mut list) in publication.lists.iter().zip(prepared) {
            // Another writer may have committed first.
            if OwnList::locator_now(&self.shared, &staged.id, Some(list.shape))? != list.over {
                list = self.prepare_list(staged)?;
            }
            plan.lists.extend(list.bring.list.map(|from| (from, names::list(&staged.id))));
            plan.locators.extend(list.bring.locator.map(|from| (from, names::locator(&staged.id))));
            packs.extend(list.packs);
            gone.extend(list.gone);
        }
        Ok((packs, gone))
    }

    /// Adds packs that locators refer to, and page files.
    fn objects_missing(
        &self,
        publication: &Publication,
        packs: &BTreeSet<PackId>,
        looked_at: &BTreeMap<ObjectName, bool>,
        plan: &mut Plan,
    ) -> Result<()> {
        for moved in &publication.objects {
            let is_pack = moved.1.starts_with(names::PACKS);
            // A pack without a reference in a locator is not needed: another writer brought its chunks.
            // Neither are pages of images that exist already.
            let wanted = match names::id_of(&moved.1) {
                Some(id) if is_pack => packs.contains(&id),
                _ => !plan.records.is_empty(),
            };
            let is_twice = plan.objects.last().is_some_and(|(_, last)| *last == moved.1);
            if !wanted || is_twice {
                continue;
            }
            let is_kept = self.is_there(&moved.1)?
                && match looked_at.get(&moved.1) {
                    Some(was_sound) => *was_sound,
                    // Another writer just wrote it, so its frames are not read again.
                    None => self.is_sound(&moved.1, false)?,
                };
            if !is_kept {
                plan.objects.push(moved.clone());
            }
        }
        Ok(())
    }
}
