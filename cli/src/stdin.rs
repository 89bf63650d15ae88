//! Standard input as a stream that ends with an error once the user wants to stop, even while
//! nothing arrives on it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a wish to stop may go unnoticed.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What to call it in messages.
pub const NAME: &str = "standard input";

/// The error that a cancelled read ends with. Not of the kind `Interrupted`: readers try again
/// after that.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Cancelled;

impl Cancelled {
    /// Whether this is why `error` came about.
    pub fn caused(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// Standard input, unbuffered.
#[derive(Debug)]
pub struct Stdin<'a> {
    file: File,
    cancel: &'a AtomicBool,
}

impl<'a> Stdin<'a> {
    /// Standard input, until `cancel` is set.
    pub fn open(cancel: &'a AtomicBool) -> melv::Result<Self> {
        let fd = io::stdin().as_fd().try_clone_to_owned();
        let file = fd.map_err(|error| melv::Error::io("open", NAME, error))?.into();
        Ok(Self { file, cancel })
    }
}

impl Read for Stdin<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(io::Error::other(Cancelled));
            }
            match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&PATIENCE)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return self.file.read(buf),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
