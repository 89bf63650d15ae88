//! Opening an image with a wide map, and reading an image after many generations.

use std::path::Path;

use melv::RawFile;
use melv::{
    BlockDevice, Cache, FileStorage, Image, ImportOptions, MemoryStorage, Run, Source, Store, StoreOptions,
};

use crate::BLOCK_LEN;
use crate::figures::cold::mixed;
use crate::paired::{Pairs, seconds};
use crate::watched::Watched;
use crate::workload::{self, Result};
use crate::{WideDisk, made_up_disk};

/// The cost of opening an image.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    /// The number of reads.
    pub reads: usize,
    /// The bytes read.
    pub bytes: u64,
    /// Milliseconds, the median of many.
    pub millis: f64,
}

/// Opens an image with a map of 1 TiB, generated in a store in `folder`.
///
/// # Errors
/// Any store error.
pub fn one_tib(folder: &Path) -> Result<Open> {
    let store = Store::create_folder(folder, StoreOptions::default())?;
    store.import(Source::device(&WideDisk::of_one_tib()), &ImportOptions::named("wide".parse()?))?;
    let storage = Watched::new(FileStorage::new(folder));
    let reads = storage.reads.clone();
    let store = Store::open(storage, StoreOptions::default())?;
    drop(reads.take());
    store.image(&"wide".parse()?)?;
    let reads = reads.take();
    let mut millis = Vec::new();
    for _ in 0..51 {
        let store = Store::open_folder(folder, StoreOptions::default())?;
        millis.push(seconds(|| store.image(&"wide".parse()?).map(drop))? * 1e3);
    }
    let bytes = reads.iter().map(|read| read.len as u64).sum();
    Ok(Open { reads: reads.len(), bytes, millis: crate::paired::median(&millis) })
}

/// A disk with some blocks of its own over another.
#[derive(Debug)]
struct Changed<'a> {
    base: &'a dyn BlockDevice,
    /// The first block of each run, and its new content.
    runs: Vec<(u64, Vec<u8>)>,
}

impl BlockDevice for Changed<'_> {
    fn size(&self) -> u64 {
        self.base.size()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> melv::Result<()> {
        self.base.read_at(offset, buf)?;
        let end = offset + buf.len() as u64;
        for (first, data) in &self.runs {
            let start = first * BLOCK_LEN as u64;
            let (from, to) = (start.max(offset), (start + data.len() as u64).min(end));
            if from < to {
                let data = &data[(from - start) as usize..(to - start) as usize];
                buf[(from - offset) as usize..(to - offset) as usize].copy_from_slice(data);
            }
        }
        Ok(())
    }
    fn map(&self, offset: u64, len: u64) -> melv::Result<Run> {
        self.base.map(offset, len)
    }
    fn name(&self) -> String {
        "changed".into()
    }
}

/// Generations of a real disk, each changing a few runs of blocks, and the last one imported at once.
#[derive(Debug)]
pub struct Generations {
    deep: Image,
    flat: Image,
    /// Offsets of the blocks that hold data.
    places: Vec<u64>,
}

impl Generations {
    /// Makes `count` generations of the disk at `path`.
    ///
    /// # Errors
    /// Any import error.
    pub fn make(path: &Path, count: u64) -> Result<Self> {
        const RUNS: u64 = 20;
        const RUN_BLOCKS: u64 = 16;
        let options = || StoreOptions { cache: Cache::new(2 << 30), ..Default::default() };
        let deep = Store::create(MemoryStorage::new(), options())?;
        let disk = RawFile::open(path, false)?;
        deep.import(Source::device(&disk), &ImportOptions::named("g0".parse()?))?;
        let mut newest = deep.image(&"g0".parse()?)?;
        let mut places = Vec::new();
        for (start, len) in workload::data_ranges(&newest)? {
            places.extend((start..start + len / BLOCK_LEN as u64 * BLOCK_LEN as u64).step_by(BLOCK_LEN));
        }
        for generation in 1..=count {
            let order = mixed(places.len() - RUN_BLOCKS as usize, generation);
            let run = |number: usize| {
                let data = made_up_disk(RUN_BLOCKS as usize, generation << 32 | number as u64);
                (places[number] / BLOCK_LEN as u64, data)
            };
            let runs = order.into_iter().take(RUNS as usize).map(run).collect();
            let parent = Some(format!("g{}", generation - 1).parse()?);
            let name = format!("g{generation}").parse()?;
            deep.import(
                Source::device(&Changed { base: &newest, runs }),
                &ImportOptions { parent, ..ImportOptions::named(name) },
            )?;
            newest = deep.image(&format!("g{generation}").parse()?)?;
        }
        let flat = Store::create(MemoryStorage::new(), options())?;
        flat.import(Source::device(&newest), &ImportOptions::named("flat".parse()?))?;
        Ok(Self { deep: newest, flat: flat.image(&"flat".parse()?)?, places })
    }

    /// Times hot reads of 4 KiB, each with its map lookup: the last generation against the flat image.
    ///
    /// # Errors
    /// Any read error.
    pub fn reads(&self, runs: usize) -> Result<Pairs> {
        self.time(runs, |image, at, out| image.read_at(at, out))
    }

    /// Times map lookups alone.
    ///
    /// # Errors
    /// Any lookup error.
    pub fn maps(&self, runs: usize) -> Result<Pairs> {
        self.time(runs, |image, at, out| image.map(at, out.len() as u64).map(drop))
    }

    fn time(&self, runs: usize, one: impl Fn(&Image, u64, &mut [u8]) -> melv::Result<()>) -> Result<Pairs> {
        let mut out = [0; BLOCK_LEN];
        let (mut flat_seed, mut deep_seed) = (0, 0);
        let mut pass = |image: &Image, seed: &mut u64| -> Result<f64> {
            *seed += 1;
            let order = mixed(self.places.len(), *seed);
            Ok(seconds(|| order.iter().try_for_each(|&number| one(image, self.places[number], &mut out)))?)
        };
        let pass = std::cell::RefCell::new(&mut pass);
        Pairs::time(
            runs,
            || pass.borrow_mut()(&self.flat, &mut flat_seed),
            || pass.borrow_mut()(&self.deep, &mut deep_seed),
        )
    }
}
