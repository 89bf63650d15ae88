//! Faults of boot files, and failures of the program that makes some of them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::cmdline::CommandLineError;
use crate::fat::FatError;

/// Boot files that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// The command line is not one.
    #[error(transparent)]
    CommandLine(#[from] CommandLineError),
    /// Neither UEFI nor a BIOS would start the disk.
    #[error("no firmware: expected UEFI, BIOS or both")]
    NoFirmware,
    /// A file of the caller has no bytes.
    #[error("{path}: no bytes")]
    EmptyFile {
        /// The path on the EFI system partition.
        path: &'static str,
    },
    /// The volume on which syslinux works could not be made.
    #[error("the volume for syslinux")]
    Volume(#[from] FatError),
    /// The volume has no room for syslinux. On a full volume it leaves empty files, and says that it was done.
    #[error("the volume has {free} bytes free, expected {needed} for syslinux")]
    NoRoom {
        /// Free bytes.
        free: u64,
        /// Bytes that it needs.
        needed: u64,
    },
    /// The temporary folder could not be made, filled or read.
    #[error("{}: the temporary folder of syslinux", path.display())]
    Temporary {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("{}: cannot be started", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A program took too long and was ended.
    #[error("{}: not done after {limit:?}; it said: {said:?}", program.display())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// The time that it had.
        limit: Duration,
        /// The last of its output.
        said: String,
    },
    /// A program failed.
    #[error("{}: {}; it said: {said:?}", program.display(), ending(*code))]
    Failed {
        /// The program.
        program: PathBuf,
        /// Its exit code; none where a signal ended it.
        code: Option<i32>,
        /// The last of its output.
        said: String,
    },
    /// syslinux said that it was done, but the volume is not as it should be.
    #[error("syslinux: byte {offset} of the volume: {fault}; it said: {said:?}")]
    Unexpected {
        /// The place in the volume.
        offset: u64,
        /// The fault.
        fault: InstallFault,
        /// The last of its output.
        said: String,
    },
}

/// Faults of a volume on which syslinux was installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstallFault {
    /// The volume has another length.
    #[error("the volume ends here, expected {expected} bytes")]
    Length {
        /// Bytes of the volume before.
        expected: u64,
    },
    /// Parameters of the volume, a used cluster's number, an entry or a file has changed.
    #[error("a change of something that was there before")]
    Overwritten,
    /// The root has no entry of a file that syslinux adds.
    #[error("no entry of {name:?} in the root")]
    NoEntry {
        /// The short name, padded.
        name: &'static str,
    },
    /// A file that syslinux adds is empty: there was no room for it.
    #[error("{name:?} is empty")]
    EmptyFile {
        /// The short name, padded.
        name: &'static str,
    },
    /// More has changed than syslinux's own files need.
    #[error("more than {max} bytes have changed")]
    TooMuch {
        /// Bytes at most.
        max: usize,
    },
}

fn ending(code: Option<i32>) -> String {
    code.map_or_else(|| "ended by a signal".to_owned(), |code| format!("exit code {code}"))
}
