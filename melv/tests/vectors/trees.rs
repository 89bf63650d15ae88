//! Sections 7.3 and 7.4: map root, span root, span page, map leaf.

use melv::Digest;
use melv::ondisk::cursor::{Put, zigzag};
use melv::ondisk::digest_table::{self, Entry};
use melv::ondisk::header::{self, Kind};
use melv::ondisk::map_leaf::{Extent, MapLeaf};

use super::build::{fit, longer, made_up};
use super::parts;
use super::table::Vector;

pub fn vectors() -> Vec<Vector> {
    [tables(), leaves(), bad_leaves(), bad_leaf_lists()].into_iter().flatten().collect()
}

fn table(kind: Kind, indexes: &[u32]) -> Vec<u8> {
    let entry = |(&index, number): (&u32, u8)| Entry { index, digest: made_up(number) };
    digest_table::encode(kind, &indexes.iter().zip(1..).map(entry).collect::<Vec<_>>())
}

fn tables() -> Vec<Vector> {
    let entries = format!("0:{} 3:{}", made_up::<Digest>(1), made_up::<Digest>(2));
    let mut all = Vec::new();
    for (kind, name) in
        [(Kind::MapRoot, "map-root"), (Kind::SpanRoot, "span-root"), (Kind::SpanPage, "span-page")]
    {
        let sound = table(kind, &[0, 3]);
        let invalid =
            |rule, note, bytes| Vector::invalid(rule, name, "7.3", note, bytes).with("index_max", 4);
        all.extend([
            Vector::valid("two-entries", name, "7.3", "entries 0 and 3 of 4", sound.clone())
                .with("index_max", 4)
                .gives("entries", entries.as_str()),
            invalid("table-range", "entry 4 of 4", table(kind, &[0, 4])),
            invalid("table-order--down", "3 before 0", table(kind, &[3, 0])),
            invalid("table-order--twice", "2 twice", table(kind, &[2, 2])),
            invalid("empty-page", "no entry", table(kind, &[])),
            invalid("trailing-bytes", "a byte after the last entry", fit(longer(&sound, &[0]))),
        ]);
    }
    let parts = parts::sound();
    let root = |name: &'static str, bytes: &[u8], page: &[u8]| {
        let entry = format!("0:{}", melv::digest::object_digest(page));
        Vector::valid("one-entry", name, "7.3", "that of parts.store", bytes.to_vec())
            .with("index_max", 1)
            .gives("entries", entry.as_str())
    };
    all.push(root("map-root", &parts.map_root, &parts.leaf));
    all.push(root("span-root", &parts.span_root, &parts.span_page));
    all
}

fn leaves() -> Vec<Vector> {
    let extent = |start, blocks, list, source| Extent { start, blocks, list, source };
    let turns = MapLeaf {
        lists: vec![made_up(9), made_up(3)],
        extents: vec![
            extent(5, 300, 0, 1 << 20),
            extent(305, 1, 1, 77),
            extent(306, 2, 0, (1 << 20) + 300),
            extent(400, 10, 1, 0),
            extent(65_535, 1, 1, 10),
        ],
    };
    let full = MapLeaf { lists: vec![made_up(1)], extents: vec![extent(0, 65_536, 0, (1 << 40) - 65_536)] };
    let valid = |name: &str, note, bytes| {
        Vector::valid(name, "map-leaf", "7.4", note, bytes).with("leaf_blocks", 65_536)
    };
    vec![
        valid("one-list", "the leaf of parts.store", parts::sound().leaf)
            .gives("lists", 1)
            .gives("extents", "0+1=0:0 2+2=0:1 9+1=0:0 16+1=0:3"),
        valid("two-lists", "gaps, changes of the list, sources that go back", turns.encode())
            .gives("lists", 2)
            .gives("extents", "5+300=0:1048576 305+1=1:77 306+2=0:1048876 400+10=1:0 65535+1=1:10"),
        valid(
            "whole-leaf",
            "one extent over the leaf, from the last blocks that a list can have",
            full.encode(),
        )
        .gives("extents", "0+65536=0:1099511562240"),
    ]
}

