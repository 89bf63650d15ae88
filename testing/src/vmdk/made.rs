//! VMDKs made for tests, based on VMware's note and not on the library: any layout, with every number open to
//! change.

use std::io::Write;

pub const SECTOR: usize = 512;
/// The header's fields: name, offset and length in bytes.
pub const FIELDS: [(&str, usize, usize); 14] = [
    ("magic", 0, 4),
    ("version", 4, 4),
    ("flags", 8, 4),
    ("capacity", 12, 8),
    ("grain", 20, 8),
    ("descriptor", 28, 8),
    ("descriptor size", 36, 8),
    ("entries", 44, 4),
    ("redundant", 48, 8),
    ("directory", 56, 8),
    ("overhead", 64, 8),
    ("unclean", 72, 1),
    ("newlines", 73, 4),
    ("compression", 77, 2),
];

/// The position of the tables in a compressed extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// At the end, with a footer.
    True,
    /// At the end, located by the header.
    Patched,
    /// In front, as qemu-img puts them.
    Front,
}

/// The storage of grains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grains {
    Plain,
    Bare(Layout),
    Marked(Layout),
}

/// A sparse extent to be made.
#[derive(Debug, Clone)]
pub struct Sparse {
    pub grain_sectors: usize,
    pub entries: usize,
    pub version: u32,
    pub grains: Grains,
    /// Whether tables in front have two copies.
    pub redundant: bool,
    /// Whether every other zero grain is written as 1.
    pub zero_grains: bool,
    /// Whether the short last grain is stored whole.
    pub whole_tail: bool,
    /// Whether grains are swapped in pairs in the file, instead of in disk order.
    pub swapped: bool,
    /// The number in a progress marker in front of each marked grain.
    pub progress: Option<u64>,
    pub descriptor: Option<String>,
    pub level: u32,
    pub habits: Habits,
}

/// Habits of stream writers that put tables after the grains: VMware's, Xen Orchestra's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habits {
    /// Whether markers of tables, directories and footers say 0 sectors.
    pub zero_sizes: bool,
    /// Whether the header flags a redundant directory but has offset 0 for it.
    pub flag_without_place: bool,
    /// Whether all tables, empty ones too, follow the last grain in a row after one marker.
    pub together: bool,
    /// Sectors of zeros between grains and tables, and between tables and the directory.
    pub gap: usize,
    /// Whether redundant tables and their directory come first, as the footer says.
    pub redundant: bool,
    /// The number of tables without grains, with directory entries, beyond those the disk needs.
    pub extra_tables: usize,
    /// The footer's number of sectors before the first grain.
    pub footer_overhead: Option<u64>,
}

impl Default for Sparse {
    fn default() -> Self {
        Self {
            grain_sectors: 128,
            entries: 512,
            version: 1,
            grains: Grains::Plain,
            redundant: true,
            zero_grains: false,
            whole_tail: false,
            swapped: false,
            progress: None,
            descriptor: None,
            level: 1,
            habits: Habits::default(),
        }
    }
}

pub fn stream(layout: Layout) -> Sparse {
    Sparse {
        version: 3,
        grains: Grains::Marked(layout),
        redundant: layout == Layout::Front,
        ..Sparse::default()
    }
}

/// Makes a descriptor with one line per extent.
pub fn descriptor(create_type: &str, extents: &[String]) -> String {
    format!(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"{create_type}\"\n\n\
         # Extent description\n{}\n\n# The Disk Data Base\n#DDB\n\nddb.adapterType = \"lsilogic\"\n",
        extents.join("\n")
    )
}

/// Makes the descriptor embedded in a sparse extent of this many bytes.
pub fn embedded(create_type: &str, bytes: usize) -> String {
    descriptor(create_type, &[format!("RDONLY {} SPARSE \"some-other-name.vmdk\"", bytes / SECTOR)])
}

