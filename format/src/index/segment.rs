//! A segment: sorted entries of some lists on disk, searched through a filter and fences in memory.
//!
//! ```text
//! head     "melvindx", version, counts, list ids, digest
//! stripes  the last one shorter:
//!   pages    3088 of 4096 bytes each: 340 entries, checksum
//!   filter   16 parts, one over the entries of 193 pages each
//! fences   u64 each: the first key of every page; digest
//! ```
//!
//! A part of the filter covers pages, not a range of keys. So parts have the same size for any
//! distribution of keys, and all offsets follow from the number of entries.
//!
//! Memory of a segment open for lookups: 0.85 bytes an entry for the filter, 0.03 for the fences. Recently
//! used pages take at most 2 MiB. A segment to be merged is opened without its filter. Writing takes
//! memory for the fences, and 6 MiB, of which a stripe's filter is about one. The filter follows the
//! pages of its stripe in the file.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::entry::{ENTRY_LEN, Entry, LISTS_MAX};
use super::filter::{self, Filter, PART_KEYS, PartBuilder};
use crate::digest::{DIGEST_LEN, LogKey, object_digest};
use crate::guard::guard_by_key;
use crate::storage::{Append, ObjectName, ReadAt};

const MAGIC: &[u8; 8] = b"melvindx";
const VERSION: u32 = 2;
const HEAD_FIXED_LEN: usize = 32;
const PAGE_LEN: usize = 4096;
const PAGE_ENTRIES: u64 = 340;
/// The offset of a page's checksum. The eight bytes after it are zero.
const CHECKSUM_AT: usize = PAGE_ENTRIES as usize * ENTRY_LEN;
/// The number of pages covered by a part of the filter.
const PART_PAGES: u64 = PART_KEYS / PAGE_ENTRIES;
const _: () = assert!(PART_KEYS.is_multiple_of(PAGE_ENTRIES), "a part is over whole pages");
/// The maximum number of cached pages: 2 MiB.
const RECENT_PAGES_MAX: usize = 512;
/// The number of adjacent parts, so that a filter is read in pieces of one MiB.
const STRIPE_PARTS: u64 = 16;
const STRIPE_PAGES: u64 = STRIPE_PARTS * PART_PAGES;
/// The number of bytes appended at a time.
const BUFFER_LEN: usize = 256 * PAGE_LEN;

/// The reason why a segment cannot be used. A damaged one is removed and made again; a medium that refuses
/// to read it may give it at the next try, so it stays.
#[derive(Debug)]
pub(crate) enum SegmentError {
    /// It breaks a rule of its layout.
    Damaged,
    /// The medium refused to read it.
    Io(io::Error),
}

impl From<io::Error> for SegmentError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged,
            _ => Self::Io(error),
        }
    }
}

/// A segment open for lookups or merging.
#[derive(Debug)]
pub(crate) struct Segment {
    pub name: ObjectName,
    object: Arc<dyn ReadAt>,
    /// In ascending order, so that lower numbers mean lower ids.
    pub lists: Vec<LogKey>,
    pub entries: u64,
    layout: Layout,
    fences: Vec<u64>,
    /// The first key of every part. The array is small, so lookups that end at the filter stay within the
    /// CPU cache.
    part_fences: Vec<u64>,
    /// `None` if it was not read; then every key passes.
    filter: Option<Filter>,
    /// A direct-mapped page cache, indexed by page number modulo its length. Lookups hit pages at random,
    /// but a small store has few pages.
    recent: Mutex<Vec<Option<RecentPage>>>,
}

/// A recently used page.
#[derive(Debug)]
struct RecentPage {
    number: u64,
    bytes: Box<[u8; PAGE_LEN]>,
}

/// The offsets of a segment's sections.
#[derive(Debug, Clone, Copy)]
struct Layout {
    pages: u64,
    pages_offset: u64,
    /// The length of the filter in every stripe except the last, in bytes.
    stripe_filter_len: u64,
    filter_len: u64,
    fences_offset: u64,
    end: u64,
}

