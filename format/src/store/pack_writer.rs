//! Writes packs: frames in order, with a new pack whenever one is full. A background thread syncs each
//! pack while the next frames are made.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use super::names;
use super::open::Shared;
use super::stage::{Moves, Stage};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::guard::guard;
use crate::limits::{PACK_FRAMES_MAX, PACK_LEN_TARGET};
use crate::ondisk::pack::{self, FRAMES_OFFSET, FrameRecord};
use crate::storage::Append;

/// The size of writes to the storage, in bytes.
const BUFFER_LEN: usize = 256 << 10;
/// The number of bytes after which a background sync begins.
const SYNC_EVERY_BYTES: u64 = 16 << 20;

/// The place of a frame. The pack is a number among this writer's packs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub pack: u32,
    pub offset: u32,
    pub len: u32,
    pub guard: u64,
}

/// Writes frames into packs of a stage.
#[derive(Debug)]
pub(crate) struct PackWriter<'a> {
    stage: &'a Stage,
    current: Option<Current>,
    /// The ids of the finished packs, by number.
    finished: Vec<Digest>,
    /// The number of the first pack within the stage.
    first: u32,
    moves: Moves,
    syncer: Syncer,
    pack_len_target: u64,
}

#[derive(Debug)]
struct Current {
    name: String,
    object: Arc<dyn Append>,
    buffer: Vec<u8>,
    records: Vec<FrameRecord>,
    /// The offset of the next frame.
    offset: u64,
    synced: u64,
}

impl<'a> PackWriter<'a> {
    pub fn new(stage: &'a Stage) -> Self {
        Self {
            stage,
            current: None,
            finished: Vec::new(),
            first: 0,
            moves: Vec::new(),
            syncer: Syncer::start(&stage.shared),
            pack_len_target: PACK_LEN_TARGET,
        }
    }

    /// Appends a frame of chunk `id`.
    pub fn frame(&mut self, id: &Digest, frame: &[u8]) -> Result<Placed> {
        if self.current.as_ref().is_some_and(|current| self.is_full(current, frame.len())) {
            self.finish_pack()?;
        }
        let pack = u32::try_from(self.finished.len()).unwrap_or(u32::MAX);
        let current = match &mut self.current {
            Some(current) => current,
            none => none.insert(Current::begin(self.stage, self.first + pack)?),
        };
        let guard = guard(id, frame);
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let offset = u32::try_from(current.offset).unwrap_or(u32::MAX);
        current.records.push(FrameRecord { key: id.prefix(), len, guard });
        current.offset += u64::from(len);
        current.buffer.extend_from_slice(frame);
        if current.buffer.len() >= BUFFER_LEN {
            current.flush(self.stage)?;
            if current.offset - current.synced >= SYNC_EVERY_BYTES {
                current.synced = current.offset;
                self.syncer.sync(&current.object, &current.name);
            }
        }
        Ok(Placed { pack, offset, len, guard })
    }

    fn is_full(&self, current: &Current, next_len: usize) -> bool {
        current.offset + next_len as u64 > self.pack_len_target
            || current.records.len() as u64 >= PACK_FRAMES_MAX
    }

    fn finish_pack(&mut self) -> Result<()> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        let (tail, id) = pack::encode_tail(&current.records);
        current.buffer.extend_from_slice(&tail);
        current.flush(self.stage)?;
        self.syncer.sync(&current.object, &current.name);
        self.finished.push(id);
        self.moves.push((self.stage.staged(&current.name), names::object(names::PACKS, &id)));
        Ok(())
    }

    /// Returns a writer for further packs of the same stage.
    pub fn after(&self) -> Self {
        let open = u32::from(self.current.is_some());
        Self { first: self.first + self.finished.len() as u32 + open, ..Self::new(self.stage) }
    }

    /// Closes the last pack. All packs are synced on return.
    pub fn finish(mut self) -> Result<(Vec<Digest>, Moves)> {
        self.finish_pack()?;
        let synced = self.syncer.finish();
        synced.map_err(|(name, error)| Error::io("sync", name, error))?;
        Ok((self.finished, self.moves))
    }
}

impl Current {
    fn begin(stage: &Stage, number: u32) -> Result<Self> {
        let name = format!("pack-{number}");
        // Not `create`: the syncer handles packs.
        let object = stage.create_cache(&name)?;
        let buffer = pack::encode_head();
        Ok(Self { name, object, buffer, records: Vec::new(), offset: FRAMES_OFFSET, synced: 0 })
    }

    fn flush(&mut self, stage: &Stage) -> Result<()> {
        stage.append(self.object.as_ref(), &self.name, &self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

type SyncResult = std::result::Result<(), (String, std::io::Error)>;

/// A background thread for syncs, so that the medium works while frames are made.
#[derive(Debug)]
struct Syncer {
    shared: Arc<Shared>,
    jobs: Option<Sender<(String, Arc<dyn Append>)>>,
    thread: Option<JoinHandle<SyncResult>>,
    /// The first failed sync on the calling thread, used if no thread could be started.
    failed: SyncResult,
}

impl Syncer {
    fn start(shared: &Arc<Shared>) -> Self {
        Self { shared: shared.clone(), jobs: None, thread: None, failed: Ok(()) }
    }

    fn sync(&mut self, object: &Arc<dyn Append>, name: &str) {
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
            None if self.failed.is_ok() => self.failed = object.sync().map_err(|error| (name.into(), error)),
            None => {}
        }
    }

    /// Waits for all syncs. If any failed, forbids further writes through the handle, even if the caller
    /// ignores the result.
    fn finish(&mut self) -> SyncResult {
        self.jobs = None;
        let failed = std::mem::replace(&mut self.failed, Ok(()));
        let result = match self.thread.take().map(JoinHandle::join) {
            None => failed,
            Some(Ok(result)) => failed.and(result),
            Some(Err(_)) => Err(("pack".into(), std::io::Error::other("the syncing thread panicked"))),
        };
        if result.is_err() {
            self.shared.poison();
        }
        result
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}
