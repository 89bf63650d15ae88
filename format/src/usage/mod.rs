//! Accounts for bytes: those held by images, kept by the store, or no longer needed.
//!
//! # Dead bytes
//!
//! A byte of a frame, a page, a list, a locator or a record is **dead** if no image with a name needs it.
//!
//! | object | needed | dead otherwise |
//! |---|---|---|
//! | record | the record of an image with a name | the whole file |
//! | list, and its locator | those named by the manifest of such an image | the whole file |
//! | page file | the pages that such an image's record places | other pages; whole file if none is needed |
//! | pack | the frames with a block of such an image | other frames; whole file if none is needed |
//!
//! A frame is a range of a pack. It is needed if any list's locator places it, and counts once even if
//! several do. A frame that no locator places is not needed. In a chunk held in several partial frames,
//! each frame is needed only for its own blocks. Frames and pages are needed whole or not at all.
//!
//! The head, index and trailer of a pack, and the header of a page file, are dead only if the rest of the
//! file is. Otherwise they are not counted. The records of a locator, and the ids of a list,
//! are also needed together or not at all. The store's header, references, locks, working folders of
//! writers and block index are never dead.
//!
//! | module | idea |
//! |---|---|
//! | here | sums over the store's files and images |
//! | `needed` | the objects, frames and pages that images need |
//! | `ranges` | a set of bytes of an object |

mod needed;
mod ranges;

use std::collections::{BTreeMap, BTreeSet};

use self::needed::Needed;
use crate::digest::{ImageId, ListId, PackId, PageFileId};
use crate::error::{Error, Result, StoreError};
use crate::image::{BlockSet, Image};
use crate::limits::{BLOCK_LEN, TABLE_PAGE_RECORDS};
use crate::ondisk::header::HEADER_LEN;
use crate::ondisk::pack;
use crate::storage::Listed;
use crate::store::list::List;
use crate::store::{Images, Reader, names};

/// A store's usage, in bytes except for `images`.
///
/// In a bundle, lists and locators count with their full length in a store, including bytes that the
/// bundle lacks. Lengths are claims of the metadata: sums beyond 64 bits saturate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// The number of images that have a name.
    pub images: u64,
    /// The total size of their disks.
    pub logical_bytes: u64,
    /// Their nonzero blocks.
    pub data_bytes: u64,
    /// Distinct blocks in the store.
    pub unique_bytes: u64,
    /// All files of the store except the index.
    pub stored_bytes: u64,
    /// The part of `stored_bytes` outside frames.
    pub metadata_bytes: u64,
    /// The block index.
    pub index_bytes: u64,
    /// Bytes of frames, pages, lists, locators and records that no image with a name needs. The module
    /// docs give the rule.
    pub dead_bytes: u64,
    /// The bytes that the next collection would free. There is no collection yet, so this equals
    /// `dead_bytes`.
    pub reclaimable_bytes: u64,
}

/// The data that an image shares with another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedWith {
    /// The other image.
    pub image: ImageId,
    /// Bytes of distinct blocks that both use.
    pub bytes: u64,
}

impl Images {
    /// Measures the store's usage. Reads all metadata, and the frames of chunks held in several partial
    /// frames. Memory: 16 bytes for each run of blocks that images use, or about a bit for each block of
    /// their lists, whichever is less. Another 16 bytes for each contiguous run of frames and pages in use.
    ///
    /// # Errors
    /// Damage in metadata: unreadable objects cannot be counted.
    pub fn usage(&self) -> Result<Usage> {
        let reader = self.reader();
        reader.lists.forget_all();
        let listed =
            reader.source().list("").map_err(|error| Error::io("list", reader.source().place(), error))?;
        let mut usage = Usage::default();
        let mut frames = BTreeMap::new();
        for object in &listed {
            if folder(object) == names::INDEX {
                add(&mut usage.index_bytes, object.len);
                continue;
            }
            add(&mut usage.stored_bytes, object.len);
            if folder(object) == names::PACKS {
                frames.insert(object.name.as_str(), frames_len(reader, object)?);
            } else if folder(object) == names::LISTS
                && let Some(id) = names::id_of(&object.name)
            {
                let blocks = held_blocks(reader, &*reader.list(&id, None)?)?;
                add(&mut usage.unique_bytes, blocks * BLOCK_LEN as u64);
            }
        }
        let frames_bytes = frames.values().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
        usage.metadata_bytes = usage.stored_bytes.saturating_sub(frames_bytes);
        let mut needed = self.needed(&mut usage)?;
        for object in &listed {
            let frames_len = frames.get(object.name.as_str()).copied().unwrap_or_default();
            add(&mut usage.dead_bytes, dead_bytes(object, frames_len, &mut needed));
        }
        usage.reclaimable_bytes = usage.dead_bytes;
        Ok(usage)
    }

