//! Sources of an appliance's files: archives, read into one tree.
//!
//! An archive is hostile. Nothing of it is unpacked to the host: names and owners go to the tree in memory, contents
//! to one temporary file without a name. So a path has nowhere to climb to, a link is text, and no user but the
//! caller is needed.
//!
//! ```text
//! unpacker ── deb ──┐            ar, control.tar, data.tar
//!        │ ── oci ──┼── unpack ── tar        bytes to entries
//!        └──────────┘        │ ── insert     entries to the tree
//!              compression   └ ── spool      contents to the file
//! ```
//!
//! Bounds stand in [`limits`]. What an archive claims is compared with them before it is believed: memory is never
//! sized by a number of an archive, and the disk only up to the limit of all contents.
//!
//! Failures of a compressed stream arrive inside the [`std::io::Error`] of the reader above, as a
//! [`CompressionError`].

#![allow(clippy::result_large_err, reason = "an error ends a build, and its size does not matter then")]

mod compression;
mod deb;
mod digest;
#[doc(hidden)]
pub mod fuzzing;
mod insert;
pub mod limits;
mod oci;
mod spool;
mod tar;
mod text;
mod unpack;
mod unpacker;

pub(crate) use compression::Decoder;
pub use compression::{Compression, CompressionError};
pub(crate) use deb::with_data;
pub use deb::{Control, ControlFault, DebError, Package};
pub use digest::Digest;
pub use insert::{InsertError, InsertFault, NameFault, Replaces, Report};
pub use limits::Limits;
pub use oci::{HealthCheck, HealthTest, Image, ImageConfig, OciError, Port};
pub use spool::{Spool, SpoolError};
pub(crate) use tar::{Entry, EntryKind, Reader};
pub use tar::{TarError, TarFault};
pub(crate) use text::shown;
pub use unpack::UnpackError;
pub use unpacker::{Unpacked, Unpacker};
