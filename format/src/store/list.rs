//! A chunk list opened for reading: the ids of its chunks, and the places of their frames.

use std::ops::Range;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bytes::Bytes;

use super::errors::StoreErrors;
use super::names;
use super::objects::{Objects, read_range};
use crate::cache::{Cache, KeyKind, ListNumber};
use crate::digest::{ChunkId, DIGEST_LEN, Digest, ListId, PackId, object_digest, page_digest};
use crate::error::{Error, Result, StoreError};
use crate::fault::RuleViolation;
use crate::limits::{LIST_ROOT_LEN_MAX, LOCATOR_ROOT_LEN_MAX, TABLE_PAGE_RECORDS};
use crate::ondisk::list::{ListRoot, ListShape, TRAILER_LEN};
use crate::ondisk::locator::{self, FramePlace, LocatorRoot};
use crate::storage::{ObjectName, ReadAt};

/// A list. Its root, its locator's root and their pages are read on first use. It keeps no file open, so
/// a store may have any number of lists.
#[derive(Debug)]
pub(crate) struct List {
    pub(super) objects: Arc<Objects>,
    pub id: ListId,
    pub shape: ListShape,
    root: OnceLock<ListRoot>,
    /// The number in its store's cache.
    number: OnceLock<ListNumber>,
    locator: RwLock<Option<Arc<Locator>>>,
}

/// A list's locator, as of its loading.
#[derive(Debug)]
pub(crate) struct Locator {
    name: ObjectName,
    /// The name under which its file is kept open. It includes the digest, so that pages and root always
    /// come from the same file.
    key: String,
    /// The names of the packs, each built on first use.
    pack_names: Box<[OnceLock<ObjectName>]>,
    pub root: LocatorRoot,
    /// The digest of the root, which changes with the frames.
    pub digest: Digest,
}

impl List {
    /// Opens list `id`. Reads its root now only if `shape` is unknown.
    pub fn open(objects: &Arc<Objects>, id: ListId, shape: Option<ListShape>) -> Result<Self> {
        let root = OnceLock::new();
        let shape = match shape {
            Some(shape) => shape,
            None => {
                let name = names::list(&id);
                let found = load_root_by_trailer(objects.open(&name)?.as_ref(), &name, &id)?;
                let shape = found.shape;
                let _ = root.set(found);
                shape
            }
        };
        Ok(Self {
            objects: objects.clone(),
            id,
            shape,
            root,
            number: OnceLock::new(),
            locator: RwLock::default(),
        })
    }

    /// Fails unless the roots of list `id` and of its locator can be read.
    pub fn check(objects: &Arc<Objects>, id: &ListId) -> Result<()> {
        objects.forget(&names::list(id));
        Self::open(objects, *id, None)?.reload_locator().map(|_| ())
    }

    /// Whether the list belongs to a bundle.
    pub fn is_of_bundle(&self) -> bool {
        self.objects.is_bundle
    }

    /// Whether the root was read, so that the shape is the list's own.
    pub fn is_proved(&self) -> bool {
        self.root.get().is_some()
    }

    pub fn object_name(&self) -> ObjectName {
        names::list(&self.id)
    }

    /// Fails unless a manifest's claim about the shape matches the list.
    pub fn check_shape(&self, claimed: Option<ListShape>) -> Result<()> {
        match claimed {
            Some(claimed) if claimed != self.shape => {
                let fault = RuleViolation::ListShape { expected: claimed.blocks, found: self.shape.blocks };
                Err(StoreError::corrupt(self.object_name(), 0, fault))
            }
            _ => Ok(()),
        }
    }

