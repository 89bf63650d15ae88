//! Section 8: whole stores, and rules that only show between objects.

use std::collections::BTreeMap;

use melv::digest::block_digest;
use melv::limits::BLOCK_LEN;
use melv::ondisk::digest_table::Entry;
use melv::ondisk::locator::FramePlace;
use melv::ondisk::reference::Reference;
use melv::{ImageId, ImportOptions, MemoryStorage, Source, Store, StoreOptions};

use super::build::{longer, made_up, noise, patch, whole, zstd_runs, zstd_small};
use super::parse::content_of;
use super::parts::{self, CREATED, NAME, Twist};
use super::table::{Content, Vector};

/// The store that others lie over.
pub const PARTS: &str = "valid/parts.store";
/// The store that an import made.
pub const IMPORTED: &str = "valid/imported.store";

pub fn vectors() -> Vec<Vector> {
    [sound(), disks(), unreadable(), unsound_pages(), unsound_trees(), unsound_chunks()]
        .into_iter()
        .flatten()
        .collect()
}

/// Makes a vector of a whole store.
pub fn store(
    file: &str,
    section: &'static str,
    note: &'static str,
    files: BTreeMap<String, Vec<u8>>,
) -> Vector {
    let mut vector = Vector::valid("", "store", section, note, Vec::new());
    vector.file = format!("{file}.store");
    vector.content = Content::Folder(files);
    vector
}

/// Makes a store that lies over [`PARTS`] and has only the differing files.
pub fn over(
    file: &str,
    section: &'static str,
    note: &'static str,
    files: BTreeMap<String, Vec<u8>>,
) -> Vector {
    let base = parts::sound().files;
    let differs = files.into_iter().filter(|(name, bytes)| base.get(name) != Some(bytes)).collect();
    store(file, section, note, differs).with("base", PARTS)
}

/// Makes 64 KiB of four data blocks, two of them equal, and zeros.
fn imported_disk() -> Vec<u8> {
    let mut disk = vec![0; 16 * BLOCK_LEN];
    for (number, seed) in [(0, 1), (2, 2), (3, 1), (8, 3)] {
        disk[number * BLOCK_LEN..(number + 1) * BLOCK_LEN].copy_from_slice(&noise(seed));
    }
    disk
}

/// Imports [`imported_disk`] with the library; any version of zstd leaves blocks of noise raw. The reference
/// record is made again, since it holds the time.
pub fn import() -> BTreeMap<String, Vec<u8>> {
    let storage = MemoryStorage::new();
    let made = Store::create(storage.clone(), StoreOptions::default()).unwrap();
    let disk = imported_disk();
    let options = ImportOptions { chunk_blocks: 2, ..ImportOptions::named(NAME.parse().unwrap()) };
    let report = made.import(Source::stream(&disk[..], "disk"), &options).unwrap();
    let mut files = storage.contents();
    files.retain(|name, _| !["index", "tmp", "lock"].contains(&name.split('/').next().unwrap_or(name)));
    let reference = Reference { name: NAME.into(), image: report.image, created_seconds: CREATED };
    files.insert("refs/web/latest".into(), reference.encode());
    files
}

/// Returns the committed files of that import: another version of zstd may store its pages differently.
pub fn imported_files() -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    crate::committed(&crate::folder().join(IMPORTED), "", &mut found);
    if found.is_empty() { import() } else { found }
}

fn imported() -> Vector {
    let files = imported_files();
    let image: ImageId =
        files.keys().find_map(|name| name.strip_prefix("manifests/")).unwrap().parse().unwrap();
    let disk = imported_disk();
    store("valid/imported", "8", "made by an import", files)
        .with("operation", "read")
        .with("name", NAME)
        .gives("image", image)
        .gives("size_bytes", disk.len() as u64)
        .gives("content", content_of(&disk))
        .gives("disk", block_digest(&disk))
}

fn sound() -> Vec<Vector> {
    let parts = parts::sound();
    let packed = parts::store(&Twist { stored: pack_page, ..Twist::default() });
    let disk = parts::disk();
    vec![
        store("valid/parts", "8", "two partial frames, one whole, a short last block", parts.files)
            .with("operation", "read")
            .with("name", NAME)
            .gives("image", parts.image)
            .gives("size_bytes", disk.len() as u64)
            .gives("content", parts.content)
            .gives("disk", block_digest(&disk)),
        over("valid/parts-verified", "8", "nothing in it is damaged", BTreeMap::new())
            .with("operation", "verify"),
        store("valid/imported-verified", "8", "nothing in it is damaged", BTreeMap::new())
            .with("base", IMPORTED)
            .with("operation", "verify"),
        imported(),
        over("valid/packed-pages", "7.5", "pages in zstd frames, if larger ones", packed.files)
            .with("operation", "read")
            .with("name", NAME)
            .gives("image", parts.image)
            .gives("disk", block_digest(&disk)),
    ]
}

