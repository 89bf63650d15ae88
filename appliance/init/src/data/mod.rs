//! Data disks: found, formatted when blank, grown, filled and mounted.
//!
//! A disk is ours if its ext4 label is `melv-NAME`. Only a blank disk is ever formatted, and a disk that is
//! neither is never written to. Blank is decided by reading (`inspect.rs`): the whole of a small disk, and of a
//! larger one its ends and samples that include the places where formats keep their second copies.
//!
//! A machine may lose its power while it formats or fills a disk, which is then neither blank nor ours. So a
//! claim is written first into the last block of the disk, beyond the file system, and taken away last. A claimed
//! disk is formatted again: no service has seen it.
//!
//! `choose.rs` decides, purely, which disk serves which name; `disk.rs` reads and writes devices; `copy.rs` fills.

mod choose;
mod copy;
mod disk;
mod inspect;

pub use self::disk::{Opened, folder, open};
