//! Paths to bundles, given in place of a reference or a disk.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use melv::{
    BlockError, Bundle, BundleOptions, Error, ErrorKind, ImageId, ImageRef, Images, RefName, StoreError,
};

use crate::bundle_path::{SUFFIX, begins_as_bundle, split};
use crate::bundled_image::BundledImage;
use crate::failure::Failure;
use crate::input_file::metadata;
use crate::naming;
use crate::opened_image::OpenedImage;
use crate::session::Session;

/// A reference to a bundle, optionally with one of its images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleRef {
    /// The file or block device.
    pub path: PathBuf,
    /// The image after the `#`.
    pub image: Option<ImageRef>,
}

impl BundleRef {
    /// Returns the bundle if `text`, given as a reference, names one. A path that ends in `.melv` is one. So
    /// is a path with a slash to a file or block device that starts with the magic bytes. `#` and an image
    /// may follow.
    pub fn of_reference(text: &str) -> Result<Option<Self>, Failure> {
        if let Some((path, image)) = split(text) {
            if image.is_none() && naming::is_old_name(text) {
                return Ok(None);
            }
            return Self::new(path, image).map(Some);
        }
        if !text.contains('/') {
            return Ok(None);
        }
        Self::by_content(Path::new(text))
    }

    /// Returns the bundle if `path`, given as a file, names one. Unlike in [`BundleRef::of_reference`], any
    /// file with the magic bytes counts, even without a slash in its path.
    pub fn of_file(path: &Path) -> Result<Option<Self>, Failure> {
        match path.to_str().and_then(split) {
            Some((path, image)) => Self::new(path, image).map(Some),
            None => Self::by_content(path),
        }
    }

    /// Returns the bundle at `path`, which must be one.
    pub fn of_bundle(path: &Path) -> Result<Self, Failure> {
        let found = Self::of_file(path)?;
        Ok(found.unwrap_or_else(|| Self { path: path.into(), image: None }))
    }

    fn by_content(path: &Path) -> Result<Option<Self>, Failure> {
        if begins_as_bundle(path) {
            return Ok(Some(Self { path: path.into(), image: None }));
        }
        match path.to_str().and_then(|text| text.rsplit_once('#')) {
            Some((path, image)) if begins_as_bundle(Path::new(path)) => {
                Self::new(path, Some(image)).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn new(path: &str, image: Option<&str>) -> Result<Self, Failure> {
        Ok(Self { path: path.into(), image: image.map(str::parse).transpose()? })
    }

    /// Opens the bundle. Its missing base images come from the store, if there is one.
    pub fn open(&self, session: &Session<'_>) -> Result<Bundle, Failure> {
        let kind = metadata(&self.path)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            let expected = "a regular file or a block device";
            return Err(
                Error::from(BlockError::Invalid { what: "bundle", found: self.shown(), expected }).into()
            );
        }
        if !self.path.to_string_lossy().ends_with(SUFFIX) && !begins_as_bundle(&self.path) {
            return Err(Failure::NotBundle { path: self.path.clone() });
        }
        tracing::info!(bundle = %self.path.display(), "opening");
        let open = |base| Bundle::open(&self.path, BundleOptions { store: session.bundle_options(), base });
        match open(None) {
            Err(missing) if is_base_missing(&missing) => match session.store() {
                Ok(store) => self.in_bundle(open(Some(store.into()))),
                Err(Failure::Usage(_)) => Err(missing.into()),
                Err(Failure::Melv(error)) if error.kind() == ErrorKind::NoStore => Err(missing.into()),
                Err(failure) => Err(failure),
            },
            opened => self.in_bundle(opened),
        }
    }

    /// Opens the named image, or the only one.
    pub fn image(&self, session: &Session<'_>) -> Result<OpenedImage, Failure> {
        let bundle = self.open(session)?;
        self.image_of(bundle)
    }

    /// As [`BundleRef::image`], for a bundle that is open already.
    pub fn image_of(&self, bundle: Bundle) -> Result<OpenedImage, Failure> {
        let opened = match &self.image {
            Some(image) => self.missing_from_bundle(bundle.image(image)),
            None => match ids_of(&bundle)?.as_slice() {
                [only] => self.missing_from_bundle(bundle.image_by_id(*only)),
                _ => Err(Failure::SeveralImages {
                    path: self.path.clone(),
                    images: BundledImage::all(&bundle)?,
                }),
            },
        };
        Ok(OpenedImage { image: opened?, images: bundle.into(), bundle: Some(self.path.clone()) })
    }

    /// Returns the reference of the named image, or those of all images.
    pub fn all_refs(&self, images: &Images) -> Result<Vec<ImageRef>, Failure> {
        match &self.image {
            Some(image) => {
                self.missing_from_bundle(images.image(image))?;
                Ok(vec![image.clone()])
            }
            None => Ok(images.image_refs()?),
        }
    }

    /// Returns the name of the image, if the reference gives one.
    pub fn name(&self, images: &Images) -> Option<RefName> {
        let Some(ImageRef::Name(name)) = &self.image else { return None };
        let references = images.names().unwrap_or_default();
        references.into_iter().map(|(held, _)| held).find(|held| held == name)
    }

    /// Reports an image that was not found as missing from this bundle, not from the store.
    pub fn missing_from_bundle<T>(&self, opened: melv::Result<T>) -> Result<T, Failure> {
        opened.map_err(|error| match error.detail() {
            Some(StoreError::NotFound { name, .. }) => {
                Failure::NotInBundle { path: self.path.clone(), name: name.clone() }
            }
            _ => Failure::of_bundle(Some(&self.path), error),
        })
    }

    /// Reports damage as this bundle's.
    fn in_bundle<T>(&self, result: melv::Result<T>) -> Result<T, Failure> {
        result.map_err(|error| Failure::of_bundle(Some(&self.path), error))
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

/// Returns the ids of all images of a bundle, in ascending order.
fn ids_of(images: &Images) -> Result<Vec<ImageId>, Failure> {
    let mut ids = Vec::new();
    for reference in images.image_refs()? {
        ids.push(images.resolve(&reference)?);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Whether a bundle lacks the image that it builds on.
fn is_base_missing(error: &Error) -> bool {
    matches!(error.detail(), Some(StoreError::BaseMissing { .. }))
}
