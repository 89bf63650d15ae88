//! The reads that a machine makes from power-on to its login prompt, on an empty cache.

use std::path::Path;

use melv::{BlockDevice, VerifyMode};
use rustix::time::{ClockId, clock_gettime};

use crate::workload::{self, Result};

/// Reads a trace: offset and length in bytes.
///
/// # Errors
/// Any read error; a line that is not two numbers.
pub fn trace(path: &Path) -> Result<Vec<(u64, usize)>> {
    let text = std::fs::read_to_string(path)?;
    let read = |line: &str| -> Result<(u64, usize)> {
        let (offset, len) = line.split_once(' ').ok_or("a line of a trace is an offset and a length")?;
        Ok((offset.parse()?, len.parse()?))
    };
    text.lines().filter(|line| !line.starts_with('#')).map(read).collect()
}

/// Returns the CPU time of this thread, in seconds.
fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Returns the CPU milliseconds of each of `runs` replays of a trace on image `name`, including the open.
///
/// # Errors
/// Any read error.
pub fn replay(folder: &Path, name: &str, reads: &[(u64, usize)], runs: usize) -> Result<Vec<f64>> {
    let mut buf = vec![0; reads.iter().map(|read| read.1).max().unwrap_or(0)];
    let mut millis = Vec::new();
    for run in 0..=runs {
        let begun = thread_seconds();
        let image = workload::image(folder, name, 64 << 20, VerifyMode::Guard)?;
        for &(offset, len) in reads {
            image.read_at(offset, &mut buf[..len])?;
        }
        if run > 0 {
            millis.push((thread_seconds() - begun) * 1e3);
        }
    }
    Ok(millis)
}
