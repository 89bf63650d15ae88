//! The serving layer for front ends: disks by name, from one store and its bundles, through one cache.
//!
//! A front end has a [`Catalog`], which lists and opens disks. A [`Disk`] is a
//! [`BlockDevice`](melv_block::BlockDevice) that counts its reads and logs its errors. This layer does not know
//! whether its clients speak NBD or are the kernel.
//!
//! A served image stays readable: a disk keeps open every object that its reads may need. Removing the image
//! or collecting its objects does not affect current readers. The objects are released with the last
//! reference to the disk.

mod catalog;
mod counters;
mod disk;
mod medium;

pub use catalog::{Catalog, Entry};
pub use counters::{Counters, Counts};
pub use disk::Disk;
pub use medium::{ExtraThread, Medium};
