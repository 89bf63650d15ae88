//! The images of a store or a bundle, for reading.

use std::sync::Arc;

use super::reader::Reader;
use crate::cache::Cache;
use crate::error::Result;
use crate::storage::ObjectSource;

/// The images of a [`Store`](crate::Store) or a [`Bundle`](crate::Bundle), for reading. Clones are handles
/// of the same images. All methods are thread-safe.
#[derive(Debug, Clone)]
pub struct Images {
    reader: Arc<Reader>,
}

impl Images {
    pub(crate) fn new(reader: Arc<Reader>) -> Self {
        Self { reader }
    }

    pub(crate) fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    /// Returns the source of the objects behind the images.
    #[must_use]
    pub fn source(&self) -> &Arc<dyn ObjectSource> {
        self.reader.source()
    }

    /// Returns the cache that the images use.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        self.reader.cache()
    }

    /// Checks that the header of the store still exists.
    ///
    /// # Errors
    /// [`StoreError::NoStore`](crate::StoreError::NoStore); an I/O error.
    pub fn check_exists(&self) -> Result<()> {
        self.reader.objects.check_is_there()
    }
}
