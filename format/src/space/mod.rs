//! Where the bytes are: what images hold, what the store keeps, what nobody needs any more.
//!
//! # Dead bytes
//!
//! A byte is **dead** if it belongs to a frame, a page, a list, a locator or a record, and no image that
//! has a name needs it.
//!
//! | object | needed | dead otherwise |
//! |---|---|---|
//! | record | that of an image with a name | the whole file |
//! | list, and its locator | those that the manifest of such an image names | the whole file |
//! | page file | the pages that the record of such an image places | those pages; where no page is needed, the whole file |
//! | pack | the frames that hold a block which such an image uses | those frames; where no frame is needed, the whole file |
//!
//! A frame is a range of a pack. It is needed whichever list's locator places it, and counts once where
//! several do; one that no locator places is not needed. Of a chunk held in several partial frames, each
//! is needed for the blocks that it holds itself. A frame or a page is needed whole or not at all.
//!
//! What holds frames and pages together goes with the last of them: the head, the index and the trailer
//! of a pack, and the header of a page file, are dead where nothing in the file is needed, and are not
//! counted as long as something is. The records of a locator and the ids of a list, too, are needed
//! together or not at all. The store's header, references, the locks, the folders of writers at work and the
//! block index are never dead.
//!
//! | module | idea |
//! |---|---|
//! | here | the store's files and images, added up |
//! | `needed` | which objects, frames and pages images need |
//! | `ranges` | a set of bytes of an object |

mod needed;
mod ranges;

use std::collections::{BTreeMap, BTreeSet};

use self::needed::Needed;
use crate::digest::Digest;
use crate::error::{Error, Result, StoreError};
use crate::image::{BlockSet, Image};
use crate::limits::{BLOCK_LEN, TABLE_PAGE_RECORDS};
use crate::ondisk::header::HEADER_LEN;
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
    /// Bytes of frames, pages, lists, locators and records that no image with a name needs; the module's
    /// text has the rule.
    pub dead_bytes: u64,
    /// What the next collection would free. There is none yet: the same as `dead_bytes`.
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
    /// Takes stock. Reads all metadata, and of chunks that are held in several partial frames these.
    /// Memory: 16 bytes for each run of blocks that images use, or about a bit for each block of their
    /// lists, whichever is less; 16 bytes for each run of frames and pages in use that lie together.
    ///
    /// # Errors
    /// Damage of metadata: what cannot be read cannot be counted.
    pub fn space(&self) -> Result<Space> {
        let shared = &self.shared;
        shared.forget_lists();
        let listed =
            shared.storage.list("").map_err(|error| Error::io("list", shared.storage.place(), error))?;
        let mut space = Space::default();
        let mut frames = BTreeMap::new();
        for object in &listed {
            if folder(object) == names::INDEX {
                add(&mut space.index_bytes, object.len);
                continue;
            }
            add(&mut space.stored_bytes, object.len);
            if folder(object) == names::PACKS {
                frames.insert(object.name.as_str(), frames_len(shared, object)?);
            } else if folder(object) == names::LISTS
                && let Some(id) = names::digest_of(&object.name)
            {
                let blocks = held_blocks(shared, &*shared.list(&id, None)?)?;
                add(&mut space.unique_bytes, blocks * BLOCK_LEN as u64);
            }
        }
        let frames_bytes = frames.values().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
        space.metadata_bytes = space.stored_bytes.saturating_sub(frames_bytes);
        let mut needed = self.needed(&mut space)?;
        for object in &listed {
            let frames_len = frames.get(object.name.as_str()).copied().unwrap_or_default();
            add(&mut space.dead_bytes, dead_bytes(object, frames_len, &mut needed));
        }
        space.reclaimable_bytes = space.dead_bytes;
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

    /// Counts the images that have a name; gives what they need. Called when the objects were listed: what
    /// comes into the store since then is no part of the sum.
    fn needed(&self, space: &mut Space) -> Result<Needed> {
        let mut images = BTreeSet::new();
        for (_, named) in self.references()? {
            images.insert(named?.image);
        }
        let mut needed = Needed::default();
        for id in images {
            let image = self.image_by_id(id)?;
            space.images += 1;
            add(&mut space.logical_bytes, image.manifest().geometry.size_bytes);
            add(&mut space.data_bytes, image.manifest().data_blocks.saturating_mul(BLOCK_LEN as u64));
            needed.add_image(&image)?;
        }
        needed.add_frames(&self.shared)?;
        Ok(needed)
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
    let opened =
        shared.storage.open(&object.name).map_err(|error| StoreError::unopened(&object.name, error))?;
    let tail_len = pack::TRAILER_LEN.min(opened.len());
    let tail = crate::store::read_range(opened.as_ref(), &object.name, opened.len() - tail_len, tail_len)?;
    let trailer = pack::decode_trailer(&tail, opened.len())
        .map_err(|fault| StoreError::corrupt(&object.name, opened.len() - tail_len, fault))?;
    Ok(trailer.frames_len)
}

/// Bytes of an object that are dead; `frames_len` are those of a pack's frames.
fn dead_bytes(object: &Listed, frames_len: u64, needed: &mut Needed) -> u64 {
    let Some(id) = names::digest_of(&object.name) else { return 0 };
    // Where none of the bytes of frames or pages is needed, the file is not.
    let rest = |bytes: u64, len: u64| if bytes == 0 { object.len } else { len.saturating_sub(bytes) };
    match folder(object) {
        names::MANIFESTS if !needed.has_record(&id) => object.len,
        names::LISTS | names::LOCATORS if !needed.has_list(&id) => object.len,
        names::PAGES => {
            let start = HEADER_LEN as u64;
            rest(needed.page_bytes(&id, start, object.len), object.len.saturating_sub(start))
        }
        names::PACKS => {
            let start = pack::FRAMES_OFFSET;
            rest(needed.frame_bytes(&id, start, start.saturating_add(frames_len)), frames_len)
        }
        _ => 0,
    }
}
