//! A segment: sorted entries of some lists, on disk, found through a filter and fences in memory.
//!
//! ```text
//! head     "melvindx", version, counts, list ids, digest
//! pages    4096 bytes each: 340 entries, checksum
//! fences   u64 each: the first key of every page; digest
//! filter   the filter's bytes; digest
//! ```
//!
//! Memory: 1.25 bytes an entry for the filter, 0.03 for the fences.

use std::io;
use std::sync::Arc;

use super::entry::{ENTRY_LEN, Entry, LISTS_MAX};
use super::filter::Filter;
use crate::digest::{DIGEST_LEN, Digest, object_digest};
use crate::guard::guard_by_key;
use crate::storage::{Append, ReadAt};

const MAGIC: &[u8; 8] = b"melvindx";
const VERSION: u32 = 1;
const HEAD_FIXED_LEN: usize = 32;
const PAGE_LEN: usize = 4096;
const PAGE_ENTRIES: u64 = 340;
/// Where a page's checksum lies; the eight bytes after it are zero.
const CHECKSUM_AT: usize = PAGE_ENTRIES as usize * ENTRY_LEN;

/// A segment that cannot be believed or read. It is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

impl From<io::Error> for Damaged {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// A segment open for lookups.
#[derive(Debug)]
pub(crate) struct Segment {
    pub name: String,
    object: Arc<dyn ReadAt>,
    /// In ascending order, so that lower numbers are lower ids.
    pub lists: Vec<Digest>,
    pub entries: u64,
    pages_offset: u64,
    fences: Vec<u64>,
    filter: Filter,
}

/// Where the parts of a segment lie.
struct Layout {
    pages_offset: u64,
    fences_offset: u64,
    filter_offset: u64,
    filter_len: usize,
    end: u64,
}

impl Layout {
    fn new(lists: u64, entries: u64) -> Option<Self> {
        let pages = entries.div_ceil(PAGE_ENTRIES);
        let digest = DIGEST_LEN as u64;
        let pages_offset = HEAD_FIXED_LEN as u64 + lists.checked_mul(digest)? + digest;
        let fences_offset = pages_offset.checked_add(pages.checked_mul(PAGE_LEN as u64)?)?;
        let filter_offset = fences_offset.checked_add(pages * 8 + digest)?;
        let filter_len = Filter::len_for(entries);
        let end = filter_offset.checked_add(filter_len as u64 + digest)?;
        Some(Self { pages_offset, fences_offset, filter_offset, filter_len, end })
    }
}

impl Segment {
    /// Opens a segment: reads its head, fences and filter, and checks them.
    pub fn open(name: String, object: Arc<dyn ReadAt>) -> Result<Self, Damaged> {
        let mut head = vec![0; HEAD_FIXED_LEN];
        object.read_exact_at(&mut head, 0)?;
        let field = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
        let (version, lists, entries) = (field(8), field(16), field(24));
        if &head[..8] != MAGIC
            || version != u64::from(VERSION)
            || lists > LISTS_MAX as u64
            || entries >> 48 != 0
        {
            return Err(Damaged);
        }
        let layout =
            Layout::new(lists, entries).filter(|layout| layout.end == object.len()).ok_or(Damaged)?;
        head.resize(layout.pages_offset as usize, 0);
        object.read_exact_at(&mut head, 0)?;
        let head = checked(&head)?;
        let ids = head[HEAD_FIXED_LEN..].chunks_exact(DIGEST_LEN);
        let lists: Vec<_> = ids.map(|id| Digest(id.try_into().unwrap_or_default())).collect();
        let mut fences = vec![0; (layout.filter_offset - layout.fences_offset) as usize];
        object.read_exact_at(&mut fences, layout.fences_offset)?;
        let fences: Vec<_> = checked(&fences)?
            .chunks_exact(8)
            .map(|fence| u64::from_le_bytes(fence.try_into().unwrap_or_default()))
            .collect();
        let mut filter = vec![0; layout.filter_len + DIGEST_LEN];
        object.read_exact_at(&mut filter, layout.filter_offset)?;
        checked(&filter)?;
        filter.truncate(layout.filter_len);
        let filter = Filter::from_bytes(filter);
        Ok(Self { name, object, lists, entries, pages_offset: layout.pages_offset, fences, filter })
    }

