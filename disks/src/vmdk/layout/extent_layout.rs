//! The layout of a sparse extent, from its checked header.
//!
//! Sources: VMware, *Virtual Disk Format 5.0* (technical note), "Hosted Sparse Extents"; libyal,
//! *VMWare Virtual Disk Format (VMDK)*, "The VMDK sparse extent data file".

use crate::vmdk::VmdkViolation;
use crate::vmdk::layout::header::{
    DIRECTORY_AT_END, FLAG_COMPRESSED, FLAG_MARKERS, FLAG_REDUNDANT, FLAG_ZERO_GRAINS, SECTOR_LEN,
    SparseHeader,
};
use crate::vmdk::layout::limits::{
    DISK_SECTORS_MAX, GRAIN_SECTORS_MAX, GRAIN_SECTORS_MIN, TABLE_ENTRIES_MAX, TABLE_ENTRIES_MIN, TABLES_MAX,
};

/// The flags that a reader must know; an unknown one means refusing the file.
const INCOMPATIBLE: u32 = 0xffff_0000;
/// The bytes before the data of a marked grain.
pub(crate) const GRAIN_HEAD_LEN: u64 = 12;

/// A fault and its offset in the structure that was checked.
pub(crate) type ViolationAt = (u64, VmdkViolation);

/// The way in which grains are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grains {
    /// Uncompressed.
    Plain,
    /// As bare zlib streams.
    Bare,
    /// As zlib streams, each preceded by its disk sector and its length.
    Marked,
}

/// The verdict on two copies of the grain tables that disagree: the intact one, judged by each copy alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    /// Both or neither look intact.
    Unknown,
    /// The primary copy.
    First,
    /// The redundant copy.
    Copy,
}

impl Whole {
    /// Decides by whether each copy is sound and not empty.
    pub fn of(first: bool, copy: bool) -> Self {
        match (first, copy) {
            (true, false) => Self::First,
            (false, true) => Self::Copy,
            _ => Self::Unknown,
        }
    }
}

/// The layout of a sparse extent. Sectors are the file's unless stated otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExtentLayout {
    /// The length of the extent's part of the disk, in sectors.
    pub capacity_sectors: u64,
    pub grain_sectors: u64,
    pub table_entries: u32,
    /// The number of entries in the directory.
    pub tables: u64,
    pub grains: Grains,
    pub has_zero_grains: bool,
    /// Whether the file was not closed cleanly.
    pub is_unclean: bool,
    /// The first sector of the embedded descriptor's space, and its length in sectors.
    pub descriptor: Option<(u64, u64)>,
    /// The first sector of the grain directory; `None` if the footer gives it.
    pub directory_sector: Option<u64>,
    pub redundant_sector: Option<u64>,
    /// The lowest sector at which a grain may lie.
    pub overhead_sectors: u64,
}

impl ExtentLayout {
    /// Checks every header field that can be checked without the rest of the file.
    ///
    /// # Errors
    /// The fault, with the field's offset.
    pub fn of(header: &SparseHeader) -> Result<Self, ViolationAt> {
        if !(1..=3).contains(&header.version) {
            return Err((
                4,
                VmdkViolation::unsupported(format!("version {} of sparse extents", header.version)),
            ));
        }
        let unknown = header.flags & INCOMPATIBLE & !(FLAG_COMPRESSED | FLAG_MARKERS);
        if unknown != 0 {
            return Err((
                8,
                VmdkViolation::unsupported(format!("the flags {unknown:#x} of a sparse extent")),
            ));
        }
        let grains = grains(header)?;
        check_value(12, "the capacity in sectors", header.capacity_sectors, "1 to 2^54 - 1", |sectors| {
            (1..DISK_SECTORS_MAX).contains(&sectors)
        })?;
        check_value(
            20,
            "the grain size in sectors",
            header.grain_sectors,
            "a power of two from 8 to 4096",
            |sectors| sectors.is_power_of_two() && (GRAIN_SECTORS_MIN..=GRAIN_SECTORS_MAX).contains(&sectors),
        )?;
        let entries = header.table_entries;
        check_value(
            44,
            "the number of entries in a grain table",
            u64::from(entries),
            "128, 256 or 512",
            |_| entries.is_power_of_two() && (TABLE_ENTRIES_MIN..=TABLE_ENTRIES_MAX).contains(&entries),
        )?;
        let tables = header.capacity_sectors.div_ceil(header.grain_sectors * u64::from(entries));
        check_value(12, "the number of grain tables", tables, "at most 2097152", |_| tables <= TABLES_MAX)?;
        let directory_sector =
            (header.directory_sector != DIRECTORY_AT_END).then_some(header.directory_sector);
        Ok(Self {
            capacity_sectors: header.capacity_sectors,
            grain_sectors: header.grain_sectors,
            table_entries: entries,
            tables,
            grains,
            has_zero_grains: header.has(FLAG_ZERO_GRAINS),
            is_unclean: header.is_unclean,
            descriptor: (header.descriptor_sector != 0)
                .then_some((header.descriptor_sector, header.descriptor_sectors)),
            directory_sector,
            redundant_sector: redundant_sector(header, grains),
            overhead_sectors: header.overhead_sectors,
        })
    }

