//! The file or block device that is read, before its format is known.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use melv::{Error, RawFile};

use crate::failure::Failure;

/// Returns the metadata of an input file.
pub fn metadata(path: &Path) -> Result<Metadata, Failure> {
    std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Failure::NoFile { path: path.into() },
        _ => Error::io("read the metadata of", path.display().to_string(), error).into(),
    })
}

/// Whether a file or block device has no bytes at all, in any format.
pub fn is_empty(path: &Path) -> bool {
    RawFile::open(path, true).is_ok_and(|file| file.file_size() == 0)
}
