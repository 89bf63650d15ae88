//! The names that there are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use melv::serving::{Catalog, Entry};

/// All names, once read, are believed for so long, so that several programs that list the root read
/// them once. Counted from the end of the reading: a listing that takes longer than this would else be
/// old when it is done.
const FRESH: Duration = Duration::from_millis(250);
/// Names that were found since the last listing of all: beyond so many they are found again.
const FOUND_MAX: usize = 4096;

/// What a catalog lists.
///
/// All names are read only where all are asked for. Whether there is a folder is told by a tag that it
/// is known to have had: one look at the store, however many names there are.
#[derive(Debug)]
pub(crate) struct Listing {
    catalog: Arc<Catalog>,
    all: Mutex<Option<All>>,
    /// A tag of names that were found since.
    found: Mutex<HashMap<String, String>>,
}

/// All entries in ascending order of names, and when they had been read.
#[derive(Debug)]
struct All {
    read: Instant,
    entries: Arc<[Entry]>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listing {
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog, all: Mutex::default(), found: Mutex::default() }
    }

    /// All entries, as they are or were a moment ago.
    pub fn entries(&self) -> melv::Result<Arc<[Entry]>> {
        // Whoever comes while names are read waits for them instead of reading them, too.
        let mut all = locked(&self.all);
        if let Some(All { read, entries }) = all.as_ref()
            && read.elapsed() < FRESH
        {
            return Ok(entries.clone());
        }
        let entries: Arc<[Entry]> = self.catalog.list()?.into();
        *all = Some(All { read: Instant::now(), entries: entries.clone() });
        locked(&self.found).clear();
        Ok(entries)
    }

    /// The folders, in ascending order.
    pub fn folders(&self) -> melv::Result<Vec<String>> {
        let mut names: Vec<_> = self.entries()?.iter().map(|entry| entry.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// The entries of the folder `name`, as they are now.
    pub fn folder(&self, name: &str) -> melv::Result<Vec<Entry>> {
        self.catalog.list_of(name)
    }

    /// Whether there is a folder `name` now.
    pub fn has_folder(&self, name: &str) -> melv::Result<bool> {
        let known = self.known_tag(name);
        let tag = self.catalog.tag_of(name, known.as_deref())?;
        let mut found = locked(&self.found);
        match &tag {
            Some(tag) if known.as_ref() != Some(tag) => {
                if found.len() >= FOUND_MAX {
                    found.clear();
                }
                found.insert(name.to_owned(), tag.clone());
            }
            Some(_) => {}
            None => drop(found.remove(name)),
        }
        Ok(tag.is_some())
    }

    /// A tag that the folder `name` had when it was last looked at.
    fn known_tag(&self, name: &str) -> Option<String> {
        if let Some(tag) = locked(&self.found).get(name) {
            return Some(tag.clone());
        }
        let entries = locked(&self.all).as_ref().map(|all| all.entries.clone())?;
        let at = entries.partition_point(|entry| entry.name.as_str() < name);
        entries.get(at).filter(|entry| entry.name == name).map(|entry| entry.tag.clone())
    }
}
