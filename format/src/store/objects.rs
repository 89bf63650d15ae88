//! The objects of a store or bundle: opened on first use, kept open within bounds, and held open while an
//! image is served.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::names;
use crate::cache::Cache;
use crate::error::{Error, Result, StoreError};
use crate::fault::RuleViolation;
use crate::storage::{ObjectName, ObjectSource, ReadAt};

/// Packs and page files kept open, so that a store of thousands of packs needs few descriptors.
const OPEN_OBJECTS_MAX: usize = 256;

/// An object held open, and its number of users.
type Pinned = (Arc<dyn ReadAt>, usize);

/// A source of objects, those of its objects that are open, and the cache of decoded pages and chunks.
#[derive(Debug)]
pub(crate) struct Objects {
    source: Arc<dyn ObjectSource>,
    pub cache: Cache,
    /// Whether the source is a bundle: its objects never change, and it may hold a part of an object.
    pub is_bundle: bool,
    open: Mutex<HashMap<String, Arc<dyn ReadAt>>>,
    /// Objects of images being served.
    pinned: Mutex<HashMap<ObjectName, Pinned>>,
}

impl Objects {
    /// Begins with no open objects.
    pub fn new(source: Arc<dyn ObjectSource>, cache: Cache, is_bundle: bool) -> Self {
        Self { source, cache, is_bundle, open: Mutex::default(), pinned: Mutex::default() }
    }

    /// Returns the source, whose objects this opens.
    pub fn source(&self) -> &Arc<dyn ObjectSource> {
        &self.source
    }

    /// Fails unless the store's header still exists.
    pub fn check_is_there(&self) -> Result<()> {
        match self.source.open(&names::STORE) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::NoStore { path: self.source.place() }.into())
            }
            Err(error) => Err(StoreError::unopened(&names::STORE, error)),
        }
    }

    /// Opens an object for reading, or returns it if it is open.
    pub fn open(&self, name: &ObjectName) -> Result<Arc<dyn ReadAt>> {
        self.open_checked(name, 0, |_| Ok(()))
    }

    /// Opens an object for reading, or returns it if it is open. Checks its first `head_len` bytes when
    /// opening it.
    pub fn open_checked(
        &self,
        name: &ObjectName,
        head_len: u64,
        check: impl FnOnce(&[u8]) -> std::result::Result<(), RuleViolation>,
    ) -> Result<Arc<dyn ReadAt>> {
        if let Some(object) = self.kept(name) {
            return Ok(object);
        }
        let object = self.open_anew(name)?;
        if head_len > 0 {
            let head = read_range(object.as_ref(), name, 0, head_len)?;
            check(&head).map_err(|fault| StoreError::corrupt(name, 0, fault))?;
        }
        self.keep(name, object.clone());
        Ok(object)
    }

    /// Opens an object in its current state. Another object refers to this one, so its absence is damage.
    pub fn open_anew(&self, name: &ObjectName) -> Result<Arc<dyn ReadAt>> {
        self.source.open(name).or_else(|error| match (error.kind(), self.pinned(name)) {
            // Removed while being served.
            (io::ErrorKind::NotFound, Some(object)) => Ok(object),
            (io::ErrorKind::NotFound, None) => Err(StoreError::corrupt(name, 0, RuleViolation::Missing)),
            _ => Err(StoreError::unopened(name, error)),
        })
    }

    /// Returns an object if it is open.
    pub fn kept(&self, key: &str) -> Option<Arc<dyn ReadAt>> {
        self.opened().get(key).cloned()
    }

    /// Keeps an object open under `key`: its name, or one that no object has.
    pub fn keep(&self, key: &str, object: Arc<dyn ReadAt>) {
        let mut open = self.opened();
        if open.len() >= OPEN_OBJECTS_MAX {
            // The choice hardly matters: this keeps descriptors, not content.
            let mut keep = false;
            open.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        open.insert(key.to_owned(), object);
    }

    /// Closes an object that may have been replaced.
    pub fn forget(&self, key: &str) {
        self.opened().remove(key);
    }

    fn pinned(&self, name: &ObjectName) -> Option<Arc<dyn ReadAt>> {
        self.pins().get(name).map(|(object, _)| object.clone())
    }

    /// Holds an object open until a matching call of [`Objects::unpin`].
    pub fn pin(&self, name: &ObjectName) -> Result<()> {
        if let Some((_, users)) = self.pins().get_mut(name) {
            *users += 1;
            return Ok(());
        }
        // Open replaceable objects anew, to pin their current state.
        let never_moved = [names::PACKS, names::PAGES].iter().any(|folder| name.starts_with(folder));
        let object = if never_moved { self.open(name)? } else { self.open_anew(name)? };
        self.pins().entry(name.clone()).or_insert((object, 0)).1 += 1;
        Ok(())
    }

    /// Reverts one [`Objects::pin`].
    pub fn unpin(&self, name: &ObjectName) {
        let mut pins = self.pins();
        if let Some((_, users)) = pins.get_mut(name) {
            *users -= 1;
            if *users == 0 {
                pins.remove(name);
            }
        }
    }

    fn pins(&self) -> MutexGuard<'_, HashMap<ObjectName, Pinned>> {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<String, Arc<dyn ReadAt>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a small object whole.
pub(crate) fn read_object(source: &dyn ObjectSource, name: &ObjectName, len_max: u64) -> Result<Bytes> {
    let object = source.open(name).map_err(|error| StoreError::unopened(name, error))?;
    if object.len() > len_max {
        let fault = RuleViolation::Limit { what: "object length", found: object.len(), max: len_max };
        return Err(StoreError::corrupt(name, 0, fault));
    }
    read_range(object.as_ref(), name, 0, object.len())
}

/// Reads a range of an object, and checks that the object is long enough.
pub(crate) fn read_range(object: &dyn ReadAt, name: &str, offset: u64, len: u64) -> Result<Bytes> {
    let needed = offset.saturating_add(len);
    if needed > object.len() {
        return Err(StoreError::corrupt(
            name,
            offset,
            RuleViolation::Truncated { needed, found: object.len() },
        ));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    object
        .read_exact_at(&mut bytes, offset)
        .map_err(|error| Error::io("read", format!("{name} at byte {offset}"), error))?;
    Ok(bytes.into())
}
