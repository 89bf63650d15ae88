//! A folder as storage.
//!
//! Everything is done beneath a descriptor of the folder that is held open: no symbolic link inside it
//! is followed, whoever made it, and a folder that is renamed meanwhile stays the same store.
//!
//! An object is durable under its name once its bytes, the name's folder, and each folder above it were
//! synced. The folders above are synced when a handle first gives a name in one, whoever made them:
//! another process may have made them and died before it synced them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::fs::{Access, Fs, Kind, Stat, SyncPoint};
use super::machine::Machine;
use super::real_fs::RealFs;
use super::{Append, Held, Listed, LockMode, ReadAt, Storage};
use melv_block::folder_synced;

/// How long to sleep between two tries for a lock; the kernel offers no wait with a limit.
const LOCK_POLL: Duration = Duration::from_millis(20);
/// How often to make a folder again that somebody else removes as empty.
const FOLDER_TRIES: u32 = 64;
/// Folders that are held open at a time, and remembered as durable.
const FOLDERS_MAX: usize = 64;
/// Names have fewer parts than this; what lies deeper is not ours.
const DEPTH_MAX: usize = 8;

/// Objects as files in a folder.
///
/// No symbolic link in the folder is followed; the folder itself may be named through one. Files are
/// made readable to whom the process's umask allows. Clones share the open folder.
///
/// Of the file system it needs `rename` in one step, `fsync` of files, and `flock`, whose locks keep out
/// everybody who uses the folder. Where folders cannot be synced, names last when the file system sees
/// fit. Locks belong to open files: a process that forks without `exec` holds them in both processes,
/// until both have ended or closed the file.
#[derive(Debug, Clone)]
pub struct FileStorage<F: Fs = RealFs> {
    place: Arc<Place<F>>,
}

#[derive(Debug)]
struct Place<F: Fs> {
    path: PathBuf,
    fs: F,
    root: Mutex<Option<Arc<F::Folder>>>,
    /// Folders whose own names are durable, by path; "" is the root. They are held open: one that was
    /// removed since has no link any more, whatever has its path now.
    durable: Mutex<BTreeMap<String, Arc<F::Folder>>>,
}

impl FileStorage {
    /// Storage in the folder `root`, which is made when the first object is.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::on(RealFs, root)
    }
}

/// The folder of a name and its last part.
fn split(name: &str) -> io::Result<(&str, &str)> {
    check_name(name)?;
    let (folder, last) = name.rsplit_once('/').unwrap_or(("", name));
    if last.is_empty() { Err(not_a_name()) } else { Ok((folder, last)) }
}

fn check_name(name: &str) -> io::Result<()> {
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    if name.is_empty() || name.split('/').all(is_part) { Ok(()) } else { Err(not_a_name()) }
}

fn not_a_name() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "not a name of this storage")
}

