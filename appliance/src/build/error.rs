//! Failures of a build, by the next step of the caller.

use std::{io, path::PathBuf};

use melv_block::ErrorKind;
use thiserror::Error;

use crate::{
    apt::AptError,
    boot::BootError,
    closure::ClosureError,
    disk::DiskError,
    fetch::FetchError,
    image::{DeclaredError, InitConfigError, PlaceError, UnknownOwner},
    kernel::{bzimage::BzImageFault, initrd::InitrdError, modules::ModulesError, tailored::TailoredError},
    lock::{InvalidText, LockError, Stale},
    record::RecordError,
    sources::{DebError, OciError, SpoolError, UnpackError},
};

/// A failure of a build.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The lock cannot be read.
    #[error("{}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// The fault.
        source: LockError,
    },
    /// There is no lock, and none may be made.
    #[error("{}: there is no lock, and none may be made", path.display())]
    NoLock {
        /// The file.
        path: PathBuf,
    },
    /// The lock answers another question, and none may be made.
    #[error("{}", path.display())]
    Stale {
        /// The file.
        path: PathBuf,
        /// The difference.
        source: Stale,
    },
    /// The lock was made by another version of the recipe.
    #[error("{}: recipe {found}, and this is {expected}", path.display())]
    Recipe {
        /// The file.
        path: PathBuf,
        /// The lock's recipe.
        found: String,
        /// The one of this version.
        expected: &'static str,
    },
    /// A text of the declaration that has another form than the archive needs.
    #[error("the declaration")]
    Text {
        /// The fault.
        source: InvalidText,
    },
    /// A package to be updated is not one of the appliance's.
    #[error("{name} is no package of this appliance")]
    NotUpdated {
        /// Its name.
        name: String,
    },
    /// Packages cannot be resolved.
    #[error(transparent)]
    Apt(#[from] AptError),
    /// Files cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A package cannot be read.
    #[error("the package {name}")]
    Package {
        /// Its name, or its path.
        name: String,
        /// The fault.
        source: Box<DebError>,
    },
    /// An image of another origin cannot be read.
    #[error("{path}")]
    Image {
        /// Its path as the declaration has it.
        path: String,
        /// The fault.
        source: Box<OciError>,
    },
    /// A container image tells something that no appliance can have.
    #[error("the configuration of the image: {field}: {found:?} cannot be run")]
    ImageConfig {
        /// The field.
        field: &'static str,
        /// Its value, shortened.
        found: String,
    },
    /// A root file system cannot be read.
    #[error("{path}")]
    Root {
        /// Its path as the declaration has it.
        path: String,
        /// The fault.
        source: Box<UnpackError>,
    },
    /// A file of the machine that builds is another than the lock's.
    #[error("{path}: the digest is {found}, the lock has {expected}")]
    Changed {
        /// Its path as the declaration has it.
        path: String,
        /// The digest.
        found: String,
        /// The lock's digest.
        expected: String,
    },
    /// The temporary files.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A file that the declaration names.
    #[error(transparent)]
    Declared(#[from] DeclaredError),
    /// A path that something is in the way of.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// An owner that nobody knows.
    #[error(transparent)]
    Owner(#[from] UnknownOwner),
    /// The configuration of the init.
    #[error(transparent)]
    InitConfig(#[from] InitConfigError),
    /// Needs that are not met.
    #[error(transparent)]
    Closure(#[from] ClosureError),
    /// Modules of the kernel.
    #[error(transparent)]
    Modules(#[from] ModulesError),
    /// The initrd.
    #[error(transparent)]
    Initrd(#[from] InitrdError),
    /// A kernel that is none.
    #[error("the kernel {name}")]
    Kernel {
        /// Its path, or the package.
        name: String,
        /// The fault.
        source: BzImageFault,
    },
    /// A kernel cannot be built.
    #[error(transparent)]
    Tailored(#[from] TailoredError),
    /// A file that a package must have is not in it.
    #[error("{path} is not in the packages of {role}")]
    MissingFile {
        /// Its path.
        path: String,
        /// `the kernel` or `the boot loader`.
        role: &'static str,
    },
    /// The kernel of another appliance cannot be taken.
    #[error("the kernel of {reference}: {reason}")]
    ForeignKernel {
        /// Reference of the appliance.
        reference: String,
        /// The reason.
        reason: String,
        /// The next step of the caller.
        kind: ErrorKind,
    },
    /// Something that this version does not build.
    #[error("{feature} is not built by this version")]
    Unsupported {
        /// The thing.
        feature: String,
    },
    /// The files that start a disk.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The records of the image.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A file or folder.
    #[error("{}", path.display())]
    Io {
        /// Its path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The caller stopped the build.
    #[error("stopped")]
    Interrupted,
}

impl BuildError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Io { path, source }
    }

    /// Returns the next step of the caller.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>()
                && matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            {
                return ErrorKind::NoSpace;
            }
            cause = error.source();
        }
        match self {
            Self::Interrupted | Self::Fetch(FetchError::Interrupted) => ErrorKind::Interrupted,
            Self::Fetch(error) if error.is_changed() => ErrorKind::Mismatch,
            Self::Fetch(FetchError::Unavailable { .. } | FetchError::Offline { .. }) => ErrorKind::NotFound,
            Self::Changed { .. } => ErrorKind::Mismatch,
            Self::NoLock { .. } | Self::MissingFile { .. } | Self::NotUpdated { .. } => ErrorKind::NotFound,
            Self::Apt(AptError::Unknown { .. } | AptError::NoLists { .. } | AptError::NoApt { .. }) => {
                ErrorKind::NotFound
            }
            Self::Apt(AptError::Busy { .. }) => ErrorKind::Busy,
            Self::Closure(ClosureError::Missing(_)) => ErrorKind::NotFound,
            Self::Lock { source, .. } if source.is_unsupported() => ErrorKind::Unsupported,
            Self::Recipe { .. } | Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::ForeignKernel { kind, .. } => *kind,
            Self::Tailored(TailoredError::Interrupted) => ErrorKind::Interrupted,
            Self::Tailored(TailoredError::NoSpace { .. }) => ErrorKind::NoSpace,
            Self::Tailored(TailoredError::MissingTool(_)) => ErrorKind::NotFound,
            Self::Tailored(
                TailoredError::Line(_)
                | TailoredError::Contradiction { .. }
                | TailoredError::Mitigation { .. }
                | TailoredError::Fallen(_),
            ) => ErrorKind::Invalid,
            Self::Lock { .. }
            | Self::Stale { .. }
            | Self::Text { .. }
            | Self::ImageConfig { .. }
            | Self::Owner(_)
            | Self::Place(_)
            | Self::InitConfig(_) => ErrorKind::Invalid,
            Self::Declared(DeclaredError::Read { source, .. }) | Self::Io { source, .. }
                if source.kind() == io::ErrorKind::NotFound =>
            {
                ErrorKind::NotFound
            }
            Self::Declared(DeclaredError::Read { .. }) | Self::Io { .. } => ErrorKind::Io,
            Self::Declared(_) => ErrorKind::Invalid,
            Self::Package { .. } | Self::Image { .. } | Self::Root { .. } | Self::Kernel { .. } => {
                ErrorKind::Damaged
            }
            _ => ErrorKind::Io,
        }
    }
}
