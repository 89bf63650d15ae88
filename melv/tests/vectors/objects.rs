//! Sections 3, 5 and 7.1 to 7.2: header, store header, reference, manifest, record.

use std::collections::BTreeMap;

use melv::content::ContentHasher;
use melv::digest::object_digest;
use melv::ondisk::list::ListShape;
use melv::ondisk::manifest::{Geometry, ListUse, Manifest};
use melv::ondisk::reference::Reference;
use melv::ondisk::store_header;
use melv::{Digest, ImageId};

use super::build::{fit, longer, made_up, patch, seal, seal_record};
use super::parts::{self, CREATED, NAME};
use super::table::Vector;

pub fn vectors() -> Vec<Vector> {
    [store_headers(), references(), manifests(), bad_manifests(), records()].into_iter().flatten().collect()
}

fn store_headers() -> Vec<Vector> {
    const KIND: &str = "store-header";
    let sound = store_header::encode();
    let invalid = |name, note, bytes| Vector::invalid(name, KIND, "3", note, bytes);
    let last = sound.len() - 1;
    vec![
        Vector::valid("new", KIND, "5.1", "the header of every new store", sound.clone())
            .gives("writer_mask", 0),
        invalid("truncated", "half of the domain", fit(sound[..48].to_vec())),
        invalid("trailing-bytes", "a byte after the checksum", fit(longer(&sound, &[0]))),
        invalid("magic", "not an object of this format", seal(&patch(&sound, 0, b"melvxxxx"))),
        invalid("version", "major version 0", seal(&patch(&sound, 8, &[0]))),
        invalid("reserved", "byte 11 of the header", seal(&patch(&sound, 11, &[1]))),
        invalid("body-length", "one byte more than declared", longer(&sound, &[0])),
        invalid("checksum", "one bit of the checksum", patch(&sound, last, &[sound[last] ^ 1])),
    ]
}

/// Makes a reference record for a made-up image.
pub fn reference() -> Vec<u8> {
    Reference { name: NAME.into(), image: made_up(7), created_seconds: CREATED }.encode()
}

fn references() -> Vec<Vector> {
    const KIND: &str = "reference";
    let sound = reference();
    let invalid = |name, note, bytes| Vector::invalid(name, KIND, "5.2", note, bytes).with("name", NAME);
    let mut long = sound[..80].to_vec();
    long = patch(&long, 72, &512u32.to_le_bytes());
    long.extend_from_slice(&[b'a'; 512]);
    long.extend_from_slice(&[0; 32]);
    let last = sound.len() - 1;
    vec![
        Vector::valid("latest", KIND, "5.2", "one name of one image", sound.clone())
            .with("name", NAME)
            .gives("image", made_up::<ImageId>(7))
            .gives("created_seconds", CREATED),
        Vector::invalid("reference-name", KIND, "5.2", "stored as web:other", sound.clone())
            .with("name", "web:other"),
        invalid("text", "the name is not UTF-8", seal(&patch(&sound, 80, &[0xff]))),
        invalid("limit", "a name of 512 bytes", seal(&fit(long))),
        invalid("reserved", "the four bytes before the name", seal(&patch(&sound, 76, &[1]))),
        invalid("checksum", "one bit of the checksum", patch(&sound, last, &[sound[last] ^ 1])),
        invalid("truncated", "the name reaches beyond the end", seal(&patch(&sound, 72, &[200]))),
        invalid("trailing-bytes", "a byte after the checksum", fit(longer(&sound, &[0]))),
    ]
}

fn empty(size_bytes: u64, spans: u64) -> Manifest {
    Manifest {
        geometry: Geometry::of_size(size_bytes),
        data_blocks: 0,
        content: ContentHasher::new(size_bytes, spans).finish(),
        map_root: Digest::ZERO,
        span_root: Digest::ZERO,
        parent: ImageId::ZERO,
        lists: Vec::new(),
        metadata: BTreeMap::new(),
    }
}

/// Makes a manifest with two lists and two keys.
pub fn two_lists() -> Manifest {
    let list = |number, chunk_blocks, blocks| ListUse {
        id: made_up(number),
        shape: ListShape { chunk_blocks, blocks },
    };
    Manifest {
        geometry: Geometry { size_bytes: 1 << 50, logical_bits: 12, physical_bits: 12 },
        data_blocks: 70_000,
        content: made_up(1),
        map_root: made_up(2),
        span_root: made_up(3),
        parent: made_up(4),
        lists: vec![list(5, 8, 60_001), list(6, 1024, 9_999)],
        metadata: BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]),
    }
}

