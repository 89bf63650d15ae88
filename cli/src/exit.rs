//! How a run ends: exit codes, and failures as text for people or JSON for programs.

use std::io::{self, IsTerminal};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use melv::{BlockError, Candidate, Error, ErrorKind, StoreError, StoreErrors};
use serde_json::json;

use crate::args::{Color, Globals};
use crate::bundle_ref::{HeldImage, names_text};
use crate::hint::hint_of;
use crate::log::{self, Urgency};
use crate::report::{human, note};
use crate::session::in_store;
use crate::table::table;
use crate::width;

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
    /// Nothing came where a disk was to come from.
    #[error("{name} is empty: no bytes came, and nothing was changed")]
    Empty {
        /// The file or pipe.
        name: String,
    },
    /// A bundle comes through a pipe.
    #[error("{name} is a melv bundle, which is read by position, and a pipe has none")]
    PipedBundle {
        /// The pipe.
        name: String,
    },
    /// The system gives less memory than the work takes.
    #[error("out of memory: {} are needed, and the system does not give as much", human(*needed_bytes))]
    OutOfMemory {
        /// The bytes.
        needed_bytes: u64,
    },
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
    /// Something else is at the place of the store.
    #[error("{} is {}, not a store: a store is a folder", path.display(), kind_of(path))]
    StoreNotFolder {
        /// The place.
        path: PathBuf,
    },
    /// A store was to be made in a folder that holds other things.
    #[error("{} holds other files ({entry} is one), so no store is made there", path.display())]
    FolderNotEmpty {
        /// The folder.
        path: PathBuf,
        /// One of the things.
        entry: String,
    },
    /// A file that was to be a bundle does not begin as one.
    #[error("{} holds no melv bundle, or one that was broken off while it was written", path.display())]
    NotBundle {
        /// The file or device.
        path: PathBuf,
    },
    /// A bundle has no such image.
    #[error("{} holds no image {name}", path.display())]
    NotInBundle {
        /// The bundle.
        path: PathBuf,
        /// What was asked for.
        name: String,
    },
    /// One image is wanted, and the bundle holds several.
    #[error("{} holds {} images; say which", path.display(), images.len())]
    SeveralImages {
        /// The bundle.
        path: PathBuf,
        /// What it holds.
        images: Vec<HeldImage>,
    },
    /// Something in a bundle is damaged.
    #[error("{}", text_in_bundle(path, error))]
    InBundle {
        /// The bundle.
        path: PathBuf,
        /// What, and where in it.
        error: Box<Error>,
    },
    /// An object cannot be read that several stores and bundles have.
    #[error("{places}: {}", chain(&**error))]
    InOneOf {
        /// The stores and bundles.
        places: String,
        /// What cannot be read, and why.
        error: Box<Error>,
    },
    /// A file in a format that cannot be read.
    #[error("{} is in the format {}, which this version of melv does not read", path.display(), format.name())]
    ForeignFile {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: melv::Container,
    },
    /// A VMDK of a kind that is not read.
    #[error(transparent)]
    ForeignVmdk(Error),
    /// A format asked for by name that is not built.
    #[error("--format {format} is known, but this version of melv does not {verb} it")]
    ForeignFormat {
        /// The format.
        format: String,
        /// Read or write.
        verb: &'static str,
    },
    /// Images cannot be mounted or unmounted.
    #[error(transparent)]
    Fuse(#[from] melv_fuse::Error),
    /// A program cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: String,
        /// The refusal.
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start {what}")]
    Start {
        /// The thread.
        what: &'static str,
        /// The refusal.
        source: std::io::Error,
    },
    /// An address cannot be listened at.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address.
        address: String,
        /// Its port.
        port: Option<u16>,
        /// The refusal.
        source: std::io::Error,
    },
    /// The process that was to serve ended without a word.
    #[error("the process that was to serve the images ended at once: {0}")]
    Daemon(std::process::ExitStatus),
    /// Who read standard output went away before all of a disk was written.
    #[error("the reader of standard output went away")]
    ReaderGone,
}

impl Failure {
    /// The library's word about a VMDK; one that merely is of another kind is told apart.
    pub fn of_vmdk(error: Error) -> Self {
        if matches!(error.detail(), Some(BlockError::Unsupported { .. })) {
            Self::ForeignVmdk(error)
        } else {
            error.into()
        }
    }

    /// The library's word; damage of a bundle, or an object of it that cannot be read, is told as that.
    pub fn of_bundle(path: Option<&Path>, error: Error) -> Self {
        match path {
            Some(path) if error.is_damage() || error.store_object().is_some() => {
                Self::InBundle { path: path.into(), error: error.into() }
            }
            _ => error.into(),
        }
    }

    /// The failure as it is told: one about an object of the store names the store.
    pub fn in_store(self) -> Self {
        match self {
            Self::Melv(error) => in_store(error).into(),
            other => other,
        }
    }

