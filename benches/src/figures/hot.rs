//! Reads of 4 KiB from chunks that are in the cache, against pread of the raw file.

use std::fs::File;
use std::path::Path;

use melv::{BlockDevice, VerifyMode};

use crate::BLOCK_LEN;
use crate::figures::cold::mixed;
use crate::floor;
use crate::paired::{Pairs, seconds};
use crate::workload::{self, Result};

/// Reads of one run.
pub const READS: usize = 64 << 10;

/// Times hot reads of image `name` against those of its raw file at `raw`.
///
/// # Errors
/// Those of reading.
pub fn measure(folder: &Path, name: &str, raw: &Path, runs: usize) -> Result<Pairs> {
    let image = workload::image(folder, name, 4 << 30, VerifyMode::Guard)?;
    let raw = File::open(raw)?;
    let mut places: Vec<u64> = Vec::new();
    for (start, len) in workload::data_ranges(&image)? {
        places.extend((start..start + len / BLOCK_LEN as u64 * BLOCK_LEN as u64).step_by(BLOCK_LEN));
    }
    let mut out = [0; BLOCK_LEN];
    for &at in &places {
        image.read_at(at, &mut out)?;
    }
    floor::preads(&raw, &places, &mut out)?;
    let mut orders = (0..).map(|seed| -> Vec<u64> {
        mixed(places.len(), seed).into_iter().take(READS).map(|number| places[number]).collect()
    });
    let mut order = Vec::new();
    let mut other = [0; BLOCK_LEN];
    let mut pairs = Pairs::default();
    for run in 0..=runs {
        order.clone_from(&orders.next().unwrap_or_default());
        let (mut floor, mut ours) = (0.0, 0.0);
        for slice in order.chunks(1024) {
            floor += seconds(|| floor::preads(&raw, slice, &mut out))?;
            ours += seconds(|| slice.iter().try_for_each(|&at| image.read_at(at, &mut other)))?;
        }
        if out != other {
            return Err("a read is not what the disk holds".into());
        }
        if run > 0 {
            pairs.floor.push(floor);
            pairs.ours.push(ours);
        }
    }
    Ok(pairs)
}
