//! Counters of the served reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters over all disks of a process; any number of threads update them.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) requests: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) hits: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) verification_failures: AtomicU64,
}

/// A snapshot of [`Counters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// The number of reads.
    pub requests: u64,
    /// The bytes returned by reads.
    pub bytes: u64,
    /// The number of reads served entirely from the cache.
    pub hits: u64,
    /// The number of failed reads.
    pub errors: u64,
    /// The number of reads that failed because stored data is damaged.
    pub verification_failures: u64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns all counts now.
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
