//! Chunk size and level against stored size and read time, for a sample of the base disk in memory.

use std::path::Path;
use std::time::Instant;

use melv::{BlockDevice, Cache, ImportOptions, MemoryStorage, Run, RunKind, Source, Store, StoreOptions};

use crate::BLOCK_LEN;
use crate::figures::cold::mixed;
use crate::paired::median;
use crate::report::FrontierPoint;
use crate::workload::{self, Result};

/// One MiB of the disk in this many is sampled.
const ONE_IN: u64 = 4;
const MIB: u64 = 1 << 20;
const SIZES_KIB: [u32; 4] = [8, 16, 32, 64];
const LEVELS: [i32; 5] = [1, 3, 4, 6, 9];

/// A disk reduced to a sample of its MiB.
#[derive(Debug)]
struct Sample<'a>(&'a dyn BlockDevice);

impl BlockDevice for Sample<'_> {
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> melv::Result<()> {
        self.0.read_at(offset, buf)
    }
    fn map(&self, offset: u64, len: u64) -> melv::Result<Run> {
        let left = MIB - offset % MIB;
        if (offset / MIB).is_multiple_of(ONE_IN) {
            self.0.map(offset, len.min(left))
        } else {
            Ok(Run { kind: RunKind::Zero, len: len.min(left) })
        }
    }
    fn name(&self) -> String {
        "sample".into()
    }
}

/// Measures one point for each chunk size and level.
///
/// # Errors
/// Any import or read error.
pub fn measure(disk: &Path) -> Result<Vec<FrontierPoint>> {
    let disk = melv::RawFile::open(disk, false)?;
    let sample = Sample(&disk);
    let mut points = Vec::new();
    for chunk_kib in SIZES_KIB {
        for level in LEVELS {
            let chunk_blocks = chunk_kib * 1024 / BLOCK_LEN as u32;
            let options = ImportOptions { chunk_blocks, level, ..ImportOptions::named("one".parse()?) };
            let storage = MemoryStorage::new();
            let store = Store::create(storage.clone(), StoreOptions::default())?;
            let report = store.import(Source::device(&sample), &options)?;
            let is_default =
                chunk_blocks == melv::limits::CHUNK_BLOCKS_DEFAULT && level == melv::limits::LEVEL_DEFAULT;
            points.push(FrontierPoint {
                chunk_kib,
                level,
                stored_mib: report.stored_bytes as f64 / MIB as f64,
                cold_us: cold_us(&storage)?,
                is_default,
            });
        }
    }
    Ok(points)
}

/// Returns the microseconds of a cold read: the median over the rounds.
fn cold_us(storage: &MemoryStorage) -> Result<f64> {
    let mut micros = Vec::new();
    let mut out = [0; BLOCK_LEN];
    for round in 0..5 {
        let options = StoreOptions { cache: Cache::new(1 << 20), ..Default::default() };
        let image = Store::open(storage.clone(), options)?.image(&"one".parse()?)?;
        let places: Vec<u64> = workload::data_ranges(&image)?
            .into_iter()
            .flat_map(|(start, len)| (start..start + len - len % BLOCK_LEN as u64).step_by(BLOCK_LEN))
            .collect();
        let order: Vec<_> = mixed(places.len(), round).into_iter().take(2048).collect();
        let begun = Instant::now();
        for &number in &order {
            image.read_at(places[number], &mut out)?;
        }
        micros.push(begun.elapsed().as_secs_f64() / order.len() as f64 * 1e6);
    }
    Ok(median(&micros))
}
