//! The header of a table: the first one tells the second, and the other way round.

use crc::{CRC_32_ISO_HDLC, Crc};

use super::SECTOR_BYTES;
use super::entries::{ENTRIES, ENTRY_BYTES};
use super::guid::Guid;

/// Bytes of the header that are not zero.
const BYTES: usize = 92;

static CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// A header before it is bytes. All places are sectors.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) own: u64,
    pub(super) other: u64,
    pub(super) first_usable: u64,
    pub(super) last_usable: u64,
    pub(super) disk: Guid,
    pub(super) entries_at: u64,
}

impl Header {
    /// Returns the sector of the header over `entries`.
    pub(super) fn encode(&self, entries: &[u8]) -> [u8; SECTOR_BYTES as usize] {
        let mut bytes = [0; SECTOR_BYTES as usize];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, b"EFI PART");
        put(8, &[0, 0, 1, 0]);
        put(12, &(BYTES as u32).to_le_bytes());
        put(24, &self.own.to_le_bytes());
        put(32, &self.other.to_le_bytes());
        put(40, &self.first_usable.to_le_bytes());
        put(48, &self.last_usable.to_le_bytes());
        put(56, &self.disk.to_disk());
        put(72, &self.entries_at.to_le_bytes());
        put(80, &(ENTRIES as u32).to_le_bytes());
        put(84, &(ENTRY_BYTES as u32).to_le_bytes());
        put(88, &CRC32.checksum(entries).to_le_bytes());
        let checksum = CRC32.checksum(&bytes[..BYTES]);
        bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}
