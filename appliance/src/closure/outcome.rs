//! The answer: kept files with their reasons, or the needs that are not met.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
};

use thiserror::Error;

use crate::elf::ElfFault;

use super::{
    lookup::shown,
    why::{Reason, Why},
};

/// The kept files.
#[derive(Debug, Clone, Default)]
pub struct Closure {
    pub(super) kept: BTreeMap<Vec<u8>, Kept>,
    pub(super) cleared: BTreeSet<Vec<u8>>,
    pub(super) linked: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) notes: Vec<Note>,
}

#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) reason: Reason,
    /// Bytes of a file; 0 for others, and for further names of an inode.
    pub(super) size: u64,
    pub(super) package: Option<String>,
}

/// A fact that whoever builds should be told. It is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// A rule applies, and nothing that it keeps is there.
    NothingToKeep {
        /// Name of the rule.
        rule: String,
        /// The kept file that it applies to.
        by: Vec<u8>,
    },
    /// A library or path that a kept file may use is not there.
    NotThere {
        /// Its name.
        wanted: String,
        /// The file.
        by: Vec<u8>,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingToKeep { rule, by } => {
                write!(f, "the rule {rule} applies to {}, and nothing that it keeps is there", shown(by))
            }
            Self::NotThere { wanted, by } => write!(f, "{wanted}, which {} may use, is not there", shown(by)),
        }
    }
}

impl Closure {
    /// Whether a path is kept.
    #[must_use]
    pub fn keeps(&self, path: &[u8]) -> bool {
        self.kept.contains_key(path)
    }

    /// Returns all kept paths, folders among them, in byte order. The root is not one.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.kept.keys().map(Vec::as_slice)
    }

    /// Returns the sum of the files' sizes in bytes, each inode once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.kept.values().fold(0, |sum, kept| sum.saturating_add(kept.size))
    }

    /// Returns kept files whose setuid and setgid bits go.
    #[must_use]
    pub fn cleared(&self) -> &BTreeSet<Vec<u8>> {
        &self.cleared
    }

    /// Returns libraries that only `ld.so.conf` leads to: name, path. Without a cache, `ld.so` needs a link to each
    /// in a default folder.
    #[must_use]
    pub fn linked(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.linked
    }

    /// Returns facts that whoever builds should be told.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Returns the kept paths of each package, in byte order: the record of what went in.
    #[must_use]
    pub fn packages(&self) -> BTreeMap<&str, Vec<&[u8]>> {
        let mut packages: BTreeMap<&str, Vec<&[u8]>> = BTreeMap::new();
        for (path, kept) in &self.kept {
            if let Some(package) = &kept.package {
                packages.entry(package).or_default().push(path);
            }
        }
        packages
    }

    /// Returns the largest files with their sizes in bytes, the largest first.
    #[must_use]
    pub fn largest(&self, count: usize) -> Vec<(&[u8], u64)> {
        let mut files: Vec<(&[u8], u64)> =
            self.kept.iter().map(|(path, kept)| (path.as_slice(), kept.size)).collect();
        files.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        files.truncate(count);
        files
    }

    /// Returns the chain of reasons for a path, without links in it.
    #[must_use]
    pub fn why(&self, path: &[u8]) -> Option<Why> {
        let mut reasons: Vec<Reason> = Vec::new();
        let mut seen: BTreeSet<&[u8]> = BTreeSet::new();
        let mut next = Some(path);
        while let Some(kept) = next.and_then(|path| self.kept.get(path)) {
            reasons.push(kept.reason.clone());
            next = kept.reason.by().filter(|by| seen.insert(by));
        }
        if reasons.is_empty() { None } else { Some(Why { path: path.to_vec(), reasons }) }
    }
}

/// A need that is not met.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{} is not there: {}{}{}", shown(.wanted), chain(.why), dropped(.dropped_by), holder(.package))]
pub struct Missing {
    /// A path, or the file name of a library.
    pub wanted: Vec<u8>,
    /// The need, and the reasons of the file that has it.
    pub why: Why,
    /// The package of the suite that has it.
    pub package: Option<String>,
    /// The pattern of the declaration that leaves it out.
    pub dropped_by: Option<String>,
}

fn chain(why: &Why) -> String {
    why.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn dropped(pattern: &Option<String>) -> String {
    pattern.as_ref().map_or_else(String::new, |pattern| format!("; the pattern {pattern} leaves it out"))
}

fn holder(package: &Option<String>) -> String {
    package.as_ref().map_or_else(String::new, |package| format!("; the package {package} has it"))
}

/// The reason that there is no closure.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClosureError {
    /// Needs that are not met, all of them.
    #[error("{}", list(.0))]
    Missing(Vec<Missing>),
    /// A program or library that something runs or links is none.
    #[error("{}: {fault}; {}", shown(.path), chain(.why))]
    NoProgram {
        /// Path.
        path: Vec<u8>,
        /// The fault.
        fault: ProgramFault,
        /// The need.
        why: Why,
    },
    /// The content of a file could not be read.
    #[error("{}: its content cannot be read", shown(.path))]
    Read {
        /// Path.
        path: Vec<u8>,
        /// The failure.
        source: io::Error,
    },
}

fn list(missing: &[Missing]) -> String {
    missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A fault of a file that something runs or links.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProgramFault {
    /// A fault of an ELF file.
    #[error(transparent)]
    Elf(#[from] ElfFault),
    /// Neither an ELF file nor a script.
    #[error("neither an ELF file nor a script with `#!`")]
    Neither,
    /// A script whose first line names nothing.
    #[error("a script whose `#!` names no program")]
    EmptyScript,
    /// Nobody may run it.
    #[error("a file of mode {0:o}, which nobody may run")]
    NotExecutable(u16),
    /// A folder.
    #[error("a folder")]
    Folder,
    /// The file is too large to be a program.
    #[error("{found} bytes, more than the {limit} of a program")]
    TooLarge {
        /// Size in bytes.
        found: u64,
        /// Most bytes.
        limit: u64,
    },
    /// More links than Linux follows, or a path that is too long.
    #[error("behind a circle of links")]
    Links,
}
