//! The journal of a commit: its intended changes, written in advance, and the way to undo them.
//!
//! A commit happened if all its references match the journal, since they are published last. A commit
//! without references happened if its stage contains the object `done`. Otherwise the replaced objects
//! are restored, and then the new ones removed.
//!
//! A commit of one name has no journal: the name is given or not. Its stage contains a note of the name
//! instead, which tells the next writer to make the name durable, given or not.
//!
//! A journal gets its name only when it is complete and durable. A damaged journal was therefore changed
//! later: its stage stays, with the copies of replaced objects. An unknown word comes from a newer
//! writer: then nothing may be written, since only a newer version can undo that commit.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::errors::StoreErrors;
use super::names::{self, RefName};
use super::objects::read_object;
use super::open::StoreInner;
use super::writer;
use crate::digest::{DIGEST_LEN, Digest, ListId, object_digest};
use crate::error::{BlockError, Error, Result, StoreError};
use crate::storage::{Listed, LockMode, ObjectName};

/// The journal's name in a stage.
pub(super) const JOURNAL: &str = "journal";
/// The staged name of the object that marks a commit without references as done.
pub(super) const DONE: &str = "done";
/// The staged name of the note of the one name that a commit without a journal gives.
pub(super) const NOTE: &str = "given";
const NOTE_LEN_MAX: u64 = 4096;
/// The maximum length of a journal, in bytes. A journal names a few objects for each pack, so a longer
/// one is foreign.
const JOURNAL_LEN_MAX: u64 = 256 << 20;
/// The prefix of the staged names of objects to restore.
const OLD: &str = "old-";

/// The changes of a commit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Journal {
    /// References, with the digests of their objects.
    pub references: Vec<(ObjectName, Digest)>,
    /// New objects, in the order of publication.
    pub new: Vec<ObjectName>,
    /// Replaced objects, and the staged names of their old copies.
    pub restore: Vec<(ObjectName, String)>,
}

/// The reason why a journal cannot be followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is incomplete, or has names that no commit publishes: anyone with write access can forge a
    /// journal.
    Damaged,
    /// It contains a word unknown to this version.
    Newer(String),
}

/// The outcome of a commit whose writer died or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The commit was undone, or had not begun, or gave one name, which stays.
    Undone,
    /// The commit happened, and is durable.
    Completed,
    /// Unknown, because the journal is damaged. Nothing was changed.
    Unknown,
}

/// Returns the staged name of the old copy of replaced object `number`.
pub(super) fn old_name(number: usize) -> String {
    format!("{OLD}{number}")
}

/// Whether commits publish objects with this name.
fn is_published(name: &str) -> bool {
    let folders = [names::PACKS, names::LISTS, names::LOCATORS, names::PAGES, names::MANIFESTS];
    let is_object = |id: &Digest| folders.iter().any(|folder| names::object(folder, id).as_str() == name);
    names::digest_of(name).is_some_and(|id| is_object(&id)) || RefName::from_object(name).is_some()
}

impl Journal {
    /// Encodes the journal as lines of a word and names, followed by their digest.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = String::new();
        let references = self.references.iter().map(|(name, digest)| format!("reference {name} {digest}\n"));
        let new = self.new.iter().map(|name| format!("new {name}\n"));
        let restore = self.restore.iter().map(|(name, old)| format!("restore {name} {old}\n"));
        text.extend(references.chain(new).chain(restore));
        if self.references.is_empty() {
            text.push_str(&format!("until {DONE}\n"));
        }
        let digest = object_digest(text.as_bytes());
        text.push_str(&digest.to_string());
        text.into_bytes()
    }

    /// Decodes a journal completely or not at all.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Self, Unread> {
        let end = bytes.len().checked_sub(2 * DIGEST_LEN).ok_or(Unread::Damaged)?;
        let text = std::str::from_utf8(bytes).ok().and_then(|text| text.split_at_checked(end));
        let (text, digest) = text.ok_or(Unread::Damaged)?;
        if digest.parse() != Ok(object_digest(text.as_bytes())) {
            return Err(Unread::Damaged);
        }
        let mut journal = Self::default();
        let mut is_without_references = false;
        for line in text.lines() {
            let (word, names) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "reference" | "new" | "restore" => journal.line(word, names).ok_or(Unread::Damaged)?,
                "until" if names == DONE => is_without_references = true,
                _ => return Err(Unread::Newer(word.chars().take(40).collect())),
            }
        }
        if journal.references.is_empty() == is_without_references {
            Ok(journal)
        } else {
            Err(Unread::Damaged)
        }
    }

    fn line(&mut self, word: &str, names: &str) -> Option<()> {
        match (word, names.split_once(' ')) {
            ("reference", Some((name, digest))) => {
                RefName::from_object(name)?;
                self.references.push((name.parse().ok()?, digest.parse().ok()?));
            }
            ("new", None) if is_published(names) => self.new.push(names.parse().ok()?),
            ("restore", Some((name, old))) if is_published(name) => {
                let number: usize = old.strip_prefix(OLD)?.parse().ok()?;
                self.restore.push((name.parse().ok()?, Some(old_name(number)).filter(|name| name == old)?));
            }
            _ => return None,
        }
        Some(())
    }
}

