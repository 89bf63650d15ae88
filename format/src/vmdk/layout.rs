//! What a sparse extent's header says about its layout, once it is found sound.
//!
//! Sources: VMware, *Virtual Disk Format 5.0* (technical note), "Hosted Sparse Extents"; libyal,
//! *VMWare Virtual Disk Format (VMDK)*, "The VMDK sparse extent data file".

use super::Fault;
use super::header::{
    DIRECTORY_AT_END, FLAG_COMPRESSED, FLAG_MARKERS, FLAG_REDUNDANT, FLAG_ZERO_GRAINS, SECTOR_LEN,
    SparseHeader,
};
use super::limits::{
    DISK_SECTORS_MAX, GRAIN_SECTORS_MAX, GRAIN_SECTORS_MIN, TABLE_ENTRIES_MAX, TABLE_ENTRIES_MIN, TABLES_MAX,
};

/// Flags that a reader must know or refuse the file.
const INCOMPATIBLE: u32 = 0xffff_0000;
/// Bytes in front of a marked grain's data.
pub(super) const GRAIN_HEAD_LEN: u64 = 12;

/// A fault and its place in the structure that was looked at.
pub(super) type Placed = (u64, Fault);

/// How grains are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grains {
    /// As they are.
    Plain,
    /// As zlib streams.
    Bare,
    /// As zlib streams behind their sector in the disk and their length.
    Marked,
}

/// The copy that is whole, of two that disagree, as far as it shows without the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// It does not show.
    Unknown,
    /// The first one.
    First,
    /// The redundant one.
    Copy,
}

impl Whole {
    /// By whether the first and the redundant one are sound and hold anything.
    pub fn of(first: bool, copy: bool) -> Self {
        match (first, copy) {
            (true, false) => Self::First,
            (false, true) => Self::Copy,
            _ => Self::Unknown,
        }
    }
}

/// A sparse extent's layout. Sectors are those of the file, unless they are said to be the disk's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Sectors of the disk that the extent holds.
    pub capacity_sectors: u64,
    pub grain_sectors: u64,
    pub table_entries: u32,
    /// Entries of the directory.
    pub tables: u64,
    pub grains: Grains,
    pub has_zero_grains: bool,
    /// Its writer did not close it.
    pub is_unclean: bool,
    /// Where the embedded descriptor's room begins, and its sectors.
    pub descriptor: Option<(u64, u64)>,
    /// Where the grain directory lies; `None` where the footer says it.
    pub directory_sector: Option<u64>,
    pub redundant_sector: Option<u64>,
    /// No grain lies before this.
    pub overhead_sectors: u64,
}

impl Layout {
    /// Checks everything in the header that can be checked without the rest of the file.
    ///
    /// # Errors
    /// What is wrong, and the field's offset.
    pub fn of(header: &SparseHeader) -> Result<Self, Placed> {
        if !(1..=3).contains(&header.version) {
            return Err((4, Fault::unsupported(format!("version {} of sparse extents", header.version))));
        }
        let unknown = header.flags & INCOMPATIBLE & !(FLAG_COMPRESSED | FLAG_MARKERS);
        if unknown != 0 {
            return Err((8, Fault::unsupported(format!("the flags {unknown:#x} of a sparse extent"))));
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

    /// Checks a stream's footer against its header, and takes the directory's place from it.
    ///
    /// # Errors
    /// What is wrong, and the field's offset.
    pub fn with_footer(mut self, header: &SparseHeader, footer: &SparseHeader) -> Result<Self, Placed> {
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
                return Err((offset, Fault::Disagree { what, found, expected, by: "the header" }));
            }
        }
        // A header that was rewritten when the stream was done says the same, or the footer is the
        // header as it was before that.
        if self.directory_sector.is_some() && footer.directory_sector == DIRECTORY_AT_END {
            return Ok(self);
        }
        check_value(56, "the footer's directory sector", footer.directory_sector, "a sector", |sector| {
            sector != DIRECTORY_AT_END
        })?;
        if let Some(expected) = self.directory_sector.filter(|sector| *sector != footer.directory_sector) {
            let (what, found) = ("the footer's directory sector", footer.directory_sector);
            return Err((56, Fault::Disagree { what, found, expected, by: "the header" }));
        }
        self.directory_sector = Some(footer.directory_sector);
        self.redundant_sector = redundant_sector(footer, self.grains);
        Ok(self)
    }

