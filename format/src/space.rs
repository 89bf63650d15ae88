//! Where the bytes are: what images hold, what the store keeps, what a collection would free.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{BlockSet, Image, ListBlocks};
use crate::limits::{BLOCK_LEN, TABLE_PAGE_RECORDS};
use crate::ondisk::pack;
use crate::storage::Listed;
use crate::store::list::List;
use crate::store::{self, Store, names};

/// A store's space, in bytes but for the first.
///
/// Of a bundle, lists and locators count as long as they would be in a store, bytes included that the
/// bundle does not have. Lengths are what metadata claims: sums of claims beyond 64 bits stay at the
/// greatest number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Images that have a name.
    pub images: u64,
    /// Their disks' sizes together.
    pub logical_bytes: u64,
    /// Their blocks that are not zero.
    pub data_bytes: u64,
    /// Different blocks in the store.
    pub unique_bytes: u64,
    /// All files of the store but the index.
    pub stored_bytes: u64,
    /// Those of them that are not frames.
    pub metadata_bytes: u64,
    /// The block index.
    pub index_bytes: u64,
    /// What no named image needs.
    pub reclaimable_bytes: u64,
}

/// What an image has in common with another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The other image.
    pub image: Digest,
    /// Bytes of different blocks that both use.
    pub bytes: u64,
}

impl Store {
    /// Takes stock. Reads all metadata; memory: 16 bytes for each run of chunks that images use, or a
    /// bit for each of their blocks, whichever is less.
    ///
    /// # Errors
    /// Damage of metadata: what cannot be read cannot be counted.
    pub fn space(&self) -> Result<Space> {
        let shared = &self.shared;
        shared.forget_lists();
        let listed =
            shared.storage.list("").map_err(|error| Error::io("list", shared.storage.place(), error))?;
        let mut space = Space::default();
        let mut frames_bytes = 0;
        for object in &listed {
            if folder(object) == names::INDEX {
                add(&mut space.index_bytes, object.len);
                continue;
            }
            add(&mut space.stored_bytes, object.len);
            if folder(object) == names::PACKS {
                add(&mut frames_bytes, frames_len(shared, object)?);
            } else if folder(object) == names::LISTS
                && let Some(id) = names::digest_of(&object.name)
            {
                let blocks = held_blocks(shared, &*shared.list(&id, None)?)?;
                add(&mut space.unique_bytes, blocks * BLOCK_LEN as u64);
            }
        }
        space.metadata_bytes = space.stored_bytes.saturating_sub(frames_bytes);
        let (used, needed) = self.count_images(&mut space)?;
        space.reclaimable_bytes = reclaimable(shared, &listed, &used, &needed)?;
        Ok(space)
    }

    /// What `image` has in common with each other image that has a name, in ascending order of ids.
    /// Reads all their maps; memory: 16 bytes for each extent of two images, or a bit for each block of
    /// their lists, whichever is less.
    ///
    /// # Errors
    /// Damage of a map.
    pub fn sharing(&self, image: &Image) -> Result<Vec<Shared>> {
        let mine = BlockSet::of([image])?;
        let mut others = BTreeSet::new();
        for (_, named) in self.references()? {
            others.insert(named?.image);
        }
        others.remove(&image.id());
        others
            .into_iter()
            .map(|id| {
                Ok(Shared {
                    image: id,
                    bytes: mine.common(&BlockSet::of([&self.image_by_id(id)?])?) * BLOCK_LEN as u64,
                })
            })
            .collect()
    }

    /// Counts the named images; gives the chunks and the objects that they need.
    fn count_images(&self, space: &mut Space) -> Result<(BlockSet, BTreeSet<String>)> {
        let mut images = BTreeSet::new();
        for (_, named) in self.references()? {
            images.insert(named?.image);
        }
        let (mut used, mut needed) = (BlockSet::default(), BTreeSet::new());
        for id in images {
            let image = self.image_by_id(id)?;
            space.images += 1;
            add(&mut space.logical_bytes, image.manifest().geometry.size_bytes);
            add(&mut space.data_bytes, image.manifest().data_blocks.saturating_mul(BLOCK_LEN as u64));
            needed.insert(names::object(names::MANIFESTS, &id));
            needed.extend(image.record.places.files.iter().map(|file| names::object(names::PAGES, file)));
            used.add_chunks(&image)?;
        }
        Ok((used, needed))
    }
}

