//! Limits and names that depend on the version of VMware's virtual hardware.
//!
//! Source of the limits: VMware, *Hardware Features Available with Virtual Machine Compatibility Settings*. Source
//! of the systems: the templates of VMware's open-vmdk, one for each version.

/// The versions that have EFI, PVSCSI and VMXNET3, and are known: ESXi 5.0 to 8.0.
pub(super) const VERSION_MIN: u8 = 8;
/// The newest known version.
pub(super) const VERSION_MAX: u8 = 21;
/// The version that every supported release runs.
pub(super) const VERSION_DEFAULT: u8 = 11;

/// Returns the largest number of processors.
pub(super) fn cpus_max(version: u8) -> u64 {
    match version {
        ..9 => 32,
        9..11 => 64,
        11.. => 128,
    }
}

/// Returns the largest memory, in MiB.
pub(super) fn memory_mib_max(version: u8) -> u64 {
    match version {
        ..11 => 1011 << 10,
        11.. => 4080 << 10,
    }
}

/// Returns VMware's identifier of "other Linux, 64 bit", as the API spells it.
///
/// A version knows only systems that are older than itself.
pub(super) fn guest_id(version: u8) -> &'static str {
    match version {
        ..10 => "other26xLinux64Guest",
        10..14 => "other3xLinux64Guest",
        14.. => "other4xLinux64Guest",
    }
}

/// Returns the same as VMX files spell it.
pub(super) fn guest_os(version: u8) -> &'static str {
    match version {
        ..10 => "other26xlinux-64",
        10..14 => "other3xlinux-64",
        14.. => "other4xlinux-64",
    }
}
