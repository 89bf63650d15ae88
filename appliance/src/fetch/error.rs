//! Failures of fetching.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::sha256::Sha256;

/// A failure of fetching.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No address has brought the file.
    #[error("{name}: no address has the file of the lock{}", Attempt::list(attempts))]
    Unavailable {
        /// The file.
        name: String,
        /// Each address in the order of asking, with its reason.
        attempts: Vec<Attempt>,
    },
    /// The cache does not have the file, and no server must be asked.
    #[error("{name}: not in the cache, and no server must be asked")]
    Offline {
        /// The file.
        name: String,
    },
    /// The caller stopped it.
    #[error("stopped")]
    Interrupted,
    /// The cache cannot be read or written.
    #[error("{}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// An address that has not brought a file.
#[derive(Debug, Error)]
#[error("{url}: {reason}")]
pub struct Attempt {
    /// Address.
    pub url: String,
    /// Its reason.
    pub reason: Reason,
}

/// The reason why an address has not brought a file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Reason {
    /// The server does not have it: status 404 or 410.
    #[error("not there")]
    Gone,
    /// The server answers with another status than 200.
    #[error("status {0}")]
    Status(u16),
    /// It has other bytes.
    #[error("the file's SHA-256 is {found}, expected {expected}")]
    Changed {
        /// Its digest.
        found: Sha256,
        /// The lock's digest.
        expected: Sha256,
    },
    /// It is shorter than the lock tells.
    #[error("the file ends after {found} of {expected} bytes")]
    Short {
        /// Its length in bytes.
        found: u64,
        /// The lock's length in bytes.
        expected: u64,
    },
    /// It is longer than the lock tells.
    #[error("the file has more than {expected} bytes")]
    Long {
        /// The lock's length in bytes.
        expected: u64,
    },
    /// The server leads elsewhere too often.
    #[error("too many redirects")]
    Redirects,
    /// The server leads to an address that is not `http://` or `https://`.
    #[error("a redirect to an address that is not http or https")]
    Scheme,
    /// The server takes too long.
    #[error("time limit of {0}")]
    Time(&'static str),
    /// The network, or another fault of HTTP.
    #[error("{0}")]
    Http(Box<ureq::Error>),
}

impl Reason {
    /// Whether a second attempt may go otherwise.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Http(_) | Self::Short { .. } | Self::Status(500..))
    }
}

impl Attempt {
    fn list(attempts: &[Self]) -> String {
        attempts.iter().map(|attempt| format!("\n  {attempt}")).collect()
    }
}

impl FetchError {
    /// Whether an address has another file under the name: somebody has changed it.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        let changed = |reason: &Reason| matches!(reason, Reason::Changed { .. } | Reason::Long { .. });
        self.attempts().iter().any(|attempt| changed(&attempt.reason))
    }

    /// Whether each address that was asked says that the file is not there.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let attempts = self.attempts();
        !attempts.is_empty() && attempts.iter().all(|attempt| matches!(attempt.reason, Reason::Gone))
    }

    /// Returns the addresses that were asked, with their reasons.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            Self::Unavailable { attempts, .. } => attempts,
            _ => &[],
        }
    }

    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Io { path, source }
    }
}
