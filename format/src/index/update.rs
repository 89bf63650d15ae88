//! Keeping the index up: a segment for what a commit brought, fewer and larger segments, and
//! making again what is missing.
//!
//! All of it happens after the commit and under the index's own lock; whoever does not get the
//! lock leaves the work to the next import. A failure here costs time later, never the commit.

use std::sync::Arc;
use std::time::Duration;

use super::entry::{Entry, LISTS_MAX, key_of};
use super::log;
use super::segment::{self, Segment};
use crate::digest::{Digest, object_digest};
use crate::error::{Error, Result};
use crate::storage::LockMode;
use crate::store::Shared;
use crate::store::list::List;
use crate::store::names;
use crate::store::stage::Stage;

/// Segments are merged so that each has at least so many times the entries of the next.
const GROWTH: u64 = 4;
/// Entries sorted in memory at a time while an index is made again: 64 MiB.
const SORT_ENTRIES_MAX: usize = 4 << 20;

fn segments_folder() -> String {
    format!("{}/segments", names::INDEX)
}

/// Opens all segments that are sound; the others are removed.
pub(crate) fn open_segments(shared: &Arc<Shared>) -> Result<Vec<Segment>> {
    // A segment that is gone since the listing was merged into one that the next listing shows.
    const TRIES: u32 = 16;
    for _ in 0..TRIES {
        if let Some(segments) = try_open_segments(shared)? {
            return Ok(segments);
        }
    }
    Ok(Vec::new())
}

/// Opens the segments of one listing; `None` where one of them is gone meanwhile.
fn try_open_segments(shared: &Arc<Shared>) -> Result<Option<Vec<Segment>>> {
    let folder = segments_folder();
    let listed = shared.storage.list(&folder).map_err(|error| Error::io("list", folder, error))?;
    let mut segments = Vec::new();
    for object in listed {
        let opened = match shared.storage.open(&object.name) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| Error::io("open", &object.name, error))?,
        };
        match Segment::open(object.name.clone(), opened) {
            Ok(segment) => segments.push(segment),
            Err(_) => {
                tracing::warn!(segment = object.name, "the block index is damaged here; making it again");
                let _ = shared.storage.remove(&[object.name]);
            }
        }
    }
    Ok(Some(segments))
}

/// Removes a segment that is damaged or merged into another.
pub(crate) fn remove_segment(shared: &Shared, segment: &Segment) {
    let _ = shared.storage.remove(std::slice::from_ref(&segment.name));
}

/// A segment's name: made from its lists and its count, so that equal work gives equal names.
fn segment_name(lists: &[Digest], entries: u64) -> String {
    let bytes: Vec<u8> = lists.iter().flat_map(|list| list.0).chain(entries.to_le_bytes()).collect();
    format!("{}/{}", segments_folder(), object_digest(&bytes))
}

/// Puts the logs and the segment that an import made into the index, and merges segments.
pub(crate) fn add_lists(
    stage: &Stage,
    lists: &[Digest],
    logs: Vec<String>,
    segment: String,
    entries: u64,
) -> Result<()> {
    let shared = &stage.shared;
    let Some(_lock) = lock(shared) else { return Ok(()) };
    let mut moves: Vec<_> = logs.into_iter().zip(lists.iter().map(log::object_name)).collect();
    let mut sorted = lists.to_vec();
    sorted.sort_unstable();
    moves.push((segment, segment_name(&sorted, entries)));
    shared.storage.publish(&moves).map_err(|error| Error::io("publish", names::INDEX, error))?;
    merge_segments(shared, stage)
}

fn lock(shared: &Shared) -> Option<Box<dyn crate::storage::Held>> {
    shared
        .storage
        .lock(&format!("{}/{}", names::INDEX, names::LOCK), LockMode::Exclusive, Duration::ZERO)
        .ok()
}

