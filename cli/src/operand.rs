//! Arguments that stand for an image of the store or of a bundle, or for a file.

use std::path::{Path, PathBuf};

use melv::{BlockError, Error, ErrorKind, ImageRef, StoreError};

use crate::bundle_ref::BundleRef;
use crate::failure::Failure;
use crate::input_file::metadata;
use crate::opened_image::OpenedImage;
use crate::session::Session;

/// Opens the image of a reference: `NAME[:TAG]`, `@IMAGE-ID`, a short id, or a path to a bundle.
pub fn image(text: &str, session: &Session<'_>) -> Result<OpenedImage, Failure> {
    match BundleRef::of_reference(text)? {
        Some(bundle) => bundle.image(session),
        None => OpenedImage::in_store(text, session.store()?),
    }
}

/// An argument that may be a reference or a file.
#[derive(Debug)]
pub enum Operand {
    /// An image.
    Image(Box<OpenedImage>),
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
        match session.store().and_then(|store| OpenedImage::in_store(text, store)) {
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
    matches!(error.detail(), Some(StoreError::NotFound { .. } | StoreError::NoStore { .. }))
        || matches!(error.detail(), Some(BlockError::Invalid { .. } | BlockError::Unsupported { .. }))
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
