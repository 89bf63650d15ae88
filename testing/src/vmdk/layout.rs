//! A strict check of written VMDK files, sector by sector, based on the technical note and not on the writer.
//! Every sector has one owner, every number is followed, and all padding must be zeros. Panics with the place
//! of the fault.

use std::collections::BTreeMap;

use flate2::{Decompress, FlushDecompress, Status};

pub const SECTOR: usize = 512;
pub const GRAIN: usize = 128 * SECTOR;
const TABLE: usize = 2048;
const DESCRIPTOR_END: usize = 21;

/// The stored grains of a file, by number.
pub type Grains = BTreeMap<u64, Vec<u8>>;

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn sectors(file: &[u8], first: usize, count: usize) -> &[u8] {
    &file[first * SECTOR..(first + count) * SECTOR]
}

fn assert_zeros(bytes: &[u8], what: &str) {
    assert!(bytes.iter().all(|&byte| byte == 0), "{what} is not all zeros");
}

fn entries(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|entry| u32_at(entry, 0)).collect()
}

/// Checks the parts common to both kinds: whole sectors and the header.
fn check_header(file: &[u8], version: u32, flags: u32, compression: u8) -> u64 {
    assert_eq!(file.len() % SECTOR, 0, "whole sectors");
    let header = sectors(file, 0, 1);
    assert_eq!(&header[..4], b"KDMV");
    assert_eq!((u32_at(header, 4), u32_at(header, 8)), (version, flags), "version, flags");
    assert_eq!(u64_at(header, 20), 128, "grain");
    assert_eq!((u64_at(header, 28), u64_at(header, 36)), (1, 20), "descriptor");
    assert_eq!(u32_at(header, 44), 512, "entries in a table");
    assert_eq!(header[72], 0, "closed cleanly");
    assert_eq!(header[73..77], [10, 32, 13, 10], "newlines");
    assert_eq!(header[77..79], [compression, 0], "compression");
    assert_zeros(&header[79..], "the end of the header");
    u64_at(header, 12)
}

/// Returns the descriptor's text; the rest of its sectors must be zeros.
pub fn descriptor(file: &[u8]) -> String {
    let bytes = sectors(file, 1, 20);
    let len = bytes.iter().position(|&byte| byte == 0).expect("an end");
    assert_zeros(&bytes[len..], "what follows the descriptor");
    String::from_utf8(bytes[..len].to_vec()).expect("UTF-8")
}

fn check_descriptor(file: &[u8], kind: &str, extent: &str) {
    let text = descriptor(file);
    assert!(text.starts_with("# Disk DescriptorFile\nversion=1\n"), "{text}");
    assert!(text.ends_with('\n') && text.is_ascii() && !text.contains('\r'), "{text}");
    let mut keys = BTreeMap::new();
    let mut extents = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_once('=') {
            Some((key, value)) => {
                let again = keys.insert(key.trim(), value.trim().trim_matches('"'));
                assert_eq!(again, None, "{key} stands twice");
            }
            None => extents.push(line),
        }
    }
    assert_eq!(extents, [extent]);
    assert_eq!(keys["createType"], kind);
    assert_eq!(keys["parentCID"], "ffffffff");
    assert!(u32::from_str_radix(keys["CID"], 16).is_ok_and(|cid| !matches!(cid, 0 | 0xffff_fffe | u32::MAX)));
    assert_eq!(keys["ddb.adapterType"], "lsilogic");
    assert_eq!((keys["ddb.geometry.heads"], keys["ddb.geometry.sectors"]), ("255", "63"));
    assert!((1..=65_535).contains(&keys["ddb.geometry.cylinders"].parse().expect("a number")));
    assert_eq!(keys["ddb.virtualHWVersion"], "4");
}

/// Checks a `monolithicSparse` file of this name.
pub fn check_sparse(file: &[u8], name: &str) -> (u64, Grains) {
    let capacity = check_header(file, 1, 3, 0);
    check_descriptor(file, "monolithicSparse", &format!("RW {capacity} SPARSE \"{name}\""));
    let tables = capacity.div_ceil(128 * 512) as usize;
    let directory_sectors = (tables * 4).div_ceil(SECTOR);
    let place = |at| u64_at(file, at) as usize;
    let (redundant, primary, data) = (place(48), place(56), place(64));
    // Every sector of the metadata has exactly one owner.
    let mut owned = vec![(0, DESCRIPTOR_END)];
    let mut read_tables = |directory: usize| -> Vec<u32> {
        let bytes = sectors(file, directory, directory_sectors);
        assert_zeros(&bytes[tables * 4..], "the end of a directory");
        owned.push((directory, directory_sectors));
        let tables = entries(&bytes[..tables * 4]);
        owned.extend(tables.iter().map(|&table| (table as usize, TABLE / SECTOR)));
        tables.iter().flat_map(|&table| entries(sectors(file, table as usize, TABLE / SECTOR))).collect()
    };
    let (copy, table) = (read_tables(redundant), read_tables(primary));
    assert_eq!(copy.iter().zip(&table).position(|(one, other)| one != other), None, "the copies differ");
    owned.sort_unstable();
    let end = owned.iter().fold(0, |end, &(start, len)| {
        assert_eq!(start, end, "a gap or an overlap of tables");
        start + len
    });
    assert_eq!(data, end.next_multiple_of(128), "where grains begin");
    assert_zeros(sectors(file, end, data - end), "what lies before the grains");

    let mut next = data;
    let mut grains = Grains::new();
    for (number, &entry) in table.iter().enumerate().filter(|(_, entry)| **entry != 0) {
        assert_eq!(entry as usize, next, "grain {number} follows the one before it");
        assert!(number as u64 * 128 < capacity, "grain {number} is outside the disk");
        grains.insert(number as u64, sectors(file, next, 128).to_vec());
        next += 128;
    }
    assert_eq!(next * SECTOR, file.len(), "the last grain ends the file");
    (capacity, grains)
}

