//! The folder of a disk, in which files that the disk names are opened. No other code opens such files.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use melv_block::{Error, RawFile, Result};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use unicode_normalization::UnicodeNormalization;

use crate::gate::Gate;
use crate::plain_name::name_refusal;

/// The maximum number of names read from a folder.
const NAMES_MAX: usize = 4096;
/// The number of attempts at an open that concurrent renames interrupt.
const TRIES: usize = 16;

/// The reason why a named file was not opened.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The gate is closed to every file.
    Closed,
    /// The name is not plain, or is not that of a regular file.
    Unacceptable(&'static str),
    /// No file has this name; with the path to show, perhaps with a similar name, and the system's refusal.
    Missing(String, io::Error),
    /// The system refuses to open this path.
    System(String, io::Error),
    /// The file was opened, but reading its metadata failed.
    Failed(Error),
}

/// The folder of a disk's file, as its gate shows it.
#[derive(Debug)]
pub(crate) struct GatedFolder {
    gate: Gate,
    folder: OwnedFd,
    path: PathBuf,
    file_name: String,
}

impl GatedFolder {
    /// Opens the folder of the file at `path`. For a symbolic link, this is the folder of its target, since
    /// the other files of the disk lie there.
    ///
    /// # Errors
    /// [`BlockError::Io`](melv_block::BlockError::Io).
    pub(crate) fn of(path: &Path, gate: Gate) -> Result<Self> {
        let failed = |error| Error::io("find the folder of", path.display().to_string(), error);
        let real = fs::canonicalize(path).map_err(failed)?;
        let file_name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = real.parent().unwrap_or(Path::new("/")).to_owned();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, &path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        Ok(Self { gate, folder, path, file_name })
    }

    /// Returns the name of the disk's own file, lossily converted to UTF-8.
    pub(crate) fn file_name(&self) -> &str {
        &self.file_name
    }

    /// Returns the sorted UTF-8 names among the first [`NAMES_MAX`] entries of the folder.
    ///
    /// # Errors
    /// [`BlockError::Io`](melv_block::BlockError::Io).
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let listed = fs::read_dir(&self.path)
            .map_err(|error| Error::io("list", self.path.display().to_string(), error))?;
        let names = listed.take(NAMES_MAX).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Opens the file with this name, if the gate lets it.
    ///
    /// # Errors
    /// The refusal, which the format turns into an error of its own.
    pub(crate) fn open(&self, name: &str) -> Result<(RawFile, Stamp), Refusal> {
        if self.gate == Gate::Nothing {
            return Err(Refusal::Closed);
        }
        if let Some(why) = name_refusal(name) {
            return Err(Refusal::Unacceptable(why));
        }
        let shown = self.path.join(name).display().to_string();
        let failed = |error: Errno| match error {
            Errno::LOOP => Refusal::Unacceptable("a symbolic link"),
            Errno::XDEV => Refusal::Unacceptable("a name that leads out of the folder"),
            Errno::NOENT => Refusal::Missing(self.missing(name), error.into()),
            error => Refusal::System(shown.clone(), error.into()),
        };
        // Check the type before opening: merely opening some devices has side effects.
        let stat = rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Symlink => return Err(Refusal::Unacceptable("a symbolic link")),
            FileType::Directory => return Err(Refusal::Unacceptable("a folder")),
            _ => return Err(Refusal::Unacceptable("a device, a pipe or a socket")),
        }
        let file = File::from(self.open_beneath(name).map_err(failed)?);
        let metadata =
            file.metadata().map_err(|error| Refusal::Failed(Error::io("look at", &shown, error)))?;
        if !metadata.is_file() {
            return Err(Refusal::Unacceptable("which is not a regular file"));
        }
        let file = RawFile::of_file(file, shown, true).map_err(Refusal::Failed)?;
        Ok((file, Stamp::of(&metadata)))
    }

    /// Returns the path of a missing file, with a hint at a name that differs only in case or Unicode
    /// normalization.
    fn missing(&self, name: &str) -> String {
        let shown = self.path.join(name).display().to_string();
        let folded = fold(name);
        match self.names().unwrap_or_default().into_iter().find(|other| fold(other) == folded) {
            Some(other) => format!(
                "{shown} (there is a file {other:?}, whose name differs only in case or in the form of its \
                 letters)"
            ),
            None => shown,
        }
    }

    /// Opens a plain name in the folder. The kernel enforces again that it cannot lead out of the folder.
    fn open_beneath(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..TRIES {
            match rustix::fs::openat2(&self.folder, name, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Kernels before 5.6, and sandboxes that block the call.
                Err(Errno::NOSYS | Errno::PERM) => {
                    return rustix::fs::openat(&self.folder, name, flags, Mode::empty());
                }
                opened => return opened,
            }
        }
        Err(Errno::AGAIN)
    }
}

/// The identity and the timestamps of a file, by which a replaced or modified file is recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The device, the inode and the length in bytes.
    pub(crate) identity: (u64, u64, u64),
    /// The modification and the change time, each in seconds and nanoseconds.
    times: (i64, i64, i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            identity: (metadata.dev(), metadata.ino(), metadata.len()),
            times: (metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Removes the differences that file systems and archives introduce into a name: case and Unicode
/// normalization.
fn fold(name: &str) -> String {
    name.nfc().collect::<String>().to_lowercase().nfc().collect()
}
