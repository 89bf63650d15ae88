//! Faults of a lock, each with its place in the file.

use thiserror::Error;

use super::LOCK_VERSION;

/// A fault of a lock: the place in the file and the broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("lock, line {line}, column {column}: {rule}")]
pub struct LockError {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The broken rule.
    pub rule: Rule,
}

impl LockError {
    /// Whether the lock may be sound, but is of another version.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self.rule, Rule::Version { .. })
    }
}

/// A rule of locks that a file breaks.
#[allow(missing_docs, reason = "the message beside each field names it")]
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rule {
    /// The file is longer than a lock may be.
    #[error("the file has {found} bytes; at most {limit} are allowed")]
    TooLong { found: usize, limit: usize },
    /// The file is not UTF-8.
    #[error("the file is not UTF-8")]
    Encoding,
    /// Another version of the lock's form.
    #[error("a lock of version {found}, expected {LOCK_VERSION}")]
    Version { found: i64 },
    /// The file is not TOML, or a key or value of it is not one of a lock. The text is the parser's.
    #[error("{0}")]
    Form(String),
    /// Two entries for one thing.
    #[error("{table}: a second entry for {name}")]
    Duplicate { table: &'static str, name: String },
    /// A package of an archive that the lock does not have.
    #[error("{package} is of the archive {archive}, which the lock does not have")]
    UnknownArchive { package: String, archive: String },
}