    /// Appends to `found` the entries with this key.
    pub fn find(&self, key: u64, found: &mut Vec<Entry>) -> Result<(), Damaged> {
        if !self.filter.may_contain(key) {
            return Ok(());
        }
        // The entry may be in the page before the first one that begins with this key.
        let mut page = self.fences.partition_point(|&fence| fence < key).saturating_sub(1);
        while self.fences.get(page).is_some_and(|&fence| fence <= key) {
            let entries = self.page(page as u64)?;
            let first = entries.partition_point(|entry| entry.key < key);
            found.extend(entries[first..].iter().take_while(|entry| entry.key == key));
            if entries.last().is_some_and(|last| last.key > key) {
                break;
            }
            page += 1;
        }
        Ok(())
    }

    fn page(&self, number: u64) -> Result<Vec<Entry>, Damaged> {
        let mut page = [0; PAGE_LEN];
        self.object.read_exact_at(&mut page, self.pages_offset + number * PAGE_LEN as u64)?;
        let (entries, checksum) = page.split_at(CHECKSUM_AT);
        let expected = guard_by_key(number, entries);
        if checksum[..8] != expected.to_le_bytes() || checksum[8..] != [0; 8] {
            return Err(Damaged);
        }
        let count = (self.entries - number * PAGE_ENTRIES).min(PAGE_ENTRIES) as usize;
        Ok(entries.as_chunks::<ENTRY_LEN>().0.iter().take(count).map(Entry::decode).collect())
    }

    /// All entries in order, each with its list's number put through `renumber`; those of lists that
    /// have no new number are left out.
    pub fn iter<'a>(
        &'a self,
        renumber: &'a [Option<u32>],
    ) -> impl Iterator<Item = Result<Entry, Damaged>> + 'a {
        let renumbered = |entry: Entry| match renumber.get(entry.list() as usize) {
            Some(list) => list.map(|list| Ok(Entry::new(entry.key, list, entry.block()))),
            None => Some(Err(Damaged)),
        };
        (0..self.fences.len() as u64).flat_map(move |page| match self.page(page) {
            Ok(entries) => entries.into_iter().filter_map(renumbered).collect::<Vec<_>>(),
            Err(damaged) => vec![Err(damaged)],
        })
    }
}

/// Splits the digest off the end of `bytes` and checks it.
fn checked(bytes: &[u8]) -> Result<&[u8], Damaged> {
    let (content, digest) = bytes.split_at_checked(bytes.len().wrapping_sub(DIGEST_LEN)).ok_or(Damaged)?;
    if object_digest(content).0 == digest { Ok(content) } else { Err(Damaged) }
}

fn with_digest(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = object_digest(&bytes);
    bytes.extend_from_slice(&digest.0);
    bytes
}

/// Writes a segment of `count` sorted entries.
pub(crate) fn write<E: From<io::Error>>(
    object: &dyn Append,
    lists: &[Digest],
    count: u64,
    entries: impl Iterator<Item = Result<Entry, E>>,
) -> Result<(), E> {
    let mut head = Vec::from(*MAGIC);
    for field in [u64::from(VERSION), lists.len() as u64, count] {
        head.extend_from_slice(&field.to_le_bytes());
    }
    lists.iter().for_each(|list| head.extend_from_slice(&list.0));
    object.append(&with_digest(head))?;
    let mut filter = Filter::for_keys(count);
    let mut fences = Vec::new();
    let mut page = Vec::with_capacity(PAGE_LEN);
    let mut buffer = Vec::new();
    let mut number = 0;
    for entry in entries {
        let entry = entry?;
        if page.is_empty() {
            fences.extend_from_slice(&entry.key.to_le_bytes());
        }
        filter.insert(entry.key);
        entry.encode(&mut page);
        if page.len() == CHECKSUM_AT {
            end_page(&mut page, &mut number, &mut buffer);
        }
        if buffer.len() >= 256 * PAGE_LEN {
            object.append(&buffer)?;
            buffer.clear();
        }
    }
    if !page.is_empty() {
        end_page(&mut page, &mut number, &mut buffer);
    }
    object.append(&buffer)?;
    object.append(&with_digest(fences))?;
    object.append(&with_digest(filter.bytes().to_vec()))?;
    Ok(())
}