fn list_tmp(shared: &StoreInner) -> Result<Vec<Listed>> {
    shared.storage.list(names::TMP).map_err(|error| Error::io("list", names::TMP, error))
}

fn numbers_in(listed: &[Listed]) -> Vec<u64> {
    let number = |name: &str| {
        let part = name.split('/').nth(1)?;
        part.parse().ok().filter(|number: &u64| number.to_string() == part && *number < u64::MAX / 2)
    };
    let mut numbers: Vec<u64> = listed.iter().filter_map(|object| number(&object.name)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Cleans up after dead writers, whose locks are free. Returns the numbers of the stages that remain. The
/// caller must hold the store's lock.
pub(crate) fn recover(shared: &StoreInner) -> Result<Vec<u64>> {
    let mut remaining = Vec::new();
    let listed = list_tmp(shared)?;
    // A leftover header of an interrupted store creation, which also held this lock.
    if listed.iter().any(|object| object.name == names::NEW_STORE) {
        let removed = shared.storage.remove(std::slice::from_ref(&names::NEW_STORE));
        removed.map_err(|error| Error::io("remove", &names::NEW_STORE, error))?;
    }
    for number in numbers_in(&listed) {
        let folder = format!("{}/{number}", names::TMP);
        let lock = names::staged(&folder, &names::LOCK);
        let _held = match shared.storage.lock(&lock, LockMode::Exclusive, Duration::ZERO) {
            Ok(held) => held,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                remaining.push(number);
                continue;
            }
            Err(error) => return Err(Error::io("lock", lock, error)),
        };
        if !shared.break_locks && writer::is_elsewhere(shared, &lock)? {
            if !shared.is_elsewhere_told.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    folder = format!("{}/{folder}", shared.storage.place()),
                    "skipped: a writer on another machine made this folder and may still run; \
                     once it has ended, --break-locks removes the folder"
                );
            }
            remaining.push(number);
            continue;
        }
        tracing::info!(folder, "cleaning up after a dead writer");
        if undo(shared, &folder)? == Outcome::Unknown && !shared.break_locks {
            keep_damaged(shared, &folder)?;
            remaining.push(number);
        } else {
            remove_folder(shared, &folder)?;
        }
    }
    Ok(remaining)
}

/// Leaves a stage whose journal is damaged. Objects that its writer published stay and may be shared, so
/// they must become as durable as this process's own objects.
fn keep_damaged(shared: &StoreInner, folder: &str) -> Result<()> {
    if !shared.is_damage_told.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            folder = format!("{}/{folder}", shared.storage.place()),
            "the journal of an interrupted commit is damaged, so the commit cannot be undone; the journal and the \
             replaced files (old-*) stay here; once `verify` finds no damage, --break-locks removes them"
        );
    }
    let folders = [names::PACKS, names::PAGES, names::LOCATORS, names::LISTS, names::MANIFESTS, names::REFS];
    let objects: Vec<ObjectName> =
        folders.iter().map(|folder| ObjectName::made(format!("{folder}/any"))).collect();
    shared.storage.settle(&objects).map_err(|error| {
        shared.poison();
        Error::io("sync", format!("the objects that {folder} published"), error)
    })
}

/// Returns the lists committed now, without any that a dead writer published halfway.
pub(crate) fn committed_lists(shared: &StoreInner) -> Result<Vec<ListId>> {
    let _lock = shared.lock()?;
    recover(shared)?;
    let listed = shared.storage.list(names::LISTS).map_err(|error| Error::io("list", names::LISTS, error))?;
    Ok(listed.iter().filter_map(|object| names::id_of(&object.name)).collect())
}

