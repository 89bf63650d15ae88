//! An image opened for reading.

use std::sync::Arc;

use bytes::Bytes;

use crate::cache::{Chunk, Trust};
use crate::device::{BlockDevice, Run, RunKind, check_range};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::limits::BLOCK_LEN;
use crate::map::{LeafRun, SearchableLeaf};
use crate::ondisk::manifest::Manifest;
use crate::ondisk::map_leaf::MapLeaf;
use crate::store::list::List;
use crate::store::record::Record;
use crate::store::{ImageRef, Shared, Store, names};

/// An image. Clones share everything; reads may come from any number of threads.
///
/// What is held: the manifest and the map root (at most about 1 MiB); all else is in the cache.
#[derive(Debug, Clone)]
pub struct Image {
    pub(crate) shared: Arc<Shared>,
    pub(crate) record: Arc<Record>,
}

impl Store {
    /// Opens an image: three dependent reads at most, and no more than about 1 MiB.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Ambiguous`] for the reference; damage of what was read.
    pub fn image(&self, reference: &ImageRef) -> Result<Image> {
        let id = self.resolve(reference)?;
        match (self.image_by_id(id), reference) {
            // A name that leads nowhere is damage; an id that nobody has is not.
            (Err(error), ImageRef::Name(_)) if error.is_not_found() => {
                Err(Error::corrupt(names::object(names::MANIFESTS, &id), 0, Fault::Missing))
            }
            (opened, _) => opened,
        }
    }

    /// Opens the image with this id.
    ///
    /// # Errors
    /// As [`Store::image`].
    pub fn image_by_id(&self, id: Digest) -> Result<Image> {
        let record = Record::open(&self.shared, id)?;
        Ok(Image { shared: self.shared.clone(), record: Arc::new(record) })
    }
}

impl Image {
    /// The image id.
    #[must_use]
    pub fn id(&self) -> Digest {
        self.record.id
    }

    /// What the image is.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.record.manifest
    }

    /// Bytes of the leaves of the image's map and of its root, as stored.
    #[must_use]
    pub fn map_bytes(&self) -> u64 {
        let leaves: u64 = self.record.places.map.iter().map(|place| u64::from(place.len)).sum();
        leaves + crate::ondisk::digest_table::encoded_len(self.record.map_root.len())
    }

    /// The slot in the map root of leaf `leaf`, if it is not all zeros.
    pub(crate) fn slot_of(&self, leaf: u64) -> Option<usize> {
        self.record.map_root.binary_search_by(|entry| u64::from(entry.index).cmp(&leaf)).ok()
    }

    /// The leaf that holds `block`, if it is not all zeros, and the block's number in it.
    fn leaf_of(&self, block: u64) -> Result<(Option<Arc<SearchableLeaf>>, u64)> {
        let leaf_blocks = self.record.manifest.geometry.leaf_blocks();
        let slot = self.slot_of(block / leaf_blocks);
        let leaf = slot.map(|slot| self.record.leaf(slot)).transpose()?;
        Ok((leaf, block % leaf_blocks))
    }

    /// The list that a leaf calls `number`.
    pub(crate) fn list_of(&self, leaf: &MapLeaf, number: u32) -> Result<Arc<List>> {
        let id = leaf.lists.get(number as usize).copied().unwrap_or_default();
        self.shared.list(&id, Some(self.record.list_shape(&id)?))
    }

    /// Fills `buf` with whole blocks from block `block` of leaf `leaf` on; gives how many bytes.
    fn read_leaf(&self, leaf: &SearchableLeaf, block: u64, skip: usize, buf: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        let mut block = block;
        let mut skip = skip;
        let leaf_blocks = self.record.manifest.geometry.leaf_blocks();
        while filled < buf.len() && block < leaf_blocks {
            let run = leaf.run_at(block);
            let run_bytes = run.blocks.saturating_mul(BLOCK_LEN as u64) - skip as u64;
            let len = usize::try_from(run_bytes).unwrap_or(usize::MAX).min(buf.len() - filled);
            let out = &mut buf[filled..filled + len];
            match run.source {
                None => out.fill(0),
                Some((number, source)) => {
                    let list = self.list_of(&leaf.leaf, number)?;
                    self.read_list(&list, source * BLOCK_LEN as u64 + skip as u64, out)?;
                }
            }
            filled += len;
            block += run.blocks;
            skip = 0;
        }
        Ok(filled)
    }

    /// Fills `out` from byte `offset` of a list.
    fn read_list(&self, list: &List, mut offset: u64, mut out: &mut [u8]) -> Result<()> {
        let chunk_len = u64::from(list.shape.chunk_blocks) * BLOCK_LEN as u64;
        if offset + out.len() as u64 > list.shape.blocks * BLOCK_LEN as u64 {
            let fault = Fault::ExtentRange { block: offset / BLOCK_LEN as u64, max: list.shape.blocks };
            return Err(Error::corrupt(list.object_name(), 0, fault));
        }
        while !out.is_empty() {
            let (chunk, within) = (offset / chunk_len, (offset % chunk_len) as usize);
            let plain_len = list.shape.blocks_of(chunk) as usize * BLOCK_LEN;
            let len = out.len().min(plain_len - within);
            let (now, rest) = out.split_at_mut(len);
            if len == plain_len {
                self.read_whole_chunk(list, chunk, now)?;
            } else {
                self.read_part(list, chunk, within, now)?;
            }
            offset += len as u64;
            out = rest;
        }
        Ok(())
    }

    /// A whole chunk goes straight to the caller, past the cache: who reads in large pieces reads
    /// on, and would only push out what others come back to.
    fn read_whole_chunk(&self, list: &List, chunk: u64, out: &mut [u8]) -> Result<()> {
        let id = list.chunk_id(chunk)?;
        let usable = |cached: &Chunk| cached.held.is_none() && self.shared.trusts(cached);
        if let Some(cached) = self.shared.cache.peek_chunk(id).filter(usable) {
            out.copy_from_slice(&cached.bytes);
            return Ok(());
        }
        let mut decode = || self.shared.decode_chunk(list, chunk, &id, self.shared.verify, out);
        let mut held = decode()?;
        if held.is_some() {
            // What was held in part may have become more since the locator was loaded.
            list.reload_locator()?;
            held = decode()?;
        }
        let Some(held) = held else { return Ok(()) };
        let decoded = Chunk { bytes: Bytes::new(), held: Some(held.into()), trust: Trust::Guarded(0) };
        check_held(list, chunk, &decoded, 0, out.len())
    }

    fn read_part(&self, list: &List, chunk: u64, within: usize, out: &mut [u8]) -> Result<()> {
        let mut decoded = self.shared.chunk(list, chunk)?;
        if check_held(list, chunk, &decoded, within, out.len()).is_err() {
            // What another store of this process has of the chunk is less than this one may have, and
            // what this one had may have become more.
            list.reload_locator()?;
            decoded = self.shared.reload_chunk(list, chunk)?;
            check_held(list, chunk, &decoded, within, out.len())?;
        }
        out.copy_from_slice(&decoded.bytes[within..within + out.len()]);
        Ok(())
    }
}

