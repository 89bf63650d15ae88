//! Arguments that stand for an image of the store or of a bundle, or for a file.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use melv::{Error, ErrorKind, Image, ImageRef, Store, StoreError, StoreErrors};

use crate::bundle_ref::BundleRef;
use crate::failure::Failure;
use crate::session::Session;

/// Returns the metadata of an input file.
pub fn metadata(path: &Path) -> Result<Metadata, Failure> {
    std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            Failure::NoFile { path: path.into() }
        }
        _ => Error::io("look at", path.display().to_string(), error).into(),
    })
}

/// The image of a reference, with its store.
#[derive(Debug)]
pub struct Found {
    /// The store, or the bundle opened as one.
    pub store: Store,
    /// The image.
    pub image: Image,
    /// The path of the bundle, if the image is in one.
    pub bundle: Option<PathBuf>,
}

impl Found {
    /// Opens the image of a reference: `NAME[:TAG]`, `@IMAGE-ID`, a short id, or a path to a bundle.
    pub fn of(text: &str, session: &Session<'_>) -> Result<Self, Failure> {
        match BundleRef::of_reference(text)? {
            Some(bundle) => bundle.image(session),
            None => Self::in_store(text, session.store()?),
        }
    }

    fn in_store(text: &str, store: Store) -> Result<Self, Failure> {
        let image = store.image(&text.parse::<ImageRef>()?)?;
        Ok(Self { store, image, bundle: None })
    }

    /// Whether the store or bundle has this object; a position in the object may follow the name.
    fn has(&self, object: &str) -> bool {
        let name = object.split_once(' ').map_or(object, |(name, _)| name);
        self.store.storage().open(name).is_ok()
    }

    /// Adds the bundle's path to damage in it.
    pub fn told<T>(&self, result: melv::Result<T>) -> Result<T, Failure> {
        result.map_err(|error| Failure::of_bundle(self.bundle.as_deref(), error))
    }
}

/// Attributes a failure of work on several images to the store or bundle with the unreadable object. The name
/// of the object does not suffice: they all use the same names.
pub fn blame(error: Error, images: &[&Found]) -> Failure {
    let has = |found: &&&Found| error.store_object().is_some_and(|object| found.has(object));
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

/// An argument that may be a reference or a file.
#[derive(Debug)]
pub enum Operand {
    /// An image.
    Image(Box<Found>),
    /// A file.
    File(PathBuf),
}

impl Operand {
    /// Returns an image if the text names one in a bundle, or resolves to one in an existing store. Otherwise
    /// returns the file of that name, if there is one.
    pub fn find(text: &str, session: &Session<'_>) -> Result<Self, Failure> {
        Self::find_named(text, false, session)
    }

    /// As [`Operand::find`]; with `is_file`, a path to a bundle is not treated as one.
    pub fn find_named(text: &str, is_file: bool, session: &Session<'_>) -> Result<Self, Failure> {
        if !is_file && let Some(bundle) = BundleRef::of_reference(text)? {
            return Ok(Self::Image(Box::new(bundle.image(session)?)));
        }
        let path = Path::new(text);
        match session.store().and_then(|store| Found::in_store(text, store)) {
            Ok(found) => Ok(Self::Image(Box::new(found))),
            Err(_) if text.contains('/') => metadata(path).map(|_| Self::File(path.into())),
            Err(failure) if !means_absent(&failure) => Err(failure),
            Err(_) if path.exists() => Ok(Self::File(path.into())),
            Err(Failure::Melv(error))
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid)
                    && !text.starts_with('@') =>
            {
                Err(Failure::NoOperand { text: text.into() })
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Whether the reference was not found, as opposed to found but broken.
fn means_absent(failure: &Failure) -> bool {
    let Failure::Melv(error) = failure else { return false };
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::Invalid | ErrorKind::NoStore | ErrorKind::Unsupported
    )
}

/// Parses the reference of an image that must be in the store, because the command writes about it there.
pub fn stored_ref(text: &str) -> Result<ImageRef, Failure> {
    match BundleRef::of_reference(text)? {
        Some(bundle) => {
            Err(Error::from(StoreError::ReadOnly { object: bundle.path.display().to_string() }).into())
        }
        None => Ok(text.parse()?),
    }
}
