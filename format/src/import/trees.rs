//! The image's two trees: from block sources and span digests to pages.

use std::collections::{BTreeSet, HashMap};

use crate::codec;
use crate::content::ContentHasher;
use crate::digest::{ContentId, Digest, ListId, PageFileId, PageId, object_digest};
use crate::error::{BlockError, Error, Result, StoreError};
use crate::heal::Health;
use crate::image::Image;
use crate::limits::{PAGE_LEN_MAX, SPAN_BLOCKS};
use crate::map::{BuiltLeaf, LeafBuilder};
use crate::ondisk::digest_table::{self, Entry};
use crate::ondisk::header::Kind;
use crate::ondisk::map_leaf::{self, MapLeaf};
use crate::ondisk::record::{PagePlace, Places};
use crate::store::stage::{Moves, Stage};
use crate::units::{GuestBlock, ListBlock};
use crate::write::{PageWriter, PlacedPage, number_files};

/// The pages of the parent, by digest; these exist already.
#[derive(Debug, Default)]
pub(super) struct KnownPages {
    pages: HashMap<PageId, (PageFileId, PagePlace)>,
}

impl KnownPages {
    /// Collects all pages of `image` that lie in sound page files.
    pub fn of(image: &Image, health: &Health) -> Result<Self> {
        let record = &image.record;
        let places = &record.places;
        let spans = record.span_root()?;
        let mut pages = HashMap::new();
        let both = [(record.map_root.as_slice(), &places.map), (spans, &places.span)];
        for (entry, place) in both.iter().flat_map(|(root, places)| root.iter().zip(places.iter())) {
            let file = places.files.get(place.file as usize).copied().unwrap_or_default();
            if health.page_file(&file)? {
                pages.insert(entry.page(), (file, *place));
            }
        }
        Ok(Self { pages })
    }
}

/// A tree under construction.
#[derive(Debug, Default)]
struct Tree {
    entries: Vec<Entry>,
    /// A page that is not written yet has no place: see [`WaitingLeaf`].
    places: Vec<Option<PlacedPage>>,
}

impl Tree {
    fn places(&self) -> Vec<PlacedPage> {
        let placed = |place: &Option<PlacedPage>| place.expect("finish_leaves has placed all leaves");
        self.places.iter().map(placed).collect()
    }
}

/// A leaf that uses lists whose ids are known only at the end. It is kept encoded, at three to five bytes an
/// extent, with space for the ids.
#[derive(Debug)]
struct WaitingLeaf {
    /// The index of its entry in the map root.
    slot: usize,
    bytes: Vec<u8>,
    /// Its new lists, as pairs: the leaf's number, the import's number.
    missing: Vec<(usize, u32)>,
}

/// A builder of the map tree and the span tree, front to back.
#[derive(Debug)]
pub(super) struct TreeBuilder<'a> {
    pages: PageWriter<'a, Stage>,
    known: KnownPages,
    /// The ids of the committed lists; new lists are numbered after these.
    ids: Vec<ListId>,
    leaf_blocks: u64,
    leaves: LeafBuilder,
    waiting: Vec<WaitingLeaf>,
    /// The numbers of all lists used by the map.
    used: BTreeSet<u32>,
    map: Tree,
    span: Tree,
}

impl<'a> TreeBuilder<'a> {
    pub fn new(stage: &'a Stage, leaf_blocks: u64, known: KnownPages, ids: Vec<ListId>) -> Self {
        Self {
            pages: PageWriter::new(stage),
            known,
            ids,
            leaf_blocks,
            leaves: LeafBuilder::new(leaf_blocks),
            waiting: Vec::new(),
            used: BTreeSet::new(),
            map: Tree::default(),
            span: Tree::default(),
        }
    }

    /// Adds the next run of non-zero guest blocks, with its source. A run is at most a span long.
    pub fn run(&mut self, guest: GuestBlock, blocks: u64, list: u32, block: ListBlock) -> Result<()> {
        match self.leaves.push(guest, blocks, list, block) {
            Some(leaf) => self.leaf(leaf),
            None => Ok(()),
        }
    }

    /// Writes a finished leaf, or keeps it until its lists have ids.
    fn leaf(&mut self, leaf: BuiltLeaf) -> Result<()> {
        self.used.extend(&leaf.lists);
        let is_new = |list: &(usize, u32)| list.1 as usize >= self.ids.len();
        let missing: Vec<_> = leaf.lists.iter().copied().enumerate().filter(is_new).collect();
        let index = leaf.index;
        let bytes = leaf.resolve(|list| self.ids.get(list as usize).copied().unwrap_or_default()).encode();
        if missing.is_empty() {
            return add_page(&mut self.map, &mut self.pages, &self.known, index, &bytes);
        }
        self.waiting.push(WaitingLeaf { slot: self.map.entries.len(), bytes, missing });
        self.map.entries.push(Entry { index: index as u32, digest: Digest::ZERO });
        self.map.places.push(None);
        Ok(())
    }

    /// Adds a finished span page of leaf `leaf`.
    fn span_page(&mut self, leaf: u64, entries: &[Entry]) -> Result<()> {
        let bytes = digest_table::encode(Kind::SpanPage, entries);
        add_page(&mut self.span, &mut self.pages, &self.known, leaf, &bytes)
    }

