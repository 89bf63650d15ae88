//! Partitions, their places, and the bytes of the table.

use super::SECTOR_BYTES;
use super::entries::{ENTRIES, ENTRY_BYTES};
use super::error::GptError;
use super::guid::Guid;
use super::header::Header;
use super::mbr::{self, BOOT_CODE_BYTES};

/// UTF-16 units of a name at most.
const NAME_UNITS: usize = 36;

/// Sectors of all entries.
const ENTRIES_SECTORS: u64 = (ENTRIES * ENTRY_BYTES) as u64 / SECTOR_BYTES;

/// Sectors before the first that a partition may have: MBR, header, entries.
const HEAD_SECTORS: u64 = 2 + ENTRIES_SECTORS;

/// Sectors behind the last that a partition may have: entries, header.
const TAIL_SECTORS: u64 = 1 + ENTRIES_SECTORS;

/// The unit of partitions' places and sizes, and of the disk's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// 1 MiB, as partitioning tools take it.
    OneMib,
    /// 2 MiB, the size of a huge page.
    TwoMib,
}

impl Alignment {
    /// Returns the unit in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::OneMib => 1 << 20,
            Self::TwoMib => 2 << 20,
        }
    }
}

/// A partition to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The type, such as [`Guid::EFI_SYSTEM`].
    pub type_guid: Guid,
    /// The partition's own GUID: Linux's `PARTUUID`.
    pub guid: Guid,
    /// The name: at most 36 UTF-16 units.
    pub name: String,
    /// Bits such as [`LEGACY_BIOS_BOOTABLE`](super::LEGACY_BIOS_BOOTABLE).
    pub attributes: u64,
    /// The size of its data in bytes, above 0. The partition is that, rounded up to the alignment.
    pub size_bytes: u64,
}

/// The place of a partition on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The first byte.
    pub offset_bytes: u64,
    /// The size in bytes, rounded up to the alignment.
    pub size_bytes: u64,
}

/// A checked table with all places decided.
#[derive(Debug, Clone)]
pub struct Table {
    disk: Guid,
    boot_code: Vec<u8>,
    partitions: Vec<Partition>,
    places: Vec<Place>,
    sectors: u64,
}

impl Table {
    /// Places `partitions` in their order, from the first unit of `alignment` on.
    ///
    /// The disk ends with a unit for the second table. `boot_code` goes to the start of the MBR.
    ///
    /// # Errors
    ///
    /// Fails where a table has no room for a number, name or size: see [`GptError`].
    pub fn new(
        disk: Guid,
        alignment: Alignment,
        boot_code: &[u8],
        partitions: Vec<Partition>,
    ) -> Result<Self, GptError> {
        if boot_code.len() > BOOT_CODE_BYTES {
            return Err(GptError::BootCodeTooLong { length: boot_code.len() });
        }
        if partitions.len() > ENTRIES {
            return Err(GptError::TooManyPartitions { count: partitions.len() });
        }
        check(&partitions)?;
        let unit = alignment.bytes();
        let mut end = unit;
        let mut places = Vec::with_capacity(partitions.len());
        for (partition, number) in partitions.iter().zip(1..) {
            let place = Place { offset_bytes: end, size_bytes: 0 };
            let size_bytes = partition.size_bytes.checked_next_multiple_of(unit);
            let next = size_bytes.and_then(|size| Some((size, end.checked_add(size)?)));
            let (size_bytes, next) =
                next.filter(|(_, next)| *next < 1 << 63).ok_or(GptError::TooLong { number })?;
            places.push(Place { size_bytes, ..place });
            end = next;
        }
        let sectors = (end + unit) / SECTOR_BYTES;
        Ok(Self { disk, boot_code: boot_code.to_vec(), partitions, places, sectors })
    }

    /// Returns the size of the disk in bytes, a multiple of the alignment.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.sectors * SECTOR_BYTES
    }

    /// Returns the places of the partitions, in their order.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Returns the first bytes of the disk: MBR, header and entries.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        let entries = self.encode_entries();
        let header = self.header(1, self.sectors - 1, 2);
        [&mbr::encode(self.sectors, &self.boot_code)[..], &header.encode(&entries), &entries].concat()
    }

    /// Returns the last bytes of the disk: entries and header.
    #[must_use]
    pub fn tail(&self) -> Vec<u8> {
        let entries = self.encode_entries();
        let header = self.header(self.sectors - 1, 1, self.sectors - TAIL_SECTORS);
        [&entries[..], &header.encode(&entries)].concat()
    }

    fn header(&self, own: u64, other: u64, entries_at: u64) -> Header {
        let last_usable = self.sectors - TAIL_SECTORS - 1;
        Header { own, other, first_usable: HEAD_SECTORS, last_usable, disk: self.disk, entries_at }
    }

    fn encode_entries(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENTRIES * ENTRY_BYTES);
        for (partition, place) in self.partitions.iter().zip(&self.places) {
            let end = bytes.len() + ENTRY_BYTES;
            let first = place.offset_bytes / SECTOR_BYTES;
            let last = (place.offset_bytes + place.size_bytes) / SECTOR_BYTES - 1;
            bytes.extend_from_slice(&partition.type_guid.to_disk());
            bytes.extend_from_slice(&partition.guid.to_disk());
            bytes.extend_from_slice(&first.to_le_bytes());
            bytes.extend_from_slice(&last.to_le_bytes());
            bytes.extend_from_slice(&partition.attributes.to_le_bytes());
            bytes.extend(partition.name.encode_utf16().flat_map(u16::to_le_bytes));
            bytes.resize(end, 0);
        }
        bytes.resize(ENTRIES * ENTRY_BYTES, 0);
        bytes
    }
}

/// Checks each partition by itself, and that their GUIDs differ.
fn check(partitions: &[Partition]) -> Result<(), GptError> {
    for (partition, number) in partitions.iter().zip(1..) {
        if partition.type_guid.is_nil() || partition.guid.is_nil() {
            return Err(GptError::NilGuid { number });
        }
        if partition.size_bytes == 0 {
            return Err(GptError::Empty { number });
        }
        let units = partition.name.encode_utf16().count();
        if units > NAME_UNITS || partition.name.contains('\0') {
            return Err(GptError::InvalidName { number, units });
        }
        let before = partitions.iter().zip(1..number);
        let same = before.into_iter().find(|(other, _)| other.guid == partition.guid);
        if let Some((_, first)) = same {
            return Err(GptError::DuplicateGuid { number, first, guid: partition.guid });
        }
    }
    Ok(())
}
