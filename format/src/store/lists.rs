//! The lists of a store or bundle, opened on first use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::list::List;
use super::names;
use super::objects::Objects;
use crate::digest::ListId;
use crate::error::Result;
use crate::ondisk::list::ListShape;

/// The open lists, by id.
#[derive(Debug)]
pub(crate) struct Lists {
    objects: Arc<Objects>,
    open: Mutex<HashMap<ListId, Arc<List>>>,
}

impl Lists {
    /// Begins with no open lists.
    pub fn new(objects: Arc<Objects>) -> Self {
        Self { objects, open: Mutex::default() }
    }

    /// Returns list `id`. `shape` is a manifest's claim about it, if available.
    pub fn get(&self, id: &ListId, shape: Option<ListShape>) -> Result<Arc<List>> {
        let known = self.open().get(id).cloned();
        match known {
            Some(list) if list.is_proved() => {
                list.check_shape(shape)?;
                return Ok(list);
            }
            // The shape is only a manifest's claim so far; the root settles a differing claim.
            Some(list) if shape == Some(list.shape) => return Ok(list),
            Some(_) => {
                let list = Arc::new(List::open(&self.objects, *id, None)?);
                self.open().insert(*id, list.clone());
                list.check_shape(shape)?;
                return Ok(list);
            }
            None => {}
        }
        let list = Arc::new(List::open(&self.objects, *id, shape)?);
        Ok(self.open().entry(*id).or_insert(list).clone())
    }

    /// Drops all lists, so that later reads see their current state.
    pub fn forget_all(&self) {
        let known: Vec<ListId> = self.open().keys().copied().collect();
        known.iter().for_each(|id| self.forget(id));
    }

    /// Drops a list that may have been replaced by a fuller one.
    pub fn forget(&self, id: &ListId) {
        self.open().remove(id);
        self.objects.forget(&names::list(id));
    }

    fn open(&self) -> MutexGuard<'_, HashMap<ListId, Arc<List>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
