//! Damage is healed by those who bring what was lost: after an import or a load was committed, chunks that
//! it found damaged are put together from sound blocks, wherever the store has them now, and the
//! locators that place damaged frames are replaced by such as place sound ones (spec section 9.4).
//! So every image that uses a chunk can read it again, whichever image brought it.
//!
//! None of this is needed for the commit itself: what it found damaged it stored anew. And none of it
//! needs a journal: each object is replaced, in one step, by one that lets everything be read that
//! could be read before.
//!
//! | module | idea |
//! |---|---|
//! | here | what is done before and after a commit; one warning for all |
//! | `chunks` | damaged chunks of a list get sound frames |
//! | `list_table` | a damaged list is made again from the block index |
//! | `locator_table` | a damaged locator is made again from the indexes of packs |

mod chunks;
mod list_table;
mod locator_table;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::chunks::ChunkHealer;
use crate::digest::Digest;
use crate::error::{Error, Result};
pub(crate) use crate::index::Health;
use crate::index::{self, CommittedIndex, Notes};
use crate::ondisk::list::ListShape;
use crate::ondisk::pack::FRAMES_OFFSET;
use crate::store::journal::committed_lists;
use crate::store::list::List;
use crate::store::record::Record;
use crate::store::runs::Runs;
use crate::store::stage::{Moves, Stage};
use crate::store::{Shared, names, scrub};

/// Remembers packs and page files that a commit brought as good.
pub(crate) fn remember(shared: &Shared, objects: &Moves) {
    index::remember_new(shared, objects.iter().map(|(_, name)| name.clone()));
}

/// Makes lists and locators again that are damaged; gives those for which that succeeded in whole or in
/// part. Lists and locators that are sound are left alone.
///
/// # Errors
/// Those of the medium.
pub(crate) fn tables(
    shared: &Arc<Shared>,
    lists: impl IntoIterator<Item = Digest>,
) -> Result<BTreeSet<Digest>> {
    let mut healed = BTreeSet::new();
    for id in lists {
        for heal in [list_table::heal, locator_table::heal] {
            match heal(shared, &id) {
                Ok(true) => drop(healed.insert(id)),
                Ok(false) => {}
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => tracing::debug!(list = %id, %error, "not healed"),
            }
        }
    }
    Ok(healed)
}

/// What came of [`after_commit`].
#[derive(Debug, Default)]
pub(crate) struct Healed {
    /// Bytes by which the store grew; what it shrank is not told.
    pub stored_bytes: u64,
}

/// Heals what a writer found damaged, now that its commit brought what it could, notes what is left, and
/// says so in one warning. What fails here fails nothing else.
pub(crate) fn after_commit(shared: &Arc<Shared>, health: &Health, level: i32) -> Healed {
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
        if reasons.len() > 1 { format!(" (and {} objects more)", reasons.len() - 1) } else { String::new() };
    let chunks: u64 = work.healed.chunks.values().map(Runs::count).sum();
    match done {
        Err(error) => {
            tracing::warn!(%error, "damage found: {first}{more}; what was needed of it was stored again, but not all could be healed")
        }
        Ok(()) if work.left > 0 => tracing::warn!(
            "damage found: {first}{more}; what was needed of it was stored again, {chunks} chunks are healed for \
             all images, {} chunks are still damaged",
            work.left
        ),
        Ok(()) => tracing::warn!(
            "damage found: {first}{more}; it was stored again, and all images that use it are healed"
        ),
    }
    Healed { stored_bytes: work.grown }
}

/// Healing after one commit.
struct Work<'a> {
    shared: &'a Arc<Shared>,
    level: i32,
    healed: Notes,
    /// Chunks that stay damaged.
    left: u64,
    grown: u64,
}