fn is_not_there(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

impl<F: Fs> FileStorage<F> {
    /// Storage in the folder `root` of a file system.
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

    /// The root, which is there.
    fn root(&self) -> io::Result<Arc<F::Folder>> {
        let mut held = self.held_root();
        match &*held {
            Some(root) => Ok(root.clone()),
            None => Ok(held.insert(Arc::new(self.fs().place(&self.place.path)?)).clone()),
        }
    }

    /// Lets go of a root that was removed: another may have been made in its place.
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

    /// Does `work` again while a folder is not there that somebody removed since it was made. Not every
    /// file system tells of a folder that is held open that it was removed.
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

    /// The root, made where it is not there.
    fn root_made(&self) -> io::Result<Arc<F::Folder>> {
        match self.root() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.make_place(&self.place.path)?;
                self.root()
            }
            other => other,
        }
    }

    /// Makes the folder `path` and those above it, each durable in the one above.
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

    /// Syncs the folder above one that is not ours. One that may not be read cannot be synced.
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

    /// Opens the folder `path`, which is there.
    fn existing(&self, path: &str) -> io::Result<Arc<F::Folder>> {
        let root = self.root()?;
        if path.is_empty() { Ok(root) } else { self.fs().folder(&root, path).map(Arc::new) }
    }

    /// Opens the folder `path`, made where it is not there.
    fn made(&self, path: &str) -> io::Result<Arc<F::Folder>> {
        let root = self.root_made()?;
        if path.is_empty() {
            return Ok(root);
        }
        match self.fs().folder(&root, path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (above, name) = split(path)?;
                self.make_folder(self.made(above)?.as_ref(), OsStr::new(name))?;
                self.fs().folder(&root, path)
            }
            other => other,
        }
        .map(Arc::new)
    }

    /// Opens the folder `path`, made where it is not there; its name and those above it are durable
    /// on return.
    fn settled(&self, path: &str) -> io::Result<Arc<F::Folder>> {
        if let Some(known) = self.known(path) {
            return Ok(known);
        }
        let folder = self.made(path)?;
        if path.is_empty() {
            self.sync_above(&folder, SyncPoint::AboveRoot)?;
        } else {
            let (above_path, _) = split(path)?;
            let above = self.settled(above_path)?;
            self.sync_folder(&above, above_path, SyncPoint::Chain)?;
        }
        self.remember(path, &folder);
        Ok(folder)
    }

    /// Makes folders and their names in the folder `above_path` durable, all by one sync.
    fn settle_all(&self, above_path: &str, paths: &[&str]) -> io::Result<()> {
        let unknown = paths.iter().filter(|path| self.known(path).is_none());
        let unknown: Vec<_> = unknown.map(|path| Ok((path, self.made(path)?))).collect::<io::Result<_>>()?;
        if !unknown.is_empty() {
            self.sync_folder(self.settled(above_path)?.as_ref(), above_path, SyncPoint::Chain)?;
            unknown.iter().for_each(|(path, folder)| self.remember(path, folder));
        }
        Ok(())
    }

    /// The folder `path` if it is known to be durable and was not removed since.
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

    /// The first entry of the folder that is not one of `ours`; `None` where there is none, or no
    /// folder.
    ///
    /// # Errors
    /// Those of reading the folder.
    pub fn foreign_entry(&self, ours: &[&str]) -> io::Result<Option<String>> {
        let entries = match self.existing("").and_then(|root| self.fs().entries(&root)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let names = entries.into_iter().map(|(name, _)| name.to_string_lossy().into_owned());
        Ok(names.into_iter().find(|name| !ours.contains(&name.as_str())))
    }

    /// What is in the folder `path`, in any order; nothing where it is not there.
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
                Kind::Folder if path.split('/').count() < DEPTH_MAX => {
                    match self.fs().folder(folder, part) {
                        Ok(inner) => self.collect(&inner, &path, found)?,
                        // Removed since, or another thing of that name.
                        Err(error) if is_not_there(&error) || error.kind() == ErrorKind::InvalidData => {}
                        Err(error) => return Err(error),
                    }
                }
                // A file may be removed between the listing and the look at it.
                Kind::File => {
                    if let Ok(Stat { kind: Kind::File, len, .. }) = self.fs().stat(folder, part) {
                        found.push(Listed { name: path, len });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Names objects whose folders together are no more than may be held open.
    fn publish_some(&self, moves: &[(String, String)]) -> io::Result<()> {
        let mut targets: BTreeMap<&str, Arc<F::Folder>> = BTreeMap::new();
        let mut source: Option<(&str, Arc<F::Folder>)> = None;
        for (from, to) in moves {
            let ((from_path, from), (to_path, to)) = (split(from)?, split(to)?);
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

    /// Removes the folder `path` and those above it, as far as they are empty; gives the path of the
    /// first that is there.
    fn remove_empty<'a>(&self, mut path: &'a str) -> io::Result<&'a str> {
        while !path.is_empty() {
            let (above_path, name) = split(path)?;
            match self.existing(above_path) {
                Ok(above) => match self.fs().remove_folder(&above, name) {
                    Ok(()) => drop(self.durable().remove(path)),
                    Err(error) if is_not_there(&error) => {}
                    // Not empty, or not ours to remove.
                    Err(_) => return Ok(path),
                },
                Err(error) if is_not_there(&error) => {}
                Err(error) => return Err(error),
            }
            path = above_path;
        }
        Ok(path)
    }

    /// Syncs the folder `path`, or where it is gone the first above it that is there: its entry went
    /// from that.
    fn sync_removal(&self, mut path: &str) -> io::Result<()> {
        loop {
            match self.existing(path) {
                Ok(folder) => return self.sync_folder(&folder, path, SyncPoint::Removal),
                Err(error) if is_not_there(&error) && !path.is_empty() => path = split(path)?.0,
                Err(error) if is_not_there(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn open_lock(&self, name: &str, mode: LockMode) -> io::Result<F::File> {
        let (folder, _) = split(name)?;
        // A reader of somebody else's store may hold a shared lock without the right to write.
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

    fn take_lock(&self, name: &str, mode: LockMode, wait: Duration) -> io::Result<F::File> {
        let mut file = self.open_lock(name, mode)?;
        // A wait beyond what the clock can tell is one without end.
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
                // Its last holder removed the file: the lock on it keeps nobody else out.
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

#[derive(Debug)]
struct FileObject<F: Fs> {
    fs: F,
    file: F::File,
    len: u64,
    modified_nanos: Option<u64>,
}

impl<F: Fs> ReadAt for FileObject<F> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.fs.read_exact_at(&self.file, buf, offset)
    }

    fn modified_nanos(&self) -> Option<u64> {
        self.modified_nanos
    }
}

#[derive(Debug)]
struct FileAppend<F: Fs> {
    fs: F,
    file: F::File,
}

impl<F: Fs> Append for FileAppend<F> {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.fs.append(&self.file, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.fs.sync(&self.file, SyncPoint::Object)
    }
}

#[derive(Debug)]
struct FileHeld<F: Fs> {
    /// Closing it frees the lock.
    _file: F::File,
}

impl<F: Fs> Held for FileHeld<F> {}

impl<F: Fs> Storage for FileStorage<F> {
    fn place(&self) -> String {
        self.place.path.display().to_string()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Append>> {
        let (folder, _) = split(name)?;
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

    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        split(name)?;
        let file = self.fs().open(self.root()?.as_ref(), name, Access::Read)?;
        let Stat { kind, len, modified_nanos, .. } = self.fs().stat_file(&file)?;
        if kind != Kind::File {
            return Err(not_a_file());
        }
        Ok(Arc::new(FileObject { fs: self.fs().clone(), file, len, modified_nanos }))
    }

    fn publish(&self, moves: &[(String, String)]) -> io::Result<()> {
        moves.chunks(FOLDERS_MAX).try_for_each(|some| self.publish_some(some))
    }

    fn prepare(&self, names: &[String]) -> io::Result<()> {
        let mut inner: BTreeSet<&str> = BTreeSet::new();
        for name in names {
            let mut path = split(name)?.0;
            // Those beyond are made durable when names are given in them.
            if inner.len() >= FOLDERS_MAX / 2 {
                break;
            }
            while !path.is_empty() && inner.insert(path) {
                path = split(path)?.0;
            }
        }
        // By the folder above, the root first, so that each is synced once for all in it.
        let mut by_above: BTreeMap<(usize, &str), Vec<&str>> = BTreeMap::new();
        for path in inner {
            let above = split(path)?.0;
            by_above.entry((above.len(), above)).or_default().push(path);
        }
        by_above.iter().try_for_each(|((_, above), inner)| self.retried(|| self.settle_all(above, inner)))
    }

    fn settle(&self, names: &[String]) -> io::Result<()> {
        for name in names {
            let mut path = split(name)?.0;
            loop {
                match self.existing(path) {
                    Ok(folder) => self.sync_folder(&folder, path, SyncPoint::Settle)?,
                    Err(error) if is_not_there(&error) => {}
                    Err(error) => return Err(error),
                }
                if path.is_empty() {
                    break;
                }
                path = split(path)?.0;
            }
        }
        Ok(())
    }

    fn link(&self, name: &str, second: &str) -> io::Result<()> {
        let ((from_path, from), (to_path, to)) = (split(name)?, split(second)?);
        let source = self.existing(from_path)?;
        self.retried(|| self.fs().link((&source, from), (self.made(to_path)?.as_ref(), to)))
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        check_name(prefix)?;
        let mut found = self.listed(prefix)?;
        if found.is_empty() && self.forget_removed_root() {
            found = self.listed(prefix)?;
        }
        found.sort_unstable();
        Ok(found)
    }

    fn remove(&self, names: &[String]) -> io::Result<()> {
        let mut folders = BTreeSet::new();
        let mut open: Option<(&str, Option<Arc<F::Folder>>)> = None;
        for name in names {
            let (path, last) = split(name)?;
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
        // Deepest first, so that a folder is tried after the folders in it.
        folders.iter().rev().try_for_each(|path| self.sync_removal(self.remove_empty(path)?))
    }

    fn foreign_owner(&self, name: &str) -> Option<u32> {
        let (path, last) = split(name).ok()?;
        let folder = self.existing(path).ok()?;
        self.fs().stat(&folder, last).ok()?.foreign_owner
    }

    fn lock(&self, name: &str, mode: LockMode, wait: Duration) -> io::Result<Box<dyn Held>> {
        Ok(Box::new(FileHeld::<F> { _file: self.take_lock(name, mode, wait)? }))
    }

    fn claim(&self, name: &str, mark: &[u8]) -> io::Result<Box<dyn Held>> {
        let file = self.take_lock(name, LockMode::Exclusive, Duration::ZERO)?;
        self.fs().rewrite(&file, mark)?;
        Ok(Box::new(FileHeld::<F> { _file: file }))
    }

    fn machine(&self) -> Option<Machine> {
        self.fs().machine()
    }
}
