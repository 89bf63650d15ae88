//! Bundles of a few kilobytes that claim millions of extents: saving, loading, verifying and comparing them
//! reports the damage in bounded memory. A single test, since it measures the peak memory of its process.

use std::collections::BTreeMap;
use std::time::Instant;

use melv::digest::{ContentId, ImageId, ListId, PackId, PageFileId, object_digest, page_digest};
use melv::limits::PAGE_LEN_MAX;
use melv::ondisk::bundle::{HEAD_LEN, Head, Object, ObjectKind, Piece, Table};
use melv::ondisk::digest_table::{self, Entry};
use melv::ondisk::header::{self, Kind};
use melv::ondisk::list::{ListRoot, ListShape};
use melv::ondisk::locator::{FramePlace, LocatorRoot};
use melv::ondisk::manifest::{Geometry, ListUse, Manifest};
use melv::ondisk::map_leaf::{Extent, MapLeaf};
use melv::ondisk::record::{self, PagePlace, Places};
use melv::storage::{BytesObject, ReadAt};
use melv::{
    Bundle, BundleOptions, Digest, Error, ImageRef, Images, LoadOptions, MemoryStorage, SaveOptions, Store,
    StoreError, StoreErrors, StoreOptions, VerifyOptions,
};

const MEMORY_MAX_KIB: u64 = 256 << 10;
/// The size in bytes of a disk whose leaves have 2^22 blocks.
const SIZE: u64 = 64 << 40;
const LEAF_EXTENTS: u64 = 1 << 21;
/// Blocks of a list with the most chunks, each of the largest size.
const LIST_BLOCKS: u64 = 1 << 34;

/// An object of a bundle: its kind, id and length, and its bytes from an offset on.
type Made = (ObjectKind, Digest, u64, u64, Vec<u8>);

/// Makes a bundle of these objects and gives `names` to its first images.
fn bundle(mut made: Vec<Made>, names: &[&str]) -> BytesObject {
    made.sort_by_key(|object| (object.0, object.1));
    // Images may have the same page file.
    made.dedup_by_key(|object| (object.0, object.1));
    let mut body = Vec::new();
    let mut objects = Vec::new();
    for (kind, id, len, at, bytes) in made {
        let piece = Piece { at, offset: HEAD_LEN + body.len() as u64, len: bytes.len() as u64 };
        objects.push(Object { kind, id, len, pieces: vec![piece] });
        body.extend(bytes);
    }
    let names = names.iter().zip(0..).map(|(name, image)| ((*name).to_owned(), image)).collect();
    let table = Table { bases: Vec::new(), objects, names }.encode();
    let (table_offset, table_len) = (HEAD_LEN + body.len() as u64, table.len() as u64);
    let head = Head {
        len: table_offset + table_len,
        table_offset,
        table_len,
        tail_offset: HEAD_LEN,
        table_digest: object_digest(&table),
    };
    [head.encode(), body, table].concat().into()
}

fn open(bundle: &BytesObject) -> Bundle {
    Bundle::open_reader(bundle.clone(), "bundle", BundleOptions::default()).expect("a bundle")
}

/// The leaves of an image and the lists that they name.
struct Map {
    lists: Vec<(ListId, ListShape)>,
    leaves: Vec<MapLeaf>,
}

impl Map {
    /// Makes `leaves` leaves of `LEAF_EXTENTS` extents; `of` maps an extent's number to its list and source.
    fn new(leaves: u64, lists: Vec<(ListId, ListShape)>, of: impl Fn(u64) -> (u32, u64)) -> Self {
        let leaf = |leaf: u64| {
            let extent = |start: u64| {
                let (list, source) = of(leaf * LEAF_EXTENTS + start);
                Extent { start, blocks: 1, list, source }
            };
            let lists = lists.iter().map(|(id, _)| *id).collect();
            MapLeaf { lists, extents: (0..LEAF_EXTENTS).map(extent).collect() }
        };
        let leaves = (0..leaves).map(leaf).collect();
        Self { lists, leaves }
    }
}

/// Compresses a page, as an attacker who wants a small bundle does.
fn stored(page: &[u8]) -> Vec<u8> {
    assert!(page.len() as u64 <= PAGE_LEN_MAX, "{} bytes", page.len());
    zstd::bulk::compress(page, 3).expect("memory")
}

