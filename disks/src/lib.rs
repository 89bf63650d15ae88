//! # melv-disks
//!
//! Disks of other programs, in and out. [`open`] takes a disk of any format by its content, [`PeekedStream`]
//! one that comes through a pipe. A format is a folder and a Cargo feature; its parsers are pure, and one
//! file in it opens files. A [`Gate`], which the caller passes, decides which files a disk may name.
//!
//! | module | idea |
//! |---|---|
//! | `open`, `open_stream` | the entry points: format by content, formats that are not read refused by name |
//! | `foreign_disk`, `warning`, `error` | [`ForeignDisk`]: a device with its format, its oddities and a check for changes |
//! | `gate`, `gated_folder`, `plain_name` | permission to open files that a disk names, and the only code that opens them |
//! | [`raw`] | raw bytes as a disk; any disk as raw bytes: to a sparse file, a block device or a stream |
//! | `vmdk` | VMware's format, in and out |
//! | `ova` | a machine around a disk: OVA packages and VMX files, out |
//!
//! | feature | brings |
//! |---|---|
//! | `vmdk` (default) | VMDKs; without it they are refused as other formats are |
//! | `ova` (default) | OVA packages and VMX files |

mod error;
mod foreign_disk;
mod gate;
#[cfg(feature = "vmdk")]
mod gated_folder;
mod open;
mod open_stream;
#[cfg(feature = "ova")]
pub mod ova;
#[cfg(feature = "vmdk")]
mod plain_name;
pub mod raw;
#[cfg(feature = "vmdk")]
pub mod vmdk;
mod warning;

pub use error::DiskError;
pub use foreign_disk::{DiskFormat, ForeignDisk};
pub use gate::Gate;
pub use open::{OpenOptions, open};
pub use open_stream::{PeekedStream, StreamedDisk};
pub use warning::{Oddity, Warning};
