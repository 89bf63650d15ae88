//! A folder as storage.
//!
//! All operations start at an open descriptor of the folder. No symbolic link inside it is followed, and
//! a folder renamed meanwhile stays the same store.
//!
//! An object is durable under its name after its bytes, the name's folder, and each folder above have
//! been synced. A handle syncs the folders above when it first gives a name in one. It does so even
//! if another process created them, because that process may have died before its sync.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::fs::{Access, Fs, Kind, Stat, SyncPoint};
use super::machine::Machine;
use super::object_name::{NotObjectName, PARTS_MAX};
use super::open_file::{FileAppend, FileLockGuard, FileObject};
use super::real_fs::RealFs;
use super::{Append, Listed, LockGuard, LockMode, ObjectName, ObjectSource, ObjectStore, ReadAt, Scratch};
use melv_block::folder_synced;

/// The sleep between two attempts to take a lock; the kernel offers no lock wait with a timeout.
const LOCK_POLL: Duration = Duration::from_millis(20);
/// The maximum number of attempts to recreate a folder that another process removes as empty.
const FOLDER_TRIES: u32 = 64;
/// The maximum number of folders held open and remembered as durable.
const FOLDERS_MAX: usize = 64;

/// Stores objects as files in a folder.
///
/// No symbolic link in the folder is followed; the path of the folder itself may contain links.
/// Permissions of new files follow the process's umask. Clones share the open folder.
///
/// The file system must provide atomic `rename`, `fsync` of files, and `flock` with locks that exclude
/// all users of the folder. If folders cannot be synced, names become durable at the file system's
/// discretion. Locks belong to open files: a process that forks without `exec` holds them in both
/// processes, until both have ended or closed the file.
#[derive(Debug, Clone)]
pub struct FileStorage<F: Fs = RealFs> {
    place: Arc<Place<F>>,
}

#[derive(Debug)]
struct Place<F: Fs> {
    path: PathBuf,
    fs: F,
    root: Mutex<Option<Arc<F::Folder>>>,
    /// Folders whose own names are durable, by path; "" is the root. They stay open: a link count of zero
    /// reveals a removed folder even if another took its path.
    durable: Mutex<BTreeMap<String, Arc<F::Folder>>>,
}

impl FileStorage {
    /// Creates a storage in the folder `root`, which is created with the first object.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::on(RealFs, root)
    }
}

/// Splits the name of an object or folder into its folder and its last part.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