fn end_page(page: &mut Vec<u8>, number: &mut u64, buffer: &mut Vec<u8>) {
    page.resize(CHECKSUM_AT, 0);
    let checksum = guard_by_key(*number, page);
    page.extend_from_slice(&checksum.to_le_bytes());
    page.resize(PAGE_LEN, 0);
    buffer.append(page);
    *number += 1;
}

/// Merges sorted iterators of entries into one.
pub(crate) fn merge<'a, E>(
    sources: Vec<Box<dyn Iterator<Item = Result<Entry, E>> + 'a>>,
) -> impl Iterator<Item = Result<Entry, E>> + 'a
where
    E: 'a,
{
    let mut sources: Vec<_> = sources.into_iter().map(Iterator::peekable).collect();
    std::iter::from_fn(move || {
        // A handful of sources: looking at each head is cheaper than a heap.
        let least = sources
            .iter_mut()
            .enumerate()
            .filter_map(|(number, source)| match source.peek()? {
                Ok(entry) => Some((Some(*entry), number)),
                Err(_) => Some((None, number)),
            })
            .min()?;
        sources[least.1].next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::block_digest;
    use crate::index::entry::key_of;
    use crate::storage::{MemoryStorage, Storage};

    fn made(count: u64) -> (MemoryStorage, Vec<Entry>) {
        let key = |number: u64| key_of(&block_digest(&number.to_le_bytes()));
        // Every tenth key has more than a page of equal entries somewhere.
        let mut entries: Vec<_> = (0..count).map(|n| Entry::new(key(n % (count - 600)), 0, n)).collect();
        entries.extend((0..600).map(|n| Entry::new(77, 1, n)));
        entries.sort_unstable();
        let storage = MemoryStorage::new();
        let object = storage.create("index/one").unwrap();
        let lists = [Digest([1; 32]), Digest([2; 32])];
        let source = entries.iter().map(|entry| Ok::<_, io::Error>(*entry));
        write(object.as_ref(), &lists, entries.len() as u64, source).unwrap();
        (storage, entries)
    }

    fn opened(storage: &MemoryStorage) -> Result<Segment, Damaged> {
        Segment::open("index/one".into(), storage.open("index/one").unwrap())
    }

    #[test]
    fn every_entry_is_found_with_all_that_share_its_key() {
        let (storage, entries) = made(5000);
        let segment = opened(&storage).unwrap();
        for entry in &entries {
            let mut found = Vec::new();
            segment.find(entry.key, &mut found).unwrap();
            let expected: Vec<_> = entries.iter().filter(|other| other.key == entry.key).copied().collect();
            assert_eq!(found, expected);
        }
        let all: Vec<_> = segment.iter(&[Some(0), Some(1)]).map(Result::unwrap).collect();
        assert_eq!(all, entries);
        let one: Vec<_> = segment.iter(&[None, Some(0)]).map(Result::unwrap).collect();
        let expected: Vec<_> = (0..600).map(|n| Entry::new(77, 0, n)).collect();
        assert_eq!(one, expected);
    }

    #[test]
    fn a_flipped_byte_is_noticed_on_opening_or_on_the_page() {
        let (storage, _) = made(2000);
        let good = storage.contents()["index/one"].clone();
        for at in (0..good.len()).step_by(37) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            storage.put("index/one", bad);
            let noticed = opened(&storage).is_err_and(|error| error == Damaged)
                || opened(&storage).unwrap().iter(&[Some(0), Some(1)]).any(|entry| entry.is_err());
            assert!(noticed, "byte {at}");
        }
    }

    #[test]
    fn merging_keeps_order() {
        let run = |numbers: &[u64]| {
            let run: Vec<_> = numbers.iter().map(|&n| Ok::<_, Damaged>(Entry::new(n, 0, n))).collect();
            Box::new(run.into_iter()) as Box<dyn Iterator<Item = _>>
        };
        let merged: Vec<_> = merge(vec![run(&[1, 4, 9]), run(&[]), run(&[2, 3, 10])])
            .map(|entry| entry.unwrap().key)
            .collect();
        assert_eq!(merged, [1, 2, 3, 4, 9, 10]);
    }
}
