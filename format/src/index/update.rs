//! Maintains the index: adds a segment for each commit, and merges segments into fewer, larger ones. Drops
//! entries of lists that no longer exist, and rebuilds missing parts.
//!
//! An import publishes its logs and its segment even while others are at work. Otherwise each later
//! import would have to recompute them from the frames. Merging and tidying need the index's own lock; an
//! import that does not get it leaves that work to a later one. Removal reads the index first, then the
//! committed lists: an import commits before it publishes, so every list seen in the index is committed.
//! A failure here costs time later, never the commit. An import that opened the index earlier may find
//! parts removed. It still has the segments' files open, and recomputes a removed log from the frames.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::entry::{Entry, LISTS_MAX, key_of};
use super::health::Health;
use super::log;
use super::segment::{self, Segment, SegmentError};
use crate::digest::{ListId, LogKey, object_digest};
use crate::error::{BlockError, Error, Result, StoreError};
use crate::storage::{LockMode, ObjectName, ReadAt};
use crate::store::StoreInner;
use crate::store::journal::committed_lists;
use crate::store::list::List;
use crate::store::names;
use crate::store::stage::{Move, Stage};

/// The minimum ratio of a segment's entries to those of all smaller segments together.
const GROWTH: u64 = 4;
/// Entries sorted in memory at a time during a rebuild: 64 MiB.
const SORT_ENTRIES_MAX: usize = 4 << 20;

fn segments_folder() -> String {
    format!("{}/segments", names::INDEX)
}

/// The valid contents of the index: the keys of all committed lists, each with its id. If both are equal,
/// the list has a log.
pub(crate) type Keys = BTreeMap<LogKey, ListId>;

/// Returns list `id` in its current state: another process may have loaded more of it.
pub(crate) fn newest_list(shared: &Arc<StoreInner>, id: &ListId) -> Result<Arc<List>> {
    let list = shared.reader.list(id, None)?;
    if log::is_in_part(&list)? {
        list.reload_locator()?;
    }
    Ok(list)
}

/// Returns the keys of all lists committed now. Call it after reading the index: then no entry seen there
/// belongs to a list committed later.
fn committed_keys(shared: &Arc<StoreInner>) -> Result<Keys> {
    let key = |id: ListId| match newest_list(shared, &id).and_then(|list| log::key_of_list(&list)) {
        Ok(key) => Ok((key, id)),
        Err(error) if error.is_transient() => Err(error),
        // A list damaged now may be restored.
        Err(_) => Ok((LogKey::of_whole(&id), id)),
    };
    committed_lists(shared)?.into_iter().map(key).collect()
}

fn is_log_wanted(keys: &Keys, name: &LogKey) -> bool {
    keys.get(name).is_some_and(|list| LogKey::of_whole(list) == *name)
}

/// Whether at least half of a segment's lists no longer exist.
fn is_stale(segment: &Segment, keys: &Keys) -> bool {
    let known = segment.lists.iter().filter(|key| keys.contains_key(key)).count();
    known * 2 <= segment.lists.len()
}

/// Removes logs and entries of lists that are not among `keys`, if there are enough of them and the
/// index's lock is free. Returns the remaining segments.
pub(crate) fn tidy(
    shared: &Arc<StoreInner>,
    segments: Vec<Segment>,
    logs: &HashMap<LogKey, u64>,
    keys: &Keys,
) -> Result<Vec<Segment>> {
    let is_tidy = logs.keys().all(|name| is_log_wanted(keys, name))
        && !segments.iter().any(|segment| is_stale(segment, keys));
    if is_tidy {
        return Ok(segments);
    }
    let Some(_lock) = lock(shared) else { return Ok(segments) };
    drop(segments);
    // Other processes may have changed the index before the lock was taken.
    let logs = log::lens(&shared.reader)?;
    let segments = open_segments(shared)?;
    let keys = committed_keys(shared)?;
    let unwanted: Vec<_> =
        logs.keys().filter(|name| !is_log_wanted(&keys, name)).map(log::object_name).collect();
    unwanted.iter().for_each(|name| shared.reader.objects.forget(name));
    shared.storage.remove(&unwanted).map_err(|error| Error::io("remove from", names::INDEX, error))?;
    let (stale, mut sound): (Vec<_>, Vec<_>) =
        segments.into_iter().partition(|segment| is_stale(segment, &keys));
    for segment in stale {
        sound.extend(without_unknown(shared, segment, &keys)?);
    }
    Ok(sound)
}

