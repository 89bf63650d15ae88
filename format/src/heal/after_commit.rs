//! Heals, after a commit, the damage that it found, and reports it in one warning.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::digest::{Id, ListId, PackId, PageFileId};
use crate::error::{Error, Result};
use crate::index::Health;
use crate::index::{self, CommittedIndex, Notes};
use crate::ondisk::pack::FRAMES_OFFSET;
use crate::store::journal::committed_lists;
use crate::store::list::List;
use crate::store::runs::Runs;
use crate::store::{StoreInner, names, scrub};

use super::chunks::ChunkHealer;
use super::tables::tables;
use crate::storage::ObjectName;

/// The result of [`after_commit`].
#[derive(Debug, Default)]
pub(crate) struct Healed {
    /// The growth of the store, in bytes; shrinkage is not counted.
    pub stored_bytes: u64,
}

/// Heals damage that a writer found, with the data its commit brought. Notes the rest and logs one
/// warning. A failure here affects nothing else.
pub(crate) fn after_commit(shared: &Arc<StoreInner>, health: &Health, level: i32) -> Healed {
    if !health.is_hurt() {
        health.note(&Notes::default());
        return Healed::default();
    }
    let mut work = Work { shared, level, healed: Notes::default(), left: 0, grown: 0 };
    let done = work.run(health);
    health.note(&work.healed);
    let (reasons, _) = health.reasons();
    let first = reasons.first().map_or("", String::as_str);
    let more =
        if reasons.len() > 1 { format!(" (and {} more objects)", reasons.len() - 1) } else { String::new() };
    let chunks: u64 = work.healed.chunks.values().map(Runs::count).sum();
    match done {
        Err(error) => {
            tracing::warn!(%error, "damage found: {first}{more}; the needed data was stored again, but some damage could not be healed")
        }
        Ok(()) if work.left > 0 => tracing::warn!(
            "damage found: {first}{more}; the needed data was stored again, {chunks} chunks are healed for \
             all images, and {} chunks are still damaged",
            work.left
        ),
        Ok(()) => tracing::warn!(
            "damage found: {first}{more}; the data was stored again, and all images that use it are healed"
        ),
    }
    Healed { stored_bytes: work.grown }
}

/// The healing after one commit.
struct Work<'a> {
    shared: &'a Arc<StoreInner>,
    level: i32,
    healed: Notes,
    /// The number of chunks that stay damaged.
    left: u64,
    grown: u64,
}

