//! Reads that wait for the storage medium, and the threads for them.
//!
//! Decoding is CPU-bound, so one thread per core is enough. A read that misses memory waits for a drive or a
//! network, and there concurrency pays. The two cases can only be told apart afterwards: the kernel counts a
//! thread's voluntary context switches. If a thread slept during a read, more threads than cores are useful
//! for a while.
//!
//! A front end lets a [`Medium`] watch the reads that miss the cache, and asks it whether extra threads are
//! useful. A thread takes up to 400 KiB, for a decoder's tables and long answers. Beyond a few per client or
//! mount, threads are therefore limited for the whole process: each needs an [`ExtraThread`].

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
/// The maximum number of extra threads, over all front ends of the process.
const EXTRA_MAX: usize = 24;

static EXTRA: AtomicUsize = AtomicUsize::new(0);

/// An estimate of whether a disk's (or a front end's) storage medium makes reads wait.
#[derive(Debug, Default)]
pub struct Medium {
    /// The score of recent waiting.
    waiting: AtomicUsize,
    reads: AtomicUsize,
}

impl Medium {
    /// Whether reads are expected to wait.
    #[must_use]
    pub fn makes_wait(&self) -> bool {
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

/// A permit for one thread beyond the few per client or mount; dropping it returns the permit.
#[derive(Debug)]
pub struct ExtraThread(());

impl ExtraThread {
    /// Returns a permit, unless 24 are taken.
    #[must_use]
    pub fn begin() -> Option<Self> {
        let one_more = |extra| Some(extra + 1).filter(|extra| *extra <= EXTRA_MAX);
        EXTRA.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Self(()))
    }
}

impl Drop for ExtraThread {
    fn drop(&mut self) {
        EXTRA.fetch_sub(1, Ordering::Relaxed);
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
        let medium = Medium::default();
        assert_eq!(medium.watch(|| 7), 7);
        for number in 1..=4 * WATCHED_EVERY {
            assert_eq!(medium.makes_wait(), number > 2 * WATCHED_EVERY, "{number}");
            medium.watch(sleep);
        }
        (0..WAITING_MAX * WATCHED_EVERY).for_each(|_| medium.watch(sleep));
        assert!(medium.makes_wait());
        (0..WAITING_MAX * WATCHED_EVERY).for_each(|_| medium.watch(|| ()));
        assert!(!medium.makes_wait());
        assert_eq!(medium.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_read_in_ten_that_sleeps_is_no_medium_that_makes_wait() {
        let medium = Medium::default();
        for number in 0..200 {
            // One read in `WATCHED_EVERY` is watched, starting with the first.
            medium.watch(|| {
                if number % 10 == 0 {
                    sleep()
                }
            });
            (1..WATCHED_EVERY).for_each(|_| medium.watch(|| ()));
            assert!(!medium.makes_wait());
        }
    }

    #[test]
    fn no_more_extra_threads_than_there_may_be() {
        let all: Vec<_> = std::iter::from_fn(ExtraThread::begin).take(EXTRA_MAX + 1).collect();
        // Other tests may hold some.
        assert!(!all.is_empty() && all.len() <= EXTRA_MAX && EXTRA.load(Ordering::Relaxed) <= EXTRA_MAX);
        drop(all);
        assert!(ExtraThread::begin().is_some());
    }
}
