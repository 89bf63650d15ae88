//! Opens a disk's files; the only module here that uses `std::fs` or `rustix`.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use unicode_normalization::UnicodeNormalization;

use super::Fault;
use super::error::{DiskError, is_unsound};
use super::extent::name_fault;
use super::limits::FILES_OPEN;
use super::recent::Recent;
use melv_block::RawFile;
use melv_block::{BlockDevice, Run};
use melv_block::{BlockError, Error, Result};

/// The maximum number of names read from a folder.
const NAMES_MAX: usize = 4096;

/// Removes the differences that file systems and archives introduce into a name: case and Unicode
/// normalization.
fn fold(name: &str) -> String {
    name.nfc().collect::<String>().to_lowercase().nfc().collect()
}

/// The number of attempts at an open that concurrent renames interrupt.
const TRIES: usize = 16;

/// The folder of a descriptor; extents are opened in it by plain name only.
#[derive(Debug)]
pub(super) struct Folder {
    folder: OwnedFd,
    path: PathBuf,
    /// The descriptor's path, for messages.
    descriptor: String,
}

impl Folder {
    /// Opens the folder of the descriptor at `path`. For a symbolic link, this is the folder of its
    /// target, since the extents lie there.
    ///
    /// # Errors
    /// [`BlockError::Io`].
    pub fn of(path: &Path) -> Result<Self> {
        Ok(Self::with_name(path)?.0)
    }

    /// Does the same as [`Folder::of`] and returns the file's name too, lossily converted to UTF-8.
    ///
    /// # Errors
    /// [`BlockError::Io`].
    pub fn with_name(path: &Path) -> Result<(Self, String)> {
        let descriptor = path.display().to_string();
        let failed = |error| Error::io("find the folder of", &descriptor, error);
        let real = fs::canonicalize(path).map_err(failed)?;
        let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = real.parent().unwrap_or(Path::new("/")).to_owned();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, &path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        Ok((Self { folder, path, descriptor }, name))
    }

    /// Returns the sorted UTF-8 names among the first [`NAMES_MAX`] entries of the folder.
    ///
    /// # Errors
    /// [`BlockError::Io`].
    pub fn names(&self) -> Result<Vec<String>> {
        let listed = fs::read_dir(&self.path)
            .map_err(|error| Error::io("list", self.path.display().to_string(), error))?;
        let names = listed.take(NAMES_MAX).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Opens the regular file with this plain name in the folder, and keeps it open.
    ///
    /// # Errors
    /// The same as for [`Folder::open`].
    pub fn find(&self, name: &str) -> Result<ExtentFile> {
        Ok(ExtentFile::of_open(self.open(name)?.0))
    }

    /// Returns the path of a missing file, with a hint at a name that differs only in case or
    /// Unicode normalization.
    fn missing(&self, name: &str) -> String {
        let shown = self.path.join(name).display().to_string();
        let folded = fold(name);
        match self.names().unwrap_or_default().into_iter().find(|other| fold(other) == folded) {
            Some(other) => format!(
                "{shown} (a file of almost this name is there: {other:?}; case or the form of its letters \
                 differs)"
            ),
            None => shown,
        }
    }

    /// Opens the regular file with this plain name in the folder.
    ///
    /// # Errors
    /// [`Fault::Extent`] if the name is not plain or does not belong to a regular file;
    /// [`BlockError::Io`] if no such file exists.
    fn open(&self, name: &str) -> Result<(RawFile, Stamp)> {
        let refused =
            |why| Fault::Extent { name: name.chars().take(120).collect(), why }.at(&self.descriptor, 0);
        if let Some(why) = name_fault(name) {
            return Err(refused(why));
        }
        let shown = self.path.join(name).display().to_string();
        let failed = |error: Errno| match error {
            Errno::LOOP => refused("a symbolic link"),
            Errno::XDEV => refused("a name that leads out of the folder"),
            Errno::NOENT => {
                DiskError::MissingExtent { object: self.missing(name), source: Errno::NOENT.into() }.into()
            }
            error => Error::io("open the extent", &shown, error.into()),
        };
        // Check the type before opening: merely opening some devices has side effects.
        let stat = rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Symlink => return Err(refused("a symbolic link")),
            FileType::Directory => return Err(refused("a folder")),
            _ => return Err(refused("a device, a pipe or a socket")),
        }
        let file = File::from(self.open_beneath(name).map_err(failed)?);
        let metadata = file.metadata().map_err(|error| Error::io("look at", &shown, error))?;
        if !metadata.is_file() {
            return Err(refused("no regular file"));
        }
        Ok((RawFile::of_file(file, shown, true)?, Stamp::of(&metadata)))
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
struct Stamp {
    /// The device, the inode and the length in bytes.
    identity: (u64, u64, u64),
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

/// The files of a disk's extents: their folder and a cache of open files.
#[derive(Debug)]
pub(super) struct Files {
    folder: Folder,
    open: Recent<RawFile>,
}

impl Files {
    /// Opens the folder of the descriptor at `path`.
    ///
    /// # Errors
    /// [`BlockError::Io`].
    pub fn beside(path: &Path) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { folder: Folder::of(path)?, open: Recent::new(FILES_OPEN) }))
    }

