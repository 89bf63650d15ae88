//! Failures to read a package.

use std::io;

use crate::sources::{TarError, TarFault, UnpackError, shown};

use super::control::ControlFault;

/// Failure to read a Debian package.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// The bytes could not be read.
    #[error("the package cannot be read at byte {offset}")]
    Read {
        /// The byte.
        offset: u64,
        /// The reason.
        source: io::Error,
    },
    /// The file is no `ar` archive.
    #[error("the file does not start as a package does, with `!<arch>`")]
    Mark,
    /// The file ends early.
    #[error("the package ends at byte {offset}, within {within}")]
    Truncated {
        /// The end.
        offset: u64,
        /// The part that is not whole.
        within: &'static str,
    },
    /// No member of the archive starts where one should.
    #[error("byte {0} of the package starts no member")]
    Header(u64),
    /// The version of the format is not 2.
    #[error("the package has the format {}, and 2.0 is supported", shown(.0))]
    Format(Vec<u8>),
    /// The members are others, or in another order.
    #[error("the member {} is not {expected}", shown(found))]
    Member {
        /// Name of the member.
        found: Vec<u8>,
        /// The member that belongs there.
        expected: &'static str,
    },
    /// A member that each package has is not there.
    #[error("the package has no {0}")]
    Missing(&'static str),
    /// The archive with the package's facts is damaged.
    #[error("control.tar of the package")]
    ControlArchive(#[source] TarError),
    /// The archive with the package's facts cannot be unpacked.
    #[error("control.tar of the package")]
    ControlStream(#[source] io::Error),
    /// A file of the facts is no file, too long, or there twice.
    #[error("control.tar of the package has the file {0} twice, as no file, or too long")]
    ControlFile(&'static str),
    /// The facts cannot be.
    #[error("the package's facts: {0}")]
    Control(ControlFault),
    /// The files cannot be unpacked.
    #[error("data.tar of the package {package}")]
    Data {
        /// Name of the package.
        package: String,
        /// The reason.
        source: UnpackError,
    },
    /// The compressed stream of the files cannot be unpacked.
    #[error("data.tar of the package {package}")]
    DataStream {
        /// Name of the package.
        package: String,
        /// The reason.
        source: io::Error,
    },
}

impl DebError {
    /// Returns the fault of a tar in the package, if that is the reason.
    #[must_use]
    pub fn tar_fault(&self) -> Option<&TarFault> {
        match self {
            Self::ControlArchive(TarError::Malformed { fault, .. })
            | Self::Data { source: UnpackError::Tar(TarError::Malformed { fault, .. }), .. } => Some(fault),
            _ => None,
        }
    }
}
