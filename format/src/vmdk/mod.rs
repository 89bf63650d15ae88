//! VMware's disk format, in and out.
//!
//! ## Reading
//!
//! A VMDK is a text, the *descriptor*, and *extents*: files that hold the disk's parts one after
//! the other, raw ("flat") or as tables and *grains* ("sparse"). [`Disk`] reads it by position from
//! files, [`Stream`] front to back from a pipe. Both refuse what is unsound, with the place and
//! with what was expected, and never put zeros where bytes are missing; what is odd but harmless
//! they tell as a [`Warning`]. A descriptor may name plain files beside itself and nothing else.
//!
//! | question | answered in |
//! |---|---|
//! | is this a VMDK? | `probe` |
//! | what does the text say? which encoding? which extents? which parent? | `descriptor`, `encoding`, `extent`, `parent` |
//! | what does a sparse extent's header say? can that be? | [`header`], `layout` |
//! | where are its grains, and can they be there? | `tables`, `claims` |
//! | what is in a compressed grain? in a stream's markers? | `grain`, `marker` |
//! | which file has this name, and may it be opened? | `files` |
//! | the bytes of an extent, of a disk | `sparse`, `sparse_read`, `disk` |
//! | what can be said of one that is not read? | `outline` |
//! | which files beside speak of this one? | `beside` |
//! | the bytes of a pipe, and did all of them come? | `stream`, `stream_front`, `stream_input`, `stream_tables` |
//!
//! The first six rows are pure, but for `claims`: bytes in, values or a [`Fault`] out. Every maximum
//! is in `limits`.
//!
//! Sources: VMware, *Virtual Disk Format 5.0* (technical note); libyal, *VMWare Virtual Disk Format
//! (VMDK)*; the headers of VMware's open-vmdk; and files that writers make.

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
mod marker;
mod outline;
mod parent;
mod probe;
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
pub use outline::Outline;
pub use parent::Parent;
pub(crate) use probe::{Mark, mark};
pub use probe::{looks_like, looks_like_descriptor};
pub use stream::Stream;
pub use warning::{Oddity, Warning};
pub use write_pieces::WriteOptions;
pub use write_sparse::export_sparse;
pub use write_stream::{export_stream, export_stream_file};