/// Makes the record and page file of an image of this map, with a false span table.
fn image(note: &str, map: Map) -> Vec<Made> {
    let geometry = Geometry::of_size(SIZE);
    assert!(geometry.leaf_blocks() >= LEAF_EXTENTS);
    let mut lists: Vec<_> = map.lists.iter().map(|(id, shape)| ListUse { id: *id, shape: *shape }).collect();
    lists.sort_by_key(|list| list.id);
    let mut file = Vec::new();
    header::encode(Kind::PageFile, 0, &mut file);
    let mut add = |page: &[u8]| {
        let bytes = stored(page);
        let place = PagePlace { file: 0, offset: file.len() as u64, len: bytes.len() as u32 };
        file.extend(bytes);
        (object_digest(page), place)
    };
    let leaves: Vec<_> = map.leaves.into_iter().map(|leaf| add(&leaf.encode())).collect();
    let spans: Vec<_> =
        (0..LEAF_EXTENTS as u32 / 256).map(|index| Entry { index, digest: Digest([7; 32]) }).collect();
    let span = add(&digest_table::encode(Kind::SpanPage, &spans));
    let root = |kind, pages: Vec<Digest>| {
        let entry = |(digest, index): (Digest, u32)| Entry { index, digest };
        digest_table::encode(kind, &pages.into_iter().zip(0..).map(entry).collect::<Vec<_>>())
    };
    let map_root = root(Kind::MapRoot, leaves.iter().map(|(id, _)| *id).collect());
    let span_root = root(Kind::SpanRoot, vec![span.0; leaves.len()]);
    let file_id = PageFileId::new(object_digest(&file));
    let places = Places {
        files: vec![file_id],
        map: leaves.iter().map(|(_, place)| *place).collect(),
        span: vec![span.1; leaves.len()],
    };
    let manifest = Manifest {
        geometry,
        data_blocks: leaves.len() as u64 * LEAF_EXTENTS,
        content: ContentId::from_bytes([9; 32]),
        map_root: object_digest(&map_root),
        span_root: object_digest(&span_root),
        parent: ImageId::ZERO,
        lists,
        metadata: BTreeMap::from([("note".into(), note.into())]),
    }
    .encode();
    let record = record::encode(&manifest, &places, &map_root, &span_root);
    vec![
        (ObjectKind::Record, object_digest(&manifest), record.len() as u64, 0, record),
        (ObjectKind::PageFile, file_id.digest(), file.len() as u64, 0, file),
    ]
}

/// Makes a list of 2^24 chunks and its locator; the bundle has only their roots.
fn hollow_list() -> (ListId, ListShape, Vec<Made>) {
    let shape = ListShape { chunk_blocks: 1024, blocks: LIST_BLOCKS };
    let pages = shape.pages() as usize;
    let root = ListRoot { shape, pages: vec![Digest([3; 32]); pages] }.encode();
    let id = ListId::new(object_digest(&root));
    let mut page = Vec::new();
    (0..1024).for_each(|_| FramePlace::NONE.encode(&mut page));
    let located = LocatorRoot {
        list: id,
        chunks: shape.chunks(),
        records: shape.chunks(),
        in_part: true,
        packs: vec![PackId::from_bytes([4; 32])],
        pages: vec![page_digest(&page); pages],
    }
    .encode();
    let ended = |kind, root: Vec<u8>, at: u64| {
        let bytes = [&root[..], &(root.len() as u64).to_le_bytes()].concat();
        (kind, id.digest(), at + bytes.len() as u64, at, bytes)
    };
    let list = ended(ObjectKind::List, root, shape.root_offset());
    (id, shape, vec![list, ended(ObjectKind::Locator, located, shape.chunks() * 24)])
}

/// Returns the peak memory of this process.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}

/// Resets the peak, so that the test's own memory does not count.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Runs one step; prints and checks its peak memory.
fn step<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = run();
    let (taken, peak) = (start.elapsed(), peak_kib());
    println!("{what}: {:.2} s, {} MiB at most", taken.as_secs_f64(), peak >> 10);
    assert!(peak < MEMORY_MAX_KIB, "{what}: {peak} KiB");
    done
}

