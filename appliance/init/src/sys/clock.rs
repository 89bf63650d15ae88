//! Clocks.

use std::time::Duration;

use super::abi;

/// Returns the time since the kernel started.
pub fn since_boot() -> Duration {
    const CLOCK_BOOTTIME: i32 = 7;
    let mut time = [0; 2];
    // SAFETY: `time` has the layout of `struct timespec` on LP64 and lives until the call returns.
    unsafe { abi::clock_gettime(CLOCK_BOOTTIME, &raw mut time) };
    Duration::new(u64::try_from(time[0]).unwrap_or(0), u32::try_from(time[1]).unwrap_or(0))
}

/// Sets the clock to a time since 1970.
pub fn set_clock(time: Duration) -> std::io::Result<()> {
    const CLOCK_REALTIME: i32 = 0;
    let time = [i64::try_from(time.as_secs()).unwrap_or(i64::MAX), i64::from(time.subsec_nanos())];
    // SAFETY: as in `since_boot`.
    super::check(unsafe { abi::clock_settime(CLOCK_REALTIME, &raw const time) }).map(drop)
}

/// Lets the clock drift by so many microseconds, without a jump.
pub fn adjust_clock(microseconds: i64) -> std::io::Result<()> {
    let delta = [microseconds.div_euclid(1_000_000), microseconds.rem_euclid(1_000_000)];
    // SAFETY: `delta` has the layout of `struct timeval` on LP64; the old value may be null.
    super::check(unsafe { abi::adjtime(&raw const delta, std::ptr::null_mut()) }).map(drop)
}