impl Layout {
    fn new(lists: u64, entries: u64) -> Option<Self> {
        let pages = entries.div_ceil(PAGE_ENTRIES);
        let digest = DIGEST_LEN as u64;
        let pages_offset = HEAD_FIXED_LEN as u64 + lists.checked_mul(digest)? + digest;
        let filter_len = filter::filter_len(entries);
        let pages_len = pages.checked_mul(PAGE_LEN as u64)?;
        let fences_offset = pages_offset.checked_add(pages_len)?.checked_add(filter_len)?;
        let end = fences_offset.checked_add(pages * 8 + digest)?;
        let stripe_filter_len = STRIPE_PARTS * filter::part_len(PART_KEYS);
        Some(Self { pages, pages_offset, stripe_filter_len, filter_len, fences_offset, end })
    }

    fn page_offset(&self, number: u64) -> u64 {
        self.pages_offset + number * PAGE_LEN as u64 + number / STRIPE_PAGES * self.stripe_filter_len
    }

    /// Returns the offset of a stripe's filter.
    fn filter_offset(&self, stripe: u64) -> u64 {
        let pages = ((stripe + 1) * STRIPE_PAGES).min(self.pages);
        self.pages_offset + pages * PAGE_LEN as u64 + stripe * self.stripe_filter_len
    }
}

impl Segment {
    /// Opens a segment for lookups: reads its head, fences and filter, and checks them.
    pub fn open(name: ObjectName, object: Arc<dyn ReadAt>) -> Result<Self, SegmentError> {
        let mut segment = Self::open_unfiltered(name, object)?;
        segment.read_filter()?;
        Ok(segment)
    }

    /// Opens a segment for merging: its filter is neither read nor checked.
    pub fn open_unfiltered(name: ObjectName, object: Arc<dyn ReadAt>) -> Result<Self, SegmentError> {
        let mut head = vec![0; HEAD_FIXED_LEN];
        object.read_exact_at(&mut head, 0)?;
        let field = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
        let (version, lists, entries) = (field(8), field(16), field(24));
        if &head[..8] != MAGIC
            || version != u64::from(VERSION)
            || lists > LISTS_MAX as u64
            || entries >> 48 != 0
        {
            return Err(SegmentError::Damaged);
        }
        let layout = Layout::new(lists, entries)
            .filter(|layout| layout.end == object.len())
            .ok_or(SegmentError::Damaged)?;
        head.resize(layout.pages_offset as usize, 0);
        object.read_exact_at(&mut head, 0)?;
        let head = checked(&head)?;
        let ids = head[HEAD_FIXED_LEN..].chunks_exact(DIGEST_LEN);
        let lists: Vec<_> = ids.map(|id| LogKey::from_bytes(id.try_into().unwrap_or_default())).collect();
        let mut fences = vec![0; (layout.end - layout.fences_offset) as usize];
        object.read_exact_at(&mut fences, layout.fences_offset)?;
        let fences: Vec<_> = checked(&fences)?
            .chunks_exact(8)
            .map(|fence| u64::from_le_bytes(fence.try_into().unwrap_or_default()))
            .collect();
        let part_fences = fences.iter().step_by(PART_PAGES as usize).copied().collect();
        Ok(Self {
            name,
            object,
            lists,
            entries,
            layout,
            fences,
            part_fences,
            filter: None,
            recent: Mutex::default(),
        })
    }

    /// Reads the filter and checks it.
    pub fn read_filter(&mut self) -> Result<(), SegmentError> {
        // The allocation is bounded: the object's length equals that of the layout.
        let mut bytes = vec![0; self.layout.filter_len as usize];
        let stripes = bytes.chunks_mut(self.layout.stripe_filter_len as usize);
        for (stripe, bytes) in (0..).zip(stripes) {
            self.object.read_exact_at(bytes, self.layout.filter_offset(stripe))?;
        }
        self.filter = Some(Filter::from_bytes(bytes, self.entries).ok_or(SegmentError::Damaged)?);
        Ok(())
    }

    /// Frees the filter's memory before a merge.
    pub fn drop_filter(&mut self) {
        self.filter = None;
    }