fn refused<T: std::fmt::Debug>(what: &str, done: Result<T, Error>) {
    match done {
        Err(error) if error.is_damage() || error.is_not_found() => println!("  {error:?}"),
        done => panic!("{what}: {done:?}"),
    }
}

fn verify(what: &str, store: &Images, leaves: u64, full: bool) {
    let options = VerifyOptions { full, ..VerifyOptions::default() };
    let report = step(&format!("{what}: verify, full {full}"), || store.verify(&[], &options));
    let report = report.expect("damage is reported");
    assert!(!report.damaged.is_empty() && report.damaged.len() < 20_000, "{}", report.damaged.len());
    let hurt = |damage: &melv::Damage| {
        damage.image.is_some() && matches!(damage.error.detail(), Some(StoreError::Unreadable { .. }))
    };
    let hurt: Vec<_> = report.damaged.iter().filter(|damage| hurt(damage)).collect();
    println!("  {} damaged, {} of them unreadable", report.damaged.len(), hurt.len());
    let leaf_len = Geometry::of_size(SIZE).leaf_blocks() * 4096;
    let end = hurt.iter().map(|damage| damage.start + damage.len).max();
    assert_eq!(end, Some((leaves - 1) * leaf_len + LEAF_EXTENTS * 4096), "the last block is told of");
}

/// Runs every operation that visits all extents on a bundle of two images.
fn try_all(what: &str, leaves: u64, made: Vec<Made>) {
    let bundle = bundle(made, &["bomb:one", "bomb:two"]);
    println!("{what}: {} bytes", bundle.len());
    forget_peak();
    let store = open(&bundle);
    let images = store.image_refs().expect("names");
    assert_eq!(images.len(), 2);
    let mut sink = Vec::new();
    let options = SaveOptions::default();
    let saved = step(&format!("{what}: save"), || store.save(&images[..1], &mut sink, &options));
    refused(what, saved);
    let without = SaveOptions { without: images[1..].to_vec(), ..SaveOptions::default() };
    let saved =
        step(&format!("{what}: save without"), || store.save(&images[..1], &mut Vec::new(), &without));
    println!("  {saved:?}");
    let target = Store::create(MemoryStorage::new(), StoreOptions::default()).expect("a store");
    let loaded = step(&format!("{what}: load"), || target.load(&store, &LoadOptions::default()));
    refused(what, loaded);
    let first = store.image(&images[0]).expect("an image");
    let shared = step(&format!("{what}: sharing"), || store.sharing(&first)).expect("maps that are sound");
    println!("  {shared:?}");
    assert_eq!(shared.len(), 1);
    println!("  {:?}", step(&format!("{what}: space"), || store.usage()));
    verify(what, &store, leaves, false);
    verify(what, &store, leaves, true);
    assert!(matches!(&images[0], ImageRef::Name(_)));
}

#[test]
fn a_bundle_that_claims_millions_of_extents_takes_little_memory() {
    // Every other block of a missing list.
    let missing = (ListId::from_bytes([5; 32]), ListShape { chunk_blocks: 1024, blocks: LIST_BLOCKS });
    let (id, shape, hollow) = hollow_list();
    let two = |leaves: u64, list: (ListId, ListShape), step: u64| {
        let one = |note: &str| image(note, Map::new(leaves, vec![list], |number| (0, number * step)));
        [one("one"), one("two")].concat()
    };
    try_all("missing list", 3, two(3, missing, 2));
    try_all("hollow list", 2, [two(2, (id, shape), 2), hollow.clone()].concat());
    // Scattered blocks: the bits of all blocks between them would take 2 GiB.
    try_all("sparse", 1, [two(1, (id, shape), LIST_BLOCKS / LEAF_EXTENTS), hollow.clone()].concat());
    // Two lists in turn: no two extents are one range.
    let in_turn = |note: &str| {
        let lists = vec![(id, shape), missing];
        image(note, Map::new(2, lists, |number| ((number % 2) as u32, number)))
    };
    try_all("two lists in turn", 2, [in_turn("one"), in_turn("two"), hollow].concat());
}
