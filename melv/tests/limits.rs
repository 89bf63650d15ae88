//! Every maximum of the format, tested at its value and one above. Only the second is refused for its size,
//! by the right rule and with both numbers. No input is as large as it declares.

use std::collections::{BTreeMap, BTreeSet};

use melv::digest::{ContentId, ImageId, ListId, PackId, PageFileId};
use melv::ondisk::bundle::{HEAD_LEN, Head, Table};
use melv::ondisk::header::{self, HEADER_LEN, Kind};
use melv::ondisk::list::ListShape;
use melv::ondisk::locator::{FramePlace, LocatorRoot};
use melv::ondisk::manifest::{Geometry, Manifest};
use melv::ondisk::map_leaf::MapLeaf;
use melv::ondisk::pack;
use melv::ondisk::record::{self, HEAD_LEN as RECORD_HEAD_LEN, PagePlace, Places, RecordHead};
use melv::ondisk::reference::{Reference, is_name};
use melv::{Digest, RuleViolation, limits};

/// A maximum: its name in `limits.rs`, its value, the fault of a given number, and whether the maximum itself
/// is accepted.
struct Row {
    name: &'static str,
    max: u64,
    fault: fn(u64) -> Option<RuleViolation>,
    accepted: bool,
}

macro_rules! row {
    ($name:ident, $accepted:expr, $fault:expr) => {
        Row { name: stringify!($name), max: limits::$name as u64, fault: $fault, accepted: $accepted }
    };
}

const YES: bool = true;
/// The data behind the number is missing, and that is the reported fault.
const NO: bool = false;

fn shape(chunk_blocks: u64, blocks: u64) -> Option<RuleViolation> {
    ListShape { chunk_blocks: u32::try_from(chunk_blocks).unwrap_or(u32::MAX), blocks }.check().err()
}

/// Decodes a record's head with one non-zero number of its six.
fn record_head(field: usize, value: u64) -> Option<RuleViolation> {
    let mut bytes = record::encode(&[], &Places::default(), &[], &[])[..RECORD_HEAD_LEN as usize].to_vec();
    bytes[32 + 4 * field..][..4].copy_from_slice(&(value as u32).to_le_bytes());
    let unit = [1, 1, 1, 32, 16, 16][field];
    let len = RECORD_HEAD_LEN + value * unit;
    bytes[24..32].copy_from_slice(&(len - HEADER_LEN as u64).to_le_bytes());
    RecordHead::decode(&bytes, len).err()
}

fn page_place(len: u64) -> Option<RuleViolation> {
    let place = PagePlace { file: 0, offset: 32, len: len as u32 };
    let places = Places { files: vec![PageFileId::from_bytes([1; 32])], map: vec![place], span: Vec::new() };
    let bytes = record::encode(&[], &places, &[], &[]);
    let head = RecordHead::decode(&bytes, bytes.len() as u64).expect("a record");
    Places::decode(&bytes[RECORD_HEAD_LEN as usize..], &bytes, &head, false).err()
}

fn empty_manifest() -> Manifest {
    Manifest {
        geometry: Geometry::of_size(0),
        data_blocks: 0,
        content: ContentId::ZERO,
        map_root: Digest::ZERO,
        span_root: Digest::ZERO,
        parent: ImageId::ZERO,
        lists: Vec::new(),
        metadata: BTreeMap::new(),
    }
}

fn metadata(len: u64) -> Option<RuleViolation> {
    let metadata = BTreeMap::from([("k".into(), "v".repeat(len as usize - 1))]);
    Manifest::decode(&Manifest { metadata, ..empty_manifest() }.encode()).err()
}

fn image_lists(count: u64) -> Option<RuleViolation> {
    let mut bytes = empty_manifest().encode();
    bytes[184..188].copy_from_slice(&(count as u32).to_le_bytes());
    Manifest::decode(&bytes).err()
}

fn manifest_len(len: u64) -> Option<RuleViolation> {
    Manifest::decode(&vec![0; len as usize]).err()
}

fn locator(field: usize, value: u64) -> Option<RuleViolation> {
    let root = LocatorRoot {
        in_part: false,
        list: ListId::ZERO,
        chunks: 0,
        records: 0,
        packs: vec![],
        pages: vec![],
    };
    let mut bytes = root.encode();
    let (at, len) = [(64, 8), (72, 8), (80, 4)][field];
    bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
    if field == 0 {
        // At least as many records as chunks.
        bytes[72..80].copy_from_slice(&value.to_le_bytes());
    }
    LocatorRoot::decode(&bytes).err()
}