    /// Appends the entries with this key to `found`.
    pub fn find(&self, key: u64, found: &mut Vec<Entry>) -> Result<(), SegmentError> {
        // Matching entries may begin in the part before the first one that begins with this key.
        let first = self.part_fences.partition_point(|&fence| fence < key).saturating_sub(1);
        let parts = self.part_fences[first..].iter().take_while(|&&fence| fence <= key).count();
        for part in first..first + parts {
            if self.filter.as_ref().is_none_or(|filter| filter.may_contain(part, key)) {
                self.find_in_part(part, key, found)?;
            }
        }
        Ok(())
    }

    fn find_in_part(&self, part: usize, key: u64, found: &mut Vec<Entry>) -> Result<(), SegmentError> {
        let start = part * PART_PAGES as usize;
        let fences = &self.fences[start..self.fences.len().min(start + PART_PAGES as usize)];
        // Matching entries may begin in the page before the first one that begins with this key.
        let mut page = fences.partition_point(|&fence| fence < key).saturating_sub(1);
        while fences.get(page).is_some_and(|&fence| fence <= key) {
            let is_last = self.with_recent((start + page) as u64, |entries| {
                let first = entries.partition_point(|entry| Entry::decode(entry).key < key);
                found.extend(entries[first..].iter().map(Entry::decode).take_while(|entry| entry.key == key));
                entries.last().is_some_and(|last| Entry::decode(last).key > key)
            })?;
            if is_last {
                break;
            }
            page += 1;
        }
        Ok(())
    }

    /// Calls `look` with the entries of page `number`, cached or read.
    fn with_recent<R>(
        &self,
        number: u64,
        look: impl FnOnce(&[[u8; ENTRY_LEN]]) -> R,
    ) -> Result<R, SegmentError> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.is_empty() {
            recent.resize_with(RECENT_PAGES_MAX.min(self.layout.pages as usize), || None);
        }
        let at = number as usize % recent.len();
        let page = match &mut recent[at] {
            Some(page) if page.number == number => page,
            place => place.insert(RecentPage { number, bytes: self.page_bytes(number)? }),
        };
        Ok(look(self.entries_of(&page.bytes, number)))
    }

    fn page(&self, number: u64) -> Result<Vec<Entry>, SegmentError> {
        let bytes = self.page_bytes(number)?;
        Ok(self.entries_of(&bytes, number).iter().map(Entry::decode).collect())
    }

    /// Returns the entries in the bytes of page `number`.
    fn entries_of<'a>(&self, page: &'a [u8; PAGE_LEN], number: u64) -> &'a [[u8; ENTRY_LEN]] {
        let count = (self.entries - number * PAGE_ENTRIES).min(PAGE_ENTRIES) as usize;
        &page[..CHECKSUM_AT].as_chunks().0[..count]
    }

    /// Reads page `number` and checks it.
    fn page_bytes(&self, number: u64) -> Result<Box<[u8; PAGE_LEN]>, SegmentError> {
        let mut page = Box::new([0; PAGE_LEN]);
        self.object.read_exact_at(&mut page[..], self.layout.page_offset(number))?;
        let (entries, checksum) = page.split_at(CHECKSUM_AT);
        let expected = guard_by_key(number, entries);
        if checksum[..8] != expected.to_le_bytes() || checksum[8..] != [0; 8] {
            return Err(SegmentError::Damaged);
        }
        Ok(page)
    }

    /// Returns all entries in order, with list numbers mapped by `renumber`. Skips entries of lists
    /// without a new number.
    pub fn iter<'a>(
        &'a self,
        renumber: &'a [Option<u32>],
    ) -> impl Iterator<Item = Result<Entry, SegmentError>> + 'a {
        let renumbered = |entry: Entry| match renumber.get(entry.list() as usize) {
            Some(list) => list.map(|list| Ok(Entry::new(entry.key, list, entry.block()))),
            None => Some(Err(SegmentError::Damaged)),
        };
        (0..self.fences.len() as u64).flat_map(move |page| match self.page(page) {
            Ok(entries) => entries.into_iter().filter_map(renumbered).collect::<Vec<_>>(),
            Err(damaged) => vec![Err(damaged)],
        })
    }
}

