//! The blocks added so far by the current import.
//!
//! A table keeps up to [`MEMORY_ENTRIES_MAX`] entries. Beyond that they go to sorted runs in the writer's
//! folder, each with a filter in memory. An import of any size thus needs constant memory plus 0.9 bytes
//! a block. [`RUNS_OF_A_LEVEL_MAX`] runs of one size are merged into one. A lookup searches every run, so
//! their number must grow only logarithmically with the blocks. The digests themselves go to the log of
//! the future committed list.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::entry::{Entry, key_of};
use super::segment::{self, Segment};
use crate::digest::{BlockDigest, DIGEST_LEN, ListId, LogKey};
use crate::error::{Error, Result, StoreError};
use crate::storage::{Append, ObjectName, ReadAt};
use crate::store::stage::Stage;
use crate::units::ListBlock;

/// A million blocks, or 4 GiB of data: about 40 MiB of table.
const MEMORY_ENTRIES_MAX: usize = 1 << 20;
/// The number of runs of one size that are merged into one of the next size. At one TiB, 256 times the
/// table, each entry is written at most three times, and a lookup searches at most 18 runs.
const RUNS_OF_A_LEVEL_MAX: usize = 8;
/// The number of digests written to the log at a time.
const BUFFER_DIGESTS: usize = 4096;

/// Keys are parts of digests, and need no further hashing.
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

/// The index of an import's own new blocks, by new list and block.
#[derive(Debug)]
pub(crate) struct PendingIndex<'a> {
    stage: &'a Stage,
    table: HashMap<u64, Entry, BuildHasherDefault<KeyHasher>>,
    /// Largest first.
    runs: Vec<Run>,
    runs_made: u64,
    logs: Vec<PendingLog>,
    entries: u64,
    memory_entries_max: usize,
}

/// Sorted entries on disk.
#[derive(Debug)]
struct Run {
    /// The number of times its entries were merged.
    level: u32,
    segment: Segment,
}

type Entries<'a> = Box<dyn Iterator<Item = std::io::Result<Entry>> + 'a>;

#[derive(Debug)]
struct PendingLog {
    name: String,
    object: Arc<dyn Append>,
    /// Reopened when it lacks digests flushed since.
    reader: Option<Arc<dyn ReadAt>>,
    flushed: u64,
    buffer: Vec<BlockDigest>,
}

impl<'a> PendingIndex<'a> {
    pub fn new(stage: &'a Stage) -> Self {
        Self {
            stage,
            table: HashMap::default(),
            runs: Vec::new(),
            runs_made: 0,
            logs: Vec::new(),
            entries: 0,
            memory_entries_max: MEMORY_ENTRIES_MAX,
        }
    }

    /// Adds block `block` of new list `list`, which is the last list or the next one.
    pub fn add(&mut self, digest: &BlockDigest, list: u32, block: ListBlock) -> Result<()> {
        if self.logs.len() <= list as usize {
            self.logs.push(PendingLog::begin(self.stage, list)?);
        }
        if let Some(log) = self.logs.last_mut() {
            log.buffer.push(*digest);
            if log.buffer.len() >= BUFFER_DIGESTS {
                log.flush(self.stage)?;
            }
        }
        self.table.insert(digest.prefix(), Entry::new(key_of(digest), list, block.0));
        self.entries += 1;
        if self.table.len() >= self.memory_entries_max {
            self.spill()?;
        }
        Ok(())
    }

    /// Finds an added block with this digest.
    pub fn find(&mut self, digest: &BlockDigest) -> Result<Option<(u32, ListBlock)>> {
        let mut candidates: Vec<Entry> = Vec::new();
        candidates.extend(self.table.get(&digest.prefix()));
        for run in &self.runs {
            // This import wrote and checked its runs, so damage means a failing medium.
            let Run { segment, .. } = run;
            segment.find(key_of(digest), &mut candidates).map_err(|_| unreadable(&segment.name))?;
        }
        for entry in candidates {
            let block = ListBlock(entry.block());
            if self.digest_at(entry.list(), block)? == Some(*digest) {
                return Ok(Some((entry.list(), block)));
            }
        }
        Ok(None)
    }

