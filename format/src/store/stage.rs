//! A writer's folder, and the commit that is all or nothing.
//!
//! A writer makes everything under `tmp/N/`, whose lock it holds while it lives. To commit it
//! takes the store's lock and (spec section 9):
//!
//! 1. syncs every object that it made;
//! 2. writes and syncs a journal of the names that it is about to give;
//! 3. publishes packs, page files, lists and locators; then the manifest; then the reference.
//!
//! A reader follows names downwards, so each name appears after all that it names. The reference
//! decides: where it was published, the commit happened; where it was not, whoever next takes
//! the store's lock to write removes what the journal names. No other writer can have built on
//! those objects, because what is committed is looked at under the same lock.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::list::List;
use super::names::{self, RefName};
use super::open::{Shared, read_object};
use super::record::Record;
use crate::digest::{DIGEST_LEN, Digest, object_digest};
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::ondisk::reference::Reference;
use crate::storage::{Append, Held, LockMode};

const JOURNAL: &str = "journal";
/// A journal names a few objects for each pack; beyond this it is not ours.
const JOURNAL_LEN_MAX: u64 = 256 << 20;

/// A writer's folder. Dropped without a commit, everything in it is removed.
#[derive(Debug)]
pub(crate) struct Stage {
    pub shared: Arc<Shared>,
    folder: String,
    written: Mutex<Vec<(String, Arc<dyn Append>)>>,
    /// `None` once the folder is gone.
    held: Option<Box<dyn Held>>,
    /// Set while the journal alone knows what was published.
    keep_journal: bool,
}

/// Names to be given: the staged one, the final one.
pub(crate) type Moves = Vec<(String, String)>;

/// What a commit gives names to.
#[derive(Debug, Default)]
pub(crate) struct Publication {
    /// Objects named by their content.
    pub objects: Moves,
    /// The manifest record likewise.
    pub manifest: Option<(String, String)>,
    /// Objects that must be there already: what the image needs and this commit does not bring.
    pub needs: Vec<String>,
}

impl Stage {
    /// Begins a folder, having cleared away what dead writers left.
    pub fn begin(shared: &Arc<Shared>) -> Result<Self> {
        shared.check_writable()?;
        let _lock = shared.lock()?;
        recover(shared)?;
        let taken = list_stages(shared)?;
        let mut number = taken.iter().max().map_or(0, |last| last + 1);
        let (folder, held) = loop {
            let folder = format!("{}/{number}", names::TMP);
            let lock = format!("{folder}/{}", names::LOCK);
            match shared.storage.lock(&lock, LockMode::Exclusive, Duration::ZERO) {
                Ok(held) => break (folder, held),
                // A writer that has made no object yet: a lock need not show in a list.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => number += 1,
                Err(error) => return Err(Error::io("lock", lock, error)),
            }
        };
        let written = Mutex::default();
        Ok(Self { shared: shared.clone(), folder, written, held: Some(held), keep_journal: false })
    }

