//! Objects that are held open, so that they can be read after they were removed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::names;
use super::open::Shared;
use super::record::Record;
use crate::error::Result;

/// What an image needs of its store, held open for as long as this lives: about one descriptor for 64 MiB
/// stored, shared by all images that need the same object.
#[derive(Debug)]
pub struct Pin {
    shared: Arc<Shared>,
    names: BTreeSet<String>,
}

impl Pin {
    /// Holds open all objects that reading the image of `record` may need.
    ///
    /// # Errors
    /// Damage of a list's locator; objects that are missing.
    pub(crate) fn of(shared: &Arc<Shared>, record: &Record) -> Result<Self> {
        let mut pin = Self { shared: shared.clone(), names: BTreeSet::new() };
        // What a bundle holds is in one file, which is open already.
        if shared.bundle.is_some() {
            return Ok(pin);
        }
        pin.object(names::object(names::MANIFESTS, &record.id))?;
        for file in &record.places.files {
            pin.object(names::object(names::PAGES, file))?;
        }
        for used in &record.manifest.lists {
            pin.object(names::object(names::LISTS, &used.id))?;
            pin.object(names::object(names::LOCATORS, &used.id))?;
            let list = shared.list(&used.id, Some(used.shape))?;
            for pack in &list.locator()?.root.packs {
                pin.object(names::object(names::PACKS, pack))?;
            }
        }
        Ok(pin)
    }

    fn object(&mut self, name: String) -> Result<()> {
        if !self.names.contains(&name) {
            self.shared.pin_object(&name)?;
            self.names.insert(name);
        }
        Ok(())
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.names.iter().for_each(|name| self.shared.unpin_object(name));
    }
}
