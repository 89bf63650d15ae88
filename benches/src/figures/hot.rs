//! Reads of 4 KiB from cached chunks, against pread of the raw file.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use melv::{BlockDevice, VerifyMode};

use crate::BLOCK_LEN;
use crate::figures::cold::mixed;
use crate::floor;
use crate::paired::{Pairs, seconds};
use crate::workload::{self, Result};

/// Reads per run.
pub const READS: usize = 64 << 10;
/// Reads by the floor before as many by melv, in turn.
const IN_TURN: usize = 16 << 10;

/// The hot reads.
#[derive(Debug)]
pub struct Hot {
    /// Seconds of a run of [`READS`] reads.
    pub pairs: Pairs,
    /// Nanoseconds of each read of one more run, including the clock calls.
    pub nanos: Vec<u64>,
    /// Nanoseconds of each floor read.
    pub floor_nanos: Vec<u64>,
}

/// Times hot reads of image `name` against those of its raw file at `raw`.
///
/// # Errors
/// Any read error.
pub fn measure(folder: &Path, name: &str, raw: &Path, runs: usize) -> Result<Hot> {
    let image = workload::image(folder, name, 4 << 30, VerifyMode::Guard)?;
    let raw = File::open(raw)?;
    let mut places: Vec<u64> = Vec::new();
    for (start, len) in workload::data_ranges(&image)? {
        places.extend((start..start + len / BLOCK_LEN as u64 * BLOCK_LEN as u64).step_by(BLOCK_LEN));
    }
    let (mut expected, mut found) = ([0; BLOCK_LEN], [0; BLOCK_LEN]);
    places.iter().try_for_each(|&at| image.read_at(at, &mut found))?;
    floor::preads(&raw, &places, &mut expected)?;
    let order = |seed| -> Vec<u64> {
        mixed(places.len(), seed).into_iter().take(READS).map(|number| places[number]).collect()
    };
    let mut pairs = Pairs::default();
    for run in 0..=runs {
        let (mut floor, mut ours) = (0.0, 0.0);
        for slice in order(run as u64).chunks(IN_TURN) {
            floor += seconds(|| floor::preads(&raw, slice, &mut expected))?;
            ours += seconds(|| slice.iter().try_for_each(|&at| image.read_at(at, &mut found)))?;
        }
        if expected != found {
            return Err("a read is not what the disk holds".into());
        }
        if run > 0 {
            pairs.floor.push(floor);
            pairs.ours.push(ours);
        }
    }
    let order = order(u64::MAX);
    let nanos = each(&order, |at| Ok(image.read_at(at, &mut found)?))?;
    let floor_nanos = each(&order, |at| Ok(floor::preads(&raw, &[at], &mut expected)?))?;
    Ok(Hot { pairs, nanos, floor_nanos })
}

/// Returns the nanoseconds of each read.
fn each(order: &[u64], mut read: impl FnMut(u64) -> Result<()>) -> Result<Vec<u64>> {
    let one = |&at: &u64| {
        let begun = Instant::now();
        read(at).map(|()| begun.elapsed().as_nanos() as u64)
    };
    order.iter().map(one).collect()
}
