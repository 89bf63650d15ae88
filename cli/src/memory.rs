//! Memory under a limit such as `ulimit -v`.
//!
//! A refused allocation aborts the process. So long work first checks that there is enough memory, and
//! caches, which work at any size, are reduced to fit.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, getrlimit};

use crate::failure::Failure;

/// The environment variable with the number of arenas, for the allocator; it also marks the restarted
/// process.
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// The peak memory of a piece of work, with some margin.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// The bytes independent of the number of threads.
    pub base_bytes: u64,
    /// The bytes for each thread, including its stack.
    pub thread_bytes: u64,
}

impl Needs {
    /// Returns the bytes for this number of threads.
    pub fn bytes(self, threads: usize) -> u64 {
        self.base_bytes.saturating_add(self.thread_bytes.saturating_mul(threads as u64))
    }

    /// Returns the number of threads that memory suffices for, at most `wanted`.
    ///
    /// # Errors
    /// [`Failure::OutOfMemory`] if it does not suffice for one.
    pub fn threads(self, wanted: usize) -> Result<usize, Failure> {
        let mut threads = wanted.max(1);
        while threads > 1 && !has(self.bytes(threads)) {
            threads /= 2;
        }
        check(self.bytes(threads)).map(|()| threads)
    }
}

/// Returns the remaining address space in bytes, if it is limited.
pub fn room_bytes() -> Option<u64> {
    let limit = getrlimit(Resource::As).current?;
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages: u64 = pages.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
    Some(limit.saturating_sub(pages * rustix::param::page_size() as u64))
}

/// Restarts the process with a single arena if the address space is limited. The allocator reserves 64 MiB
/// for each thread, which could use up most of it.
pub fn use_one_arena() {
    if getrlimit(Resource::As).current.is_none() || std::env::var_os(ARENAS).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    // `exec` returns only on failure; then the process continues as it is.
    let _ = Command::new("/proc/self/exe").arg0(name).args(arguments).env(ARENAS, "1").exec();
}

/// Whether this many bytes can be allocated.
pub fn has(bytes: u64) -> bool {
    usize::try_from(bytes).is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok())
}

/// Fails unless this many bytes can be allocated.
pub fn check(needed_bytes: u64) -> Result<(), Failure> {
    if has(needed_bytes) { Ok(()) } else { Err(Failure::OutOfMemory { needed_bytes }) }
}

/// Limits a cache of `bytes` to a quarter of the remaining address space.
pub fn cache_bytes(bytes: u64) -> u64 {
    room_bytes().map_or(bytes, |room| bytes.min(room / 4))
}

/// Whether the system refused memory or a process.
pub fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory)
}