    /// Returns the digest of an added block.
    pub fn digest_at(&mut self, list: u32, block: ListBlock) -> Result<Option<BlockDigest>> {
        match self.logs.get_mut(list as usize) {
            Some(log) => log.digest_at(self.stage, block),
            None => Ok(None),
        }
    }

    /// Writes the table to a run.
    fn spill(&mut self) -> Result<()> {
        let mut entries: Vec<_> = self.table.drain().map(|(_, entry)| entry).collect();
        entries.sort_unstable();
        let count = entries.len() as u64;
        let segment = self.write_run(count, entries.into_iter().map(Ok))?;
        self.runs.push(Run { level: 0, segment });
        while let Some(last) = self.runs.last() {
            let level = last.level;
            let first = self.runs.partition_point(|run| run.level > level);
            if self.runs.len() - first < RUNS_OF_A_LEVEL_MAX {
                break;
            }
            self.merge_runs(first, level + 1)?;
        }
        Ok(())
    }

    /// Replaces the runs from `first` on by one merged run.
    fn merge_runs(&mut self, first: usize, level: u32) -> Result<()> {
        let mut merged: Vec<_> = self.runs.drain(first..).collect();
        merged.iter_mut().for_each(|run| run.segment.drop_filter());
        let lists: Vec<_> = (0..self.logs.len() as u32).map(Some).collect();
        let count = merged.iter().map(|run| run.segment.entries).sum();
        let sources = merged.iter().map(|run| run.entries(&lists)).collect();
        let segment = self.write_run(count, segment::merge(sources))?;
        self.runs.push(Run { level, segment });
        // A run that stays only takes space until the stage is removed.
        let names: Vec<_> = merged.into_iter().map(|run| run.segment.name).collect();
        let _ = self.stage.shared.storage.remove(&names);
        Ok(())
    }

    fn write_run(
        &mut self,
        count: u64,
        entries: impl Iterator<Item = std::io::Result<Entry>>,
    ) -> Result<Segment> {
        let name = format!("run-{}", self.runs_made);
        self.runs_made += 1;
        let object = self.stage.create_untracked(&name)?;
        let staged = self.stage.staged(&name);
        segment::write(object.as_ref(), &[], count, entries)
            .map_err(|error: std::io::Error| Error::io("append to", &staged, error))?;
        let reader =
            self.stage.shared.storage.open(&staged).map_err(|error| StoreError::unopened(&staged, error))?;
        Segment::open(staged.clone(), reader).map_err(|_| unreadable(&staged))
    }

    /// Flushes the logs, and merges all entries into one segment for `lists`, the new lists by number.
    /// Returns the staged names of the logs, by number, and of the segment.
    pub fn finish(mut self, lists: &[ListId]) -> Result<Option<(Vec<ObjectName>, ObjectName)>> {
        if self.entries == 0 {
            return Ok(None);
        }
        for log in &mut self.logs {
            log.flush(self.stage)?;
        }
        let mut sorted: Vec<_> = lists.iter().map(LogKey::of_whole).collect();
        sorted.sort_unstable();
        let number = |id: &ListId| sorted.binary_search(&LogKey::of_whole(id)).unwrap_or_default() as u32;
        let renumber: Vec<u32> = lists.iter().map(number).collect();
        let renumber_all: Vec<_> = renumber.iter().copied().map(Some).collect();
        // Equal keys are rare, so renumbering the lists rarely disturbs the order.
        let mut memory: Vec<_> = self
            .table
            .drain()
            .map(|(_, entry)| Entry::new(entry.key, renumber[entry.list() as usize], entry.block()))
            .collect();
        memory.sort_unstable();
        self.runs.iter_mut().for_each(|run| run.segment.drop_filter());
        let count = memory.len() as u64 + self.runs.iter().map(|run| run.segment.entries).sum::<u64>();
        let mut sources: Vec<Entries<'_>> = vec![Box::new(memory.into_iter().map(Ok))];
        sources.extend(self.runs.iter().map(|run| run.entries(&renumber_all)));
        let object = self.stage.create_untracked("segment")?;
        segment::write(object.as_ref(), &sorted, count, segment::merge(sources))
            .map_err(|error: std::io::Error| Error::io("append to", self.stage.staged("segment"), error))?;
        let logs = self.logs.iter().map(|log| self.stage.staged(&log.name)).collect();
        Ok(Some((logs, self.stage.staged("segment"))))
    }
}