/// Returns disks and their content ids.
fn disks() -> Vec<Vector> {
    let disk = |name: &str, note, disk: Vec<u8>| {
        let content = content_of(&disk);
        Vector::valid(name, "disk", "4.3", note, disk).gives("content", content)
    };
    vec![
        disk("imported", "the disk of imported.store", imported_disk()),
        disk("parts", "the disk of parts.store", parts::disk()),
    ]
}

/// Returns stores whose image does not open, or does not read.
fn unreadable() -> Vec<Vector> {
    let invalid = |name: &'static str, section, note, twist: &Twist| {
        read(over(&format!("invalid/{name}"), section, note, parts::store(twist).files), name)
    };
    let sound = parts::sound();
    let moved = BTreeMap::from([
        (
            "refs/web/latest".to_owned(),
            Reference { name: NAME.into(), image: made_up(1), created_seconds: CREATED }.encode(),
        ),
        (format!("manifests/{}", made_up::<ImageId>(1)), sound.record.clone()),
    ]);
    let lost = Reference { name: NAME.into(), image: made_up(9), created_seconds: CREATED };
    let lost = BTreeMap::from([("refs/web/latest".to_owned(), lost.encode())]);
    let page_file = sound.files.keys().find(|name| name.starts_with("pages/")).unwrap();
    let len = sound.files[page_file].len();
    let leaf = patch(&sound.files[page_file], len - 1, &[9]);
    let leaf = BTreeMap::from([(page_file.clone(), leaf)]);
    vec![
        read(
            over("invalid/page-digest--manifest", "7.1", "a manifest under another id", moved),
            "page-digest",
        ),
        read(over("invalid/missing", "5.2", "a name of an image that is not there", lost), "missing"),
        read(over("invalid/page-digest--leaf", "7.4", "a byte of the map leaf changed", leaf), "page-digest"),
        invalid(
            "page-place",
            "7.2",
            "a leaf without a place",
            &Twist { page_places: |places| places.map.clear(), ..Twist::default() },
        ),
        invalid(
            "truncated",
            "7.5",
            "a page beyond its file",
            &Twist { page_places: |places| places.map[0].offset = 1 << 40, ..Twist::default() },
        ),
        invalid(
            "table-range",
            "7.3",
            "leaf 1 of a disk of one leaf",
            &Twist { map_root: |entries| entries[0].index = 1, ..Twist::default() },
        ),
        invalid(
            "list-unknown",
            "7.4",
            "a list that the manifest does not name",
            &Twist { leaf: |leaf| leaf.lists[0] = made_up(1), ..Twist::default() },
        ),
        invalid(
            "list-shape",
            "6.1",
            "the manifest says three blocks",
            &Twist {
                manifest: |manifest| manifest.lists[0].shape.blocks = 3,
                leaf: |leaf| leaf.extents[3].source = 2,
                ..Twist::default()
            },
        ),
        invalid(
            "extent-range--list",
            "7.4",
            "block 4 of a list of four",
            &Twist { leaf: |leaf| leaf.extents[3].source = 4, ..Twist::default() },
        ),
        invalid(
            "extent-range--beyond-disk",
            "7.4",
            "block 40 of a disk of fewer",
            &Twist { leaf: |leaf| leaf.extents[3].start = 40, ..Twist::default() },
        ),
    ]
}

/// Stores a page in a zstd frame.
fn pack_page(page: &[u8]) -> Vec<u8> {
    zstd_small(u8::try_from(page.len()).unwrap(), page)
}

/// Returns stores with pages in a forbidden encoding.
fn unsound_pages() -> Vec<Vector> {
    let invalid = |name: &'static str, note, stored: fn(&[u8]) -> Vec<u8>| {
        let files = parts::store(&Twist { stored, ..Twist::default() }).files;
        read(over(&format!("invalid/{name}"), "7.5", note, files), name)
    };
    vec![
        invalid("zstd-profile--page", "a byte after the frame of a page", |page| {
            longer(&pack_page(page), &[0])
        }),
        invalid("zstd-decode--page", "a page's frame makes less than it states", |page| {
            zstd_small(u8::try_from(page.len()).unwrap() + 1, page)
        }),
        invalid("limit--page", "a page of 8 MiB and a byte", |page| {
            let wide = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, 1, 0, 0x80, 0];
            [&wide, &pack_page(page)[6..]].concat()
        }),
        invalid("page-digest--packed", "another page in the frame", |page| {
            pack_page(&patch(page, page.len() - 1, &[9]))
        }),
    ]
}

