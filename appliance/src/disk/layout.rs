//! Sizes and places of the partitions.

use std::path::Path;

use crate::{
    boot::FREE_BYTES,
    gpt::{Alignment, Guid, LEGACY_BIOS_BOOTABLE, Partition, READ_ONLY, Table},
    tree::Content,
};

use super::{DiskError, identity::Identity};

const MIB: u64 = 1 << 20;
/// Least and largest size of a FAT16 volume with clusters of 4 KiB.
const ESP_LEAST: u64 = 17 * MIB;
const ESP_MOST: u64 = 256 * MIB;
/// Bytes of the volume for its tables and for the boot loaders' own small files.
const ESP_OVERHEAD: u64 = MIB;

/// The files that start a disk.
#[derive(Debug, Clone, Copy)]
pub struct BootParts<'a> {
    /// The kernel, a bzImage.
    pub kernel: &'a Content,
    /// The initrd.
    pub initrd: Option<&'a Content>,
    /// systemd-boot, where UEFI starts the disk.
    pub uefi: Option<&'a Content>,
    /// Programs and boot code, where a BIOS starts it.
    pub bios: Option<Bios<'a>>,
    /// Words of the command line behind the root.
    pub command_line: &'a str,
}

/// Programs that make a disk start under a BIOS.
#[derive(Debug, Clone, Copy)]
pub struct Bios<'a> {
    /// Code of the MBR, `gptmbr.bin` of syslinux.
    pub boot_code: &'a [u8],
    /// The program `syslinux`.
    pub syslinux: &'a Path,
    /// The program `mtools`.
    pub mtools: &'a Path,
    /// The folder with the C library of their suite: see [`Programs::libraries`](crate::boot::Programs::libraries).
    pub libraries: Option<&'a Path>,
}

/// Returns the size of the EFI system partition: whole MiB.
pub(super) fn esp_bytes(parts: &BootParts<'_>) -> Result<u64, DiskError> {
    let contents = [Some(parts.kernel), parts.initrd, parts.uefi].into_iter().flatten();
    let found = contents.fold(FREE_BYTES + ESP_OVERHEAD, |sum, content| sum.saturating_add(content.len()));
    if found > ESP_MOST {
        return Err(DiskError::TooLarge { found, limit: ESP_MOST });
    }
    // A partition has whole units of the grid, so the volume may as well fill them.
    Ok(found.max(ESP_LEAST).next_multiple_of(2 * MIB).min(ESP_MOST))
}

/// Returns the partition table.
pub(super) fn table(
    identity: &Identity,
    parts: &BootParts<'_>,
    esp_bytes: u64,
    root_bytes: u64,
) -> Result<Table, DiskError> {
    let esp = Partition {
        type_guid: Guid::EFI_SYSTEM,
        guid: identity.esp,
        name: "melv-esp".into(),
        attributes: if parts.bios.is_some() { LEGACY_BIOS_BOOTABLE } else { 0 },
        size_bytes: esp_bytes,
    };
    let root = Partition {
        type_guid: Guid::LINUX_ROOT_X86_64,
        guid: identity.root,
        name: "melv-root".into(),
        attributes: READ_ONLY,
        size_bytes: root_bytes,
    };
    let code = parts.bios.map_or(&[][..], |bios| bios.boot_code);
    Ok(Table::new(identity.disk, Alignment::TwoMib, code, vec![esp, root])?)
}
