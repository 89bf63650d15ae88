//! Standard input as a stream that ends with an error once the user wants to stop, even while
//! nothing arrives on it.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use melv::Container;

use crate::report::note;

/// Bytes that tell a format.
const MARK_LEN: u64 = 1024;

/// How long a wish to stop may go unnoticed.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What to call it in messages.
pub const NAME: &str = "standard input";

/// Why a bundle does not come from it.
pub const NO_BUNDLE: &str = "a bundle is read by position, and a pipe has none; write it to a file first";

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

    /// Standard input as a raw disk. Gives the format that it seems to be in, too, if it is not raw:
    /// a pipe is taken as it is unless told otherwise, but not without a word.
    pub fn open_raw(cancel: &'a AtomicBool) -> melv::Result<(impl Read + Send + 'a, Option<Container>)> {
        let mut stdin = Self::open(cancel)?;
        let mut first = Vec::new();
        let read = (&mut stdin).take(MARK_LEN).read_to_end(&mut first);
        read.map_err(|error| melv::Error::io("read", format!("{NAME} at byte 0"), error))?;
        let format = Container::of(&first, &[]);
        Ok((Cursor::new(first).chain(stdin), format))
    }
}

/// Says that standard input is taken as raw though it looks like another format.
pub fn note_format(format: Option<Container>) {
    let Some(format) = format else { return };
    let better = if format.is_vmdk() { "--format vmdk reads it" } else { "unpack or convert it first" };
    note(&format!("melv: warning: {NAME} looks like {} and is taken as raw; {better}", format.name()));
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