/// Splits the digest off the end of `bytes` and checks it.
fn checked(bytes: &[u8]) -> Result<&[u8], SegmentError> {
    let (content, digest) =
        bytes.split_at_checked(bytes.len().wrapping_sub(DIGEST_LEN)).ok_or(SegmentError::Damaged)?;
    if object_digest(content).0 == digest { Ok(content) } else { Err(SegmentError::Damaged) }
}

fn with_digest(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = object_digest(&bytes);
    bytes.extend_from_slice(&digest.0);
    bytes
}

/// Writes a segment of `count` sorted entries.
pub(crate) fn write<E: From<io::Error>>(
    object: &dyn Append,
    lists: &[LogKey],
    count: u64,
    entries: impl Iterator<Item = Result<Entry, E>>,
) -> Result<(), E> {
    let mut head = Vec::from(*MAGIC);
    for field in [u64::from(VERSION), lists.len() as u64, count] {
        head.extend_from_slice(&field.to_le_bytes());
    }
    lists.iter().for_each(|list| head.extend_from_slice(list.as_bytes()));
    object.append(&with_digest(head))?;
    let mut body = Body::new(object);
    for entry in entries {
        body.entry(&entry?)?;
    }
    body.end()?;
    Ok(())
}

/// The pages, filter and fences of a segment being written.
struct Body<'a> {
    object: &'a dyn Append,
    /// The number of completed pages.
    pages: u64,
    page: Vec<u8>,
    /// The bytes to append next.
    buffer: Vec<u8>,
    part: PartBuilder,
    /// The filter of the current stripe.
    filter: Vec<u8>,
    fences: Vec<u8>,
}

