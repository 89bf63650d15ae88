//! Failures of resolving, by the next step of the caller.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::lock::{InvalidText, SuiteName};

/// A failure of resolving.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AptError {
    /// The program is not on this machine. A build from a lock needs none.
    #[error("{} is not on this machine", program.display())]
    NoApt {
        /// The program.
        program: PathBuf,
    },
    /// A file of keys cannot be read.
    #[error("the keys {}", path.display())]
    NoKeys {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of keys has another form.
    #[error("the keys {}: expected OpenPGP keys as `gpg --export` writes them", path.display())]
    InvalidKeys {
        /// The file.
        path: PathBuf,
    },
    /// Packages that no archive has.
    #[error("{suite} has no package {}", Unknown::list(unknown))]
    Unknown {
        /// Release.
        suite: SuiteName,
        /// Each package, 1 at least.
        unknown: Vec<Unknown>,
    },
    /// The packages cannot be installed together.
    #[error("the packages cannot be installed together")]
    Conflict {
        /// The reason in apt's words, several lines.
        words: String,
    },
    /// A server does not answer.
    #[error("{uri}: {reason}")]
    Unreachable {
        /// Address.
        uri: String,
        /// The reason in apt's words.
        reason: String,
    },
    /// A server answers that it does not have the suite, or refuses it.
    #[error("{uri}: status {status}")]
    Refused {
        /// Address.
        uri: String,
        /// HTTP's status.
        status: u16,
    },
    /// A list is not signed by a known key, or is changed.
    #[error("{uri}: {reason}")]
    Signature {
        /// The list.
        uri: String,
        /// The reason in apt's words.
        reason: String,
    },
    /// Apt ended with an error of another kind: lists that are expired, or do not fit each other.
    #[error("apt-get ended with {status}")]
    Failed {
        /// Exit code, or the signal.
        status: String,
        /// Its words, several lines.
        words: String,
    },
    /// There are no lists, and the mirror must not be asked.
    #[error("{}: no lists of packages, and the mirror must not be asked", folder.display())]
    NoLists {
        /// The folder of the lists.
        folder: PathBuf,
    },
    /// Apt took too long, and was killed.
    #[error("{} did not end within {} s", program.display(), limit.as_secs_f32())]
    TimeLimit {
        /// The program.
        program: PathBuf,
        /// The limit.
        limit: Duration,
    },
    /// Another process updates the same lists.
    #[error("{}: another process has held the lists for {} s", folder.display(), limit.as_secs_f32())]
    Busy {
        /// The folder of the lists.
        folder: PathBuf,
        /// Time of waiting.
        limit: Duration,
    },
    /// An output of apt or a list has another form.
    #[error("{place}: {found:?}, expected {expected}")]
    Form {
        /// The output or the list.
        place: String,
        /// Its part, shortened.
        found: String,
        /// The form.
        expected: &'static str,
    },
    /// A field of a list has a value that a lock does not accept.
    #[error("{place}")]
    Text {
        /// The output or the list.
        place: String,
        /// The reason.
        source: InvalidText,
    },
    /// A file or folder.
    #[error("{}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// A package that no archive has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Name.
    pub name: String,
    /// Packages with the most similar names, the nearest first, 3 at most.
    pub nearest: Vec<String>,
    /// Packages that provide it, where it is a virtual one, by name.
    pub providers: Vec<String>,
}

impl Unknown {
    fn list(unknown: &[Self]) -> String {
        unknown.iter().map(|unknown| unknown.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

impl AptError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Io { path, source }
    }

    pub(super) fn form(place: impl Into<String>, found: &str, expected: &'static str) -> Self {
        Self::Form { place: place.into(), found: found.chars().take(200).collect(), expected }
    }
}
