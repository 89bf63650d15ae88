//! Handmade lists, locators, packs and images for vectors that combine them.

use std::collections::BTreeMap;

use melv::Digest;
use melv::content::{ContentHasher, span_digest};
use melv::digest::{
    BlockDigest, ChunkId, ContentId, ImageId, ListId, PackId, PageFileId, block_digest, chunk_id,
    object_digest, page_digest,
};
use melv::limits::BLOCK_LEN;
use melv::ondisk::digest_table::{self, Entry};
use melv::ondisk::header::{self, Kind};
use melv::ondisk::list::{ListRoot, ListShape};
use melv::ondisk::locator::{FramePlace, LocatorRoot};
use melv::ondisk::manifest::{Geometry, ListUse, Manifest};
use melv::ondisk::map_leaf::{Extent, MapLeaf};
use melv::ondisk::record::{self, PagePlace, Places};
use melv::ondisk::reference::Reference;
use melv::ondisk::store_header;

use super::build::{guard, pack, partial, whole, zstd_runs};
use super::parts::CREATED;

/// Blocks in a leaf range of the disks here.
const LEAF_BLOCKS: u64 = 1 << 16;

/// A block: this many bytes of one value, then zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill(pub u8, pub u32);

impl Fill {
    fn bytes(self) -> Vec<u8> {
        let mut block = vec![self.0; self.1 as usize];
        block.resize(BLOCK_LEN, 0);
        block
    }

    fn runs(self) -> impl Iterator<Item = (u8, u32)> {
        let rest = BLOCK_LEN as u32 - self.1;
        [(self.0, self.1), (0, rest)].into_iter().filter(|(_, len)| *len > 0)
    }
}

/// A chunk list and its file in two parts.
pub struct List {
    pub shape: ListShape,
    pub id: ListId,
    pub pages: Vec<u8>,
    /// The root, and its length.
    pub root: Vec<u8>,
    fills: Vec<Fill>,
    chunks: Vec<ChunkId>,
}

/// Makes a list of these blocks.
pub fn list(chunk_blocks: u32, fills: Vec<Fill>) -> List {
    let digests: Vec<_> = fills.iter().map(|fill| block_digest(&fill.bytes())).collect();
    let chunks: Vec<_> = digests.chunks(chunk_blocks as usize).map(chunk_id).collect();
    let pages: Vec<u8> = chunks.iter().flat_map(|id| *id.as_bytes()).collect();
    let shape = ListShape { chunk_blocks, blocks: fills.len() as u64 };
    let root = ListRoot { shape, pages: pages.chunks(32 << 10).map(page_digest).collect() }.encode();
    let id = ListId::new(object_digest(&root));
    List { shape, id, pages, root: ended(&root), fills, chunks }
}

/// Returns a root and its length.
fn ended(root: &[u8]) -> Vec<u8> {
    [root, &(root.len() as u64).to_le_bytes()].concat()
}

impl List {
    /// Makes a frame of the blocks `held` of a chunk, at least one.
    pub fn frame(&self, chunk: usize, held: &[usize]) -> Vec<u8> {
        let first = chunk * self.shape.chunk_blocks as usize;
        let fills = &self.fills[first..first + self.shape.blocks_of(chunk as u64) as usize];
        let runs: Vec<_> = held.iter().flat_map(|&block| fills[block].runs()).collect();
        if held.len() == fills.len() {
            return whole(1, &zstd_runs(&runs));
        }
        let mut mask = vec![0; fills.len().div_ceil(8)];
        held.iter().for_each(|block| mask[block / 8] |= 1 << (block % 8));
        let absent = (0..fills.len()).filter(|block| !held.contains(block));
        let absent: Vec<_> = absent.map(|block| block_digest(&fills[block].bytes())).collect();
        partial(1, &mask, &absent, &zstd_runs(&runs))
    }

    fn fill(&self, block: u64) -> Fill {
        self.fills[usize::try_from(block).unwrap()]
    }
}

/// The frames of a list: a pack, and a locator's file in two parts.
#[derive(Clone)]
pub struct Located {
    pub pack: (Vec<u8>, PackId),
    pub pages: Vec<u8>,
    /// The root, and its length.
    pub root: Vec<u8>,
}

/// Makes a locator and the one pack of these frames, each with its chunk's number.
pub fn located(list: &List, frames: &[(usize, Vec<u8>)]) -> Located {
    located_but(list, frames, |_| ())
}