    /// The exit code that the contract has for it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Melv(error) | Self::ForeignVmdk(error) => exit_of(error),
            Self::InBundle { error, .. } | Self::InOneOf { error, .. } => exit_of(error),
            Self::Usage(_) | Self::SeveralImages { .. } | Self::Empty { .. } => Exit::Usage,
            Self::StoreNotFolder { .. } | Self::FolderNotEmpty { .. } => Exit::NoStore,
            Self::NoFile { .. } | Self::NoOperand { .. } | Self::NotInBundle { .. } => Exit::NotFound,
            Self::ForeignFile { .. }
            | Self::ForeignFormat { .. }
            | Self::NotBundle { .. }
            | Self::PipedBundle { .. } => Exit::Unsupported,
            Self::Fuse(melv_fuse::Error::Missing { .. }) => Exit::NotFound,
            Self::Fuse(melv_fuse::Error::NoDevice { source })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Exit::Failure
            }
            Self::Fuse(melv_fuse::Error::NoDevice { .. }) => Exit::Unsupported,
            Self::Run { .. } | Self::Start { .. } | Self::Listen { .. } => Exit::Failure,
            Self::Fuse(_) | Self::Daemon(_) | Self::ReaderGone | Self::OutOfMemory { .. } => Exit::Failure,
        }
    }
}

/// The exit code that the contract has for a kind of error.
fn exit_of(error: &Error) -> Exit {
    match error.kind() {
        ErrorKind::NotFound if is_lost_object(error) => Exit::Damage,
        // Input files are looked at first: this is the folder of an output.
        ErrorKind::NotFound if matches!(error.detail(), Some(BlockError::Io { .. })) => Exit::Failure,
        ErrorKind::Damaged => Exit::Damage,
        ErrorKind::Mismatch => Exit::DigestMismatch,
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::Invalid => Exit::Usage,
        ErrorKind::NoStore => Exit::NoStore,
        ErrorKind::Busy => Exit::Locked,
        ErrorKind::Unsupported => Exit::Unsupported,
        ErrorKind::NoSpace => Exit::NoSpace,
        ErrorKind::Interrupted => Exit::Interrupted,
        _ => Exit::Failure,
    }
}

/// Whether the store lacks a file that another of its files names.
pub fn is_lost_object(error: &Error) -> bool {
    matches!(error.detail(), Some(StoreError::Gone { .. }))
}

/// An error and its causes, with the bundle's path unless it names that itself.
fn text_in_bundle(path: &Path, error: &Error) -> String {
    let (path, text) = (path.display().to_string(), chain(error));
    if text.starts_with(&path) { text } else { format!("{path}: {text}") }
}

/// A word for something that is no folder.
fn kind_of(path: &Path) -> &'static str {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => "a file",
        Ok(metadata) if metadata.file_type().is_block_device() => "a block device",
        _ => "neither a folder nor a file",
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
            let failure = failure.in_store();
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
    let hint = hint_of(failure);
    if globals.json {
        let mut json = json!({ "error": text, "hint": hint, "code": exit as u8 });
        match failure {
            Failure::SeveralImages { images, .. } => {
                json["images"] = images.iter().map(HeldImage::json).collect();
            }
            Failure::Melv(error) => {
                if let Some(StoreError::Ambiguous { candidates, .. }) = error.detail() {
                    let image =
                        |image: &Candidate| json!({ "image": image.image.to_string(), "names": image.names });
                    json["images"] = candidates.iter().map(image).collect();
                }
            }
            _ => {}
        }
        log::write(Urgency::Error, &json.to_string());
        return;
    }
    let (strong, faint, plain) =
        if is_colored(globals.color) { ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") } else { ("", "", "") };
    log::write(Urgency::Error, &format!("{strong}melv:{plain} {text}"));
    let rows = choices(failure);
    if !rows.is_empty() {
        note(table(&rows, &[2], width::of_stderr()).trim_end());
    }
    if let Some(hint) = hint {
        note(&format!("{faint}hint:{plain} {hint}"));
    }
}

/// The images among which the user has to choose, as rows of a table.
fn choices(failure: &Failure) -> Vec<Vec<String>> {
    match failure {
        Failure::SeveralImages { images, .. } => {
            let row = |image: &HeldImage| vec![image.names(), format!("@{}", image.image), human(image.size)];
            images.iter().map(row).collect()
        }
        Failure::Melv(error) => {
            let Some(StoreError::Ambiguous { candidates, count, .. }) = error.detail() else {
                return Vec::new();
            };
            let row = |image: &Candidate| vec![names_text(&image.names), format!("@{}", image.image)];
            let mut rows: Vec<_> = candidates.iter().map(row).collect();
            if *count > candidates.len() {
                rows.push(vec![format!("and {} more", count - candidates.len())]);
            }
            rows
        }
        _ => Vec::new(),
    }
}

/// Whether the terminal says that it can do nothing but letters.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Whether standard error gets colours.
pub fn is_colored(color: Color) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => !refused && !is_dumb() && std::io::stderr().is_terminal(),
    }
}
