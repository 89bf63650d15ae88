//! The kernel's figures on this process's memory.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The sampling interval of [`peak_during`].
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Memory of the process, in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Peak resident memory, including file pages.
    pub peak_kib: u64,
    /// Current resident memory, including file pages.
    pub resident_kib: u64,
    /// Current resident anonymous memory.
    pub anonymous_kib: u64,
}

impl Memory {
    /// Reads the current values.
    ///
    /// # Errors
    /// Any error of reading `/proc`.
    pub fn now() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
        };
        let missing = || io::Error::other("/proc/self/status lacks a field");
        Ok(Self {
            peak_kib: field("VmHWM").ok_or_else(missing)?,
            resident_kib: field("VmRSS").ok_or_else(missing)?,
            anonymous_kib: field("RssAnon").ok_or_else(missing)?,
        })
    }
}

/// Runs `work`; returns its result and the peak resident anonymous memory sampled meanwhile, in KiB.
///
/// # Errors
/// Any error of reading `/proc`.
pub fn peak_during<T>(work: impl FnOnce() -> T) -> io::Result<(T, u64)> {
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(Memory::now()?.anonymous_kib));
    let look = || Memory::now().map(|now| peak.fetch_max(now.anonymous_kib, Ordering::Relaxed));
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _ = look();
                std::thread::sleep(LOOK_EVERY);
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    });
    look()?;
    Ok((result, peak.into_inner()))
}
