//! Section 11: data that later versions may write, and this version's reaction to it.

use std::collections::BTreeMap;

use melv::digest::ChunkId;
use melv::ondisk::{pack, store_header};

use super::build::{
    ALGORITHM, IGNORE, MAJOR, MINOR, REFUSE, WRITER, block, fit, pack_of, patch, seal, whole, zstd_runs,
};
use super::draft::patch_head;
use super::table::Vector;
use super::{bundles, chunks, objects, parts, stores};

pub fn vectors() -> Vec<Vector> {
    [headers(), chunk_objects(), images(), objects_to_come(), whole_stores(), bundles()]
        .into_iter()
        .flatten()
        .collect()
}

fn bundles() -> Vec<Vector> {
    let bundle = bundles::whole().bundle();
    let (sound, table) = (bundle.bytes(), bundle.table.encode());
    let kind = patch(&table, 48, &[5]);
    let of = |file: &str, section, note, bytes| {
        Vector::future(file, "bundle", section, note, bytes).with("operation", "read").with("name", "")
    };
    vec![
        of("part", "10.1", "refuse mask bit 0: part n of m", patch_head(&sound, REFUSE, &[1]))
            .refused("refuse-bit"),
        of("key-slot", "10.1", "key slot 1", patch_head(&sound, 32, &[1])).refused("key-slot"),
        of("object-kind", "10.1", "object kind 5", bundle.with_table(&kind)).refused("object-kind"),
        of("table-refuse-bit", "10.1", "refuse mask bit 0", bundle.with_table(&patch(&table, REFUSE, &[1])))
            .refused("refuse-bit"),
        of(
            "minor",
            "11",
            "minor version 1, ignore mask bit 0",
            patch_head(&patch_head(&sound, MINOR, &[1]), IGNORE, &[1]),
        )
        .gives("image", parts::sound().image),
    ]
}

fn headers() -> Vec<Vector> {
    let sound = store_header::encode();
    let future = |name: &str, note, at: usize, bytes: &[u8]| {
        Vector::future(name, "store-header", "11", note, seal(&patch(&sound, at, bytes)))
    };
    vec![
        future("minor", "minor version 1", MINOR, &[1]).gives("writer_mask", 0),
        future("ignore-bit", "ignore mask bit 31", IGNORE + 3, &[0x80]).gives("writer_mask", 0),
        future("writer-bit", "writer mask bit 0", WRITER, &[1]).gives("writer_mask", 1),
        future("major", "major version 2", MAJOR, &[2]).refused("version"),
        future("refuse-bit", "refuse mask bit 31", REFUSE + 3, &[0x80]).refused("refuse-bit"),
        future("digest-algorithm", "digest algorithm 2", ALGORITHM, &[2]).refused("digest-algorithm"),
        future("domain", "a domain that keys digests", 32, &[1; 32]).refused("domain"),
        Vector::future(
            "ignore-bit",
            "reference",
            "11",
            "minor version 1, ignore mask bit 0",
            seal(&patch(&patch(&objects::reference(), MINOR, &[1]), IGNORE, &[1])),
        )
        .with("name", parts::NAME)
        .gives("created_seconds", parts::CREATED),
    ]
}

fn chunk_objects() -> Vec<Vector> {
    let frame = |name: &str, note, at: usize, number: u8| {
        let sound = whole(1, &zstd_runs(&[(0xa1, 4096)]));
        Vector::future(name, "frame", "6.3", note, patch(&sound, at, &[number])).with("blocks", 1)
    };
    let frames = [(ChunkId::new(parts::sound().list.digest()), whole(0, &block(1)[..100]))];
    let (slotted, _) = pack_of(&patch(&pack::encode_head(), 32, &[1]), &frames);
    let target = |name: &str, note, number: u8| {
        let bytes = seal(&patch(&chunks::locator_root(), 88, &[number]));
        Vector::future(name, "locator-root", "6.5", note, bytes).refused("target-kind")
    };
    vec![
        frame("transform-encrypted", "transform 1: encrypted", 1, 1).refused("transform"),
        frame("codec", "codec 2", 0, 2).refused("codec"),
        Vector::future("key-slot", "pack", "6.2", "key slot 1", slotted).refused("key-slot"),
        target("target-file", "target kind 1: a file", 1),
        target("target-bundle", "target kind 2: a bundle", 2),
        target("target-url", "target kind 3: a URL", 3),
        Vector::future(
            "block-bits",
            "list-root",
            "6.1",
            "blocks of 64 KiB",
            patch(&chunks::list_root(), 32, &[16]),
        )
        .refused("block-bits"),
    ]
}

fn images() -> Vec<Vector> {
    let manifest = objects::two_lists().encode();
    let future = |name: &str, note, at: usize, bytes: &[u8]| {
        Vector::future(name, "manifest", "7.1", note, patch(&manifest, at, bytes))
    };
    let leaf = parts::sound().leaf;
    let mut keyed = objects::two_lists();
    keyed.metadata.insert("melv.later".into(), "anything".into());
    vec![
        future("image-set", "image kind 1: a set", 32, &[1]).refused("image-kind"),
        future("block-bits", "blocks of 64 KiB", 33, &[16]).refused("block-bits"),
        future("sector-bits", "physical sectors of 64 KiB", 35, &[16]).refused("sector-bits"),
        Vector::future("metadata-key", "manifest", "7.1", "a key of a later version", keyed.encode())
            .gives("metadata", "a=1;b=2;melv.later=anything"),
        Vector::future(
            "extent-kinds",
            "map-leaf",
            "7.4",
            "refuse mask bit 0: extents of other kinds",
            patch(&leaf, REFUSE, &[1]),
        )
        .with("leaf_blocks", 65_536)
        .refused("refuse-bit"),
    ]
}

/// Makes a header and a body of a kind without a layout so far.
fn to_come(kind: &'static str, name: &str, note: &'static str, magic: &[u8], body: &[u8]) -> Vector {
    let header = patch(&store_header::encode()[..32], 0, magic);
    let bytes = fit([&header, body].concat());
    Vector::future(name, kind, "11", note, bytes).refused("magic")
}

fn objects_to_come() -> Vec<Vector> {
    let image = *parts::sound().image.as_bytes();
    let signature = [&image[..], &1u32.to_le_bytes(), &4u32.to_le_bytes(), b"sig!"].concat();
    vec![
        to_come("signature", "detached", "subject, type, bytes", b"melvsign", &signature),
        to_come("trace", "boot", "keyed by an image id", b"melvtrac", &image),
    ]
}

fn whole_stores() -> Vec<Vector> {
    let parts = parts::sound();
    let header = seal(&patch(&store_header::encode(), WRITER, &[1]));
    let writer = || BTreeMap::from([("melv.store".to_owned(), header.clone())]);
    let more = [("signatures", "melvsign"), ("traces", "melvtrac")].map(|(folder, magic)| {
        let bytes = patch(&store_header::encode()[..32], 0, magic.as_bytes());
        (format!("{folder}/{}", parts.image), bytes)
    });
    vec![
        stores::over("future/writer-bit-read", "11", "a writer bit does not stop a reader", writer())
            .with("operation", "read")
            .with("name", parts::NAME)
            .gives("image", parts.image),
        stores::over("future/writer-bit-write", "11", "a writer bit stops a writer", writer())
            .with("operation", "write")
            .with("name", parts::NAME)
            .refused("writer-bit"),
        stores::over("future/more-folders", "11", "folders of a later version", BTreeMap::from(more))
            .with("operation", "read")
            .with("name", parts::NAME)
            .gives("image", parts.image),
    ]
}