    /// Returns the list's root.
    pub fn root(&self) -> Result<&ListRoot> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        let objects = &self.objects;
        let load = || load_by_shape(objects, &self.id, self.shape);
        let root = load().or_else(|error| {
            if error.is_transient() || self.is_of_bundle() {
                return Err(error);
            }
            // The list may have been healed after it was opened.
            objects.forget(&self.object_name());
            load()
        })?;
        Ok(self.root.get_or_init(|| root))
    }

    /// Returns the encoded root: see [`root_bytes`].
    ///
    /// # Errors
    /// Errors of reading it.
    pub fn root_bytes(&self) -> Result<Bytes> {
        let name = self.object_name();
        root_bytes(self.objects.open(&name)?.as_ref(), &name, &self.id, &self.shape)
    }

    /// Returns the number of the list in the store's chunk cache.
    pub fn number(&self, cache: &Cache) -> ListNumber {
        *self.number.get_or_init(|| cache.list_number(&self.id))
    }

    /// Returns the id of chunk `chunk`.
    pub fn chunk_id(&self, chunk: u64) -> Result<ChunkId> {
        let page = self.page(chunk / TABLE_PAGE_RECORDS)?;
        let within = (chunk % TABLE_PAGE_RECORDS) as usize * DIGEST_LEN;
        let id = page.get(within..within + DIGEST_LEN).and_then(|id| id.try_into().ok());
        id.map(ChunkId::from_bytes).ok_or_else(|| self.out_of_list(chunk))
    }

    /// Returns the concatenated ids of chunks on one page.
    pub fn chunk_ids(&self, chunks: Range<u64>) -> Result<Bytes> {
        let page = self.page(chunks.start / TABLE_PAGE_RECORDS)?;
        let start = (chunks.start % TABLE_PAGE_RECORDS) as usize * DIGEST_LEN;
        let end = start + (chunks.end - chunks.start) as usize * DIGEST_LEN;
        if end > page.len() { Err(self.out_of_list(chunks.end)) } else { Ok(page.slice(start..end)) }
    }

    fn out_of_list(&self, chunk: u64) -> Error {
        let fault = RuleViolation::ExtentRange {
            block: chunk * u64::from(self.shape.chunk_blocks),
            max: self.shape.blocks,
        };
        StoreError::corrupt(self.object_name(), 0, fault)
    }

    /// Returns page `number` of the chunk ids, checked.
    pub fn page(&self, number: u64) -> Result<Bytes> {
        let root = self.root()?;
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let expected = *root.pages.get(index).ok_or_else(|| self.out_of_list(number * TABLE_PAGE_RECORDS))?;
        self.objects.cache.page(KeyKind::ListPage, expected, || {
            let first = number * TABLE_PAGE_RECORDS;
            let records = (self.shape.chunks() - first).min(TABLE_PAGE_RECORDS);
            let (offset, len) = (first * DIGEST_LEN as u64, records * DIGEST_LEN as u64);
            let (objects, name) = (&self.objects, self.object_name());
            let read = || read_page(objects.open(&name)?.as_ref(), &name, offset, len, &expected);
            // The list may have been replaced by one with more pages.
            match read() {
                Err(error) if error.is_damage() => {
                    objects.forget(&name);
                    read()
                }
                done => done,
            }
        })
    }

    /// Calls `ask` with the list's locator. If it fails with possible damage, reloads the locator by name
    /// and retries once. Frames may have moved since it was loaded, or its damage may have been healed.
    pub fn with_locator<T>(&self, ask: impl Fn(&Arc<Locator>) -> Result<T>) -> Result<T> {
        match ask(&self.locator()?) {
            // A bundle never changes.
            Err(error) if error.is_transient() || self.is_of_bundle() => Err(error),
            Err(error) => match self.reload_locator() {
                Ok(now) => ask(&now),
                Err(_) => Err(error),
            },
            done => done,
        }
    }

    /// Runs `work`, which reads through the list's locator. Repeats it if it fails and the locator was
    /// replaced since it was loaded.
    pub fn as_it_is_now<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        let loaded = || self.locator().map(|locator| locator.digest).ok();
        let before = loaded();
        match work() {
            Err(error) if error.is_transient() || self.is_of_bundle() => Err(error),
            Err(error) => match self.reload_locator() {
                Ok(now) if Some(now.digest) != before => work(),
                _ => Err(error),
            },
            done => done,
        }
    }

    /// Returns the packs that the list's locator names.
    pub fn packs(&self) -> Result<Vec<PackId>> {
        Ok(self.locator()?.root.packs.clone())
    }

    /// Returns the record of chunk `chunk`.
    pub fn record(&self, chunk: u64) -> Result<FramePlace> {
        self.with_locator(|locator| locator.record(&self.objects, chunk))
    }

    /// Returns the places of all frames of chunk `chunk`, reloading the locator on failure.
    pub fn places_now(&self, chunk: u64) -> Result<Vec<(FramePlace, PackId)>> {
        self.with_locator(|locator| self.places(locator, chunk))
    }

    /// Returns the places of all frames of chunk `chunk`.
    pub fn places(&self, locator: &Locator, chunk: u64) -> Result<Vec<(FramePlace, PackId)>> {
        let pack = |place: &FramePlace| locator.root.packs.get(place.pack as usize).copied();
        self.chain(locator, chunk)
            .map(|place| place.map(|place| (place, pack(&place).unwrap_or_default())))
            .collect()
    }

    /// Returns the same places one at a time.
    pub fn chain<'a>(
        &'a self,
        locator: &'a Locator,
        chunk: u64,
    ) -> impl Iterator<Item = Result<FramePlace>> + 'a {
        let mut next = Some(chunk);
        // Each frame adds at least one block, so the number of blocks bounds the number of frames.
        let mut left = self.shape.blocks_of(chunk);
        std::iter::from_fn(move || {
            let number = next.take()?;
            let link = |found| {
                let fault = RuleViolation::LocatorLink { found, max: locator.root.records };
                Some(Err(StoreError::corrupt(&locator.name, 0, fault)))
            };
            let place = match locator.record(&self.objects, number) {
                Ok(place) => place,
                error => return Some(error),
            };
            if place.is_absent() && number == chunk {
                return Some(Err(StoreError::corrupt(
                    &locator.name,
                    0,
                    RuleViolation::ChunkAbsent { chunk },
                )));
            }
            if place.is_absent() || left == 0 {
                return link(number);
            }
            left -= 1;
            next = (place.next != 0).then_some(u64::from(place.next));
            Some(Ok(place))
        })
    }

    /// Returns the locator as last loaded.
    pub fn locator(&self) -> Result<Arc<Locator>> {
        if let Some(locator) = self.locator.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            return Ok(locator.clone());
        }
        self.reload_locator()
    }

    /// Reloads the locator: a collection moves frames.
    pub fn reload_locator(&self) -> Result<Arc<Locator>> {
        let locator =
            Arc::new(Locator::load(&self.objects, names::locator(&self.id), &self.id, &self.shape)?);
        *self.locator.write().unwrap_or_else(PoisonError::into_inner) = Some(locator.clone());
        Ok(locator)
    }
}