/// The progress of a commit according to its journal.
#[derive(Debug)]
pub(super) enum Standing {
    /// There is no journal: nothing was published, or one name.
    NotBegun,
    /// The commit was interrupted before all of its objects had their final names.
    BrokenOff(Journal),
    /// All objects have their final names; these came last.
    Completed(Vec<ObjectName>),
    /// The journal is damaged.
    Unknown,
}

/// Determines the progress of a commit.
pub(super) fn standing(shared: &StoreInner, folder: &str) -> Result<Standing> {
    let name = names::staged(folder, JOURNAL);
    let bytes = match read_object(shared.storage.as_ref(), &name, JOURNAL_LEN_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(Standing::NotBegun),
        Err(error) if error.is_damage() => return Ok(Standing::Unknown),
        Err(error) => return Err(error),
    };
    let journal = match Journal::decode(&bytes) {
        Ok(journal) => journal,
        Err(Unread::Damaged) => return Ok(Standing::Unknown),
        Err(Unread::Newer(word)) => {
            let object = format!("{}/{name}", shared.storage.place());
            return Err(BlockError::Unsupported {
                object,
                feature: format!("journals with the word {word:?}"),
            }
            .into());
        }
    };
    if !was_completed(shared, folder, &journal)? {
        return Ok(Standing::BrokenOff(journal));
    }
    Ok(Standing::Completed(match journal.references.as_slice() {
        [] => vec![names::staged(folder, DONE)],
        references => references.iter().map(|(name, _)| name.clone()).collect(),
    }))
}

/// Undoes a commit, unless its references were published.
fn undo(shared: &StoreInner, folder: &str) -> Result<Outcome> {
    match standing(shared, folder)? {
        Standing::NotBegun => settle_noted(shared, folder).map(|()| Outcome::Undone),
        Standing::Unknown => Ok(Outcome::Unknown),
        Standing::BrokenOff(journal) => roll_back(shared, folder, &journal).map(|()| Outcome::Undone),
        Standing::Completed(names) => {
            // The writer may have died before its sync.
            shared.storage.settle(&names).map_err(|error| {
                shared.poison();
                Error::io("sync", format!("the folder of {}", names[0]), error)
            })?;
            Ok(Outcome::Completed)
        }
    }
}

/// Makes the name durable that a dead writer may have given without a journal. A note that a loss of power
/// damaged needs nothing: it also decided whether the name was given.
fn settle_noted(shared: &StoreInner, folder: &str) -> Result<()> {
    let name = match read_object(shared.storage.as_ref(), &names::staged(folder, NOTE), NOTE_LEN_MAX) {
        Ok(bytes) => std::str::from_utf8(&bytes).ok().and_then(RefName::from_object),
        Err(error) if error.is_not_found() || error.is_damage() => None,
        Err(error) => return Err(error),
    };
    let Some(name) = name.map(|name| name.object()) else { return Ok(()) };
    shared.storage.settle(std::slice::from_ref(&name)).map_err(|error| {
        shared.poison();
        Error::io("sync", format!("the folder of {name}"), error)
    })
}

/// Undoes a commit. An interrupted rollback can be repeated.
pub(super) fn roll_back(shared: &StoreInner, folder: &str, journal: &Journal) -> Result<()> {
    for (name, old) in &journal.restore {
        let staged = names::staged(folder, old);
        match shared.storage.open(&staged) {
            // An interrupted rollback has already restored it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(StoreError::unopened(staged, error)),
            Ok(_) => {}
        }
        let moved = [(staged, name.clone())];
        shared.storage.publish(&moved).map_err(|error| Error::io("publish", name, error))?;
        shared.reader.objects.forget(name);
    }
    // References first, then records, then the objects they refer to.
    for name in journal.new.iter().rev() {
        shared
            .storage
            .remove(std::slice::from_ref(name))
            .map_err(|error| Error::io("remove", name, error))?;
    }
    Ok(())
}

