//! Raw disks: `read` takes the bytes of a file, a block device or a pipe as a disk, `write` exports any disk
//! as raw bytes to a sparse file, a block device or a stream.

mod read;
mod write;

pub(crate) use read::RawDisk;
pub use read::{PeekedReader, RawStream};
pub use write::{ExportOptions, export, export_into, export_stream};
