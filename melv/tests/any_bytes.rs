//! Arbitrary bytes, and valid structures changed with their digests recomputed: no decoder panics, and
//! accepted bytes are the only encoding of their value.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;

use melv::digest::{Digest, block_digest, object_digest};
use melv::ondisk::bundle::{Head, Object, ObjectKind, Piece, Table};
use melv::ondisk::cursor::{Cursor, Put, unzigzag, zigzag};
use melv::ondisk::digest_table::{self, Entry};
use melv::ondisk::frame::{self, Frame};
use melv::ondisk::header::{self, HEADER_LEN, Kind};
use melv::ondisk::list::{ListRoot, ListShape};
use melv::ondisk::locator::{FramePlace, LocatorRoot};
use melv::ondisk::manifest::{Geometry, ListUse, Manifest};
use melv::ondisk::map_leaf::{Extent, MapLeaf};
use melv::ondisk::pack::{self, FrameRecord};
use melv::ondisk::record::{self, PagePlace, Places, RecordHead};
use melv::ondisk::reference::Reference;
use melv::ondisk::store_header;
use melv_testing::seal::sealed;
use melv_testing::structures::{self, KINDS, NAME};
use melv_testing::{Rng, noise, text};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const LEAF_BLOCKS: u64 = 1 << 16;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(2026),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Runs every decoder on one input; if one accepts, the encoder must reproduce the input.
fn decode_all(bytes: &[u8]) {
    structures::objects(bytes);
    structures::manifest(bytes);
    structures::list(bytes);
    structures::map_leaf(bytes, LEAF_BLOCKS);
    structures::bundle_head(bytes);
    structures::bundle_table(bytes, TABLE_OFFSET);
    for root in [Some(some_locator()), structures::locator(bytes)].iter().flatten() {
        structures::locator_page(bytes, root);
    }
    structures::record(bytes);
    structures::pack(bytes);
    for blocks in [1, 2, 4, 8, 9, 1024, u32::MAX] {
        structures::frame(bytes, blocks);
    }
}

// ---- valid structures --------------------------------------------------------------------

/// Returns a digest or an id.
fn digest<I: FromStr<Err: Debug>>(seed: u64) -> I {
    block_digest(&seed.to_le_bytes()).to_string().parse().expect("a digest")
}

fn some_locator() -> LocatorRoot {
    LocatorRoot {
        in_part: false,
        list: digest(1),
        chunks: 5,
        records: 7,
        packs: vec![digest(2), digest(3)],
        pages: vec![digest(4)],
    }
}

/// The offset of the table of [`some_table`].
const TABLE_OFFSET: u64 = 1000;

fn some_table() -> Table {
    let piece = |at, offset, len| Piece { at, offset, len };
    let object = |kind, pieces| Object { kind, id: digest(30), len: 300, pieces };
    Table {
        bases: vec![digest(31)],
        objects: vec![
            object(ObjectKind::Record, vec![piece(0, 700, 300)]),
            object(ObjectKind::List, vec![piece(0, 512, 100), piece(200, 612, 88)]),
        ],
        names: vec![(NAME.into(), 0)],
    }
}

fn some_leaf() -> MapLeaf {
    let extent = |start, blocks, list, source| Extent { start, blocks, list, source };
    MapLeaf {
        lists: vec![digest(1), digest(2), digest(3)],
        extents: vec![
            extent(0, 3, 0, 0),
            extent(3, 1, 0, 70_000),
            extent(10, 500, 1, 128),
            extent(510, 2, 2, 1 << 39),
            extent(512, 1, 0, 3),
            extent(LEAF_BLOCKS - 1, 1, 0, 0),
        ],
    }
}

fn some_manifest() -> Manifest {
    let mut lists: Vec<_> = (0..3)
        .map(|n| ListUse { id: digest(n), shape: ListShape { chunk_blocks: 1 << n, blocks: 100 + n } })
        .collect();
    lists.sort_by_key(|list| list.id);
    Manifest {
        geometry: Geometry::of_size(300 << 20),
        data_blocks: 77,
        content: digest(10),
        map_root: digest(11),
        span_root: digest(12),
        parent: digest(13),
        lists,
        metadata: BTreeMap::from([("os.name".into(), "debian".into()), ("x-y_z".into(), "ä\n".into())]),
    }
}

