//! Reads that wait for the storage medium, and the threads for them.
//!
//! Decoding is CPU-bound, so one thread per core is enough. A read that misses memory waits for a drive or a
//! network, and there concurrency pays. The two cases can only be told apart afterwards: the kernel counts a
//! thread's voluntary context switches. If a thread slept during a read, more threads than cores are useful
//! for a while.
//!
//! A front end lets a [`LatencyProbe`] watch the reads that miss the cache, and asks it whether extra threads
//! are useful. A thread takes up to 400 KiB, for a decoder's tables and long answers. Beyond a few per client or
//! mount, threads are therefore limited by a [`Budget`]: each needs a [`ThreadPermit`]. A thread that polls
//! instead of sleeping needs a [`PollingPermit`], so that one processor stays free.
//!
//! Front ends that share a budget share its limits. Nothing here is a static: a process may have several
//! budgets, and one that is dropped leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::resource::{UsageWho, getrusage};

/// One read in this many is watched, because watching takes two system calls.
const WATCHED_EVERY: usize = 4;
/// Weight of a read that slept, against 1 for one that did not: the score grows once more than one read in
/// five sleeps. Some sleep only on lock contention, hence not one in two.
const WAITED: usize = 4;
/// The score from which on reads are expected to wait.
const WAITING_MIN: usize = 8;
/// The maximum score.
const WAITING_MAX: usize = 24;
/// The default maximum number of extra threads, over all front ends of a budget.
const EXTRA_MAX: usize = 24;

/// An estimate of whether a disk's (or a front end's) storage medium makes reads wait.
#[derive(Debug, Default)]
pub struct LatencyProbe {
    /// The score of recent waiting.
    waiting: AtomicUsize,
    reads: AtomicUsize,
}

impl LatencyProbe {
    /// Whether reads are expected to wait.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= WAITING_MIN
    }

    /// Calls `read` and samples whether it sleeps.
    pub fn watch<T>(&self, read: impl FnOnce() -> T) -> T {
        if !self.reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(WATCHED_EVERY) {
            return read();
        }
        let before = sleeps();
        let done = read();
        let waiting = self.waiting.load(Ordering::Relaxed);
        let now =
            if sleeps() == before { waiting.saturating_sub(1) } else { (waiting + WAITED).min(WAITING_MAX) };
        // Concurrent updates may be lost: the score is an estimate.
        if now != waiting {
            self.waiting.store(now, Ordering::Relaxed);
        }
        done
    }
}

/// Returns this thread's voluntary context switches: its sleeps.
fn sleeps() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.voluntary_context_switches())
}

/// The limits that all front ends with this budget share. Clones are handles of the same budget.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Limits>);

#[derive(Debug)]
struct Limits {
    extra_threads: Limit,
    polling_threads: Limit,
}

/// A number of threads, and its maximum.
#[derive(Debug)]
struct Limit {
    taken: AtomicUsize,
    max: usize,
}

impl Limit {
    fn new(max: usize) -> Self {
        Self { taken: AtomicUsize::new(0), max }
    }

    /// Takes one, unless all are taken.
    fn take(&self) -> bool {
        let one_more = |taken| Some(taken + 1).filter(|taken| *taken <= self.max);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Budget {
    /// Allows 24 extra threads, and one polling thread fewer than there are processors.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(EXTRA_MAX, processors - 1)
    }
}

impl Budget {
    /// Creates a budget of at most so many threads beyond the few per client or mount, and of at most so many
    /// threads that poll at the same time.
    #[must_use]
    pub fn new(extra_threads_max: usize, polling_threads_max: usize) -> Self {
        let (extra_threads, polling_threads) =
            (Limit::new(extra_threads_max), Limit::new(polling_threads_max));
        Self(Arc::new(Limits { extra_threads, polling_threads }))
    }

    /// Returns a permit for one more thread, unless all are taken.
    #[must_use]
    pub fn extra_thread(&self) -> Option<ThreadPermit> {
        self.0.extra_threads.take().then(|| ThreadPermit(self.clone()))
    }

    /// Returns a permit to poll, unless all are taken.
    #[must_use]
    pub fn polling(&self) -> Option<PollingPermit<'_>> {
        self.0.polling_threads.take().then(|| PollingPermit(&self.0.polling_threads))
    }
}

/// A permit for one thread beyond the few per client or mount; dropping it returns the permit.
#[derive(Debug)]
pub struct ThreadPermit(Budget);

impl Drop for ThreadPermit {
    fn drop(&mut self) {
        self.0.0.extra_threads.give_back();
    }
}

/// A permit for one thread to poll; dropping it returns the permit.
#[derive(Debug)]
pub struct PollingPermit<'a>(&'a Limit);

impl Drop for PollingPermit<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sleep() {
        std::thread::sleep(Duration::from_micros(50));
    }

    #[test]
    fn reads_that_sleep_are_seen_and_forgotten_after_some_that_do_not() {
        let probe = LatencyProbe::default();
        assert_eq!(probe.watch(|| 7), 7);
        for number in 1..=4 * WATCHED_EVERY {
            assert_eq!(probe.is_slow(), number > 2 * WATCHED_EVERY, "{number}");
            probe.watch(sleep);
        }
        (0..WAITING_MAX * WATCHED_EVERY).for_each(|_| probe.watch(sleep));
        assert!(probe.is_slow());
        (0..WAITING_MAX * WATCHED_EVERY).for_each(|_| probe.watch(|| ()));
        assert!(!probe.is_slow());
        assert_eq!(probe.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_read_in_ten_that_sleeps_makes_no_slow_medium() {
        let probe = LatencyProbe::default();
        for number in 0..200 {
            // One read in `WATCHED_EVERY` is watched, starting with the first.
            probe.watch(|| {
                if number % 10 == 0 {
                    sleep()
                }
            });
            (1..WATCHED_EVERY).for_each(|_| probe.watch(|| ()));
            assert!(!probe.is_slow());
        }
    }

    #[test]
    fn no_more_threads_than_the_budget_allows_and_all_come_back() {
        let budget = Budget::new(3, 1);
        for _ in 0..2 {
            let all: Vec<_> = std::iter::from_fn(|| budget.clone().extra_thread()).collect();
            assert_eq!(all.len(), 3);
            let polling = budget.polling();
            assert!(polling.is_some() && budget.polling().is_none());
        }
        assert!(budget.polling().is_some());
    }

    #[test]
    fn two_budgets_share_nothing() {
        let (one, other) = (Budget::new(1, 1), Budget::new(1, 0));
        let permit = one.extra_thread();
        assert!(permit.is_some() && one.extra_thread().is_none() && other.extra_thread().is_some());
        assert!(one.polling().is_some() && other.polling().is_none());
        // A permit may outlive the handles of its budget.
        drop(one);
        drop(permit);
    }
}
