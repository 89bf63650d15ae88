//! Writes a machine around a disk: an OVA package, or a VMX file beside a VMDK.
//!
//! A [`Machine`] is a plain value, checked once. The texts (`ovf`, `manifest`, `vmx`) are pure functions of it,
//! so golden files hold them. `package` alone writes, and only to the caller's `Write`.
//!
//! ## The order of a package
//!
//! The OVF specification (DMTF DSP0243 1.1, "Distribution as a Single File") asks for the descriptor first. The
//! manifest comes right after it or at the end, the other files in the order of the `References`. The
//! descriptor holds the length of each disk, and so does a tar header, so both precede bytes that must exist
//! already. Two ways lead there: a temporary file, or two passes over the disk. This writer makes two passes. It
//! asks a [`DiskWriter`] for the same stream twice, first to measure and to digest, then to write. So it needs no
//! space, writes to pipes, and puts the manifest where readers of a stream have use for it: before the disk. The
//! second stream must equal the first, or the package is refused. A caller who would rather spend space than
//! time hands over a writer that copies a file.
//!
//! ## Files beyond 8 GiB
//!
//! The specification asks for USTAR, and its octal size field ends at 8 GiB less one byte. VMware's own
//! `ova-compose` writes GNU's base-256 size beyond that, because vSphere reads it and does not read the size of a
//! pax header; VirtualBox, virt-v2v, and Go's and Python's readers take it too. The chunks of the specification
//! (`ovf:chunkSize`) would conform, but virt-v2v does not join them. So a disk beyond 8 GiB has a GNU
//! header, and all else is USTAR.
//!
//! ## Blank data disks
//!
//! OVF describes a blank disk by a `Disk` without a file. virt-v2v refuses such packages. An empty stream has 66 KB
//! and every reader takes it, so [`BlankDisks::Files`] is the default.
//!
//! ## A VMX file
//!
//! It serves Workstation, Fusion and Player, which run a `monolithicSparse` VMDK and write to it. They do not
//! write to a stream. ESXi runs neither ("unsupported or invalid disk type"): its way in is the package. So blank
//! disks beside a VMX are `monolithicSparse` as well.
//!
//! | module | idea |
//! |---|---|
//! | `machine`, `text` | the value, and the texts that it may hold |
//! | `hardware` | limits and names that depend on the version of VMware's hardware |
//! | `blank` | a blank disk to read from |
//! | `ovf`, `xml` | the descriptor, and the one place that writes markup |
//! | `manifest` | the digests |
//! | `tar_header`, `measure`, `package` | the archive, the two passes, the package |
//! | `vmx` | the VMX file |
//! | `files` | packages and VMX files with their names |
//! | `error` | refusals |

mod blank;
mod error;
mod files;
mod hardware;
mod machine;
mod manifest;
mod measure;
mod ovf;
mod package;
mod tar_header;
mod text;
mod vmx;
mod xml;

pub use blank::BlankDisk;
pub use error::{OvaError, TextFault};
pub use files::{export_ova, export_ova_file, export_vmx};
pub use machine::{DataDisk, Firmware, Machine, MachineParts, Port, Protocol, SystemDisk};
pub use package::{BlankDisks, DiskWriter, PackageDisk, write_ova};
pub use vmx::{VmxDisk, VmxFiles, vmx_files};
