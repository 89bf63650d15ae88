//! Notes of damage: the chunks and objects that a verify, an import or a load found damaged.
//!
//! ```text
//! index/damaged         lines of text, and a digest of them
//! chunks LIST START END chunks of a list that could not be decoded
//! object NAME           an object that is not sound
//! ```
//!
//! A note is a reason to check, never a verdict. Its chunks and objects are read and checked before a
//! writer reuses them, and the note is deleted if they are whole. If a note is lost, the damage must be
//! found again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::digest::{DIGEST_LEN, ListId, object_digest};
use crate::error::{Error, Result};
use crate::storage::{LockMode, ObjectName};
use crate::store::runs::Runs;
use crate::store::stage::Stage;
use crate::store::{StoreInner, names, read_range};

/// The maximum number of lines. Beyond it, one line per list covers its first to its last chunk.
const LINES_MAX: usize = 1 << 16;
/// The maximum length of the file, in bytes; longer ones are not read.
const LEN_MAX: u64 = 16 << 20;
/// The time to wait for another writer of notes.
const WAIT: Duration = Duration::from_millis(500);

/// A set of notes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// Chunks, by list.
    pub chunks: BTreeMap<ListId, Runs>,
    /// Names of objects.
    pub objects: BTreeSet<ObjectName>,
}

impl Notes {
    /// Reads the notes; none if they are unreadable.
    pub fn read(shared: &StoreInner) -> Self {
        let Ok(object) = shared.storage.open(&names::INDEX_NOTES) else { return Self::default() };
        if object.len() > LEN_MAX {
            return Self::default();
        }
        read_range(object.as_ref(), &names::INDEX_NOTES, 0, object.len())
            .ok()
            .and_then(|bytes| Self::decode(&bytes))
            .unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.objects.is_empty()
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        for (list, runs) in &other.chunks {
            self.chunks.entry(*list).or_default().add_all(runs);
        }
        self.objects.extend(other.objects.iter().cloned());
    }

    /// Removes the notes of `other`.
    pub fn remove(&mut self, other: &Self) {
        for (list, healed) in &other.chunks {
            if let Some(runs) = self.chunks.get_mut(list) {
                healed.numbers().for_each(|chunk| runs.remove(chunk));
                if runs.is_empty() {
                    self.chunks.remove(list);
                }
            }
        }
        self.objects.retain(|name| !other.objects.contains(name));
    }

    fn encode(&self) -> Vec<u8> {
        let mut text = String::new();
        let lines = self.chunks.values().map(Runs::runs).sum::<usize>();
        for (list, runs) in &self.chunks {
            let coarse = runs.iter().next().zip(runs.iter().last()).map(|(first, last)| (first.0, last.1));
            let all: Vec<_> =
                if lines > LINES_MAX { coarse.into_iter().collect() } else { runs.iter().collect() };
            all.iter().for_each(|(start, end)| text.push_str(&format!("chunks {list} {start} {end}\n")));
        }
        self.objects.iter().take(LINES_MAX).for_each(|name| text.push_str(&format!("object {name}\n")));
        let digest = object_digest(text.as_bytes());
        text.push_str(&digest.to_string());
        text.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (text, digest) = text.split_at_checked(text.len().checked_sub(2 * DIGEST_LEN)?)?;
        if digest.parse() != Ok(object_digest(text.as_bytes())) {
            return None;
        }
        let mut notes = Self::default();
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["chunks", list, start, end] => {
                    let runs = notes.chunks.entry(list.parse().ok()?).or_default();
                    runs.add(start.parse().ok()?, end.parse().ok()?);
                }
                ["object", name] => drop(notes.objects.insert(name.parse().ok()?)),
                _ => return None,
            }
        }
        Some(notes)
    }
}

/// Adds and removes notes if the store is writable. A failure here affects nothing else.
pub(crate) fn update(shared: &std::sync::Arc<StoreInner>, found: &Notes, healed: &Notes) {
    if (found.is_empty() && healed.is_empty()) || shared.check_writable().is_err() {
        return;
    }
    if let Err(error) = try_update(shared, found, healed) {
        tracing::debug!(%error, "cannot note the damage found");
    }
}

fn try_update(shared: &std::sync::Arc<StoreInner>, found: &Notes, healed: &Notes) -> Result<()> {
    let before = Notes::read(shared);
    let mut after = before.clone();
    after.remove(healed);
    after.add(found);
    if after == before {
        return Ok(());
    }
    let _lock = shared
        .storage
        .lock(&names::INDEX_LOCK, LockMode::Exclusive, WAIT)
        .map_err(|error| Error::io("lock", &names::INDEX_LOCK, error))?;
    let mut now = Notes::read(shared);
    now.remove(healed);
    now.add(found);
    if now.is_empty() {
        return shared
            .storage
            .remove(std::slice::from_ref(&names::INDEX_NOTES))
            .map_err(|error| Error::io("remove from", names::INDEX, error));
    }
    let stage = Stage::begin(shared)?;
    let object = stage.create_untracked("damaged")?;
    stage.append(object.as_ref(), "damaged", &now.encode())?;
    let moved = [(stage.staged("damaged"), names::INDEX_NOTES.clone())];
    shared.storage.publish(&moved).map_err(|error| Error::io("publish", names::INDEX, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_written_or_not_at_all() {
        let list = ListId::new(object_digest(b"list"));
        let mut notes = Notes::default();
        notes.chunks.entry(list).or_default().add(3, 9);
        notes.chunks.entry(list).or_default().add(12, 13);
        notes.objects.insert(names::pack(&crate::digest::PackId::new(list.digest())));
        let bytes = notes.encode();
        assert_eq!(Notes::decode(&bytes), Some(notes.clone()));
        assert_eq!(Notes::decode(&bytes[..bytes.len() - 1]), None);
        let mut healed = Notes::default();
        healed.chunks.entry(list).or_default().add(2, 8);
        notes.remove(&healed);
        assert_eq!(notes.chunks[&list].iter().collect::<Vec<_>>(), [(8, 9), (12, 13)]);
        let mut coarse = Notes::default();
        (0..=LINES_MAX as u64).for_each(|n| coarse.chunks.entry(list).or_default().add(2 * n, 2 * n + 1));
        let read = Notes::decode(&coarse.encode()).unwrap();
        assert_eq!(read.chunks[&list].iter().collect::<Vec<_>>(), [(0, 2 * LINES_MAX as u64 + 1)]);
    }
}