impl Work<'_> {
    fn run(&mut self, before: &Health) -> Result<()> {
        let shared = self.shared;
        for list in tables(shared, before.tables())? {
            self.healed.objects.insert(names::object(names::LISTS, &list));
            self.healed.objects.insert(names::object(names::LOCATORS, &list));
        }
        // Everything is looked at anew: the commit itself may have replaced what was damaged.
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
        id: Digest,
        suspects: &Runs,
    ) -> Result<()> {
        let list = self.shared.list(&id, None)?;
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

    /// Packs and page files that were damaged: those that are sound now, or gone and needed by nobody, are
    /// healed. Damaged ones that nothing names any more are removed.
    fn objects(&mut self, before: &Health) -> Result<()> {
        self.folder([names::PACKS, names::LISTS], &before.bad_packs(), is_sound_pack, |shared, list| {
            List::open(shared, list, None).and_then(|list| list.packs())
        })?;
        self.folder(
            [names::PAGES, names::MANIFESTS],
            &before.bad_page_files(),
            is_sound_page_file,
            |shared, image| Record::open(shared, image).map(|record| record.places.files),
        )
    }

    /// The same of the objects `bad` of one folder, some of which each object of another one names.
    fn folder(
        &mut self,
        [folder, naming]: [&str; 2],
        bad: &BTreeSet<Digest>,
        is_sound: fn(&Shared, &Digest) -> bool,
        named_by: impl Fn(&Arc<Shared>, Digest) -> Result<Vec<Digest>>,
    ) -> Result<()> {
        let shared = self.shared;
        let (sound, bad): (Vec<Digest>, Vec<Digest>) = bad.iter().partition(|id| is_sound(shared, id));
        self.healed.objects.extend(sound.iter().map(|id| names::object(folder, id)));
        if bad.is_empty() {
            return Ok(());
        }
        let _lock = shared.lock()?;
        shared.check_writable()?;
        let mut named = BTreeSet::new();
        let listed = shared.storage.list(naming).map_err(|error| Error::io("list", naming, error))?;
        for id in listed.iter().filter_map(|object| names::digest_of(&object.name)) {
            // What cannot be read may name anything.
            match named_by(shared, id) {
                Ok(names) => named.extend(names),
                Err(error) if error.is_transient() => return Err(error),
                Err(_) => return Ok(()),
            }
        }
        for id in bad.iter().filter(|id| !named.contains(*id)) {
            let name = names::object(folder, id);
            shared
                .storage
                .remove(std::slice::from_ref(&name))
                .map_err(|error| Error::io("remove", &name, error))?;
            shared.forget_object(&name);
            index::forget_stamp(shared, id);
            self.healed.objects.insert(name);
        }
        Ok(())
    }
}

fn is_sound_page_file(shared: &Shared, id: &Digest) -> bool {
    let name = names::object(names::PAGES, id);
    scrub::open_anew(shared, &name).and_then(|object| scrub::check_page_file(object.as_ref(), &name)).is_ok()
}

fn is_sound_pack(shared: &Shared, id: &Digest) -> bool {
    let name = names::object(names::PACKS, id);
    let look = || -> Result<bool> {
        let object = scrub::open_anew(shared, &name)?;
        if object.len() < FRAMES_OFFSET {
            return Ok(false);
        }
        let records = scrub::check_pack(object.as_ref(), &name)?;
        Ok(scrub::bad_frames(object.as_ref(), &name, &records)?.0.is_empty())
    };
    look().unwrap_or(false)
}

/// Those of the chunks that are damaged, or lie in a pack that is not sound, still.
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

/// Puts objects in the places of what is not sound, in the order given, unless the store's locator of the list
/// is another one by now than `over`. Gives the bytes by which the store grew, or none where nothing was
/// done.
fn replace(
    stage: &Stage,
    list: &Digest,
    shape: ListShape,
    over: Option<Digest>,
    groups: &[&Moves],
) -> Result<Option<u64>> {
    let shared = &stage.shared;
    stage.sync_all()?;
    let _lock = shared.lock()?;
    let grown = stage.replace(list, shape, over, groups)?;
    shared.forget_list(list);
    Ok(grown)
}