    /// The staged name of `name`.
    pub fn staged(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// Makes an object of this stage; it is synced by the commit at the latest.
    pub fn create(&self, name: &str) -> Result<Arc<dyn Append>> {
        let object = self.create_cache(name)?;
        self.written().push((self.staged(name), object.clone()));
        Ok(object)
    }

    /// Makes an object that need not survive a loss of power.
    pub fn create_cache(&self, name: &str) -> Result<Arc<dyn Append>> {
        let staged = self.staged(name);
        self.shared.storage.create(&staged).map_err(|error| Error::io("create", staged, error))
    }

    /// Appends to an object of this stage.
    pub fn append(&self, object: &dyn Append, name: &str, bytes: &[u8]) -> Result<()> {
        object.append(bytes).map_err(|error| Error::io("append to", self.staged(name), error))
    }

    /// Syncs an object of this stage; a failure forbids this handle to write any more.
    pub fn sync(&self, object: &dyn Append, name: &str) -> Result<()> {
        object.sync().map_err(|error| {
            self.shared.poison();
            Error::io("sync", name, error)
        })
    }

    fn written(&self) -> std::sync::MutexGuard<'_, Vec<(String, Arc<dyn Append>)>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs everything made so far, several objects at a time.
    pub fn sync_all(&self) -> Result<()> {
        let objects = std::mem::take(&mut *self.written());
        let results: Vec<_> = std::thread::scope(|scope| {
            let sync = |(name, object): &(String, Arc<dyn Append>)| self.sync(object.as_ref(), name);
            let threads: Vec<_> = objects
                .chunks(objects.len().div_ceil(8).max(1))
                .map(|some| scope.spawn(move || some.iter().try_for_each(sync)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(Err(Error::Interrupted))).collect()
        });
        results.into_iter().collect()
    }

    /// Gives a name to an image that is there.
    pub fn commit_reference(self, image: Digest, name: &RefName, replace: bool) -> Result<u64> {
        self.commit_then(&Publication::default(), image, name, replace, |_| ())
    }

    /// Commits: see the module's text. Returns the bytes by which the store grew. `after` is called
    /// once the commit is done and the store's lock is free, while the folder is still there.
    pub fn commit_then(
        mut self,
        publication: &Publication,
        image: Digest,
        name: &RefName,
        replace: bool,
        after: impl FnOnce(&Self),
    ) -> Result<u64> {
        let record = Reference { name: name.to_string(), image, created_seconds: now_seconds() }.encode();
        self.put("reference", &record)?;
        self.sync_all()?;
        let lock = self.shared.lock()?;
        // Another import through this handle may have failed to sync since this one began.
        self.shared.check_writable()?;
        recover(&self.shared)?;
        let old_len = self.check_name(name, replace)?;
        let (objects, manifest) = self.still_missing(publication, image)?;
        let grown: u64 = self.staged_bytes(objects.iter().chain(&manifest))? + record.len() as u64;
        let mut fresh = Vec::new();
        for (_, to) in objects.iter().chain(&manifest) {
            // What is put in the place of something damaged is not taken back.
            if !self.is_there(to)? {
                fresh.push(to.clone());
            }
        }
        self.put("journal-new", &encode_journal(&name.object(), &object_digest(&record), &fresh))?;
        self.sync_all()?;
        // Published like everything else, so that its name is durable before any it tells of.
        self.publish(&[(self.staged("journal-new"), self.staged(JOURNAL))])?;
        self.keep_journal = true;
        let published = self
            .publish(&objects)
            .and_then(|()| self.publish(&manifest))
            .and_then(|()| self.publish(&[(self.staged("reference"), name.object())]));
        if let Err(error) = published {
            if undo(&self.shared, &self.folder).and_then(|()| self.remove_journal()).is_ok() {
                self.keep_journal = false;
            } else {
                // The folder stays, with its journal, and looks like a dead writer's before anybody
                // else can take the store's lock: the next one goes on.
                self.held = None;
            }
            return Err(error);
        }
        // Without the journal, what is left in the folder is nobody's but this writer's. It goes
        // while names cannot change yet: a journal whose name was given away or removed would be
        // taken for one of a commit that did not happen, were this writer to die from here on.
        if let Err(error) = self.remove_journal() {
            tracing::warn!(folder = self.folder, %error, "could not remove the journal of a finished commit");
            self.held = None;
            return Ok(grown);
        }
        self.keep_journal = false;
        drop(lock);
        after(&self);
        self.clear();
        Ok((grown + self.shared.take_made_bytes()).saturating_sub(old_len))
    }

    fn remove_journal(&self) -> Result<()> {
        let journal = self.staged(JOURNAL);
        self.shared.storage.remove(std::slice::from_ref(&journal)).map_err(|error| {
            self.shared.poison();
            Error::io("remove", journal, error)
        })
    }

    /// Writes a small object whole.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let object = self.create(name)?;
        self.append(object.as_ref(), name, bytes)
    }

    /// Whether the name may be given; bytes of the record that it replaces.
    fn check_name(&self, name: &RefName, replace: bool) -> Result<u64> {
        match self.shared.storage.open(&name.object()) {
            Ok(_) if !replace => Err(Error::Exists { what: "name", name: name.to_string() }),
            Ok(old) => Ok(old.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(Error::io("open", name.object(), error)),
        }
    }

    /// The objects that are not in the store yet, or are there and damaged: equal content has equal
    /// names, so another writer may have committed them meanwhile. Fails where something that the
    /// image needs is not there.
    fn still_missing(&self, publication: &Publication, image: Digest) -> Result<(Moves, Moves)> {
        let missing = |moves: &mut dyn Iterator<Item = &(String, String)>| -> Result<Vec<_>> {
            let mut missing = Vec::new();
            for moved in moves {
                if !self.is_sound(&moved.1)? {
                    missing.push(moved.clone());
                }
            }
            Ok(missing)
        };
        let mut objects = missing(&mut publication.objects.iter())?;
        // Another writer brought the same lists meanwhile, perhaps at another level: its locators
        // stay, so nothing would ever lead to our packs.
        let in_folder = |moved: &(String, String), folder: &str| moved.1.starts_with(folder);
        let brings = |moves: &[(String, String)]| moves.iter().any(|moved| in_folder(moved, names::LISTS));
        if brings(&publication.objects) && !brings(&objects) {
            objects.retain(|moved| !in_folder(moved, names::PACKS));
        }
        let manifest = missing(&mut publication.manifest.iter())?;
        if publication.manifest.is_some() && manifest.is_empty() {
            // The image is here already, with all that it needs.
            objects.clear();
        }
        if publication.manifest.is_none() && !self.is_there(&names::object(names::MANIFESTS, &image))? {
            return Err(Error::NotFound { what: "image", name: format!("@{image}") });
        }
        for name in &publication.needs {
            if !self.is_there(name)? {
                return Err(Error::corrupt(name, 0, Fault::Missing));
            }
        }
        Ok((objects, manifest))
    }

    /// Whether an object is there and, as far as a look at its root shows it, of use.
    fn is_sound(&self, name: &str) -> Result<bool> {
        let Some(id) = names::digest_of(name).filter(|_| !name.starts_with(names::PACKS)) else {
            return self.is_there(name);
        };
        let looked = match name.split('/').next().unwrap_or_default() {
            names::LISTS | names::LOCATORS => List::check(&self.shared, &id),
            names::MANIFESTS => Record::check(&self.shared, id),
            _ => return self.is_there(name),
        };
        match looked {
            Ok(()) => Ok(true),
            Err(error) if error.may_pass() => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Whether an object is there. One that cannot be opened for another reason is not missing:
    /// what is taken for missing would be written over, and taken back if the commit fails.
    fn is_there(&self, name: &str) -> Result<bool> {
        match self.shared.storage.open(name) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("open", name, error)),
        }
    }

    fn staged_bytes<'a>(&self, moves: impl Iterator<Item = &'a (String, String)>) -> Result<u64> {
        let listed = self.shared.storage.list(&self.folder);
        let listed = listed.map_err(|error| Error::io("list", &self.folder, error))?;
        let len_of =
            |name: &str| listed.iter().find(|object| object.name == name).map_or(0, |object| object.len);
        Ok(moves.map(|(from, _)| len_of(from)).sum())
    }

    fn publish(&self, moves: &[(String, String)]) -> Result<()> {
        let target = moves.first().map_or("", |moved| moved.1.as_str());
        self.shared.storage.publish(moves).map_err(|error| {
            self.shared.poison();
            Error::io("publish", target, error)
        })
    }

    fn clear(&mut self) {
        if self.held.is_some()
            && !self.keep_journal
            && let Err(error) = remove_folder(&self.shared, &self.folder)
        {
            tracing::warn!(folder = self.folder, %error, "could not remove; the next import will");
        }
        self.held = None;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.clear();
    }
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The numbers of all writers' folders, of the living and the dead.
fn list_stages(shared: &Shared) -> Result<Vec<u64>> {
    let listed = shared.storage.list(names::TMP).map_err(|error| Error::io("list", names::TMP, error))?;
    let number = |name: &str| {
        let part = name.split('/').nth(1)?;
        part.parse().ok().filter(|number: &u64| number.to_string() == part && *number < u64::MAX / 2)
    };
    let mut numbers: Vec<u64> = listed.iter().filter_map(|object| number(&object.name)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// Clears away what dead writers left: those whose lock is free. The caller holds the store's lock.
pub(crate) fn recover(shared: &Shared) -> Result<()> {
    for number in list_stages(shared)? {
        let folder = format!("{}/{number}", names::TMP);
        let lock = format!("{folder}/{}", names::LOCK);
        match shared.storage.lock(&lock, LockMode::Exclusive, Duration::ZERO) {
            Ok(_held) => {
                tracing::info!(folder, "clearing away what a dead writer left");
                undo(shared, &folder)?;
                remove_folder(shared, &folder)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Error::io("lock", lock, error)),
        }
    }
    Ok(())
}

/// Takes back what a commit published, unless it got as far as its reference.
fn undo(shared: &Shared, folder: &str) -> Result<()> {
    let journal = match read_object(shared.storage.as_ref(), &format!("{folder}/{JOURNAL}"), JOURNAL_LEN_MAX)
    {
        Ok(bytes) => decode_journal(&bytes),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    // A journal that is not whole was not synced, so nothing had been published yet.
    let Some(journal) = journal else { return Ok(()) };
    match read_object(shared.storage.as_ref(), &journal.reference, 4096) {
        Ok(bytes) if object_digest(&bytes) == journal.record => return Ok(()),
        Ok(_) => {}
        // Longer than any reference: not the one of this commit.
        Err(error) if error.is_not_found() || error.is_damage() => {}
        // Who cannot read the reference does not know whether the commit happened.
        Err(error) => return Err(error),
    }
    let names: Vec<_> = journal.objects.into_iter().rev().collect();
    // The manifest, which is first now, goes before what it names.
    for some in names.chunks(1) {
        shared.storage.remove(some).map_err(|error| Error::io("remove", &some[0], error))?;
    }
    Ok(())
}

fn remove_folder(shared: &Shared, folder: &str) -> Result<()> {
    let listed = shared.storage.list(folder).map_err(|error| Error::io("list", folder, error))?;
    // The lock and the journal go last, so that a broken-off removal is found and finished.
    let last = |name: &str| name.ends_with(names::LOCK) || name.ends_with(JOURNAL);
    let (last, first): (Vec<_>, Vec<_>) =
        listed.into_iter().map(|object| object.name).partition(|name| last(name));
    let remove =
        |names: &[String]| shared.storage.remove(names).map_err(|error| Error::io("clear", folder, error));
    remove(&first)?;
    remove(&last)
}

struct Journal {
    reference: String,
    record: Digest,
    objects: Vec<String>,
}

/// Whether this is the name of an object that commits publish.
fn is_published(name: &str) -> bool {
    let folders = [names::PACKS, names::LISTS, names::LOCATORS, names::PAGES, names::MANIFESTS];
    names::digest_of(name).is_some_and(|id| folders.iter().any(|folder| names::object(folder, &id) == name))
}

/// Lines: the reference's object, the digest of its new record, the objects; a digest of it all.
fn encode_journal(reference: &str, record: &Digest, objects: &[String]) -> Vec<u8> {
    let mut text = format!("{reference}\n{record}\n");
    for object in objects {
        text.push_str(object);
        text.push('\n');
    }
    let digest = object_digest(text.as_bytes());
    text.push_str(&digest.to_string());
    text.into_bytes()
}

fn decode_journal(bytes: &[u8]) -> Option<Journal> {
    let (text, digest) =
        std::str::from_utf8(bytes).ok()?.split_at_checked(bytes.len().checked_sub(2 * DIGEST_LEN)?)?;
    if digest.parse() != Ok(object_digest(text.as_bytes())) {
        return None;
    }
    let mut lines = text.lines();
    let (reference, record) = (lines.next()?.into(), lines.next()?.parse().ok()?);
    let journal = Journal { reference, record, objects: lines.map(Into::into).collect() };
    // Whoever can write here can write a journal: it leads to nothing but what a commit publishes.
    let sound = journal.objects.iter().all(|name| is_published(name))
        && RefName::from_object(&journal.reference).is_some();
    sound.then_some(journal)
}
