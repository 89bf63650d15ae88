//! Inflates all grains of a streamOptimized VMDK on all threads and does nothing else. This is the least that
//! an import from it costs beyond the import of the raw disk.
//!
//! ```text
//! inflate DISK.vmdk
//! ```
//!
//! Prints the number of grains, their bytes stored and inflated, and the CPU seconds of all threads. These
//! cover inflating alone: the file is in memory by then. Follows the markers one by one and uses none of
//! melv's code.

use std::fs;
use std::io;

use flate2::{Decompress, FlushDecompress, Status};
use rayon::prelude::*;

const SECTOR: usize = 512;
const MARKER: usize = 12;
/// Grains per task of a thread: 1 MiB of disk, as in an import.
const GRAINS_AT_ONCE: usize = 16;

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Returns the bytes of a grain and all stored grains in order.
fn grains(file: &[u8]) -> Option<(usize, Vec<&[u8]>)> {
    let grain_len = u64_at(file, 20)? as usize * SECTOR;
    let mut at = u64_at(file, 64)? as usize * SECTOR;
    let mut found = Vec::new();
    loop {
        let (value, len) = (u64_at(file, at)? as usize, u32_at(file, at + 8)? as usize);
        if len > 0 {
            found.push(file.get(at + MARKER..at + MARKER + len)?);
            at += (MARKER + len).next_multiple_of(SECTOR);
        } else if u32_at(file, at + MARKER)? == 0 {
            return Some((grain_len, found));
        } else {
            // A table, a directory or the footer: the marker gives the number of sectors that follow.
            at += SECTOR + value * SECTOR;
        }
    }
}

/// Returns the CPU time of all threads of this process, in nanoseconds.
fn processor_time() -> io::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let first = text.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
        sum += first.ok_or_else(|| io::Error::other("no schedstat"))?;
    }
    Ok(sum)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: inflate DISK.vmdk")?;
    let file = fs::read(path)?;
    let (grain_len, grains) = grains(&file).ok_or("not a streamOptimized VMDK with markers")?;
    let before = processor_time()?;
    let inflated: usize = grains
        .par_chunks(GRAINS_AT_ONCE)
        .map_init(
            || (Decompress::new(true), vec![0; grain_len]),
            |(zlib, out), grains| -> Result<usize, String> {
                let mut sum = 0;
                for grain in grains {
                    zlib.reset(true);
                    let status = zlib.decompress(grain, out, FlushDecompress::Finish);
                    if !matches!(status, Ok(Status::StreamEnd)) {
                        return Err(format!("{status:?}"));
                    }
                    sum += zlib.total_out() as usize;
                }
                Ok(sum)
            },
        )
        .sum::<Result<usize, String>>()?;
    let seconds = (processor_time()? - before) as f64 / 1e9;
    println!("grains {}", grains.len());
    println!("stored_bytes {}", grains.iter().map(|grain| grain.len()).sum::<usize>());
    println!("inflated_bytes {inflated}");
    println!("seconds {seconds:.4}");
    Ok(())
}
