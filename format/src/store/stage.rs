//! A writer's folder under `tmp/`, locked during the writer's life.
//!
//! A writer creates all objects here; `commit` publishes them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::journal::{NOTE, recover, remove_folder};
use super::names;
use super::open::StoreInner;
use super::syncer::Syncer;
use super::writer;
use crate::digest::Digest;
use crate::error::{BlockError, Error, Result};
use crate::limits::PACK_LEN_TARGET;
use crate::storage::{Append, LockGuard, ObjectName};
use crate::write::{ObjectKind, Sink};

/// The maximum number of created but unsynced objects: each is an open file.
const WRITTEN_MAX: usize = 128;
/// The size of writes to a pack, in bytes.
const PACK_BUFFER_LEN: usize = 256 << 10;
/// The number of bytes of a pack after which a background sync begins.
const SYNC_EVERY_BYTES: u64 = 16 << 20;

/// A writer's folder. Dropping it without a commit removes everything in it.
#[derive(Debug)]
pub(crate) struct Stage {
    pub shared: Arc<StoreInner>,
    pub(super) folder: String,
    written: Mutex<Vec<(ObjectName, Arc<dyn Append>)>>,
    /// Syncs packs while they are written.
    syncer: Mutex<Syncer>,
    /// The number of the next object of a [`Sink`].
    next: AtomicU32,
    /// `None` once the folder is gone.
    pub(super) held: Option<Box<dyn LockGuard>>,
    /// Set while only the journal records the published names.
    pub(super) keep_journal: bool,
}

/// The names of an object to publish: staged name, final name.
pub(crate) type Move = (ObjectName, ObjectName);
/// Objects to publish.
pub(crate) type Moves = Vec<Move>;

impl Stage {
    /// Creates a folder, after cleaning up after dead writers.
    pub fn begin(shared: &Arc<StoreInner>) -> Result<Self> {
        shared.check_writable()?;
        let _lock = shared.lock()?;
        Self::begin_beside(shared, &recover(shared)?)
    }

    /// Creates a folder beside the stages with the numbers `taken`. The caller must hold the store's lock
    /// and have cleaned up.
    pub(super) fn begin_beside(shared: &Arc<StoreInner>, taken: &[u64]) -> Result<Self> {
        let mark = writer::mark(shared);
        let mut number = taken.iter().max().map_or(0, |last| last + 1);
        let (folder, held) = loop {
            let folder = format!("{}/{number}", names::TMP);
            let lock = names::staged(&folder, &names::LOCK);
            match shared.storage.claim(&lock, &mark) {
                Ok(held) => break (folder, held),
                // A writer without objects yet: a lock need not appear in a listing.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => number += 1,
                Err(error) => return Err(Error::io("lock", lock, error)),
            }
        };
        Ok(Self {
            shared: shared.clone(),
            folder,
            written: Mutex::default(),
            syncer: Mutex::default(),
            next: AtomicU32::new(0),
            held: Some(held),
            keep_journal: false,
        })
    }

    /// Returns the staged name of `name`.
    pub fn staged(&self, name: &str) -> ObjectName {
        names::staged(&self.folder, name)
    }

    /// Creates an object in this stage. The commit syncs it at the latest. Finished objects are synced
    /// and closed earlier once there are [`WRITTEN_MAX`] objects.
    pub fn create(&self, name: &str) -> Result<Arc<dyn Append>> {
        let object = self.create_untracked(name)?;
        let finished: Vec<_> = {
            let mut written = self.written();
            written.push((self.staged(name), object.clone()));
            let is_finished =
                |(_, object): &mut (ObjectName, Arc<dyn Append>)| Arc::strong_count(object) == 1;
            if written.len() >= WRITTEN_MAX {
                written.extract_if(.., is_finished).collect()
            } else {
                Vec::new()
            }
        };
        self.sync_these(&finished)?;
        Ok(object)
    }

    /// Creates an object that need not survive a loss of power.
    pub fn create_untracked(&self, name: &str) -> Result<Arc<dyn Append>> {
        let staged = self.staged(name);
        self.shared.storage.create(&staged).map_err(|error| Error::io("create", staged, error))
    }

    /// Appends to an object of this stage.
    pub fn append(&self, object: &dyn Append, name: &str, bytes: &[u8]) -> Result<()> {
        object.append(bytes).map_err(|error| Error::io("append to", self.staged(name), error))
    }

    /// Syncs an object of this stage. A failure forbids further writes through this handle.
    pub fn sync(&self, object: &dyn Append, name: &str) -> Result<()> {
        object.sync().map_err(|error| {
            self.shared.poison();
            Error::io("sync", name, error)
        })
    }

