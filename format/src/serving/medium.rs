//! Reads that wait for what the disk lies on, and the threads for them.
//!
//! Decoding takes a processor, and as many threads as there are processors do all of it. A read that is not in
//! memory waits for a drive or a network instead, and there the more of them wait at once the better. Which
//! of the two it is shows afterwards: the kernel counts how often a thread slept of its own accord. Where
//! one did while it read, more threads than processors are of use, for a while.
//!
//! A front end has a [`Medium`] watch the reads of what is not held, and asks it how many threads are of use. Threads
//! take memory, up to 400 KiB each with a decoder's tables and long answers, so beyond the few that each client or
//! mount has there is a bound for the whole process: each is an [`ExtraThread`].

use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::resource::{UsageWho, getrusage};

/// One read of so many is watched: it takes two calls to the kernel.
const WATCHED_EVERY: usize = 4;
/// What one that waited counts, against one for each that did not: with more than one in five that wait, it
/// grows. Some wait for nothing but each other.
const WAITED: usize = 4;
/// From this on reads are expected to wait.
const WAITING_MIN: usize = 8;
/// It does not grow beyond.
const WAITING_MAX: usize = 24;
/// Such threads, of all front ends of the process together.
const EXTRA_MAX: usize = 24;

static EXTRA: AtomicUsize = AtomicUsize::new(0);

/// What one disk, or all of a front end, lies on, as its reads tell.
#[derive(Debug, Default)]
pub struct Medium {
    /// How much reads lately waited.
    waiting: AtomicUsize,
    reads: AtomicUsize,
}

impl Medium {
    /// Whether reads are expected to wait.
    #[must_use]
    pub fn makes_wait(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= WAITING_MIN
    }

    /// Reads, and sees now and then whether that waits.
    pub fn watch<T>(&self, read: impl FnOnce() -> T) -> T {
        if !self.reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(WATCHED_EVERY) {
            return read();
        }
        let before = sleeps();
        let done = read();
        let waiting = self.waiting.load(Ordering::Relaxed);
        let now =
            if sleeps() == before { waiting.saturating_sub(1) } else { (waiting + WAITED).min(WAITING_MAX) };
        // Two at once may count as one: it is a guess anyway.
        if now != waiting {
            self.waiting.store(now, Ordering::Relaxed);
        }
        done
    }
}

/// How often this thread gave up its processor because it had to wait.
fn sleeps() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.voluntary_context_switches())
}

/// The right to have one thread more than the few of each client or mount, until it is dropped.
#[derive(Debug)]
pub struct ExtraThread(());

impl ExtraThread {
    /// The right, unless 24 have it.
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
            // The first of so many is watched.
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
        // Other tests may have some.
        assert!(!all.is_empty() && all.len() <= EXTRA_MAX && EXTRA.load(Ordering::Relaxed) <= EXTRA_MAX);
        drop(all);
        assert!(ExtraThread::begin().is_some());
    }
}