    /// Checks that a disk of so many `sectors`, by the descriptor, is what the extent holds: as
    /// many as the header says, or less by what fills the last grain, as VirtualBox writes it. Then
    /// the disk is the descriptor's, and the last grain is stored whole, as the header says.
    ///
    /// # Errors
    /// [`Fault::Disagree`], at the field's offset.
    pub fn check_sectors(&self, sectors: u64) -> Result<(), Placed> {
        let found = self.capacity_sectors;
        if found == sectors || Some(found) == sectors.checked_next_multiple_of(self.grain_sectors) {
            return Ok(());
        }
        let what = "the capacity in sectors";
        Err((12, Fault::Disagree { what, found, expected: sectors, by: "the descriptor" }))
    }

    /// Checks that grains are stored as the type of the disk says.
    ///
    /// # Errors
    /// [`Fault::Value`], at the field's offset.
    pub fn check_type(&self, create_type: &str) -> Result<(), Placed> {
        if self.grains != Grains::Plain || !create_type.eq_ignore_ascii_case("streamOptimized") {
            return Ok(());
        }
        let what = "the flag for compressed grains, bit 16, of a streamOptimized disk";
        Err((8, Fault::Value { what, found: 0, expected: "1" }))
    }

    /// What a copy of a table or directory is held against, for messages.
    pub fn redundant_one(&self, whole: Whole) -> &'static str {
        match (whole, self.is_unclean) {
            (Whole::Unknown, false) => "the redundant one",
            (Whole::First, false) => "the redundant one, which is damaged; this one is whole",
            (Whole::Copy, false) => "the redundant one, which is whole",
            (Whole::Unknown, true) => {
                "the redundant one, and its header has the flag of a file that was not closed cleanly"
            }
            (Whole::First, true) => {
                "the redundant one, which is damaged where this one is whole, and its header has the flag of \
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

    /// Bytes of the disk that one table is about.
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

    /// Bytes of the grain with this number: the last one may be short.
    pub fn len_of_grain(&self, grain: u64) -> u64 {
        self.grain_bytes().min(self.capacity_bytes().saturating_sub(grain * self.grain_bytes()))
    }

    /// Most bytes that a compressed grain takes with what is in front of it. Deflate adds five
    /// bytes to a stored block, and no writer makes blocks so small that they double the grain.
    pub fn stored_bytes_max(&self) -> u64 {
        GRAIN_HEAD_LEN + 2 * self.grain_bytes()
    }

    /// Parts of the file in front of the tables that nothing else may lie in.
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

/// Sectors that one structure takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    pub what: &'static str,
    pub start: u64,
    pub sectors: u64,
}

impl Region {
    /// The sector after the last, which hostile numbers do not take past the end of all numbers.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.sectors)
    }

    /// The fault of lying over another region, if it does.
    pub fn over(&self, other: &Self) -> Option<Fault> {
        let apart = self.end() <= other.start || other.end() <= self.start;
        (!apart).then_some(Fault::Overlap {
            what: self.what,
            start: self.start,
            end: self.end(),
            other: other.what,
        })
    }
}

/// The place of the redundant grain directory, if there is one. Of a stream whose directory lies at the end
/// the footer says that, and writers that set the flag without one leave the place 0, the header's own.
fn redundant_sector(header: &SparseHeader, grains: Grains) -> Option<u64> {
    let is_told = grains == Grains::Plain
        || (header.redundant_sector != 0 && header.directory_sector != DIRECTORY_AT_END);
    (header.has(FLAG_REDUNDANT) && is_told).then_some(header.redundant_sector)
}

fn grains(header: &SparseHeader) -> Result<Grains, Placed> {
    let grains = match (header.has(FLAG_COMPRESSED), header.has(FLAG_MARKERS)) {
        (false, false) if header.compression == 0 => return Ok(Grains::Plain),
        (false, false) => {
            let (what, found) =
                ("the compression of an extent without compressed grains", header.compression);
            return Err((77, Fault::Value { what, found: u64::from(found), expected: "0" }));
        }
        (true, false) => Grains::Bare,
        (true, true) => Grains::Marked,
        (false, true) => return Err((8, Fault::unsupported("grains with markers that are not compressed"))),
    };
    match header.compression {
        1 => Ok(grains),
        0 => {
            let what = "the compression of a compressed extent";
            Err((77, Fault::Value { what, found: 0, expected: "1, zlib" }))
        }
        found => Err((77, Fault::unsupported(format!("compression {found} of grains")))),
    }
}

fn check_value(
    offset: u64,
    what: &'static str,
    found: u64,
    expected: &'static str,
    fits: impl FnOnce(u64) -> bool,
) -> Result<(), Placed> {
    if fits(found) { Ok(()) } else { Err((offset, Fault::Value { what, found, expected })) }
}