    /// Checks a stream's footer against its header, and takes the directory's sector from it.
    ///
    /// # Errors
    /// The fault, with the field's offset.
    pub fn with_footer(mut self, header: &SparseHeader, footer: &SparseHeader) -> Result<Self, ViolationAt> {
        let pairs: [(u64, &'static str, u64, u64); 6] = [
            (4, "the version", u64::from(footer.version), u64::from(header.version)),
            (8, "the flags field", u64::from(footer.flags), u64::from(header.flags)),
            (12, "the capacity in sectors", footer.capacity_sectors, header.capacity_sectors),
            (20, "the grain size in sectors", footer.grain_sectors, header.grain_sectors),
            (
                44,
                "the number of entries in a grain table",
                u64::from(footer.table_entries),
                u64::from(header.table_entries),
            ),
            (77, "the compression", u64::from(footer.compression), u64::from(header.compression)),
        ];
        for (offset, what, found, expected) in pairs {
            if found != expected {
                return Err((offset, VmdkViolation::Disagree { what, found, expected, by: "the header" }));
            }
        }
        // If the header was rewritten after the stream was finished, the footer either agrees with
        // it or still has the original value.
        if self.directory_sector.is_some() && footer.directory_sector == DIRECTORY_AT_END {
            return Ok(self);
        }
        check_value(56, "the footer's directory sector", footer.directory_sector, "a sector", |sector| {
            sector != DIRECTORY_AT_END
        })?;
        if let Some(expected) = self.directory_sector.filter(|sector| *sector != footer.directory_sector) {
            let (what, found) = ("the footer's directory sector", footer.directory_sector);
            return Err((56, VmdkViolation::Disagree { what, found, expected, by: "the header" }));
        }
        self.directory_sector = Some(footer.directory_sector);
        self.redundant_sector = redundant_sector(footer, self.grains);
        Ok(self)
    }

    /// Checks the descriptor's size in `sectors` against the header's capacity. They must be equal,
    /// or the capacity must be the size rounded up to a whole grain, as VirtualBox writes it. In
    /// that case the descriptor decides the size, and the last grain is stored whole.
    ///
    /// # Errors
    /// [`VmdkViolation::Disagree`], with the field's offset.
    pub fn check_sectors(&self, sectors: u64) -> Result<(), ViolationAt> {
        let found = self.capacity_sectors;
        if found == sectors || Some(found) == sectors.checked_next_multiple_of(self.grain_sectors) {
            return Ok(());
        }
        let what = "the capacity in sectors";
        Err((12, VmdkViolation::Disagree { what, found, expected: sectors, by: "the descriptor" }))
    }

    /// Checks that a `streamOptimized` disk has compressed grains.
    ///
    /// # Errors
    /// [`VmdkViolation::Value`], with the field's offset.
    pub fn check_type(&self, create_type: &str) -> Result<(), ViolationAt> {
        if self.grains != Grains::Plain || !create_type.eq_ignore_ascii_case("streamOptimized") {
            return Ok(());
        }
        let what = "the flag for compressed grains, bit 16, of a streamOptimized disk";
        Err((8, VmdkViolation::Value { what, found: 0, expected: "1" }))
    }

    /// Returns a description of the redundant table or directory, for messages about a mismatch.
    pub fn redundant_one(&self, whole: Whole) -> &'static str {
        match (whole, self.is_unclean) {
            (Whole::Unknown, false) => "the redundant one",
            (Whole::First, false) => "the redundant one, which is damaged; this one is whole",
            (Whole::Copy, false) => "the redundant one, which is whole",
            (Whole::Unknown, true) => {
                "the redundant one, and its header has the flag of a file that was not closed cleanly"
            }
            (Whole::First, true) => {
                "the redundant one, which is damaged while this one is whole, and its header has the flag of \
                 a file that was not closed cleanly"
            }
            (Whole::Copy, true) => {
                "the redundant one, which is whole, and its header has the flag of a file that was not closed \
                 cleanly"
            }
        }
    }

