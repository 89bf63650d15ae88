//! The exit codes.

use std::process::ExitCode;

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Done = 0,
    /// Any failure without a code of its own.
    Failure = 1,
    /// The command line is invalid.
    Usage = 2,
    /// Stored bytes are damaged.
    Damage = 4,
    /// The compared disks differ.
    Differ = 5,
    /// There is no store.
    NoStore = 10,
    /// Another process holds the lock.
    Locked = 11,
    /// No such image, name or input file.
    NotFound = 13,
    /// The format or feature is not supported by this release.
    Unsupported = 14,
    /// No space left.
    NoSpace = 15,
    /// The content does not have the expected digest.
    DigestMismatch = 17,
    /// Stopped by a signal.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
