//! Manifest records opened for reading, and the pages they place.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::list::List;
use super::lists::Lists;
use super::names;
use super::objects::{Objects, read_range};
use super::scrub::check_page_file_head;
use crate::cache::Kept;
use crate::codec;
use crate::digest::{Digest, ImageId, ListId, PageId, object_digest};
use crate::error::{Error, Result, StoreError};
use crate::fault::RuleViolation;
use crate::limits::SPAN_BLOCKS;
use crate::map::SearchableLeaf;
use crate::ondisk::digest_table::{self, Entry};
use crate::ondisk::header::{HEADER_LEN, Kind};
use crate::ondisk::list::ListShape;
use crate::ondisk::manifest::Manifest;
use crate::ondisk::map_leaf::MapLeaf;
use crate::ondisk::record::{HEAD_LEN, PagePlace, Places, RecordHead};
use crate::storage::ObjectName;

/// The length of the first read of a record, before its lengths are known; it usually covers everything.
const FIRST_READ_LEN: u64 = 64 << 10;
/// The maximum length of a span root that is kept from the first read, in bytes.
const SPAN_ROOT_KEPT_LEN: usize = 4 << 10;

/// One of an image's two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tree {
    /// Extents.
    Map,
    /// Span digests.
    Span,
}

/// An image's record: its manifest, its map root, and the places of its pages.
#[derive(Debug)]
pub(crate) struct Record {
    objects: Arc<Objects>,
    open_lists: Arc<Lists>,
    /// The records that provide the pages that a bundle leaves out.
    bases: Option<Arc<[Record]>>,
    name: ObjectName,
    head: RecordHead,
    pub id: ImageId,
    pub manifest: Manifest,
    pub places: Places,
    /// Leaves that are not all zeros, in ascending order.
    pub map_root: Vec<Entry>,
    /// log2 of the blocks of a leaf.
    pub leaf_bits: u8,
    span_root: OnceLock<Vec<Entry>>,
    /// Leaves that the cache lets this image keep, by slot of the root. A hot read then needs only its
    /// chunk from the cache.
    leaves: Box<[OnceLock<KeptLeaf>]>,
    /// The manifest's lists, in its order, opened on first use.
    lists: Box<[OnceLock<Arc<List>>]>,
}

/// A leaf that the cache lets the image keep.
#[derive(Debug)]
struct KeptLeaf {
    leaf: Kept<SearchableLeaf>,
    /// The positions of the leaf's lists in the manifest; out of range for lists it does not name.
    lists: Box<[u32]>,
}

/// A leaf of one image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeafOf<'a> {
    pub leaf: &'a SearchableLeaf,
    lists: Option<&'a [u32]>,
}

