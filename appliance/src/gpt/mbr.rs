//! The protective MBR: boot code, and one partition over the whole disk that tells old tools to leave it alone.

use super::SECTOR_BYTES;

/// Bytes of boot code at most; the disk's signature of old systems follows.
pub const BOOT_CODE_BYTES: usize = 440;

/// Returns sector 0 of a disk of `sectors` sectors. `boot_code` has at most [`BOOT_CODE_BYTES`].
pub(super) fn encode(sectors: u64, boot_code: &[u8]) -> [u8; SECTOR_BYTES as usize] {
    let mut bytes = [0; SECTOR_BYTES as usize];
    for (to, from) in bytes[..BOOT_CODE_BYTES].iter_mut().zip(boot_code) {
        *to = *from;
    }
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    // Not active; from head 0, sector 2; type 0xEE; to the last place of the old addresses.
    put(446, &[0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF]);
    put(454, &1u32.to_le_bytes());
    put(458, &u32::try_from(sectors - 1).unwrap_or(u32::MAX).to_le_bytes());
    put(510, &[0x55, 0xAA]);
    bytes
}
