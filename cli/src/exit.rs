//! How a run ends: exit codes, and failures as text for people or JSON for programs.

use std::io::{ErrorKind, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use melv::Error;
use serde_json::json;

use crate::args::{Color, Globals};
use crate::report::note;
use crate::stdin::Cancelled;

/// The exit codes of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Done = 0,
    /// Any failure without a code of its own.
    Failure = 1,
    /// The command line is not acceptable.
    Usage = 2,
    /// Stored bytes are damaged.
    Damage = 4,
    /// The disks compared are not the same.
    Differ = 5,
    /// There is no store.
    NoStore = 10,
    /// Another process holds the lock.
    Locked = 11,
    /// No such image, name or input file.
    NotFound = 13,
    /// A format or feature that this release does not have.
    Unsupported = 14,
    /// No space left.
    NoSpace = 15,
    /// Content does not have the digest that it must have.
    DigestMismatch = 17,
    /// Stopped by a signal.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The library's word.
    #[error(transparent)]
    Melv(#[from] Error),
    /// The command line is not acceptable: what was given, and what would be.
    #[error("{0}")]
    Usage(String),
    /// An input file is not there.
    #[error("there is no file {}", path.display())]
    NoFile {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// An argument is neither a reference of the store nor a file.
    #[error("{text} is neither an image of this store nor a file")]
    NoOperand {
        /// The argument.
        text: String,
    },
    /// A file in a format that cannot be read yet.
    #[error("{} is in the format {format}, which this version of melv does not read", path.display())]
    ForeignFile {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: &'static str,
    },
    /// A format asked for by name that is not built yet.
    #[error("--format {format} is known, but this version of melv does not {verb} it")]
    ForeignFormat {
        /// The format.
        format: String,
        /// Read or write.
        verb: &'static str,
    },
    /// Who read standard output went away before all of a disk was written.
    #[error("the reader of standard output went away")]
    ReaderGone,
}

impl Failure {
    /// The exit code that the contract has for it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Melv(error) => exit_of(error),
            Self::Usage(_) => Exit::Usage,
            Self::NoFile { .. } | Self::NoOperand { .. } => Exit::NotFound,
            Self::ForeignFile { .. } | Self::ForeignFormat { .. } => Exit::Unsupported,
            Self::ReaderGone => Exit::Failure,
        }
    }

    /// What to do next, where the message does not say it.
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Melv(error) => hint_of(error),
            Self::NoOperand { .. } => Some("`melv ls` lists the images; a file can be given as ./NAME"),
            Self::ForeignFile { .. } => Some(
                "convert it with `qemu-img convert -O raw FILE OUT.raw`, or unpack it; \
                 --format raw takes the bytes as they are",
            ),
            Self::ForeignFormat { .. } => {
                Some("the only format so far is raw; qemu-img converts to and from it")
            }
            Self::Usage(_) | Self::NoFile { .. } | Self::ReaderGone => None,
        }
    }
}

fn exit_of(error: &Error) -> Exit {
    match error {
        Error::Corrupt { .. } => Exit::Damage,
        error if is_lost_object(error) => Exit::Damage,
        Error::DigestMismatch { .. } => Exit::DigestMismatch,
        Error::NotFound { .. } => Exit::NotFound,
        Error::Ambiguous { .. } | Error::Invalid { .. } => Exit::Usage,
        Error::NoStore { .. } => Exit::NoStore,
        Error::Locked { .. } => Exit::Locked,
        Error::Unsupported { .. } => Exit::Unsupported,
        Error::NoSpace { .. } => Exit::NoSpace,
        Error::Interrupted => Exit::Interrupted,
        Error::Io { source, .. } if Cancelled::caused(source) => Exit::Interrupted,
        _ => Exit::Failure,
    }
}

/// Whether the store lacks a file that another of its files names. Input files do not come here:
/// they are looked at first.
fn is_lost_object(error: &Error) -> bool {
    matches!(error, Error::Io { operation: "open", source, .. } if source.kind() == ErrorKind::NotFound)
}

fn hint_of(error: &Error) -> Option<&'static str> {
    if error.is_damage() || is_lost_object(error) {
        return Some("`melv verify --full` lists all that is damaged and whom it hurts");
    }
    match error {
        Error::NoStore { .. } => Some("--store DIR or $MELV_STORE names another place"),
        Error::Locked { .. } => Some("--wait SECONDS waits longer"),
        Error::NotFound { .. } => Some("`melv ls` lists the images"),
        Error::Ambiguous { .. } => Some("`melv ls --json` shows whole image ids"),
        Error::Exists { what: "file", .. } => Some("--force replaces it"),
        Error::Exists { .. } => {
            Some("choose another name, or take it from the image that has it with --replace")
        }
        Error::Unsupported { .. } => Some("a newer version of melv may have it"),
        Error::Changed { .. } => Some("stop whoever writes to it, or give a snapshot of it"),
        Error::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            Some("look at who owns it and at its mode")
        }
        _ => None,
    }
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Tells of a failure, if it is one, and gives the process's exit code.
pub fn finish(globals: &Globals, result: Result<Exit, Failure>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            tell(globals, &failure);
            failure.exit().into()
        }
    }
}

fn tell(globals: &Globals, failure: &Failure) {
    let exit = failure.exit();
    if matches!(failure, Failure::ReaderGone) {
        return;
    }
    let text = if exit == Exit::Interrupted { "interrupted".into() } else { chain(failure) };
    if globals.json {
        note(&json!({ "error": text, "hint": failure.hint(), "code": exit as u8 }).to_string());
        return;
    }
    let (strong, faint, plain) =
        if is_colored(globals.color) { ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") } else { ("", "", "") };
    note(&format!("{strong}melv:{plain} {text}"));
    if let Some(hint) = failure.hint() {
        note(&format!("{faint}hint:{plain} {hint}"));
    }
}

/// Whether standard error gets colours.
pub fn is_colored(color: Color) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => !refused && std::io::stderr().is_terminal(),
    }
}
