//! References: names of images, each a record of its own that changes in one step.

use super::journal::recover;
use super::names::{self, ImageRef, RefName, is_short_id};
use super::open::{Shared, Store, read_object};
use super::stage::Stage;
use crate::digest::Digest;
use crate::error::{Candidate, Error, Result, StoreError};
use crate::limits::NAME_LEN_MAX;
use crate::ondisk::reference::{Reference, is_name};

const REFERENCE_LEN_MAX: u64 = 256 + 2 * NAME_LEN_MAX as u64;
/// Images that a short id fits are told up to so many.
const CANDIDATES_MAX: usize = 16;

/// A name and the image that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedImage {
    /// The name.
    pub name: RefName,
    /// The image.
    pub image: Digest,
    /// When the image came into the store under its first name, in seconds since 1970 UTC: a name given by
    /// [`Store::tag`] has the time of the name that it was made from.
    pub created_seconds: u64,
}

impl Shared {
    pub(crate) fn reference(&self, name: &RefName) -> Result<Reference> {
        let object = name.object();
        let bytes = match read_object(self.storage.as_ref(), &object, REFERENCE_LEN_MAX) {
            Err(error) if error.is_not_found() => {
                return Err(StoreError::NotFound { what: "image", name: name.to_string() }.into());
            }
            other => other?,
        };
        Reference::decode(&bytes, &name.to_string()).map_err(|fault| StoreError::corrupt(object, 0, fault))
    }

    /// The ids of all images, named or not.
    pub(crate) fn image_ids(&self) -> Result<Vec<Digest>> {
        let listed = self.storage.list(names::MANIFESTS);
        let listed = listed.map_err(|error| Error::io("list", names::MANIFESTS, error))?;
        Ok(listed.iter().filter_map(|object| names::digest_of(&object.name)).collect())
    }
}

/// All names that have a record. Objects beside them that are no records are passed over.
pub(crate) fn reference_names(shared: &Shared) -> Result<Vec<RefName>> {
    let listed = shared.storage.list(names::REFS).map_err(|error| Error::io("list", names::REFS, error))?;
    Ok(listed.iter().filter_map(|object| RefName::from_object(&object.name)).collect())
}

impl Store {
    /// The image id that `reference` stands for: an exact name first, then a short id. A name costs one
    /// read; a short id a listing of all images.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Ambiguous`], or damage of the record.
    pub fn resolve(&self, reference: &ImageRef) -> Result<Digest> {
        match reference {
            ImageRef::Id(id) => Ok(*id),
            ImageRef::ShortId(digits) => {
                let missing = Error::from(StoreError::NotFound { what: "image", name: format!("@{digits}") });
                self.by_short_id(digits, missing)
            }
            ImageRef::Name(name) => match self.shared.reference(name) {
                Ok(reference) => Ok(reference.image),
                Err(missing)
                    if missing.is_not_found() && is_short_id(name.name()) && name.tag() == "latest" =>
                {
                    self.by_short_id(name.name(), missing)
                }
                Err(error) => Err(error),
            },
        }
    }

    fn by_short_id(&self, digits: &str, missing: Error) -> Result<Digest> {
        let mut fitting = self.shared.image_ids()?;
        fitting.retain(|id| id.to_string().starts_with(digits));
        match fitting.as_slice() {
            [] => Err(missing),
            [only] => Ok(*only),
            several => {
                let count = several.len();
                fitting.sort_unstable();
                fitting.truncate(CANDIDATES_MAX);
                let candidates = self.candidates(&fitting);
                Err(StoreError::Ambiguous { prefix: digits.into(), count, candidates }.into())
            }
        }
    }

    /// The image that has exactly this name: one record is read, however many names there are.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or damage of the record.
    pub fn named(&self, name: &RefName) -> Result<NamedImage> {
        let reference = self.shared.reference(name)?;
        Ok(NamedImage {
            name: name.clone(),
            image: reference.image,
            created_seconds: reference.created_seconds,
        })
    }

    /// The images with their names, as far as those can be read.
    fn candidates(&self, images: &[Digest]) -> Vec<Candidate> {
        let named = self.references().unwrap_or_default();
        let names_of = |image: &Digest| {
            let named = named.iter().filter_map(|(_, named)| named.as_ref().ok());
            named.filter(|named| named.image == *image).map(|named| named.name.to_string()).collect()
        };
        images.iter().map(|image| Candidate { image: *image, names: names_of(image) }).collect()
    }

