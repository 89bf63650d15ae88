//! A process on the modelled machine.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::crash::Moment;
use super::state::{Body, Ino, Names, State, TOP};
use crate::storage::LockMode;
use crate::storage::fs::{Access, Fs, Kind, Stat, SyncPoint};
use crate::storage::machine::Machine;

/// The file system of a modelled machine, as used by one process. Clones are the same process.
#[derive(Debug, Clone)]
pub struct ModelFs {
    world: Arc<Mutex<World>>,
    process: Arc<Process>,
}

/// The machine.
#[derive(Debug)]
struct World {
    state: State,
    locks: Vec<Lock>,
    next: u64,
    /// A moment for each change, if recording is on.
    moments: Option<Vec<Moment>>,
}

#[derive(Debug)]
struct Lock {
    ino: Ino,
    mode: LockMode,
    handle: u64,
    process: u64,
    machine: Option<Machine>,
}

#[derive(Debug)]
struct Process {
    number: u64,
    machine: Option<Machine>,
    /// The changes left before it is killed; negative once it is dead.
    left: AtomicI64,
    changes: AtomicU64,
    broken: Option<Broken>,
    /// The number of requested syncs, by reason.
    syncs: Mutex<BTreeMap<SyncPoint, u64>>,
}

/// Syncs that are skipped or, with an error number, fail.
#[derive(Debug, Clone)]
struct Broken {
    points: Vec<SyncPoint>,
    errno: Option<i32>,
    /// The number of syncs of each kind that succeed first.
    sound: u64,
}

/// An open file.
#[derive(Debug)]
pub struct ModelFile {
    fs: ModelFs,
    ino: Ino,
    handle: u64,
}

impl Drop for ModelFile {
    fn drop(&mut self) {
        self.fs.world().locks.retain(|lock| lock.handle != self.handle);
    }
}

/// An open folder.
#[derive(Debug)]
pub struct ModelFolder(Ino);

impl Moment {
    /// The machine after a loss of power at this moment, started anew; one of many, chosen by `seed`.
    #[must_use]
    pub fn crash(&self, seed: u64) -> ModelFs {
        ModelFs::started(self.after_loss(seed))
    }

    /// The machine at this moment without its processes: all were killed.
    #[must_use]
    pub fn restart(&self) -> ModelFs {
        ModelFs::started(self.0.clone())
    }
}

impl ModelFs {
    /// Creates a machine with an empty disk, and a process on it.
    #[must_use]
    pub fn new(names: Names) -> Self {
        Self::started(State::new(names))
    }

    pub(super) fn started(state: State) -> Self {
        let world = World { state, locks: Vec::new(), next: 1, moments: None };
        Self { world: Arc::new(Mutex::new(world)), process: Arc::new(Process::new(0, None, None)) }
    }

    fn with(&self, machine: Option<Machine>, broken: Option<Broken>) -> Self {
        let mut world = self.world();
        world.next += 1;
        let process = Arc::new(Process::new(world.next, machine, broken));
        drop(world);
        Self { world: self.world.clone(), process }
    }

    /// Starts another process on the same machine.
    #[must_use]
    pub fn process(&self) -> Self {
        self.with(self.process.machine.clone(), self.process.broken.clone())
    }

    /// Starts a process on `machine`, which shares the disk. Locks exclude only processes of the same
    /// machine, as on some network file systems.
    #[must_use]
    pub fn process_on(&self, machine: Option<Machine>) -> Self {
        self.with(machine, self.process.broken.clone())
    }

    /// Starts a process that skips one kind of sync but reports success.
    #[must_use]
    pub fn without(&self, point: SyncPoint) -> Self {
        let broken = Broken { points: vec![point], errno: None, sound: 0 };
        self.with(self.process.machine.clone(), Some(broken))
    }

    /// Starts a process whose syncs of some kinds fail with error number `errno`, after `sound` syncs of
    /// each kind have succeeded.
    #[must_use]
    pub fn failing(&self, points: &[SyncPoint], errno: i32, sound: u64) -> Self {
        let broken = Broken { points: points.to_vec(), errno: Some(errno), sound };
        self.with(self.process.machine.clone(), Some(broken))
    }

    /// Kills this process after `changes` more changes.
    pub fn kill_after(&self, changes: u64) {
        self.process.left.store(i64::try_from(changes).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Kills this process: its later calls fail, and its locks are free.
    pub fn kill(&self) {
        self.process.left.store(-1, Ordering::SeqCst);
        self.world().locks.retain(|lock| lock.process != self.process.number);
    }

    /// Whether this process was killed.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.process.left.load(Ordering::SeqCst) < 0
    }

    /// Returns the number of changes this process has made.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.process.changes.load(Ordering::SeqCst)
    }