/// Replaces a segment by one without the entries of unknown lists; none if no entry is left.
fn without_unknown(shared: &Arc<StoreInner>, segment: Segment, keys: &Keys) -> Result<Option<Segment>> {
    let mut segments = [segment];
    segments[0].drop_filter();
    let mut made = merge_into_one(&Stage::begin(shared)?, &segments, keys)?;
    if made.is_none() {
        // It is empty now, or damaged.
        remove_segment(shared, &segments[0]);
    }
    Ok(made.take_if(|made| made.read_filter().is_ok()))
}

/// A way to open a segment: for lookups, or for merging.
type Open = fn(ObjectName, Arc<dyn ReadAt>) -> std::result::Result<Segment, SegmentError>;

/// Opens all sound segments for lookups, and removes the others.
pub(crate) fn open_segments(shared: &Arc<StoreInner>) -> Result<Vec<Segment>> {
    open_segments_by(shared, Segment::open)
}

fn open_segments_by(shared: &Arc<StoreInner>, open: Open) -> Result<Vec<Segment>> {
    // A segment that vanished after the listing was merged into one that the next listing shows.
    const TRIES: u32 = 16;
    for _ in 0..TRIES {
        if let Some(segments) = try_open_segments(shared, open)? {
            return Ok(segments);
        }
    }
    Ok(Vec::new())
}

/// Opens the segments of one listing; `None` if one vanished meanwhile.
fn try_open_segments(shared: &Arc<StoreInner>, open: Open) -> Result<Option<Vec<Segment>>> {
    let folder = segments_folder();
    let listed = shared.storage.list(&folder).map_err(|error| Error::io("list", folder, error))?;
    let mut segments = Vec::new();
    for object in listed {
        let opened = match shared.storage.open(&object.name) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| StoreError::unopened(&object.name, error))?,
        };
        match open(object.name.clone(), opened) {
            Ok(segment) => segments.push(segment),
            Err(SegmentError::Io(error)) => return Err(Error::io("read", object.name, error)),
            Err(SegmentError::Damaged) => {
                tracing::warn!(segment = %object.name, "the block index is damaged here; rebuilding it");
                let _ = shared.storage.remove(&[object.name]);
            }
        }
    }
    Ok(Some(segments))
}

/// Removes a segment that is damaged or merged into another.
pub(crate) fn remove_segment(shared: &StoreInner, segment: &Segment) {
    let _ = shared.storage.remove(std::slice::from_ref(&segment.name));
}

/// Derives a segment's name from its lists and its count, so that equal work gives equal names.
fn segment_name(lists: &[LogKey], entries: u64) -> ObjectName {
    let bytes: Vec<u8> =
        lists.iter().flat_map(|list| *list.as_bytes()).chain(entries.to_le_bytes()).collect();
    ObjectName::made(format!("{}/{}", segments_folder(), object_digest(&bytes)))
}

/// Adds the logs and the segment of a committed import to the index. Merges segments unless another
/// process holds the lock.
pub(crate) fn add_lists(
    stage: &Stage,
    lists: &[ListId],
    logs: Vec<ObjectName>,
    segment: ObjectName,
    entries: u64,
) -> Result<()> {
    let shared = &stage.shared;
    let mut keys: Vec<_> = lists.iter().map(LogKey::of_whole).collect();
    let mut moves: Vec<_> = logs.into_iter().zip(keys.iter().map(log::object_name)).collect();
    keys.sort_unstable();
    moves.push((segment, segment_name(&keys, entries)));
    shared.storage.publish(&moves).map_err(|error| Error::io("publish", names::INDEX, error))?;
    let Some(_lock) = lock(shared) else { return Ok(()) };
    merge_segments(shared, stage)
}

fn lock(shared: &StoreInner) -> Option<Box<dyn crate::storage::LockGuard>> {
    shared.storage.lock(&names::INDEX_LOCK, LockMode::Exclusive, Duration::ZERO).ok()
}

/// Merges the smallest segments until each has [`GROWTH`] times the entries of all smaller ones.
fn merge_segments(shared: &Arc<StoreInner>, stage: &Stage) -> Result<()> {
    // Skip the filters: together with the new one they would exceed an import's memory.
    let mut segments = open_segments_by(shared, Segment::open_unfiltered)?;
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
    merge_into_one(stage, &merged, &committed_keys(shared)?).map(|_| ())
}