fn manifests() -> Vec<Vector> {
    const KIND: &str = "manifest";
    let valid = |name: &str, note, manifest: &Manifest| {
        let bytes = manifest.encode();
        let id = object_digest(&bytes);
        Vector::valid(name, KIND, "7.1", note, bytes)
            .gives("size_bytes", manifest.geometry.size_bytes)
            .gives("data_blocks", manifest.data_blocks)
            .gives("content", manifest.content)
            .gives("lists", manifest.lists.len() as u64)
            .gives("id", id)
    };
    vec![
        valid("no-bytes", "a disk of no bytes", &empty(0, 0)).gives("leaf_bits", 16),
        valid("all-zeros", "a disk of three spans, the last short, all zeros", &empty((2 << 20) + 512, 3)),
        valid("one-list", "the manifest of parts.store", &parts::sound().manifest)
            .gives("metadata", "melv.level=3;note=tiny"),
        valid("two-lists", "1 PiB in leaves of 2^24 blocks, sectors of 4096 bytes", &two_lists())
            .gives("leaf_bits", 25)
            .gives("logical_bits", 12)
            .gives("physical_bits", 12)
            .gives("metadata", "a=1;b=2"),
        valid("appliance", "keys of version 1.1, and so minor version 1", &appliance())
            .gives("metadata", appliance_text().as_str()),
    ]
}

/// Makes a manifest with the metadata of an appliance.
fn appliance() -> Manifest {
    let metadata = APPLIANCE.map(|(key, value)| (key.into(), value.into()));
    Manifest { metadata: BTreeMap::from(metadata), ..two_lists() }
}

fn appliance_text() -> String {
    APPLIANCE.map(|(key, value)| format!("{key}={value}")).join(";")
}

const APPLIANCE: [(&str, &str); 3] = [
    (
        "melv.appliance",
        concat!(
            r#"{"version":1,"memory_bytes":134217728,"cpus":1,"ports":["80/tcp"],"data":[],"#,
            r#""firmware":["uefi","bios"],"network":"dhcp","services":[{"name":"nginx","ready":"http :80/"}],"#,
            r#""secrets":[],"kernel":"6.1.0-1-cloud-amd64","suite":"bookworm","packages":[]}"#
        ),
    ),
    (
        "melv.boot",
        concat!(
            r#"{"version":1,"kernel":{"offset":2363392,"length":4096,"blake3":"#,
            r#""0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"},"#,
            r#""command_line":"root=PARTUUID=0f0f0f0f-0102-8000-8000-000000000003","#,
            r#""root_partuuid":"0f0f0f0f-0102-8000-8000-000000000003"}"#
        ),
    ),
    ("melv.lock", "sha256:0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"),
];

