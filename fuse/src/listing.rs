//! The names that there are.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use melv::serving::{Catalog, Entry};

/// Names read from the store are believed for so long, so that walking over all folders does not read
/// all names once for each.
const FRESH: Duration = Duration::from_millis(250);
/// What is missing from names that are older than this is looked for once more.
const RETRY: Duration = Duration::from_millis(20);

/// What a catalog lists, read again when it has become old.
#[derive(Debug)]
pub(crate) struct Listing {
    catalog: Arc<Catalog>,
    last: Mutex<Option<(Instant, Arc<[Entry]>)>>,
}

impl Listing {
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog, last: Mutex::default() }
    }

    /// All entries, as they are or were a moment ago.
    pub fn entries(&self) -> melv::Result<Arc<[Entry]>> {
        self.not_older(FRESH)
    }

    /// The folders, in ascending order.
    pub fn folders(&self) -> melv::Result<Vec<String>> {
        let mut names: Vec<_> = self.entries()?.iter().map(|entry| entry.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Whether there is a folder `name`.
    pub fn has_folder(&self, name: &str) -> melv::Result<bool> {
        Ok(self.find(|entry| entry.name == name)?.is_some())
    }

    /// The first entry that is wanted.
    pub fn find(&self, is_wanted: impl Fn(&Entry) -> bool) -> melv::Result<Option<Entry>> {
        for age in [FRESH, RETRY] {
            if let Some(entry) = self.not_older(age)?.iter().find(|entry| is_wanted(entry)) {
                return Ok(Some(entry.clone()));
            }
        }
        Ok(None)
    }

    fn not_older(&self, age: Duration) -> melv::Result<Arc<[Entry]>> {
        // Whoever comes while names are read waits for them instead of reading them, too.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, entries)) = last.as_ref()
            && read.elapsed() < age
        {
            return Ok(entries.clone());
        }
        let began = Instant::now();
        let entries: Arc<[Entry]> = self.catalog.list()?.into();
        *last = Some((began, entries.clone()));
        Ok(entries)
    }
}
