//! The kernel's random pool.

use std::{fs::File, io, os::fd::AsRawFd};

use super::{abi, check};

/// Whether the kernel's pool has been seeded.
pub fn entropy_is_ready() -> bool {
    const GRND_NONBLOCK: u32 = 1;
    let mut byte = 0_u8;
    // SAFETY: the call writes one byte at the pointer.
    unsafe { abi::syscall(abi::SYS_GETRANDOM, &raw mut byte, 1_usize, GRND_NONBLOCK) == 1 }
}

/// Adds random bytes to the pool `/dev/random` and counts them as such.
pub fn add_entropy(pool: &File, seed: &[u8; 64]) -> io::Result<()> {
    const RNDADDENTROPY: u64 = 0x4008_5203;
    let info = abi::RandomPool { entropy_bits: 512, bytes: 64, data: *seed };
    // SAFETY: the request reads two numbers and as many bytes as the second tells, all in `info`.
    check(unsafe { abi::ioctl(pool.as_raw_fd(), RNDADDENTROPY, &raw const info) }).map(drop)
}

/// Returns random bytes of the processor, if it has such an instruction.
pub fn hardware_random() -> Option<[u8; 64]> {
    if !std::arch::is_x86_feature_detected!("rdrand") {
        return None;
    }
    let mut seed = [0; 64];
    for part in seed.chunks_exact_mut(8) {
        // SAFETY: the instruction is there, as the line above found.
        let value = (0..16).find_map(|_| unsafe { read_processor() })?;
        part.copy_from_slice(&value.to_ne_bytes());
    }
    Some(seed)
}

#[target_feature(enable = "rdrand")]
fn read_processor() -> Option<u64> {
    let mut value = 0;
    (std::arch::x86_64::_rdrand64_step(&mut value) == 1).then_some(value)
}
