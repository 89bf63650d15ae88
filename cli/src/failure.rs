//! The reasons why a command fails: their messages and exit codes.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use melv::{BlockError, Error, ErrorKind, StoreError, StoreErrors};
use melv_appliance::build::BuildError;
use melv_appliance::declaration::DeclarationError;

use crate::bundled_image::BundledImage;
use crate::cause::chain;
use crate::exit::Exit;
use crate::units::human;

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An error of the library.
    #[error(transparent)]
    Melv(#[from] Error),
    /// The command line is invalid. The message names the argument and the valid alternatives.
    #[error("{0}")]
    Usage(String),
    /// The input for a disk is empty.
    #[error("{name} is empty; nothing was changed")]
    Empty {
        /// The file or pipe.
        name: String,
    },
    /// The input pipe carries a bundle.
    #[error("{name} is a melv bundle, which cannot be read from a pipe")]
    PipedBundle {
        /// The pipe.
        name: String,
    },
    /// The work takes more memory than the system gives.
    #[error("out of memory: the command needs {}, and the system does not provide that much", human(*needed_bytes))]
    OutOfMemory {
        /// The memory needed, in bytes.
        needed_bytes: u64,
    },
    /// The input file does not exist.
    #[error("there is no file {}", path.display())]
    NoFile {
        /// The path of the missing file.
        path: PathBuf,
    },
    /// The argument is neither a reference of the store nor a file.
    #[error("{text} is neither an image of this store nor a file")]
    NoOperand {
        /// The argument.
        text: String,
    },
    /// The path of the store is not a folder.
    #[error("{} is {}, not a store: a store is a folder", path.display(), kind_of(path))]
    StoreNotFolder {
        /// The path.
        path: PathBuf,
    },
    /// The folder for a new store holds other files.
    #[error("{} holds other files, such as {entry}, so melv creates no store there", path.display())]
    FolderNotEmpty {
        /// The folder.
        path: PathBuf,
        /// One of the other files.
        entry: String,
    },
    /// The file given as a bundle does not start with the magic bytes of one.
    #[error("{} holds no melv bundle, or an incomplete one", path.display())]
    NotBundle {
        /// The file or device.
        path: PathBuf,
    },
    /// The bundle has no such image.
    #[error("{} holds no image {name}", path.display())]
    NotInBundle {
        /// The bundle.
        path: PathBuf,
        /// The reference of the image.
        name: String,
    },
    /// The bundle holds several images, but one is wanted.
    #[error("{} holds {} images; choose one", path.display(), images.len())]
    SeveralImages {
        /// The bundle.
        path: PathBuf,
        /// The images of the bundle.
        images: Vec<BundledImage>,
    },
    /// The bundle has damage.
    #[error("{}", text_in_bundle(path, error))]
    InBundle {
        /// The bundle.
        path: PathBuf,
        /// The damage and its place in the bundle.
        error: Box<Error>,
    },
    /// An object of several stores and bundles cannot be read.
    #[error("{places}: {}", chain(&**error))]
    InOneOf {
        /// The stores and bundles.
        places: String,
        /// The object and the reason.
        error: Box<Error>,
    },
    /// The VMDK is of a kind that cannot be read.
    #[error(transparent)]
    ForeignVmdk(Error),
    /// The format given by name is known but not supported.
    #[error("this version of melv does not {verb} the format {format}")]
    ForeignFormat {
        /// The format.
        format: String,
        /// The verb of the message: read or write.
        verb: &'static str,
    },
    /// The declaration of an appliance breaks a rule.
    #[error("{}:{error}", path.display())]
    Declaration {
        /// The file.
        path: PathBuf,
        /// The fault with its line and column.
        error: Box<DeclarationError>,
    },
    /// An appliance cannot be built.
    #[error(transparent)]
    Build(Box<BuildError>),
    /// The image tells a machine that cannot be read.
    #[error("the metadata of the image: {error}")]
    Record {
        /// The fault.
        error: String,
    },
    /// A path is no part of an appliance.
    #[error("{path} is no part of this appliance")]
    NotInAppliance {
        /// The path.
        path: String,
    },
    /// Mounting or unmounting failed.
    #[error(transparent)]
    Fuse(#[from] melv_fuse::Error),
    /// A program cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: String,
        /// The refusal.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start {what}")]
    Start {
        /// The thread.
        what: &'static str,
        /// The refusal.
        source: io::Error,
    },
    /// An address cannot be listened at.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// Its port.
        port: Option<u16>,
        /// The refusal.
        source: io::Error,
    },
    /// The daemon ended without a message.
    #[error("the process that serves the images ended before it was ready: {0}")]
    Daemon(std::process::ExitStatus),
    /// The reader of standard output went away before the whole disk was written.
    #[error("the reader of standard output went away")]
    ReaderGone,
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Self::Build(error.into())
    }
}

impl Failure {
    /// Wraps an error about a disk of another program. An unsupported kind of VMDK becomes a failure of its
    /// own.
    pub fn of_disk(error: Error) -> Self {
        if matches!(error.detail(), Some(BlockError::Unsupported { .. })) {
            Self::ForeignVmdk(error)
        } else {
            error.into()
        }
    }

    /// Wraps an error, marking damage and unreadable objects as those of the bundle at `path`.
    pub fn of_bundle(path: Option<&Path>, error: Error) -> Self {
        match path {
            Some(path) if error.is_damage() || error.store_object().is_some() => {
                Self::InBundle { path: path.into(), error: error.into() }
            }
            _ => error.into(),
        }
    }

    /// Returns the documented exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Melv(error) | Self::ForeignVmdk(error) => exit_of(error),
            Self::InBundle { error, .. } | Self::InOneOf { error, .. } => exit_of(error),
            Self::Usage(_) | Self::SeveralImages { .. } | Self::Empty { .. } => Exit::Usage,
            Self::Declaration { error, .. } if error.is_unsupported() => Exit::Unsupported,
            Self::Declaration { .. } => Exit::Usage,
            Self::Build(error) => exit_of_kind(error.kind()),
            Self::NotInAppliance { .. } => Exit::NotFound,
            Self::Record { .. } => Exit::Damage,
            Self::StoreNotFolder { .. } | Self::FolderNotEmpty { .. } => Exit::NoStore,
            Self::NoFile { .. } | Self::NoOperand { .. } | Self::NotInBundle { .. } => Exit::NotFound,
            Self::ForeignFormat { .. } | Self::NotBundle { .. } | Self::PipedBundle { .. } => {
                Exit::Unsupported
            }
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
        kind => exit_of_kind(kind),
    }
}

/// The exit code of a kind, whatever has failed.
fn exit_of_kind(kind: ErrorKind) -> Exit {
    match kind {
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

/// Whether a file of the store is missing.
pub fn is_lost_object(error: &Error) -> bool {
    matches!(error.detail(), Some(StoreError::Gone { .. }))
}

/// Formats an error and its causes, with the bundle's path in front unless the text starts with it.
fn text_in_bundle(path: &Path, error: &Error) -> String {
    let (path, text) = (path.display().to_string(), chain(error));
    if text.starts_with(&path) { text } else { format!("{path}: {text}") }
}

/// Names the kind of something that is not a folder.
fn kind_of(path: &Path) -> &'static str {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => "a file",
        Ok(metadata) if metadata.file_type().is_block_device() => "a block device",
        _ => "neither a folder nor a file",
    }
}
