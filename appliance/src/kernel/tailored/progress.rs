//! How far a build is, pure.

use std::time::Duration;

/// The state of a build, for those who watch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Another process builds the same kernel.
    Wait,
    /// The source is unpacked: bytes of the package that were read, and all of them.
    Unpack {
        /// Bytes that were read.
        done: u64,
        /// All bytes.
        total: u64,
    },
    /// The configuration is made.
    Configure,
    /// The kernel is compiled: steps that are done, and an estimate of all of them.
    Compile {
        /// Steps that are done.
        done: u64,
        /// All steps, never fewer than are done.
        total: u64,
        /// Time that is left, by the pace so far; none before there is one.
        remaining: Option<Duration>,
    },
}

/// Steps before there is a pace: the first ones are programs of the build itself.
const FIRST_STEPS: u64 = 60;

/// Returns the state of a compilation after `elapsed`.
pub(super) fn compile(done: u64, estimate: u64, elapsed: Duration) -> Progress {
    let total = estimate.max(done);
    let left = (total - done) as f64 / done.max(1) as f64;
    let remaining =
        (done >= FIRST_STEPS).then(|| Duration::from_secs_f64((elapsed.as_secs_f64() * left).min(1e9)));
    Progress::Compile { done, total, remaining }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remaining_time_follows_the_pace() {
        let second = Duration::from_secs(1);
        let of = |done, estimate, seconds| compile(done, estimate, second * seconds);
        assert_eq!(of(10, 1000, 5), Progress::Compile { done: 10, total: 1000, remaining: None });
        assert_eq!(
            of(250, 1000, 60),
            Progress::Compile { done: 250, total: 1000, remaining: Some(second * 180) }
        );
        assert_eq!(
            of(1200, 1000, 60),
            Progress::Compile { done: 1200, total: 1200, remaining: Some(Duration::ZERO) }
        );
        assert_eq!(of(0, 0, 0), Progress::Compile { done: 0, total: 0, remaining: None });
        let _ = of(60, u64::MAX, u32::MAX);
    }
}
