//! Unmounting from another process.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags};

use crate::error::{Error, Result};
use crate::{device, folder, mounts};

/// The time limit for the end of the process, which has nothing to do after the unmount.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Unmounts the images at `dir`, waits for the end of the process that served them, and returns the path
/// without symbolic links. Also clears away the mount of a killed process.
///
/// # Errors
/// [`Error::NotMounted`] if the mount is not melv's; [`Error::Busy`]; [`Error::StillRunning`]; errors of the
/// kernel and of `fusermount3`.
pub fn umount(dir: &Path) -> Result<PathBuf> {
    let real = folder::resolve(dir)?;
    let entry = mounts::at(&real)?.filter(mounts::MountEntry::is_melv);
    let entry = entry.ok_or_else(|| Error::NotMounted { dir: dir.into() })?;
    // The id of an ended process may have been reused.
    let process = entry.process().filter(|_| entry.is_served());
    let handle = process.and_then(handle_of);
    device::unmount(&real, false)?;
    if let (Some(pid), Some(handle)) = (process, handle)
        && !has_ended(&handle)
    {
        return Err(Error::StillRunning { dir: real, pid });
    }
    Ok(real)
}

/// Returns a handle to a process, if it exists and is visible.
fn handle_of(process: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(process).ok()?)?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()
}

fn has_ended(process: &OwnedFd) -> bool {
    let timeout = Timespec::try_from(ENDS_WITHIN).ok();
    let mut wanted = [PollFd::new(process, PollFlags::IN)];
    let ended = rustix::io::retry_on_intr(|| poll(&mut wanted, timeout.as_ref()));
    ended.is_ok_and(|ready| ready > 0)
}
