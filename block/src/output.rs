//! Output files and block devices. A file keeps a temporary name until it is complete.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::failure::{BlockError, DeviceState};
use crate::signature;

/// The destination of an output.
#[derive(Debug)]
pub struct Target {
    /// The file itself; if the given path is a link, its target.
    path: PathBuf,
    /// The path as given, for messages.
    name: String,
    is_block_device: bool,
    /// Whether the given path is a dangling link: the name is taken by the link.
    is_link: bool,
}

impl Target {
    /// Resolves `path` to a new name, an existing file, or a block device.
    ///
    /// # Errors
    /// [`BlockError::Invalid`] for anything else; the message says that `expected` is required.
    pub fn find(path: &Path, expected: &'static str) -> Result<Self> {
        let name = path.display().to_string();
        let (path, is_link) = followed(path).map_err(|error| Error::io("follow the link", &name, error))?;
        let name = if is_link { format!("{name} (a link to {})", path.display()) } else { name };
        let is_block_device = match std::fs::metadata(&path).map(|metadata| metadata.file_type()) {
            Ok(kind) if kind.is_block_device() => true,
            Ok(kind) if !kind.is_file() => {
                return Err(BlockError::Invalid { what: "output", found: name, expected }.into());
            }
            _ => false,
        };
        Ok(Self { path, name, is_block_device, is_link })
    }

    /// Like [`Target::find`], for formats that only a file can hold.
    ///
    /// # Errors
    /// [`BlockError::Invalid`] for anything but a file; the message says that `expected` is required.
    pub fn find_file(path: &Path, expected: &'static str) -> Result<Self> {
        let target = Self::find(path, expected)?;
        if target.is_block_device {
            return Err(BlockError::Invalid { what: "output", found: target.name, expected }.into());
        }
        Ok(target)
    }

    /// Whether it is a block device.
    #[must_use]
    pub fn is_block_device(&self) -> bool {
        self.is_block_device
    }

    /// Returns the name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets `fill` write the block device in place, or the file as [`Target::create`] does.
    ///
    /// # Errors
    /// Any error of [`Target::create`] or [`Target::open_device`].
    pub fn write<T>(&self, force: bool, fill: impl FnOnce(&OutputFile<'_>) -> Result<T>) -> Result<T> {
        if !self.is_block_device {
            return self.create(force, fill);
        }
        let out = OutputFile { file: self.open_device(force, 0)?, name: &self.name };
        let filled = fill(&out)?;
        out.sync()?;
        Ok(filled)
    }

    /// Opens the block device for reading and writing. The open is exclusive: the kernel refuses a device
    /// that is mounted or otherwise in use.
    ///
    /// # Errors
    /// [`BlockError::Device`] if it cannot be written, is smaller than `needed_bytes`, or holds something and
    /// `force` is not set; any system error.
    pub fn open_device(&self, force: bool, needed_bytes: u64) -> Result<File> {
        let state = |state| Error::from(BlockError::Device { device: self.name.clone(), state });
        let failed = |operation| move |error| Error::io(operation, &self.name, error);
        let flags = rustix::fs::OFlags::EXCL.bits().cast_signed();
        let opened = File::options().read(true).write(true).custom_flags(flags).open(&self.path);
        let mut file = opened.map_err(|error| match refusal(&self.path, &error) {
            Some(refused) => state(refused),
            None => failed("open")(error),
        })?;
        // The kernel opens some read-only devices all the same and refuses only the first write.
        if is_read_only(&self.path) {
            return Err(state(DeviceState::ReadOnly));
        }
        let room_bytes = file.seek(SeekFrom::End(0)).map_err(failed("measure"))?;
        file.rewind().map_err(failed("measure"))?;
        if room_bytes < needed_bytes {
            return Err(state(DeviceState::TooSmall { room_bytes, needed_bytes }));
        }
        if !force {
            let read = |offset, buf: &mut [u8]| {
                let read = file.read_exact_at(buf, offset);
                read.map_err(|error| Error::io("read", format!("{} at byte {offset}", self.name), error))
            };
            if let Some(held) = signature::find(room_bytes, read)? {
                return Err(state(DeviceState::Holds(held)));
            }
        }
        Ok(file)
    }

    /// Returns the last part of the path.
    pub fn file_name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// Creates the file. `fill` writes it under a temporary name in the same folder; it is renamed once it is
    /// complete and synced. On failure nothing is left behind.
    ///
    /// # Errors
    /// [`BlockError::FileExists`] if the file exists and `force` is not set; any error of the file system or of
    /// `fill`.
    pub fn create<T>(&self, force: bool, fill: impl FnOnce(&OutputFile<'_>) -> Result<T>) -> Result<T> {
        if !force && (self.is_link || self.path.symlink_metadata().is_ok()) {
            return Err(BlockError::FileExists { name: self.name.clone() }.into());
        }
        let (file, path) = create_temporary(&self.path, &self.name)?;
        let mut temporary = Temporary { path, is_there: true };
        let out = OutputFile { file, name: &self.name };
        let filled = fill(&out)?;
        out.sync()?;
        finish_file(&temporary.path, &self.path, force, &self.name)?;
        temporary.is_there = false;
        sync_folder_of(&self.path, &self.name)?;
        Ok(filled)
    }
}

/// A file that is being written.
#[derive(Debug)]
pub struct OutputFile<'a> {
    file: File,
    name: &'a str,
}

impl OutputFile<'_> {
    /// Returns the file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns the name for messages: the final name.
    pub fn name(&self) -> &str {
        self.name
    }

