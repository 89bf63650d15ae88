//! A background thread for syncs, so that the medium works while packs are filled.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use crate::storage::Append;

/// The name of the object that could not be synced, and the reason.
type SyncResult = Result<(), (String, std::io::Error)>;

/// Syncs objects one after the other. The first job starts the thread.
#[derive(Debug, Default)]
pub(super) struct Syncer {
    jobs: Option<Sender<(String, Arc<dyn Append>)>>,
    thread: Option<JoinHandle<SyncResult>>,
    /// The first failed sync on the calling thread, used if no thread could be started.
    failed: Option<(String, std::io::Error)>,
}

impl Syncer {
    /// Syncs an object soon. The result is that of [`Syncer::finish`].
    pub fn sync(&mut self, object: &Arc<dyn Append>, name: &str) {
        if self.jobs.is_none() {
            let (jobs, queue) = channel::<(String, Arc<dyn Append>)>();
            // Stop at the first failure: later syncs no longer matter.
            let work = move || {
                queue.iter().try_for_each(|(name, object)| object.sync().map_err(|error| (name, error)))
            };
            if let Ok(thread) = std::thread::Builder::new().spawn(work) {
                (self.thread, self.jobs) = (Some(thread), Some(jobs));
            }
        }
        match &self.jobs {
            // The thread ends early only after a failure, which `finish` reports.
            Some(jobs) => drop(jobs.send((name.into(), object.clone()))),
            None if self.failed.is_none() => {
                self.failed = object.sync().err().map(|error| (name.into(), error));
            }
            None => {}
        }
    }

    /// Waits for all syncs, and returns the first failure since the last call.
    pub fn finish(&mut self) -> SyncResult {
        self.jobs = None;
        let failed = self.failed.take().map_or(Ok(()), Err);
        match self.thread.take().map(JoinHandle::join) {
            None => failed,
            Some(Ok(result)) => failed.and(result),
            Some(Err(_)) => Err(("pack".into(), std::io::Error::other("the syncing thread panicked"))),
        }
    }
}
