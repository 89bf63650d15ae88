//! Rebuilds a damaged list from its log in the block index. The block digests hash to the chunk ids,
//! these to the pages, these to the root, and the root to the list id. So the id proves the result.

use std::sync::Arc;

use super::replace::replace;
use crate::digest::{
    BlockDigest, ChunkId, DIGEST_LEN, ListId, LogKey, chunk_ids, object_digest, page_digest,
};
use crate::error::{BlockError, ErrorKind, Result};
use crate::index;
use crate::limits::{CHUNK_BLOCKS_MAX, TABLE_PAGE_RECORDS};
use crate::ondisk::list::{ListRoot, ListShape};
use crate::storage::ReadAt;
use crate::store::list::load_root_by_trailer;
use crate::store::merge::OwnList;
use crate::store::stage::Stage;
use crate::store::{StoreInner, names, read_range};
use crate::write::copy_list;

/// Rebuilds list `id` if it is damaged. Returns whether it did.
pub(super) fn heal(shared: &Arc<StoreInner>, id: &ListId) -> Result<bool> {
    if is_sound(shared, id)? {
        return Ok(false);
    }
    let name = index::log_name(&LogKey::of_whole(id));
    let Ok(log) = shared.storage.open(&name) else { return Ok(false) };
    let Some(root) = root_of_log(log.as_ref(), &name, id)? else { return Ok(false) };
    let stage = Stage::begin(shared)?;
    let mut ids = Vec::new();
    let moved = copy_list(&stage, id, &root.shape, &root.encode(), |page| {
        read_ids(log.as_ref(), &name, &root.shape, page, &mut ids)?;
        Ok(Some(ids.iter().flat_map(|id| *id.as_bytes()).collect::<Vec<u8>>().into()))
    })?;
    let over = OwnList::locator_now(shared, id, Some(root.shape))?;
    Ok(replace(&stage, id, root.shape, over, &[&vec![moved]])?.is_some())
}

/// Whether root and pages are sound. A list held in part may lack pages.
fn is_sound(shared: &Arc<StoreInner>, id: &ListId) -> Result<bool> {
    let name = names::list(id);
    let look = || -> Result<bool> {
        let object = shared.reader.objects.open_anew(&name)?;
        let root = load_root_by_trailer(object.as_ref(), &name, id)?;
        for (page, expected) in (0..).zip(&root.pages) {
            let bytes = read_range(object.as_ref(), &name, page_offset(page), page_len(&root.shape, page))?;
            if page_digest(&bytes) != *expected && bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    match look() {
        Err(error) if error.is_transient() => Err(error),
        // The root's digest is checked before its required features, so a newer melv wrote this root.
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(true),
        looked => Ok(looked.unwrap_or(false)),
    }
}

fn page_offset(page: u64) -> u64 {
    page * TABLE_PAGE_RECORDS * DIGEST_LEN as u64
}

fn page_len(shape: &ListShape, page: u64) -> u64 {
    (shape.chunks() - page * TABLE_PAGE_RECORDS).min(TABLE_PAGE_RECORDS) * DIGEST_LEN as u64
}

/// Returns the root of list `id` if the log is complete and belongs to it. The log does not record the
/// number of blocks per chunk, so this tries each size until the id matches.
fn root_of_log(log: &dyn ReadAt, name: &str, id: &ListId) -> Result<Option<ListRoot>> {
    let digest_len = DIGEST_LEN as u64;
    if !log.len().is_multiple_of(digest_len) {
        return Ok(None);
    }
    let blocks = log.len() / digest_len;
    let sizes = (0..=CHUNK_BLOCKS_MAX.ilog2()).map(|bits| 1 << bits);
    let mut ids = Vec::new();
    // Try the default first.
    let mut shapes: Vec<_> = sizes.map(|chunk_blocks| ListShape { chunk_blocks, blocks }).collect();
    shapes.sort_by_key(|shape| shape.chunk_blocks.abs_diff(crate::limits::CHUNK_BLOCKS_DEFAULT));
    for shape in shapes.into_iter().filter(|shape| shape.check().is_ok()) {
        let mut pages = Vec::new();
        for page in 0..shape.pages() {
            read_ids(log, name, &shape, page, &mut ids)?;
            pages.push(page_digest(&ids.iter().flat_map(|id| *id.as_bytes()).collect::<Vec<u8>>()));
        }
        let root = ListRoot { shape, pages };
        if object_digest(&root.encode()) == id.digest() {
            return Ok(Some(root));
        }
    }
    Ok(None)
}

/// Computes the chunk ids of a page from the digests of its blocks.
fn read_ids(
    log: &dyn ReadAt,
    name: &str,
    shape: &ListShape,
    page: u64,
    ids: &mut Vec<ChunkId>,
) -> Result<()> {
    ids.clear();
    let page_blocks = TABLE_PAGE_RECORDS * u64::from(shape.chunk_blocks);
    let mut block = page * page_blocks;
    let end = (block + page_blocks).min(shape.blocks);
    // Read in pieces of whole chunks: a page of the largest chunks has a million blocks.
    let piece_blocks = u64::from(shape.chunk_blocks).max(4096);
    while block < end {
        let count = piece_blocks.min(end - block);
        let bytes = read_range(log, name, block * DIGEST_LEN as u64, count * DIGEST_LEN as u64)?;
        let digests: Vec<_> = bytes.as_chunks().0.iter().copied().map(BlockDigest::from_bytes).collect();
        let mut found = Vec::new();
        chunk_ids(&digests, shape.chunk_blocks as usize, &mut found);
        ids.extend(found);
        block += count;
    }
    if ids.is_empty() {
        return Err(BlockError::Limit { what: "pages of a list", found: page, max: shape.pages() }.into());
    }
    Ok(())
}