    /// Sets the length of the file; any extension is a hole.
    ///
    /// # Errors
    /// Any file system error.
    pub fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(|error| Error::io("extend", self.name, error))
    }

    /// Waits until all written data would survive a power loss.
    ///
    /// # Errors
    /// Any file system error.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|error| Error::io("sync", self.name, error))
    }

    /// Writes `bytes` at byte `offset`.
    ///
    /// # Errors
    /// Any file system error.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|error| Error::io("write", format!("{} at byte {offset}", self.name), error))
    }
}

/// A file under its temporary name: removed unless finished, even if a thread panics.
struct Temporary {
    path: PathBuf,
    is_there: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.is_there {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The most temporary names to try. Names may be taken by processes with the same PID on other hosts or in
/// other containers, or left behind by killed processes.
const NAMES_TRIED: u64 = 1 << 16;

/// Creates a file in the target's folder, so that it can be renamed to the target. Its short name does not
/// derive from the target's, which may already have the maximum length.
fn create_temporary(target: &Path, name: &str) -> Result<(File, PathBuf)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut tried = 0;
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = target.with_file_name(format!(".melv-{}-{number}.part", std::process::id()));
        tried += 1;
        match File::create_new(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && tried < NAMES_TRIED => {}
            Err(error) => return Err(Error::io("create", name, error)),
        }
    }
}

/// Gives the finished file its name. Without `force` it must not replace another file.
fn finish_file(temporary: &Path, path: &Path, force: bool, name: &str) -> Result<()> {
    if force {
        return rename(temporary, path, name);
    }
    match std::fs::hard_link(temporary, path) {
        Ok(()) => std::fs::remove_file(temporary).map_err(|error| Error::io("remove", name, error)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(BlockError::FileExists { name: name.into() }.into())
        }
        Err(_) => rename_to_new(temporary, path, name),
    }
}

/// Does the work of [`finish_file`] without `force` on a file system without hard links.
fn rename_to_new(temporary: &Path, path: &Path, name: &str) -> Result<()> {
    match rustix::fs::renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(BlockError::FileExists { name: name.into() }.into()),
        // Neither hard links nor `RENAME_NOREPLACE`: rely on the name having been free at the start.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => rename(temporary, path, name),
        Err(error) => Err(Error::io("rename to", name, error.into())),
    }
}

fn rename(temporary: &Path, path: &Path, name: &str) -> Result<()> {
    std::fs::rename(temporary, path).map_err(|error| Error::io("rename to", name, error))
}

/// Makes the file's name durable.
fn sync_folder_of(path: &Path, name: &str) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_folder(File::open(folder)).map_err(|error| Error::io("sync the folder of", name, error))
}

/// Syncs a folder. A folder that is writable but not readable, a drop box, cannot be opened. The file is then
/// complete and named, and the file system persists the name in its own time.
fn sync_folder(opened: io::Result<File>) -> io::Result<()> {
    match opened {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        opened => crate::folder_sync::folder_synced(opened?.sync_all(), || "of the output".into()),
    }
}

