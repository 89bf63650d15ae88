//! The root of a volume after syslinux: its entries carry the time of day, which is replaced by the volume's.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::error::InstallFault;

/// Short names of the files that syslinux adds.
const ADDED: [&str; 2] = ["LDLINUX SYS", "LDLINUX C32"];

const ENTRY_BYTES: usize = 32;

/// The root: its place and its entries.
///
/// Parameters of the boot sector, by "FAT: General Overview of On-Disk Format" 1.03: bytes in a sector at 11, reserved
/// sectors at 14, FATs at 16, entries of the root at 17, sectors of a FAT at 22.
#[derive(Debug)]
pub(super) struct Root {
    offset: u64,
    bytes: Vec<u8>,
}

impl Root {
    /// Reads the root of the volume `file`.
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let mut sector = [0; 512];
        file.read_exact_at(&mut sector, 0)?;
        let half = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
        let offset = (half(14) + u64::from(sector[16]) * half(22)) * half(11);
        // At most 2 MiB, since the count has 16 bits.
        let mut bytes = vec![0; half(17) as usize * ENTRY_BYTES];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(Self { offset, bytes })
    }

    /// Gives the added entries the times of the first entry, the label. Fails where one of them is not there, or empty.
    pub(super) fn stamp(mut self, file: &File) -> io::Result<Result<(), (u64, InstallFault)>> {
        let label = self.bytes.get(..ENTRY_BYTES).map(<[u8]>::to_vec).unwrap_or_default();
        for name in ADDED {
            let mut entries = self.bytes.chunks_exact_mut(ENTRY_BYTES);
            let Some(entry) = entries.find(|entry| entry.starts_with(name.as_bytes())) else {
                return Ok(Err((self.offset, InstallFault::NoEntry { name })));
            };
            if entry[28..] == [0; 4] {
                return Ok(Err((self.offset, InstallFault::EmptyFile { name })));
            }
            // Hundredths, time and date of creation, date of access; then time and date of writing.
            for range in [13..20, 22..26] {
                entry[range.clone()].copy_from_slice(&label[range]);
            }
        }
        file.write_all_at(&self.bytes, self.offset).map(Ok)
    }
}
