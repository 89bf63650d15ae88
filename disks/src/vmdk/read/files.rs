//! Opens the files of a disk, each through its gate; the only module here that opens files.

use std::path::Path;
use std::sync::Arc;

use crate::error::DiskError;
use crate::gate::Gate;
use crate::gated_folder::{GatedFolder, Refusal, Stamp};
use crate::vmdk::VmdkViolation;
use crate::vmdk::layout::limits::FILES_OPEN;
use crate::vmdk::read::recent::Recent;
use melv_block::RawFile;
use melv_block::{BlockDevice, Run};
use melv_block::{BlockError, Error, Result};

/// The number of characters of an extent's name that an error shows.
const SHOWN_CHARS: usize = 120;

/// The files of a disk's extents: their folder and a cache of open files.
#[derive(Debug)]
pub(crate) struct ExtentFiles {
    folder: GatedFolder,
    /// The descriptor's path, for messages.
    descriptor: String,
    open: Recent<RawFile>,
}

impl ExtentFiles {
    /// Opens the folder of the descriptor at `path`.
    ///
    /// # Errors
    /// [`BlockError::Io`].
    pub fn of(path: &Path, gate: Gate) -> Result<Arc<Self>> {
        let folder = GatedFolder::of(path, gate)?;
        Ok(Arc::new(Self { folder, descriptor: path.display().to_string(), open: Recent::new(FILES_OPEN) }))
    }

    /// Opens the file with this name; `number` must be unique within the disk.
    ///
    /// # Errors
    /// [`VmdkViolation::Extent`] if it is not a regular file next to the descriptor;
    /// [`DiskError::MissingExtent`] if no such file exists; [`DiskError::GateClosed`]; [`BlockError::Io`].
    pub fn find(self: &Arc<Self>, name: &str, number: u32) -> Result<ExtentFile> {
        let (file, stamp) = self.folder.open(name).map_err(|refusal| self.refused(name, refusal))?;
        let found = ExtentFile {
            name: file.name(),
            size: file.file_size(),
            handle: Handle::Beside { files: self.clone(), plain: name.to_owned(), number, stamp },
        };
        self.open.get_or_put((number, 0), file);
        Ok(found)
    }

    /// Turns the gate's refusal to open an extent into an error about the descriptor.
    fn refused(&self, name: &str, refusal: Refusal) -> Error {
        let name = || name.chars().take(SHOWN_CHARS).collect();
        match refusal {
            Refusal::Closed => DiskError::GateClosed { object: self.descriptor.clone(), name: name() }.into(),
            Refusal::Unacceptable(why) => VmdkViolation::Extent { name: name(), why }.at(&self.descriptor, 0),
            Refusal::Missing(object, source) => DiskError::MissingExtent { object, source }.into(),
            Refusal::System(path, source) => Error::io("open the extent", path, source),
            Refusal::Failed(error) => error,
        }
    }
}

/// A file of a disk. Files next to a descriptor may be closed to make room and reopened later;
/// device, inode and length must then be unchanged.
#[derive(Debug)]
pub(crate) struct ExtentFile {
    name: String,
    size: u64,
    handle: Handle,
}

#[derive(Debug)]
enum Handle {
    Open(Arc<RawFile>),
    Beside { files: Arc<ExtentFiles>, plain: String, number: u32, stamp: Stamp },
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
    fn again(&self, files: &ExtentFiles, plain: &str) -> Result<(RawFile, Stamp)> {
        match files.folder.open(plain) {
            Ok(opened) => Ok(opened),
            Err(Refusal::Unacceptable(_) | Refusal::Missing(..)) => Err(self.changed()),
            Err(refusal) => Err(files.refused(plain, refusal)),
        }
    }

    fn changed(&self) -> Error {
        Error::from(BlockError::Changed { object: self.name.clone() })
    }
}

/// Reads `len` bytes of a file at `offset`.
///
/// # Errors
/// [`VmdkViolation::Truncated`] if the file is shorter; nothing is allocated then.
pub(crate) fn read(file: &ExtentFile, offset: u64, len: u64) -> Result<Vec<u8>> {
    check_inside(file, offset, len)?;
    let mut bytes = vec![0; len as usize];
    file.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

/// Checks that a range of bytes lies inside the file.
///
/// # Errors
/// [`VmdkViolation::Truncated`].
pub(crate) fn check_inside(file: &ExtentFile, offset: u64, len: u64) -> Result<()> {
    let (needed, found) = (offset.saturating_add(len), file.file_size());
    if needed > found {
        return Err(VmdkViolation::Truncated { needed, found }.at(file.name(), offset));
    }
    Ok(())
}
