//! An image open for reading.

use std::sync::Arc;

use crate::digest::ImageId;
use crate::error::{Result, StoreError};
use crate::fault::RuleViolation;
use crate::limits::BLOCK_LEN;
use crate::map::LeafRun;
use crate::ondisk::manifest::Manifest;
use crate::ondisk::map_leaf::MapLeaf;
use crate::store::Pin;
use crate::store::list::List;
use crate::store::record::{LeafOf, Record};
use crate::store::{ImageRef, Images, Reader, names};
use crate::units::{ByteOffset, GuestBlock, LeafBlock};
use melv_block::{BlockDevice, Run, RunKind, SectorBits, check_range};

/// An open image. Clones share everything; any number of threads may read.
///
/// It holds the manifest and the map root (about 1 MiB at most); the cache accounts for everything else.
#[derive(Debug, Clone)]
pub struct Image {
    pub(crate) reader: Arc<Reader>,
    pub(crate) record: Arc<Record>,
}

impl Images {
    /// Opens an image: at most three dependent reads, and about 1 MiB.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] and [`StoreError::Ambiguous`] for the reference; damage of the image.
    pub fn image(&self, reference: &ImageRef) -> Result<Image> {
        let id = self.resolve(reference)?;
        match (self.image_by_id(id), reference) {
            // A name that refers to a missing image is damage, unlike an unknown id. But the name may have
            // been moved or removed, and the image with it, since it was resolved.
            (Err(error), ImageRef::Name(_)) if error.is_not_found() => match self.resolve(reference)? {
                now if now != id => self.image_by_id(now),
                _ => Err(StoreError::corrupt(names::manifest(&id), 0, RuleViolation::Missing)),
            },
            (opened, _) => opened,
        }
    }

    /// Opens the image with this id.
    ///
    /// # Errors
    /// The same as [`Images::image`].
    pub fn image_by_id(&self, id: ImageId) -> Result<Image> {
        let record = self.reader().record(id)?;
        Ok(Image { reader: self.reader().clone(), record: Arc::new(record) })
    }
}

impl Image {
    /// Keeps open every object that reading the image may need, for as long as the result lives: about one
    /// descriptor per 64 MiB stored, shared by all images that need the same object.
    ///
    /// # Errors
    /// Damage of a list's locator; objects that are missing.
    pub fn pin(&self) -> Result<Pin> {
        Pin::of(&self.reader, &self.record)
    }

    /// Returns the image id.
    #[must_use]
    pub fn id(&self) -> ImageId {
        self.record.id
    }

    /// Returns the manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.record.manifest
    }

    /// Returns the stored bytes of the map: its leaves and its root.
    #[must_use]
    pub fn map_bytes(&self) -> u64 {
        let leaves: u64 = self.record.places.map.iter().map(|place| u64::from(place.len)).sum();
        leaves + crate::ondisk::digest_table::encoded_len(self.record.map_root.len())
    }

    /// Returns the position of the entry of leaf `leaf` in the map root. A leaf of zeros has no entry: `None`.
    pub(crate) fn slot_of(&self, leaf: u64) -> Option<usize> {
        let root = &self.record.map_root;
        // Fast path: usually no earlier leaf is all zeros.
        match root.get(leaf as usize) {
            Some(entry) if u64::from(entry.index) == leaf => Some(leaf as usize),
            _ => root.binary_search_by(|entry| u64::from(entry.index).cmp(&leaf)).ok(),
        }
    }

    /// Calls `read` with the leaf that holds `block`, or `None` if it is all zeros, and the block's number
    /// within the leaf.
    #[inline]
    fn with_leaf<R>(
        &self,
        block: GuestBlock,
        read: impl FnOnce(Option<LeafOf<'_>>, LeafBlock) -> R,
    ) -> Result<R> {
        let (leaf, within) = block.in_leaf(self.record.leaf_bits);
        match self.slot_of(leaf) {
            Some(slot) => self.record.with_leaf(slot, |leaf| read(Some(leaf), within)),
            None => Ok(read(None, within)),
        }
    }

    /// Returns the list that a leaf calls `number`. The list itself may be absent here and present in a
    /// bundle's base.
    pub(crate) fn list_of(&self, leaf: &MapLeaf, number: u32) -> Result<Arc<List>> {
        let id = leaf.lists.get(number as usize).copied().unwrap_or_default();
        self.reader.list(&id, Some(self.record.list_shape(&id)?))
    }

    /// Fills `buf` from block `block` of leaf `leaf`, after `skip` bytes; returns the number of bytes filled.
    fn read_leaf(&self, leaf: LeafOf<'_>, block: LeafBlock, skip: usize, buf: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        let mut block = block;
        let mut skip = skip;
        let leaf_end = LeafBlock(1 << self.record.leaf_bits);
        while filled < buf.len() && block < leaf_end {
            let run = leaf.leaf.run_at(block);
            let run_bytes = run.blocks.saturating_mul(BLOCK_LEN as u64) - skip as u64;
            let len = usize::try_from(run_bytes).unwrap_or(usize::MAX).min(buf.len() - filled);
            let out = &mut buf[filled..filled + len];
            match run.source {
                None => out.fill(0),
                Some((number, source)) => {
                    self.read_list(self.record.list(leaf, number)?, source.start() + skip as u64, out)?;
                }
            }
            filled += len;
            block += run.blocks;
            skip = 0;
        }
        Ok(filled)
    }

    /// Fills `out` from byte `offset` of a list.
    fn read_list(&self, list: &List, mut offset: ByteOffset, mut out: &mut [u8]) -> Result<()> {
        let chunk_len = u64::from(list.shape.chunk_blocks) * BLOCK_LEN as u64;
        let end = ByteOffset(list.shape.blocks * BLOCK_LEN as u64);
        if offset + out.len() as u64 > end {
            let fault = RuleViolation::ExtentRange { block: offset.block().0, max: list.shape.blocks };
            return Err(StoreError::corrupt(list.object_name(), 0, fault));
        }
        while !out.is_empty() {
            let (chunk, within) = offset.in_chunk(chunk_len);
            let plain_len = list.shape.blocks_of(chunk) as usize * BLOCK_LEN;
            let is_whole = within == 0 && out.len() >= plain_len && !self.reader.keep_whole_chunks;
            // The list's last chunk may be short and still counts as whole.
            let is_last = offset + out.len() as u64 == end;
            let len = match is_whole {
                true if is_last => out.len(),
                true => out.len() - out.len() % chunk_len as usize,
                false => out.len().min(plain_len - within),
            };
            let (now, rest) = out.split_at_mut(len);
            if is_whole {
                self.reader.read_whole_chunks(list, chunk, now)?;
            } else {
                self.reader.read_chunk(list, chunk, within, now)?;
            }
            offset += len as u64;
            out = rest;
        }
        Ok(())
    }
}