fn unreadable(name: &str) -> Error {
    Error::io("read back", name, std::io::Error::from(std::io::ErrorKind::InvalidData))
}

impl Run {
    /// Returns all entries in order, with their lists renumbered.
    fn entries<'a>(&'a self, lists: &'a [Option<u32>]) -> Entries<'a> {
        let damaged = |_| std::io::Error::from(std::io::ErrorKind::InvalidData);
        Box::new(self.segment.iter(lists).map(move |entry| entry.map_err(damaged)))
    }
}

impl PendingLog {
    fn begin(stage: &Stage, list: u32) -> Result<Self> {
        let name = format!("log-{list}");
        let object = stage.create_untracked(&name)?;
        Ok(Self { name, object, reader: None, flushed: 0, buffer: Vec::new() })
    }

    fn flush(&mut self, stage: &Stage) -> Result<()> {
        let bytes: Vec<u8> = self.buffer.iter().flat_map(|digest| *digest.as_bytes()).collect();
        stage.append(self.object.as_ref(), &self.name, &bytes)?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn digest_at(&mut self, stage: &Stage, ListBlock(block): ListBlock) -> Result<Option<BlockDigest>> {
        if let Some(within) = block.checked_sub(self.flushed) {
            return Ok(self.buffer.get(within as usize).copied());
        }
        let offset = block * DIGEST_LEN as u64;
        let staged = stage.staged(&self.name);
        let reader = match &self.reader {
            Some(reader) if reader.len() > offset => reader,
            _ => {
                let reader = stage
                    .shared
                    .storage
                    .open(&staged)
                    .map_err(|error| StoreError::unopened(&staged, error))?;
                self.reader.insert(reader)
            }
        };
        let mut digest = [0; DIGEST_LEN];
        reader.read_exact_at(&mut digest, offset).map_err(|error| Error::io("read", &staged, error))?;
        Ok(Some(BlockDigest::from_bytes(digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::block_digest;
    use crate::storage::{MemoryStorage, ObjectSource};
    use crate::{Store, StoreOptions};

    fn digest(number: u64) -> BlockDigest {
        block_digest(&number.to_le_bytes())
    }

    #[test]
    fn runs_are_few_and_every_block_is_found_in_them() {
        let storage = MemoryStorage::new();
        let store = Store::create(storage.clone(), StoreOptions::default()).unwrap();
        let stage = Stage::begin(&store.shared).unwrap();
        let mut index = PendingIndex { memory_entries_max: 50, ..PendingIndex::new(&stage) };
        // 150 and a half tables, of two lists.
        let count = 50 * 150 + 25;
        let place = |number: u64| {
            if number < 3000 { (0, ListBlock(number)) } else { (1, ListBlock(number - 3000)) }
        };
        for number in 0..count {
            let (list, block) = place(number);
            index.add(&digest(number), list, block).unwrap();
            let expected: Vec<_> = {
                let tables = (number + 1) / 50;
                let of_level = |level: u32| (tables / 8u64.pow(level) % 8) as usize;
                [vec![2; of_level(2)], vec![1; of_level(1)], vec![0; of_level(0)]].concat()
            };
            assert_eq!(index.runs.iter().map(|run| run.level).collect::<Vec<_>>(), expected);
        }
        let kept = storage.contents().keys().filter(|name| name.contains("/run-")).count();
        assert_eq!(kept, index.runs.len());
        for number in 0..count {
            assert_eq!(index.find(&digest(number)).unwrap(), Some(place(number)), "{number}");
        }
        assert!((count..2 * count).all(|number| index.find(&digest(number)).unwrap().is_none()));

        // The first list has the higher id.
        let (_, name) =
            index.finish(&[ListId::from_bytes([2; 32]), ListId::from_bytes([1; 32])]).unwrap().unwrap();
        let segment = Segment::open(name.clone(), storage.open(&name).unwrap()).unwrap();
        let mut expected: Vec<_> = (0..count)
            .map(|number| (place(number), key_of(&digest(number))))
            .map(|((list, block), key)| Entry::new(key, 1 - list, block.0))
            .collect();
        expected.sort_unstable();
        assert!(segment.iter(&[Some(0), Some(1)]).map(std::result::Result::unwrap).eq(expected));
    }
}