    /// Returns the bytes that `image` shares with each other image with a name, in ascending order of
    /// ids. Reads all their maps. Memory: 16 bytes for each extent of two images, or a bit for each block
    /// of their lists, whichever is less.
    ///
    /// # Errors
    /// Damage in a map.
    pub fn sharing(&self, image: &Image) -> Result<Vec<SharedWith>> {
        let mine = BlockSet::of([image])?;
        let mut others = BTreeSet::new();
        for (_, named) in self.names()? {
            others.insert(named?.image);
        }
        others.remove(&image.id());
        others
            .into_iter()
            .map(|id| {
                Ok(SharedWith {
                    image: id,
                    bytes: mine.common(&BlockSet::of([&self.image_by_id(id)?])?) * BLOCK_LEN as u64,
                })
            })
            .collect()
    }

    /// Counts the images with a name, and returns the bytes they need. Called after the objects were
    /// listed: objects added to the store since then are not part of the sum.
    fn needed(&self, usage: &mut Usage) -> Result<Needed> {
        let mut images = BTreeSet::new();
        for (_, named) in self.names()? {
            images.insert(named?.image);
        }
        let mut needed = Needed::default();
        for id in images {
            let image = self.image_by_id(id)?;
            usage.images += 1;
            add(&mut usage.logical_bytes, image.manifest().geometry.size_bytes);
            add(&mut usage.data_bytes, image.manifest().data_blocks.saturating_mul(BLOCK_LEN as u64));
            needed.add_image(&image)?;
        }
        needed.add_frames(self.reader())?;
        Ok(needed)
    }
}

fn add(sum: &mut u64, bytes: u64) {
    *sum = sum.saturating_add(bytes);
}

fn folder(object: &Listed) -> &str {
    object.name.split('/').next().unwrap_or_default()
}

/// Counts the blocks of a list that the store holds.
fn held_blocks(reader: &Reader, list: &List) -> Result<u64> {
    let locator = list.locator()?;
    if !locator.root.in_part {
        return Ok(list.shape.blocks);
    }
    let mut blocks = 0;
    for page in 0..list.shape.pages() {
        // The page may be a hole, possibly a very long one.
        if locator.is_empty_page(&reader.objects, page)? {
            continue;
        }
        for chunk in chunks_of(list, page) {
            blocks += match locator.record(&reader.objects, chunk)? {
                record if record.is_whole() => u64::from(list.shape.blocks_of(chunk)),
                record if record.is_absent() => 0,
                _ => {
                    reader.blocks_present(list, chunk)?.iter().map(|bits| u64::from(bits.count_ones())).sum()
                }
            };
        }
    }
    Ok(blocks)
}

/// Returns the chunks of a page of a list.
fn chunks_of(list: &List, page: u64) -> std::ops::Range<u64> {
    let first = page * TABLE_PAGE_RECORDS;
    first..(first + TABLE_PAGE_RECORDS).min(list.shape.chunks())
}

/// Reads the length of a pack's frames, in bytes.
fn frames_len(reader: &Reader, object: &Listed) -> Result<u64> {
    // Bypass the cache of open objects: its entries had their heads checked, and this one needs no check.
    let opened =
        reader.source().open(&object.name).map_err(|error| StoreError::unopened(&object.name, error))?;
    let tail_len = pack::TRAILER_LEN.min(opened.len());
    let tail = crate::store::read_range(opened.as_ref(), &object.name, opened.len() - tail_len, tail_len)?;
    let trailer = pack::decode_trailer(&tail, opened.len())
        .map_err(|fault| StoreError::corrupt(&object.name, opened.len() - tail_len, fault))?;
    Ok(trailer.frames_len)
}

/// Counts the dead bytes of an object. `frames_len` is the length of a pack's frames.
fn dead_bytes(object: &Listed, frames_len: u64, needed: &mut Needed) -> u64 {
    let Some(digest) = names::digest_of(&object.name) else { return 0 };
    // A file without needed frames or pages is dead as a whole.
    let rest = |bytes: u64, len: u64| if bytes == 0 { object.len } else { len.saturating_sub(bytes) };
    match folder(object) {
        names::MANIFESTS if !needed.has_record(&ImageId::new(digest)) => object.len,
        names::LISTS | names::LOCATORS if !needed.has_list(&ListId::new(digest)) => object.len,
        names::PAGES => {
            let start = HEADER_LEN as u64;
            rest(
                needed.page_bytes(&PageFileId::new(digest), start, object.len),
                object.len.saturating_sub(start),
            )
        }
        names::PACKS => {
            let start = pack::FRAMES_OFFSET;
            rest(
                needed.frame_bytes(&PackId::new(digest), start, start.saturating_add(frames_len)),
                frames_len,
            )
        }
        _ => 0,
    }
}
