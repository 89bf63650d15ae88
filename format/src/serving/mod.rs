//! What front ends serve: disks by name, from one store and its bundles, through one cache.
//!
//! A front end is given a [`Catalog`] and asks it what there is and for disks; a [`Disk`] is a
//! [`BlockDevice`](crate::BlockDevice) that counts what it does and says what is wrong with it. Whether
//! its clients speak NBD or are the kernel is not known here.
//!
//! An image that is served stays readable: a disk holds open every object that its reads may need, so
//! removing the image, or collecting what it used, takes nothing from those who read it. When the last
//! of them lets go, so does the disk.

mod catalog;
mod counters;
mod disk;
mod medium;

pub use catalog::{Catalog, Entry};
pub use counters::{Counters, Counts};
pub use disk::Disk;
pub use medium::{ExtraThread, Medium};