fn frame_len(len: u64) -> Option<RuleViolation> {
    let packs = vec![PackId::ZERO];
    let root =
        LocatorRoot { in_part: false, list: ListId::ZERO, chunks: 1, records: 1, packs, pages: vec![] };
    let mut page = Vec::new();
    FramePlace { pack: 0, offset: 48, len: len as u32, partial: false, next: 0, guard: 0 }.encode(&mut page);
    FramePlace::decode(&page, 0, &root).err()
}

fn trailer(frames: u64, frames_len: u64, pack_len: u64) -> Option<RuleViolation> {
    let (mut bytes, _) = pack::encode_tail(&[]);
    bytes[..8].copy_from_slice(&frames.to_le_bytes());
    bytes[8..16].copy_from_slice(&frames_len.to_le_bytes());
    pack::decode_trailer(&bytes, pack_len).err()
}

fn pack_frames(frames: u64) -> Option<RuleViolation> {
    trailer(frames, 0, pack::FRAMES_OFFSET + frames * pack::RECORD_LEN as u64 + pack::TRAILER_LEN)
}

fn pack_len(len: u64) -> Option<RuleViolation> {
    trailer(1, len - pack::FRAMES_OFFSET - pack::RECORD_LEN as u64 - pack::TRAILER_LEN, len)
}

/// Decodes a bundle's table with only one of its four counts set.
fn table(field: usize, count: u64) -> Option<RuleViolation> {
    let mut bytes = header::begin(Kind::BundleTable);
    bytes.resize(HEADER_LEN + 16, 0);
    bytes[HEADER_LEN + 4 * field..][..4].copy_from_slice(&(count as u32).to_le_bytes());
    header::finish(&mut bytes);
    Table::decode(&bytes, HEAD_LEN).err()
}

fn table_len(table_len: u64) -> Option<RuleViolation> {
    let (table_offset, tail_offset) = (HEAD_LEN, HEAD_LEN);
    let head =
        Head { len: HEAD_LEN + table_len, table_offset, table_len, tail_offset, table_digest: Digest::ZERO };
    Head::decode(&head.encode()).err()
}

fn name_len(len: u64) -> Option<RuleViolation> {
    let part = "n".repeat(len as usize);
    let name = format!("{part}:{}", "t".repeat(limits::NAME_LEN_MAX));
    assert_eq!(is_name(&part), len <= limits::NAME_LEN_MAX as u64);
    let reference = Reference { name: name.clone(), image: ImageId::ZERO, created_seconds: 0 };
    Reference::decode(&reference.encode(), &name).err()
}

fn leaf_blocks(blocks: u64) -> Option<RuleViolation> {
    let extent = melv::ondisk::map_leaf::Extent { start: 0, blocks: 1, list: 0, source: blocks - 1 };
    let leaf = MapLeaf { lists: vec![ListId::ZERO], extents: vec![extent] };
    MapLeaf::decode(&leaf.encode(), 1 << limits::LEAF_BITS_MIN).err()
}

fn rows() -> Vec<Row> {
    vec![
        row!(CHUNK_BLOCKS_MAX, YES, |value| shape(value.next_power_of_two(), 1)),
        row!(LIST_CHUNKS_MAX, YES, |value| shape(1, value)),
        row!(LIST_CHUNKS_MAX, NO, |value| locator(0, value)),
        row!(LIST_BLOCKS_MAX, YES, leaf_blocks),
        row!(PAGE_LEN_MAX, YES, page_place),
        row!(MANIFEST_LEN_MAX, YES, |value| record_head(0, value)),
        row!(MANIFEST_LEN_MAX, NO, manifest_len),
        row!(ROOT_LEN_MAX, YES, |value| record_head(1, value)),
        row!(ROOT_LEN_MAX, YES, |value| record_head(2, value)),
        row!(PAGE_FILES_MAX, YES, |value| record_head(3, value)),
        row!(LEAVES_MAX, YES, |value| record_head(4, value)),
        row!(LEAVES_MAX, YES, |value| record_head(5, value)),
        row!(IMAGE_LISTS_MAX, NO, image_lists),
        row!(METADATA_LEN_MAX, YES, metadata),
        row!(LOCATOR_RECORDS_MAX, NO, |value| locator(1, value)),
        row!(LOCATOR_PACKS_MAX, NO, |value| locator(2, value)),
        row!(FRAME_LEN_MAX, YES, frame_len),
        row!(PACK_FRAMES_MAX, YES, pack_frames),
        row!(PACK_LEN_MAX, YES, pack_len),
        row!(BUNDLE_BASES_MAX, NO, |value| table(0, value)),
        row!(BUNDLE_NAMES_MAX, NO, |value| table(1, value)),
        row!(BUNDLE_OBJECTS_MAX, NO, |value| table(2, value)),
        row!(BUNDLE_PIECES_MAX, NO, |value| table(3, value)),
        row!(BUNDLE_TABLE_LEN_MAX, YES, table_len),
        row!(NAME_LEN_MAX, YES, name_len),
    ]
}

