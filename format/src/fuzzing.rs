//! Entry points for the harness in `fuzz/`, built only with the feature `fuzzing`: pure code that is
//! otherwise private. This API is not stable.

use std::borrow::Cow;

use crate::fault::RuleViolation;
use crate::map::SearchableLeaf;
use crate::ondisk::map_leaf::MapLeaf;
use crate::units::LeafBlock;

pub use crate::index::fuzzing::segment;
pub use crate::store::fuzzing::{journal, object_of_reference, reference_of_object};

/// Decodes a page from its stored form.
///
/// # Errors
/// The fault found in it.
pub fn page_decode(stored: &[u8]) -> Result<Cow<'_, [u8]>, RuleViolation> {
    crate::codec::page::decode(stored)
}

/// Encodes a page into its stored form.
///
/// # Errors
/// Any zstd error.
pub fn page_encode(page: &[u8]) -> std::io::Result<Cow<'_, [u8]>> {
    crate::codec::page::encode(page)
}

/// Decodes a payload of one zstd frame into `plain`, which has the expected length.
///
/// # Errors
/// The fault found in it.
pub fn zstd_decode(payload: &[u8], plain: &mut [u8]) -> Result<(), RuleViolation> {
    crate::codec::Codec::Zstd.decode(payload, plain)
}

/// Looks up each of `blocks` in the leaf: the list's number in the leaf and the block there, and the length
/// of the run.
#[must_use]
pub fn leaf_runs(leaf: MapLeaf, leaf_blocks: u64, blocks: &[u64]) -> Vec<(Option<(u32, u64)>, u64)> {
    let leaf = SearchableLeaf::new(leaf, leaf_blocks);
    let run = |&block: &u64| {
        let run = leaf.run_at(LeafBlock(block));
        (run.source.map(|(list, source)| (list, source.0)), run.blocks)
    };
    blocks.iter().map(run).collect()
}