/// Merges the smallest segments until sizes grow by [`GROWTH`] from each to the next.
fn merge_segments(shared: &Arc<Shared>, stage: &Stage) -> Result<()> {
    let mut segments = open_segments(shared)?;
    segments.sort_by_key(|segment| segment.entries);
    let (mut taken, mut sum, mut lists) = (0, 0, 0);
    for (number, segment) in segments.iter().enumerate() {
        lists += segment.lists.len();
        if lists > LISTS_MAX {
            break;
        }
        if number > 0 && segment.entries < sum * GROWTH {
            taken = number + 1;
        }
        sum += segment.entries;
    }
    if taken < 2 {
        return Ok(());
    }
    let merged: Vec<_> = segments.drain(..taken).collect();
    let Ok((staged, name)) = write_merged(stage, &merged) else { return Ok(()) };
    let publish = |error| Error::io("publish", names::INDEX, error);
    shared.storage.publish(&[(staged, name.clone())]).map_err(publish)?;
    merged.iter().filter(|segment| segment.name != name).for_each(|segment| remove_segment(shared, segment));
    Ok(())
}

/// Writes one segment with all entries of `segments`; gives its staged and its final name.
fn write_merged(stage: &Stage, segments: &[Segment]) -> Result<(String, String)> {
    let mut lists: Vec<Digest> = segments.iter().flat_map(|segment| segment.lists.iter().copied()).collect();
    lists.sort_unstable();
    lists.dedup();
    if lists.len() > LISTS_MAX {
        return Err(Error::Limit {
            what: "lists of a segment",
            found: lists.len() as u64,
            max: LISTS_MAX as u64,
        });
    }
    let number = |id: &Digest| lists.binary_search(id).unwrap_or_default() as u32;
    let renumber: Vec<Vec<u32>> =
        segments.iter().map(|segment| segment.lists.iter().map(number).collect()).collect();
    let damaged = |_| std::io::Error::from(std::io::ErrorKind::InvalidData);
    let sources = segments.iter().zip(&renumber);
    let sources = sources
        .map(|(segment, renumber)| {
            Box::new(segment.iter(renumber).map(move |entry| entry.map_err(damaged)))
                as Box<dyn Iterator<Item = _>>
        })
        .collect();
    let entries = segments.iter().map(|segment| segment.entries).sum();
    let name = segment_name(&lists, entries);
    let staged = unique(stage);
    let object = stage.create_cache(&staged)?;
    segment::write(object.as_ref(), &lists, entries, segment::merge(sources))
        .map_err(|error: std::io::Error| Error::io("append to", &name, error))?;
    Ok((stage.staged(&staged), name))
}

/// A name in the stage that was not used yet.
fn unique(stage: &Stage) -> String {
    let taken = |name: &String| stage.shared.storage.open(&stage.staged(name)).is_ok();
    (0u64..).map(|number| format!("merged-{number}")).find(|name| !taken(name)).unwrap_or_default()
}

/// Makes the logs of `lists` that are missing, and a segment for those lists that no segment of
/// `sound` covers (several where they are very many). Gives the new segments. Lists whose frames are
/// damaged are left out.
pub(crate) fn rebuild(shared: &Arc<Shared>, lists: &[Arc<List>], sound: &[Segment]) -> Result<Vec<Segment>> {
    let stage = Stage::begin(shared)?;
    let mut sorted: Vec<_> =
        lists.iter().filter_map(|list| Some((log::key_of_list(list).ok()?, list))).collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    let mut made = Vec::new();
    for lists in sorted.chunks(LISTS_MAX) {
        let mut rebuilding =
            Rebuilding { stage: &stage, lists: Vec::new(), runs: Vec::new(), entries: Vec::new() };
        for (key, list) in lists {
            let covered = sound.iter().any(|segment| segment.lists.binary_search(key).is_ok());
            match rebuilding.list(*key, list, covered) {
                Ok(()) => {}
                Err(error) if error.may_pass() => return Err(error),
                Err(error) => {
                    tracing::warn!(list = %list.id, %error, "not shared with: the frames are damaged");
                }
            }
        }
        made.extend(rebuilding.finish()?);
    }
    Ok(made)
}

