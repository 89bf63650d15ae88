//! Partition tables (UEFI 2.10, section 5.3).

/// Bytes of a header that are defined.
const HEADER: usize = 92;
/// Most entries: tables have 128.
const MAX_ENTRIES: u32 = 1024;

/// The place of the entries of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Block of the first entry.
    pub block: u64,
    /// Number of entries.
    pub entries: u32,
    /// Bytes of an entry.
    pub entry_size: u32,
    sum: u32,
}

impl Table {
    /// Reads a header: the second block of a disk.
    pub fn parse(block: &[u8]) -> Option<Self> {
        let header = block.get(..HEADER)?;
        let number = |at: usize| Some(u32::from_le_bytes(*header.get(at..)?.first_chunk()?));
        let size = number(12)? as usize;
        if &header[..8] != b"EFI PART" || size < HEADER {
            return None;
        }
        let mut summed = block.get(..size)?.to_vec();
        summed[16..20].fill(0);
        let table = Self {
            block: u64::from_le_bytes(*header[72..].first_chunk()?),
            entries: number(80)?,
            entry_size: number(84)?,
            sum: number(88)?,
        };
        let sane = (1..=MAX_ENTRIES).contains(&table.entries)
            && (128..=4096).contains(&table.entry_size)
            && table.entry_size.is_multiple_of(8);
        (sane && crc32(&summed) == number(16)?).then_some(table)
    }

    /// Returns the bytes of all entries, at most 4 MiB.
    pub fn len(&self) -> usize {
        self.entries as usize * self.entry_size as usize
    }

    /// Returns the number, from 1, of the partition with this GUID.
    pub fn find(&self, entries: &[u8], guid: &[u8; 16]) -> Option<u32> {
        if entries.len() != self.len() || crc32(entries) != self.sum {
            return None;
        }
        let used = |entry: &[u8]| entry[..16] != [0; 16];
        let mut numbered = entries.chunks_exact(self.entry_size as usize).zip(1..);
        numbered.find_map(|(entry, number)| (used(entry) && entry[16..32] == *guid).then_some(number))
    }
}

/// Sums bytes by CRC-32 (ISO 3309, reflected, polynomial 0xEDB88320).
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ ((sum & 1) * 0xedb8_8320);
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::Rng;

    const GUID: [u8; 16] = *b"0123456789abcdef";

    /// Makes a header and entries, the third of which has [`GUID`].
    fn table() -> (Vec<u8>, Vec<u8>) {
        let mut entries = vec![0; 128 * 128];
        entries[256..272].fill(7);
        entries[272..288].copy_from_slice(&GUID);
        let mut header = vec![0; 512];
        header[..8].copy_from_slice(b"EFI PART");
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        header[72..80].copy_from_slice(&2_u64.to_le_bytes());
        header[80..84].copy_from_slice(&128_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        header[88..92].copy_from_slice(&crc32(&entries).to_le_bytes());
        let sum = crc32(&header[..92]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        (header, entries)
    }

    #[test]
    fn the_sum_is_the_one_of_the_field() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_partition_is_found_by_its_guid() {
        let (header, entries) = table();
        let found = Table::parse(&header).unwrap();
        assert_eq!((found.block, found.len()), (2, 16384));
        assert_eq!(found.find(&entries, &GUID), Some(3));
        assert_eq!(found.find(&entries, &[9; 16]), None);
    }

    #[test]
    fn a_changed_table_is_refused() {
        let (header, entries) = table();
        let found = Table::parse(&header).unwrap();
        let mut rng = Rng(5);
        for _ in 0..2000 {
            let bit = rng.below(92 * 8) as usize;
            let mut changed = header.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Table::parse(&changed), None, "bit {bit}");
        }
        for _ in 0..50 {
            let bit = rng.below(entries.len() as u64 * 8) as usize;
            let mut changed = entries.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(found.find(&changed, &GUID), None);
        }
        assert_eq!(found.find(&entries[1..], &GUID), None);
        for length in 0..92 {
            assert_eq!(Table::parse(&header[..length]), None);
        }
    }

    #[test]
    fn sizes_out_of_bounds_are_refused_with_a_right_sum() {
        for (at, value) in
            [(80, 0_u32), (80, 1025), (84, 127), (84, 8192), (12, 91), (12, 513), (12, u32::MAX)]
        {
            let (mut header, _) = table();
            header[at..at + 4].copy_from_slice(&value.to_le_bytes());
            header[16..20].fill(0);
            let size = u32::from_le_bytes(*header[12..].first_chunk().unwrap()) as usize;
            let sum = crc32(&header[..size.min(512)]);
            header[16..20].copy_from_slice(&sum.to_le_bytes());
            assert_eq!(Table::parse(&header), None, "{value} at {at}");
        }
    }
}
