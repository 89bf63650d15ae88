//! A writer of EROFS, the read-only file system that is an appliance's root.
//!
//! Only uncompressed images, with blocks of 4 KiB. Each file's data lie on blocks of their own, so equal files of two
//! images are equal runs of blocks, and a store that shares blocks of 4 KiB keeps them once: the layout is the
//! sharing. No file ends inside its inode, for the same reason. Folders and links do, since they hold inode numbers
//! and short texts, which no two images share.
//!
//! ```text
//! byte 0     1024         1152           a block                                      a block
//! | zeros    | superblock | inodes       | blocks of folders and of long links        | data of files |
//!                           each: core, extended attributes, end of folder or link
//! ```
//!
//! The order of everything is the order of paths: a folder, then its entries by the bytes of their names, each with
//! all that lies below it. A file with several names lies at its first one. So the order of making the tree does not
//! matter, and files of one folder lie together.
//!
//! The format has no holes except in inodes "by chunks": a file of [`Content::Zeros`](crate::tree::Content::Zeros) is
//! one chunk at no address, which takes 4 bytes for up to 8 TiB. Linux 5.15 and later read it.
//!
//! `order` walks and checks the tree; `xattr`, `directory`, `inode` and `superblock` are structures to bytes, pure;
//! `plan` places everything, and `write` is the only file that does I/O. The layout is that of
//! `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst` of Linux 6.1.

mod directory;
mod error;
mod inode;
mod order;
mod plan;
mod superblock;
mod write;
mod xattr;

pub use error::ErofsError;
pub use plan::{Plan, Volume};

/// Bytes in a block.
pub const BLOCK_BYTES: u64 = 4096;
