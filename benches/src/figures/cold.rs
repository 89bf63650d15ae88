//! Reads of 4 KiB, each from a chunk that must be decoded.

use std::path::Path;
use std::time::Instant;

use melv::{BlockDevice, VerifyMode};

use crate::BLOCK_LEN;
use crate::floor::Worker;
use crate::paired::Pairs;
use crate::workload::{self, Frames, Result};

/// Reads per run.
pub const READS: usize = 8192;
/// Reads by the floor before as many by melv, in turn.
const IN_TURN: usize = 256;
/// The size of a cache too small for a second read of a chunk to hit.
const CACHE_BYTES: u64 = 64 << 20;

/// The cold reads of one verification mode.
#[derive(Debug)]
pub struct Cold {
    /// Seconds of a run of [`READS`] reads.
    pub pairs: Pairs,
    /// Nanoseconds of each read of the last run.
    pub nanos: Vec<u64>,
    /// Nanoseconds of each floor read of the last run.
    pub floor_nanos: Vec<u64>,
}

/// Returns the numbers below `count`, shuffled.
#[must_use]
pub fn mixed(count: usize, seed: u64) -> Vec<usize> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_cached_key(|_| next());
    order
}

/// Times cold reads of image `name` against bare reading and decoding of the same frames.
///
/// # Errors
/// Any read error; a block that differs from the floor's.
pub fn measure(folder: &Path, name: &str, frames: &Frames, verify: VerifyMode, runs: usize) -> Result<Cold> {
    let checked = verify == VerifyMode::Full;
    let mut cold = Cold { pairs: Pairs::default(), nanos: Vec::new(), floor_nanos: Vec::new() };
    let (mut worker, mut expected, mut found) = (Worker::default(), [0; BLOCK_LEN], [0; BLOCK_LEN]);
    for run in 0..=runs {
        let order = mixed(frames.frames.len(), run as u64 * 77 + 5);
        let image = workload::image(folder, name, CACHE_BYTES, verify)?;
        // Uncounted reads load the pages of the map and the tables.
        let warm = order.len().saturating_sub(READS).min(READS / 4);
        let (warm, order) = order.split_at(warm);
        for &number in warm {
            image.read_at(frames.guests[number], &mut found)?;
        }
        let (mut floor, mut ours) = (0.0, 0.0);
        (cold.nanos, cold.floor_nanos) = (Vec::new(), Vec::new());
        for slice in order[..order.len().min(READS)].chunks(IN_TURN) {
            let begun = Instant::now();
            for &number in slice {
                let one = Instant::now();
                worker.cold(&frames.files, &frames.frames[number], checked, &mut expected)?;
                cold.floor_nanos.push(one.elapsed().as_nanos() as u64);
            }
            floor += begun.elapsed().as_secs_f64();
            let begun = Instant::now();
            for &number in slice {
                let one = Instant::now();
                image.read_at(frames.guests[number], &mut found)?;
                cold.nanos.push(one.elapsed().as_nanos() as u64);
            }
            ours += begun.elapsed().as_secs_f64();
            if expected != found {
                return Err("a read is not what the frame holds".into());
            }
        }
        if run > 0 {
            cold.pairs.floor.push(floor);
            cold.pairs.ours.push(ours);
        }
    }
    Ok(cold)
}

impl Cold {
    /// Returns the median microseconds per read, ours and the floor's.
    #[must_use]
    pub fn micros(&self) -> (f64, f64) {
        let reads = self.nanos.len() as f64;
        let micros = |seconds: &[f64]| crate::paired::median(seconds) / reads * 1e6;
        (micros(&self.pairs.ours), micros(&self.pairs.floor))
    }
}

/// A bare decode of one default chunk (32 KiB).
#[derive(Debug, Clone, Copy)]
pub struct Decode {
    /// Microseconds for the floor, on the store's own frames.
    pub floor_us: f64,
    /// Microseconds for `zstd -b`, on the same plaintext.
    pub command_us: f64,
}

/// Bytes of plaintext that both decode.
const PLAIN_LEN: usize = 64 << 20;

/// Times the decoding of frames in memory, and has `zstd -b` time their plaintext from a file at `path`.
///
/// # Errors
/// Any read error; unexpected output of the command.
pub fn decode(frames: &Frames, runs: usize, path: &Path) -> Result<Decode> {
    let (stored, plain) = workload::in_memory(frames, PLAIN_LEN)?;
    std::fs::write(path, &plain)?;
    let mut seconds = Vec::new();
    for _ in 0..runs {
        seconds.push(crate::paired::seconds(|| crate::floor::decode_all(&stored, 1))?);
    }
    let chunk_len = melv::limits::CHUNK_BLOCKS_DEFAULT as usize * BLOCK_LEN;
    let output = std::process::Command::new("zstd")
        .arg(format!("-b{}", melv::limits::LEVEL_DEFAULT))
        .args(["-i3", &format!("-B{chunk_len}")])
        .arg(path)
        .output()?;
    // The last of several figures: " 3#plain : 67108864 -> 23068672 (x2.909), 400.1 MB/s, 1300.2 MB/s".
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let speed =
        text.rsplit("MB/s").nth(1).and_then(|before| before.rsplit([',', ' ']).find(|word| !word.is_empty()));
    let mbps: f64 = speed.ok_or("zstd -b says no speed")?.parse()?;
    std::fs::remove_file(path)?;
    Ok(Decode {
        floor_us: crate::paired::median(&seconds) / plain.len() as f64 * chunk_len as f64 * 1e6,
        command_us: chunk_len as f64 / mbps,
    })
}