    pub fn capacity_bytes(&self) -> u64 {
        self.capacity_sectors * SECTOR_LEN
    }

    pub fn grain_bytes(&self) -> u64 {
        self.grain_sectors * SECTOR_LEN
    }

    /// Returns the number of disk bytes that one table covers.
    pub fn coverage_bytes(&self) -> u64 {
        self.grain_bytes() * u64::from(self.table_entries)
    }

    pub fn table_bytes(&self) -> u64 {
        u64::from(self.table_entries) * 4
    }

    pub fn table_sectors(&self) -> u64 {
        self.table_bytes().div_ceil(SECTOR_LEN)
    }

    pub fn directory_bytes(&self) -> u64 {
        self.tables * 4
    }

    pub fn directory_sectors(&self) -> u64 {
        self.directory_bytes().div_ceil(SECTOR_LEN)
    }

    /// Returns the length of the grain with this number, in bytes; the last one may be short.
    pub fn len_of_grain(&self, grain: u64) -> u64 {
        self.grain_bytes().min(self.capacity_bytes().saturating_sub(grain * self.grain_bytes()))
    }

    /// Returns the maximum space of a compressed grain with its head, in bytes. Deflate adds five
    /// bytes per stored block, and no writer makes blocks so small that they double the grain.
    pub fn stored_bytes_max(&self) -> u64 {
        GRAIN_HEAD_LEN + 2 * self.grain_bytes()
    }

    /// Returns the regions of the file, apart from tables, that nothing else may overlap.
    pub fn fixed_regions(&self) -> Vec<Region> {
        let mut regions = vec![Region { what: "the header", start: 0, sectors: 1 }];
        if let Some((start, sectors)) = self.descriptor {
            regions.push(Region { what: "the descriptor", start, sectors });
        }
        let directories = [
            ("the grain directory", self.directory_sector),
            ("the redundant grain directory", self.redundant_sector),
        ];
        for (what, start) in directories {
            regions.extend(start.map(|start| Region { what, start, sectors: self.directory_sectors() }));
        }
        regions
    }
}

/// The sectors that one structure occupies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    pub what: &'static str,
    pub start: u64,
    pub sectors: u64,
}

impl Region {
    /// Returns the sector after the last; saturates on hostile numbers.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.sectors)
    }

    /// Returns the fault if this region overlaps another.
    pub fn over(&self, other: &Self) -> Option<VmdkViolation> {
        let apart = self.end() <= other.start || other.end() <= self.start;
        (!apart).then_some(VmdkViolation::Overlap {
            what: self.what,
            start: self.start,
            end: self.end(),
            other: other.what,
        })
    }
}

/// Returns the sector of the redundant grain directory, if there is one. If a stream's directory
/// lies at the end, only the footer gives that sector. Some stream writers set the flag without
/// such a directory and leave the field 0, which is the header's own sector.
fn redundant_sector(header: &SparseHeader, grains: Grains) -> Option<u64> {
    let is_told = grains == Grains::Plain
        || (header.redundant_sector != 0 && header.directory_sector != DIRECTORY_AT_END);
    (header.has(FLAG_REDUNDANT) && is_told).then_some(header.redundant_sector)
}

fn grains(header: &SparseHeader) -> Result<Grains, ViolationAt> {
    let grains = match (header.has(FLAG_COMPRESSED), header.has(FLAG_MARKERS)) {
        (false, false) if header.compression == 0 => return Ok(Grains::Plain),
        (false, false) => {
            let (what, found) =
                ("the compression of an extent without compressed grains", header.compression);
            return Err((77, VmdkViolation::Value { what, found: u64::from(found), expected: "0" }));
        }
        (true, false) => Grains::Bare,
        (true, true) => Grains::Marked,
        (false, true) => {
            return Err((8, VmdkViolation::unsupported("grains with markers that are not compressed")));
        }
    };
    match header.compression {
        1 => Ok(grains),
        0 => {
            let what = "the compression of a compressed extent";
            Err((77, VmdkViolation::Value { what, found: 0, expected: "1, zlib" }))
        }
        found => Err((77, VmdkViolation::unsupported(format!("compression {found} of grains")))),
    }
}

fn check_value(
    offset: u64,
    what: &'static str,
    found: u64,
    expected: &'static str,
    fits: impl FnOnce(u64) -> bool,
) -> Result<(), ViolationAt> {
    if fits(found) { Ok(()) } else { Err((offset, VmdkViolation::Value { what, found, expected })) }
}
