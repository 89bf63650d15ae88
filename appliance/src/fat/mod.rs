//! A writer of FAT16, for the EFI system partition.
//!
//! A store that shares blocks of 4 KiB wants the kernel of two appliances on equal blocks. So clusters are 4 KiB, the
//! data area starts at a multiple of 4 KiB, and each file lies on consecutive clusters. A reader then needs no FAT:
//! [`Plan::offset_bytes`] tells each file's place, and firmware and boot loaders find the same bytes by the tables.
//!
//! ```text
//! | boot sector | reserved | FAT | FAT | root, 512 entries | folders | files by path | free |
//!                                     ^ a multiple of 4 KiB, as the data area behind it
//! ```
//!
//! FAT16 has 4085 to 65,524 clusters, so a volume has 17 to 256 MiB. All times are one time, names are in the order
//! of paths, and free space is zeros: equal files give equal bytes.
//!
//! `syslinux --install` works on the written image. It needs [`Plan::free_bytes`] of 256 KiB (`ldlinux.sys` and
//! `ldlinux.c32` take 184,320 bytes on Debian 12) and two free entries of the root. It replaces the boot sector's
//! code and [`OEM_NAME`], and keeps the parameters between them. It calls `mcopy` and `mattrib` of mtools, which want
//! whole tracks: 1 MiB is 32 tracks of 64 sectors here. It stamps its two files with the time of day, unless
//! `SOURCE_DATE_EPOCH` tells another.
//!
//! `name`, `time`, `geometry` and `entry` are values to bytes, pure. `folders` makes folders of paths, `plan` places
//! them, `write` does the I/O. The layout is that of Microsoft's "FAT: General Overview of On-Disk Format" 1.03.

mod entry;
mod error;
mod file;
mod folders;
mod geometry;
mod name;
mod plan;
mod time;
mod write;

pub use error::FatError;
pub use file::File;
pub use plan::{Plan, Volume};

/// Bytes in a cluster, and the unit of all places.
pub const CLUSTER_BYTES: u64 = 4096;

/// The name of the writing system in the boot sector.
pub const OEM_NAME: &[u8; 8] = b"MELV    ";
