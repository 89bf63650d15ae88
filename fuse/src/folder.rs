//! Checks of folders before mounting.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::mounts;

/// Returns the path of `dir` without symbolic links, if images may be mounted there.
///
/// # Errors
/// If `dir` is not an empty folder, or has images mounted already.
pub fn check(dir: &Path) -> Result<PathBuf> {
    let real = resolve(dir)?;
    if let Some(entry) = mounts::at(&real)?
        && entry.is_melv()
    {
        let dir = dir.to_owned();
        return Err(if entry.is_served() { Error::Mounted { dir } } else { Error::Dead { dir } });
    }
    let kind = std::fs::metadata(&real).map_err(|source| Error::io("read the metadata of", dir, source))?;
    if !kind.is_dir() {
        return Err(Error::NotFolder { dir: dir.into() });
    }
    let mut entries = std::fs::read_dir(&real).map_err(|source| Error::io("list", dir, source))?;
    if entries.next().is_some() { Err(Error::NotEmpty { dir: dir.into() }) } else { Ok(real) }
}

/// As [`check`]; nobody else can mount images there while the returned file is open.
pub(crate) fn check_and_lock(dir: &Path) -> Result<(PathBuf, File)> {
    let real = check(dir)?;
    let folder = File::open(&real).map_err(|source| Error::io("open", dir, source))?;
    rustix::fs::flock(&folder, FlockOperation::LockExclusive)
        .map_err(|errno| Error::io("lock", dir, errno))?;
    // The previous holder of the lock may have mounted.
    Ok((check(dir)?, folder))
}

/// Returns the absolute path without symbolic links. Does not access the folder itself, which may be a mount
/// whose process is gone.
pub(crate) fn resolve(dir: &Path) -> Result<PathBuf> {
    let real = match dir.canonicalize() {
        Err(error) if error.raw_os_error() == Some(Errno::NOTCONN.raw_os_error()) => by_parent(dir),
        real => real,
    };
    real.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::Missing { dir: dir.into() },
        ErrorKind::NotADirectory => Error::NotFolder { dir: dir.into() },
        _ => Error::io("find", dir, error),
    })
}

fn by_parent(dir: &Path) -> std::io::Result<PathBuf> {
    // Follow a link to the mount, but only to its parent folder.
    if let Ok(target) = std::fs::read_link(dir) {
        let target = dir.parent().unwrap_or(Path::new("")).join(target);
        return target.canonicalize().or_else(|_| last_of_parent(&target));
    }
    last_of_parent(dir)
}

fn last_of_parent(dir: &Path) -> std::io::Result<PathBuf> {
    let dir = std::path::absolute(dir)?;
    match (dir.parent(), dir.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
        _ => dir.canonicalize(),
    }
}