pub fn put32(file: &mut [u8], at: usize, value: u32) {
    file[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub fn put64(file: &mut [u8], at: usize, value: u64) {
    file[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

pub fn get32(file: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(file[at..at + 4].try_into().unwrap())
}

pub fn get64(file: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
}

pub fn deflate(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn pad(file: &mut Vec<u8>, to: usize) {
    file.resize(file.len().next_multiple_of(to), 0);
}

fn is_zero(bytes: &[u8]) -> bool {
    let (head, rest) = bytes.split_at(bytes.len().min(16));
    head.iter().all(|&byte| byte == 0) && (rest.is_empty() || bytes[..rest.len()] == *rest)
}

fn marker(sectors: u64, kind: u32) -> Vec<u8> {
    let mut bytes = vec![0; SECTOR];
    put64(&mut bytes, 0, sectors);
    put32(&mut bytes, 12, kind);
    bytes
}

impl Sparse {
    fn layout(&self) -> Option<Layout> {
        match self.grains {
            Grains::Plain => None,
            Grains::Bare(layout) | Grains::Marked(layout) => Some(layout),
        }
    }

    fn is_marked(&self) -> bool {
        matches!(self.grains, Grains::Marked(_))
    }

    fn tables_in_front(&self) -> bool {
        matches!(self.layout(), None | Some(Layout::Front))
    }

    fn header(&self, disk: &[u8], room: usize) -> Vec<u8> {
        let mut header = vec![0; SECTOR];
        header[..4].copy_from_slice(b"KDMV");
        put32(&mut header, 4, self.version);
        let redundant = self.redundant && self.tables_in_front()
            || !self.tables_in_front() && (self.habits.redundant || self.habits.flag_without_place);
        let flags = 1
            | u32::from(redundant) << 1
            | u32::from(self.zero_grains) << 2
            | u32::from(self.layout().is_some()) << 16
            | u32::from(self.is_marked()) << 17;
        put32(&mut header, 8, flags);
        put64(&mut header, 12, (disk.len() / SECTOR) as u64);
        put64(&mut header, 20, self.grain_sectors as u64);
        put64(&mut header, 28, u64::from(room != 0));
        put64(&mut header, 36, room as u64);
        put32(&mut header, 44, self.entries as u32);
        header[73..77].copy_from_slice(b"\n \r\n");
        header[77] = u8::from(self.layout().is_some());
        header
    }

    /// Makes the extent that holds `disk`, whose length is a multiple of 512.
    pub fn make(&self, disk: &[u8]) -> Vec<u8> {
        let text = self.descriptor.clone().unwrap_or_default();
        let room = if text.is_empty() { 0 } else { text.len().div_ceil(SECTOR).max(2) };
        let mut file = self.header(disk, room);
        file.extend(text.as_bytes());
        file.resize((1 + room) * SECTOR, 0);
        let coverage = self.grain_sectors * SECTOR * self.entries;
        let tables = disk.len().div_ceil(coverage);
        let directory_len = (tables * 4).next_multiple_of(SECTOR);
        let table_len = (self.entries * 4).next_multiple_of(SECTOR);
        let mut fronts = Vec::new();
        if self.tables_in_front() {
            for copy in (0..=usize::from(self.redundant)).rev() {
                let directory = file.len();
                put64(&mut file, if copy == 1 { 48 } else { 56 }, (directory / SECTOR) as u64);
                file.resize(directory + directory_len + tables * table_len, 0);
                for table in 0..tables {
                    let sector = (directory + directory_len + table * table_len) / SECTOR;
                    put32(&mut file, directory + table * 4, sector as u32);
                }
                fronts.push(directory + directory_len);
            }
        }
        let align = if self.grain_sectors > 128 { 128 } else { self.grain_sectors };
        pad(&mut file, align * SECTOR);
        let overhead = (file.len() / SECTOR) as u64;
        put64(&mut file, 64, overhead);
        let mut directory = vec![0u32; tables];
        let mut all = Vec::new();
        for (number, part) in disk.chunks(coverage).enumerate() {
            let table = self.grains(&mut file, part, number * self.entries);
            for front in &fronts {
                for (entry, &sector) in table.iter().enumerate() {
                    put32(&mut file, front + number * table_len + entry * 4, sector);
                }
            }
            let is_used = table.iter().any(|&sector| sector != 0);
            if fronts.is_empty() && is_used && !self.habits.together {
                file.resize(file.len() + self.habits.gap * SECTOR, 0);
                directory[number] = self.table_behind(&mut file, &table);
            }
            all.push(table);
        }
        if fronts.is_empty() {
            self.end(&mut file, &all, &directory);
        }
        file
    }

    /// Appends the grains of one table's part, and returns the table.
    fn grains(&self, file: &mut Vec<u8>, part: &[u8], first: usize) -> Vec<u32> {
        let grain_len = self.grain_sectors * SECTOR;
        let mut table = vec![0; self.entries];
        let mut order: Vec<usize> = (0..part.len().div_ceil(grain_len)).collect();
        if self.swapped {
            order.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
        }
        for entry in order {
            let grain = &part[entry * grain_len..part.len().min((entry + 1) * grain_len)];
            if is_zero(grain) {
                table[entry] = u32::from(self.zero_grains && entry % 2 == 0);
                continue;
            }
            if let Some(value) = self.progress.filter(|_| self.is_marked()) {
                file.extend(marker(value, 4));
            }
            table[entry] = (file.len() / SECTOR) as u32;
            let mut whole = grain.to_vec();
            if self.whole_tail {
                whole.resize(grain_len, 0);
            }
            if self.layout().is_none() {
                file.extend(whole);
                continue;
            }
            let stored = deflate(&whole, self.level);
            if self.is_marked() {
                file.extend(((first + entry) as u64 * self.grain_sectors as u64).to_le_bytes());
                file.extend((stored.len() as u32).to_le_bytes());
            }
            file.extend(stored);
            pad(file, SECTOR);
        }
        table
    }

    /// Appends a metadata marker, according to the writer's habits.
    fn marked(&self, file: &mut Vec<u8>, sectors: usize, kind: u32) {
        if self.is_marked() {
            file.extend(marker(if self.habits.zero_sizes { 0 } else { sectors as u64 }, kind));
        }
    }

    fn table_behind(&self, file: &mut Vec<u8>, table: &[u32]) -> u32 {
        self.marked(file, (table.len() * 4).div_ceil(SECTOR), 1);
        put_table(file, table)
    }

    /// Appends tables after the grains and returns the directory.
    fn tables_behind(&self, file: &mut Vec<u8>, all: &[Vec<u32>]) -> Vec<u32> {
        let empty = vec![0; self.entries];
        let extra = std::iter::repeat_n(&empty, self.habits.extra_tables);
        if self.habits.together {
            let count = all.len() + self.habits.extra_tables;
            self.marked(file, count * (self.entries * 4).div_ceil(SECTOR), 1);
            return all.iter().chain(extra).map(|table| put_table(file, table)).collect();
        }
        let is_used = |table: &[u32]| table.iter().any(|&sector| sector != 0);
        let used = all.iter().map(|table| (table, is_used(table))).chain(extra.map(|table| (table, true)));
        used.map(|(table, is_there)| if is_there { self.table_behind(file, table) } else { 0 }).collect()
    }

    fn directory_behind(&self, file: &mut Vec<u8>, directory: &[u32]) -> u64 {
        file.resize(file.len() + self.habits.gap * SECTOR, 0);
        self.marked(file, (directory.len() * 4).div_ceil(SECTOR), 2);
        let sector = (file.len() / SECTOR) as u64;
        directory.iter().for_each(|entry| file.extend(entry.to_le_bytes()));
        pad(file, SECTOR);
        sector
    }

    fn end(&self, file: &mut Vec<u8>, all: &[Vec<u32>], directory: &[u32]) {
        file.resize(file.len() + self.habits.gap * SECTOR, 0);
        let mut redundant = 0;
        if self.habits.redundant {
            let places = self.tables_behind(file, all);
            redundant = self.directory_behind(file, &places);
        }
        let places = if self.habits.together {
            self.tables_behind(file, all)
        } else {
            let extra = (0..self.habits.extra_tables).map(|_| vec![0; self.entries]);
            let extra: Vec<u32> = extra.map(|table| self.table_behind(file, &table)).collect();
            [directory, &extra].concat()
        };
        let sector = self.directory_behind(file, &places);
        put64(file, 56, sector);
        put64(file, 48, redundant);
        if self.layout() == Some(Layout::True) {
            let mut footer = file[..SECTOR].to_vec();
            if let Some(overhead) = self.habits.footer_overhead {
                put64(&mut footer, 64, overhead);
            }
            put64(file, 56, u64::MAX);
            put64(file, 48, 0);
            self.marked(file, 1, 3);
            file.extend(footer);
        }
        if self.is_marked() {
            file.extend(marker(0, 0));
        }
    }
}

/// Appends a table and returns its sector.
fn put_table(file: &mut Vec<u8>, table: &[u32]) -> u32 {
    let sector = file.len() / SECTOR;
    table.iter().for_each(|entry| file.extend(entry.to_le_bytes()));
    pad(file, SECTOR);
    sector as u32
}