impl Record {
    /// Opens the record of image `id` with at most two reads.
    pub fn open(
        objects: &Arc<Objects>,
        open_lists: &Arc<Lists>,
        bases: Option<&Arc<[Self]>>,
        id: ImageId,
    ) -> Result<Self> {
        let name = names::manifest(&id);
        let object = objects.source().open(&name).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::from(StoreError::NotFound { what: "image", name: format!("@{id}") })
            }
            _ => StoreError::unopened(&name, error),
        })?;
        let len = object.len();
        let mut front = read_range(object.as_ref(), &name, 0, len.min(FIRST_READ_LEN))?;
        let head = RecordHead::decode(&front, len).map_err(|fault| StoreError::corrupt(&name, 0, fault))?;
        let needed = head.span_root_offset();
        if needed > front.len() as u64 {
            let rest = read_range(object.as_ref(), &name, front.len() as u64, needed - front.len() as u64)?;
            front = [front, rest].concat().into();
        }
        let manifest = decode_manifest(&front, &name, &head, &id)?;
        let slice = |offset: u64, len: u64| front.slice(offset as usize..(offset + len) as usize);
        let places =
            Places::decode(&slice(head.places_offset(), head.places_len()), &front, &head, bases.is_some())
                .map_err(|fault| StoreError::corrupt(&name, head.places_offset(), fault))?;
        let map_root = decode_root(
            Kind::MapRoot,
            &slice(head.map_root_offset(), u64::from(head.map_root_len)),
            &manifest.map_root,
            manifest.geometry.leaves(),
            places.map.len(),
        )
        .map_err(|fault| StoreError::corrupt(&name, head.map_root_offset(), fault))?;
        let span_root = OnceLock::new();
        // A small root usually came along. If it is damaged, its first use reports that.
        let (from, len) = (head.span_root_offset() as usize, head.span_root_len as usize);
        let bytes = front.get(from..from + len).filter(|bytes| bytes.len() <= SPAN_ROOT_KEPT_LEN);
        if let Some(bytes) = bytes
            && let Ok(root) = decode_span_root(&manifest, bytes, places.span.len())
        {
            let _ = span_root.set(root);
        }
        let lists = manifest.lists.iter().map(|_| OnceLock::new()).collect();
        let leaves = map_root.iter().map(|_| OnceLock::new()).collect();
        let leaf_bits = manifest.geometry.leaf_bits();
        let (objects, open_lists) = (objects.clone(), open_lists.clone());
        let bases = bases.cloned();
        Ok(Self {
            objects,
            open_lists,
            bases,
            name,
            head,
            id,
            manifest,
            places,
            map_root,
            leaf_bits,
            span_root,
            leaves,
            lists,
        })
    }

    /// Returns the span root: the leaves that are not all zeros, with the digests of their span pages. A
    /// large root is read on first use.
    pub fn span_root(&self) -> Result<&[Entry]> {
        if let Some(root) = self.span_root.get() {
            return Ok(root);
        }
        let root = self.read_span_root()?;
        Ok(self.span_root.get_or_init(|| root))
    }

    fn read_span_root(&self) -> Result<Vec<Entry>> {
        let offset = self.head.span_root_offset();
        // Opened again: images keep no files open, so their number is unlimited.
        let object = self.objects.open_anew(&self.name)?;
        let bytes = read_range(object.as_ref(), &self.name, offset, u64::from(self.head.span_root_len))?;
        decode_span_root(&self.manifest, &bytes, self.places.span.len())
            .map_err(|fault| StoreError::corrupt(&self.name, offset, fault))
    }

    /// Returns the encoded manifest, map root and span root. A later minor version may store more in
    /// them, and their digests cover all of it, so encoding them again would change the digests.
    ///
    /// # Errors
    /// Errors of reading the record again, and damage since it was opened.
    pub fn own_bytes(&self) -> Result<[Bytes; 3]> {
        let head = &self.head;
        let object = self.objects.open(&self.name)?;
        let digests = [self.id.digest(), self.manifest.map_root, self.manifest.span_root];
        let places = [
            (HEAD_LEN, head.manifest_len),
            (head.map_root_offset(), head.map_root_len),
            (head.span_root_offset(), head.span_root_len),
        ];
        let mut parts = [Bytes::new(), Bytes::new(), Bytes::new()];
        for (part, ((offset, len), expected)) in parts.iter_mut().zip(places.into_iter().zip(digests)) {
            if len == 0 {
                continue;
            }
            *part = read_range(object.as_ref(), &self.name, offset, u64::from(len))?;
            let found = object_digest(part);
            if found != expected {
                let fault =
                    RuleViolation::PageDigest { expected: expected.to_string(), found: found.to_string() };
                return Err(StoreError::corrupt(&self.name, offset, fault));
            }
        }
        Ok(parts)
    }

    /// Calls `read` with the map leaf of entry `slot` of the map root.
    #[inline]
    pub fn with_leaf<R>(&self, slot: usize, read: impl FnOnce(LeafOf<'_>) -> R) -> Result<R> {
        if let Some(kept) = self.kept_leaf(slot) {
            return Ok(read(kept));
        }
        let leaf = self.leaf(slot)?;
        self.keep(slot, &leaf);
        Ok(read(LeafOf { leaf: &leaf, lists: None }))
    }

    /// Returns the map leaf of entry `slot` of the map root, if the image keeps it.
    #[inline]
    pub fn kept_leaf(&self, slot: usize) -> Option<LeafOf<'_>> {
        let kept = self.leaves.get(slot)?.get()?;
        Some(LeafOf { leaf: kept.leaf.get(), lists: Some(&kept.lists) })
    }

    fn keep(&self, slot: usize, leaf: &Arc<SearchableLeaf>) {
        let lists = &leaf.leaf.lists;
        let bytes = leaf.bytes() + (lists.len() * size_of::<u32>()) as u64;
        if let Some(kept) = self.objects.cache.keep(leaf, bytes) {
            let number = |list| self.list_number(list).map_or(u32::MAX, |number| number as u32);
            // If another reader was first, this copy is dropped.
            let _ = self.leaves[slot].set(KeptLeaf { leaf: kept, lists: lists.iter().map(number).collect() });
        }
    }

    /// Returns the map leaf of entry `slot` of the map root.
    pub fn leaf(&self, slot: usize) -> Result<Arc<SearchableLeaf>> {
        let (entry, place) = self.slot(&self.map_root, &self.places.map, slot)?;
        let geometry = &self.manifest.geometry;
        let leaf_blocks = geometry.leaf_blocks();
        let leaf = self.objects.cache.leaf(entry.digest, geometry.leaf_bits(), || {
            let (bytes, file) = self.page(Tree::Map, entry, place)?;
            MapLeaf::decode(&bytes, leaf_blocks)
                .map(|leaf| SearchableLeaf::new(leaf, leaf_blocks))
                .map_err(|fault| StoreError::corrupt(file, place.offset, fault))
        })?;
        // Images share leaves, so every leaf is checked against this image.
        let max = geometry.blocks() - u64::from(entry.index) * leaf_blocks;
        let block = leaf.leaf.extents.last().map_or(0, |last| last.end());
        if block > max {
            return Err(StoreError::corrupt(&self.name, 0, RuleViolation::ExtentRange { block, max }));
        }
        Ok(leaf)
    }

    /// Returns the span page of entry `slot` of `root`, which must be this record's span root.
    pub fn span_page(&self, root: &[Entry], slot: usize) -> Result<Vec<Entry>> {
        let (entry, place) = self.slot(root, &self.places.span, slot)?;
        let (bytes, file) = self.page(Tree::Span, entry, place)?;
        let leaf_spans = self.manifest.geometry.leaf_blocks() / SPAN_BLOCKS;
        let before = u64::from(entry.index) * leaf_spans;
        let spans = leaf_spans.min(self.manifest.geometry.spans() - before);
        digest_table::decode(Kind::SpanPage, &bytes, spans)
            .map_err(|fault| StoreError::corrupt(file, place.offset, fault))
    }

    fn slot(&self, root: &[Entry], places: &[PagePlace], slot: usize) -> Result<(Entry, PagePlace)> {
        match (root.get(slot), places.get(slot)) {
            (Some(entry), Some(place)) => Ok((*entry, *place)),
            _ => {
                let fault = RuleViolation::TableRange { index: slot as u64, max: root.len() as u64 };
                Err(StoreError::corrupt(&self.name, 0, fault))
            }
        }
    }

    /// Returns the bytes of a page, and its object.
    pub fn page(&self, tree: Tree, entry: Entry, place: PagePlace) -> Result<(Vec<u8>, ObjectName)> {
        if place != PagePlace::OF_BASE {
            return self.read_page(place, &entry.page()).or_else(|error| {
                let now = if error.is_transient() { Ok(None) } else { self.page_now(tree, entry) };
                now.ok().flatten().ok_or(error)
            });
        }
        for base in self.bases.iter().flat_map(|bases| bases.iter()) {
            if let Some(place) = base.place_of(tree, entry, self.manifest.geometry.leaf_bits())? {
                return base.page(tree, entry, place);
            }
        }
        Err(StoreError::corrupt(&self.name, HEAD_LEN, RuleViolation::Missing))
    }

    /// Returns a page of this image in its stored form.
    pub fn stored_page(&self, tree: Tree, entry: Entry) -> Result<Vec<u8>> {
        let place = self.place_of(tree, entry, self.manifest.geometry.leaf_bits())?;
        let place = place.ok_or_else(|| StoreError::corrupt(&self.name, HEAD_LEN, RuleViolation::Missing))?;
        let (page, _) = self.page(tree, entry, place)?;
        let stored = codec::page::encode(&page);
        let stored =
            stored.map_err(|error| Error::io("compress", format!("page {}", entry.digest), error))?;
        Ok(stored.into_owned())
    }

    /// Returns the place of the page for `entry` of another image with leaves of `leaf_bits`, if this
    /// image has the same page.
    pub fn place_of(&self, tree: Tree, entry: Entry, leaf_bits: u8) -> Result<Option<PagePlace>> {
        if self.manifest.geometry.leaf_bits() != leaf_bits {
            return Ok(None);
        }
        let find = |root: &[Entry], places: &[PagePlace]| {
            let slot = root.binary_search_by(|other| other.index.cmp(&entry.index)).ok()?;
            places.get(slot).copied().filter(|_| root[slot].digest == entry.digest)
        };
        Ok(match tree {
            Tree::Map => find(&self.map_root, &self.places.map),
            Tree::Span => find(self.span_root()?, &self.places.span),
        })
    }

    fn read_page(&self, place: PagePlace, expected: &PageId) -> Result<(Vec<u8>, ObjectName)> {
        let file = self.places.files.get(place.file as usize).copied().unwrap_or_default();
        let name = names::page_file(&file);
        match self.read_page_of(&name, place, expected) {
            // The file may have been healed after it was opened.
            Err(error) if !error.is_transient() => {
                self.objects.forget(&name);
                self.read_page_of(&name, place, expected)
            }
            done => done,
        }
        .map(|page| (page, name))
    }

    /// Reads a page by the record's current places, if they differ from those at opening. Pages may have
    /// been moved, or stored again elsewhere.
    fn page_now(&self, tree: Tree, entry: Entry) -> Result<Option<(Vec<u8>, ObjectName)>> {
        let now = Self::open(&self.objects, &self.open_lists, self.bases.as_ref(), self.id)?;
        if now.places == self.places {
            return Ok(None);
        }
        let place = now.place_of(tree, entry, self.manifest.geometry.leaf_bits())?;
        place.map(|place| now.read_page(place, &entry.page())).transpose()
    }

    fn read_page_of(&self, name: &ObjectName, place: PagePlace, expected: &PageId) -> Result<Vec<u8>> {
        let object = self.objects.open_checked(name, HEADER_LEN as u64, check_page_file_head)?;
        let stored = read_range(object.as_ref(), name, place.offset, u64::from(place.len))?;
        let page = codec::page::decode(&stored)
            .map_err(|fault| StoreError::corrupt(name, place.offset, fault))?
            .into_owned();
        let found = object_digest(&page);
        if found == expected.digest() {
            return Ok(page);
        }
        let fault = RuleViolation::PageDigest { expected: expected.to_string(), found: found.to_string() };
        Err(StoreError::corrupt(name, place.offset, fault))
    }

    /// Returns the position of list `id` in the manifest, which must name it.
    fn list_number(&self, id: &ListId) -> Result<usize> {
        self.manifest.lists.binary_search_by(|list| list.id.cmp(id)).map_err(|_| {
            StoreError::corrupt(&self.name, HEAD_LEN, RuleViolation::ListUnknown { list: id.to_string() })
        })
    }

    /// Returns the manifest's shape of list `id`, which it must name.
    pub fn list_shape(&self, id: &ListId) -> Result<ListShape> {
        Ok(self.manifest.lists[self.list_number(id)?].shape)
    }

    /// Returns the list that a leaf calls `number`. The manifest must name it, and give its proper shape.
    #[inline]
    pub fn list(&self, leaf: LeafOf<'_>, number: u32) -> Result<&List> {
        match self.known_list(leaf, number) {
            Some(list) => Ok(list),
            None => self.open_list(&leaf.leaf.leaf.lists.get(number as usize).copied().unwrap_or_default()),
        }
    }

    /// Does the same if the list is already open.
    #[inline]
    pub fn known_list(&self, leaf: LeafOf<'_>, number: u32) -> Option<&List> {
        let at = *leaf.lists?.get(number as usize)?;
        self.lists.get(at as usize)?.get().map(|list| &**list)
    }

    fn open_list(&self, id: &ListId) -> Result<&List> {
        let at = self.list_number(id)?;
        if let Some(list) = self.lists[at].get() {
            return Ok(list);
        }
        let list = self.open_lists.get(id, Some(self.manifest.lists[at].shape))?;
        // Chunks are cached by list and chunk number, so all users must agree on the shape.
        list.root()?;
        Ok(self.lists[at].get_or_init(|| list))
    }
}

