//! # melv-disks
//!
//! Disks of other programs, in and out. A format is a folder; its parsers are pure, and one file in it opens
//! files. No format opens a file that an image names unless it lies beside the image under a plain name.
//!
//! | module | idea |
//! |---|---|
//! | [`raw`] | any disk as raw bytes: to a sparse file, a block device or a stream |
//! | [`vmdk`] | VMware's format, in and out |

pub mod raw;
pub mod vmdk;

pub use vmdk::DiskError;
