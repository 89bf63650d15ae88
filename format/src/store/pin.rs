//! Objects held open, so that they remain readable after removal.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::names;
use super::objects::Objects;
use super::reader::Reader;
use super::record::Record;
use crate::error::Result;
use crate::storage::ObjectName;

/// Holds open all objects that an image needs: about one descriptor per 64 MiB stored. Images that need
/// the same object share it.
#[derive(Debug)]
pub struct Pin {
    objects: Arc<Objects>,
    names: BTreeSet<ObjectName>,
}

impl Pin {
    /// Holds open all objects that reading the image of `record` may need.
    ///
    /// # Errors
    /// Damage of a list's locator; missing objects.
    pub(crate) fn of(reader: &Reader, record: &Record) -> Result<Self> {
        let mut pin = Self { objects: reader.objects.clone(), names: BTreeSet::new() };
        // A bundle is one file, which is already open.
        if reader.is_bundle() {
            return Ok(pin);
        }
        pin.object(names::manifest(&record.id))?;
        for file in &record.places.files {
            pin.object(names::page_file(file))?;
        }
        for used in &record.manifest.lists {
            pin.object(names::list(&used.id))?;
            pin.object(names::locator(&used.id))?;
            let list = reader.list(&used.id, Some(used.shape))?;
            for pack in &list.locator()?.root.packs {
                pin.object(names::pack(pack))?;
            }
        }
        Ok(pin)
    }

    fn object(&mut self, name: ObjectName) -> Result<()> {
        if !self.names.contains(&name) {
            self.objects.pin(&name)?;
            self.names.insert(name);
        }
        Ok(())
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.names.iter().for_each(|name| self.objects.unpin(name));
    }
}