impl BlockDevice for Image {
    fn size(&self) -> u64 {
        self.record.manifest.geometry.size_bytes
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len() as u64, self.size())?;
        let leaf_len = (BLOCK_LEN as u64) << self.record.leaf_bits;
        let mut filled = 0;
        while filled < buf.len() {
            let at = offset + filled as u64;
            let out = &mut buf[filled..];
            filled += self.with_leaf(GuestBlock::at(at), |leaf, block| match leaf {
                Some(leaf) => self.read_leaf(leaf, block, (at % BLOCK_LEN as u64) as usize, out),
                None => {
                    let left = leaf_len - at % leaf_len;
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
                    out[..len].fill(0);
                    Ok(len)
                }
            })??;
        }
        Ok(())
    }

    fn try_read_cached(&self, offset: u64, buf: &mut [u8]) -> Result<bool> {
        check_range(offset, buf.len() as u64, self.size())?;
        let (block_len, leaf_bits) = (BLOCK_LEN as u64, self.record.leaf_bits);
        let leaf_len = block_len << leaf_bits;
        let mut filled = 0;
        while filled < buf.len() {
            let at = offset + filled as u64;
            let out = &mut buf[filled..];
            let (number, within) = (at / leaf_len, at % leaf_len);
            let Some(slot) = self.slot_of(number) else {
                let len = usize::try_from(leaf_len - within).unwrap_or(usize::MAX).min(out.len());
                out[..len].fill(0);
                filled += len;
                continue;
            };
            let Some(leaf) = self.record.kept_leaf(slot) else { return Ok(false) };
            let (block, skip) = (within / block_len, within % block_len);
            let run = leaf.leaf.run_at(LeafBlock(block));
            let run_len = run.blocks.saturating_mul(block_len) - skip;
            let len = usize::try_from(run_len).unwrap_or(usize::MAX).min(out.len());
            let out = &mut out[..len];
            match run.source {
                None => out.fill(0),
                Some((number, source)) => match self.record.known_list(leaf, number) {
                    Some(list) if self.reader.try_read_cached(list, source.start() + skip, out) => {}
                    _ => return Ok(false),
                },
            }
            filled += len;
        }
        Ok(true)
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        check_range(offset, len, self.size())?;
        let block_len = BLOCK_LEN as u64;
        let leaf_end = LeafBlock(1 << self.record.leaf_bits);
        let run = self.with_leaf(GuestBlock::at(offset), |leaf, block| match leaf {
            Some(leaf) => leaf.leaf.run_at(block),
            None => LeafRun { source: None, blocks: leaf_end - block },
        })?;
        let kind = if run.source.is_some() { RunKind::Data } else { RunKind::Zero };
        let run_len = run.blocks.saturating_mul(block_len) - offset % block_len;
        Ok(Run { kind, len: run_len.min(len) })
    }

    fn sector_bits(&self) -> SectorBits {
        let geometry = &self.record.manifest.geometry;
        SectorBits { logical: geometry.logical_bits, physical: geometry.physical_bits }
    }

    fn name(&self) -> String {
        format!("@{}", self.id())
    }
}
