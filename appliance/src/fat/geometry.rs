//! Areas of a volume, and the boot sector that tells them.

use super::error::FatError;
use super::{CLUSTER_BYTES, OEM_NAME};

/// Bytes in a sector.
pub(super) const SECTOR_BYTES: u64 = 512;

/// Entries of the root.
pub(super) const ROOT_ENTRIES: u64 = 512;

/// Bytes of an entry.
pub(super) const ENTRY_BYTES: u64 = 32;

const MIB: u64 = 1 << 20;
const CLUSTER_SECTORS: u64 = CLUSTER_BYTES / SECTOR_BYTES;
const ROOT_SECTORS: u64 = ROOT_ENTRIES * ENTRY_BYTES / SECTOR_BYTES;

/// Sizes of a volume in MiB: fewer have not the 4085 clusters that make it FAT16, more need larger clusters.
const SIZES_MIB: std::ops::RangeInclusive<u64> = 17..=256;

/// Numbers 0 and 1 of the FAT stand for no cluster.
pub(super) const FIRST_CLUSTER: u64 = 2;

/// The areas of a volume, in sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    sectors: u64,
    reserved: u64,
    fat: u64,
    /// Clusters of the data area.
    pub(super) clusters: u64,
}

impl Geometry {
    /// Divides a volume of `size` bytes.
    pub(super) fn new(size: u64) -> Result<Self, FatError> {
        if !size.is_multiple_of(MIB) || !SIZES_MIB.contains(&(size / MIB)) {
            return Err(FatError::InvalidSize { size });
        }
        let sectors = size / SECTOR_BYTES;
        // A little more than needed: the areas before the data have no clusters.
        let fat = ((sectors / CLUSTER_SECTORS + FIRST_CLUSTER) * 2).div_ceil(SECTOR_BYTES);
        // At least one cluster for the boot sector, and the rest that brings the data to a multiple of a cluster.
        let reserved = (CLUSTER_SECTORS + 2 * fat).next_multiple_of(CLUSTER_SECTORS) - 2 * fat;
        let clusters = (sectors - reserved - 2 * fat - ROOT_SECTORS) / CLUSTER_SECTORS;
        Ok(Self { sectors, reserved, fat, clusters })
    }

    /// Returns the bytes before the first FAT.
    pub(super) fn reserved_bytes(&self) -> u64 {
        self.reserved * SECTOR_BYTES
    }

    /// Returns the bytes of a FAT.
    pub(super) fn fat_bytes(&self) -> u64 {
        self.fat * SECTOR_BYTES
    }

    /// Returns the bytes before the data area.
    pub(super) fn data_bytes(&self) -> u64 {
        (self.reserved + 2 * self.fat + ROOT_SECTORS) * SECTOR_BYTES
    }

    /// Returns the first byte of a cluster.
    pub(super) fn cluster_offset(&self, cluster: u64) -> u64 {
        self.data_bytes() + (cluster - FIRST_CLUSTER) * CLUSTER_BYTES
    }

    /// Returns the boot sector. `hidden` is the number of sectors before the volume, on its disk.
    pub(super) fn boot_sector(&self, id: u32, label: &[u8; 11], hidden: u32) -> [u8; SECTOR_BYTES as usize] {
        let mut bytes = [0; SECTOR_BYTES as usize];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        // Sizes fit 32 bits, and counts of reserved and FAT sectors 16, by the bounds on the volume's size.
        let (short, long) = match u16::try_from(self.sectors) {
            Ok(short) => (short, 0),
            Err(_) => (0, self.sectors as u32),
        };
        put(0, &[0xEB, 0x3C, 0x90]);
        put(3, OEM_NAME);
        put(11, &(SECTOR_BYTES as u16).to_le_bytes());
        put(13, &[CLUSTER_SECTORS as u8]);
        put(14, &(self.reserved as u16).to_le_bytes());
        put(16, &[2]);
        put(17, &(ROOT_ENTRIES as u16).to_le_bytes());
        put(19, &short.to_le_bytes());
        put(21, &[MEDIA]);
        put(22, &(self.fat as u16).to_le_bytes());
        put(24, &TRACK_SECTORS.to_le_bytes());
        put(26, &HEADS.to_le_bytes());
        put(28, &hidden.to_le_bytes());
        put(32, &long.to_le_bytes());
        put(36, &[0x80, 0, 0x29]);
        put(39, &id.to_le_bytes());
        put(43, label);
        put(54, b"FAT16   ");
        put(62, &NO_SYSTEM);
        put(510, &[0x55, 0xAA]);
        bytes
    }
}

/// The medium: a fixed disk.
pub(super) const MEDIA: u8 = 0xF8;

/// Tracks of 32 sectors under 64 heads make cylinders of 1 MiB, so that a volume of whole MiB has whole ones.
const TRACK_SECTORS: u16 = 32;
const HEADS: u16 = 64;

/// Code of a volume that nothing starts from: `int 0x18` tells the firmware to try the next disk, then halt.
const NO_SYSTEM: [u8; 5] = [0xCD, 0x18, 0xF4, 0xEB, 0xFD];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_aligned_and_clusters_make_it_fat16_at_every_size() {
        for mib in SIZES_MIB {
            let geometry = Geometry::new(mib * MIB).unwrap();
            assert!(geometry.data_bytes().is_multiple_of(CLUSTER_BYTES), "{mib} MiB");
            assert!((4085 + 16..65_525 - 16).contains(&geometry.clusters), "{mib} MiB");
            assert!((geometry.clusters + FIRST_CLUSTER) * 2 <= geometry.fat_bytes(), "{mib} MiB");
            assert_eq!(geometry.cluster_offset(FIRST_CLUSTER + geometry.clusters), mib * MIB);
        }
    }

    #[test]
    fn other_sizes_are_refused() {
        for size in [0, 16 * MIB, 17 * MIB + 512, 257 * MIB, u64::MAX] {
            assert!(matches!(Geometry::new(size), Err(FatError::InvalidSize { .. })));
        }
    }
}
