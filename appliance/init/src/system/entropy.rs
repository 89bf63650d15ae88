//! The seed of the kernel's random pool.

use std::{
    fs::{File, OpenOptions},
    io::Read,
};

use crate::{report::Report, sys};

/// Seeds the pool from the hypervisor's device or the processor, unless the kernel has done so.
pub fn seed(tell: &mut dyn FnMut(Report)) {
    if sys::entropy_is_ready() {
        return;
    }
    let seed = device().or_else(sys::hardware_random);
    let pool = OpenOptions::new().write(true).open("/dev/random");
    let added = seed.zip(pool.ok()).map(|(seed, pool)| sys::add_entropy(&pool, &seed));
    if !matches!(added, Some(Ok(()))) {
        tell(Report::Note("no source of randomness: programs may wait for it".into()));
    }
}

/// Reads the device of virtio-rng.
fn device() -> Option<[u8; 64]> {
    let mut seed = [0; 64];
    File::open("/dev/hwrng").ok()?.read_exact(&mut seed).ok()?;
    Some(seed)
}