/// Makes a leaf of these lists and bytes of extents that declares `count` extents.
fn leaf(lists: &[u8], count: u32, extents: &[u8]) -> Vec<u8> {
    let mut out = header::begin(Kind::MapLeaf);
    out.put_u32(u32::try_from(lists.len()).unwrap());
    out.put_u32(count);
    lists.iter().for_each(|&number| out.put_digest(&Digest([number; 32])));
    out.extend_from_slice(extents);
    header::finish(&mut out);
    out
}

fn varints(numbers: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    numbers.iter().for_each(|&number| out.put_varint(number));
    out
}

fn invalid(name: &'static str, note: &'static str, bytes: Vec<u8>) -> Vector {
    Vector::invalid(name, "map-leaf", "7.4", note, bytes).with("leaf_blocks", 65_536)
}

fn bad_leaves() -> Vec<Vector> {
    let far = varints(&[0, zigzag(1 << 40)]);
    vec![
        invalid("varint-overlong", "zero in two bytes", leaf(&[1], 1, &[0x80, 0x00, 0x00])),
        invalid("varint-overflow--bits", "ten bytes of ones", leaf(&[1], 1, &[0xff; 10])),
        invalid(
            "varint-overflow--gap",
            "a gap that reaches beyond 64 bits",
            leaf(&[1], 2, &[varints(&[0, 0, 1, u64::MAX]), vec![0]].concat()),
        ),
        invalid("truncated--varint", "a number is cut", leaf(&[1], 1, &[0x00, 0x80])),
        invalid("truncated--extent", "an extent is missing", leaf(&[1], 2, &[0x01, 0x00, 0x80, 0x01])),
        invalid("truncated--counts", "less than its counts", fit(leaf(&[], 0, &[])[..36].to_vec())),
        invalid("trailing-bytes", "a byte after the last extent", leaf(&[1], 1, &[0x00, 0x00, 0x00])),
        invalid("limit--extents", "1000 extents declared in two bytes", leaf(&[1], 1000, &[0x00, 0x00])),
        invalid("empty-page", "no extent", leaf(&[], 0, &[])),
        invalid("extent-range--leaf", "65,537 blocks", leaf(&[1], 1, &varints(&[65_536 << 2, 0]))),
        invalid("extent-range--gap", "begins at the leaf's end", leaf(&[1], 1, &varints(&[1, 65_535, 0]))),
        invalid("extent-range--source", "ends at 2^40 + 1 of its list", leaf(&[1], 1, &far)),
        invalid(
            "extent-range--negative",
            "begins before its list",
            leaf(&[1], 1, &varints(&[0, zigzag(-1)])),
        ),
        invalid("extent-unmerged", "two extents that are one", leaf(&[1], 2, &varints(&[0, 0, 0, 0]))),
    ]
}

fn bad_leaf_lists() -> Vec<Vector> {
    vec![
        invalid("list-unchanged", "changes to the list in use", leaf(&[1], 1, &varints(&[2, 0, 0]))),
        invalid(
            "list-unchanged--first",
            "the first extent changes to list 0",
            leaf(&[1], 1, &varints(&[2, 0, 5])),
        ),
        invalid("list-first-use", "list 1 before list 0", leaf(&[1, 2], 2, &varints(&[2, 1, 0, 2, 0, 0]))),
        invalid("list-unused--named", "two lists, one of them used", leaf(&[1, 2], 1, &varints(&[0, 0]))),
        invalid("list-unused--beyond", "one list, two used", leaf(&[1], 2, &varints(&[0, 0, 2, 1, 0]))),
        invalid("list-twice", "one list under two numbers", leaf(&[1, 1], 2, &varints(&[0, 0, 2, 1, 0]))),
    ]
}
