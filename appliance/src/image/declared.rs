//! Files, folders and links that the declaration names, put into the tree of packages.
//!
//! They come before the closure, so that a script or program among them brings its own needs. Files of the machine
//! that builds are opened below folders that the caller allows; a link among them is copied as a link and never
//! followed.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{
    declaration::{Copy, Declaration, SourcePath},
    sources::{Spool, SpoolError},
    tree::{Content, Timestamp, Tree},
};

use super::{
    init_config::is_in_memory,
    place::{Access, PlaceError, Placer},
    users::{UnknownOwner, Users},
};

/// Depth of folders that are copied.
const MAX_DEPTH: usize = 64;
/// Bytes that are copied at a time.
const BUFFER_BYTES: usize = 1 << 18;

/// The reason that a declared file cannot be in the image.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeclaredError {
    /// Something in the way.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// An owner that nobody knows.
    #[error(transparent)]
    Owner(#[from] UnknownOwner),
    /// The path leads out of the allowed folders.
    #[error("{path} lies neither beside the declaration nor in an allowed folder")]
    NotAllowed {
        /// The path as the declaration has it.
        path: String,
    },
    /// Folders below folders without an end.
    #[error("{}: more than {MAX_DEPTH} folders deep", .path.display())]
    TooDeep {
        /// The path on the machine that builds.
        path: PathBuf,
    },
    /// A name that is no UTF-8.
    #[error("{}: expected a name in UTF-8", .path.display())]
    Name {
        /// The path on the machine that builds.
        path: PathBuf,
    },
    /// The temporary files.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A file that cannot be read.
    #[error("{}", .path.display())]
    Read {
        /// The path on the machine that builds.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
}

/// Folders of the machine that builds, from which files may be copied.
#[derive(Debug, Clone)]
pub struct SourceFolders {
    /// Folder of the declaration; relative paths start here.
    pub base: PathBuf,
    /// Further folders.
    pub allowed: Vec<PathBuf>,
}

impl SourceFolders {
    /// Returns the real path of a file that the declaration names, if it lies in an allowed folder.
    ///
    /// # Errors
    ///
    /// A path that is not there, or that leads out of the allowed folders, be it through a link.
    pub fn find(&self, path: &SourcePath) -> Result<PathBuf, DeclaredError> {
        let joined = self.base.join(path.as_str());
        let real = |path: &Path| {
            fs::canonicalize(path).map_err(|source| DeclaredError::Read { path: path.to_owned(), source })
        };
        let found = real(&joined)?;
        let mut folders = std::iter::once(&self.base).chain(&self.allowed);
        let is_allowed =
            folders.any(|folder| fs::canonicalize(folder).is_ok_and(|folder| found.starts_with(folder)));
        if is_allowed { Ok(found) } else { Err(DeclaredError::NotAllowed { path: path.as_str().into() }) }
    }
}

/// Puts all that the declaration names into a tree.
///
/// # Errors
///
/// Files that cannot be read or lie elsewhere, owners that nobody knows, paths that something is in the way of.
pub fn add(
    tree: &mut Tree,
    spool: &mut Spool,
    declaration: &Declaration,
    users: &Users,
    folders: &SourceFolders,
    time: Timestamp,
) -> Result<(), DeclaredError> {
    let mut placer = Placer { tree, time };
    // Folders first, so that files in them find their owners; links last, since files may be behind none.
    for folder in declaration.directories.iter().filter(|folder| !is_in_memory(folder.path.as_str())) {
        let (uid, gid) = users.ids(&folder.owner)?;
        placer.folder(folder.path.as_str(), Access { uid, gid, mode: folder.mode.bits() })?;
    }
    for disk in &declaration.data {
        let (uid, gid) = users.ids(&disk.owner)?;
        placer.folder(disk.mount.as_str(), Access { uid, gid, mode: disk.mode.bits() })?;
    }
    for copy in &declaration.copies {
        let (uid, gid) = users.ids(&copy.owner)?;
        let from = folders.find(&copy.from)?;
        Copying { placer: &mut placer, spool, copy, uid, gid }.copy(&from, copy.to.as_str(), 0)?;
    }
    for text in &declaration.texts {
        let (uid, gid) = users.ids(&text.owner)?;
        let content = Content::Bytes(text.text.clone().into_bytes());
        placer.file(text.path.as_str(), content, Access { uid, gid, mode: text.mode.bits() })?;
    }
    for link in &declaration.links {
        placer.link(link.path.as_str(), link.target.as_bytes())?;
    }
    Ok(())
}

struct Copying<'a, 't> {
    placer: &'a mut Placer<'t>,
    spool: &'a mut Spool,
    copy: &'a Copy,
    uid: u32,
    gid: u32,
}

impl Copying<'_, '_> {
    fn copy(&mut self, from: &Path, to: &str, depth: usize) -> Result<(), DeclaredError> {
        let read = |source| DeclaredError::Read { path: from.to_owned(), source };
        if depth > MAX_DEPTH {
            return Err(DeclaredError::TooDeep { path: from.to_owned() });
        }
        let meta = fs::symlink_metadata(from).map_err(read)?;
        let (uid, gid) = (self.uid, self.gid);
        if meta.is_symlink() {
            let target = fs::read_link(from).map_err(read)?;
            self.placer.link(to, target.as_os_str().as_bytes())?;
        } else if meta.is_dir() {
            self.placer.folder_there(to, Access { uid, gid, mode: 0o755 })?;
            let entries: io::Result<Vec<PathBuf>> =
                fs::read_dir(from).and_then(|all| all.map(|entry| entry.map(|entry| entry.path())).collect());
            let mut entries = entries.map_err(read)?;
            entries.sort();
            for entry in entries {
                let name = entry.file_name().and_then(|name| name.to_str());
                let name = name.ok_or_else(|| DeclaredError::Name { path: entry.clone() })?;
                self.copy(&entry, &format!("{to}/{name}"), depth + 1)?;
            }
        } else if meta.is_file() {
            let mut file = File::open(from).map_err(read)?;
            let content = spool(self.spool, &mut file, from)?;
            let own = if meta.mode() & 0o111 == 0 { 0o644 } else { 0o755 };
            let mode = self.copy.mode.map_or(own, |mode| mode.bits());
            self.placer.file(to, content, Access { uid, gid, mode })?;
        }
        Ok(())
    }
}

/// Appends a file to the spool, as long as it is.
fn spool(spool: &mut Spool, file: &mut File, from: &Path) -> Result<Content, DeclaredError> {
    let offset = spool.position();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Content::Spooled { offset, len: spool.position() - offset }),
            Ok(count) => spool.append(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(DeclaredError::Read { path: from.to_owned(), source }),
        }
    }
}
