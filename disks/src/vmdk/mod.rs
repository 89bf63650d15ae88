//! Reads and writes VMware's disk format.
//!
//! ## Reading
//!
//! A VMDK consists of a text, the *descriptor*, and *extents*: files that hold consecutive parts of
//! the disk, raw ("flat") or as tables and *grains* ("sparse"). [`VmdkDisk`] reads files at any
//! offset; [`Stream`] reads a pipe from front to back. Both refuse unsound input with the place and
//! the expected value, and never substitute zeros for missing bytes. They report harmless oddities
//! as a [`Warning`](crate::Warning). A [`Gate`](crate::Gate) decides about the files that a
//! descriptor names.
//!
//! | task | module |
//! |---|---|
//! | the descriptor's text, its encoding, its extents, its parent | `layout/`: `descriptor`, `encoding`, `extent`, `parent` |
//! | a sparse extent's header and its plausibility | `layout/`: [`header`], `extent_layout`, `oddities` |
//! | the sectors of grains and their plausibility | `layout/`: `tables`, `grain_overlaps`, `stream_tables` |
//! | compressed grains, and the markers of a stream | `layout/`: `grain`, `marker` |
//! | the files of a disk, and the bytes of an extent and of a disk | `read/`: `files`, `sparse`, `sparse_read`, `disk` |
//! | a summary of an unsupported VMDK | `read/`: `outline` |
//! | files next to a disk that refer to it | `read/`: `beside` |
//! | the bytes of a pipe and their completeness | `read/`: `stream`, `stream_front`, `stream_input` |
//!
//! `layout/` does no I/O: bytes in, values or a [`VmdkViolation`] out. Every limit is in
//! `layout/limits.rs`.
//!
//! ## Writing
//!
//! [`export_sparse`] makes one file to which products write, [`export_stream`] a compressed stream.
//!
//! Sources: VMware, *Virtual Disk Format 5.0* (technical note); libyal, *VMWare Virtual Disk Format
//! (VMDK)*; the headers of VMware's open-vmdk; and files from real writers.

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod layout;
mod read;
mod violation;
mod write;

pub use layout::extent::{Access, Extent, ExtentKind};
pub use layout::header;
pub use layout::parent::Parent;
pub use melv_block::container::vmdk::{looks_like, looks_like_descriptor};
pub use read::beside::neighbours;
pub use read::disk::VmdkDisk;
pub use read::outline::Outline;
pub use read::stream::Stream;
pub use violation::VmdkViolation;
pub use write::pieces::WriteOptions;
pub use write::sparse::export_sparse;
pub use write::stream::{export_stream, export_stream_file};
