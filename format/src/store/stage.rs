//! A writer's folder under `tmp/`, locked during the writer's life.
//!
//! A writer creates all objects here; `commit` publishes them.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use super::journal::{list_stages, recover, remove_folder};
use super::names;
use super::open::Shared;
use super::writer;
use crate::error::{BlockError, Error, Result};
use crate::storage::{Append, Held};

/// The maximum number of created but unsynced objects: each is an open file.
const WRITTEN_MAX: usize = 128;

/// A writer's folder. Dropping it without a commit removes everything in it.
#[derive(Debug)]
pub(crate) struct Stage {
    pub shared: Arc<Shared>,
    pub(super) folder: String,
    written: Mutex<Vec<(String, Arc<dyn Append>)>>,
    /// `None` once the folder is gone.
    pub(super) held: Option<Box<dyn Held>>,
    /// Set while only the journal records the published names.
    pub(super) keep_journal: bool,
}

/// Names to publish: staged name, final name.
pub(crate) type Moves = Vec<(String, String)>;

impl Stage {
    /// Creates a folder, after cleaning up after dead writers.
    pub fn begin(shared: &Arc<Shared>) -> Result<Self> {
        shared.check_writable()?;
        let _lock = shared.lock()?;
        recover(shared)?;
        let taken = list_stages(shared)?;
        let mark = writer::mark(shared);
        let mut number = taken.iter().max().map_or(0, |last| last + 1);
        let (folder, held) = loop {
            let folder = format!("{}/{number}", names::TMP);
            let lock = format!("{folder}/{}", names::LOCK);
            match shared.storage.claim(&lock, &mark) {
                Ok(held) => break (folder, held),
                // A writer without objects yet: a lock need not appear in a listing.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => number += 1,
                Err(error) => return Err(Error::io("lock", lock, error)),
            }
        };
        let written = Mutex::default();
        Ok(Self { shared: shared.clone(), folder, written, held: Some(held), keep_journal: false })
    }

    /// Returns the staged name of `name`.
    pub fn staged(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// Creates an object in this stage. The commit syncs it at the latest. Finished objects are synced
    /// and closed earlier once there are [`WRITTEN_MAX`] objects.
    pub fn create(&self, name: &str) -> Result<Arc<dyn Append>> {
        let object = self.create_cache(name)?;
        let finished: Vec<_> = {
            let mut written = self.written();
            written.push((self.staged(name), object.clone()));
            let is_finished = |(_, object): &mut (String, Arc<dyn Append>)| Arc::strong_count(object) == 1;
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
    pub fn create_cache(&self, name: &str) -> Result<Arc<dyn Append>> {
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

    fn written(&self) -> std::sync::MutexGuard<'_, Vec<(String, Arc<dyn Append>)>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs all objects created so far, several at a time.
    pub fn sync_all(&self) -> Result<()> {
        let objects = std::mem::take(&mut *self.written());
        self.sync_these(&objects)
    }

    fn sync_these(&self, objects: &[(String, Arc<dyn Append>)]) -> Result<()> {
        let results: Vec<_> = std::thread::scope(|scope| {
            let sync = |(name, object): &(String, Arc<dyn Append>)| self.sync(object.as_ref(), name);
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

    pub(super) fn clear(&mut self) {
        if self.held.is_some()
            && !self.keep_journal
            && let Err(error) = remove_folder(&self.shared, &self.folder)
        {
            tracing::warn!(folder = self.folder, %error, "could not remove; the next import will");
        }
        self.held = None;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.clear();
    }
}