/// Fails unless all blocks of a range of a chunk are held.
fn check_held(list: &List, chunk: u64, decoded: &Chunk, within: usize, len: usize) -> Result<()> {
    let first = within / BLOCK_LEN;
    let count = (within + len).div_ceil(BLOCK_LEN) - first;
    decoded
        .check_held(first as u32, count as u32)
        .map_err(|fault| Error::corrupt(names::object(names::LOCATORS, &list.id), chunk, fault))
}

impl BlockDevice for Image {
    fn size(&self) -> u64 {
        self.record.manifest.geometry.size_bytes
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len() as u64, self.size())?;
        let leaf_len = self.record.manifest.geometry.leaf_blocks() * BLOCK_LEN as u64;
        let mut filled = 0;
        while filled < buf.len() {
            let at = offset + filled as u64;
            let out = &mut buf[filled..];
            filled += match self.leaf_of(at / BLOCK_LEN as u64)? {
                (Some(leaf), block) => self.read_leaf(&leaf, block, (at % BLOCK_LEN as u64) as usize, out)?,
                (None, _) => {
                    let left = leaf_len - at % leaf_len;
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
                    out[..len].fill(0);
                    len
                }
            };
        }
        Ok(())
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        check_range(offset, len, self.size())?;
        let block_len = BLOCK_LEN as u64;
        let leaf_blocks = self.record.manifest.geometry.leaf_blocks();
        let run = match self.leaf_of(offset / block_len)? {
            (Some(leaf), block) => leaf.run_at(block),
            (None, block) => LeafRun { source: None, blocks: leaf_blocks - block },
        };
        let kind = if run.source.is_some() { RunKind::Data } else { RunKind::Zero };
        let run_len = run.blocks.saturating_mul(block_len) - offset % block_len;
        Ok(Run { kind, len: run_len.min(len) })
    }

    fn name(&self) -> String {
        format!("@{}", self.id())
    }
}
