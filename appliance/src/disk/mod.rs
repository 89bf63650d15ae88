//! The disk of an appliance: partition table, EFI system partition and root, in one file.
//!
//! ```text
//! | MBR, GPT | EFI system partition: boot loaders, kernel, initrd | root: EROFS | GPT |
//! 0          2 MiB                                                  a multiple of 2 MiB
//! ```
//!
//! Places are on a grid of 2 MiB, and files on one of 4 KiB, so that equal files of two disks are equal blocks.
//! Identities derive from the digest of the root: the root is written with zeros for its own, digested, and its first
//! block is written once more. So equal contents make equal disks, and different roots have different names.
//!
//! `layout` computes places, `identity` derives names, `write` does the I/O.

mod error;
mod identity;
mod layout;
mod write;

pub use self::{
    error::DiskError,
    layout::{Bios, BootParts},
    write::{Place, WrittenDisk, write},
};