fn some_record() -> Vec<u8> {
    let place = |file, offset| PagePlace { file, offset, len: 90 };
    let places = Places {
        files: vec![digest(20), digest(21)],
        map: vec![place(0, 32), place(1, 500)],
        span: vec![place(1, 122)],
    };
    record::encode(&some_manifest().encode(), &places, b"the map root", b"the span root")
}

fn some_pack() -> Vec<u8> {
    let mut bytes = pack::encode_head();
    let frames = [noise(1), text(2)];
    frames.iter().for_each(|frame| bytes.extend_from_slice(&frame[..300]));
    let records: Vec<_> =
        (0..2).map(|n| FrameRecord { key: digest::<Digest>(n).prefix(), len: 300, guard: n + 5 }).collect();
    bytes.extend(pack::encode_tail(&records).0);
    bytes
}

fn some_frames() -> Vec<Vec<u8>> {
    let plain: Vec<u8> = (0..4).flat_map(text).collect();
    let codec = |number: u8| Frame::decode(&[number, 0, 0, 0], 1).expect("a head").codec;
    let mut whole = Vec::new();
    frame::encode_head(codec(1), &mut whole);
    whole.extend(zstd::bulk::compress(&plain, 3).expect("zstd"));
    let mut raw = Vec::new();
    frame::encode_partial_head(codec(0), &[0b0101], &[digest(1), digest(2)], &mut raw);
    raw.extend_from_slice(&plain[..8192]);
    let mut partial = Vec::new();
    frame::encode_partial_head(codec(1), &[0b0011], &[digest(1), digest(2)], &mut partial);
    partial.extend(zstd::bulk::compress(&plain[..8192], 3).expect("zstd"));
    vec![whole, raw, partial]
}

/// Returns one structure of each kind, all accepted by their decoders.
fn valid() -> Vec<Vec<u8>> {
    let reference = Reference { name: NAME.into(), image: digest(5), created_seconds: 1_790_000_000 };
    let entries: Vec<_> = [0, 1, 7, 255].map(|index| Entry { index, digest: digest(index.into()) }).into();
    let list = ListRoot {
        shape: ListShape { chunk_blocks: 8, blocks: 8 * 1024 + 3 },
        pages: vec![digest(1), digest(2)],
    };
    let mut places = Vec::new();
    FramePlace { pack: 1, offset: 48, len: 300, partial: false, next: 5, guard: 99 }.encode(&mut places);
    FramePlace::NONE.encode(&mut places);
    let mut all = vec![
        store_header::encode(),
        reference.encode(),
        some_manifest().encode(),
        list.encode(),
        some_leaf().encode(),
        digest_table::encode(Kind::MapRoot, &entries),
        digest_table::encode(Kind::SpanPage, &entries),
        some_locator().encode(),
        places,
        some_record(),
        some_pack(),
        pack::encode_head(),
    ];
    all.extend(some_frames());
    let (len, table) = (1300, object_digest(&some_table().encode()));
    let head = Head { len, table_offset: 1000, table_len: 300, tail_offset: 700, table_digest: table };
    all.extend([head.encode(), some_table().encode()]);
    all
}

/// Makes a small change of any kind.
fn change(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let len = bytes.len() as u64;
    if len == 0 {
        return bytes.push(rng.next() as u8);
    }
    let at = rng.below(len) as usize;
    let edge = [0, 1, 2, 3, 7, 8, 0x7f, 0x80, 0xff][rng.below(9) as usize];
    match rng.below(9) {
        0 => bytes[at] ^= 1 << rng.below(8),
        1 | 2 => bytes[at] = edge,
        3 => bytes[at] = rng.next() as u8,
        4 => bytes.truncate(at),
        5 => bytes.insert(at, edge),
        6 => drop(bytes.remove(at)),
        7 => {
            let some = (rng.below(9) as usize).min(bytes.len() - at);
            bytes[at..at + some].fill(edge);
        }
        _ => {
            // A number of four or eight bytes at an edge of its range.
            let number =
                [0, 1, u64::MAX, 1 << 31, 1 << 32, 1 << 40, 1 << 63, len, len - 1][rng.below(9) as usize];
            let some = [4, 8][rng.below(2) as usize].min(bytes.len() - at);
            bytes[at..at + some].copy_from_slice(&number.to_le_bytes()[..some]);
        }
    }
}