fn bad_manifests() -> Vec<Vector> {
    let sound = two_lists().encode();
    let end = sound.len();
    let at = |at: usize, bytes: &[u8]| patch(&sound, at, bytes);
    let swapped_lists = [&sound[..192], &sound[240..288], &sound[192..240], &sound[288..]].concat();
    let swapped_keys = [&sound[..end - 20], &sound[end - 10..], &sound[end - 20..end - 10]].concat();
    let invalid = |name, note, bytes| Vector::invalid(name, "manifest", "7.1", note, bytes);
    vec![
        invalid("disk-size--odd", "no multiple of 512", at(40, &513u64.to_le_bytes())),
        invalid("disk-size--large", "2^63 bytes", at(40, &(1u64 << 63).to_le_bytes())),
        invalid("leaf-bits", "16 where the size demands 24", at(36, &[16])),
        invalid("sector-bits--order", "logical above physical", at(34, &[12, 9])),
        invalid("sector-bits--small", "sectors of 256 bytes", at(34, &[8])),
        invalid("reserved--geometry", "byte 37", at(37, &[1])),
        invalid("reserved--list", "the four bytes in a list's record", at(228, &[1])),
        invalid("reserved--writer-mask", "a writer mask where there is none", at(20, &[1])),
        invalid("data-blocks--many", "more than the disk has blocks", at(48, &(1u64 << 39).to_le_bytes())),
        invalid("data-blocks--none", "no data, but a map", at(48, &[0; 8])),
        invalid("data-blocks--no-map", "data, but no map", at(88, &[0; 32])),
        invalid("data-blocks--no-spans", "data, but no span table", at(120, &[0; 32])),
        invalid("list-order--swapped", "descending", swapped_lists),
        invalid("list-order--twice", "one list twice", at(240, &[5; 32])),
        invalid("metadata-order--swapped", "descending", swapped_keys),
        invalid("metadata-order--twice", "one key twice", at(end - 2, b"a")),
        invalid("text--key", "a capital letter in a key", at(end - 2, b"B")),
        invalid("text--value", "a value that is not UTF-8", at(end - 1, &[0xff])),
        invalid("text--empty", "an empty key", at(end - 20, &[0])),
        invalid("chunk-blocks", "three blocks to a chunk", at(224, &[3])),
        invalid("chunk-blocks--large", "2048 blocks to a chunk", at(224, &2048u32.to_le_bytes())),
        invalid("empty-list", "a list of no blocks", at(232, &[0; 8])),
        invalid(
            "limit--list-blocks",
            "2^40 + 8 blocks in a list",
            at(232, &((1u64 << 40) + 8).to_le_bytes()),
        ),
        invalid(
            "limit--list-chunks",
            "2^24 + 1 chunks in a list",
            at(232, &((1u64 << 27) + 8).to_le_bytes()),
        ),
        invalid("limit--lists", "65,537 lists", at(184, &65_537u32.to_le_bytes())),
        invalid("limit--room", "1000 lists declared where two are", at(184, &1000u32.to_le_bytes())),
        invalid("limit--metadata", "a value of 128 KiB declared", at(end - 6, &(128u32 << 10).to_le_bytes())),
        invalid("trailing-bytes", "a byte after the last value", fit(longer(&sound, &[0]))),
        invalid("truncated", "the last value is cut", fit(sound[..end - 1].to_vec())),
    ]
}

fn records() -> Vec<Vector> {
    const KIND: &str = "record";
    let parts = parts::sound();
    let sound = parts.record.clone();
    let places = 96 + parts.manifest.encode().len();
    let invalid =
        |name, note, bytes| Vector::invalid(name, KIND, "7.2", note, bytes).with("image", parts.image);
    let sealed = |at: usize, bytes: &[u8]| seal_record(&patch(&sound, at, bytes));
    let number = |number: u32| number.to_le_bytes();
    let of_base = [&number(u32::MAX)[..], &[0; 12]].concat();
    vec![
        Vector::valid("one-leaf", KIND, "7.2", "the record of parts.store", sound.clone())
            .with("image", parts.image)
            .gives("content", parts.content)
            .gives("files", 1)
            .gives("map_place", format!("0:100+{}", parts.leaf.len()).as_str())
            .gives("span_place", format!("0:32+{}", parts.span_page.len()).as_str()),
        invalid("page-place", "page file 1 of 1", sealed(places + 32, &number(1))),
        invalid("page-place--of-base", "a page left to a base", sealed(places + 32, &of_base)),
        invalid("limit--page", "a page of 8 MiB and a byte", sealed(places + 36, &number((8 << 20) + 1))),
        invalid("checksum", "an offset changed", patch(&sound, places + 40, &[99])),
        invalid("body-length", "a byte more than declared", longer(&sound, &[0])),
        invalid("body-length--parts", "the lengths do not add up", sealed(40, &number(67))),
        invalid("reserved", "the eight bytes before the checksum", sealed(56, &[1])),
        invalid("limit--files", "65,537 page files", patch(&sound, 44, &number(65_537))),
        invalid("limit--leaves", "8,193 leaves", patch(&sound, 48, &number(8_193))),
        invalid(
            "limit--manifest",
            "a manifest of more than 4 MiB",
            patch(&sound, 32, &number((4 << 20) + 1)),
        ),
        invalid("truncated", "less than a head", fit(sound[..80].to_vec())),
        Vector::invalid("page-digest", KIND, "7.2", "stored under another image id", sound.clone())
            .with("image", made_up::<ImageId>(9)),
    ]
}