/// Whether a fault reports `found` as above this maximum.
fn is_past(fault: &RuleViolation, row: &Row, found: u64) -> bool {
    match fault {
        RuleViolation::Limit { max, found: told, .. } if row.name == "NAME_LEN_MAX" => {
            // A record counts name and tag together.
            *max == 2 * row.max + 1 && *told == found + 1 + row.max
        }
        RuleViolation::Limit { max, found: told, .. } => *max == row.max && *told == found,
        RuleViolation::ChunkBlocks { found } => u64::from(*found) > row.max,
        RuleViolation::ExtentRange { block, max } => *max == row.max && *block == found,
        _ => false,
    }
}

#[test]
fn every_maximum_is_accepted_and_one_more_is_refused() {
    for row in rows() {
        let at = (row.fault)(row.max);
        assert!(at.is_none() || !row.accepted, "{} at {}: {at:?}", row.name, row.max);
        assert!(at.is_none_or(|fault| !is_past(&fault, &row, row.max)), "{} at {}", row.name, row.max);
        let past = (row.fault)(row.max + 1);
        let is_refused = past.as_ref().is_some_and(|fault| is_past(fault, &row, row.max + 1));
        assert!(is_refused, "{} at {}: {past:?}", row.name, row.max + 1);
    }
}

#[test]
fn a_disk_ends_below_eight_exbibytes_and_has_no_more_leaves_than_its_root() {
    let largest = Geometry::of_size(limits::DISK_SIZE_MAX - 512);
    assert_eq!(largest.check(), Ok(()));
    assert!(largest.leaves() <= limits::LEAVES_MAX);
    for size in [limits::DISK_SIZE_MAX, limits::DISK_SIZE_MAX - 1, u64::MAX] {
        assert_eq!(Geometry::of_size(size).check(), Err(RuleViolation::DiskSize { found: size }));
    }
    let leaf_bytes = (limits::BLOCK_LEN as u64) << limits::LEAF_BITS_MIN;
    let full = Geometry::of_size(leaf_bytes * limits::LEAVES_MAX);
    assert_eq!((full.leaf_bits(), full.leaves()), (limits::LEAF_BITS_MIN, limits::LEAVES_MAX));
    let more = Geometry::of_size(leaf_bytes * limits::LEAVES_MAX + 512);
    assert_eq!((more.leaf_bits(), more.leaves()), (limits::LEAF_BITS_MIN + 1, limits::LEAVES_MAX / 2 + 1));
}

/// The lengths of roots follow from other maxima and have no rule of their own.
#[test]
fn the_longest_roots_are_those_of_the_longest_lists() {
    let shape = ListShape { chunk_blocks: 1, blocks: limits::LIST_CHUNKS_MAX };
    assert_eq!(shape.check(), Ok(()));
    assert_eq!(shape.root_len(), limits::LIST_ROOT_LEN_MAX);
    let longest = limits::LOCATOR_RECORDS_MAX.div_ceil(limits::TABLE_PAGE_RECORDS);
    assert_eq!(limits::LOCATOR_ROOT_LEN_MAX, 120 + 36 * limits::LOCATOR_PACKS_MAX + 32 * longest);
}

#[test]
fn every_maximum_of_the_format_has_a_row() {
    let source = include_str!("../../format/src/limits.rs");
    let format = source.split("// ---- implementation").next().unwrap_or_default();
    let names = format.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    let maxima: BTreeSet<&str> = names.filter(|name| name.ends_with("_MAX")).collect();
    // The maxima of the two tests above.
    let elsewhere = ["DISK_SIZE_MAX", "LIST_ROOT_LEN_MAX", "LOCATOR_ROOT_LEN_MAX"];
    let rows: BTreeSet<&str> = rows().iter().map(|row| row.name).chain(elsewhere).collect();
    assert_eq!(rows, maxima);
}