#[test]
fn valid_structures_are_accepted_and_are_the_one_encoding() {
    let all = valid();
    all.iter().for_each(|bytes| decode_all(bytes));
    assert!(store_header::decode(&all[0]).is_ok());
    assert_eq!(Reference::decode(&all[1], NAME).map(|reference| reference.encode()), Ok(all[1].clone()));
    assert_eq!(Manifest::decode(&all[2]), Ok(some_manifest()));
    assert!(ListRoot::decode(&all[3]).is_ok());
    assert_eq!(MapLeaf::decode(&all[4], LEAF_BLOCKS), Ok(some_leaf()));
    assert_eq!(digest_table::decode(Kind::MapRoot, &all[5], 256).map(|entries| entries.len()), Ok(4));
    assert!(digest_table::decode(Kind::SpanPage, &all[6], 256).is_ok());
    assert_eq!(LocatorRoot::decode(&all[7]), Ok(some_locator()));
    assert_eq!(FramePlace::decode(&all[8], 0, &some_locator()).map(|place| place.next), Ok(5));
    assert_eq!(FramePlace::decode(&all[8], 1, &some_locator()), Ok(FramePlace::NONE));
    let head = RecordHead::decode(&all[9], all[9].len() as u64).expect("a record");
    let places = &all[9][head.places_offset() as usize..][..head.places_len() as usize];
    assert_eq!(Places::decode(places, &all[9], &head, false).map(|places| places.map.len()), Ok(2));
    let tail = &all[10][all[10].len() - pack::TRAILER_LEN as usize..];
    assert_eq!(pack::decode_trailer(tail, all[10].len() as u64).map(|trailer| trailer.frames), Ok(2));
    for (frame, held) in all[12..].iter().zip([4, 2, 2]) {
        let frame = Frame::decode(frame, 4).expect("a frame");
        assert_eq!(frame.held(4), held);
        assert_eq!(frame.decode_payload(&mut vec![0; frame::plain_len(held)]), Ok(()));
    }
    assert_eq!(Head::decode(&all[15]).map(|head| head.len), Ok(1300));
    assert_eq!(Table::decode(&all[16], TABLE_OFFSET), Ok(some_table()));
}

#[test]
fn every_cut_and_every_flipped_bit_of_a_valid_structure_is_survived() {
    for bytes in valid() {
        for len in 0..bytes.len().min(1200) {
            decode_all(&bytes[..len]);
            let mut cut = bytes[..len].to_vec();
            cut = sealed(&cut);
            decode_all(&cut);
        }
        for at in melv_testing::places(bytes.len(), 1200) {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                flipped = sealed(&flipped);
                decode_all(&flipped);
            }
        }
    }
}

