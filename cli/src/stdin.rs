//! Pipes that a disk is read from: standard input, and the output of a command. A read fails after a
//! cancellation, even while no data arrives.

use melv::{BlockError, Deferred};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::failure::Failure;

/// The maximum time until a read notices a cancellation.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The name of standard input in messages.
pub const NAME: &str = "standard input";

/// The reason that a bundle cannot be read from a pipe.
pub const NO_BUNDLE: &str = "a bundle cannot be read from a pipe; write it to a file first";

/// A check, called while no data arrives, that fails if none ever will.
pub type Watch<'a> = Box<dyn Fn() -> io::Result<()> + Send + 'a>;

/// An unbuffered pipe.
pub struct Pipe<'a> {
    file: File,
    cancel: &'a AtomicBool,
    watch: Option<Watch<'a>>,
    has_ended: Arc<AtomicBool>,
}

impl std::fmt::Debug for Pipe<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipe").field("file", &self.file).finish_non_exhaustive()
    }
}

impl<'a> Pipe<'a> {
    /// Opens standard input as a pipe; `cancel` cancels its reads.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a terminal: nobody types a disk.
    pub fn stdin(cancel: &'a AtomicBool) -> Result<Self, Failure> {
        check_no_terminal()?;
        let fd = io::stdin().as_fd().try_clone_to_owned();
        let fd = fd.map_err(|error| melv::Error::io("open", NAME, error))?;
        Ok(Self::new(fd, cancel, None))
    }

    /// Opens any pipe; `cancel` cancels its reads.
    pub fn new(fd: OwnedFd, cancel: &'a AtomicBool, watch: Option<Watch<'a>>) -> Self {
        Self { file: fd.into(), cancel, watch, has_ended: Arc::default() }
    }

    /// Returns the flag for the end of input, for use after the pipe is gone.
    pub fn has_ended(&self) -> Arc<AtomicBool> {
        self.has_ended.clone()
    }
}

/// Fails if standard input is a terminal, since the command would wait for it silently.
pub fn check_no_terminal() -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        let text = "standard input is a terminal; redirect a file or the output of a command to it";
        return Err(Failure::Usage(text.into()));
    }
    Ok(())
}

impl Read for Pipe<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                // Not of the kind `Interrupted`: readers try again after that.
                return Err(Deferred::io_error(|_| BlockError::Interrupted.into()));
            }
            match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&PATIENCE)) {
                Ok(0) => self.watch.as_ref().map_or(Ok(()), |watch| watch())?,
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) => {
                    let read = self.file.read(buf)?;
                    if read == 0 && !buf.is_empty() {
                        self.has_ended.store(true, Ordering::Relaxed);
                    }
                    return Ok(read);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
