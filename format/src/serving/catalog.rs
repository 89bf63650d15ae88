//! Which disks there are, by name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::counters::Counters;
use super::disk::Disk;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::store::{NamedImage, RefName, Store};

/// Disks kept in mind while somebody may still have them; past that, those that nobody has go.
const OPEN_SWEEP: usize = 64;

/// An image that is served, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, without its tag; `@` and the image id for one that was asked for by id.
    pub name: String,
    /// The tag.
    pub tag: String,
    /// The image.
    pub image: Digest,
    /// When the name was given, in seconds since 1970 UTC, where that is known.
    pub created_seconds: Option<u64>,
}

/// What a process serves: all images of a store, as they are at each moment, or chosen ones.
#[derive(Debug)]
pub struct Catalog {
    /// The store of which everything is served.
    all: Option<Store>,
    chosen: Vec<(Entry, Store)>,
    counters: Arc<Counters>,
    /// Disks that somebody may have, by image.
    open: Mutex<HashMap<Digest, Weak<Disk>>>,
}

impl Entry {
    /// The name that stands for exactly this one.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}:{}", self.name, self.tag)
    }

    fn is_named(&self, name: &str) -> bool {
        let (name, tag) = name.split_once(':').unwrap_or((name, "latest"));
        name == self.name && tag == self.tag
    }
}

impl Catalog {
    /// All images of `store` that have a name: also those that get one later.
    #[must_use]
    pub fn all(store: Store) -> Self {
        Self { all: Some(store), chosen: Vec::new(), counters: Arc::default(), open: Mutex::default() }
    }

    /// None; [`Catalog::add`] brings some.
    #[must_use]
    pub fn of_chosen() -> Self {
        Self { all: None, chosen: Vec::new(), counters: Arc::default(), open: Mutex::default() }
    }

    /// Serves `image` of `store`, which stays the one that it is whatever becomes of the name. It takes
    /// the place of one with the same name.
    pub fn add(&mut self, name: Option<&RefName>, store: &Store, image: &Image) {
        let (name, tag) = match name {
            Some(name) => (name.name().to_owned(), name.tag().to_owned()),
            None => (format!("@{}", image.id()), "latest".to_owned()),
        };
        let entry = Entry { name, tag, image: image.id(), created_seconds: None };
        self.chosen.retain(|(known, _)| known.full_name() != entry.full_name());
        self.chosen.push((entry, store.clone()));
    }

    /// What is served, in ascending order of names. Names whose record is damaged are left out.
    ///
    /// # Errors
    /// When the names cannot be listed.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let Some(store) = &self.all else {
            let mut entries: Vec<_> = self.chosen.iter().map(|(entry, _)| entry.clone()).collect();
            entries.sort_by(|one, other| (&one.name, &one.tag).cmp(&(&other.name, &other.tag)));
            return Ok(entries);
        };
        let entry = |(_, named): (RefName, Result<NamedImage>)| {
            let named = named.ok()?;
            Some(Entry {
                name: named.name.name().to_owned(),
                tag: named.name.tag().to_owned(),
                image: named.image,
                created_seconds: Some(named.created_seconds),
            })
        };
        Ok(store.references()?.into_iter().filter_map(entry).collect())
    }

    /// The disk called `name`: `NAME:TAG`, or `NAME` for `NAME:latest`; the empty name is the only one
    /// that is served. All who ask for one image get the same disk.
    ///
    /// # Errors
    /// [`Error::NotFound`]; those of opening the image.
    pub fn open(&self, name: &str) -> Result<Arc<Disk>> {
        let missing = || Error::NotFound { what: "image", name: name.to_owned() };
        if let Some(store) = &self.all {
            // A short id would do for the command, but is no name.
            let parsed: RefName = name.parse().map_err(|_| missing())?;
            let id = store.shared.reference(&parsed)?.image;
            return self.disk(parsed.to_string(), store, id);
        }
        let only = if name.is_empty() && self.chosen.len() == 1 { self.chosen.first() } else { None };
        let (entry, store) = only
            .or_else(|| self.chosen.iter().find(|(entry, _)| entry.is_named(name)))
            .ok_or_else(missing)?;
        self.disk(entry.full_name(), store, entry.image)
    }

    fn disk(&self, name: String, store: &Store, id: Digest) -> Result<Arc<Disk>> {
        let open = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(disk) = open().get(&id).and_then(Weak::upgrade) {
            return Ok(disk);
        }
        // Opened without the lock: another may be first, and then theirs is taken.
        let disk = Arc::new(Disk::open(name, store, store.image_by_id(id)?, self.counters.clone())?);
        let mut open = open();
        if open.len() >= OPEN_SWEEP {
            open.retain(|_, disk| disk.strong_count() > 0);
        }
        if let Some(first) = open.get(&id).and_then(Weak::upgrade) {
            return Ok(first);
        }
        open.insert(id, Arc::downgrade(&disk));
        Ok(disk)
    }

    /// What all disks together have served.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}
