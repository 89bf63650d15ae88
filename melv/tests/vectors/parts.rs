//! The small store assembled by hand, so that any part can be made wrong under valid digests.
//!
//! The disk has 17 blocks, the last of 512 bytes: A, zeros, B, C, zeros, A at block 9, D at block 16. Its one
//! list has two chunks of two blocks: A B, stored as two partial frames, and C D.

use std::collections::BTreeMap;

use melv::content::{ContentHasher, span_digest};
use melv::digest::{
    ChunkId, ContentId, ImageId, ListId, PackId, PageFileId, block_digest, chunk_id, object_digest,
    page_digest,
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

use super::build::{block, guard, pack, partial, table_file, whole, zstd_runs};

/// The name of the image.
pub const NAME: &str = "web:latest";
/// The time of the name, in seconds since 1970.
pub const CREATED: u64 = 1_767_225_600;
/// Bytes in the disk.
pub const SIZE: u64 = 16 * BLOCK_LEN as u64 + 512;

/// Changes to the parts, in the order in which they are made.
pub struct Twist {
    /// Chunk numbers and frames.
    pub frames: fn(&mut Vec<(usize, Vec<u8>)>),
    pub places: fn(&mut Vec<FramePlace>),
    pub locator: fn(&mut LocatorRoot),
    pub leaf: fn(&mut MapLeaf),
    /// The entries of the span page.
    pub spans: fn(&mut Vec<Entry>),
    pub map_root: fn(&mut Vec<Entry>),
    pub manifest: fn(&mut Manifest),
    pub page_places: fn(&mut Places),
    /// Encodes a page for storage.
    pub stored: fn(&[u8]) -> Vec<u8>,
}

impl Default for Twist {
    fn default() -> Self {
        Self {
            frames: |_| (),
            places: |_| (),
            locator: |_| (),
            leaf: |_| (),
            spans: |_| (),
            map_root: |_| (),
            manifest: |_| (),
            page_places: |_| (),
            stored: <[u8]>::to_vec,
        }
    }
}

/// The store's files, and the parts that vectors of single objects also use.
pub struct Parts {
    pub files: BTreeMap<String, Vec<u8>>,
    pub image: ImageId,
    pub list: ListId,
    pub content: ContentId,
    pub pack: (Vec<u8>, PackId),
    pub list_file: Vec<u8>,
    pub locator_file: Vec<u8>,
    pub manifest: Manifest,
    pub record: Vec<u8>,
    pub leaf: Vec<u8>,
    pub span_page: Vec<u8>,
    pub map_root: Vec<u8>,
    pub span_root: Vec<u8>,
}

/// Returns the blocks of the list.
pub fn blocks() -> [Vec<u8>; 4] {
    let mut tail = vec![0xd4; 512];
    tail.resize(BLOCK_LEN, 0);
    [block(0xa1), block(0xb2), block(0xc3), tail]
}

/// Returns the disk's bytes.
pub fn disk() -> Vec<u8> {
    let [a, b, c, d] = blocks();
    let mut disk = vec![0; 16 * BLOCK_LEN];
    for (number, block) in [(0, &a), (2, &b), (3, &c), (9, &a)] {
        disk[number * BLOCK_LEN..(number + 1) * BLOCK_LEN].copy_from_slice(block);
    }
    disk.extend_from_slice(&d[..512]);
    disk
}

fn chunk_ids() -> [ChunkId; 2] {
    let [a, b, c, d] = blocks().map(|block| block_digest(&block));
    [chunk_id(&[a, b]), chunk_id(&[c, d])]
}

fn frames() -> Vec<(usize, Vec<u8>)> {
    let [a, b, ..] = blocks().map(|block| block_digest(&block));
    vec![
        (0, partial(1, &[0b01], &[b], &zstd_runs(&[(0xa1, 4096)]))),
        (0, partial(1, &[0b10], &[a], &zstd_runs(&[(0xb2, 4096)]))),
        (1, whole(1, &zstd_runs(&[(0xc3, 4096), (0xd4, 512), (0, 3584)]))),
    ]
}

/// Makes records: 0 is chunk 0's first frame, 1 is chunk 1's frame, 2 is chunk 0's other frame.
fn places(frames: &[(ChunkId, Vec<u8>)]) -> Vec<FramePlace> {
    let mut offset = 48;
    let mut at: Vec<_> = frames
        .iter()
        .map(|(id, frame)| {
            let len = u32::try_from(frame.len()).unwrap();
            let partial = frame[2] == 1;
            let place = FramePlace { pack: 0, offset, len, partial, next: 0, guard: guard(id, frame) };
            offset += len;
            place
        })
        .collect();
    at.swap(1, 2);
    at[0].next = 2;
    at
}

fn leaf(list: ListId) -> MapLeaf {
    let extent = |start, blocks, source| Extent { start, blocks, list: 0, source };
    let extents = vec![extent(0, 1, 0), extent(2, 2, 1), extent(9, 1, 0), extent(16, 1, 3)];
    MapLeaf { lists: vec![list], extents }
}

fn spans() -> Vec<Entry> {
    let [a, b, c, d] = blocks().map(|block| Some(block_digest(&block)));
    let mut all = vec![None; 17];
    (all[0], all[2], all[3], all[9], all[16]) = (a, b, c, a, d);
    vec![Entry { index: 0, digest: span_digest(&all).unwrap() }]
}

struct Chunks {
    list: ListId,
    list_file: Vec<u8>,
    locator_file: Vec<u8>,
    pack: (Vec<u8>, PackId),
}

const SHAPE: ListShape = ListShape { chunk_blocks: 2, blocks: 4 };

fn chunks(twist: &Twist) -> Chunks {
    let ids = chunk_ids();
    let mut stored = frames();
    (twist.frames)(&mut stored);
    let stored: Vec<_> = stored.into_iter().map(|(chunk, frame)| (ids[chunk], frame)).collect();
    let pack = pack(&stored);
    let id_page: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
    let root = ListRoot { shape: SHAPE, pages: vec![page_digest(&id_page)] }.encode();
    let list = ListId::new(object_digest(&root));
    let mut places = places(&stored);
    (twist.places)(&mut places);
    let mut place_page = Vec::new();
    places.iter().for_each(|place| place.encode(&mut place_page));
    let records = places.len() as u64;
    let pages = vec![page_digest(&place_page)];
    let mut locator_root =
        LocatorRoot { list, chunks: 2, records, in_part: true, packs: vec![pack.1], pages };
    (twist.locator)(&mut locator_root);
    let locator_file = table_file(&place_page, &locator_root.encode());
    Chunks { list, list_file: table_file(&id_page, &root), locator_file, pack }
}

/// Makes the store; its names are in the order of the specification.
pub fn store(twist: &Twist) -> Parts {
    let chunks = chunks(twist);
    let mut leaf = leaf(chunks.list);
    (twist.leaf)(&mut leaf);
    let leaf = leaf.encode();
    let mut spans = spans();
    (twist.spans)(&mut spans);
    let content = ContentHasher::of_spans(SIZE, 1, [(0, spans[0].digest)]);
    let span_page = digest_table::encode(Kind::SpanPage, &spans);
    let mut map_entries = vec![Entry { index: 0, digest: object_digest(&leaf) }];
    (twist.map_root)(&mut map_entries);
    let map_root = digest_table::encode(Kind::MapRoot, &map_entries);
    let span_root =
        digest_table::encode(Kind::SpanRoot, &[Entry { index: 0, digest: object_digest(&span_page) }]);
    let mut page_file = Vec::new();
    header::encode(Kind::PageFile, 0, &mut page_file);
    let (stored_spans, stored_leaf) = ((twist.stored)(&span_page), (twist.stored)(&leaf));
    page_file.extend_from_slice(&stored_spans);
    page_file.extend_from_slice(&stored_leaf);
    let file = PageFileId::new(object_digest(&page_file));
    let mut manifest = Manifest {
        geometry: Geometry::of_size(SIZE),
        data_blocks: 5,
        content,
        map_root: object_digest(&map_root),
        span_root: object_digest(&span_root),
        parent: ImageId::ZERO,
        lists: vec![ListUse { id: chunks.list, shape: SHAPE }],
        metadata: BTreeMap::from([("melv.level".into(), "3".into()), ("note".into(), "tiny".into())]),
    };
    (twist.manifest)(&mut manifest);
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
    let place = |offset, bytes: &[u8]| PagePlace { file: 0, offset, len: len(bytes) };
    let mut places = Places {
        files: vec![file],
        map: vec![place(32 + u64::from(len(&stored_spans)), &stored_leaf)],
        span: vec![place(32, &stored_spans)],
    };
    (twist.page_places)(&mut places);
    let encoded = manifest.encode();
    let image = ImageId::new(object_digest(&encoded));
    let record = record::encode(&encoded, &places, &map_root, &span_root);
    let reference = Reference { name: NAME.into(), image, created_seconds: CREATED };
    let files = BTreeMap::from([
        ("melv.store".into(), store_header::encode()),
        ("refs/web/latest".into(), reference.encode()),
        (format!("manifests/{image}"), record.clone()),
        (format!("pages/{file}"), page_file),
        (format!("lists/{}", chunks.list), chunks.list_file.clone()),
        (format!("locators/{}", chunks.list), chunks.locator_file.clone()),
        (format!("packs/{}", chunks.pack.1), chunks.pack.0.clone()),
    ]);
    Parts {
        files,
        image,
        list: chunks.list,
        content,
        pack: chunks.pack,
        list_file: chunks.list_file,
        locator_file: chunks.locator_file,
        manifest,
        record,
        leaf,
        span_page,
        map_root,
        span_root,
    }
}

/// Makes the sound store.
pub fn sound() -> Parts {
    store(&Twist::default())
}