fn add(sum: &mut u64, bytes: u64) {
    *sum = sum.saturating_add(bytes);
}

fn folder(object: &Listed) -> &str {
    object.name.split('/').next().unwrap_or_default()
}

/// Blocks of a list that the store holds.
fn held_blocks(shared: &store::Shared, list: &List) -> Result<u64> {
    let locator = list.locator()?;
    if !locator.root.in_part {
        return Ok(list.shape.blocks);
    }
    let mut blocks = 0;
    for page in 0..list.shape.pages() {
        // Absent bytes, maybe, and very many of them.
        if locator.is_empty_page(shared, page)? {
            continue;
        }
        for chunk in chunks_of(list, page) {
            blocks += match locator.record(shared, chunk)? {
                record if record.is_whole() => u64::from(list.shape.blocks_of(chunk)),
                record if record.is_absent() => 0,
                _ => shared.held(list, chunk)?.iter().map(|bits| u64::from(bits.count_ones())).sum(),
            };
        }
    }
    Ok(blocks)
}

/// The chunks of a page of a list.
fn chunks_of(list: &List, page: u64) -> std::ops::Range<u64> {
    let first = page * TABLE_PAGE_RECORDS;
    first..(first + TABLE_PAGE_RECORDS).min(list.shape.chunks())
}

/// Bytes of a pack's frames.
fn frames_len(shared: &store::Shared, object: &Listed) -> Result<u64> {
    // Not one of those that are kept open: they all had their heads checked.
    let opened = shared.storage.open(&object.name).map_err(|error| Error::io("open", &object.name, error))?;
    let tail_len = pack::TRAILER_LEN.min(opened.len());
    let tail = crate::store::read_range(opened.as_ref(), &object.name, opened.len() - tail_len, tail_len)?;
    let trailer = pack::decode_trailer(&tail, opened.len())
        .map_err(|fault| Error::corrupt(&object.name, opened.len() - tail_len, fault))?;
    Ok(trailer.frames_len)
}

/// Bytes of unused frames, and of objects that no named image needs.
fn reclaimable(
    shared: &std::sync::Arc<store::Shared>,
    listed: &[Listed],
    used: &BlockSet,
    needed: &BTreeSet<String>,
) -> Result<u64> {
    let mut bytes = 0;
    let mut located = BTreeSet::new();
    for object in listed {
        let id = names::digest_of(&object.name);
        match (folder(object), id) {
            (names::LISTS, Some(id)) => {
                let list = shared.list(&id, None)?;
                add(&mut bytes, unused_frames(shared, &list, used.list(&id))?);
                located.extend(list.locator()?.root.packs.iter().copied());
                add(&mut bytes, if used.list(&id).is_some() { 0 } else { object.len });
            }
            (names::LOCATORS, Some(id)) if used.list(&id).is_none() => add(&mut bytes, object.len),
            (names::MANIFESTS | names::PAGES, _) if !needed.contains(&object.name) => {
                add(&mut bytes, object.len);
            }
            _ => {}
        }
    }
    let packs = listed.iter().filter(|object| folder(object) == names::PACKS);
    let lost = packs.filter(|pack| names::digest_of(&pack.name).is_none_or(|id| !located.contains(&id)));
    lost.for_each(|pack| add(&mut bytes, pack.len));
    Ok(bytes)
}

fn unused_frames(shared: &store::Shared, list: &List, used: Option<&ListBlocks>) -> Result<u64> {
    let locator = list.locator()?;
    let is_used = |chunk: &u64| used.is_some_and(|used| used.has_any_of(*chunk));
    let mut bytes = 0;
    for page in 0..list.shape.pages() {
        if locator.is_empty_page(shared, page)? {
            continue;
        }
        for chunk in chunks_of(list, page).filter(|chunk| !is_used(chunk)) {
            let place = locator.record(shared, chunk)?;
            bytes += if place.is_absent() { 0 } else { u64::from(place.len) };
        }
    }
    Ok(bytes)
}
