//! The structures of a VMDK as values: bytes or text in, values or a [`VmdkViolation`](super::VmdkViolation)
//! out. Nothing here opens or reads a file. Readers and writers share `header` and `marker`; the rest checks
//! the bytes that were read.

pub(crate) mod descriptor;
pub(crate) mod encoding;
pub(crate) mod extent;
pub(crate) mod extent_layout;
pub(crate) mod grain;
pub(crate) mod grain_overlaps;
pub mod header;
pub(crate) mod limits;
pub(crate) mod lines;
pub(crate) mod marker;
pub(crate) mod oddities;
pub(crate) mod parent;
pub(crate) mod stream_tables;
pub(crate) mod tables;