fn is_not_there(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

impl<F: Fs> FileStorage<F> {
    /// Creates a storage in the folder `root` of a file system.
    #[doc(hidden)]
    #[must_use]
    pub fn on(fs: F, root: impl Into<PathBuf>) -> Self {
        let path = root.into();
        let place = Place { path, fs, root: Mutex::default(), durable: Mutex::default() };
        Self { place: Arc::new(place) }
    }

    fn fs(&self) -> &F {
        &self.place.fs
    }

    fn durable(&self) -> MutexGuard<'_, BTreeMap<String, Arc<F::Folder>>> {
        self.place.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held_root(&self) -> MutexGuard<'_, Option<Arc<F::Folder>>> {
        self.place.root.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the existing root.
    fn root(&self) -> io::Result<Arc<F::Folder>> {
        let mut held = self.held_root();
        match &*held {
            Some(root) => Ok(root.clone()),
            None => Ok(held.insert(Arc::new(self.fs().place(&self.place.path)?)).clone()),
        }
    }

    /// Closes a removed root: another may exist in its place.
    fn forget_removed_root(&self) -> bool {
        let mut held = self.held_root();
        let is_removed =
            |root: &Arc<F::Folder>| self.fs().stat_folder(root).is_ok_and(|stat| stat.links == 0);
        let is_forgotten = held.take_if(|root| is_removed(root)).is_some();
        if is_forgotten {
            self.durable().clear();
        }
        is_forgotten
    }

    /// Retries `work` on `NotFound`, since another process may have removed a folder. Not every file
    /// system reports that an open folder was removed.
    fn retried<T>(&self, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        for _ in 1..FOLDER_TRIES {
            match work() {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.forget_removed_root();
                    self.durable().clear();
                }
                done => return done,
            }
        }
        work()
    }

    /// Opens the root, and creates it if it is missing.
    fn root_made(&self) -> io::Result<Arc<F::Folder>> {
        match self.root() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.make_place(&self.place.path)?;
                self.root()
            }
            other => other,
        }
    }

    /// Creates the folder `path` and those above it, each durable in its parent.
    fn make_place(&self, path: &Path) -> io::Result<()> {
        let above_path = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().ok_or(ErrorKind::NotFound)?;
        let above = match self.fs().place(above_path) {
            Ok(above) => {
                self.sync_above(&above, SyncPoint::AbovePlace)?;
                above
            }
            Err(error) if error.kind() == ErrorKind::NotFound && !above_path.as_os_str().is_empty() => {
                self.make_place(above_path)?;
                self.fs().place(above_path)?
            }
            Err(error) => return Err(error),
        };
        self.make_folder(&above, name)?;
        let synced = self.fs().sync_folder(&above, SyncPoint::MadePlace);
        folder_synced(synced, || above_path.display().to_string())
    }

    /// Syncs the parent of a folder, which lies outside the store. An unreadable parent cannot be synced.
    fn sync_above(&self, folder: &F::Folder, point: SyncPoint) -> io::Result<()> {
        let above = match self.fs().above(folder) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(()),
            other => other?,
        };
        match self.fs().sync_folder(&above, point) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
            synced => folder_synced(synced, || format!("above {}", self.place.path.display())),
        }
    }

    fn make_folder(&self, above: &F::Folder, name: &OsStr) -> io::Result<()> {
        match self.fs().make_folder(above, name) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_folder(&self, folder: &F::Folder, path: &str, point: SyncPoint) -> io::Result<()> {
        folder_synced(self.fs().sync_folder(folder, point), || {
            self.place.path.join(path).display().to_string()
        })
    }

    /// Opens the existing folder `path`.
    fn existing(&self, path: &str) -> io::Result<Arc<F::Folder>> {
        let root = self.root()?;
        if path.is_empty() { Ok(root) } else { self.fs().folder(&root, path).map(Arc::new) }
    }

    /// Opens the folder `path`, and creates it if it is missing.
    fn made(&self, path: &str) -> io::Result<Arc<F::Folder>> {
        let root = self.root_made()?;
        if path.is_empty() {
            return Ok(root);
        }
        match self.fs().folder(&root, path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (above, name) = split(path);
                self.make_folder(self.made(above)?.as_ref(), OsStr::new(name))?;
                self.fs().folder(&root, path)
            }
            other => other,
        }
        .map(Arc::new)
    }

    /// Opens the folder `path`, and creates it if it is missing. Its name and those above it are durable
    /// on return.
    fn settled(&self, path: &str) -> io::Result<Arc<F::Folder>> {
        if let Some(known) = self.known(path) {
            return Ok(known);
        }
        let folder = self.made(path)?;
        if path.is_empty() {
            self.sync_above(&folder, SyncPoint::AboveRoot)?;
        } else {
            let (above_path, _) = split(path);
            let above = self.settled(above_path)?;
            self.sync_folder(&above, above_path, SyncPoint::Chain)?;
        }
        self.remember(path, &folder);
        Ok(folder)
    }

    /// Creates folders in the folder `above_path`, and makes them durable with one sync.
    fn settle_all(&self, above_path: &str, paths: &[&str]) -> io::Result<()> {
        let unknown = paths.iter().filter(|path| self.known(path).is_none());
        let unknown: Vec<_> = unknown.map(|path| Ok((path, self.made(path)?))).collect::<io::Result<_>>()?;
        if !unknown.is_empty() {
            self.sync_folder(self.settled(above_path)?.as_ref(), above_path, SyncPoint::Chain)?;
            unknown.iter().for_each(|(path, folder)| self.remember(path, folder));
        }
        Ok(())
    }

    /// Returns the folder `path` if it is known to be durable and has not been removed.
    fn known(&self, path: &str) -> Option<Arc<F::Folder>> {
        let known = self.durable().get(path).cloned()?;
        self.fs().stat_folder(&known).is_ok_and(|stat| stat.links > 0).then_some(known)
    }

    fn remember(&self, path: &str, folder: &Arc<F::Folder>) {
        let mut durable = self.durable();
        if durable.len() >= FOLDERS_MAX {
            durable.clear();
        }
        durable.insert(path.into(), folder.clone());
    }

    /// Returns an entry of the folder that is not one of `ours`; `None` if there is no such entry, or no
    /// folder.
    ///
    /// # Errors
    /// Errors of reading the folder.
    pub fn foreign_entry(&self, ours: &[&str]) -> io::Result<Option<String>> {
        let entries = match self.existing("").and_then(|root| self.fs().entries(&root)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let names = entries.into_iter().map(|(name, _)| name.to_string_lossy().into_owned());
        Ok(names.into_iter().find(|name| !ours.contains(&name.as_str())))
    }

    /// Lists the folder `path`, in any order; empty if it does not exist.
    fn listed(&self, path: &str) -> io::Result<Vec<Listed>> {
        let mut found = Vec::new();
        match self.existing(path) {
            Ok(folder) => self.collect(&folder, path, &mut found)?,
            Err(error) if is_not_there(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(found)
    }

    fn collect(&self, folder: &F::Folder, path: &str, found: &mut Vec<Listed>) -> io::Result<()> {
        for (name, kind) in self.fs().entries(folder)? {
            let Some(part) = name.to_str() else { continue };
            let path = if path.is_empty() { part.to_owned() } else { format!("{path}/{part}") };
            match kind {
                Kind::Folder if path.split('/').count() < PARTS_MAX => {
                    match self.fs().folder(folder, part) {
                        Ok(inner) => self.collect(&inner, &path, found)?,
                        // Removed meanwhile, or replaced by something else.
                        Err(error) if is_not_there(&error) || error.kind() == ErrorKind::InvalidData => {}
                        Err(error) => return Err(error),
                    }
                }
                // A file whose name is none of an object does not belong to the store. One may be removed
                // between the listing and the stat.
                Kind::File => {
                    if let Ok(name) = path.parse()
                        && let Ok(Stat { kind: Kind::File, len, .. }) = self.fs().stat(folder, part)
                    {
                        found.push(Listed { name, len });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Publishes objects whose folders together fit the limit on open folders.
    fn publish_some(&self, moves: &[(ObjectName, ObjectName)]) -> io::Result<()> {
        let mut targets: BTreeMap<&str, Arc<F::Folder>> = BTreeMap::new();
        let mut source: Option<(&str, Arc<F::Folder>)> = None;
        for (from, to) in moves {
            let ((from_path, from), (to_path, to)) = (split(from), split(to));
            if source.as_ref().is_none_or(|(path, _)| *path != from_path) {
                let known = self.known(from_path).map_or_else(|| self.existing(from_path), Ok);
                source = Some((from_path, known?));
            }
            let Some((_, source)) = &source else { continue };
            let target = self.retried(|| {
                let target = match targets.remove(to_path) {
                    Some(target) => target,
                    None => self.settled(to_path)?,
                };
                self.fs().rename((source, from), (&target, to))?;
                Ok(target)
            })?;
            targets.insert(to_path, target);
        }
        targets.iter().try_for_each(|(path, folder)| self.sync_folder(folder, path, SyncPoint::Target))
    }

    /// Removes the folder `path` and those above it, as far as they are empty. Returns the path of the
    /// first remaining folder.
    fn remove_empty<'a>(&self, mut path: &'a str) -> io::Result<&'a str> {
        while !path.is_empty() {
            let (above_path, name) = split(path);
            match self.existing(above_path) {
                Ok(above) => match self.fs().remove_folder(&above, name) {
                    Ok(()) => drop(self.durable().remove(path)),
                    Err(error) if is_not_there(&error) => {}
                    // The folder is not empty, or the process may not remove it.
                    Err(_) => return Ok(path),
                },
                Err(error) if is_not_there(&error) => {}
                Err(error) => return Err(error),
            }
            path = above_path;
        }
        Ok(path)
    }

    /// Syncs the folder `path`, or else the nearest existing folder above it, from which an entry was
    /// removed.
    fn sync_removal(&self, mut path: &str) -> io::Result<()> {
        loop {
            match self.existing(path) {
                Ok(folder) => return self.sync_folder(&folder, path, SyncPoint::Removal),
                Err(error) if is_not_there(&error) && !path.is_empty() => path = split(path).0,
                Err(error) if is_not_there(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn open_lock(&self, name: &ObjectName, mode: LockMode) -> io::Result<F::File> {
        let (folder, _) = split(name);
        // A reader may hold a shared lock of another user's store without write permission.
        if mode == LockMode::Shared {
            match self.root().and_then(|root| self.fs().open(&root, name, Access::Read)) {
                Err(error) if is_not_there(&error) => {}
                other => return other,
            }
        }
        self.retried(|| {
            let root = self.root_made()?;
            match self.fs().open(&root, name, Access::Lock) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.made(folder)?;
                    self.fs().open(&root, name, Access::Lock)
                }
                other => other,
            }
        })
    }

    fn take_lock(&self, name: &ObjectName, mode: LockMode, wait: Duration) -> io::Result<F::File> {
        let mut file = self.open_lock(name, mode)?;
        // A wait beyond the clock's range never ends.
        let deadline = Instant::now().checked_add(wait);
        loop {
            if self.fs().lock(&file, mode)? {
                let stat = self.fs().stat_file(&file)?;
                if stat.kind != Kind::File {
                    return Err(not_a_file());
                }
                if stat.links > 0 {
                    return Ok(file);
                }
                // The last holder removed the file, so a lock on it excludes nobody.
                file = self.open_lock(name, mode)?;
            } else if deadline.is_some_and(|end| Instant::now() >= end) {
                return Err(ErrorKind::WouldBlock.into());
            } else {
                std::thread::sleep(LOCK_POLL);
            }
        }
    }
}

fn not_a_file() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "not a regular file")
}

impl<F: Fs> ObjectSource for FileStorage<F> {
    fn place(&self) -> String {
        self.place.path.display().to_string()
    }

    fn open(&self, name: &ObjectName) -> io::Result<Arc<dyn ReadAt>> {
        let file = self.fs().open(self.root()?.as_ref(), name, Access::Read)?;
        let Stat { kind, len, modified_nanos, .. } = self.fs().stat_file(&file)?;
        if kind != Kind::File {
            return Err(not_a_file());
        }
        Ok(Arc::new(FileObject { fs: self.fs().clone(), file, len, modified_nanos }))
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        if !prefix.is_empty() && prefix.parse::<ObjectName>().is_err() {
            return Err(io::Error::new(ErrorKind::InvalidInput, NotObjectName));
        }
        let mut found = self.listed(prefix)?;
        if found.is_empty() && self.forget_removed_root() {
            found = self.listed(prefix)?;
        }
        found.sort_unstable();
        Ok(found)
    }

    fn foreign_owner(&self, name: &ObjectName) -> Option<u32> {
        let (path, last) = split(name);
        let folder = self.existing(path).ok()?;
        self.fs().stat(&folder, last).ok()?.foreign_owner
    }
}

impl<F: Fs> ObjectStore for FileStorage<F> {
    fn publish(&self, moves: &[(ObjectName, ObjectName)]) -> io::Result<()> {
        moves.chunks(FOLDERS_MAX).try_for_each(|some| self.publish_some(some))
    }

    fn prepare(&self, names: &[ObjectName]) -> io::Result<()> {
        let mut inner: BTreeSet<&str> = BTreeSet::new();
        for name in names {
            let mut path = split(name).0;
            // Folders beyond the limit become durable later, when names are published in them.
            if inner.len() >= FOLDERS_MAX / 2 {
                break;
            }
            while !path.is_empty() && inner.insert(path) {
                path = split(path).0;
            }
        }
        // Grouped by parent, the root first, so that each parent is synced only once.
        let mut by_above: BTreeMap<(usize, &str), Vec<&str>> = BTreeMap::new();
        for path in inner {
            let above = split(path).0;
            by_above.entry((above.len(), above)).or_default().push(path);
        }
        by_above.iter().try_for_each(|((_, above), inner)| self.retried(|| self.settle_all(above, inner)))
    }

    fn settle(&self, names: &[ObjectName]) -> io::Result<()> {
        for name in names {
            let mut path = split(name).0;
            loop {
                match self.existing(path) {
                    Ok(folder) => self.sync_folder(&folder, path, SyncPoint::Settle)?,
                    Err(error) if is_not_there(&error) => {}
                    Err(error) => return Err(error),
                }
                if path.is_empty() {
                    break;
                }
                path = split(path).0;
            }
        }
        Ok(())
    }

    fn link(&self, name: &ObjectName, second: &ObjectName) -> io::Result<()> {
        let ((from_path, from), (to_path, to)) = (split(name), split(second));
        let source = self.existing(from_path)?;
        self.retried(|| self.fs().link((&source, from), (self.made(to_path)?.as_ref(), to)))
    }

    fn remove(&self, names: &[ObjectName]) -> io::Result<()> {
        let mut folders = BTreeSet::new();
        let mut open: Option<(&str, Option<Arc<F::Folder>>)> = None;
        for name in names {
            let (path, last) = split(name);
            if open.as_ref().is_none_or(|(known, _)| *known != path) {
                let folder = match self.existing(path) {
                    Err(error) if is_not_there(&error) => None,
                    other => Some(other?),
                };
                open = Some((path, folder));
            }
            if let Some((_, Some(folder))) = &open {
                match self.fs().remove_file(folder, last) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            folders.insert(path);
        }
        // Deepest first, so that a folder is tried after its subfolders.
        folders.iter().rev().try_for_each(|path| self.sync_removal(self.remove_empty(path)?))
    }

    fn lock(&self, name: &ObjectName, mode: LockMode, wait: Duration) -> io::Result<Box<dyn LockGuard>> {
        Ok(Box::new(FileLockGuard::<F> { _file: self.take_lock(name, mode, wait)? }))
    }

    fn claim(&self, name: &ObjectName, mark: &[u8]) -> io::Result<Box<dyn LockGuard>> {
        let file = self.take_lock(name, LockMode::Exclusive, Duration::ZERO)?;
        self.fs().rewrite(&file, mark)?;
        Ok(Box::new(FileLockGuard::<F> { _file: file }))
    }

    fn machine(&self) -> Option<Machine> {
        self.fs().machine()
    }
}

impl<F: Fs> Scratch for FileStorage<F> {
    fn create(&self, name: &ObjectName) -> io::Result<Arc<dyn Append>> {
        let (folder, _) = split(name);
        let file = self.retried(|| {
            let root = self.root_made()?;
            match self.fs().open(&root, name, Access::Create) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.made(folder)?;
                    self.fs().open(&root, name, Access::Create)
                }
                other => other,
            }
        })?;
        Ok(Arc::new(FileAppend { fs: self.fs().clone(), file }))
    }
}