fn read(vector: Vector, name: &'static str) -> Vector {
    let rule = name.split_once("--").map_or(name, |(rule, _)| rule);
    vector.with("operation", "read").with("name", NAME).refused(rule)
}

/// Returns the page file with a bit of the ignore mask set, which its name does not cover.
fn renamed_pages() -> BTreeMap<String, Vec<u8>> {
    let files = parts::sound().files;
    let page_file = files.keys().find(|name| name.starts_with("pages/")).unwrap();
    BTreeMap::from([(page_file.clone(), patch(&files[page_file], 16, &[1]))])
}

/// Returns stores that read, but whose trees do not agree.
fn unsound_trees() -> Vec<Vector> {
    let invalid = |name: &'static str, section, note, twist: &Twist| {
        let rule = name.split_once("--").map_or(name, |(rule, _)| rule);
        over(&format!("invalid/{name}"), section, note, parts::store(twist).files)
            .with("operation", "verify")
            .refused(rule)
    };
    vec![
        invalid(
            "content-id",
            "4.3",
            "not that of the span table",
            &Twist { manifest: |manifest| manifest.content = made_up(1), ..Twist::default() },
        ),
        over("invalid/page-digest--page-file", "7.5", "a page file of another id", renamed_pages())
            .with("operation", "verify")
            .refused("page-digest"),
        invalid(
            "table-range--beyond-disk",
            "7.3",
            "span 5 of a disk of one",
            &Twist { spans: |spans| spans.push(Entry { index: 5, digest: made_up(1) }), ..Twist::default() },
        ),
        invalid(
            "content-id--span",
            "4.3",
            "a span digest that is not that of the blocks",
            &Twist { spans: |spans| spans[0].digest = made_up(1), ..Twist::default() },
        ),
        invalid(
            "data-blocks",
            "7.1",
            "four data blocks where the map has five",
            &Twist { manifest: |manifest| manifest.data_blocks = 4, ..Twist::default() },
        ),
        invalid(
            "extent-range--disk",
            "7.4",
            "a block beyond the disk",
            &Twist { leaf: |leaf| leaf.extents[3].start = 17, ..Twist::default() },
        ),
    ]
}

/// Returns stores with invalid chunks.
fn unsound_chunks() -> Vec<Vector> {
    let invalid = |name: &'static str, section, note, twist: &Twist| {
        read(over(&format!("invalid/{name}"), section, note, parts::store(twist).files), name)
    };
    vec![
        invalid(
            "chunk-absent",
            "6.5",
            "chunk 1 has no frame",
            &Twist { places: |places| places[1] = FramePlace::NONE, ..Twist::default() },
        ),
        invalid(
            "block-absent",
            "6.5",
            "no frame holds block 1 of chunk 0",
            &Twist {
                places: |places| {
                    places[0].next = 0;
                    places.truncate(2);
                },
                ..Twist::default()
            },
        ),
        invalid(
            "frame-guard",
            "6.3",
            "another guard",
            &Twist { places: |places| places[1].guard ^= 1, ..Twist::default() },
        ),
        invalid(
            "frame-place",
            "6.5",
            "a frame beyond its pack",
            &Twist { places: |places| places[1].offset = 1 << 20, ..Twist::default() },
        ),
        invalid(
            "frame-place--in-head",
            "6.5",
            "a frame in the pack's head",
            &Twist { places: |places| places[1].offset = 0, ..Twist::default() },
        ),
        invalid(
            "locator-list",
            "6.5",
            "the locator of another list",
            &Twist { locator: |root| root.list = made_up(1), ..Twist::default() },
        ),
        invalid(
            "list-shape--locator",
            "6.5",
            "a locator of one chunk",
            &Twist { locator: |root| root.chunks = 1, ..Twist::default() },
        ),
        invalid(
            "chunk-id",
            "4.1",
            "other bytes, with their guard",
            &Twist {
                frames: |frames| frames[2].1 = whole(1, &zstd_runs(&[(0xc3, 4096), (0xd5, 512), (0, 3584)])),
                ..Twist::default()
            },
        ),
        invalid(
            "chunk-id--partial",
            "4.1",
            "another digest of an absent block",
            &Twist { frames: |frames| frames[0].1[5] ^= 1, ..Twist::default() },
        ),
    ]
}