/// Returns the reason that the system refused to open a block device for writing, if the error reveals one.
fn refusal(path: &Path, error: &io::Error) -> Option<DeviceState> {
    match error.kind() {
        ErrorKind::ResourceBusy => Some(DeviceState::Busy),
        ErrorKind::ReadOnlyFilesystem => Some(DeviceState::ReadOnly),
        // The error for a read-only device is the same as for another user's.
        ErrorKind::PermissionDenied if is_read_only(path) => Some(DeviceState::ReadOnly),
        _ => None,
    }
}

/// Whether the kernel reports a block device as read-only.
fn is_read_only(path: &Path) -> bool {
    let Ok(device) = std::fs::metadata(path).map(|metadata| metadata.rdev()) else { return false };
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let told = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/ro"));
    told.is_ok_and(|told| told.trim() == "1")
}

/// The most links to follow, the same as the kernel's limit.
const LINKS_MAX: usize = 40;

/// Returns the file that `path` leads to, and whether `path` is a dangling link; then the file is the one the
/// link names.
fn followed(path: &Path) -> io::Result<(PathBuf, bool)> {
    let mut path = path.to_owned();
    for links in 0..LINKS_MAX {
        match path.canonicalize() {
            Ok(there) => return Ok((there, false)),
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => return Err(error),
            Err(error) if error.kind() != ErrorKind::NotFound => return Ok((path, links > 0)),
            Err(_) => {}
        }
        let Ok(named) = std::fs::read_link(&path) else { return Ok((path, links > 0)) };
        path = path.parent().unwrap_or(Path::new("")).join(named);
    }
    Err(Errno::LOOP.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exists<T>(done: Result<T>) -> bool {
        done.is_err_and(|error| error.kind() == crate::error::ErrorKind::Exists)
    }

    #[test]
    fn a_temporary_name_that_is_taken_is_passed_over_and_fits_beside_the_longest() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x".repeat(255));
        let (_, first) = create_temporary(&path, "x").expect("a file");
        let name = first.file_name().and_then(OsStr::to_str).expect("a name");
        let digits = name.strip_suffix(".part").and_then(|name| name.rsplit('-').next()).expect("a number");
        let number: u64 = digits.parse().expect("a number");
        // Parallel tests may advance the counter meanwhile, but not past these.
        for taken in number + 1..number + 2000 {
            let name = format!(".melv-{}-{taken}.part", std::process::id());
            drop(File::create_new(folder.path().join(name)));
        }
        let (_, second) = create_temporary(&path, "x").expect("a file");
        assert_ne!(first, second);
        let target = Target::find(&path, "a file").expect("a target");
        target.create(false, |out| out.set_len(1)).expect("a file of the longest name");
        assert!(exists(target.create(false, |_| Ok(()))));
    }

    #[test]
    fn without_links_a_name_that_is_taken_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let (new, there) = (folder.path().join("new"), folder.path().join("there"));
        std::fs::write(&new, "new").expect("write");
        std::fs::write(&there, "there").expect("write");
        assert!(exists(rename_to_new(&new, &there, "there")));
        assert_eq!(std::fs::read(&there).expect("read"), b"there");
        rename_to_new(&new, &folder.path().join("free"), "free").expect("a free name");
        assert!(!new.exists());
    }

    #[test]
    fn a_link_that_leads_to_nothing_stands_for_the_file_that_it_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let (link, second) = (folder.path().join("link"), folder.path().join("second"));
        std::fs::create_dir(folder.path().join("big")).expect("a folder");
        std::os::unix::fs::symlink("big/disk", &second).expect("a link");
        std::os::unix::fs::symlink("second", &link).expect("a link");
        let target = Target::find(&link, "a file").expect("a target");
        assert!(exists(target.create(false, |_| Ok(()))), "the link is there");
        target.create(true, |out| out.set_len(1)).expect("a file");
        assert!(link.is_symlink() && second.is_symlink());
        assert_eq!(std::fs::metadata(folder.path().join("big/disk")).expect("the file").len(), 1);
        let loops = folder.path().join("loops");
        std::os::unix::fs::symlink("loops", &loops).expect("a link");
        let refused = Target::find(&loops, "a file").and_then(|target| target.create(true, |_| Ok(())));
        assert!(refused.is_err() && loops.is_symlink());
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_no_failure() {
        assert!(sync_folder(Err(ErrorKind::PermissionDenied.into())).is_ok());
        assert!(sync_folder(Err(ErrorKind::NotFound.into())).is_err());
        assert!(sync_folder(File::open(tempfile::tempdir().expect("a folder").path())).is_ok());
    }
}
