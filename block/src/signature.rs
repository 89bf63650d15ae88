//! Detection of existing content on a block device: file systems, partition tables, parts of volume groups
//! and RAIDs, swap. One table of the marks known to `wipefs` and `blkid`.
//!
//! A mark does not prove that the content is intact. It is reason enough to ask before overwriting it.

use crate::container::{self, Container};
use crate::error::Result;

/// The position of a mark on a device.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// An offset from the start, in bytes.
    Start(u64),
    /// An offset back from the end, in bytes.
    End(u64),
    /// The superblock of Linux RAID 1.0: at least 8 KiB before the end, at a multiple of 4 KiB.
    Raid10,
    /// The superblock of Linux RAID 0.90: the last whole 64 KiB before the last multiple of 64 KiB.
    Raid090,
}

impl Place {
    fn offset(self, size: u64) -> Option<u64> {
        match self {
            Self::Start(offset) => Some(offset),
            Self::End(bytes) => size.checked_sub(bytes),
            Self::Raid10 => (size / 512).checked_sub(16).map(|sector| (sector & !7) * 512),
            Self::Raid090 => (size & !0xffff).checked_sub(0x1_0000),
        }
    }
}

use Place::{End, Raid10, Raid090, Start};

const GPT: &str = "a partition table (GPT)";
const GPT_COPY: &str = "the copy of a partition table (GPT)";
const LUKS: &str = "an encrypted volume (LUKS)";
const LUKS_COPY: &str = "the copy of the head of an encrypted volume (LUKS)";
const LVM: &str = "a physical volume (LVM)";
const RAID: &str = "a part of a RAID (Linux md)";
const SWAP: &str = "swap space";
const SUSPENDED: &str = "a suspended system";
const FAT: &str = "a FAT file system";
const MINIX: &str = "a Minix file system";