    /// Returns the number of syncs this process has requested, by reason.
    #[must_use]
    pub fn syncs(&self) -> BTreeMap<SyncPoint, u64> {
        self.process.syncs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records a moment at each change from now on.
    pub fn record(&self) {
        self.world().moments = Some(Vec::new());
    }

    /// Takes the moments recorded so far, and adds the current one.
    #[must_use]
    pub fn moments(&self) -> Vec<Moment> {
        let mut world = self.world();
        let now = Moment(world.state.clone());
        let mut moments = world.moments.as_mut().map(std::mem::take).unwrap_or_default();
        moments.push(now);
        moments
    }

    /// Returns the current moment.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment(self.world().state.clone())
    }

    /// Returns all files in the storage's folder, by name.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let world = self.world();
        let mut found = BTreeMap::new();
        if let Ok(root) = world.state.find(TOP, super::PLACE) {
            collect(&world.state, root, "", &mut found);
        }
        found
    }

    /// Replaces or creates an object durably, for tests that inject damage.
    ///
    /// # Errors
    /// Fails if a folder has that name.
    pub fn put(&self, name: &str, bytes: Vec<u8>) -> io::Result<()> {
        let mut world = self.world();
        let mut at = TOP;
        let path = format!("{}/{name}", super::PLACE);
        let (folders, last) = path.rsplit_once('/').unwrap_or(("", &path));
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            let next = world.state.find(at, part);
            let next = next.or_else(|_| world.state.make_folder(at, part))?;
            world.state.sync_names(at);
            at = next;
        }
        let ino = world.state.find(at, last).or_else(|_| world.state.make_file(at, last))?;
        world.state.sync_names(at);
        world.state.put(ino, bytes)
    }

    /// Removes an object, durably.
    ///
    /// # Errors
    /// Fails if it does not exist.
    pub fn lose(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        let (folder, last) = name.rsplit_once('/').unwrap_or(("", name));
        let folder = world.state.find(TOP, &format!("{}/{folder}", super::PLACE))?;
        world.state.remove(folder, last, Kind::File)?;
        world.state.sync_names(folder);
        Ok(())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_alive(&self) -> io::Result<()> {
        if self.is_killed() { Err(io::Error::other("the process was killed")) } else { Ok(()) }
    }

    fn asked<T>(&self, look: impl FnOnce(&State) -> io::Result<T>) -> io::Result<T> {
        self.check_alive()?;
        look(&self.world().state)
    }

    /// Makes a change, and records the moment after it. The first change beyond the process's limit kills
    /// it and is not made.
    fn changed<T>(&self, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.check_alive()?;
        let mut world = self.world();
        if self.process.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            drop(world);
            self.kill();
            return self.check_alive().and(Err(ErrorKind::Other.into()));
        }
        let done = change(&mut world.state)?;
        self.process.changes.fetch_add(1, Ordering::SeqCst);
        let world = &mut *world;
        if let Some(moments) = &mut world.moments {
            moments.push(Moment(world.state.clone()));
        }
        Ok(done)
    }

    fn synced(&self, point: SyncPoint, sync: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        let number = {
            let mut syncs = self.process.syncs.lock().unwrap_or_else(PoisonError::into_inner);
            let count = syncs.entry(point).or_default();
            *count += 1;
            *count
        };
        let is_broken = |broken: &&Broken| broken.points.contains(&point) && number > broken.sound;
        match self.process.broken.as_ref().filter(is_broken).map(|broken| broken.errno) {
            None => self.changed(sync),
            Some(None) => self.changed(|_| Ok(())),
            Some(Some(errno)) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn file(&self, ino: Ino) -> ModelFile {
        let mut world = self.world();
        world.next += 1;
        ModelFile { fs: self.clone(), ino, handle: world.next }
    }
}

impl Process {
    fn new(number: u64, machine: Option<Machine>, broken: Option<Broken>) -> Self {
        let (left, changes) = (AtomicI64::new(i64::MAX), AtomicU64::new(0));
        Self { number, machine, left, changes, broken, syncs: Mutex::default() }
    }
}

fn collect(state: &State, ino: Ino, path: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for (name, ino) in state.entries(ino).into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        match state.nodes.get(ino).map(|node| &node.body) {
            Some(Body::File { live, .. }) => drop(found.insert(path, live.bytes.clone())),
            _ => collect(state, *ino, &path, found),
        }
    }
}

impl Fs for ModelFs {
    type Folder = ModelFolder;
    type File = ModelFile;

    fn place(&self, path: &Path) -> io::Result<ModelFolder> {
        let path = path.to_str().ok_or(ErrorKind::InvalidInput)?;
        let ino = self.asked(|state| state.find(TOP, path))?;
        self.asked(|state| state.entries(ino).map(drop))?;
        Ok(ModelFolder(ino))
    }

