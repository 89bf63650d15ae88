//! The blocks that the import under way has brought so far.
//!
//! Up to [`MEMORY_ENTRIES_MAX`] entries are kept in a table; beyond that they go to sorted runs in
//! the writer's folder, each with a filter in memory, so an import of any size needs the same
//! memory but for 1.3 bytes a block. The digests themselves go to the log that the committed list
//! will have.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::entry::{Entry, key_of};
use super::segment::{self, Segment};
use crate::digest::{DIGEST_LEN, Digest};
use crate::error::{Error, Result};
use crate::storage::{Append, ReadAt};
use crate::store::stage::Stage;

/// A million blocks, 4 GiB of data: about 40 MiB of table.
const MEMORY_ENTRIES_MAX: usize = 1 << 20;
/// Digests are written to the log in pieces of this many.
const BUFFER_DIGESTS: usize = 4096;

/// Keys are parts of digests: as good as any hash of them.
#[derive(Debug, Default, Clone, Copy)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64")
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// The index of one import's own new blocks, by new list and block.
#[derive(Debug)]
pub(crate) struct PendingIndex<'a> {
    stage: &'a Stage,
    table: HashMap<u64, Entry, BuildHasherDefault<KeyHasher>>,
    runs: Vec<Segment>,
    logs: Vec<PendingLog>,
    entries: u64,
    memory_entries_max: usize,
}

#[derive(Debug)]
struct PendingLog {
    name: String,
    object: Arc<dyn Append>,
    /// Opened again whenever more was flushed than it knows of.
    reader: Option<Arc<dyn ReadAt>>,
    flushed: u64,
    buffer: Vec<Digest>,
}

impl<'a> PendingIndex<'a> {
    pub fn new(stage: &'a Stage) -> Self {
        Self {
            stage,
            table: HashMap::default(),
            runs: Vec::new(),
            logs: Vec::new(),
            entries: 0,
            memory_entries_max: MEMORY_ENTRIES_MAX,
        }
    }

    /// Adds a block: number `block` of new list `list`, which is the last one or one more.
    pub fn add(&mut self, digest: &Digest, list: u32, block: u64) -> Result<()> {
        if self.logs.len() <= list as usize {
            self.logs.push(PendingLog::begin(self.stage, list)?);
        }
        if let Some(log) = self.logs.last_mut() {
            log.buffer.push(*digest);
            if log.buffer.len() >= BUFFER_DIGESTS {
                log.flush(self.stage)?;
            }
        }
        self.table.insert(digest.prefix(), Entry::new(key_of(digest), list, block));
        self.entries += 1;
        if self.table.len() >= self.memory_entries_max {
            self.spill()?;
        }
        Ok(())
    }

    /// Where a block with this digest was added.
    pub fn find(&mut self, digest: &Digest) -> Result<Option<(u32, u64)>> {
        let mut candidates: Vec<Entry> = Vec::new();
        candidates.extend(self.table.get(&digest.prefix()));
        for run in &self.runs {
            // Runs are this import's own and checked: damage means the medium fails.
            run.find(key_of(digest), &mut candidates).map_err(|_| unreadable(&run.name))?;
        }
        for entry in candidates {
            if self.digest_at(entry.list(), entry.block())? == Some(*digest) {
                return Ok(Some((entry.list(), entry.block())));
            }
        }
        Ok(None)
    }

    /// The digest of a block that was added.
    pub fn digest_at(&mut self, list: u32, block: u64) -> Result<Option<Digest>> {
        match self.logs.get_mut(list as usize) {
            Some(log) => log.digest_at(self.stage, block),
            None => Ok(None),
        }
    }

    fn spill(&mut self) -> Result<()> {
        let mut entries: Vec<_> = self.table.drain().map(|(_, entry)| entry).collect();
        entries.sort_unstable();
        let name = format!("run-{}", self.runs.len());
        let object = self.stage.create_cache(&name)?;
        let staged = self.stage.staged(&name);
        segment::write(object.as_ref(), &[], entries.len() as u64, entries.iter().copied().map(Ok))
            .map_err(|error| Error::io("append to", &staged, error))?;
        let reader =
            self.stage.shared.storage.open(&staged).map_err(|error| Error::io("open", &staged, error))?;
        self.runs.push(Segment::open(staged.clone(), reader).map_err(|_| unreadable(&staged))?);
        Ok(())
    }

    /// Writes the logs out and puts all entries into one segment for `lists`, which are the new
    /// lists by number. Gives the staged names of the logs, by number, and of the segment.
    pub fn finish(mut self, lists: &[Digest]) -> Result<Option<(Vec<String>, String)>> {
        if self.entries == 0 {
            return Ok(None);
        }
        for log in &mut self.logs {
            log.flush(self.stage)?;
        }
        let mut sorted = lists.to_vec();
        sorted.sort_unstable();
        let number = |id: &Digest| sorted.binary_search(id).unwrap_or_default() as u32;
        let renumber: Vec<u32> = lists.iter().map(number).collect();
        let renumber_all: Vec<_> = renumber.iter().copied().map(Some).collect();
        // Keys are unique but by rare chance, so renumbering lists keeps the order of keys.
        let mut memory: Vec<_> = self
            .table
            .drain()
            .map(|(_, entry)| Entry::new(entry.key, renumber[entry.list() as usize], entry.block()))
            .collect();
        memory.sort_unstable();
        let count = memory.len() as u64 + self.runs.iter().map(|run| run.entries).sum::<u64>();
        let mut sources: Vec<Box<dyn Iterator<Item = std::result::Result<Entry, std::io::Error>>>> =
            vec![Box::new(memory.into_iter().map(Ok))];
        for run in &self.runs {
            sources.push(Box::new(
                run.iter(&renumber_all)
                    .map(|entry| entry.map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidData))),
            ));
        }
        let object = self.stage.create_cache("segment")?;
        segment::write(object.as_ref(), &sorted, count, segment::merge(sources))
            .map_err(|error| Error::io("append to", self.stage.staged("segment"), error))?;
        let logs = self.logs.iter().map(|log| self.stage.staged(&log.name)).collect();
        Ok(Some((logs, self.stage.staged("segment"))))
    }
}

fn unreadable(name: &str) -> Error {
    Error::io("read back", name, std::io::Error::from(std::io::ErrorKind::InvalidData))
}

impl PendingLog {
    fn begin(stage: &Stage, list: u32) -> Result<Self> {
        let name = format!("log-{list}");
        let object = stage.create_cache(&name)?;
        Ok(Self { name, object, reader: None, flushed: 0, buffer: Vec::new() })
    }

    fn flush(&mut self, stage: &Stage) -> Result<()> {
        let bytes: Vec<u8> = self.buffer.iter().flat_map(|digest| digest.0).collect();
        stage.append(self.object.as_ref(), &self.name, &bytes)?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn digest_at(&mut self, stage: &Stage, block: u64) -> Result<Option<Digest>> {
        if let Some(within) = block.checked_sub(self.flushed) {
            return Ok(self.buffer.get(within as usize).copied());
        }
        let offset = block * DIGEST_LEN as u64;
        let staged = stage.staged(&self.name);
        let reader = match &self.reader {
            Some(reader) if reader.len() > offset => reader,
            _ => {
                let reader =
                    stage.shared.storage.open(&staged).map_err(|error| Error::io("open", &staged, error))?;
                self.reader.insert(reader)
            }
        };
        let mut digest = Digest::ZERO;
        reader.read_exact_at(&mut digest.0, offset).map_err(|error| Error::io("read", &staged, error))?;
        Ok(Some(digest))
    }
}