/// Replaces several segments by one, without the entries of unknown lists. If one is damaged, leaves all
/// as they are. Opens the new segment without its filter.
fn merge_into_one(stage: &Stage, segments: &[Segment], keys: &Keys) -> Result<Option<Segment>> {
    let shared = &stage.shared;
    let lists: BTreeSet<LogKey> = segments
        .iter()
        .flat_map(|segment| &segment.lists)
        .copied()
        .filter(|key| keys.contains_key(key))
        .collect();
    let lists: Vec<_> = lists.into_iter().collect();
    let mut made = None;
    if !lists.is_empty() {
        let Some((staged, name)) = write_merged(stage, segments, &lists)? else { return Ok(None) };
        made = publish_segment(shared, staged, name, Segment::open_unfiltered)?;
    }
    let is_other = |segment: &&Segment| made.as_ref().is_none_or(|made| made.name != segment.name);
    segments.iter().filter(is_other).for_each(|segment| remove_segment(shared, segment));
    Ok(made)
}

/// Publishes a staged segment as `name`, and opens it; `None` if it is damaged. The object is opened before
/// it is published, since another process may merge it into a larger one and remove it at once.
fn publish_segment(
    shared: &StoreInner,
    staged: ObjectName,
    name: ObjectName,
    open: Open,
) -> Result<Option<Segment>> {
    let object = shared.storage.open(&staged).map_err(|error| StoreError::unopened(&staged, error))?;
    let publish = |error| Error::io("publish", names::INDEX, error);
    shared.storage.publish(&[(staged, name.clone())]).map_err(publish)?;
    match open(name.clone(), object) {
        Ok(segment) => Ok(Some(segment)),
        Err(SegmentError::Damaged) => Ok(None),
        Err(SegmentError::Io(error)) => Err(Error::io("read", name, error)),
    }
}

/// Writes one segment with the entries of `segments` that belong to `lists`, which must ascend. Returns
/// its staged and its final name.
fn write_merged(stage: &Stage, segments: &[Segment], lists: &[LogKey]) -> Result<Option<Move>> {
    if lists.len() > LISTS_MAX {
        return Err(BlockError::Limit {
            what: "lists of a segment",
            found: lists.len() as u64,
            max: LISTS_MAX as u64,
        }
        .into());
    }
    let number = |key: &LogKey| lists.binary_search(key).ok().map(|number| number as u32);
    let renumber: Vec<Vec<_>> =
        segments.iter().map(|segment| segment.lists.iter().map(number).collect()).collect();
    let mut entries = 0;
    let mut sources = Vec::new();
    for (segment, renumber) in segments.iter().zip(&renumber) {
        let source = || segment.iter(renumber);
        entries += if renumber.iter().all(Option::is_some) {
            segment.entries
        } else {
            // The head needs the count before the first entry is written.
            let count = source().try_fold(0, |count, entry| entry.map(|_| count + 1));
            match count {
                Ok(count) => count,
                Err(SegmentError::Damaged) => return Ok(None),
                Err(SegmentError::Io(error)) => return Err(Error::io("read", &segment.name, error)),
            }
        };
        sources.push(Box::new(source()) as Box<dyn Iterator<Item = _>>);
    }
    let name = segment_name(lists, entries);
    let staged = unique(stage);
    let object = stage.create_untracked(&staged)?;
    match segment::write(object.as_ref(), lists, entries, segment::merge(sources)) {
        Ok(()) => Ok(Some((stage.staged(&staged), name))),
        Err(SegmentError::Damaged) => Ok(None),
        Err(SegmentError::Io(error)) => Err(Error::io("merge into", &name, error)),
    }
}

/// Returns an unused name in the stage.
fn unique(stage: &Stage) -> String {
    let taken = |name: &String| stage.shared.storage.open(&stage.staged(name)).is_ok();
    (0u64..).map(|number| format!("merged-{number}")).find(|name| !taken(name)).unwrap_or_default()
}

/// Rebuilds the logs of `lists` (each with its key), except for lists held in part. Builds a segment for
/// the lists that no segment of `sound` covers, or several for very many lists. Returns the new segments.
/// Damaged chunks are reported to `health` and are zeros in the logs. Damaged lists are left out.
pub(crate) fn rebuild(
    shared: &Arc<StoreInner>,
    lists: Vec<(LogKey, Arc<List>)>,
    sound: &[Segment],
    health: &Health,
) -> Result<Vec<Segment>> {
    let stage = Stage::begin(shared)?;
    let mut sorted = lists;
    sorted.sort_unstable_by_key(|(key, _)| *key);
    let mut made = Vec::new();
    for lists in sorted.chunks(LISTS_MAX) {
        let mut rebuilding =
            Rebuilding { stage: &stage, lists: Vec::new(), runs: Vec::new(), entries: Vec::new() };
        for (key, list) in lists {
            let covered = sound.iter().any(|segment| segment.lists.binary_search(key).is_ok());
            match rebuilding.list(*key, list, covered, health) {
                Ok(()) => {}
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => health.add_tables(&list.id, &error),
            }
        }
        made.extend(rebuilding.finish()?);
    }
    Ok(made)
}

