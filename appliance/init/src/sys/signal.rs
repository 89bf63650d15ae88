//! Signals as a file.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, FromRawFd},
};

use super::{abi, check};

/// Signals that were blocked and are read here.
#[derive(Debug)]
pub struct Signals(File);

/// Blocks `numbers` and returns them as a file that can be polled.
pub fn signals(numbers: &[i32]) -> io::Result<Signals> {
    const SIG_BLOCK: i32 = 0;
    const NONBLOCK_CLOEXEC: i32 = 0o4000 | 0o200_0000;
    let mut set = abi::SignalSet([0; 16]);
    // SAFETY: `set` has the size of `sigset_t` and lives until each call returns.
    let fd = unsafe {
        check(abi::sigemptyset(&raw mut set))?;
        for number in numbers {
            check(abi::sigaddset(&raw mut set, *number))?;
        }
        check(abi::sigprocmask(SIG_BLOCK, &raw const set, std::ptr::null_mut()))?;
        check(abi::signalfd(-1, &raw const set, NONBLOCK_CLOEXEC))?
    };
    // SAFETY: the descriptor is new, and nothing else owns it.
    Ok(Signals(unsafe { File::from_raw_fd(fd) }))
}

impl Signals {
    /// Returns the number of a signal that has come, if one has.
    pub fn next(&mut self) -> Option<u32> {
        // `struct signalfd_siginfo` has 128 bytes and begins with the number.
        let mut info = [0; 128];
        let read = self.0.read(&mut info).ok()?;
        let number = info.first_chunk::<4>()?;
        (read == info.len()).then(|| u32::from_ne_bytes(*number))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
