//! What is odd about a VMDK and no reason to refuse it.

use std::fmt;

use super::header::{FLAG_NEWLINES, SparseHeader};

/// Something to be told to whoever imports the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The file.
    pub object: String,
    /// What is odd about it.
    pub oddity: Oddity,
}

/// What can be odd about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Oddity {
    /// Its writer did not close it: what the guest wrote last may not be in it.
    Unclean,
    /// The bytes that show whether a transfer changed line ends were changed. The tables were
    /// found sound nevertheless; grains that are not compressed have no check of their own.
    Newlines,
    /// Bytes follow the end of the stream.
    Padding {
        /// How many.
        bytes: u64,
    },
    /// The descriptor fills its room to the last byte and does not end with a line: it may have
    /// been cut.
    FullDescriptor,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.object)?;
        match self.oddity {
            Oddity::Unclean => f.write_str("it was not closed cleanly; the last writes may be missing"),
            Oddity::Newlines => f.write_str("a transfer has changed its line ends; its data may be damaged"),
            Oddity::Padding { bytes } => write!(f, "{bytes} bytes follow the end of the stream"),
            Oddity::FullDescriptor => f.write_str("its descriptor fills its room and may have been cut"),
        }
    }
}

/// What is odd about a sparse extent's header.
pub(super) fn of_header(object: &str, header: &SparseHeader) -> Vec<Warning> {
    let warning = |oddity| Warning { object: object.to_owned(), oddity };
    let unclean = header.is_unclean.then_some(Oddity::Unclean);
    let newlines = (header.has(FLAG_NEWLINES) && !header.newlines_intact).then_some(Oddity::Newlines);
    unclean.into_iter().chain(newlines).map(warning).collect()
}

/// What is odd about an embedded descriptor's room.
pub(super) fn of_descriptor(object: &str, room: &[u8]) -> Option<Warning> {
    let is_full = room.last().is_some_and(|&byte| byte != 0 && byte != b'\n' && byte != b' ');
    is_full.then(|| Warning { object: object.to_owned(), oddity: Oddity::FullDescriptor })
}
