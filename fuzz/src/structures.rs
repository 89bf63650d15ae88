//! Objects that are decoded whole: accepted bytes are the only encoding of their value.

use melv::fuzzing;
use melv::ondisk::digest_table;
use melv::ondisk::header::{self, Kind};
use melv::ondisk::manifest::Manifest;
use melv::ondisk::map_leaf::{Extent, MapLeaf};
use melv::ondisk::record::{self, HEAD_LEN, Places, RecordHead};
use melv::ondisk::reference::Reference;
use melv::ondisk::store_header;

use crate::seal::sealed;

const KINDS: [Kind; 14] = [
    Kind::Bundle,
    Kind::BundleTable,
    Kind::Store,
    Kind::Reference,
    Kind::Manifest,
    Kind::Record,
    Kind::MapRoot,
    Kind::MapLeaf,
    Kind::SpanRoot,
    Kind::SpanPage,
    Kind::List,
    Kind::Locator,
    Kind::Pack,
    Kind::PageFile,
];
const NAME: &str = "web:latest";

/// Checks an encoder against its decoder. Minor version, ignore mask and a store's writer mask may have any
/// value; writers of this version leave them zero.
pub(crate) fn canonical(bytes: &[u8], what: &str, encoded: Option<Vec<u8>>) {
    let Some(encoded) = encoded else { return };
    let is_of_this_version =
        bytes[9] == 0 && bytes[16..20] == [0; 4] && (what != "store" || bytes[20..24] == [0; 4]);
    if is_of_this_version {
        assert_eq!(encoded, bytes, "{what}: two encodings of one value");
    }
}

/// Calls `decode` with the bytes as they are, and with their digests recomputed.
pub(crate) fn as_is_and_sealed(data: &[u8], decode: impl Fn(&[u8])) {
    decode(data);
    decode(&sealed(data));
}

/// Checks headers of all kinds, the store's header, references, and the three kinds of digest tables.
pub fn objects(data: &[u8]) {
    as_is_and_sealed(data, |bytes| {
        let whole = KINDS.iter().filter(|kind| header::decode_whole(**kind, bytes).is_ok()).count();
        assert!(whole <= 1, "an object of two kinds");
        canonical(bytes, "store", store_header::decode(bytes).ok().map(|_| store_header::encode()));
        let reference = Reference::decode(bytes, NAME).ok();
        assert!(reference.as_ref().is_none_or(|reference| reference.name == NAME));
        canonical(bytes, "reference", reference.map(|reference| reference.encode()));
        for kind in [Kind::MapRoot, Kind::SpanRoot, Kind::SpanPage] {
            let entries = digest_table::decode(kind, bytes, 256).ok();
            if let Some(entries) = &entries {
                assert!(entries.windows(2).all(|pair| pair[0].index < pair[1].index));
                assert!(entries.iter().all(|entry| entry.index < 256));
            }
            canonical(bytes, "table", entries.map(|entries| digest_table::encode(kind, &entries)));
        }
    });
}

/// Checks manifests.
pub fn manifest(data: &[u8]) {
    as_is_and_sealed(data, |bytes| {
        let Ok(manifest) = Manifest::decode(bytes) else { return };
        assert!(manifest.lists.windows(2).all(|pair| pair[0].id < pair[1].id), "lists in order");
        let geometry = &manifest.geometry;
        assert!(geometry.size_bytes < 1 << 63 && geometry.size_bytes.is_multiple_of(512), "{geometry:?}");
        assert!(manifest.data_blocks <= geometry.size_bytes.div_ceil(4096), "{manifest:?}");
        canonical(bytes, "manifest", Some(manifest.encode()));
    });
}

/// Checks manifest records, head and places: all parts that a record's head describes lie inside the record.
pub fn record(data: &[u8]) {
    as_is_and_sealed(data, |bytes| {
        let len = bytes.len() as u64;
        for other in [0, u64::MAX] {
            assert!(RecordHead::decode(bytes, other).is_err(), "a record of another length");
        }
        let Ok(head) = RecordHead::decode(bytes, len) else { return };
        let part = |offset: u64, len: u64| &bytes[offset as usize..(offset + len) as usize];
        let coded = part(head.places_offset(), head.places_len());
        let roots = [
            part(HEAD_LEN, u64::from(head.manifest_len)),
            part(head.map_root_offset(), u64::from(head.map_root_len)),
            part(head.span_root_offset(), u64::from(head.span_root_len)),
        ];
        for has_base in [false, true] {
            let Ok(places) = Places::decode(coded, bytes, &head, has_base) else { continue };
            assert_eq!(places.map.len(), head.map_pages as usize);
            assert_eq!(places.span.len(), head.span_pages as usize);
            let [manifest, map_root, span_root] = roots;
            let encoded = record::encode(manifest, &places, map_root, span_root);
            canonical(bytes, "record", Some(encoded));
        }
    });
}

/// Checks map leaves: they are canonical, and the prepared leaf answers like a walk over its extents.
pub fn map_leaf(data: &[u8]) {
    let (leaf_bits, bytes) = data.split_first().map_or((0, data), |(first, rest)| (first % 8, rest));
    // Small leaves are prepared often, and their ends are near.
    let leaf_blocks = 1u64 << (6 + 2 * leaf_bits);
    as_is_and_sealed(bytes, |bytes| {
        let Ok(leaf) = MapLeaf::decode(bytes, leaf_blocks) else { return };
        canonical(bytes, "leaf", Some(leaf.encode()));
        if leaf_blocks <= 1 << 16 {
            answers_as_a_walk(leaf, leaf_blocks);
        }
    });
}

fn answers_as_a_walk(leaf: MapLeaf, leaf_blocks: u64) {
    let extents = leaf.extents.clone();
    let edges = extents.iter().flat_map(|extent| {
        [extent.start.saturating_sub(1), extent.start, (extent.start + extent.end()) / 2, extent.end()]
    });
    let mut blocks: Vec<u64> = edges.chain([0, leaf_blocks / 2, leaf_blocks - 1]).collect();
    blocks.retain(|block| *block < leaf_blocks);
    let runs = fuzzing::leaf_runs(leaf, leaf_blocks, &blocks);
    for (block, run) in blocks.into_iter().zip(runs) {
        assert_eq!(run, walk(&extents, block, leaf_blocks), "block {block}");
    }
}

/// Finds `block` by checking every extent.
fn walk(extents: &[Extent], block: u64, leaf_blocks: u64) -> (Option<(u32, u64)>, u64) {
    match extents.iter().find(|extent| extent.start <= block && block < extent.end()) {
        Some(extent) => (Some((extent.list, extent.source + block - extent.start)), extent.end() - block),
        None => {
            let next = extents.iter().map(|extent| extent.start).filter(|start| *start > block).min();
            (None, next.unwrap_or(leaf_blocks) - block)
        }
    }
}
