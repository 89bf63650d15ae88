//! The names of the images.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use melv_serve::{ExportEntry, Exports};

/// The validity of a listing of all names, so that several programs that list the root share one. Counted
/// from the end of the listing: one that takes longer than this would otherwise be outdated when it is
/// complete.
const FRESH: Duration = Duration::from_millis(250);
/// The maximum number of remembered tags; when exceeded, all are dropped and looked up again.
const FOUND_MAX: usize = 4096;

/// The listing of the exports.
///
/// Reads all names only for requests that need all. To check for a folder, looks up a tag it is known to have
/// had: one access to the store, however many names there are.
#[derive(Debug)]
pub(crate) struct Listing {
    exports: Arc<dyn Exports>,
    all: Mutex<Option<All>>,
    /// A tag for each folder found since the last listing of all names.
    found: Mutex<HashMap<String, String>>,
}

/// All entries in ascending order of names, and the time of their listing.
#[derive(Debug)]
struct All {
    read: Instant,
    entries: Arc<[ExportEntry]>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listing {
    pub fn new(exports: Arc<dyn Exports>) -> Self {
        Self { exports, all: Mutex::default(), found: Mutex::default() }
    }

    /// Returns all entries, at most [`FRESH`] old.
    pub fn entries(&self) -> melv_block::Result<Arc<[ExportEntry]>> {
        // Concurrent callers wait here for one listing instead of repeating it.
        let mut all = lock(&self.all);
        if let Some(All { read, entries }) = all.as_ref()
            && read.elapsed() < FRESH
        {
            return Ok(entries.clone());
        }
        let entries: Arc<[ExportEntry]> = self.exports.list()?.into();
        *all = Some(All { read: Instant::now(), entries: entries.clone() });
        lock(&self.found).clear();
        Ok(entries)
    }

    /// Returns the folders in ascending order.
    pub fn folders(&self) -> melv_block::Result<Vec<String>> {
        let mut names: Vec<_> = self.entries()?.iter().map(|entry| entry.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Returns the current entries of the folder `name`.
    pub fn folder(&self, name: &str) -> melv_block::Result<Vec<ExportEntry>> {
        self.exports.list_of(name)
    }

    /// Whether the folder `name` exists now.
    pub fn has_folder(&self, name: &str) -> melv_block::Result<bool> {
        let known = self.known_tag(name);
        let tag = self.exports.tag_of(name, known.as_deref())?;
        let mut found = lock(&self.found);
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

    /// Returns a tag that the folder `name` had at the last lookup.
    fn known_tag(&self, name: &str) -> Option<String> {
        if let Some(tag) = lock(&self.found).get(name) {
            return Some(tag.clone());
        }
        let entries = lock(&self.all).as_ref().map(|all| all.entries.clone())?;
        let at = entries.partition_point(|entry| entry.name.as_str() < name);
        entries.get(at).filter(|entry| entry.name == name).map(|entry| entry.tag.clone())
    }
}
