//! What a commit is about to do, written down before it does it, and how it is undone.
//!
//! The commit happened if all its references are as the journal says: they are published last. Else
//! what it replaced comes back, and then what it brought goes.

use std::time::Duration;

use super::names::{self, RefName};
use super::open::{Shared, read_object};
use crate::digest::{DIGEST_LEN, Digest, object_digest};
use crate::error::{Error, Result};
use crate::storage::LockMode;

/// The journal's name in a stage.
pub(super) const JOURNAL: &str = "journal";
/// A journal names a few objects for each pack; beyond this it is not ours.
const JOURNAL_LEN_MAX: u64 = 256 << 20;
/// What begins the staged name of an object that is to come back.
const OLD: &str = "old-";

/// What a commit does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Journal {
    /// References, with the digests of their objects.
    pub references: Vec<(String, Digest)>,
    /// Objects that were not there, in the order in which they get their names.
    pub new: Vec<String>,
    /// Objects that are replaced, and the staged names of copies of what they were.
    pub restore: Vec<(String, String)>,
}

/// The staged name of the copy of the object that is replaced as number `number`.
pub(super) fn old_name(number: usize) -> String {
    format!("{OLD}{number}")
}

/// Whether this is the name of an object that commits publish.
fn is_published(name: &str) -> bool {
    let folders = [names::PACKS, names::LISTS, names::LOCATORS, names::PAGES, names::MANIFESTS];
    let is_object = |id: &Digest| folders.iter().any(|folder| names::object(folder, id) == name);
    names::digest_of(name).is_some_and(|id| is_object(&id)) || RefName::from_object(name).is_some()
}

impl Journal {
    /// Lines of a word and names; a digest of them all.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = String::new();
        let references = self.references.iter().map(|(name, digest)| format!("reference {name} {digest}\n"));
        let new = self.new.iter().map(|name| format!("new {name}\n"));
        let restore = self.restore.iter().map(|(name, old)| format!("restore {name} {old}\n"));
        text.extend(references.chain(new).chain(restore));
        let digest = object_digest(text.as_bytes());
        text.push_str(&digest.to_string());
        text.into_bytes()
    }

    /// Reads a journal; `None` where it is not whole, or names what no commit names: whoever can write
    /// here can write a journal.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (text, digest) =
            std::str::from_utf8(bytes).ok()?.split_at_checked(bytes.len().checked_sub(2 * DIGEST_LEN)?)?;
        if digest.parse() != Ok(object_digest(text.as_bytes())) {
            return None;
        }
        let mut journal = Self::default();
        for line in text.lines() {
            let (word, names) = line.split_once(' ')?;
            match (word, names.split_once(' ')) {
                ("reference", Some((name, digest))) => {
                    RefName::from_object(name)?;
                    journal.references.push((name.into(), digest.parse().ok()?));
                }
                ("new", None) => journal.new.push(names.into()),
                ("restore", Some((name, old))) => {
                    let number: usize = old.strip_prefix(OLD)?.parse().ok()?;
                    journal.restore.push((name.into(), Some(old_name(number)).filter(|name| name == old)?));
                }
                _ => return None,
            }
        }
        let restored = journal.restore.iter().map(|(name, _)| name);
        let sound = !journal.references.is_empty()
            && journal.new.iter().chain(restored).all(|name| is_published(name));
        sound.then_some(journal)
    }
}

/// The numbers of all writers' folders, of the living and the dead.
pub(super) fn list_stages(shared: &Shared) -> Result<Vec<u64>> {
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

/// The lists that are committed now: nothing that a dead writer had half published.
pub(crate) fn committed_lists(shared: &Shared) -> Result<Vec<Digest>> {
    let _lock = shared.lock()?;
    recover(shared)?;
    let listed = shared.storage.list(names::LISTS).map_err(|error| Error::io("list", names::LISTS, error))?;
    Ok(listed.iter().filter_map(|object| names::digest_of(&object.name)).collect())
}

/// Takes back what a commit published, unless it got as far as its references.
pub(super) fn undo(shared: &Shared, folder: &str) -> Result<()> {
    let journal = match read_object(shared.storage.as_ref(), &format!("{folder}/{JOURNAL}"), JOURNAL_LEN_MAX)
    {
        Ok(bytes) => Journal::decode(&bytes),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    // A journal that is not whole was not synced, so nothing had been published yet.
    let Some(journal) = journal else { return Ok(()) };
    if happened(shared, &journal)? {
        return Ok(());
    }
    for (name, old) in &journal.restore {
        let staged = format!("{folder}/{old}");
        match shared.storage.open(&staged) {
            // An undoing that was broken off has brought it back.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("open", staged, error)),
            Ok(_) => {}
        }
        let moved = [(staged, name.clone())];
        shared.storage.publish(&moved).map_err(|error| Error::io("publish", name, error))?;
        shared.forget_object(name);
    }
    // References first, then records, then what these name.
    for name in journal.new.iter().rev() {
        shared
            .storage
            .remove(std::slice::from_ref(name))
            .map_err(|error| Error::io("remove", name, error))?;
    }
    Ok(())
}

/// Whether all references of a commit are in place.
fn happened(shared: &Shared, journal: &Journal) -> Result<bool> {
    for (name, digest) in &journal.references {
        match read_object(shared.storage.as_ref(), name, 4096) {
            Ok(bytes) if object_digest(&bytes) == *digest => {}
            Ok(_) => return Ok(false),
            // Longer than any reference: not the one of this commit.
            Err(error) if error.is_not_found() || error.is_damage() => return Ok(false),
            // Who cannot read the reference does not know whether the commit happened.
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

pub(super) fn remove_folder(shared: &Shared, folder: &str) -> Result<()> {
    let listed = shared.storage.list(folder).map_err(|error| Error::io("list", folder, error))?;
    // The lock and the journal go last, so that a broken-off removal is found and finished. While
    // the journal is there, so are the copies that it names.
    let last = |name: &str| name.ends_with(names::LOCK) || name.ends_with(JOURNAL);
    let (last, first): (Vec<_>, Vec<_>) =
        listed.into_iter().map(|object| object.name).partition(|name| last(name));
    let remove =
        |names: &[String]| shared.storage.remove(names).map_err(|error| Error::io("clear", folder, error));
    remove(&first)?;
    remove(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_as_written_or_not_at_all() {
        let id = object_digest(b"some");
        let journal = Journal {
            references: vec![("refs/web/latest".into(), id)],
            new: vec![format!("packs/{id}"), "refs/web/latest".into()],
            restore: vec![(format!("locators/{id}"), "old-0".into())],
        };
        let bytes = journal.encode();
        assert_eq!(Journal::decode(&bytes), Some(journal));
        assert_eq!(Journal::decode(&bytes[..bytes.len() - 1]), None);
        let sealed = |text: &str| format!("{text}{}", object_digest(text.as_bytes()));
        let head = format!("reference refs/web/latest {id}\n");
        assert!(Journal::decode(sealed(&head).as_bytes()).is_some());
        for bad in
            ["new melv.store\n", "new ../x\n", "new lock\n", "restore index/logs/x old-0\n", "drop packs/x\n"]
        {
            assert_eq!(Journal::decode(sealed(&format!("{head}{bad}")).as_bytes()), None, "{bad}");
        }
        let elsewhere = format!("restore packs/{id} ../../x\n");
        assert_eq!(Journal::decode(sealed(&format!("{head}{elsewhere}")).as_bytes()), None);
        assert_eq!(Journal::decode(sealed("").as_bytes()), None);
    }
}
