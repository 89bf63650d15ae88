//! Memory where the system allows little of it, as `ulimit -v` does.
//!
//! A refused allocation ends the process at once. So long work first asks whether there is memory
//! for it, and caches, which may be of any size, are made to fit.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, getrlimit};

use crate::exit::Failure;

/// Tells the allocator, and the process started anew with it, how many arenas to use.
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// The memory that work takes at its peak, with some room to spare.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// Bytes whatever the number of threads.
    pub base_bytes: u64,
    /// Bytes for each thread, its stack included.
    pub thread_bytes: u64,
}

impl Needs {
    /// Bytes for so many threads.
    pub fn bytes(self, threads: usize) -> u64 {
        self.base_bytes.saturating_add(self.thread_bytes.saturating_mul(threads as u64))
    }

    /// As many threads as there is memory for, at most `wanted`.
    ///
    /// # Errors
    /// [`Failure::OutOfMemory`] where it does not suffice for one.
    pub fn threads(self, wanted: usize) -> Result<usize, Failure> {
        let mut threads = wanted.max(1);
        while threads > 1 && !has(self.bytes(threads)) {
            threads /= 2;
        }
        check(self.bytes(threads)).map(|()| threads)
    }
}

/// Bytes of addresses that the process may still take, where that is limited.
pub fn room_bytes() -> Option<u64> {
    let limit = getrlimit(Resource::As).current?;
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages: u64 = pages.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
    Some(limit.saturating_sub(pages * rustix::param::page_size() as u64))
}

/// Starts the process anew with one arena where addresses are limited: the allocator reserves
/// 64 MiB of them for each thread, which would be most of what there is.
pub fn use_one_arena() {
    if getrlimit(Resource::As).current.is_none() || std::env::var_os(ARENAS).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    // It comes back only if that failed, and then the process goes on as it is.
    let _ = Command::new("/proc/self/exe").arg0(name).args(arguments).env(ARENAS, "1").exec();
}

/// Whether so many bytes are to be had.
pub fn has(bytes: u64) -> bool {
    usize::try_from(bytes).is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok())
}

/// Fails unless so many bytes are to be had.
pub fn check(needed_bytes: u64) -> Result<(), Failure> {
    if has(needed_bytes) { Ok(()) } else { Err(Failure::OutOfMemory { needed_bytes }) }
}

/// `bytes` of cache, or as many as fit a quarter of what may still be taken.
pub fn cache_bytes(bytes: u64) -> u64 {
    room_bytes().map_or(bytes, |room| bytes.min(room / 4))
}

/// Whether the system refused memory or a process.
pub fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory)
}