/// Place, mark, name. The first match wins. Partition tables and boot sectors come last, because file systems
/// may carry their mark, too.
const SIGNATURES: &[(Place, &[u8], &str)] = &[
    (Start(0), b"LUKS\xba\xbe", LUKS),
    (Start(0x4000), b"SKUL\xba\xbe", LUKS_COPY),
    (Start(0x8000), b"SKUL\xba\xbe", LUKS_COPY),
    (Start(0x1_0000), b"SKUL\xba\xbe", LUKS_COPY),
    (Start(0x2_0000), b"SKUL\xba\xbe", LUKS_COPY),
    (Start(0x4_0000), b"SKUL\xba\xbe", LUKS_COPY),
    (Start(0x8_0000), b"SKUL\xba\xbe", LUKS_COPY),
    (Start(0x10_0000), b"SKUL\xba\xbe", LUKS_COPY),
    (Start(0x20_0000), b"SKUL\xba\xbe", LUKS_COPY),
    (Start(0x40_0000), b"SKUL\xba\xbe", LUKS_COPY),
    (Start(3), b"-FVE-FS-", "an encrypted volume (BitLocker)"),
    (Start(0), b"LABELONE", LVM),
    (Start(0x200), b"LABELONE", LVM),
    (Start(0x400), b"LABELONE", LVM),
    (Start(0x600), b"LABELONE", LVM),
    (Start(0), b"\xfc\x4e\x2b\xa9", RAID),
    (Start(0x1000), b"\xfc\x4e\x2b\xa9", RAID),
    (Raid10, b"\xfc\x4e\x2b\xa9", RAID),
    (Raid090, b"\xfc\x4e\x2b\xa9", RAID),
    (Raid090, b"\xa9\x2b\x4e\xfc", RAID),
    (End(1024), b"Intel Raid ISM Cfg Sig. ", "a part of a RAID (Intel)"),
    (End(512), b"\xde\x11\xde\x11", "a part of a RAID (DDF)"),
    (End(512), b"\x11\xde\x11\xde", "a part of a RAID (DDF)"),
    (Start(0x1018), b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", "a bcache device"),
    (
        Start(0x1018),
        b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef",
        "a bcachefs file system",
    ),
    (Start(0), b"bluestore block device", "a Ceph BlueStore"),
    (Start(0), b"dmvdo001", "a VDO volume"),
    (Start(0x204), b"!Stra0tis\x86\xff\x02^\x41rh", "a part of a Stratis pool"),
    (Start(0), b"integrt\0", "an integrity volume (dm-integrity)"),
    (Start(0), b"verity\0\0", "a hash tree (dm-verity)"),
    (Start(4086), b"SWAPSPACE2", SWAP),
    (Start(4086), b"SWAP-SPACE", SWAP),
    (Start(8182), b"SWAPSPACE2", SWAP),
    (Start(16374), b"SWAPSPACE2", SWAP),
    (Start(32758), b"SWAPSPACE2", SWAP),
    (Start(65526), b"SWAPSPACE2", SWAP),
    (Start(4086), b"S1SUSPEND", SUSPENDED),
    (Start(4086), b"S2SUSPEND", SUSPENDED),
    (Start(4086), b"ULSUSPEND", SUSPENDED),
    (Start(4086), b"LINHIB0001", SUSPENDED),
    (Start(0x438), b"\x53\xef", "an ext2, ext3 or ext4 file system"),
    (Start(0), b"XFSB", "an XFS file system"),
    (Start(0x1_0040), b"_BHRfS_M", "a btrfs file system"),
    (Start(0x400), b"\x10\x20\xf5\xf2", "an F2FS file system"),
    (Start(0x400), b"\xe2\xe1\xf5\xe0", "an EROFS file system"),
    (Start(0), b"hsqs", "a squashfs file system"),
    (Start(0), b"sqsh", "a squashfs file system"),
    (Start(0), b"\x45\x3d\xcd\x28", "a cramfs file system"),
    (Start(0), b"-rom1fs-", "a romfs file system"),
    (Start(0x8000), b"JFS1", "a JFS file system"),
    (Start(0x1_0034), b"ReIsErFs", "a ReiserFS file system"),
    (Start(0x1_0034), b"ReIsEr2Fs", "a ReiserFS file system"),
    (Start(0x1_0034), b"ReIsEr3Fs", "a ReiserFS file system"),
    (Start(0x2034), b"ReIsErFs", "a ReiserFS file system"),
    (Start(0x1_0000), b"ReIsEr4", "a Reiser4 file system"),
    (Start(0x406), b"\x34\x34", "a NILFS2 file system"),
    (Start(0x1_0000), b"\x01\x16\x19\x70", "a GFS2 file system"),
    (Start(0x400), b"OCFSV2", "an OCFS2 file system"),
    (Start(0x800), b"OCFSV2", "an OCFS2 file system"),
    (Start(0x1000), b"OCFSV2", "an OCFS2 file system"),
    (Start(0x2000), b"OCFSV2", "an OCFS2 file system"),
    (Start(0x20_0000), b"\x0d\xd0\x01\xc0", "a VMFS file system"),
    (Start(0x10_0000), b"\x0d\xd0\x01\xc0", "a VMFS file system"),
    (Start(0x10_0000), b"\x5e\xf1\xab\x2f", "a VMFS file system"),
    (Start(32), b"NXSB", "an APFS container"),
    (Start(0x400), b"H+\0", "an HFS+ file system"),
    (Start(0x400), b"HX\0", "an HFS+ file system"),
    (Start(0x400), b"BD", "an HFS file system"),
    (Start(0x1_055c), b"\x19\x01\x54\x19", "a UFS file system"),
    (Start(0x255c), b"\x54\x19\x01\x00", "a UFS file system"),
    (Start(0x8001), b"CD001", "an ISO 9660 file system"),
    (Start(0x8001), b"BEA01", "a UDF file system"),
    (Start(0x8001), b"NSR0", "a UDF file system"),
    (Start(0x410), b"\x7f\x13", MINIX),
    (Start(0x410), b"\x8f\x13", MINIX),
    (Start(0x410), b"\x68\x24", MINIX),
    (Start(0x410), b"\x78\x24", MINIX),
    (Start(0x418), b"\x5a\x4d", MINIX),
    (Start(3), b"NTFS    ", "an NTFS file system"),
    (Start(3), b"ReFS\0\0\0\0", "a ReFS file system"),
    (Start(3), b"EXFAT   ", "an exFAT file system"),
    (Start(54), b"FAT12   ", FAT),
    (Start(54), b"FAT16   ", FAT),
    (Start(54), b"FAT     ", FAT),
    (Start(82), b"FAT32   ", FAT),
    (Start(512), b"EFI PART", GPT),
    (Start(1024), b"EFI PART", GPT),
    (Start(2048), b"EFI PART", GPT),
    (Start(4096), b"EFI PART", GPT),
    (End(512), b"EFI PART", GPT_COPY),
    (End(1024), b"EFI PART", GPT_COPY),
    (End(2048), b"EFI PART", GPT_COPY),
    (End(4096), b"EFI PART", GPT_COPY),
    (Start(0), b"ER\x02\0", "a partition table (Apple)"),
    (Start(512), b"PM\0\0", "a partition table (Apple)"),
    (Start(508), b"\xda\xbe", "a disk label (Sun)"),
    (Start(0), b"\x0b\xe5\xa9\x41", "a disk label (SGI)"),
    (Start(0), b"\x57\x45\x56\x82", "a disk label (BSD)"),
    (Start(512), b"\x57\x45\x56\x82", "a disk label (BSD)"),
    (Start(510), b"\x55\xaa", "a partition table (MBR) or a boot sector"),
];

/// The length of the longest mark, in bytes.
const MARK_LEN_MAX: usize = 32;
/// The length of a ZFS label, in bytes; there are two at each end.
const ZFS_LABEL_LEN: u64 = 256 << 10;
/// The alignment of the uberblocks in the second half of a label, in bytes.
const ZFS_UBERBLOCK_LEN: usize = 1 << 10;
/// The first bytes of an uberblock, in both byte orders.
const ZFS_MARKS: [[u8; 8]; 2] = [[0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0xba, 0xb1, 0x0c]];

/// Names the content of a device of `size` bytes, with an article; `None` if no known mark is present. `read`
/// fills a buffer from an offset and is called only for ranges inside the device.
///
/// # Errors
/// Any error of `read`.
pub fn find(size: u64, read: impl Fn(u64, &mut [u8]) -> Result<()>) -> Result<Option<String>> {
    let mut first = vec![0; size.min(container::FIRST_LEN as u64) as usize];
    read(0, &mut first)?;
    let mut last = vec![0; size.min(container::LAST_LEN as u64) as usize];
    read(size - last.len() as u64, &mut last)?;
    if let Some(container) = Container::of(&first, &last) {
        return Ok(Some(format!("a file of the format {}", container.name())));
    }
    let mut buffer = [0; MARK_LEN_MAX];
    for (place, mark, name) in SIGNATURES {
        let Some(offset) = place.offset(size) else { continue };
        let found = &mut buffer[..mark.len()];
        if offset.checked_add(mark.len() as u64).is_none_or(|end| end > size) {
            continue;
        }
        read(offset, found)?;
        if found == *mark {
            return Ok(Some((*name).into()));
        }
    }
    Ok(is_zfs(size, read)?.then(|| "a part of a ZFS pool".into()))
}

/// Whether one of the four ZFS labels has an uberblock.
fn is_zfs(size: u64, read: impl Fn(u64, &mut [u8]) -> Result<()>) -> Result<bool> {
    let labels = size / ZFS_LABEL_LEN;
    let mut uberblocks = vec![0; ZFS_LABEL_LEN as usize / 2];
    for label in [Some(0), Some(1), labels.checked_sub(2), labels.checked_sub(1)].into_iter().flatten() {
        if label < labels {
            read(label * ZFS_LABEL_LEN + ZFS_LABEL_LEN / 2, &mut uberblocks)?;
            let mut begins = uberblocks.chunks(ZFS_UBERBLOCK_LEN);
            if begins.any(|block| ZFS_MARKS.iter().any(|mark| block.starts_with(mark))) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(device: &[u8]) -> Option<String> {
        let read = |offset: u64, buf: &mut [u8]| {
            buf.copy_from_slice(&device[offset as usize..][..buf.len()]);
            Ok(())
        };
        find(device.len() as u64, read).expect("a device in memory is read")
    }

    #[test]
    fn every_mark_is_found_where_it_lies_and_nowhere_else() {
        const SIZE: usize = (5 << 20) + 512;
        for (place, mark, name) in SIGNATURES {
            assert!(mark.len() <= MARK_LEN_MAX, "{name}");
            let offset = place.offset(SIZE as u64).expect("room") as usize;
            let mut device = vec![0; SIZE];
            device[offset..offset + mark.len()].copy_from_slice(mark);
            assert!(found(&device).is_some(), "{name} at {offset}");
            device.copy_within(offset..offset + mark.len(), offset + 1);
            device[offset] = 0;
            assert_eq!(found(&device).filter(|found| found == name), None, "{name} behind {offset}");
        }
    }

    #[test]
    fn zfs_is_found_in_any_of_its_labels() {
        let len = ZFS_LABEL_LEN as usize;
        for start in [0, len, 8 * len - 2 * len, 8 * len - len] {
            for mark in ZFS_MARKS {
                let mut device = vec![0; 8 * len + 4096];
                let at = start + len / 2 + 37 * ZFS_UBERBLOCK_LEN;
                device[at..at + 8].copy_from_slice(&mark);
                assert_eq!(found(&device).as_deref(), Some("a part of a ZFS pool"), "label at {start}");
            }
        }
    }

    #[test]
    fn formats_of_disks_and_bundles_are_found_too() {
        for (mark, name) in [(&b"QFI\xfb\0\0\0\x03"[..], "qcow2"), (b"melvbndl", "melv bundle")] {
            let mut device = vec![0; 1 << 20];
            device[..mark.len()].copy_from_slice(mark);
            assert!(found(&device).is_some_and(|found| found.contains(name)), "{name}");
        }
    }

    #[test]
    fn zeros_and_devices_of_any_size_hold_nothing() {
        for size in [0, 1, 511, 512, 513, 4096, 65_535, 65_536, 131_072, 524_288, 3 << 20] {
            assert_eq!(found(&vec![0; size]), None, "{size}");
            assert_eq!(found(&vec![b'x'; size]), None, "{size}");
        }
    }
}
