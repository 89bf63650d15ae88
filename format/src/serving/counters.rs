//! What was served.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of all disks of a process; any number of threads add to them.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) requests: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) hits: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) verification_failures: AtomicU64,
}

/// [`Counters`] as they were at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Reads.
    pub requests: u64,
    /// Bytes that they gave.
    pub bytes: u64,
    /// Those of the reads whose bytes were all in the cache when they were asked for.
    pub hits: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that failed since what is stored is not what it must be.
    pub verification_failures: u64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// All counts now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            requests: of(&self.requests),
            bytes: of(&self.bytes),
            hits: of(&self.hits),
            errors: of(&self.errors),
            verification_failures: of(&self.verification_failures),
        }
    }
}