    /// Writes the leaves that waited for the new lists' ids; returns the numbers of all lists used by the
    /// map.
    pub fn finish_leaves(&mut self, new_ids: &[ListId]) -> Result<BTreeSet<u32>> {
        if let Some(last) = self.leaves.take() {
            self.leaf(last)?;
        }
        for mut leaf in std::mem::take(&mut self.waiting) {
            for (number, list) in leaf.missing {
                let id = new_ids.get(list as usize - self.ids.len()).copied().unwrap_or_default();
                map_leaf::set_list(&mut leaf.bytes, number, &id);
            }
            // If an import restores a damaged list of the store, both have the same id, and a leaf could name
            // that list twice.
            MapLeaf::decode(&leaf.bytes, self.leaf_blocks).map_err(|fault| {
                StoreError::corrupt(format!("leaf {} of the new map", leaf.slot), 0, fault)
            })?;
            let (page, placed) = place_page(&mut self.pages, &self.known, &leaf.bytes)?;
            self.map.entries[leaf.slot].digest = page.digest();
            self.map.places[leaf.slot] = Some(placed);
        }
        Ok(std::mem::take(&mut self.used))
    }

    /// Closes the page file; returns the roots and all places.
    pub fn finish(self, moves: &mut Moves) -> Result<FinishedTrees> {
        let file = self.pages.finish()?;
        let new_file = file.as_ref().map(|(id, _)| *id).unwrap_or_default();
        moves.extend(file.map(|(_, moved)| moved));
        Ok(FinishedTrees {
            map_root: digest_table::encode_root(Kind::MapRoot, &self.map.entries),
            span_root: digest_table::encode_root(Kind::SpanRoot, &self.span.entries),
            places: number_files(&self.map.places(), &self.span.places(), new_file),
        })
    }
}

fn add_page(
    tree: &mut Tree,
    pages: &mut PageWriter<'_, Stage>,
    known: &KnownPages,
    index: u64,
    bytes: &[u8],
) -> Result<()> {
    let (page, placed) = place_page(pages, known, bytes)?;
    tree.entries.push(Entry { index: index as u32, digest: page.digest() });
    tree.places.push(Some(placed));
    Ok(())
}

/// Writes a page, unless the parent has it.
fn place_page(
    pages: &mut PageWriter<'_, Stage>,
    known: &KnownPages,
    bytes: &[u8],
) -> Result<(PageId, PlacedPage)> {
    if bytes.len() as u64 > PAGE_LEN_MAX {
        return Err(BlockError::Limit {
            what: "bytes of a page",
            found: bytes.len() as u64,
            max: PAGE_LEN_MAX,
        }
        .into());
    }
    let page = PageId::new(object_digest(bytes));
    let placed = match known.pages.get(&page) {
        Some((file, place)) => PlacedPage::Known(*file, *place),
        None => {
            let stored = codec::page::encode(bytes)
                .map_err(|error| Error::io("compress", format!("page {page}"), error))?;
            pages.page(&stored)?
        }
    };
    Ok((page, placed))
}

/// The roots of both trees, and the places of their pages.
#[derive(Debug)]
pub(super) struct FinishedTrees {
    pub map_root: Vec<u8>,
    pub span_root: Vec<u8>,
    pub places: Places,
}

/// Returns the digest of a root, or zero for an empty one.
pub(super) fn root_digest(root: &[u8]) -> Digest {
    if root.is_empty() { Digest::ZERO } else { object_digest(root) }
}

/// The spans in order: builds the pages of the span tree and the content id.
#[derive(Debug)]
pub(super) struct SpanTable {
    leaf_spans: u64,
    leaf: u64,
    entries: Vec<Entry>,
    /// The content id so far, if the disk's size is known.
    content: Option<ContentHasher>,
    /// All spans, 40 bytes each, if the size is not known yet.
    kept: Vec<(u64, Digest)>,
}

impl SpanTable {
    pub fn new(leaf_blocks: u64, content: Option<ContentHasher>) -> Self {
        Self {
            leaf_spans: leaf_blocks / SPAN_BLOCKS,
            leaf: 0,
            entries: Vec::new(),
            content,
            kept: Vec::new(),
        }
    }

    /// Adds the next non-zero span.
    pub fn span(&mut self, number: u64, digest: &Digest, trees: &mut TreeBuilder<'_>) -> Result<()> {
        match &mut self.content {
            Some(content) => content.span(number, digest),
            None => self.kept.push((number, *digest)),
        }
        let (leaf, index) = (number / self.leaf_spans, (number % self.leaf_spans) as u32);
        if leaf != self.leaf {
            self.flush(trees)?;
            self.leaf = leaf;
        }
        self.entries.push(Entry { index, digest: *digest });
        Ok(())
    }

    fn flush(&mut self, trees: &mut TreeBuilder<'_>) -> Result<()> {
        if !self.entries.is_empty() {
            trees.span_page(self.leaf, &self.entries)?;
            self.entries.clear();
        }
        Ok(())
    }

    /// Writes the last page and returns the content id of a disk of `size_bytes`.
    pub fn finish(mut self, trees: &mut TreeBuilder<'_>, size_bytes: u64, spans: u64) -> Result<ContentId> {
        self.flush(trees)?;
        Ok(match self.content {
            Some(content) => content.finish(),
            None => ContentHasher::of_spans(size_bytes, spans, self.kept),
        })
    }
}
