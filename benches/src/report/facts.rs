//! The facts of a run: commit, time and machine.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// The facts, collected when a report begins.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// The commit; `None` if git does not report one.
    pub commit: Option<String>,
    pub dirty: bool,
    /// RFC 3339, UTC.
    pub date: String,
    pub machine: String,
}

impl Facts {
    /// Queries git, the clock and the kernel.
    pub fn find() -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self {
            commit: git(&["rev-parse", "HEAD"]),
            dirty: git(&["status", "--porcelain"]).is_none_or(|changes| !changes.is_empty()),
            date: rfc3339(seconds),
            machine: machine(),
        }
    }
}

/// Returns git's output in the sources' folder, as recorded by the build: moved binaries do not find it.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR")]).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn machine() -> String {
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".into());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|size| size.split(' ').next()?.parse::<f64>().ok())
        .map_or_else(|| "unknown memory".into(), |kib| format!("{:.1} GiB", kib / f64::from(1 << 20)));
    let cores = format!("{cores} core{}", if cores == 1 { "" } else { "s" });
    format!("{cpu}, {cores}, {memory}, Linux {}", kernel.trim())
}

/// Returns the value of the first line `name : value` of a file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let (_, value) =
        text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}

/// Formats seconds since 1970 as a UTC date and time.
pub(super) fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of year 0, so that a leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}Z")
}
