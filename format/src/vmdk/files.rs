//! Opening a disk's files: the only file here that names `std::fs` or `rustix`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Fault;
use super::extent::name_fault;
use crate::device::BlockDevice;
use crate::error::{Error, Result};
use crate::source::RawFile;

/// How often an open is tried again that a rename somewhere got in the way of.
const TRIES: usize = 16;

/// The folder that a descriptor lies in: extents are opened in it by plain names, or not at all.
#[derive(Debug)]
pub(super) struct Folder {
    folder: OwnedFd,
    path: PathBuf,
    /// The descriptor, for messages.
    descriptor: String,
}

impl Folder {
    /// The folder of the descriptor at `path`. Where that is a symbolic link, it is the folder of
    /// what the link leads to: there its extents lie.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of(path: &Path) -> Result<Self> {
        let descriptor = path.display().to_string();
        let failed = |error| Error::io("find the folder of", &descriptor, error);
        let real = fs::canonicalize(path).map_err(failed)?;
        let path = real.parent().unwrap_or(Path::new("/")).to_owned();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, &path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        Ok(Self { folder, path, descriptor })
    }

    /// Opens the regular file with this plain name in the folder.
    ///
    /// # Errors
    /// [`Fault::Extent`] for any other name, and where the name is that of anything else;
    /// [`Error::Io`] where there is nothing of this name.
    pub fn open(&self, name: &str) -> Result<RawFile> {
        let refused =
            |why| Fault::Extent { name: name.chars().take(120).collect(), why }.at(&self.descriptor, 0);
        if let Some(why) = name_fault(name) {
            return Err(refused(why));
        }
        let shown = self.path.join(name).display().to_string();
        let failed = |error: Errno| match error {
            Errno::LOOP => refused("a symbolic link"),
            Errno::XDEV => refused("a name that leads out of the folder"),
            error => Error::io("open the extent", &shown, error.into()),
        };
        // First looked at, so that no device is opened: some do things when they are.
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
        RawFile::of_file(file, shown, true)
    }

    /// The kernel is told what the name's form promises already: no way out of the folder.
    fn open_beneath(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..TRIES {
            match rustix::fs::openat2(&self.folder, name, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Kernels before 5.6, and sandboxes that do not know the call.
                Err(Errno::NOSYS | Errno::PERM) => {
                    return rustix::fs::openat(&self.folder, name, flags, Mode::empty());
                }
                opened => return opened,
            }
        }
        Err(Errno::AGAIN)
    }
}

/// Bytes of a file from `offset` on.
///
/// # Errors
/// [`Fault::Truncated`] where the file does not hold them: nothing is allocated then.
pub(super) fn read(file: &RawFile, offset: u64, len: u64) -> Result<Vec<u8>> {
    check_inside(file, offset, len)?;
    let mut bytes = vec![0; len as usize];
    file.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

/// Checks that the file reaches to the end of these bytes.
///
/// # Errors
/// [`Fault::Truncated`].
pub(super) fn check_inside(file: &RawFile, offset: u64, len: u64) -> Result<()> {
    let (needed, found) = (offset.saturating_add(len), file.file_size());
    if needed > found {
        return Err(Fault::Truncated { needed, found }.at(file.name(), offset));
    }
    Ok(())
}
