//! A served disk.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::counters::Counters;
use melv_block::{BlockDevice, BlockError, DepthRun, Error, Result, Run, SectorBits};
use melv_format::image::Lineage;
use melv_format::limits::{BLOCK_LEN, CHUNK_BLOCKS_DEFAULT};
use melv_format::store::Pin;
use melv_format::{ContentId, Image, ImageId, Images, StoreErrors};

/// An image served to any number of clients. Until it is dropped, it pins the objects that the image needs.
///
/// Call [`try_read_cached`](BlockDevice::try_read_cached) first, and [`read_at`](BlockDevice::read_at) if that returns
/// `false`. `read_at` does not repeat the check, and counts as a cache miss.
#[derive(Debug)]
pub struct ServedDisk {
    name: String,
    image: Image,
    store: Images,
    counters: Arc<Counters>,
    lineage: OnceLock<Lineage>,
    /// The last queried leaf and the depths of its runs.
    depths: Mutex<Option<(u64, Arc<[DepthRun]>)>>,
    _pin: Pin,
}

impl ServedDisk {
    /// Opens `image` of `store` to be served under `name`.
    ///
    /// # Errors
    /// Damage of the data that locates the image's objects; missing objects.
    pub fn open(name: String, store: &Images, image: Image, counters: Arc<Counters>) -> Result<Self> {
        let pin = image.pin()?;
        let (lineage, depths) = (OnceLock::new(), Mutex::default());
        Ok(Self { name, image, store: store.clone(), counters, lineage, depths, _pin: pin })
    }

    /// Returns the image id.
    #[must_use]
    pub fn image_id(&self) -> ImageId {
        self.image.id()
    }

    /// Returns the content id.
    #[must_use]
    pub fn content_id(&self) -> ContentId {
        self.image.manifest().content
    }

    /// Returns the bytes in non-zero blocks.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.image.manifest().data_blocks * BLOCK_LEN as u64
    }

    /// Returns the preferred length and alignment of reads, in bytes: the chunk length.
    #[must_use]
    pub fn chunk_len(&self) -> u32 {
        let lists = &self.image.manifest().lists;
        let blocks = lists.iter().map(|list| list.shape.chunk_blocks).max().unwrap_or(CHUNK_BLOCKS_DEFAULT);
        blocks * BLOCK_LEN as u32
    }

    fn count(&self, counter: impl Fn(&Counters) -> &AtomicU64, count: u64) {
        Counters::add(counter(&self.counters), count);
    }

    fn failed(&self, offset: u64, len: usize, error: &Error) {
        self.count(|counters| &counters.errors, 1);
        if error.is_damage() {
            self.count(|counters| &counters.verification_failures, 1);
        }
        // The error names the object, and the chunk or the offset in it.
        let (store, id) = (self.store.source().place(), self.image.id());
        tracing::error!(image = %self.name, %id, store, offset, len, %error, "a read failed");
    }

    fn lineage(&self) -> Result<&Lineage> {
        if let Some(lineage) = self.lineage.get() {
            return Ok(lineage);
        }
        let lineage = Lineage::of(&self.store, &self.image)?;
        Ok(self.lineage.get_or_init(|| lineage))
    }

    /// Returns the runs of leaf `leaf` of the map.
    fn depths_of(&self, leaf: u64) -> Result<Arc<[DepthRun]>> {
        let mut last = self.depths.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, runs)) = last.as_ref()
            && *known == leaf
        {
            return Ok(runs.clone());
        }
        let runs: Arc<[_]> = self.lineage()?.runs_of_leaf(leaf)?.into();
        *last = Some((leaf, runs.clone()));
        Ok(runs)
    }
}

impl BlockDevice for ServedDisk {
    fn size(&self) -> u64 {
        self.image.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.count(|counters| &counters.requests, 1);
        let read = self.image.read_at(offset, buf);
        match &read {
            Ok(()) => self.count(|counters| &counters.bytes, buf.len() as u64),
            Err(error) => self.failed(offset, buf.len(), error),
        }
        read
    }

    fn try_read_cached(&self, offset: u64, buf: &mut [u8]) -> Result<bool> {
        let is_held = self.image.try_read_cached(offset, buf)?;
        if is_held {
            self.count(|counters| &counters.requests, 1);
            self.count(|counters| &counters.hits, 1);
            self.count(|counters| &counters.bytes, buf.len() as u64);
        }
        Ok(is_held)
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        self.image.map(offset, len)
    }

    fn depth(&self, offset: u64, len: u64) -> Result<DepthRun> {
        let leaf_len = self.image.manifest().geometry.leaf_blocks() * BLOCK_LEN as u64;
        let runs = self.depths_of(offset / leaf_len)?;
        let at = runs.partition_point(|run| run.start + run.len <= offset);
        let run =
            runs.get(at).ok_or(Error::from(BlockError::OutOfRange { offset, len, size: self.size() }))?;
        let skip = offset - run.start;
        Ok(DepthRun { start: offset, len: (run.len - skip).min(len), ..*run })
    }

    fn sector_bits(&self) -> SectorBits {
        self.image.sector_bits()
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}
