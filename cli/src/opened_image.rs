//! An opened image, with the store or bundle that has it.

use std::path::PathBuf;

use melv::{Error, Image, ImageRef, Images, Store, StoreErrors};

use crate::failure::Failure;

/// An opened image and its store.
#[derive(Debug)]
pub struct OpenedImage {
    /// All images of its store or bundle.
    pub images: Images,
    /// The image.
    pub image: Image,
    /// The path of the bundle, if the image is in one.
    pub bundle: Option<PathBuf>,
}

impl OpenedImage {
    /// Opens the image of a reference in the store.
    pub fn in_store(text: &str, store: Store) -> Result<Self, Failure> {
        let image = store.image(&text.parse::<ImageRef>()?)?;
        Ok(Self { images: store.into(), image, bundle: None })
    }

    /// Whether the store or bundle has this object; a position in the object may follow the name.
    fn has(&self, object: &str) -> bool {
        let name = object.split_once(' ').map_or(object, |(name, _)| name);
        name.parse().is_ok_and(|name| self.images.source().open(&name).is_ok())
    }

    /// Adds the bundle's path to damage in it.
    pub fn in_bundle<T>(&self, result: melv::Result<T>) -> Result<T, Failure> {
        result.map_err(|error| Failure::of_bundle(self.bundle.as_deref(), error))
    }
}

/// Attributes a failure of work on several images to the store or bundle with the unreadable object. The name
/// of the object does not suffice: they all use the same names.
pub fn blame(error: Error, images: &[&OpenedImage]) -> Failure {
    let has = |found: &&&OpenedImage| error.store_object().is_some_and(|object| found.has(object));
    let mut owners: Vec<_> = images.iter().filter(has).map(|found| &found.bundle).collect();
    if owners.is_empty() {
        owners = images.iter().map(|found| &found.bundle).collect();
    }
    owners.dedup();
    let shown = |bundle: &&Option<PathBuf>| {
        bundle.as_ref().map_or_else(|| "the store".into(), |path| path.display().to_string())
    };
    match owners.as_slice() {
        [] => error.into(),
        [one] => Failure::of_bundle(one.as_deref(), error),
        _ if error.store_object().is_none() => error.into(),
        several => {
            let places = several.iter().map(shown).collect::<Vec<_>>().join(" or ");
            Failure::InOneOf { places, error: error.into() }
        }
    }
}
