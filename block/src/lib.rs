//! # melv-block
//!
//! A disk as everybody in melv sees it: read by position from any number of threads, described by runs of
//! data and zeros, with one error type for all crates. Formats implement [`BlockDevice`]; front ends and
//! tools use it. This crate knows no store, no network, and of other programs' formats only their marks.
//!
//! | module | idea |
//! |---|---|
//! | `device` | [`BlockDevice`]: a disk that is read by position |
//! | `error`, `failure` | [`Error`]: a kind for the caller's next step, a place, and the finder's own [`Detail`]; [`BlockError`] for disks, files and devices |
//! | `local_file` | [`LocalFile`]: a regular file or a block device, open for reading, and its length |
//! | `raw_file` | [`RawFile`]: a regular file or a block device as a disk |
//! | `source` | [`Source`]: a disk to be read once, by position, span by span or front to back |
//! | `output`, `folder_sync` | files that appear only when they are complete, and block devices that are not overwritten by mistake |
//! | [`container`] | the one table of marks by which formats are told apart |
//! | `signature` | the content of a block device: file systems, partition tables, members of volume groups |
//! | `zeros` | the first byte of a disk that is not zero |

pub mod container;
mod device;
mod error;
mod failure;
mod folder_sync;
mod local_file;
mod output;
mod raw_file;
mod signature;
mod source;
mod zeros;

pub use container::Container;
pub use device::{BlockDevice, DepthRun, Run, RunKind, SectorBits, check_range, for_each_run};
pub use error::{Deferred, Detail, Error, ErrorKind, Place, Position, Result, ResultExt};
pub use failure::{BlockError, DeviceState};
pub use folder_sync::folder_synced;
pub use local_file::LocalFile;
pub use output::{OutputFile, Target};
pub use raw_file::{RawFile, padded_size};
pub use source::{ArrivedSpan, Source, SourceKind, SpanStream};
pub use zeros::first_data;

/// Bytes in a span, the unit in which disks are streamed and content ids are computed.
pub const SPAN_LEN: usize = 1 << 20;