impl Work<'_> {
    fn run(&mut self, before: &Health) -> Result<()> {
        let shared = self.shared;
        for list in tables(shared, before.tables())? {
            self.healed.objects.insert(names::list(&list));
            self.healed.objects.insert(names::locator(&list));
        }
        // Check everything again: the commit itself may have replaced damaged objects.
        let now = Arc::new(Health::new(shared));
        let lists = committed_lists(shared)?;
        let mut index = CommittedIndex::open(shared, &lists, &now)?;
        for (id, suspects) in before.suspects() {
            if lists.binary_search(&id).is_err() {
                self.healed.chunks.insert(id, Runs::clone(&suspects));
                continue;
            }
            match self.list(&mut index, &now, id, &suspects) {
                Ok(()) => {}
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    tracing::debug!(list = %id, %error, "not healed");
                    self.left += suspects.count();
                }
            }
        }
        self.objects(before)
    }

    /// Heals the chunks of one list.
    fn list(
        &mut self,
        index: &mut CommittedIndex,
        now: &Arc<Health>,
        id: ListId,
        suspects: &Runs,
    ) -> Result<()> {
        let list = self.shared.reader.list(&id, None)?;
        let still = still_bad(now, &list, suspects)?;
        let mut healed = Runs::clone(suspects);
        if !still.is_empty() {
            let mut healer = ChunkHealer::new(self.shared, index, now, self.level)?;
            let done = healer.heal(&list, &still)?;
            self.grown += done.stored_bytes;
            still.numbers().filter(|chunk| !done.chunks.has(*chunk)).for_each(|chunk| healed.remove(chunk));
            self.left += still.count() - done.chunks.count();
        }
        if !healed.is_empty() {
            self.healed.chunks.insert(id, healed);
        }
        Ok(())
    }

    /// Checks packs and page files that were damaged. Those now sound, or gone and unused, count as
    /// healed. Damaged ones that no object refers to are removed.
    fn objects(&mut self, before: &Health) -> Result<()> {
        let packs = (&before.bad_packs(), names::pack as fn(&PackId) -> ObjectName);
        self.folder(packs, is_sound_pack, names::LISTS, |shared, list| {
            List::open(&shared.reader.objects, list, None).and_then(|list| list.packs())
        })?;
        let files = (&before.bad_page_files(), names::page_file as fn(&PageFileId) -> ObjectName);
        self.folder(files, is_sound_page_file, names::MANIFESTS, |shared, image| {
            shared.reader.record(image).map(|record| record.places.files)
        })
    }

    /// Does the same for the objects `bad` of one kind, with their names. Objects of the folder `naming`
    /// may refer to them.
    fn folder<I: Id + Ord, N: Id>(
        &mut self,
        (bad, name): (&BTreeSet<I>, fn(&I) -> ObjectName),
        is_sound: fn(&StoreInner, &I) -> bool,
        naming: &str,
        named_by: impl Fn(&Arc<StoreInner>, N) -> Result<Vec<I>>,
    ) -> Result<()> {
        let shared = self.shared;
        let (sound, bad): (Vec<I>, Vec<I>) = bad.iter().partition(|id| is_sound(shared, id));
        self.healed.objects.extend(sound.iter().map(name));
        if bad.is_empty() {
            return Ok(());
        }
        let _lock = shared.lock()?;
        shared.check_writable()?;
        let mut named = BTreeSet::new();
        let listed = shared.storage.list(naming).map_err(|error| Error::io("list", naming, error))?;
        for id in listed.iter().filter_map(|object| names::id_of(&object.name)) {
            // An unreadable object may refer to anything.
            match named_by(shared, id) {
                Ok(names) => named.extend(names),
                Err(error) if error.is_transient() => return Err(error),
                Err(_) => return Ok(()),
            }
        }
        for id in bad.iter().filter(|id| !named.contains(*id)) {
            let name = name(id);
            shared
                .storage
                .remove(std::slice::from_ref(&name))
                .map_err(|error| Error::io("remove", &name, error))?;
            shared.reader.objects.forget(&name);
            index::forget_stamp(shared, &id.digest());
            self.healed.objects.insert(name);
        }
        Ok(())
    }
}

fn is_sound_page_file(shared: &StoreInner, id: &PageFileId) -> bool {
    let name = names::page_file(id);
    scrub::open_anew(shared.storage.as_ref(), &name)
        .and_then(|object| scrub::check_page_file(object.as_ref(), &name))
        .is_ok()
}

fn is_sound_pack(shared: &StoreInner, id: &PackId) -> bool {
    let name = names::pack(id);
    let look = || -> Result<bool> {
        let object = scrub::open_anew(shared.storage.as_ref(), &name)?;
        if object.len() < FRAMES_OFFSET {
            return Ok(false);
        }
        let records = scrub::check_pack(object.as_ref(), &name)?;
        Ok(scrub::bad_frames(object.as_ref(), &name, &records)?.0.is_empty())
    };
    look().unwrap_or(false)
}

/// Returns the suspect chunks that are still damaged or still lie in a damaged pack.
fn still_bad(now: &Health, list: &List, suspects: &Runs) -> Result<Runs> {
    let bad = now.of_list(list)?;
    let mut still = Runs::default();
    suspects.numbers().filter(|chunk| bad.has(*chunk)).for_each(|chunk| still.add(chunk, chunk + 1));
    for (start, end) in suspects.iter() {
        now.decode_all(list, start..end.min(list.shape.chunks()))?;
    }
    let bad = now.suspects_of(&list.id);
    suspects.numbers().filter(|chunk| bad.has(*chunk)).for_each(|chunk| still.add(chunk, chunk + 1));
    Ok(still)
}
