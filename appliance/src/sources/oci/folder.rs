//! The files of a folder with an OCI layout. No link in it is followed.

use std::{fs::File, os::fd::OwnedFd, path::Path, sync::Arc};

use rustix::{
    fs::{self, Mode, OFlags},
    io::Errno,
};

use super::{error::OciError, section::Section};

/// A folder that is open.
#[derive(Debug)]
pub(super) struct Folder {
    folder: OwnedFd,
}

impl Folder {
    /// Opens a folder.
    pub(super) fn open(path: &Path) -> Result<Self, OciError> {
        let folder = fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let folder =
            folder.map_err(|error| OciError::Open { path: path.to_path_buf(), source: error.into() })?;
        Ok(Self { folder })
    }

    /// Opens a file by its path in the folder: names that this crate made of digests.
    pub(super) fn find(&self, path: &str) -> Result<Option<Section>, OciError> {
        let failed = |error: Errno| OciError::OpenBlob { name: path.to_owned(), source: error.into() };
        let mut names = path.split('/').peekable();
        let mut folder: Option<OwnedFd> = None;
        while let Some(name) = names.next() {
            if matches!(name, "" | "." | "..") {
                return Err(failed(Errno::INVAL));
            }
            // Without NONBLOCK, opening a pipe waits for its writer.
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let flags = if names.peek().is_some() { flags | OFlags::DIRECTORY } else { flags };
            match fs::openat(folder.as_ref().unwrap_or(&self.folder), name, flags, Mode::empty()) {
                Ok(opened) => folder = Some(opened),
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(failed(error)),
            }
        }
        let Some(opened) = folder else { return Ok(None) };
        let file = File::from(opened);
        let metadata =
            file.metadata().map_err(|source| OciError::OpenBlob { name: path.to_owned(), source })?;
        if !metadata.is_file() {
            return Err(OciError::NoFile(path.to_owned()));
        }
        Ok(Some(Section::new(Arc::new(file), 0, metadata.len())))
    }
}