impl Locator {
    /// Loads the locator of `list` from the object `name`.
    pub fn load(objects: &Objects, name: ObjectName, list: &ListId, shape: &ListShape) -> Result<Self> {
        // Bypass the open-object cache, to read the newest locator.
        let object = objects.open_anew(&name)?;
        let len = object.len();
        // One read covers the root, and usually all of a small locator.
        let guess = (shape.pages() * DIGEST_LEN as u64 + shape.chunks() / 8 + (16 << 10)).min(len);
        // In a bundle the pages are elsewhere or absent, and the root is already in memory.
        let guess = if objects.is_bundle { locator::TRAILER_LEN.min(len) } else { guess };
        let mut tail = read_range(object.as_ref(), &name, len - guess, guess)?;
        let root_len = trailer(&tail, &name, len, LOCATOR_ROOT_LEN_MAX)?;
        let needed = root_len + locator::TRAILER_LEN;
        if needed > guess {
            tail = read_range(object.as_ref(), &name, len - needed, needed)?;
        }
        let root_start = tail.len() - needed as usize;
        let root_bytes = tail.slice(root_start..tail.len() - locator::TRAILER_LEN as usize);
        let corrupt = |fault| StoreError::corrupt(&name, len - needed, fault);
        let root = LocatorRoot::decode(&root_bytes).map_err(corrupt)?;
        if root.list != *list {
            let (expected, found) = (list.to_string(), root.list.to_string());
            return Err(corrupt(RuleViolation::LocatorList { expected, found }));
        }
        let expected = root.records * locator::RECORD_LEN as u64 + needed;
        if root.chunks != shape.chunks() {
            return Err(corrupt(RuleViolation::ListShape { expected: shape.chunks(), found: root.chunks }));
        }
        if expected != len {
            return Err(corrupt(RuleViolation::BodyLength { declared: expected, found: len }));
        }
        let digest = object_digest(&root_bytes);
        let key = format!("{name}@{digest}");
        objects.keep(&key, object);
        let pack_names = root.packs.iter().map(|_| OnceLock::new()).collect();
        Ok(Self { name, key, pack_names, root, digest })
    }

