//! The read side that stores and bundles have in common.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::list::List;
use super::lists::Lists;
use super::names::{self, RefName};
use super::objects::{Objects, read_object};
use super::record::Record;
use super::scrub;
use crate::cache::Cache;
use crate::digest::{ImageId, ListId};
use crate::error::{Error, Result, StoreError};
use crate::limits::NAME_LEN_MAX;
use crate::ondisk::list::ListShape;
use crate::ondisk::reference::Reference;
use crate::storage::ObjectSource;

const REFERENCE_LEN_MAX: u64 = 256 + 2 * NAME_LEN_MAX as u64;

/// The thoroughness of checks on frames before their bytes are returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VerifyMode {
    /// Checks the stored bytes against their guard, and all of the decoder's rules: finds accidental
    /// damage.
    #[default]
    Guard,
    /// Also checks the decoded blocks against the chunk id: detects forgery too.
    Full,
}

/// The images of a bundle's base that the bundle needs.
#[derive(Debug)]
pub(crate) struct Base {
    pub reader: Arc<Reader>,
    pub records: Arc<[Record]>,
}

/// Reads records, lists and frames, through the cache.
#[derive(Debug)]
pub(crate) struct Reader {
    pub objects: Arc<Objects>,
    pub lists: Arc<Lists>,
    pub verify: VerifyMode,
    /// Whether whole-chunk reads also fill the cache.
    pub keep_whole_chunks: bool,
    /// The reader's number within its cache.
    pub number: NonZeroU32,
    /// `None` for a store, and for a bundle that needs no base.
    pub base: Option<Base>,
}

impl Reader {
    /// Begins with no open lists.
    pub fn new(objects: Objects, verify: VerifyMode, keep_whole_chunks: bool, base: Option<Base>) -> Self {
        let objects = Arc::new(objects);
        let lists = Arc::new(Lists::new(objects.clone()));
        let number = objects.cache.new_store_number();
        Self { objects, lists, verify, keep_whole_chunks, number, base }
    }

    /// Returns the source of all objects.
    pub fn source(&self) -> &Arc<dyn ObjectSource> {
        self.objects.source()
    }

    /// Returns the cache.
    pub fn cache(&self) -> &Cache {
        &self.objects.cache
    }

    /// Whether this reads a bundle.
    pub fn is_bundle(&self) -> bool {
        self.objects.is_bundle
    }

    /// Returns the records of the bases; none for a store.
    pub fn base_records(&self) -> Option<&Arc<[Record]>> {
        self.base.as_ref().map(|base| &base.records)
    }

    /// Returns list `id`. `shape` is a manifest's claim about it, if available.
    pub fn list(&self, id: &ListId, shape: Option<ListShape>) -> Result<Arc<List>> {
        self.lists.get(id, shape)
    }

    /// Opens the record of image `id` with at most two reads.
    pub fn record(&self, id: ImageId) -> Result<Record> {
        Record::open(&self.objects, &self.lists, self.base_records(), id)
    }

    /// Fails unless the record of image `id` and its page files are sound. The roots of its lists and of
    /// their locators must be readable too.
    pub fn check_record(&self, id: ImageId) -> Result<()> {
        let record = self.record(id)?;
        record.span_root()?;
        for file in &record.places.files {
            let name = names::page_file(file);
            scrub::check_page_file(scrub::open_anew(self.source().as_ref(), &name)?.as_ref(), &name)?;
        }
        record.manifest.lists.iter().try_for_each(|list| List::check(&self.objects, &list.id))
    }

    /// Reads the reference of a name.
    pub fn reference(&self, name: &RefName) -> Result<Reference> {
        let object = name.object();
        let bytes = match read_object(self.source().as_ref(), &object, REFERENCE_LEN_MAX) {
            Err(error) if error.is_not_found() => {
                return Err(StoreError::NotFound { what: "image", name: name.to_string() }.into());
            }
            other => other?,
        };
        Reference::decode(&bytes, &name.to_string()).map_err(|fault| StoreError::corrupt(object, 0, fault))
    }

    /// Returns all names that have a record. Skips other objects.
    pub fn reference_names(&self) -> Result<Vec<RefName>> {
        let listed = self.source().list(names::REFS);
        let listed = listed.map_err(|error| Error::io("list", names::REFS, error))?;
        Ok(listed.iter().filter_map(|object| RefName::from_object(&object.name)).collect())
    }

    /// Returns the ids of all images, named or not.
    pub fn image_ids(&self) -> Result<Vec<ImageId>> {
        let listed = self.source().list(names::MANIFESTS);
        let listed = listed.map_err(|error| Error::io("list", names::MANIFESTS, error))?;
        Ok(listed.iter().filter_map(|object| names::digest_of(&object.name).map(ImageId::new)).collect())
    }
}
