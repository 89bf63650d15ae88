//! The superblock: `struct erofs_super_block`, 128 bytes at byte 1024.

use crc::{CRC_32_ISCSI, Crc};

use super::BLOCK_BYTES;
use crate::tree::Timestamp;

/// Place of the superblock in bytes: `EROFS_SUPER_OFFSET`.
pub(super) const OFFSET: u64 = 1024;

/// Bytes of the superblock.
pub(super) const BYTES: u64 = 128;

const MAGIC: u32 = 0xE0F5_E1E2;

/// Compatible features: a checksum, and times that are those of the last change of data.
const COMPATIBLE: u32 = 0x1 | 0x2;

/// Incompatible feature: inodes by chunks.
const CHUNKED_FILE: u32 = 0x4;

static CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The fields that differ from image to image.
#[derive(Debug)]
pub(super) struct Superblock {
    pub(super) root_number: u16,
    pub(super) inodes: u64,
    pub(super) epoch: Timestamp,
    pub(super) blocks: u32,
    pub(super) uuid: [u8; 16],
    /// Padded with zeros.
    pub(super) label: [u8; 16],
    pub(super) has_holes: bool,
}

impl Superblock {
    /// Puts superblock and checksum into block 0, which holds the first inodes already: the checksum covers them.
    pub(super) fn seal(&self, block: &mut [u8; BLOCK_BYTES as usize]) {
        let start = OFFSET as usize;
        block[start..start + BYTES as usize].copy_from_slice(&self.encode());
        // Linux starts with all ones and does not invert the result: the complement of the usual CRC-32C.
        let checksum = !CRC32C.checksum(&block[start..]);
        block[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
    }

    fn encode(&self) -> [u8; BYTES as usize] {
        let mut bytes = [0; BYTES as usize];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC.to_le_bytes());
        put(8, &COMPATIBLE.to_le_bytes());
        put(12, &[BLOCK_BYTES.trailing_zeros() as u8, 0]);
        put(14, &self.root_number.to_le_bytes());
        put(16, &self.inodes.to_le_bytes());
        put(24, &self.epoch.seconds.to_le_bytes());
        put(32, &self.epoch.nanoseconds.to_le_bytes());
        put(36, &self.blocks.to_le_bytes());
        // Block 0 is the first of inodes, and there are no shared attributes.
        put(48, &self.uuid);
        put(64, &self.label);
        put(80, &if self.has_holes { CHUNKED_FILE } else { 0 }.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_published_check_value() {
        assert_eq!(CRC32C.checksum(b"123456789"), 0xE306_9283);
    }
}
