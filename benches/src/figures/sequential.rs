//! Reading a disk's data from front to back.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use melv::{BlockDevice, Image, Store, StoreOptions, VerifyMode};

use crate::floor;
use crate::paired::{Pairs, seconds};
use crate::workload::{self, Frames, Result};

/// Bytes per request.
pub const REQUEST_LEN: u64 = 1 << 20;

/// Returns requests for all the data of a disk, in order; none crosses a hole.
///
/// # Errors
/// Any error of the disk's map.
pub fn requests(image: &Image) -> Result<Vec<(u64, usize)>> {
    let mut requests = Vec::new();
    for (start, len) in workload::data_ranges(image)? {
        let mut at = start;
        while at < start + len {
            let end = ((at / REQUEST_LEN + 1) * REQUEST_LEN).min(start + len);
            requests.push((at, (end - at) as usize));
            at = end;
        }
    }
    Ok(requests)
}

/// Makes all requests on `threads` threads.
///
/// # Errors
/// Any read error.
pub fn read_all(image: &Image, requests: &[(u64, usize)], threads: usize) -> Result<()> {
    let next = AtomicUsize::new(0);
    let one = || -> melv::Result<()> {
        let mut buf = vec![0; REQUEST_LEN as usize];
        while let Some(&(at, len)) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
            image.read_at(at, &mut buf[..len])?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(one)).collect();
        let own = one();
        for other in others {
            other.join().map_err(|_| "a reader panicked")??;
        }
        Ok(own?)
    })
}

/// Times sequential reads of image `name` against bare reading and decoding of its frames.
///
/// # Errors
/// Any read error.
pub fn measure(
    folder: &Path,
    name: &str,
    frames: &Frames,
    verify: VerifyMode,
    threads: usize,
    runs: usize,
) -> Result<(Pairs, u64)> {
    let open = || workload::image(folder, name, 64 << 20, verify);
    let requests = requests(&open()?)?;
    let pairs = Pairs::time(
        runs,
        || {
            let checked = verify == VerifyMode::Full;
            Ok::<_, Box<dyn std::error::Error>>(seconds(|| {
                floor::sequential(&frames.files, &frames.frames, checked, threads)
            })?)
        },
        || {
            let image = open()?;
            seconds(|| read_all(&image, &requests, threads))
        },
    )?;
    Ok((pairs, requests.iter().map(|request| request.1 as u64).sum()))
}

/// Bytes of plaintext held in memory to scale the bare decoder.
const SCALING_LEN: usize = 128 << 20;

/// Returns the speedup of `threads` threads over one, for sequential reads and for bare decoding. The pairs
/// hold speedups, so that ours over the floor is the ratio.
///
/// # Errors
/// Any read error.
pub fn scaling(folder: &Path, name: &str, frames: &Frames, threads: usize, runs: usize) -> Result<Pairs> {
    let open = || workload::image(folder, name, 64 << 20, VerifyMode::Guard);
    let requests = requests(&open()?)?;
    let (stored, _) = workload::in_memory(frames, SCALING_LEN)?;
    let read = |threads| {
        let image = open()?;
        seconds(|| read_all(&image, &requests, threads))
    };
    let bare = |threads| -> Result<f64> { Ok(seconds(|| floor::decode_all(&stored, threads))?) };
    Pairs::time(runs, || Ok(bare(1)? / bare(threads)?), || Ok(read(1)? / read(threads)?))
}

/// Returns the bytes decoded by a front-to-back read of image `name`, over the bytes of its data.
///
/// # Errors
/// Any read error.
pub fn amplification(folder: &Path, name: &str) -> Result<f64> {
    let store = Store::open_folder(folder, StoreOptions::default())?;
    let image = store.image(&name.parse()?)?;
    let requests = requests(&image)?;
    read_all(&image, &requests, 1)?;
    let data: u64 = requests.iter().map(|request| request.1 as u64).sum();
    Ok(store.cache().decoded_bytes() as f64 / data as f64)
}