/// A segment being made from frames. Lists come in ascending order of their keys.
struct Rebuilding<'a> {
    stage: &'a Stage,
    /// Those done; the next one has the next number.
    lists: Vec<Digest>,
    runs: Vec<Segment>,
    entries: Vec<Entry>,
}

impl Rebuilding<'_> {
    /// Makes a list's log and, unless it is covered already, its entries. Where it fails half way,
    /// the entries made so far stay: what they promise, no log will prove.
    fn list(&mut self, key: Digest, list: &List, covered: bool) -> Result<()> {
        let shared = &self.stage.shared;
        let number = self.lists.len() as u32;
        let log_name = format!("log-{key}");
        let log = self.stage.create_cache(&log_name)?;
        let mut block = 0;
        log::rebuild(shared, list, |digests| {
            let bytes: Vec<u8> = digests.iter().flat_map(|digest| digest.0).collect();
            self.stage.append(log.as_ref(), &log_name, &bytes)?;
            if !covered {
                // Digests of blocks that are not held are zero: they cannot be shared with.
                let found = digests.iter().zip(block..).filter(|(digest, _)| !digest.is_zero());
                self.entries.extend(found.map(|(digest, block)| Entry::new(key_of(digest), number, block)));
            }
            block += digests.len() as u64;
            if self.entries.len() >= SORT_ENTRIES_MAX { self.spill() } else { Ok(()) }
        })?;
        let publish = |error| Error::io("publish", names::INDEX, error);
        shared.storage.publish(&[(self.stage.staged(&log_name), log::object_name(&key))]).map_err(publish)?;
        if !covered {
            self.lists.push(key);
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<()> {
        self.entries.sort_unstable();
        let name = unique(self.stage);
        let object = self.stage.create_cache(&name)?;
        let staged = self.stage.staged(&name);
        let count = self.entries.len() as u64;
        segment::write(object.as_ref(), &[], count, self.entries.drain(..).map(Ok))
            .map_err(|error: std::io::Error| Error::io("append to", &staged, error))?;
        let shared = &self.stage.shared;
        let object = shared.storage.open(&staged).map_err(|error| Error::io("open", &staged, error))?;
        let unreadable = |_| Error::io("read back", &staged, std::io::ErrorKind::InvalidData.into());
        self.runs.push(Segment::open(staged.clone(), object).map_err(unreadable)?);
        Ok(())
    }

    /// Puts everything into one segment.
    fn finish(mut self) -> Result<Option<Segment>> {
        if self.lists.is_empty() {
            return Ok(None);
        }
        self.spill()?;
        // What a list that failed half way left under the next number goes to any list: no log proves
        // it there.
        let numbers: Vec<u32> = (0..self.lists.len() as u32).chain([0]).collect();
        let damaged = |_| std::io::Error::from(std::io::ErrorKind::InvalidData);
        let source = |run| {
            let run: &Segment = run;
            Box::new(run.iter(&numbers).map(move |entry| entry.map_err(damaged)))
                as Box<dyn Iterator<Item = _>>
        };
        let sources = self.runs.iter().map(source).collect();
        let entries = self.runs.iter().map(|run| run.entries).sum();
        let (shared, staged) = (&self.stage.shared, unique(self.stage));
        let name = segment_name(&self.lists, entries);
        let object = self.stage.create_cache(&staged)?;
        segment::write(object.as_ref(), &self.lists, entries, segment::merge(sources))
            .map_err(|error: std::io::Error| Error::io("append to", &name, error))?;
        let publish = |error| Error::io("publish", names::INDEX, error);
        shared.storage.publish(&[(self.stage.staged(&staged), name.clone())]).map_err(publish)?;
        let object = shared.storage.open(&name).map_err(|error| Error::io("open", &name, error))?;
        Ok(Segment::open(name, object).ok())
    }
}
