//! The serving layer for front ends: disks by name, from one store and its bundles, through one cache.
//!
//! A front end is written against [`Exports`], which lists and opens disks by name. A [`Catalog`] is one whose
//! disks are images: a [`ServedDisk`] is a [`BlockDevice`](melv_block::BlockDevice) that counts its reads and
//! logs its errors. This layer does not know whether its clients speak NBD or are the kernel.
//!
//! Front ends take their extra threads from a [`Budget`]. Its owner decides which of them share one.
//!
//! A served image stays readable: a disk keeps open every object that its reads may need. Removing the image
//! or collecting its objects does not affect current readers. The objects are released with the last
//! reference to the disk.

mod budget;
mod catalog;
mod counters;
mod disk;
mod exports;

pub use budget::{Budget, LatencyProbe, PollingPermit, ThreadPermit};
pub use catalog::{Catalog, CatalogEntry};
pub use counters::{Counters, Counts};
pub use disk::ServedDisk;
pub use exports::{Export, ExportEntry, ExportId, ExportInfo, Exports};