/// Checks a `streamOptimized` file whose descriptor has this name.
pub fn check_stream(file: &[u8], name: &str) -> (u64, Grains) {
    let capacity = check_header(file, 3, 0x3_0001, 1);
    assert_eq!((u64_at(file, 48), u64_at(file, 56), u64_at(file, 64)), (0, u64::MAX, 128), "places");
    check_descriptor(file, "streamOptimized", &format!("RDONLY {capacity} SPARSE \"{name}\""));
    assert_zeros(sectors(file, DESCRIPTOR_END, 128 - DESCRIPTOR_END), "what lies before the grains");
    let tables = capacity.div_ceil(128 * 512) as usize;
    let mut walk = Walk {
        file,
        next: 128,
        last: None,
        pending: BTreeMap::new(),
        directory: vec![0; tables],
        grains: Grains::new(),
    };
    walk.grains_and_tables(capacity);
    walk.ending();
    assert_eq!(walk.next * SECTOR, file.len(), "nothing follows the end of the stream");
    (capacity, walk.grains)
}

/// A front-to-back pass over a stream.
struct Walk<'a> {
    file: &'a [u8],
    /// The next sector.
    next: usize,
    /// The last grain so far.
    last: Option<u64>,
    /// The sectors of grains that no table has named yet.
    pending: BTreeMap<u64, u32>,
    directory: Vec<u32>,
    grains: Grains,
}

impl Walk<'_> {
    fn grains_and_tables(&mut self, capacity: u64) {
        loop {
            let marker = sectors(self.file, self.next, 1);
            match (u32_at(marker, 8), u32_at(marker, 12)) {
                (0, 1) => self.table(),
                (0, _) => break,
                (len, _) => self.grain(u64_at(marker, 0), len as usize, capacity),
            }
        }
        assert!(self.pending.is_empty(), "grains without a table");
    }

    fn grain(&mut self, lba: u64, len: usize, capacity: u64) {
        assert!(lba.is_multiple_of(128) && lba < capacity, "sector {lba} begins no grain");
        let number = lba / 128;
        assert!(self.last.is_none_or(|last| last < number), "grain {number} comes too late");
        let table = self.pending.keys().next().map_or(number / 512, |grain| grain / 512);
        assert_eq!(number / 512, table, "grain {number} comes before the table of those before it");
        let start = self.next * SECTOR + 12;
        let end = (start + len).next_multiple_of(SECTOR);
        assert!(end - start <= GRAIN + SECTOR, "grain {number}: {len} bytes are more than readers expect");
        assert_zeros(&self.file[start + len..end], "what pads a grain");
        let mut bytes = vec![0; GRAIN + 1];
        let mut inflate = Decompress::new(true);
        let status =
            inflate.decompress(&self.file[start..start + len], &mut bytes, FlushDecompress::Finish).unwrap();
        assert_eq!(status, Status::StreamEnd, "grain {number}");
        assert_eq!((inflate.total_in(), inflate.total_out()), (len as u64, GRAIN as u64), "grain {number}");
        bytes.truncate(GRAIN);
        self.pending.insert(number, self.next as u32);
        self.grains.insert(number, bytes);
        self.last = Some(number);
        self.next = end / SECTOR;
    }

    /// Checks a marker's own sector and returns the sectors it announces.
    fn marked(&mut self, kind: u32, count: usize) -> (usize, Vec<u8>) {
        let marker = sectors(self.file, self.next, 1);
        assert_eq!((u64_at(marker, 0), u32_at(marker, 8)), (count as u64, 0), "marker of kind {kind}");
        assert_eq!(u32_at(marker, 12), kind, "the marker at sector {}", self.next);
        assert_zeros(&marker[16..], "the end of a marker");
        let place = self.next + 1;
        self.next = place + count;
        (place, sectors(self.file, place, count).to_vec())
    }

    fn table(&mut self) {
        let (place, bytes) = self.marked(1, TABLE / SECTOR);
        let number = self.pending.keys().next().expect("a table of no grains") / 512;
        let expected: Vec<u32> = (number * 512..(number + 1) * 512)
            .map(|grain| self.pending.get(&grain).copied().unwrap_or(0))
            .collect();
        assert_eq!(entries(&bytes), expected, "table {number}");
        self.pending.clear();
        self.directory[number as usize] = place as u32;
    }

    fn ending(&mut self) {
        let count = (self.directory.len() * 4).div_ceil(SECTOR);
        let (place, bytes) = self.marked(2, count);
        let (directory, rest) = bytes.split_at(self.directory.len() * 4);
        assert_eq!(entries(directory), self.directory, "directory");
        assert_zeros(rest, "the end of the directory");
        let (footer_place, footer) = self.marked(3, 1);
        assert_eq!(footer_place * SECTOR, self.file.len() - 1024, "the footer's place");
        assert_eq!(u64_at(&footer, 56), place as u64, "the footer's directory");
        assert_eq!(footer[..56], self.file[..56], "the footer is the header");
        assert_eq!(footer[64..], self.file[64..SECTOR], "the footer is the header");
        self.marked(0, 0);
    }
}