/// Whether all references of a commit are in place.
pub(super) fn was_completed(shared: &StoreInner, folder: &str, journal: &Journal) -> Result<bool> {
    if journal.references.is_empty() {
        let done = names::staged(folder, DONE);
        return match shared.storage.open(&done) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::unopened(done, error)),
        };
    }
    for (name, digest) in &journal.references {
        match read_object(shared.storage.as_ref(), name, 4096) {
            Ok(bytes) if object_digest(&bytes) == *digest => {}
            Ok(_) => return Ok(false),
            // Longer than any reference, so not the one of this commit.
            Err(error) if error.is_not_found() || error.is_damage() => return Ok(false),
            // If a reference is unreadable, the outcome is unknown.
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

pub(super) fn remove_folder(shared: &StoreInner, folder: &str) -> Result<()> {
    let listed = shared.storage.list(folder).map_err(|error| Error::io("list", folder, error))?;
    let names = || listed.iter().map(|object| object.name.clone());
    let is_last_part = |name: &str, part: &str| name.rsplit('/').next() == Some(part);
    let remove = |names: &[ObjectName]| {
        shared.storage.remove(names).map_err(|error| Error::io("clear", folder, error))
    };
    // Remove the journal before the objects it names, and the lock last, so that an interrupted removal
    // is found and finished.
    if let Some(journal) = names().find(|name| is_last_part(name, JOURNAL)) {
        remove(&[journal])?;
    }
    let (lock, others): (Vec<_>, Vec<_>) = names()
        .filter(|name| !is_last_part(name, JOURNAL))
        .partition(|name| is_last_part(name, &names::LOCK));
    remove(&others)?;
    remove(&lock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{MemoryStorage, ObjectSource};
    use crate::store::{Store, StoreOptions};

    fn name(text: &str) -> ObjectName {
        text.parse().expect("the name of an object")
    }

    fn sealed(text: &str) -> Vec<u8> {
        format!("{text}{}", object_digest(text.as_bytes())).into_bytes()
    }

    #[test]
    fn a_journal_is_read_as_written_or_not_at_all() {
        let id = object_digest(b"some");
        let journal = Journal {
            references: vec![(name("refs/web/latest"), id)],
            new: vec![name(&format!("packs/{id}")), name("refs/web/latest")],
            restore: vec![(name(&format!("locators/{id}")), "old-0".into())],
        };
        let bytes = journal.encode();
        assert_eq!(Journal::decode(&bytes), Ok(journal));
        for len in 0..bytes.len() {
            assert_eq!(Journal::decode(&bytes[..len]), Err(Unread::Damaged), "{len} bytes");
        }
        let head = format!("reference refs/web/latest {id}\n");
        assert!(Journal::decode(&sealed(&head)).is_ok());
        let bad = ["new melv.store\n", "new ../x\n", "new lock\n", "restore index/logs/x old-0\n", "new\n"];
        for bad in bad {
            assert_eq!(Journal::decode(&sealed(&format!("{head}{bad}"))), Err(Unread::Damaged), "{bad}");
        }
        let elsewhere = format!("restore packs/{id} ../../x\n");
        assert_eq!(Journal::decode(&sealed(&format!("{head}{elsewhere}"))), Err(Unread::Damaged));
        assert_eq!(Journal::decode(&sealed("")), Err(Unread::Damaged));
    }

    #[test]
    fn every_kind_of_object_can_be_restored() {
        let id = object_digest(b"some");
        let folders = ["packs", "pages", "lists", "locators", "manifests"];
        let names =
            folders.map(|folder| name(&format!("{folder}/{id}"))).into_iter().chain([name("refs/a/b")]);
        let restore = names.zip(0..).map(|(name, number)| (name, old_name(number))).collect();
        let journal = Journal { references: vec![(name("refs/a/b"), id)], restore, ..Journal::default() };
        assert_eq!(Journal::decode(&journal.encode()), Ok(journal));
    }

    #[test]
    fn a_word_of_a_newer_writer_is_told_from_damage() {
        let text = format!("reference refs/web/latest {}\ndrop packs/x\n", object_digest(b"some"));
        assert_eq!(Journal::decode(&sealed(&text)), Err(Unread::Newer("drop".into())));
    }

    #[test]
    fn a_commit_without_references_is_undone_unless_it_is_done() {
        let id = object_digest(b"some");
        let pack = name(&format!("packs/{id}"));
        let journal = Journal { new: vec![pack.clone()], ..Journal::default() };
        assert_eq!(Journal::decode(&journal.encode()).as_ref(), Ok(&journal));
        for is_done in [false, true] {
            let storage = MemoryStorage::new();
            let store = Store::create(storage.clone(), StoreOptions::default()).expect("a store");
            storage.put(&pack, b"frames".to_vec());
            storage.put("tmp/0/journal", journal.encode());
            if is_done {
                storage.put("tmp/0/done", Vec::new());
            }
            recover(&store.shared).expect("recovered");
            assert_eq!(storage.open(&pack).is_ok(), is_done);
            assert_eq!(storage.list("tmp").expect("listed"), []);
        }
    }
}