#[test]
fn a_valid_structure_with_its_digest_put_right_is_still_refused_where_a_rule_is_broken() {
    // The checks behind the checksums are reached: each change breaks its own rule.
    let rule = |mut bytes: Vec<u8>, at: usize, to: u8, decode: &dyn Fn(&[u8]) -> Option<&'static str>| {
        bytes[at] = to;
        bytes = sealed(&bytes);
        decode(&bytes)
    };
    let reference = |bytes: &[u8]| Reference::decode(bytes, NAME).err().map(|fault| fault.rule());
    let all = valid();
    let (store, by_name, list) = (all[0].clone(), all[1].clone(), all[7].clone());
    let store_rule = |bytes: &[u8]| store_header::decode(bytes).err().map(|fault| fault.rule());
    assert_eq!(rule(store.clone(), 32, 1, &store_rule), Some("domain"));
    assert_eq!(rule(store.clone(), 12, 1, &store_rule), Some("refuse-bit"));
    assert_eq!(rule(store, 11, 1, &store_rule), Some("reserved"));
    assert_eq!(rule(by_name.clone(), 80, b'v', &reference), Some("reference-name"));
    assert_eq!(rule(by_name.clone(), 80, 0xff, &reference), Some("text"));
    assert_eq!(rule(by_name.clone(), 76, 1, &reference), Some("reserved"));
    assert_eq!(rule(by_name, 73, 4, &reference), Some("limit"));
    let locator_rule = |bytes: &[u8]| LocatorRoot::decode(bytes).err().map(|fault| fault.rule());
    assert_eq!(rule(list.clone(), 84, 1, &locator_rule), None, "bit 0 of the flags has a meaning");
    assert_eq!(rule(list.clone(), 84, 2, &locator_rule), Some("reserved"));
    assert_eq!(rule(list.clone(), 87, 0x80, &locator_rule), Some("reserved"));
    assert_eq!(rule(list.clone(), 88, 1, &locator_rule), Some("target-kind"));
    assert_eq!(rule(list, 72, 4, &locator_rule), Some("limit"));
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        decode_all(&bytes);
    }

    #[test]
    fn any_bytes_behind_a_right_header_are_survived(
        kind in 0..KINDS.len(), body in prop::collection::vec(any::<u8>(), 0..400), sparse in prop::collection::vec((0..400usize, 0..4u8), 0..8),
    ) {
        let mut bytes = header::begin(KINDS[kind]);
        bytes.extend_from_slice(&body);
        header::finish(&mut bytes);
        bytes = sealed(&bytes);
        decode_all(&bytes);
        // Mostly zeros, which are valid as many a count and length.
        let mut bytes = header::begin(KINDS[kind]);
        bytes.resize(HEADER_LEN + body.len(), 0);
        for (at, value) in sparse {
            if let Some(byte) = bytes.get_mut(HEADER_LEN + at) {
                *byte = value;
            }
        }
        header::finish(&mut bytes);
        bytes = sealed(&bytes);
        decode_all(&bytes);
    }

    #[test]
    fn changed_structures_with_right_digests_are_survived(seed: u64) {
        let mut rng = Rng::new(seed);
        for mut bytes in valid() {
            for _ in 0..1 + rng.below(4) {
                change(&mut bytes, &mut rng);
            }
            decode_all(&bytes);
            bytes = sealed(&bytes);
            decode_all(&bytes);
        }
    }

    /// The reader reproduces any leaf that the writer can make.
    #[test]
    fn leaves_survive_the_journey(seed: u64, count in 1..60u64, lists in 1..5u32) {
        let mut rng = Rng::new(seed);
        let mut builder: Vec<Extent> = Vec::new();
        let mut used = 0;
        let mut start = 0;
        for _ in 0..count {
            start += [0, 0, 1, rng.below(500)][rng.below(4) as usize];
            let blocks = 1 + rng.below(300);
            let list = rng.below(u64::from(used.min(lists - 1)) + 1) as u32;
            let source = rng.below(1 << 39);
            let extent = Extent { start, blocks, list, source };
            if builder.last().is_some_and(|last| last.continues_with(&extent)) {
                continue;
            }
            used = used.max(list + 1);
            start += blocks;
            builder.push(extent);
        }
        let leaf = MapLeaf { lists: (0..used.into()).map(digest).collect(), extents: builder };
        let decoded = MapLeaf::decode(&leaf.encode(), LEAF_BLOCKS);
        prop_assert_eq!(decoded, Ok(leaf));
    }

    #[test]
    fn numbers_survive_the_journey(value: u64, signed: i64, bytes in prop::collection::vec(any::<u8>(), 0..12)) {
        let mut out = Vec::new();
        out.put_varint(value);
        let mut cursor = Cursor::new(&out);
        prop_assert_eq!(cursor.varint(), Ok(value));
        prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        // Bytes also decode to one encoding per number.
        let mut cursor = Cursor::new(&bytes);
        if let Ok(value) = cursor.varint() {
            let mut again = Vec::new();
            again.put_varint(value);
            prop_assert_eq!(&again[..], &bytes[..cursor.position()]);
        }
    }
}
