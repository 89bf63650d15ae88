//! Reads and writes VMware's disk format.
//!
//! ## Reading
//!
//! A VMDK consists of a text, the *descriptor*, and *extents*: files that hold consecutive parts of
//! the disk, raw ("flat") or as tables and *grains* ("sparse"). [`Disk`] reads files at any offset;
//! [`Stream`] reads a pipe from front to back. Both refuse unsound input with the place and the
//! expected value, and never substitute zeros for missing bytes. They report harmless oddities as a
//! [`Warning`]. A descriptor may name only plain files next to itself.
//!
//! | task | module |
//! |---|---|
//! //! | the descriptor's text, its encoding, its extents, its parent | `descriptor`, `encoding`, `extent`, `parent` |
//! | a sparse extent's header and its plausibility | [`header`], `layout` |
//! | the sectors of grains and their plausibility | `tables`, `claims` |
//! | compressed grains, and the markers of a stream | `grain`, `marker` |
//! | finding a file by name and permission to open it | `files` |
//! | the bytes of an extent and of a disk | `sparse`, `sparse_read`, `disk` |
//! | a summary of an unsupported VMDK | `outline` |
//! | files next to a disk that refer to it | `beside` |
//! | the bytes of a pipe and their completeness | `stream`, `stream_front`, `stream_input`, `stream_tables` |
//!
//! The first five rows do no I/O: bytes in, values or a [`Fault`] out. Every limit is in `limits`.
//!
//! Sources: VMware, *Virtual Disk Format 5.0* (technical note); libyal, *VMWare Virtual Disk Format
//! (VMDK)*; the headers of VMware's open-vmdk; and files from real writers.

mod beside;
mod claims;
mod descriptor;
mod disk;
mod encoding;
mod error;
mod extent;
mod fault;
mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod grain;
pub mod header;
mod layout;
mod limits;
mod lines;
mod marker;
mod outline;
mod parent;
mod recent;
mod sparse;
mod sparse_read;
mod stream;
mod stream_front;
mod stream_input;
mod stream_tables;
mod tables;
mod text;
mod warning;
mod write_pieces;
mod write_sparse;
mod write_stream;

pub use beside::neighbours;
pub use disk::Disk;
pub use error::DiskError;
pub use extent::{Access, Extent, ExtentKind};
pub use fault::Fault;
pub use melv_block::container::vmdk::{looks_like, looks_like_descriptor};
pub use outline::Outline;
pub use parent::Parent;
pub use stream::Stream;
pub use warning::{Oddity, Warning};
pub use write_pieces::WriteOptions;
pub use write_sparse::export_sparse;
pub use write_stream::{export_stream, export_stream_file};
