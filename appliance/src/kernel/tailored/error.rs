//! Failures to build a kernel.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;

use crate::{
    kernel::bzimage::BzImageFault,
    sha256::Sha256,
    sources::{DebError, TarError, shown},
};

use super::{setting::SettingFault, version::Version};

/// A failure to build a kernel.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TailoredError {
    /// A line of the configuration cannot be read.
    #[error("the kernel's configuration")]
    Line(#[source] SettingFault),
    /// The declaration has two values for a symbol.
    #[error("the declaration says {first} and {second}")]
    Contradiction {
        /// The first line.
        first: String,
        /// The second line.
        second: String,
    },
    /// A line turns a mitigation off.
    #[error("{line} turns a mitigation off, and the declaration is not insecure")]
    Mitigation {
        /// The line.
        line: String,
    },
    /// Lines do not stand in the final configuration.
    #[error("the kernel's configuration: {}", list(.0))]
    Fallen(Vec<Fallen>),
    /// The file is another than the one that was asked for.
    #[error("{}: SHA-256 {found}, expected {expected}", path.display())]
    Digest {
        /// The package.
        path: PathBuf,
        /// Its digest.
        found: Sha256,
        /// The one that was asked for.
        expected: Sha256,
    },
    /// The package with the source cannot be read.
    #[error("{}", path.display())]
    Source {
        /// The package.
        path: PathBuf,
        /// The reason.
        source: Box<SourceError>,
    },
    /// The source has a version that no fragment knows.
    #[error("the source is Linux {found}; supported are {}", list(known))]
    Version {
        /// Its version.
        found: Version,
        /// Versions that have fragments.
        known: Vec<Version>,
    },
    /// Linux cannot be built in this folder.
    #[error("{}: Linux cannot be built in a folder with a space, a colon or other than ASCII in its path", .0.display())]
    WorkFolder(PathBuf),
    /// A program or its library is not there.
    #[error("{0} is not there, and building a kernel needs it")]
    MissingTool(Tool),
    /// The file system is full, or would be.
    #[error("{}: {free} bytes are free; expected at least {expected}", path.display())]
    NoSpace {
        /// A folder of the file system.
        path: PathBuf,
        /// Free bytes.
        free: u64,
        /// Bytes that the step needs.
        expected: u64,
    },
    /// A program cannot be started or watched.
    #[error("{} cannot be run", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A program failed.
    #[error("{}", failed(command, *code, said))]
    Failed {
        /// Program and arguments.
        command: String,
        /// Exit code; none where a signal ended it.
        code: Option<i32>,
        /// The last lines of its standard error, at most 40 lines and 16 KiB.
        said: String,
        /// The last of both outputs, at most 256 KiB.
        log: String,
    },
    /// A program was not done in time.
    #[error("{command} took more than {} s", limit.as_secs())]
    TimedOut {
        /// Program and arguments.
        command: String,
        /// The time that it had.
        limit: Duration,
    },
    /// The caller asked for the end.
    #[error("the build of the kernel was interrupted")]
    Interrupted,
    /// The kernel holds the path of the folder in which it was built, so that another folder would make another.
    #[error("the kernel holds the path {}, in which it was built", .0.display())]
    PathInKernel(PathBuf),
    /// The build ended well, and its kernel is none.
    #[error("the built kernel")]
    Kernel(#[source] BzImageFault),
    /// A file or folder cannot be used.
    #[error("{}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// A line that does not stand in the final configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallen {
    /// The line.
    pub line: String,
    /// The fragment that has it; none is the declaration.
    pub fragment: Option<&'static str>,
    /// The value that the symbol has.
    pub found: Option<String>,
    /// Whether Linux has a symbol of this name.
    pub is_known: bool,
    /// Symbols that it needs and that are not set, as far as they are found.
    pub lacking: Vec<String>,
}

impl fmt::Display for Fallen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.line)?;
        if let Some(fragment) = self.fragment {
            write!(formatter, " (fragment {fragment})")?;
        }
        match &self.found {
            Some(found) => write!(formatter, " became {found}"),
            None if !self.is_known => {
                formatter.write_str(" is not set; no symbol of this Linux has the name")
            }
            None if self.lacking.is_empty() => formatter.write_str(" is not set"),
            None => write!(formatter, " is not set; it needs {}", self.lacking.join(" ")),
        }
    }
}

/// A failure to unpack a source.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The package is none.
    #[error("the package")]
    Package(#[source] Box<DebError>),
    /// A tar cannot be read.
    #[error("{archive}")]
    Tar {
        /// The tar.
        archive: &'static str,
        /// The reason.
        source: TarError,
    },
    /// A compressed stream cannot be read.
    #[error("{archive}")]
    Stream {
        /// The tar.
        archive: &'static str,
        /// The reason.
        source: io::Error,
    },
    /// The package has no source.
    #[error("the package has no file usr/src/linux-source-*.tar.*")]
    NoSource,
    /// An entry of the source is not what a source has.
    #[error("entry {number} of the source, {}: {fault}", shown(path))]
    Entry {
        /// Number, from 1.
        number: u64,
        /// Path, as it stands in the tar.
        path: Vec<u8>,
        /// The fault.
        fault: EntryFault,
    },
    /// An entry cannot be written.
    #[error("{}", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// A fault of an entry of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EntryFault {
    /// A path that is absolute, empty, too long or deep, or has `..`.
    #[error("the path leads out of the source, or is too long")]
    Path,
    /// The first folder is another than the first entry's.
    #[error("the path is not in the one folder that a source has")]
    Folder,
    /// The path was there before.
    #[error("the path is there twice, or is a folder and a file")]
    Twice,
    /// A link's target that leads out of the source.
    #[error("the link leads out of the source")]
    Link,
    /// A device, a named pipe, a hard link or a sparse file.
    #[error("it is neither a file, a folder nor a symbolic link")]
    Kind,
    /// More entries or bytes than a source has.
    #[error("the source has more than {0} entries or bytes")]
    Limit(u64),
}

/// A program that building a kernel needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// A program by its name.
    Program(&'static str),
    /// The headers of libelf.
    LibelfHeaders,
}

impl Tool {
    /// Returns the package of Debian that has it.
    #[must_use]
    pub fn package(self) -> &'static str {
        match self {
            Self::LibelfHeaders => "libelf-dev",
            Self::Program("ld" | "as" | "objcopy" | "nm" | "ar" | "strip") => "binutils",
            Self::Program("xz" | "lzma") => "xz-utils",
            Self::Program(name) => name,
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(name) => write!(formatter, "the program {name}"),
            Self::LibelfHeaders => formatter.write_str("the header gelf.h of libelf"),
        }
    }
}

impl TailoredError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn failed(command: &str, code: Option<i32>, said: &str) -> String {
    let end =
        code.map_or_else(|| "was ended by a signal".to_owned(), |code| format!("failed with code {code}"));
    if said.is_empty() { format!("{command} {end}") } else { format!("{command} {end}:\n{said}") }
}

impl From<DebError> for SourceError {
    fn from(error: DebError) -> Self {
        Self::Package(Box::new(error))
    }
}