fn decode_manifest(front: &Bytes, name: &str, head: &RecordHead, id: &ImageId) -> Result<Manifest> {
    let start = HEAD_LEN as usize;
    let bytes = front.slice(start..start + head.manifest_len as usize);
    let found = object_digest(&bytes);
    let corrupt = |fault| StoreError::corrupt(name, HEAD_LEN, fault);
    if found != id.digest() {
        return Err(corrupt(RuleViolation::PageDigest {
            expected: id.to_string(),
            found: found.to_string(),
        }));
    }
    Manifest::decode(&bytes).map_err(corrupt)
}

fn decode_span_root(
    manifest: &Manifest,
    bytes: &[u8],
    places: usize,
) -> std::result::Result<Vec<Entry>, RuleViolation> {
    decode_root(Kind::SpanRoot, bytes, &manifest.span_root, manifest.geometry.leaves(), places)
}

/// Checks a root against its digest in the manifest, and that each of its pages has a place.
fn decode_root(
    kind: Kind,
    bytes: &[u8],
    expected: &Digest,
    leaves: u64,
    places: usize,
) -> std::result::Result<Vec<Entry>, RuleViolation> {
    let root = if expected.is_zero() {
        match bytes.len() {
            0 => Vec::new(),
            extra => return Err(RuleViolation::TrailingBytes { extra: extra as u64 }),
        }
    } else {
        let found = object_digest(bytes);
        if found != *expected {
            return Err(RuleViolation::PageDigest {
                expected: expected.to_string(),
                found: found.to_string(),
            });
        }
        digest_table::decode(kind, bytes, leaves)?
    };
    if root.len() == places {
        Ok(root)
    } else {
        Err(RuleViolation::PagePlace { found: places as u64, max: root.len() as u64 })
    }
}
