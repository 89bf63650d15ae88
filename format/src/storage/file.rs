//! A folder as storage: the one place that names `std::fs` for stores.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Append, Held, Listed, LockMode, ReadAt, Storage};

/// How long to sleep between two tries for a lock; the kernel offers no wait with a limit.
const LOCK_POLL: Duration = Duration::from_millis(20);
/// How often to make a folder again that somebody else removes as empty.
const FOLDER_TRIES: u32 = 64;

/// Objects as files in a folder.
///
/// Files are opened without following a symbolic link in their last part, and are made readable
/// to whom the process's umask allows.
#[derive(Debug, Clone)]
pub struct FileStorage {
    root: PathBuf,
}

impl FileStorage {
    /// Storage in the folder `root`, which is made when the first object is.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Fails where a folder between the root and `name` is a link: whoever gave us the store could
    /// have us write, list or remove files elsewhere through it.
    fn check_folders(&self, name: &str) -> io::Result<()> {
        let mut folder = self.root.clone();
        for part in name.split('/').filter(|part| !part.is_empty()) {
            if matches!(part, "." | "..") {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name of this storage"));
            }
            folder.push(part);
            if fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.is_symlink()) {
                let text = format!("{} is a symbolic link", folder.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        Ok(())
    }

    /// The first entry of the folder that is not one of `ours`; `None` where there is none, or no
    /// folder.
    ///
    /// # Errors
    /// Those of reading the folder.
    pub fn foreign_entry(&self, ours: &[&str]) -> io::Result<Option<String>> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !ours.contains(&name.as_str()) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Makes the folders above `path`, each durable in the one above it.
    fn make_parents(&self, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        if parent.as_os_str().is_empty() || parent.is_dir() {
            return Ok(());
        }
        self.make_parents(parent)?;
        match fs::create_dir(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        parent.parent().map_or(Ok(()), sync_folder)
    }

    /// Does `work` on `path` once the folders above it are there. A folder that another removal
    /// finds empty between the two is made again.
    fn with_parents<T>(&self, path: &Path, work: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let tried = || self.make_parents(path).and_then(|()| work());
        for _ in 1..FOLDER_TRIES {
            match tried() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => return done,
            }
        }
        tried()
    }

    fn collect(&self, folder: &Path, name: &str, found: &mut Vec<Listed>) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(part) = entry.file_name().into_string() else { continue };
            let name = if name.is_empty() { part } else { format!("{name}/{part}") };
            // A file may be removed between the listing and the look at it.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                self.collect(&entry.path(), &name, found)?;
            } else if metadata.is_file() {
                found.push(Listed { name, len: metadata.len() });
            }
        }
        Ok(())
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

#[derive(Debug)]
struct FileObject {
    file: File,
    len: u64,
    modified_nanos: Option<u64>,
}

impl ReadAt for FileObject {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn modified_nanos(&self) -> Option<u64> {
        self.modified_nanos
    }
}

/// `None` before 1970 and after 2554.
fn nanos(seconds: i64, nanos: i64) -> Option<u64> {
    let seconds = u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)?;
    seconds.checked_add(u64::try_from(nanos).ok()?)
}

#[derive(Debug)]
struct FileAppend(File);

impl Append for FileAppend {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[derive(Debug)]
struct FileHeld(#[expect(dead_code, reason = "closing the file frees the lock")] File);

impl Held for FileHeld {}

impl Storage for FileStorage {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Append>> {
        self.check_folders(name)?;
        let path = self.path(name);
        let create = || OpenOptions::new().write(true).create_new(true).open(&path);
        Ok(Arc::new(FileAppend(self.with_parents(&path, create)?)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(self.path(name))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
        }
        let modified_nanos = nanos(metadata.mtime(), metadata.mtime_nsec());
        Ok(Arc::new(FileObject { len: metadata.len(), modified_nanos, file }))
    }

    fn publish(&self, moves: &[(String, String)]) -> io::Result<()> {
        let mut folders = BTreeSet::new();
        for (from, to) in moves {
            self.check_folders(from)?;
            self.check_folders(to)?;
            let to = self.path(to);
            self.with_parents(&to, || fs::rename(self.path(from), &to))?;
            folders.extend(to.parent().map(Path::to_path_buf));
        }
        folders.iter().try_for_each(|folder| sync_folder(folder))
    }

    fn link(&self, name: &str, second: &str) -> io::Result<()> {
        self.check_folders(name)?;
        self.check_folders(second)?;
        let to = self.path(second);
        self.with_parents(&to, || fs::hard_link(self.path(name), &to)).map_err(|error| {
            // File systems without links, and one that has no room for more of this file.
            let cannot = [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK, Errno::XDEV];
            match Errno::from_io_error(&error) {
                Some(errno) if cannot.contains(&errno) => io::Error::new(io::ErrorKind::Unsupported, error),
                _ => error,
            }
        })
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        self.check_folders(prefix)?;
        let mut found = Vec::new();
        self.collect(&self.path(prefix), prefix, &mut found)?;
        found.sort_unstable();
        Ok(found)
    }

    fn remove(&self, names: &[String]) -> io::Result<()> {
        let mut folders = BTreeSet::new();
        for name in names {
            self.check_folders(name)?;
            let path = self.path(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            folders.extend(path.parent().map(Path::to_path_buf));
        }
        // Deepest first, so that a folder is tried after the folders in it.
        for folder in folders.iter().rev() {
            let mut folder = folder.as_path();
            while folder != self.root && fs::remove_dir(folder).is_ok() {
                let Some(parent) = folder.parent() else { break };
                folder = parent;
            }
            match sync_folder(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn foreign_owner(&self, name: &str) -> Option<u32> {
        let owner = fs::symlink_metadata(self.path(name)).ok()?.uid();
        let is_trusted = owner == 0 || owner == rustix::process::geteuid().as_raw();
        (!is_trusted).then_some(owner)
    }

    fn lock(&self, name: &str, mode: LockMode, wait: Duration) -> io::Result<Box<dyn Held>> {
        self.check_folders(name)?;
        let path = self.path(name);
        let open = || match mode {
            // A reader of somebody else's store may hold a shared lock without the right to write.
            LockMode::Shared if path.is_file() => File::open(&path),
            _ => self.with_parents(&path, || {
                OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)
            }),
        };
        let mut file = open()?;
        // A wait beyond what the clock can tell is one without end.
        let deadline = Instant::now().checked_add(wait);
        loop {
            let tried = match mode {
                LockMode::Shared => file.try_lock_shared(),
                LockMode::Exclusive => file.try_lock(),
            };
            match tried {
                Ok(()) if file.metadata()?.nlink() > 0 => return Ok(Box::new(FileHeld(file))),
                // Its last holder removed the file: the lock on it keeps nobody else out.
                Ok(()) => file = open()?,
                Err(fs::TryLockError::Error(error)) => return Err(error),
                Err(fs::TryLockError::WouldBlock) if deadline.is_some_and(|end| Instant::now() >= end) => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_POLL),
            }
        }
    }
}