impl<'a> Body<'a> {
    fn new(object: &'a dyn Append) -> Self {
        let (page, buffer) = (Vec::with_capacity(PAGE_LEN), Vec::with_capacity(BUFFER_LEN));
        let (filter, fences) = (Vec::new(), Vec::new());
        Self { object, pages: 0, page, buffer, part: PartBuilder::default(), filter, fences }
    }

    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        if self.page.is_empty() {
            self.fences.extend_from_slice(&entry.key.to_le_bytes());
        }
        self.part.add(entry.key);
        entry.encode(&mut self.page);
        if self.page.len() < CHECKSUM_AT { Ok(()) } else { self.end_page() }
    }

    fn end_page(&mut self) -> io::Result<()> {
        self.page.resize(CHECKSUM_AT, 0);
        let checksum = guard_by_key(self.pages, &self.page);
        self.page.extend_from_slice(&checksum.to_le_bytes());
        self.page.resize(PAGE_LEN, 0);
        self.buffer.append(&mut self.page);
        self.pages += 1;
        if self.pages.is_multiple_of(PART_PAGES) {
            self.part.finish(&mut self.filter);
        }
        let is_stripe_done = self.pages.is_multiple_of(STRIPE_PAGES);
        if is_stripe_done || self.buffer.len() >= BUFFER_LEN {
            self.object.append(&self.buffer)?;
            self.buffer.clear();
        }
        if is_stripe_done {
            self.object.append(&self.filter)?;
            self.filter.clear();
        }
        Ok(())
    }

    fn end(mut self) -> io::Result<()> {
        if !self.page.is_empty() {
            self.end_page()?;
        }
        if !self.pages.is_multiple_of(PART_PAGES) {
            self.part.finish(&mut self.filter);
        }
        self.object.append(&self.buffer)?;
        self.object.append(&self.filter)?;
        self.object.append(&with_digest(self.fences))
    }
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
        // For a handful of sources, comparing all heads is cheaper than a heap.
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
    use crate::storage::{MemoryStorage, ObjectSource, Scratch};

    static ONE: ObjectName = ObjectName::constant("index/one");

    fn made(count: u64) -> (MemoryStorage, Vec<Entry>) {
        let key = |number: u64| key_of(&block_digest(&number.to_le_bytes()));
        // Some keys occur twice, and one key fills more than a page.
        let mut entries: Vec<_> = (0..count).map(|n| Entry::new(key(n % (count - 600)), 0, n)).collect();
        entries.extend((0..600).map(|n| Entry::new(77, 1, n)));
        entries.sort_unstable();
        let storage = MemoryStorage::new();
        let object = storage.create(&ONE).unwrap();
        let lists = [LogKey::from_bytes([1; 32]), LogKey::from_bytes([2; 32])];
        let source = entries.iter().map(|entry| Ok::<_, io::Error>(*entry));
        write(object.as_ref(), &lists, entries.len() as u64, source).unwrap();
        (storage, entries)
    }

    fn opened(storage: &MemoryStorage) -> Result<Segment, SegmentError> {
        Segment::open(ONE.clone(), storage.open(&ONE).unwrap())
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
            let noticed = opened(&storage).is_err_and(|error| matches!(error, SegmentError::Damaged))
                || opened(&storage).unwrap().iter(&[Some(0), Some(1)]).any(|entry| entry.is_err());
            assert!(noticed, "byte {at}");
        }
    }

    #[test]
    fn keys_are_found_in_every_stripe_and_where_one_key_goes_on_over_parts() {
        let count = STRIPE_PAGES * PAGE_ENTRIES + 3 * PART_KEYS + 5;
        // Equal keys span the end of the first part, a whole part, and the stripe's end.
        let key = |n: u64| match n {
            65_000..70_000 => 65_000,
            190_000..400_000 => 190_000,
            1_049_000..1_050_000 => 1_049_000,
            _ => n,
        };
        let entry = |n: u64| Entry::new(key(n) << 26, 0, n);
        let storage = MemoryStorage::new();
        let object = storage.create(&ONE).unwrap();
        let source = (0..count).map(|n| Ok::<_, io::Error>(entry(n)));
        write(object.as_ref(), &[LogKey::from_bytes([1; 32])], count, source).unwrap();
        let mut segment = opened(&storage).unwrap();
        assert!(segment.iter(&[Some(0)]).map(Result::unwrap).eq((0..count).map(entry)));
        for is_filtered in [true, false] {
            let mut found = Vec::new();
            for n in (0..count).step_by(997).chain([count - 1]).filter(|&n| key(n) == n) {
                found.clear();
                segment.find(n << 26, &mut found).unwrap();
                assert_eq!(found, [entry(n)]);
            }
            for (first, end) in [(65_000, 70_000), (190_000, 400_000), (1_049_000, 1_050_000)] {
                found.clear();
                segment.find(first << 26, &mut found).unwrap();
                assert!(found.iter().copied().eq((first..end).map(entry)), "{first}");
            }
            found.clear();
            (0..count).step_by(997).for_each(|n| segment.find((n << 26) + 1, &mut found).unwrap());
            assert_eq!(found, []);
            assert_eq!(segment.filter.is_some(), is_filtered);
            segment.drop_filter();
        }
    }

    #[test]
    fn a_segment_of_few_entries_or_none_is_small() {
        for (count, len) in [(0, 128), (1, 4300), (30, 4300)] {
            let storage = MemoryStorage::new();
            let object = storage.create(&ONE).unwrap();
            let entries: Vec<_> = (0..count).map(|n| Entry::new(n << 40, 0, n)).collect();
            let source = entries.iter().map(|entry| Ok::<_, io::Error>(*entry));
            write(object.as_ref(), &[LogKey::from_bytes([1; 32])], count, source).unwrap();
            assert!(storage.contents()["index/one"].len() <= len);
            let segment = opened(&storage).unwrap();
            let mut found = Vec::new();
            (0..50).for_each(|n| segment.find(n << 40, &mut found).unwrap());
            assert_eq!(found, entries);
        }
    }

    #[test]
    fn merging_keeps_order() {
        let run = |numbers: &[u64]| {
            let run: Vec<_> = numbers.iter().map(|&n| Ok::<_, SegmentError>(Entry::new(n, 0, n))).collect();
            Box::new(run.into_iter()) as Box<dyn Iterator<Item = _>>
        };
        let merged: Vec<_> = merge(vec![run(&[1, 4, 9]), run(&[]), run(&[2, 3, 10])])
            .map(|entry| entry.unwrap().key)
            .collect();
        assert_eq!(merged, [1, 2, 3, 4, 9, 10]);
    }
}
