//! Section 10.1: a bundle's head and table.

use melv::ondisk::bundle::{Head, Object, ObjectKind, Piece, Table};
use melv::ondisk::header::{self, Kind};

use super::build::{fit, longer, made_up, patch};
use super::draft::patch_head;
use super::table::Vector;

pub fn vectors() -> Vec<Vector> {
    [
        heads(),
        later(),
        tables(),
        bad_counts(),
        bad_objects(),
        bad_pieces(),
        lacking_objects(),
        bad_layouts(),
        bad_names(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Makes the head of a bundle of 3000 bytes.
fn some_head() -> Head {
    Head { len: 3000, table_offset: 2000, table_len: 1000, tail_offset: 1500, table_digest: made_up(7) }
}

fn head_of(change: fn(&mut Head)) -> Vec<u8> {
    let mut head = some_head();
    change(&mut head);
    head.encode()
}

fn head_valid(name: &str, note: &'static str, bytes: Vec<u8>, head: Head) -> Vector {
    Vector::valid(name, "bundle-head", "10.1", note, bytes)
        .with("len", head.len)
        .gives("table_offset", head.table_offset)
        .gives("table_len", head.table_len)
        .gives("tail_offset", head.tail_offset)
}

fn heads() -> Vec<Vector> {
    let sound = some_head().encode();
    let at = |at: usize, bytes: &[u8]| patch_head(&sound, at, bytes);
    let long = |name, note, len: u64, bytes| {
        Vector::invalid(name, "bundle-head", "10.1", note, bytes).with("len", len)
    };
    let invalid = |name, note, bytes| long(name, note, 3000, bytes);
    let far = Head { tail_offset: 2000, ..some_head() };
    let near = Head { tail_offset: 512, ..some_head() };
    let large = |head: &mut Head| (head.table_len, head.len) = ((1 << 27) + 1, 2001 + (1 << 27));
    vec![
        head_valid("three-parts", "a bundle of 3000 bytes", sound.clone(), some_head()),
        head_valid("tail-at-table", "nothing in the tail", far.encode(), far),
        head_valid("tail-at-head", "all in the tail", near.encode(), near),
        invalid("magic", "zeros, for the bundle was broken off", vec![0; 512]),
        invalid("magic--store", "a store's", at(0, b"melvstor")),
        invalid("version", "major version 0, with a wrong checksum", patch(&sound, 8, &[0])),
        invalid("reserved--header", "byte 11 of the header", at(11, &[1])),
        invalid("reserved--writer-mask", "a writer mask where there is none", at(20, &[1])),
        invalid("reserved", "the four bytes behind the key slot", at(36, &[1])),
        invalid("reserved--first", "byte 96", at(96, &[1])),
        invalid("reserved--last", "byte 479", at(479, &[1])),
        invalid("checksum", "one bit of the checksum", patch(&sound, 511, &[sound[511] ^ 1])),
        invalid("checksum--key-slot", "a key slot under the old checksum", patch(&sound, 32, &[1])),
        invalid("checksum--reserved", "a reserved byte under the old checksum", patch(&sound, 479, &[1])),
        long("limit", "a table of 2^27 + 1 bytes", 2001 + (1 << 27), head_of(large)),
        invalid("bundle-layout--tail-early", "the tail begins in the head", at(56, &511u64.to_le_bytes())),
        invalid("bundle-layout--tail-late", "the tail begins in the table", at(56, &2001u64.to_le_bytes())),
        invalid("bundle-layout--short", "a byte behind the table", at(48, &999u64.to_le_bytes())),
        invalid("bundle-layout--long", "the table ends beyond the bundle", at(40, &2001u64.to_le_bytes())),
        invalid("bundle-layout--wrap", "the table's end exceeds 64 bits", at(40, &[0xff; 8])),
        invalid(
            "bundle-layout--in-head",
            "table and tail begin in the head",
            head_of(|head| (head.table_offset, head.tail_offset, head.table_len) = (511, 511, 2489)),
        ),
        invalid("truncated", "half a head", sound[..256].to_vec()),
        invalid("truncated--checksum", "a byte of the checksum is missing", sound[..511].to_vec()),
        long("truncated--file", "a file of a byte less", 2999, sound.clone()),
        long("trailing-bytes", "a file of a byte more", 3001, sound.clone()),
    ]
}

/// Returns heads and tables of later versions.
fn later() -> Vec<Vector> {
    let (head, table) = (some_head().encode(), some_table().encode());
    let head_of =
        |name: &str, note, bytes| Vector::future(name, "bundle-head", "11", note, bytes).with("len", 3000);
    let table_of = |name: &str, note, at: usize, new: &[u8]| {
        Vector::future(name, "bundle-table", "11", note, patch(&table, at, new))
            .with("table_offset", TABLE_OFFSET)
    };
    let last_kind = OBJECTS + 4 * 48;
    vec![
        head_of("minor", "minor version 1", patch_head(&head, 9, &[1])).gives("tail_offset", 1500),
        head_of("ignore-bit", "ignore mask bit 31", patch_head(&head, 19, &[0x80]))
            .gives("tail_offset", 1500),
        head_of("major", "major version 2, without a checksum that we know", patch(&head, 8, &[2]))
            .refused("version"),
        head_of("digest-algorithm", "digest algorithm 2", patch(&head, 10, &[2])).refused("digest-algorithm"),
        head_of("refuse-bit", "refuse mask bit 31", patch(&head, 15, &[0x80])).refused("refuse-bit"),
        head_of("key-slot", "key slot 2^32 - 1", patch_head(&head, 32, &[0xff; 4])).refused("key-slot"),
        table_of("ignore-bit", "ignore mask bit 0", 16, &[1]).gives("names", "a-b:1 a:b a:c"),
        table_of("refuse-bit", "refuse mask bit 0", 12, &[1]).refused("refuse-bit"),
        table_of("object-kind", "object kind 5", last_kind, &[5]).refused("object-kind"),
        table_of("object-kind-large", "object kind 2^32 - 1", last_kind, &[0xff; 4]).refused("object-kind"),
    ]
}

/// The offset of the table of [`some_table`].
const TABLE_OFFSET: u64 = 1512;

fn piece(at: u64, offset: u64, len: u64) -> Piece {
    Piece { at, offset, len }
}

/// Makes a table of two images, a page file, a list without its first 100 bytes, a pack: 1000 bytes.
fn some_table() -> Table {
    let object = |kind, number, len, pieces| Object { kind, id: made_up(number), len, pieces };
    Table {
        bases: vec![made_up(8), made_up(9)],
        objects: vec![
            object(ObjectKind::Record, 1, 100, vec![piece(0, 1412, 100)]),
            object(ObjectKind::Record, 2, 100, vec![piece(0, 1312, 100)]),
            object(ObjectKind::PageFile, 1, 200, vec![piece(0, 1112, 200)]),
            object(ObjectKind::List, 1, 400, vec![piece(100, 512, 100), piece(200, 1012, 100)]),
            object(ObjectKind::Pack, 3, 400, vec![piece(0, 812, 200), piece(200, 612, 200)]),
        ],
        names: vec![("a-b:1".into(), 1), ("a:b".into(), 0), ("a:c".into(), 1)],
    }
}

fn table(change: fn(&mut Table)) -> Vec<u8> {
    let mut table = some_table();
    change(&mut table);
    table.encode()
}

/// The offsets of objects, pieces and names in the table's bytes.
const OBJECTS: usize = 48 + 2 * 32;
const PIECES: usize = OBJECTS + 5 * 48;
const NAMES: usize = PIECES + 7 * 24;

fn invalid(name: &'static str, note: &'static str, bytes: Vec<u8>) -> Vector {
    Vector::invalid(name, "bundle-table", "10.1", note, bytes).with("table_offset", TABLE_OFFSET)
}

fn tables() -> Vec<Vector> {
    let sound = some_table().encode();
    let one = Table {
        objects: vec![Object {
            kind: ObjectKind::Record,
            id: made_up(1),
            len: 1000,
            pieces: vec![piece(0, 512, 1000)],
        }],
        ..Table::default()
    };
    let longest = [[b'a'; 255], [b'b'; 255]].map(|text| String::from_utf8(text.to_vec()).unwrap());
    let long_name = Table { names: vec![(longest.join(":"), 0)], ..one.clone() };
    let valid = |name: &str, note, table: &Table, names: &str| {
        Vector::valid(name, "bundle-table", "10.1", note, table.encode())
            .with("table_offset", TABLE_OFFSET)
            .gives("bases", table.bases.len() as u64)
            .gives("objects", table.objects.len() as u64)
            .gives("pieces", table.objects.iter().map(|object| object.pieces.len() as u64).sum::<u64>())
            .gives("names", names)
    };
    let at = |at: usize, bytes: &[u8]| patch(&sound, at, bytes);
    vec![
        valid("two-images", "two bases, names, objects in pieces", &some_table(), "a-b:1 a:b a:c"),
        valid("one-image", "an image without a name, and nothing else", &one, ""),
        valid("long-name", "a name and a tag of 255 bytes each", &long_name, &longest.join(":")),
        invalid("magic", "a bundle's", at(0, b"melvbndl")),
        invalid("version", "major version 0", at(8, &[0])),
        invalid("reserved", "byte 11 of the header", at(11, &[1])),
        invalid("body-length", "a byte more than declared", longer(&sound, &[0])),
        invalid("trailing-bytes", "a byte after the last name", fit(longer(&sound, &[0]))),
        invalid("truncated", "the counts are cut", fit(sound[..44].to_vec())),
        invalid("truncated--header", "half a header", sound[..16].to_vec()),
        invalid("truncated--name", "the last name is cut", fit(sound[..sound.len() - 1].to_vec())),
    ]
}

fn bad_counts() -> Vec<Vector> {
    let sound = some_table().encode();
    let count = |at: usize, count: u32| patch(&sound, at, &count.to_le_bytes());
    vec![
        invalid("limit--bases", "257 bases", count(32, 257)),
        invalid("limit--names", "65,537 names", count(36, 65_537)),
        invalid("limit--objects", "2^20 + 1 objects", count(40, (1 << 20) + 1)),
        invalid("limit--pieces", "2^21 + 1 pieces", count(44, (1 << 21) + 1)),
        invalid("limit--room-bases", "256 bases where two are", count(32, 256)),
        invalid("limit--room-names", "1000 names where three are", count(36, 1000)),
        invalid("limit--room-objects", "1000 objects where five are", count(40, 1000)),
        invalid("limit--room-pieces", "1000 pieces where seven are", count(44, 1000)),
    ]
}

fn bad_objects() -> Vec<Vector> {
    let sound = some_table().encode();
    let at = |at: usize, bytes: &[u8]| patch(&sound, at, bytes);
    let no_record = |table: &mut Table| {
        table.names.clear();
        table.objects.drain(..2);
        table.objects[0].pieces = vec![piece(0, 1112, 400)];
        table.objects[0].len = 400;
    };
    vec![
        invalid("table-order--bases", "bases descending", table(|table| table.bases.swap(0, 1))),
        invalid("table-order--base-twice", "a base twice", table(|table| table.bases[1] = table.bases[0])),
        invalid("table-order--kinds", "a list before a page file", table(|table| table.objects.swap(2, 3))),
        invalid("table-order--ids", "images descending", table(|table| table.objects.swap(0, 1))),
        invalid(
            "table-order--image-twice",
            "two images of one id",
            table(|table| table.objects[1].id = table.objects[0].id),
        ),
        invalid("empty-page", "no image", table(no_record)),
        invalid("bundle-layout--no-piece", "an object without pieces", at(OBJECTS + 4, &[0])),
        invalid("bundle-layout--more", "more pieces than the table has", at(OBJECTS + 4 * 48 + 4, &[3])),
        invalid("bundle-layout--fewer", "fewer pieces than the table has", at(OBJECTS + 4 * 48 + 4, &[1])),
        invalid("bundle-layout--huge", "2^32 - 1 pieces", at(OBJECTS + 4, &[0xff; 4])),
        empty(),
    ]
}

/// Makes a table without objects, so without an image, directly after the head.
fn empty() -> Vector {
    let mut bytes = header::begin(Kind::BundleTable);
    bytes.extend_from_slice(&[0; 16]);
    header::finish(&mut bytes);
    let note = "no objects, behind a head alone";
    Vector::invalid("empty-page--no-objects", "bundle-table", "10.1", note, bytes).with("table_offset", 512)
}

/// A name, a note, and the change that makes a table invalid.
type Changed = (&'static str, &'static str, fn(&mut Table));

fn changed(rows: &[Changed]) -> Vec<Vector> {
    rows.iter().map(|(name, note, change)| invalid(name, note, table(*change))).collect()
}

/// Returns tables with invalid pieces in an object.
fn bad_pieces() -> Vec<Vector> {
    let empty = |table: &mut Table| {
        table.objects[3].pieces[1].len = 0;
        table.objects[4].pieces.push(piece(400, 1012, 100));
        table.objects[4].len = 500;
    };
    let wrap = |table: &mut Table| {
        table.objects[3].pieces[1].at = u64::MAX - 50;
        table.objects[3].len = u64::MAX;
    };
    changed(&[
        ("piece-order--empty", "a piece of no bytes", empty),
        ("piece-order--down", "a later piece before an earlier one", |table| {
            table.objects[3].pieces.swap(0, 1);
        }),
        ("piece-order--twice", "two pieces of one place", |table| table.objects[3].pieces[1].at = 100),
        ("piece-order--overlap", "two pieces overlap by a byte", |table| table.objects[3].pieces[1].at = 199),
        ("piece-order--beyond", "a piece ends beyond the object", |table| table.objects[3].len = 299),
        ("piece-order--wrap", "the end of a piece exceeds 64 bits", wrap),
    ])
}

/// Returns tables of objects that lack required bytes.
fn lacking_objects() -> Vec<Vector> {
    let front = |table: &mut Table| {
        table.objects[0].pieces[0].at = 1;
        table.objects[0].len = 101;
    };
    let middle = |table: &mut Table| {
        table.objects[4].pieces[1].at = 201;
        table.objects[4].len = 401;
    };
    changed(&[
        ("piece-order--record-front", "a record without its first byte", front),
        ("piece-order--record-end", "a record without its last byte", |table| table.objects[0].len = 101),
        ("piece-order--page-file-end", "a page file without its last byte", |table| {
            table.objects[2].len = 201;
        }),
        ("piece-order--pack-middle", "a pack without a byte in the middle", middle),
    ])
}

/// Moves the only piece of the second image, and changes its length.
fn move_second(table: &mut Table, offset: u64, len: u64) {
    let object = &mut table.objects[1];
    object.pieces[0] = piece(0, offset, len);
    object.len = len;
}

/// Returns tables with an invalid layout of pieces in the bundle.
fn bad_layouts() -> Vec<Vector> {
    let elsewhere = |name, note, table_offset: u64| {
        Vector::invalid(name, "bundle-table", "10.1", note, some_table().encode())
            .with("table_offset", table_offset)
    };
    let in_head = |table: &mut Table| {
        table.objects[3].pieces[0] = piece(100, 511, 101);
        table.objects[3].pieces[1].at = 201;
    };
    let wrap = |table: &mut Table| {
        table.objects[3].pieces[1].len = u64::MAX - 500;
        table.objects[3].len = u64::MAX;
    };
    let mut all = changed(&[
        ("bundle-layout--gap", "a byte between two pieces", |table| move_second(table, 1313, 99)),
        ("bundle-layout--overlap", "two pieces share a byte", |table| move_second(table, 1311, 101)),
        ("bundle-layout--same", "two objects in one place", |table| move_second(table, 1412, 100)),
        ("bundle-layout--in-head", "a piece begins in the head", in_head),
        ("bundle-layout--late", "a byte between head and pieces", |table| {
            table.objects[3].pieces[0] = piece(100, 513, 99);
        }),
        ("bundle-layout--wrap", "the end of a piece exceeds 64 bits", wrap),
    ]);
    all.push(elsewhere("bundle-layout--into-table", "a piece ends in the table", TABLE_OFFSET - 1));
    all.push(elsewhere("bundle-layout--before-table", "a byte between pieces and table", TABLE_OFFSET + 1));
    all
}

fn bad_names() -> Vec<Vector> {
    let sound = some_table().encode();
    let named = |name: &'static str, note, names: &[&str]| {
        let names = names.iter().map(|name| ((*name).to_owned(), 0)).collect();
        invalid(name, note, Table { names, ..some_table() }.encode())
    };
    let long = "a".repeat(256);
    let too_long = format!("{}:{}", "a".repeat(255), long);
    vec![
        invalid("table-range", "a name of image 2 of 2", table(|table| table.names[1].1 = 2)),
        invalid(
            "table-range--base",
            "an image that is its own base",
            table(|table| table.bases[0] = made_up(2)),
        ),
        invalid("table-range--large", "a name of image 2^32 - 1", table(|table| table.names[1].1 = u32::MAX)),
        named("table-order--names", "names descending", &["b:a", "a:b"]),
        named("table-order--bytes", "the order of names, then tags, not that of bytes", &["a:b", "a-b:1"]),
        named("table-order--name-twice", "a name twice", &["a:b", "a:b"]),
        invalid("text", "a name that is not UTF-8", patch(&sound, NAMES + 8, &[0xff])),
        named("limit--name", "a name of 512 bytes", &[&too_long]),
        named("reference-name--colon", "no colon", &["web"]),
        named("reference-name--colons", "two colons", &["a:b:c"]),
        named("reference-name--no-name", "no name", &[":latest"]),
        named("reference-name--no-tag", "no tag", &["web:"]),
        named("reference-name--capital", "a capital letter", &["Web:latest"]),
        named("reference-name--dots", "two dots in a row", &["a..b:latest"]),
        named("reference-name--path", "a slash", &["../web:latest"]),
        named("reference-name--long", "a tag of 256 bytes", &[&format!("a:{long}")]),
    ]
}