/// Does the same as [`located`], with changed records.
pub fn located_but(list: &List, frames: &[(usize, Vec<u8>)], twist: fn(&mut Vec<FramePlace>)) -> Located {
    let keyed: Vec<_> = frames.iter().map(|(chunk, frame)| (list.chunks[*chunk], frame.clone())).collect();
    let pack = pack(&keyed);
    let mut records = vec![FramePlace::NONE; list.chunks.len()];
    let mut offset = 48;
    for (chunk, frame) in frames {
        let len = u32::try_from(frame.len()).unwrap();
        let guard = guard(&list.chunks[*chunk], frame);
        let place = FramePlace { pack: 0, offset, len, partial: frame[2] == 1, next: 0, guard };
        offset += len;
        if records[*chunk] == FramePlace::NONE {
            records[*chunk] = place;
        } else {
            // Inserts after the chunk's first frame, before the others.
            let next = u32::try_from(records.len()).unwrap();
            let place = FramePlace { next: records[*chunk].next, ..place };
            records[*chunk].next = next;
            records.push(place);
        }
    }
    twist(&mut records);
    let is_whole = |place: &FramePlace| *place != FramePlace::NONE && !place.partial && place.next == 0;
    let in_part = !records.iter().all(is_whole);
    let mut pages = Vec::new();
    records.iter().for_each(|place| place.encode(&mut pages));
    let root = LocatorRoot {
        list: list.id,
        chunks: list.chunks.len() as u64,
        records: records.len() as u64,
        in_part,
        packs: vec![pack.1],
        pages: pages.chunks(24 << 10).map(page_digest).collect(),
    };
    Located { pack, pages, root: ended(&root.encode()) }
}

/// The plan of an image.
pub struct Plan<'a> {
    pub size: u64,
    pub note: &'a str,
    /// Disk block, blocks, list, block of the list.
    pub extents: Vec<(u64, u64, &'a List, u64)>,
    /// Pages that a base has: leaf range and digest.
    pub of_base: Vec<(u32, Digest)>,
    /// A change to the places of pages.
    pub places: fn(&mut Places),
}

/// An image.
pub struct Image {
    pub id: ImageId,
    pub size: u64,
    pub content: ContentId,
    pub record: Vec<u8>,
    /// Its page file, if it has one of its own.
    pub page_file: Option<(PageFileId, Vec<u8>)>,
    /// Leaves and span pages.
    pub pages: Vec<(u32, Digest)>,
    /// Blocks of the disk that are not zeros.
    blocks: BTreeMap<u64, Fill>,
}

impl Image {
    /// Returns the disk's bytes.
    pub fn disk(&self) -> Vec<u8> {
        let mut disk = vec![0; usize::try_from(self.size).unwrap().next_multiple_of(BLOCK_LEN)];
        for (block, fill) in &self.blocks {
            let at = usize::try_from(*block).unwrap() * BLOCK_LEN;
            disk[at..at + fill.1 as usize].fill(fill.0);
        }
        disk.truncate(usize::try_from(self.size).unwrap());
        disk
    }
}

/// Makes the leaves of a plan, by their leaf ranges.
fn leaves(plan: &Plan<'_>) -> Vec<(u32, Vec<u8>)> {
    let mut leaves: BTreeMap<u64, MapLeaf> = BTreeMap::new();
    for (start, blocks, list, source) in &plan.extents {
        let empty = MapLeaf { lists: Vec::new(), extents: Vec::new() };
        let leaf = leaves.entry(start / LEAF_BLOCKS).or_insert(empty);
        let number = leaf.lists.iter().position(|id| *id == list.id).unwrap_or_else(|| {
            leaf.lists.push(list.id);
            leaf.lists.len() - 1
        });
        let (start, list) = (start % LEAF_BLOCKS, u32::try_from(number).unwrap());
        leaf.extents.push(Extent { start, blocks: *blocks, list, source: *source });
    }
    leaves.into_iter().map(|(number, leaf)| (u32::try_from(number).unwrap(), leaf.encode())).collect()
}

/// Returns the digests of all spans that are not all zeros.
fn spans(blocks: &BTreeMap<u64, Fill>, size: u64) -> BTreeMap<u64, Digest> {
    let disk_blocks = size.div_ceil(BLOCK_LEN as u64);
    let mut spans: BTreeMap<u64, Vec<Option<BlockDigest>>> = BTreeMap::new();
    for (block, fill) in blocks {
        let len = (disk_blocks - block / 256 * 256).min(256);
        let span = spans.entry(block / 256).or_insert_with(|| vec![None; usize::try_from(len).unwrap()]);
        span[usize::try_from(block % 256).unwrap()] = Some(block_digest(&fill.bytes()));
    }
    spans.into_iter().map(|(number, span)| (number, span_digest(&span).unwrap())).collect()
}

