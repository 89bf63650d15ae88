//! The files that start an appliance, on its EFI system partition.
//!
//! One disk starts under UEFI and under a BIOS, and has its kernel once:
//!
//! ```text
//! UEFI -> EFI/BOOT/BOOTX64.EFI (systemd-boot) -> loader/loader.conf -> loader/entries/melv.conf -+
//!                                                                                              +-> melv/vmlinuz
//! BIOS -> MBR -> boot sector -> ldlinux.sys, ldlinux.c32 (syslinux) -> syslinux.cfg ---------------+   melv/initrd
//! ```
//!
//! The files are values: [`Files`] makes them of the [`Parts`] that the caller brings and of a [`CommandLine`], and
//! `fat` places them.
//!
//! syslinux cannot be written as files alone. Its boot sector and `ldlinux.sys` name sectors of the volume, and its
//! own installer is the only one that knows their form. So [`install`] lets it work on a copy of the volume
//! without the files' contents, and keeps [`Patch`]es: the sectors that it changed. All else that it might have touched
//! is checked, not trusted: parameters, used clusters, entries and files stay as they were. Its two entries get the
//! volume's time in place of the time of day. Equal volumes give equal patches, on any day.
//!
//! syslinux calls `/bin/sh`, and by it `mcopy` and `mattrib` of mtools, in this order: clear the attributes of
//! `ldlinux.sys`, write it, set them; the same with `ldlinux.c32`; then it patches `ldlinux.sys` and the boot sector by
//! itself. It needs `/proc`, since mtools opens its file as `/proc/PID/fd/3`. mtools of Debian 13 needs the C library
//! of Debian 13 (`GLIBC_2.38`); with [`Programs::libraries`] it has it on any machine.
//!
//! `cmdline`, `files` are pure; `program` runs a program with a limit, `syslinux` prepares its folder, `root` knows the
//! entries of a root, `patch` compares a volume with its plan.

mod cmdline;
mod error;
mod files;
mod patch;
mod paths;
mod program;
mod root;
mod syslinux;

pub use cmdline::{CommandLine, CommandLineError};
pub use error::{BootError, InstallFault};
pub use files::{Files, Parts};
pub use patch::Patch;
pub use paths::{INITRD, KERNEL};
pub use syslinux::{FREE_BYTES, Programs, install};