    /// Opens the file with this plain name; `number` must be unique within the disk.
    ///
    /// # Errors
    /// [`Fault::Extent`] if it is not a regular file next to the descriptor; [`BlockError::Io`] if no
    /// such file exists.
    pub fn find(self: &Arc<Self>, name: &str, number: u32) -> Result<ExtentFile> {
        let (file, stamp) = self.folder.open(name)?;
        let found = ExtentFile {
            name: file.name(),
            size: file.file_size(),
            handle: Handle::Beside { files: self.clone(), plain: name.to_owned(), number, stamp },
        };
        self.open.get_or_put((number, 0), file);
        Ok(found)
    }
}

/// A file of a disk. Files next to a descriptor may be closed to make room and reopened later;
/// device, inode and length must then be unchanged.
#[derive(Debug)]
pub(super) struct ExtentFile {
    name: String,
    size: u64,
    handle: Handle,
}

#[derive(Debug)]
enum Handle {
    Open(Arc<RawFile>),
    Beside { files: Arc<Files>, plain: String, number: u32, stamp: Stamp },
}

impl ExtentFile {
    /// Wraps a file that stays open.
    pub fn of_open(file: RawFile) -> Self {
        Self { name: file.name(), size: file.file_size(), handle: Handle::Open(Arc::new(file)) }
    }

    /// Returns the file's name for messages.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// Returns the file's length, in bytes.
    pub fn file_size(&self) -> u64 {
        self.size
    }

    /// Returns the file's device and inode.
    ///
    /// # Errors
    /// [`BlockError::Io`].
    pub fn identity(&self) -> Result<(u64, u64)> {
        match &self.handle {
            Handle::Open(file) => file.identity(),
            Handle::Beside { stamp, .. } => Ok((stamp.identity.0, stamp.identity.1)),
        }
    }

    /// Does the same as [`BlockDevice::read_at`].
    ///
    /// # Errors
    /// [`BlockError::Io`]; [`BlockError::Changed`] if the file was replaced or truncated.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.opened()?.read_at(offset, buf)
    }

    /// Does the same as [`BlockDevice::map`].
    ///
    /// # Errors
    /// The same as for [`ExtentFile::read_at`].
    pub fn map(&self, offset: u64, len: u64) -> Result<Run> {
        self.opened()?.map(offset, len)
    }

    /// Fails if the file was modified since it was first opened, as far as its timestamps and size show.
    ///
    /// # Errors
    /// [`BlockError::Changed`].
    pub fn check_unchanged(&self) -> Result<()> {
        let Handle::Beside { files, plain, stamp, .. } = &self.handle else {
            return self.opened()?.check_unchanged();
        };
        // The file may have been closed, and its name may now belong to another file.
        let (_, now) = self.again(files, plain)?;
        if now == *stamp { Ok(()) } else { Err(self.changed()) }
    }

    fn opened(&self) -> Result<Arc<RawFile>> {
        let (files, plain, number, stamp) = match &self.handle {
            Handle::Open(file) => return Ok(file.clone()),
            Handle::Beside { files, plain, number, stamp } => (files, plain, *number, stamp),
        };
        if let Some(file) = files.open.get((number, 0)) {
            return Ok(file);
        }
        let (file, now) = self.again(files, plain)?;
        if now.identity != stamp.identity {
            return Err(self.changed());
        }
        Ok(files.open.get_or_put((number, 0), file))
    }

    /// Reopens the file. If the name is gone or is no longer a regular file's, the file counts as changed.
    fn again(&self, files: &Files, plain: &str) -> Result<(RawFile, Stamp)> {
        match files.folder.open(plain) {
            Err(error) if is_unsound(&error) || error.is_not_found() => Err(self.changed()),
            opened => opened,
        }
    }

    fn changed(&self) -> Error {
        Error::from(BlockError::Changed { object: self.name.clone() })
    }
}

/// Reads `len` bytes of a file at `offset`.
///
/// # Errors
/// [`Fault::Truncated`] if the file is shorter; nothing is allocated then.
pub(super) fn read(file: &ExtentFile, offset: u64, len: u64) -> Result<Vec<u8>> {
    check_inside(file, offset, len)?;
    let mut bytes = vec![0; len as usize];
    file.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

/// Checks that a range of bytes lies inside the file.
///
/// # Errors
/// [`Fault::Truncated`].
pub(super) fn check_inside(file: &ExtentFile, offset: u64, len: u64) -> Result<()> {
    let (needed, found) = (offset.saturating_add(len), file.file_size());
    if needed > found {
        return Err(Fault::Truncated { needed, found }.at(file.name(), offset));
    }
    Ok(())
}
