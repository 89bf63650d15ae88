//! Files of an image by their names, and documents of a bounded size.

use std::{fs::File, io::Read as _, path::Path};

use serde::de::DeserializeOwned;

use crate::sources::{digest::Digest, limits::JSON_BYTES};

use super::{archive::Archive, error::OciError, folder::Folder, section::Section};

/// A place of images.
#[derive(Debug)]
pub(crate) struct Blobs {
    place: Place,
}

#[derive(Debug)]
enum Place {
    Archive(Archive),
    Folder(Folder),
}

impl Blobs {
    /// Opens a folder or an archive.
    pub(crate) fn open(path: &Path) -> Result<Self, OciError> {
        let failed = |source| OciError::Open { path: path.to_path_buf(), source };
        if std::fs::metadata(path).map_err(failed)?.is_dir() {
            return Ok(Self { place: Place::Folder(Folder::open(path)?) });
        }
        Self::archive(File::open(path).map_err(failed)?)
    }

    /// Reads the names of an archive.
    pub(crate) fn archive(file: File) -> Result<Self, OciError> {
        Ok(Self { place: Place::Archive(Archive::open(file)?) })
    }

    /// Finds a file.
    pub(super) fn find(&self, name: &str) -> Result<Option<Section>, OciError> {
        match &self.place {
            Place::Archive(archive) => Ok(archive.find(name)),
            Place::Folder(folder) => folder.find(name),
        }
    }

    /// Finds a file that must be there.
    pub(super) fn get(&self, name: &str) -> Result<Section, OciError> {
        self.find(name)?.ok_or_else(|| OciError::Missing(name.to_owned()))
    }

    /// Finds the blob of a digest, and checks its length.
    pub(super) fn blob(&self, digest: Digest, size: u64) -> Result<(String, Section), OciError> {
        let name = format!("blobs/sha256/{digest}");
        let section = self.get(&name)?;
        if section.len() != size {
            return Err(OciError::Size { name, expected: size, found: section.len() });
        }
        Ok((name, section))
    }
}

/// Reads a document, whose digest may be known.
pub(super) fn json<T: DeserializeOwned>(
    name: &str,
    section: Section,
    expected: Option<Digest>,
) -> Result<T, OciError> {
    let len = section.len();
    if len > JSON_BYTES {
        return Err(OciError::TooLarge { name: name.to_owned(), len, limit: JSON_BYTES });
    }
    let mut bytes = Vec::new();
    let read = section.take(JSON_BYTES).read_to_end(&mut bytes);
    read.map_err(|source| OciError::Read { name: name.to_owned(), source })?;
    check_digest(name, expected, Digest::of(&bytes))?;
    serde_json::from_slice(&bytes).map_err(|source| OciError::Json { name: name.to_owned(), source })
}

/// Compares two digests, if one was expected.
pub(super) fn check_digest(name: &str, expected: Option<Digest>, found: Digest) -> Result<(), OciError> {
    match expected {
        Some(expected) if expected != found => {
            Err(OciError::Digest { name: name.to_owned(), expected, found })
        }
        _ => Ok(()),
    }
}

/// Parses `sha256:` and 64 digits.
pub(super) fn digest(text: &str) -> Result<Digest, OciError> {
    let digits = text.strip_prefix("sha256:");
    digits.and_then(Digest::from_hex).ok_or_else(|| OciError::DigestForm(text.to_owned()))
}
