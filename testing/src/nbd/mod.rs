//! Disks with given behavior, an independent client, and a checker of whole conversations.
#![allow(missing_docs, missing_debug_implementations, reason = "most parts have the protocol's names")]
#![allow(clippy::big_endian_bytes, reason = "so is the protocol")]

mod client;
mod disk;
pub mod talk;

pub use client::*;
pub use disk::*;

/// Returns the resident memory of this process, in bytes.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