/// Makes the span pages, by their leaf ranges.
fn span_pages(spans: &BTreeMap<u64, Digest>) -> Vec<(u32, Vec<u8>)> {
    let leaf_spans = LEAF_BLOCKS / 256;
    let mut pages: BTreeMap<u32, Vec<Entry>> = BTreeMap::new();
    for (number, digest) in spans {
        let index = u32::try_from(number % leaf_spans).unwrap();
        let page = pages.entry(u32::try_from(number / leaf_spans).unwrap()).or_default();
        page.push(Entry { index, digest: *digest });
    }
    pages.into_iter().map(|(leaf, page)| (leaf, digest_table::encode(Kind::SpanPage, &page))).collect()
}

fn root(kind: Kind, pages: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let entry = |(index, page): &(u32, Vec<u8>)| Entry { index: *index, digest: object_digest(page) };
    let entries: Vec<_> = pages.iter().map(entry).collect();
    if entries.is_empty() { Vec::new() } else { digest_table::encode(kind, &entries) }
}

fn digest_or_none(bytes: &[u8]) -> Digest {
    if bytes.is_empty() { Digest::ZERO } else { object_digest(bytes) }
}

/// Places pages in a file, except those that a base has.
fn place(file: &mut Vec<u8>, pages: &[(u32, Vec<u8>)], of_base: &[(u32, Digest)]) -> Vec<PagePlace> {
    let one = |(leaf, page): &(u32, Vec<u8>)| {
        if of_base.contains(&(*leaf, object_digest(page))) {
            return PagePlace::OF_BASE;
        }
        let place = PagePlace { file: 0, offset: file.len() as u64, len: u32::try_from(page.len()).unwrap() };
        file.extend_from_slice(page);
        place
    };
    pages.iter().map(one).collect()
}

fn list_uses(plan: &Plan<'_>) -> Vec<ListUse> {
    let used: BTreeMap<_, _> = plan.extents.iter().map(|(_, _, list, _)| (list.id, list.shape)).collect();
    used.into_iter().map(|(id, shape)| ListUse { id, shape }).collect()
}

pub fn image(plan: &Plan<'_>) -> Image {
    let mut blocks = BTreeMap::new();
    for (start, count, list, source) in &plan.extents {
        blocks.extend((0..*count).map(|block| (start + block, list.fill(source + block))));
    }
    let leaves = leaves(plan);
    let spans = spans(&blocks, plan.size);
    let span_pages = span_pages(&spans);
    let (map_root, span_root) = (root(Kind::MapRoot, &leaves), root(Kind::SpanRoot, &span_pages));
    let geometry = Geometry::of_size(plan.size);
    assert_eq!(geometry.leaf_blocks(), LEAF_BLOCKS);
    let content = ContentHasher::of_spans(plan.size, geometry.spans(), spans);
    let manifest = Manifest {
        geometry,
        data_blocks: blocks.len() as u64,
        content,
        map_root: digest_or_none(&map_root),
        span_root: digest_or_none(&span_root),
        parent: ImageId::ZERO,
        lists: list_uses(plan),
        metadata: BTreeMap::from([("melv.level".into(), "3".into()), ("note".into(), plan.note.into())]),
    };
    let mut file = Vec::new();
    header::encode(Kind::PageFile, 0, &mut file);
    let span = place(&mut file, &span_pages, &plan.of_base);
    let map = place(&mut file, &leaves, &plan.of_base);
    let page_file = (file.len() > 32).then(|| (PageFileId::new(object_digest(&file)), file));
    let mut places = Places { files: page_file.iter().map(|(id, _)| *id).collect(), map, span };
    (plan.places)(&mut places);
    let encoded = manifest.encode();
    let record = record::encode(&encoded, &places, &map_root, &span_root);
    let pages = leaves.iter().chain(&span_pages).map(|(leaf, page)| (*leaf, object_digest(page))).collect();
    Image {
        id: ImageId::new(object_digest(&encoded)),
        size: plan.size,
        content,
        record,
        page_file,
        pages,
        blocks,
    }
}

/// Returns the files of a store of one image.
pub fn store(name: &str, image: &Image, lists: &[(&List, &Located)]) -> BTreeMap<String, Vec<u8>> {
    let reference = Reference { name: name.into(), image: image.id, created_seconds: CREATED };
    let mut files = BTreeMap::from([
        ("melv.store".into(), store_header::encode()),
        (format!("refs/{}", name.replace(':', "/")), reference.encode()),
        (format!("manifests/{}", image.id), image.record.clone()),
    ]);
    files.extend(image.page_file.iter().map(|(id, bytes)| (format!("pages/{id}"), bytes.clone())));
    for (list, located) in lists {
        files.insert(format!("lists/{}", list.id), [&list.pages[..], &list.root].concat());
        files.insert(format!("locators/{}", list.id), [&located.pages[..], &located.root].concat());
        files.insert(format!("packs/{}", located.pack.1), located.pack.0.clone());
    }
    files
}
