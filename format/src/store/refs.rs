//! References: names of images, each in its own record that changes atomically.

use std::collections::HashSet;

use super::images::Images;
use super::journal::recover;
use super::names::{self, ImageRef, RefName, is_short_id};
use super::open::Store;
use super::stage::Stage;
use crate::digest::ImageId;
use crate::error::{Candidate, Error, Result, StoreError};
use crate::ondisk::reference::is_name;

/// The maximum number of images listed for an ambiguous short id.
const CANDIDATES_MAX: usize = 16;

/// A name and its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedImage {
    /// The name.
    pub name: RefName,
    /// The image.
    pub image: ImageId,
    /// The time at which the image entered the store under its first name, in seconds since 1970 UTC. A
    /// name given by [`Store::tag`] copies the time of its source name.
    pub created_seconds: u64,
}

impl Images {
    /// Resolves `reference` to an image id: an exact name first, then a short id. A name costs one read;
    /// a short id costs a listing of all images.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Ambiguous`], or damage of the record.
    pub fn resolve(&self, reference: &ImageRef) -> Result<ImageId> {
        match reference {
            ImageRef::Id(id) => Ok(*id),
            ImageRef::ShortId(digits) => {
                let missing = Error::from(StoreError::NotFound { what: "image", name: format!("@{digits}") });
                self.by_short_id(digits, missing)
            }
            ImageRef::Name(name) => match self.reader().reference(name) {
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

    fn by_short_id(&self, digits: &str, missing: Error) -> Result<ImageId> {
        let mut fitting = self.reader().image_ids()?;
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
        let reference = self.reader().reference(name)?;
        Ok(NamedImage {
            name: name.clone(),
            image: reference.image,
            created_seconds: reference.created_seconds,
        })
    }

    /// Returns the images with all their readable names.
    fn candidates(&self, images: &[ImageId]) -> Vec<Candidate> {
        let named = self.names().unwrap_or_default();
        let names_of = |image: &ImageId| {
            let named = named.iter().filter_map(|(_, named)| named.as_ref().ok());
            named.filter(|named| named.image == *image).map(|named| named.name.to_string()).collect()
        };
        images.iter().map(|image| Candidate { image: *image, names: names_of(image) }).collect()
    }

    /// Returns all names in ascending order, each with the result of reading its record.
    ///
    /// # Errors
    /// Fails if the names cannot be listed; [`StoreError::NoStore`] if the store no longer exists.
    pub fn names(&self) -> Result<Vec<(RefName, Result<NamedImage>)>> {
        let found = self.read_references(self.reader().reference_names()?);
        // A store without names and an erased store look alike.
        if found.is_empty() {
            self.reader().objects.check_is_there()?;
        }
        Ok(found)
    }

    /// Returns the names with `name` and any tag, as [`Images::names`] does. Lists and reads only
    /// those.
    ///
    /// # Errors
    /// As [`Images::names`].
    pub fn references_of(&self, name: &str) -> Result<Vec<(RefName, Result<NamedImage>)>> {
        let found = self.read_references(self.tags_of(name)?);
        if found.is_empty() {
            self.reader().objects.check_is_there()?;
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
        let listed =
            self.reader().source().list(&folder).map_err(|error| Error::io("list", folder, error))?;
        Ok(listed.iter().filter_map(|object| RefName::from_object(&object.name)).collect())
    }

    /// Returns references to all images: their names, or ids for images without names.
    ///
    /// # Errors
    /// Fails if the names cannot be listed.
    pub fn image_refs(&self) -> Result<Vec<ImageRef>> {
        let mut named = Vec::new();
        for (_, image) in self.names()? {
            named.push(image?);
        }
        let ids = self.reader().image_ids()?;
        let has_name: HashSet<ImageId> = named.iter().map(|image| image.image).collect();
        let nameless = ids.into_iter().filter(|id| !has_name.contains(id));
        let mut refs: Vec<_> = nameless.map(ImageRef::Id).collect();
        refs.splice(0..0, named.iter().map(|image| ImageRef::Name(image.name.clone())));
        Ok(refs)
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
}

impl Store {
    /// Gives an image another name, with the time of the source name. If `image` is an id, the time is
    /// that of its oldest name.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if the name is taken and `replace` is not set, [`StoreError::NotFound`] if there is
    /// no such image.
    pub fn tag(&self, image: &ImageRef, name: &RefName, replace: bool) -> Result<ImageId> {
        self.shared.check_writable()?;
        let _lock = self.shared.lock()?;
        // A sync of an import through this handle may have failed in the meantime.
        self.shared.check_writable()?;
        let stages = recover(&self.shared)?;
        let (id, created_seconds) = self.resolve_with_time(image)?;
        let stage = Stage::begin_beside(&self.shared, &stages)?;
        stage.commit_reference(id, name, replace, created_seconds)?;
        Ok(id)
    }

    /// Resolves as [`Store::resolve`], and returns the time of the name; `None` if the image has no name.
    fn resolve_with_time(&self, image: &ImageRef) -> Result<(ImageId, Option<u64>)> {
        if let ImageRef::Name(name) = image
            && let Ok(reference) = self.shared.reader.reference(name)
        {
            return Ok((reference.image, Some(reference.created_seconds)));
        }
        let id = self.resolve(image)?;
        let named = self.names()?.into_iter().filter_map(|(_, named)| named.ok());
        Ok((id, named.filter(|named| named.image == id).map(|named| named.created_seconds).min()))
    }

    /// Removes a name, and returns its image if the record was readable. A later collection frees the data
    /// that no image uses any more.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such name; [`StoreError::OutcomeUnknown`] if it is gone but a loss
    /// of power may restore it.
    pub fn untag(&self, name: &RefName) -> Result<Option<ImageId>> {
        self.shared.check_writable()?;
        let _lock = self.shared.lock()?;
        recover(&self.shared)?;
        let image = match self.shared.reader.reference(name) {
            Ok(reference) => Some(reference.image),
            Err(error) if error.is_not_found() => return Err(error),
            // This is also the way to get rid of a damaged record.
            Err(_) => None,
        };
        let object = name.object();
        let removed = self.shared.storage.remove(std::slice::from_ref(&object));
        removed.map_err(|error| {
            self.shared.poison();
            if self.shared.reader.reference(name).is_err_and(|error| error.is_not_found()) {
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