/// A segment being built from frames. Lists come in ascending order of their keys.
struct Rebuilding<'a> {
    stage: &'a Stage,
    /// The lists done; the next list takes the next number.
    lists: Vec<LogKey>,
    runs: Vec<Segment>,
    entries: Vec<Entry>,
}

impl Rebuilding<'_> {
    /// Builds a list's log, unless it is held in part, and its entries, unless it is covered already. If
    /// this fails halfway, the entries added so far stay, but no log will prove them.
    fn list(&mut self, key: LogKey, list: &List, covered: bool, health: &Health) -> Result<()> {
        let shared = &self.stage.shared;
        let number = self.lists.len() as u32;
        let name = format!("log-{key}");
        let log = if log::is_in_part(list)? { None } else { Some(self.stage.create_untracked(&name)?) };
        let mut hurt = |chunk, error: &Error| health.add(&list.id, chunk, error);
        log::rebuild(&shared.reader, list, &mut hurt, |first, digests| {
            if let Some(log) = &log {
                let bytes: Vec<u8> = digests.iter().flat_map(|digest| *digest.as_bytes()).collect();
                self.stage.append(log.as_ref(), &name, &bytes)?;
            }
            if !covered {
                // Digests of absent blocks are zero: such blocks cannot be shared.
                let found = digests.iter().zip(first..).filter(|(digest, _)| !digest.is_zero());
                self.entries.extend(found.map(|(digest, block)| Entry::new(key_of(digest), number, block)));
            }
            if self.entries.len() >= SORT_ENTRIES_MAX { self.spill() } else { Ok(()) }
        })?;
        if log.is_some() {
            let publish = |error| Error::io("publish", names::INDEX, error);
            let moved = (self.stage.staged(&name), log::object_name(&key));
            shared.storage.publish(&[moved]).map_err(publish)?;
        }
        if !covered {
            self.lists.push(key);
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<()> {
        self.entries.sort_unstable();
        let name = unique(self.stage);
        let object = self.stage.create_untracked(&name)?;
        let staged = self.stage.staged(&name);
        let count = self.entries.len() as u64;
        segment::write(object.as_ref(), &[], count, self.entries.drain(..).map(Ok))
            .map_err(|error: std::io::Error| Error::io("append to", &staged, error))?;
        let shared = &self.stage.shared;
        let object = shared.storage.open(&staged).map_err(|error| StoreError::unopened(&staged, error))?;
        let unreadable = |_| Error::io("read back", &staged, std::io::ErrorKind::InvalidData.into());
        self.runs.push(Segment::open_unfiltered(staged.clone(), object).map_err(unreadable)?);
        Ok(())
    }

    /// Merges everything into one segment.
    fn finish(mut self) -> Result<Option<Segment>> {
        if self.lists.is_empty() {
            return Ok(None);
        }
        self.spill()?;
        // Entries of a list that failed halfway may carry the next number. Map it to any list: no log proves
        // them there.
        let numbers: Vec<_> = (0..self.lists.len() as u32).chain([0]).map(Some).collect();
        let refused = |error| match error {
            SegmentError::Damaged => std::io::ErrorKind::InvalidData.into(),
            SegmentError::Io(error) => error,
        };
        let source = |run| {
            let run: &Segment = run;
            Box::new(run.iter(&numbers).map(move |entry| entry.map_err(refused)))
                as Box<dyn Iterator<Item = _>>
        };
        let sources = self.runs.iter().map(source).collect();
        let entries = self.runs.iter().map(|run| run.entries).sum();
        let (shared, staged) = (&self.stage.shared, unique(self.stage));
        let name = segment_name(&self.lists, entries);
        let object = self.stage.create_untracked(&staged)?;
        segment::write(object.as_ref(), &self.lists, entries, segment::merge(sources))
            .map_err(|error: std::io::Error| Error::io("append to", &name, error))?;
        publish_segment(shared, self.stage.staged(&staged), name, Segment::open)
    }
}
