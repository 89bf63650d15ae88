//! Objects that are decoded whole: accepted bytes are the only encoding of their value.

use melv::fuzzing;
use melv::ondisk::map_leaf::{Extent, MapLeaf};
use melv_testing::seal::sealed;
use melv_testing::structures;

/// Calls `decode` with the bytes as they are, and with their digests recomputed.
pub(crate) fn as_is_and_sealed(data: &[u8], decode: impl Fn(&[u8])) {
    decode(data);
    decode(&sealed(data));
}

/// Checks headers of all kinds, the store's header, references, and the three kinds of digest tables.
pub fn objects(data: &[u8]) {
    as_is_and_sealed(data, structures::objects);
}

/// Checks manifests.
pub fn manifest(data: &[u8]) {
    as_is_and_sealed(data, structures::manifest);
}

/// Checks manifest records, head and places: all parts that a record's head describes lie inside the record.
pub fn record(data: &[u8]) {
    as_is_and_sealed(data, structures::record);
}

/// Checks map leaves: they are canonical, and the prepared leaf answers like a walk over its extents.
pub fn map_leaf(data: &[u8]) {
    let (leaf_bits, bytes) = data.split_first().map_or((0, data), |(first, rest)| (first % 8, rest));
    // Small leaves are prepared often, and their ends are near.
    let leaf_blocks = 1u64 << (6 + 2 * leaf_bits);
    as_is_and_sealed(bytes, |bytes| {
        let Some(leaf) = structures::map_leaf(bytes, leaf_blocks) else { return };
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
