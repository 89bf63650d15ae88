//! The 512-byte header of a hosted sparse extent, repeated as a footer at the end of a stream.
//!
//! Source of the layout: VMware, *Virtual Disk Format 5.0* (technical note), "Hosted Sparse Extent
//! Header". All fields are little-endian; all offsets and lengths are in sectors of 512 bytes.

use crate::vmdk::VmdkViolation;

/// The length of a sector, in bytes; it never varies.
pub const SECTOR_LEN: u64 = 512;
/// The length of the header, in bytes.
pub const HEADER_LEN: usize = 512;
/// The magic number, `KDMV`.
pub const MAGIC: [u8; 4] = *b"KDMV";
/// The directory sector of a stream whose directory lies at the end: the footer has the real one.
pub const DIRECTORY_AT_END: u64 = u64::MAX;

/// The newline bytes are valid and can be checked.
pub const FLAG_NEWLINES: u32 = 1;
/// The extent has a redundant grain directory.
pub const FLAG_REDUNDANT: u32 = 1 << 1;
/// A grain table entry of 1 stands for a grain of zeros.
pub const FLAG_ZERO_GRAINS: u32 = 1 << 2;
/// Grains are compressed.
pub const FLAG_COMPRESSED: u32 = 1 << 16;
/// Grains and tables follow markers.
pub const FLAG_MARKERS: u32 = 1 << 17;

const NEWLINES: [u8; 4] = *b"\n \r\n";
const FLAGS_OFFSET: usize = 8;
const UNCLEAN_OFFSET: usize = 72;

/// The decoded header of a sparse extent. Only its magic number has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SparseHeader {
    /// The format version: 1, 2 or 3.
    pub version: u32,
    /// The `FLAG_` bits.
    pub flags: u32,
    /// The length of the extent's part of the disk, in sectors.
    pub capacity_sectors: u64,
    /// The length of a grain, in sectors.
    pub grain_sectors: u64,
    /// The first sector of the embedded descriptor; 0 for none.
    pub descriptor_sector: u64,
    /// The space for the embedded descriptor, in sectors.
    pub descriptor_sectors: u64,
    /// The number of entries in a grain table.
    pub table_entries: u32,
    /// The first sector of the redundant grain directory.
    pub redundant_sector: u64,
    /// The first sector of the grain directory, or [`DIRECTORY_AT_END`].
    pub directory_sector: u64,
    /// The number of sectors before the first grain.
    pub overhead_sectors: u64,
    /// Whether the file was not closed cleanly.
    pub is_unclean: bool,
    /// Whether the newline bytes are unchanged.
    pub newlines_intact: bool,
    /// The compression method: 0 for none, 1 for zlib.
    pub compression: u16,
}

impl SparseHeader {
    /// Decodes the header in the first [`HEADER_LEN`] bytes.
    ///
    /// # Errors
    /// [`VmdkViolation::Truncated`] and [`VmdkViolation::Magic`].
    pub fn decode(bytes: &[u8]) -> Result<Self, VmdkViolation> {
        let Some(bytes) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(VmdkViolation::Truncated { needed: HEADER_LEN as u64, found: bytes.len() as u64 });
        };
        if bytes[..4] != MAGIC {
            return Err(VmdkViolation::Magic);
        }
        Ok(Self {
            version: u32_at(bytes, 4),
            flags: u32_at(bytes, FLAGS_OFFSET),
            capacity_sectors: u64_at(bytes, 12),
            grain_sectors: u64_at(bytes, 20),
            descriptor_sector: u64_at(bytes, 28),
            descriptor_sectors: u64_at(bytes, 36),
            table_entries: u32_at(bytes, 44),
            redundant_sector: u64_at(bytes, 48),
            directory_sector: u64_at(bytes, 56),
            overhead_sectors: u64_at(bytes, 64),
            is_unclean: bytes[UNCLEAN_OFFSET] != 0,
            newlines_intact: bytes[73..77] == NEWLINES,
            compression: u16::from_le_bytes([bytes[77], bytes[78]]),
        })
    }

    /// Encodes the header, always with intact newline bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let mut put =
            |offset: usize, field: &[u8]| bytes[offset..offset + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(4, &self.version.to_le_bytes());
        put(FLAGS_OFFSET, &self.flags.to_le_bytes());
        put(12, &self.capacity_sectors.to_le_bytes());
        put(20, &self.grain_sectors.to_le_bytes());
        put(28, &self.descriptor_sector.to_le_bytes());
        put(36, &self.descriptor_sectors.to_le_bytes());
        put(44, &self.table_entries.to_le_bytes());
        put(48, &self.redundant_sector.to_le_bytes());
        put(56, &self.directory_sector.to_le_bytes());
        put(64, &self.overhead_sectors.to_le_bytes());
        put(UNCLEAN_OFFSET, &[u8::from(self.is_unclean)]);
        put(73, &NEWLINES);
        put(77, &self.compression.to_le_bytes());
        bytes
    }

    /// Whether all the bits of `flag` are set.
    #[must_use]
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag == flag
    }
}

fn u32_at(bytes: &[u8; HEADER_LEN], offset: usize) -> u32 {
    u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}

fn u64_at(bytes: &[u8; HEADER_LEN], offset: usize) -> u64 {
    u64::from(u32_at(bytes, offset)) | u64::from(u32_at(bytes, offset + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let header = SparseHeader {
            version: 3,
            flags: FLAG_NEWLINES | FLAG_COMPRESSED | FLAG_MARKERS,
            capacity_sectors: u64::MAX - 5,
            grain_sectors: 128,
            descriptor_sector: 1,
            descriptor_sectors: 20,
            table_entries: 512,
            redundant_sector: 21,
            directory_sector: DIRECTORY_AT_END,
            overhead_sectors: 128,
            is_unclean: true,
            newlines_intact: true,
            compression: 1,
        };
        let bytes = header.encode();
        assert_eq!(SparseHeader::decode(&bytes), Ok(header));
        assert_eq!(&bytes[..4], b"KDMV");
        assert_eq!(
            SparseHeader::decode(&bytes[..511]),
            Err(VmdkViolation::Truncated { needed: 512, found: 511 })
        );
        assert_eq!(SparseHeader::decode(&[0; 512]), Err(VmdkViolation::Magic));
    }
}
