//! Doors for the harness in `fuzz/`, with the feature `fuzzing` only: pure code that nothing else outside of the
//! crate may call. Nothing here is promised to stay.

use std::borrow::Cow;

use crate::fault::Fault;
use crate::map::SearchableLeaf;
use crate::ondisk::map_leaf::MapLeaf;

pub use crate::index::fuzzing::segment;
pub use crate::store::fuzzing::{journal, object_of_reference, reference_of_object};
pub use crate::vmdk::fuzzing::{Descriptor, vmdk_descriptor, vmdk_extent, vmdk_name_fault};

/// The page of a stored form.
///
/// # Errors
/// What is wrong with it.
pub fn page_decode(stored: &[u8]) -> Result<Cow<'_, [u8]>, Fault> {
    crate::codec::page::decode(stored)
}

/// The stored form of a page.
///
/// # Errors
/// Those of zstd.
pub fn page_encode(page: &[u8]) -> std::io::Result<Cow<'_, [u8]>> {
    crate::codec::page::encode(page)
}

/// Decodes a payload that is one zstd frame; `plain` has the length that it must have.
///
/// # Errors
/// What is wrong with it.
pub fn zstd_decode(payload: &[u8], plain: &mut [u8]) -> Result<(), Fault> {
    crate::codec::Codec::Zstd.decode(payload, plain)
}

/// Answers for each of `blocks` where the leaf has it (the leaf's number of the list and the block there), and
/// for how many blocks that holds.
#[must_use]
pub fn leaf_runs(leaf: MapLeaf, leaf_blocks: u64, blocks: &[u64]) -> Vec<(Option<(u32, u64)>, u64)> {
    let leaf = SearchableLeaf::new(leaf, leaf_blocks);
    let run = |&block: &u64| {
        let run = leaf.run_at(block);
        (run.source, run.blocks)
    };
    blocks.iter().map(run).collect()
}