    /// All names, in ascending order, each with what became of reading its record.
    ///
    /// # Errors
    /// When the names cannot be listed, and [`StoreError::NoStore`] where the store is not there any more.
    pub fn references(&self) -> Result<Vec<(RefName, Result<NamedImage>)>> {
        let found = self.read_references(reference_names(&self.shared)?);
        // A store without names and one that was erased look alike.
        if found.is_empty() {
            self.shared.check_is_there()?;
        }
        Ok(found)
    }

    /// The names that are `name` with any tag, as [`Store::references`] gives them: only those are
    /// listed and read.
    ///
    /// # Errors
    /// As [`Store::references`].
    pub fn references_of(&self, name: &str) -> Result<Vec<(RefName, Result<NamedImage>)>> {
        let found = self.read_references(self.tags_of(name)?);
        if found.is_empty() {
            self.shared.check_is_there()?;
        }
        Ok(found)
    }

    /// All names that are `name` with any tag; their records are not read.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn tags_of(&self, name: &str) -> Result<Vec<RefName>> {
        if !is_name(name) {
            return Ok(Vec::new());
        }
        let folder = format!("{}/{name}", names::REFS);
        let listed = self.shared.storage.list(&folder).map_err(|error| Error::io("list", folder, error))?;
        Ok(listed.iter().filter_map(|object| RefName::from_object(&object.name)).collect())
    }

    fn read_references(&self, names: Vec<RefName>) -> Vec<(RefName, Result<NamedImage>)> {
        let read = |name: RefName| match self.named(&name) {
            // Removed since the listing.
            Err(error) if error.is_not_found() => None,
            named => Some((name, named)),
        };
        let mut found: Vec<_> = names.into_iter().filter_map(read).collect();
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found
    }

    /// Gives an image one more name, with the time of the name that `image` is; of an image that is given by
    /// its id, with the time of its oldest name.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where the name is taken and `replace` is not set, [`StoreError::NotFound`]
    /// where there is no such image.
    pub fn tag(&self, image: &ImageRef, name: &RefName, replace: bool) -> Result<Digest> {
        let stage = Stage::begin(&self.shared)?;
        let (id, created_seconds) = self.resolve_with_time(image)?;
        stage.commit_reference(id, name, replace, created_seconds)?;
        Ok(id)
    }

    /// As [`Store::resolve`], with the time of the name; `None` where the image has none.
    fn resolve_with_time(&self, image: &ImageRef) -> Result<(Digest, Option<u64>)> {
        if let ImageRef::Name(name) = image
            && let Ok(reference) = self.shared.reference(name)
        {
            return Ok((reference.image, Some(reference.created_seconds)));
        }
        let id = self.resolve(image)?;
        let named = self.references()?.into_iter().filter_map(|(_, named)| named.ok());
        Ok((id, named.filter(|named| named.image == id).map(|named| named.created_seconds).min()))
    }

    /// Takes a name away. What no image uses any more is freed by a later collection.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such name; [`StoreError::OutcomeUnknown`] where it is gone and a
    /// loss of power may bring it back.
    pub fn remove(&self, name: &RefName) -> Result<()> {
        self.untag(name).map(drop)
    }

    /// As [`Store::remove`]; gives the image that had the name, where the name's record could be read.
    ///
    /// # Errors
    /// As [`Store::remove`].
    pub fn untag(&self, name: &RefName) -> Result<Option<Digest>> {
        self.shared.check_writable()?;
        let _lock = self.shared.lock()?;
        recover(&self.shared)?;
        let image = match self.shared.reference(name) {
            Ok(reference) => Some(reference.image),
            Err(error) if error.is_not_found() => return Err(error),
            // A damaged record can be removed like any other: that is how it is got rid of.
            Err(_) => None,
        };
        let object = name.object();
        let removed = self.shared.storage.remove(std::slice::from_ref(&object));
        removed.map_err(|error| {
            self.shared.poison();
            if self.shared.reference(name).is_err_and(|error| error.is_not_found()) {
                return Error::from(StoreError::OutcomeUnknown {
                    what: "name",
                    name: name.to_string(),
                    source: error,
                });
            }
            Error::io("remove", object, error)
        })?;
        Ok(image)
    }
}
