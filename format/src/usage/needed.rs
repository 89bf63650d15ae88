//! The bytes that images need: objects, and ranges of packs and page files.

use std::collections::{BTreeMap, BTreeSet};

use super::ranges::ByteRanges;
use crate::digest::{ImageId, ListId, PackId, PageFileId};
use crate::error::Result;
use crate::image::{BlockSet, Image, ListBlocks};
use crate::ondisk::locator::FramePlace;
use crate::store::InStore;
use crate::store::Reader;
use crate::store::list::{List, Locator};

/// The bytes that some images need.
#[derive(Debug, Default)]
pub(super) struct Needed {
    records: BTreeSet<ImageId>,
    /// Lists, each together with its locator.
    lists: BTreeSet<ListId>,
    pages: BTreeMap<PageFileId, ByteRanges>,
    frames: BTreeMap<PackId, ByteRanges>,
    blocks: BlockSet,
}

impl Needed {
    /// Adds the record of `image`, its pages and its lists, and collects its blocks.
    pub fn add_image(&mut self, image: &Image) -> Result<()> {
        let record = &image.record;
        self.records.insert(record.id);
        self.lists.extend(record.manifest.lists.iter().map(|list| list.id));
        for place in record.places.map.iter().chain(&record.places.span) {
            // A page that a bundle leaves to its base is in no file.
            if let Some(file) = record.places.files.get(place.file as usize) {
                self.pages.entry(*file).or_default().add(place.offset, u64::from(place.len));
            }
        }
        self.blocks.add_image(image)
    }

    /// Adds the frames that hold the blocks collected so far, as given by the locators of their lists.
    pub fn add_frames(&mut self, reader: &Reader) -> Result<()> {
        self.blocks.merge();
        let blocks = std::mem::take(&mut self.blocks);
        for (id, blocks) in blocks.lists() {
            let list = reader.list(id, Some(blocks.shape))?;
            match list.locator() {
                // A bundle may leave the whole list to its base.
                Err(error) if error.is_absent() && reader.is_bundle() => {}
                locator => self.add_frames_of(reader, &list, &*locator?, blocks)?,
            }
        }
        Ok(())
    }

    fn add_frames_of(
        &mut self,
        reader: &Reader,
        list: &List,
        locator: &Locator,
        blocks: &ListBlocks,
    ) -> Result<()> {
        for used in blocks.chunks() {
            let first = locator.record(&reader.objects, used.chunk)?;
            if first.is_absent() {
                // The chunk is in a bundle's base, or lost; reporting a loss is up to verify.
                continue;
            }
            // A single frame holds everything available of the chunk.
            if first.is_whole() || first.next == 0 {
                self.add_frame(locator, &first);
                continue;
            }
            // Frames of a chunk share no blocks, so each is needed or not on its own.
            for place in list.chain(locator, used.chunk) {
                let place = place?;
                let mask = reader.mask_of(list, locator, used.chunk, &place)?;
                if mask.iter().zip(&used.mask).any(|(held, used)| held & used != 0) {
                    self.add_frame(locator, &place);
                }
            }
        }
        Ok(())
    }

    /// Adds a frame. A frame placed by several locators counts once.
    fn add_frame(&mut self, locator: &Locator, place: &FramePlace) {
        if let Some(pack) = locator.root.packs.get(place.pack as usize) {
            self.frames.entry(*pack).or_default().add(u64::from(place.offset), u64::from(place.len));
        }
    }

    pub fn has_record(&self, id: &ImageId) -> bool {
        self.records.contains(id)
    }

    pub fn has_list(&self, id: &ListId) -> bool {
        self.lists.contains(id)
    }

    /// Counts the needed bytes of pack `id`, whose frames span bytes `start..end`.
    pub fn frame_bytes(&mut self, id: &PackId, start: u64, end: u64) -> u64 {
        self.frames.get_mut(id).map_or(0, |ranges| ranges.bytes_within(start, end))
    }

    /// Counts the needed bytes of page file `id`, whose pages span bytes `start..end`.
    pub fn page_bytes(&mut self, id: &PageFileId, start: u64, end: u64) -> u64 {
        self.pages.get_mut(id).map_or(0, |ranges| ranges.bytes_within(start, end))
    }
}