    fn above(&self, folder: &ModelFolder) -> io::Result<ModelFolder> {
        self.asked(|state| state.above(folder.0)).map(ModelFolder)
    }

    fn folder(&self, beneath: &ModelFolder, path: &str) -> io::Result<ModelFolder> {
        let ino = self.asked(|state| state.find(beneath.0, path))?;
        self.asked(|state| state.entries(ino).map(drop))?;
        Ok(ModelFolder(ino))
    }

    fn open(&self, beneath: &ModelFolder, path: &str, access: Access) -> io::Result<ModelFile> {
        let (folder, last) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.asked(|state| state.find(beneath.0, folder))?;
        let found = self.asked(|state| state.find(folder, last));
        let ino = match (access, found) {
            (Access::Create, Ok(_)) => return Err(ErrorKind::AlreadyExists.into()),
            (Access::Create | Access::Lock, Err(error)) if error.kind() == ErrorKind::NotFound => {
                self.changed(|state| state.make_file(folder, last))?
            }
            (_, found) => found?,
        };
        Ok(self.file(ino))
    }

    fn make_folder(&self, folder: &ModelFolder, name: &OsStr) -> io::Result<()> {
        let name = name.to_str().ok_or(ErrorKind::InvalidInput)?;
        self.changed(|state| state.make_folder(folder.0, name).map(drop))
    }

    fn remove_folder(&self, folder: &ModelFolder, name: &str) -> io::Result<()> {
        self.changed(|state| state.remove(folder.0, name, Kind::Folder))
    }

    fn remove_file(&self, folder: &ModelFolder, name: &str) -> io::Result<()> {
        self.changed(|state| state.remove(folder.0, name, Kind::File))
    }

    fn rename(&self, from: (&ModelFolder, &str), to: (&ModelFolder, &str)) -> io::Result<()> {
        self.changed(|state| state.rename((from.0.0, from.1), (to.0.0, to.1)))
    }

    fn link(&self, from: (&ModelFolder, &str), to: (&ModelFolder, &str)) -> io::Result<()> {
        self.changed(|state| state.link((from.0.0, from.1), (to.0.0, to.1)))
    }

    fn entries(&self, folder: &ModelFolder) -> io::Result<Vec<(OsString, Kind)>> {
        self.asked(|state| {
            let entry = |(name, ino): (&String, &Ino)| Ok((name.into(), state.stat(*ino)?.kind));
            state.entries(folder.0)?.iter().map(entry).collect()
        })
    }

    fn stat(&self, folder: &ModelFolder, name: &str) -> io::Result<Stat> {
        self.asked(|state| state.stat(state.find(folder.0, name)?))
    }

    fn stat_file(&self, file: &ModelFile) -> io::Result<Stat> {
        self.asked(|state| state.stat(file.ino))
    }

    fn stat_folder(&self, folder: &ModelFolder) -> io::Result<Stat> {
        self.asked(|state| state.stat(folder.0))
    }

    fn read_exact_at(&self, file: &ModelFile, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.asked(|state| {
            let bytes = &state.content(file.ino)?.bytes;
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let found = bytes.get(start..).and_then(|rest| rest.get(..buf.len()));
            buf.copy_from_slice(found.ok_or(ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn append(&self, file: &ModelFile, bytes: &[u8]) -> io::Result<()> {
        self.changed(|state| state.write(file.ino, |old| [old, bytes].concat()))
    }

    fn rewrite(&self, file: &ModelFile, bytes: &[u8]) -> io::Result<()> {
        self.changed(|state| state.write(file.ino, |_| bytes.to_vec()))
    }

    fn sync(&self, file: &ModelFile, point: SyncPoint) -> io::Result<()> {
        self.synced(point, |state| state.sync(file.ino))
    }

    fn sync_folder(&self, folder: &ModelFolder, point: SyncPoint) -> io::Result<()> {
        self.synced(point, |state| {
            state.sync_names(folder.0);
            Ok(())
        })
    }

    fn lock(&self, file: &ModelFile, mode: LockMode) -> io::Result<bool> {
        self.check_alive()?;
        let mut world = self.world();
        let is_in_the_way = |lock: &Lock| {
            lock.ino == file.ino
                && lock.machine == self.process.machine
                && lock.handle != file.handle
                && (mode == LockMode::Exclusive || lock.mode == LockMode::Exclusive)
        };
        if world.locks.iter().any(is_in_the_way) {
            return Ok(false);
        }
        let (ino, handle, process) = (file.ino, file.handle, self.process.number);
        let machine = self.process.machine.clone();
        world.locks.push(Lock { ino, mode, handle, process, machine });
        Ok(true)
    }

    fn machine(&self) -> Option<Machine> {
        self.process.machine.clone()
    }
}
