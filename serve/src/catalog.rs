//! The catalog of served disks, by name.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::counters::Counters;
use super::disk::ServedDisk;
use melv_block::{Error, Result};
use melv_format::{Image, ImageId, Images, NamedImage, RefName, StoreError};

/// The number of disk entries at which unused ones are swept.
const OPEN_SWEEP: usize = 64;

/// A served image and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogEntry {
    /// The name without its tag; `@` and the image id for an image chosen by id.
    pub name: String,
    /// The tag.
    pub tag: String,
    /// The image.
    pub image: ImageId,
    /// The time the name was given, in seconds since 1970 UTC, if known.
    pub created_seconds: Option<u64>,
}

/// The disks that a process serves: all images of a store, always current, or a chosen set.
#[derive(Debug)]
pub struct Catalog {
    /// The store that is served in full.
    all: Option<Images>,
    /// The chosen images, by name and tag.
    chosen: BTreeMap<(String, String), (CatalogEntry, Images)>,
    counters: Arc<Counters>,
    /// The open disks, by image.
    open: Mutex<HashMap<ImageId, Weak<ServedDisk>>>,
}

impl CatalogEntry {
    /// Returns the name that identifies exactly this entry.
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
    /// Creates a catalog of all named images of `store`, including images named later.
    #[must_use]
    pub fn all(images: impl Into<Images>) -> Self {
        let store = images.into();
        Self { all: Some(store), chosen: BTreeMap::new(), counters: Arc::default(), open: Mutex::default() }
    }

    /// Creates an empty catalog, to be filled by [`Catalog::add`].
    #[must_use]
    pub fn empty() -> Self {
        Self { all: None, chosen: BTreeMap::new(), counters: Arc::default(), open: Mutex::default() }
    }

    /// Serves `image` of `store`, even if its name later moves to another image. Replaces any entry with the
    /// same name.
    pub fn add(&mut self, name: Option<&RefName>, store: &Images, image: &Image) {
        let (name, tag) = match name {
            Some(name) => (name.name().to_owned(), name.tag().to_owned()),
            None => (format!("@{}", image.id()), "latest".to_owned()),
        };
        let key = (name.clone(), tag.clone());
        let entry = CatalogEntry { name, tag, image: image.id(), created_seconds: None };
        self.chosen.insert(key, (entry, store.clone()));
    }

    /// Returns all entries in ascending order of names, reading every record. Names with a damaged record are
    /// left out.
    ///
    /// # Errors
    /// Fails if the names cannot be listed.
    pub fn list(&self) -> Result<Vec<CatalogEntry>> {
        match &self.all {
            Some(store) => Ok(readable(store.names()?)),
            None => Ok(self.chosen.values().map(|(entry, _)| entry.clone()).collect()),
        }
    }

    /// Like [`Catalog::list`], but only for the entries called `name`; no other record is read.
    ///
    /// # Errors
    /// Fails if the names cannot be listed.
    pub fn list_of(&self, name: &str) -> Result<Vec<CatalogEntry>> {
        match &self.all {
            Some(store) => Ok(readable(store.references_of(name)?)),
            None => Ok(self.chosen_of(name).cloned().collect()),
        }
    }

    /// Returns a tag of `name`: `known` if it is one, at the cost of a single lookup. The record may be
    /// unreadable.
    ///
    /// # Errors
    /// Fails if the names cannot be listed.
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
            store.check_exists()?;
        }
        Ok(tag)
    }

    fn chosen_of(&self, name: &str) -> impl Iterator<Item = &CatalogEntry> {
        let from = (name.to_owned(), String::new());
        self.chosen.range(from..).map(|(_, (entry, _))| entry).take_while(move |entry| entry.name == name)
    }

    /// Finds the entry called `name` and its store, as in [`Catalog::open`]. One record is read.
    fn find(&self, name: &str) -> Result<(CatalogEntry, &Images)> {
        let missing = || Error::from(StoreError::NotFound { what: "image", name: name.to_owned() });
        if let Some(store) = &self.all {
            // The command line accepts a short id, but it is not a name.
            let parsed: RefName = name.parse().map_err(|_| missing())?;
            return Ok((CatalogEntry::of(store.named(&parsed)?), store));
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

    /// Returns the entry called `name`, as in [`Catalog::open`], and its image. Only two records are read,
    /// and the image is not pinned.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; damage of the records.
    pub fn image(&self, name: &str) -> Result<(CatalogEntry, Image)> {
        let (entry, store) = self.find(name)?;
        let image = store.image_by_id(entry.image)?;
        Ok((entry, image))
    }

    /// Opens the disk called `name`: `NAME:TAG`, or `NAME` for `NAME:latest`. The empty name means the only
    /// chosen image. All callers share one disk per image.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; any error from opening the image.
    pub fn open(&self, name: &str) -> Result<Arc<ServedDisk>> {
        let (entry, store) = self.find(name)?;
        self.disk(entry.full_name(), store, entry.image)
    }

    /// Returns the disk of an image that is already open, even if its names have changed.
    #[must_use]
    pub fn opened(&self, image: &ImageId) -> Option<Arc<ServedDisk>> {
        self.lock().get(image).and_then(Weak::upgrade)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ImageId, Weak<ServedDisk>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disk(&self, name: String, store: &Images, id: ImageId) -> Result<Arc<ServedDisk>> {
        if let Some(disk) = self.opened(&id) {
            return Ok(disk);
        }
        // Opened without the lock; if another thread is faster, its disk is used.
        let disk = Arc::new(ServedDisk::open(name, store, store.image_by_id(id)?, self.counters.clone())?);
        let mut open = self.lock();
        if open.len() >= OPEN_SWEEP {
            open.retain(|_, disk| disk.strong_count() > 0);
        }
        if let Some(first) = open.get(&id).and_then(Weak::upgrade) {
            return Ok(first);
        }
        open.insert(id, Arc::downgrade(&disk));
        Ok(disk)
    }

    /// Returns the counters of all disks together.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

/// Returns the entries with a readable record.
fn readable(references: Vec<(RefName, Result<NamedImage>)>) -> Vec<CatalogEntry> {
    references.into_iter().filter_map(|(_, named)| named.ok().map(CatalogEntry::of)).collect()
}