    /// Closes the file of a staged locator: stages, and thus their names, are short-lived.
    pub fn close(&self, objects: &Objects) {
        objects.forget(&self.key);
    }

    /// Returns the object that contains a frame.
    pub fn pack_name(&self, place: &FramePlace) -> &ObjectName {
        let number = place.pack as usize;
        let make = || names::pack(&self.root.packs.get(number).copied().unwrap_or_default());
        // Decoded records always refer to an existing pack. No object has the name of the folder.
        self.pack_names.get(number).map_or(&names::PACKS_FOLDER, |name| name.get_or_init(make))
    }

    /// Whether no chunk of a page has a frame. Such a page may be absent.
    pub fn is_empty_page(&self, objects: &Objects, number: u64) -> Result<bool> {
        match self.page(objects, number) {
            Ok(page) => {
                let mut none = Vec::with_capacity(locator::RECORD_LEN);
                FramePlace::NONE.encode(&mut none);
                Ok(page.chunks(locator::RECORD_LEN).all(|record| record == none))
            }
            Err(error) if matches!(error.fault(), Some(RuleViolation::PieceAbsent { .. })) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Returns record `number`, checked.
    pub fn record(&self, objects: &Objects, number: u64) -> Result<FramePlace> {
        let page_number = number / TABLE_PAGE_RECORDS;
        let page = self.page(objects, page_number)?;
        FramePlace::decode(&page, number, &self.root).map_err(|fault| {
            StoreError::corrupt(
                &self.name,
                page_number * TABLE_PAGE_RECORDS * locator::RECORD_LEN as u64,
                fault,
            )
        })
    }

    /// Whether each of these chunks, which are on one page, is held whole in one frame.
    pub fn are_whole(&self, objects: &Objects, mut chunks: Range<u64>) -> Result<bool> {
        let page_number = chunks.start / TABLE_PAGE_RECORDS;
        let page = self.page(objects, page_number)?;
        let whole = |number| {
            FramePlace::decode(&page, number, &self.root).map(|place| place.is_whole()).map_err(|fault| {
                let offset = page_number * TABLE_PAGE_RECORDS * locator::RECORD_LEN as u64;
                StoreError::corrupt(&self.name, offset, fault)
            })
        };
        chunks.try_fold(true, |all, number| Ok(all && whole(number)?))
    }

    /// Returns page `page_number` of the records, checked.
    fn page(&self, objects: &Objects, page_number: u64) -> Result<Bytes> {
        let outside = || {
            let found = page_number.saturating_mul(TABLE_PAGE_RECORDS);
            let fault = RuleViolation::LocatorLink { found, max: self.root.records };
            StoreError::corrupt(&self.name, 0, fault)
        };
        let expected = *self.root.pages.get(page_number as usize).ok_or_else(outside)?;
        let first = page_number * TABLE_PAGE_RECORDS;
        let offset = first * locator::RECORD_LEN as u64;
        objects.cache.page(KeyKind::LocatorPage, expected, || {
            let records = (self.root.records - first).min(TABLE_PAGE_RECORDS);
            let len = records * locator::RECORD_LEN as u64;
            let object = match objects.kept(&self.key) {
                Some(object) => object,
                // The file may have been replaced; the digest rejects a page that differs.
                None => objects.open_anew(&self.name)?,
            };
            read_page(object.as_ref(), &self.name, offset, len, &expected)
        })
    }
}

/// Reads a page of a table and checks its digest.
fn read_page(object: &dyn ReadAt, name: &str, offset: u64, len: u64, expected: &Digest) -> Result<Bytes> {
    let page = read_range(object, name, offset, len)?;
    let found = page_digest(&page);
    if found == *expected {
        return Ok(page);
    }
    let fault = RuleViolation::PageDigest { expected: expected.to_string(), found: found.to_string() };
    Err(StoreError::corrupt(name, offset, fault))
}

/// Returns the root's length, from the last eight bytes of a file of `len` bytes.
fn trailer(tail: &[u8], name: &str, len: u64, root_len_max: u64) -> Result<u64> {
    let truncated =
        || StoreError::corrupt(name, 0, RuleViolation::Truncated { needed: TRAILER_LEN, found: len });
    let root_len = u64::from_le_bytes(*tail.last_chunk().ok_or_else(truncated)?);
    match root_len.checked_add(TRAILER_LEN) {
        Some(_) if root_len > root_len_max => {
            let fault = RuleViolation::Limit { what: "root length", found: root_len, max: root_len_max };
            Err(StoreError::corrupt(name, len - TRAILER_LEN, fault))
        }
        Some(needed) if needed <= len => Ok(root_len),
        _ => Err(StoreError::corrupt(
            name,
            len - TRAILER_LEN,
            RuleViolation::Truncated { needed: root_len, found: len },
        )),
    }
}

/// Loads the root of list `id` from the object `name`, located by the trailer.
pub(crate) fn load_root_by_trailer(object: &dyn ReadAt, name: &str, id: &ListId) -> Result<ListRoot> {
    let len = object.len();
    let tail_len = TRAILER_LEN.min(len);
    let tail = read_range(object, name, len - tail_len, tail_len)?;
    let root_len = trailer(&tail, name, len, LIST_ROOT_LEN_MAX)?;
    load_root(object, name, id, len - TRAILER_LEN - root_len, root_len)
}

/// Reads the encoded root, which may include fields of a later minor version.
pub(crate) fn root_bytes(object: &dyn ReadAt, name: &str, id: &ListId, shape: &ListShape) -> Result<Bytes> {
    let offset = shape.root_offset();
    let bytes = read_range(object, name, offset, shape.root_len())?;
    let found = object_digest(&bytes);
    if found == id.digest() {
        return Ok(bytes);
    }
    let fault = RuleViolation::PageDigest { expected: id.to_string(), found: found.to_string() };
    Err(StoreError::corrupt(name, offset, fault))
}

fn load_by_shape(objects: &Objects, id: &ListId, shape: ListShape) -> Result<ListRoot> {
    let name = names::list(id);
    let object = objects.open(&name)?;
    let root = load_root(object.as_ref(), &name, id, shape.root_offset(), shape.root_len())?;
    if root.shape == shape {
        return Ok(root);
    }
    let fault = RuleViolation::ListShape { expected: shape.blocks, found: root.shape.blocks };
    Err(StoreError::corrupt(name, shape.root_offset(), fault))
}

/// Reads and checks a root of `len` bytes, and the trailer behind it.
fn load_root(object: &dyn ReadAt, name: &str, id: &ListId, offset: u64, len: u64) -> Result<ListRoot> {
    let tail = read_range(object, name, offset, len + TRAILER_LEN)?;
    let bytes = tail.slice(..len as usize);
    let found = object_digest(&bytes);
    let corrupt = |fault| StoreError::corrupt(name, offset, fault);
    if found != id.digest() {
        return Err(corrupt(RuleViolation::PageDigest {
            expected: id.to_string(),
            found: found.to_string(),
        }));
    }
    let root = ListRoot::decode(&bytes).map_err(corrupt)?;
    if root.shape.file_len() != object.len() {
        let fault = RuleViolation::BodyLength { declared: root.shape.file_len(), found: object.len() };
        return Err(corrupt(fault));
    }
    let stated = trailer(&tail, name, object.len(), LIST_ROOT_LEN_MAX)?;
    if stated != len {
        let fault = RuleViolation::BodyLength { declared: stated, found: len };
        return Err(StoreError::corrupt(name, offset + len, fault));
    }
    Ok(root)
}
