//! Builder of appliances: disks that hold an application, the files that it needs, a kernel and an init.
//!
//! A [`declaration`] says what an appliance is; [`build`] makes a disk of it. No foreign code runs while a disk is built,
//! and no privilege is needed: owners and modes are values in a [`tree`], and file systems are written, not mounted.
//! The programs that run are named: `apt-get`, which resolves names of packages, `syslinux` with mtools, which know the
//! form of their own boot sector, and `make` for a kernel that is built.
//!
//! | room | job |
//! |---|---|
//! | [`declaration`] | the declaration, from TOML to a checked value |
//! | [`apt`], [`lock`], [`fetch`] | names to packages, the file that keeps the answer, the packages by their digests |
//! | [`sources`] | packages, tars and container images into a tree, whose contents lie in a spool |
//! | [`elf`], [`closure`] | the files that something needs, and why |
//! | [`image`] | the tree of the image: the kept files, and those that every appliance has |
//! | [`kernel`] | modules, initrd, the parts of a bzImage |
//! | [`erofs`], [`fat`], [`gpt`], [`boot`], [`disk`] | the disk |
//! | [`record`], [`sbom`] | what the image and a bill of materials tell of it |

#![allow(rustdoc::private_intra_doc_links, reason = "the essay of a room links the files of the room")]

pub mod apt;
pub mod boot;
pub mod build;
pub mod closure;
pub mod contents;
pub mod declaration;
pub mod disk;
pub mod elf;
pub mod erofs;
pub mod fat;
pub mod fetch;
#[doc(hidden)]
pub mod fuzzing;
pub mod gpt;
pub mod image;
pub mod kernel;
pub mod lock;
pub mod record;
pub mod sbom;
pub mod sha256;
pub mod sources;
pub mod tree;

/// PID 1 of an appliance, a static program.
pub const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/melv-init"));