    fn written(&self) -> MutexGuard<'_, Vec<(ObjectName, Arc<dyn Append>)>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn syncer(&self) -> MutexGuard<'_, Syncer> {
        self.syncer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs all objects created so far, several at a time.
    pub fn sync_all(&self) -> Result<()> {
        self.sync_packs()?;
        let objects = std::mem::take(&mut *self.written());
        self.sync_these(&objects)
    }

    /// Waits for the syncs of packs. A failure forbids further writes through this handle.
    fn sync_packs(&self) -> Result<()> {
        self.syncer().finish().map_err(|(name, error)| {
            self.shared.poison();
            Error::io("sync", name, error)
        })
    }

    fn sync_these(&self, objects: &[(ObjectName, Arc<dyn Append>)]) -> Result<()> {
        if let [(name, object)] = objects {
            return self.sync(object.as_ref(), name);
        }
        let results: Vec<_> = std::thread::scope(|scope| {
            let sync = |(name, object): &(ObjectName, Arc<dyn Append>)| self.sync(object.as_ref(), name);
            let threads: Vec<_> = objects
                .chunks(objects.len().div_ceil(8).max(1))
                .map(|some| {
                    let work = move || some.iter().try_for_each(sync);
                    // If no thread can be started, the calling thread does the work.
                    std::thread::Builder::new().spawn_scoped(scope, work).map_err(|_| work)
                })
                .collect();
            threads
                .into_iter()
                .map(|begun| match begun {
                    Ok(thread) => thread.join().unwrap_or(Err(BlockError::Interrupted.into())),
                    Err(work) => work(),
                })
                .collect()
        });
        results.into_iter().collect()
    }

    /// Writes a small object whole.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let object = self.create(name)?;
        self.append(object.as_ref(), name, bytes)
    }

    /// Clears the folder of a commit that left nothing but the note of its name. The caller must hold the
    /// store's lock: nobody else can take the folder's number while its lock goes.
    pub(super) fn clear_under_lock(&mut self) {
        let names = [self.staged(NOTE), self.staged(&names::LOCK)];
        if let Err(error) = self.shared.storage.remove(&names) {
            tracing::warn!(folder = self.folder, %error, "cannot remove this folder; the next import will");
        }
        self.held = None;
    }

    pub(super) fn clear(&mut self) {
        // A failed sync forbids further writes, even if the caller ignores it.
        let _ = self.sync_packs();
        if self.held.is_some()
            && !self.keep_journal
            && let Err(error) = remove_folder(&self.shared, &self.folder)
        {
            tracing::warn!(folder = self.folder, %error, "cannot remove this folder; the next import will");
        }
        self.held = None;
    }
}

/// An object of a stage, before it is finished.
#[derive(Debug)]
pub(crate) struct StagedObject {
    kind: ObjectKind,
    name: String,
    object: Arc<dyn Append>,
    /// Bytes of a pack that are not written yet.
    buffer: Vec<u8>,
    /// The number of bytes of a pack that no sync covers yet.
    unsynced: u64,
}

impl StagedObject {
    fn flush(&mut self, stage: &Stage) -> Result<()> {
        stage.append(self.object.as_ref(), &self.name, &self.buffer)?;
        self.unsynced += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Syncs what is written of a pack, in the background.
    fn sync_soon(&mut self, stage: &Stage) {
        self.unsynced = 0;
        stage.syncer().sync(&self.object, &self.name);
    }
}

/// Returns the folder of the store for a kind of objects.
fn folder_of(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Record => names::MANIFESTS,
        ObjectKind::PageFile => names::PAGES,
        ObjectKind::List => names::LISTS,
        ObjectKind::Locator => names::LOCATORS,
        ObjectKind::Pack => names::PACKS,
    }
}

impl Sink for Stage {
    type Object = StagedObject;
    type Finished = Move;

    const IS_SPARSE: bool = false;
    const PACK_LEN_TARGET: u64 = PACK_LEN_TARGET;

    fn begin(&self, kind: ObjectKind, head: Vec<u8>) -> Result<StagedObject> {
        let name = format!("{}-{}", folder_of(kind), self.next.fetch_add(1, Ordering::Relaxed));
        // The syncer handles packs.
        let object =
            if kind == ObjectKind::Pack { self.create_untracked(&name) } else { self.create(&name) }?;
        let mut begun = StagedObject { kind, name, object, buffer: Vec::new(), unsynced: 0 };
        if !head.is_empty() {
            self.write(&mut begun, 0, &head)?;
        }
        Ok(begun)
    }

    fn write(&self, object: &mut StagedObject, _at: u64, bytes: &[u8]) -> Result<()> {
        if object.kind != ObjectKind::Pack {
            return self.append(object.object.as_ref(), &object.name, bytes);
        }
        object.buffer.extend_from_slice(bytes);
        if object.buffer.len() >= PACK_BUFFER_LEN {
            object.flush(self)?;
            if object.unsynced >= SYNC_EVERY_BYTES {
                object.sync_soon(self);
            }
        }
        Ok(())
    }

    fn finish(&self, mut object: StagedObject, id: &Digest, at: u64, root: Vec<u8>) -> Result<Move> {
        if !root.is_empty() {
            self.write(&mut object, at, &root)?;
        }
        if object.kind == ObjectKind::Pack {
            object.flush(self)?;
            object.sync_soon(self);
        }
        Ok((self.staged(&object.name), names::object(folder_of(object.kind), id)))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.clear();
    }
}
