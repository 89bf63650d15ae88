//! Waiting for files.

use std::{
    os::fd::{AsRawFd, BorrowedFd},
    time::Duration,
};

use super::abi;

/// The thing to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to read, or the end.
    Read,
    /// Room to write.
    Write,
}

/// Files to wait for, each with a token.
#[derive(Debug)]
pub struct Poll<'a, T> {
    entries: Vec<(abi::PollFd, T)>,
    files: std::marker::PhantomData<BorrowedFd<'a>>,
}

impl<'a, T: Copy> Poll<'a, T> {
    const READ: i16 = 1;
    const WRITE: i16 = 4;

    /// Makes an empty set.
    pub fn new() -> Self {
        Self { entries: Vec::new(), files: std::marker::PhantomData }
    }

    /// Adds a file.
    pub fn add(&mut self, file: BorrowedFd<'a>, interest: Interest, token: T) {
        let events = if interest == Interest::Read { Self::READ } else { Self::WRITE };
        self.entries.push((abi::PollFd { fd: file.as_raw_fd(), events, revents: 0 }, token));
    }

    /// Waits until a file is ready, or the time is over, and returns the tokens of ready files.
    pub fn wait(self, timeout: Option<Duration>) -> Vec<T> {
        let mut fds: Vec<abi::PollFd> = self.entries.iter().map(|(fd, _)| *fd).collect();
        // Rounded up, so that the caller does not spin until the deadline.
        let milliseconds =
            timeout.map_or(-1, |time| i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
        // SAFETY: pointer and count are of one vector. The descriptors are open, since they are borrowed.
        unsafe { abi::poll(fds.as_mut_ptr(), fds.len() as u64, milliseconds) };
        let ready = fds.iter().zip(&self.entries).filter(|(fd, _)| fd.revents != 0);
        ready.map(|(_, (_, token))| *token).collect()
    }
}
