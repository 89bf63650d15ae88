//! References: names of images, each in its own record that changes atomically.

use super::journal::recover;
use super::names::{self, ImageRef, RefName, is_short_id};
use super::open::{Shared, Store, read_object};
use super::stage::Stage;
use crate::digest::Digest;
use crate::error::{Candidate, Error, Result, StoreError};
use crate::limits::NAME_LEN_MAX;
use crate::ondisk::reference::{Reference, is_name};

const REFERENCE_LEN_MAX: u64 = 256 + 2 * NAME_LEN_MAX as u64;
/// The maximum number of images listed for an ambiguous short id.
const CANDIDATES_MAX: usize = 16;

/// A name and its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedImage {
    /// The name.
    pub name: RefName,
    /// The image.
    pub image: Digest,
    /// The time at which the image entered the store under its first name, in seconds since 1970 UTC. A
    /// name given by [`Store::tag`] copies the time of its source name.
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

    /// Returns the ids of all images, named or not.
    pub(crate) fn image_ids(&self) -> Result<Vec<Digest>> {
        let listed = self.storage.list(names::MANIFESTS);
        let listed = listed.map_err(|error| Error::io("list", names::MANIFESTS, error))?;
        Ok(listed.iter().filter_map(|object| names::digest_of(&object.name)).collect())
    }
}

/// Returns all names that have a record. Skips other objects.
pub(crate) fn reference_names(shared: &Shared) -> Result<Vec<RefName>> {
    let listed = shared.storage.list(names::REFS).map_err(|error| Error::io("list", names::REFS, error))?;
    Ok(listed.iter().filter_map(|object| RefName::from_object(&object.name)).collect())
}

impl Store {
    /// Resolves `reference` to an image id: an exact name first, then a short id. A name costs one read;
    /// a short id costs a listing of all images.
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

    /// Returns the image with exactly this name. Reads one record, regardless of the number of names.
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

    /// Returns the images with all their readable names.
    fn candidates(&self, images: &[Digest]) -> Vec<Candidate> {
        let named = self.references().unwrap_or_default();
        let names_of = |image: &Digest| {
            let named = named.iter().filter_map(|(_, named)| named.as_ref().ok());
            named.filter(|named| named.image == *image).map(|named| named.name.to_string()).collect()
        };
        images.iter().map(|image| Candidate { image: *image, names: names_of(image) }).collect()
    }

    /// Returns all names in ascending order, each with the result of reading its record.
    ///
    /// # Errors
    /// Fails if the names cannot be listed; [`StoreError::NoStore`] if the store no longer exists.
    pub fn references(&self) -> Result<Vec<(RefName, Result<NamedImage>)>> {
        let found = self.read_references(reference_names(&self.shared)?);
        // A store without names and an erased store look alike.
        if found.is_empty() {
            self.shared.check_is_there()?;
        }
        Ok(found)
    }

    /// Returns the names with `name` and any tag, as [`Store::references`] does. Lists and reads only
    /// those.
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

    /// Returns all names with `name` and any tag, without reading their records.
    ///
    /// # Errors
    /// Fails if they cannot be listed.
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
            // Removed after the listing.
            Err(error) if error.is_not_found() => None,
            named => Some((name, named)),
        };
        let mut found: Vec<_> = names.into_iter().filter_map(read).collect();
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found
    }

    /// Gives an image another name, with the time of the source name. If `image` is an id, the time is
    /// that of its oldest name.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if the name is taken and `replace` is not set, [`StoreError::NotFound`] if there is
    /// no such image.
    pub fn tag(&self, image: &ImageRef, name: &RefName, replace: bool) -> Result<Digest> {
        let stage = Stage::begin(&self.shared)?;
        let (id, created_seconds) = self.resolve_with_time(image)?;
        stage.commit_reference(id, name, replace, created_seconds)?;
        Ok(id)
    }

    /// Resolves as [`Store::resolve`], and returns the time of the name; `None` if the image has no name.
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

    /// Removes a name. A later collection frees the data that no image uses any more.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such name; [`StoreError::OutcomeUnknown`] if it is gone but a loss
    /// of power may restore it.
    pub fn remove(&self, name: &RefName) -> Result<()> {
        self.untag(name).map(drop)
    }

    /// Removes a name as [`Store::remove`], and returns its image if the record was readable.
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
            // This is also the way to get rid of a damaged record.
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
