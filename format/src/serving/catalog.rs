//! Which disks there are, by name.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::counters::Counters;
use super::disk::Disk;
use crate::digest::Digest;
use crate::error::{Error, Result, StoreError};
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
    /// By name and tag.
    chosen: BTreeMap<(String, String), (Entry, Store)>,
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

    fn of(named: NamedImage) -> Self {
        Self {
            name: named.name.name().to_owned(),
            tag: named.name.tag().to_owned(),
            image: named.image,
            created_seconds: Some(named.created_seconds),
        }
    }
}

impl Catalog {
    /// All images of `store` that have a name: also those that get one later.
    #[must_use]
    pub fn all(store: Store) -> Self {
        Self { all: Some(store), chosen: BTreeMap::new(), counters: Arc::default(), open: Mutex::default() }
    }

    /// None; [`Catalog::add`] brings some.
    #[must_use]
    pub fn of_chosen() -> Self {
        Self { all: None, chosen: BTreeMap::new(), counters: Arc::default(), open: Mutex::default() }
    }

    /// Serves `image` of `store`, which stays the one that it is whatever becomes of the name. It takes
    /// the place of one with the same name.
    pub fn add(&mut self, name: Option<&RefName>, store: &Store, image: &Image) {
        let (name, tag) = match name {
            Some(name) => (name.name().to_owned(), name.tag().to_owned()),
            None => (format!("@{}", image.id()), "latest".to_owned()),
        };
        let key = (name.clone(), tag.clone());
        let entry = Entry { name, tag, image: image.id(), created_seconds: None };
        self.chosen.insert(key, (entry, store.clone()));
    }

    /// All that is served, in ascending order of names. Names whose record is damaged are left out.
    /// Every record is read.
    ///
    /// # Errors
    /// When the names cannot be listed.
    pub fn list(&self) -> Result<Vec<Entry>> {
        match &self.all {
            Some(store) => Ok(readable(store.references()?)),
            None => Ok(self.chosen.values().map(|(entry, _)| entry.clone()).collect()),
        }
    }

    /// As [`Catalog::list`], but of the entries called `name`; no other record is looked at.
    ///
    /// # Errors
    /// When the names cannot be listed.
    pub fn list_of(&self, name: &str) -> Result<Vec<Entry>> {
        match &self.all {
            Some(store) => Ok(readable(store.references_of(name)?)),
            None => Ok(self.chosen_of(name).cloned().collect()),
        }
    }

    /// A tag that `name` has; `known` where that is one, which costs one look at the store. Whether the
    /// record can be read is not asked.
    ///
    /// # Errors
    /// When the names cannot be listed.
    pub fn tag_of(&self, name: &str, known: Option<&str>) -> Result<Option<String>> {
        let Some(store) = &self.all else {
            return Ok(self.chosen_of(name).next().map(|entry| entry.tag.clone()));
        };
        if let Some(tag) = known
            && let Ok(known) = format!("{name}:{tag}").parse::<RefName>()
            && !store.named(&known).is_err_and(|error| error.is_not_found())
        {
            return Ok(Some(tag.to_owned()));
        }
        let tag = store.tags_of(name)?.first().map(|name| name.tag().to_owned());
        if tag.is_none() {
            store.shared.check_is_there()?;
        }
        Ok(tag)
    }

    fn chosen_of(&self, name: &str) -> impl Iterator<Item = &Entry> {
        let from = (name.to_owned(), String::new());
        self.chosen.range(from..).map(|(_, (entry, _))| entry).take_while(move |entry| entry.name == name)
    }

    /// The entry called `name`, and its store: see [`Catalog::open`]. One record is read.
    fn find(&self, name: &str) -> Result<(Entry, &Store)> {
        let missing = || Error::from(StoreError::NotFound { what: "image", name: name.to_owned() });
        if let Some(store) = &self.all {
            // A short id would do for the command, but is no name.
            let parsed: RefName = name.parse().map_err(|_| missing())?;
            return Ok((Entry::of(store.named(&parsed)?), store));
        }
        let found = if name.is_empty() && self.chosen.len() == 1 {
            self.chosen.values().next()
        } else {
            let (name, tag) = name.split_once(':').unwrap_or((name, "latest"));
            self.chosen.get(&(name.to_owned(), tag.to_owned()))
        };
        let (entry, store) = found.ok_or_else(missing)?;
        Ok((entry.clone(), store))
    }

    /// The entry called `name`, as [`Catalog::open`] takes it, and its image, which is not held for being
    /// read: two records are read and nothing else.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; damage of the records.
    pub fn image(&self, name: &str) -> Result<(Entry, Image)> {
        let (entry, store) = self.find(name)?;
        let image = store.image_by_id(entry.image)?;
        Ok((entry, image))
    }

    /// The disk called `name`: `NAME:TAG`, or `NAME` for `NAME:latest`; the empty name is the only one
    /// that is served. All who ask for one image get the same disk.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; those of opening the image.
    pub fn open(&self, name: &str) -> Result<Arc<Disk>> {
        let (entry, store) = self.find(name)?;
        self.disk(entry.full_name(), store, entry.image)
    }

    /// The disk of an image that somebody has open, whatever became of its names.
    #[must_use]
    pub fn opened(&self, image: &Digest) -> Option<Arc<Disk>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(image).and_then(Weak::upgrade)
    }

    fn disk(&self, name: String, store: &Store, id: Digest) -> Result<Arc<Disk>> {
        if let Some(disk) = self.opened(&id) {
            return Ok(disk);
        }
        // Opened without the lock: another may be first, and then theirs is taken.
        let disk = Arc::new(Disk::open(name, store, store.image_by_id(id)?, self.counters.clone())?);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
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

/// The entries whose record can be read.
fn readable(references: Vec<(RefName, Result<NamedImage>)>) -> Vec<Entry> {
    references.into_iter().filter_map(|(_, named)| named.ok().map(Entry::of)).collect()
}
