//! Writes a disk as `monolithicSparse`: one file to which products can write, with uncompressed grains.
//!
//! Source of the layout: VMware, *Virtual Disk Format 5.0* (technical note), "Hosted Sparse Extents".
//!
//! ```text
//! header, descriptor                     sectors 0 and 1..21
//! redundant directory, its tables        2048 bytes a table, one after the other
//! directory, its tables                  the same entries: VirtualBox compares them
//! grains, in the order of the disk       from a multiple of a grain on
//! ```
//!
//! Every table has its place, because products that write to the disk expect it; tables without
//! grains are left as holes. The last grain is stored whole even if the disk ends inside it.

use std::path::Path;

use crate::vmdk::WriteOptions;
use crate::vmdk::layout::header::{FLAG_NEWLINES, FLAG_REDUNDANT, SECTOR_LEN, SparseHeader};
use crate::vmdk::write::descriptor_text::{DESCRIPTOR_SECTORS, DescriptorText, own_name};
use crate::vmdk::write::pieces::{
    COVERAGE_LEN, ENTRY_LEN, GRAIN_LEN, GRAIN_SECTORS, Piece, Spare, TABLE_ENTRIES, TABLE_SECTORS,
    capacity_sectors, encode_entries, entry, in_order,
};
use melv_block::BlockDevice;
use melv_block::{BlockError, Result};
use melv_block::{OutputFile, Target};

const DESCRIPTOR_SECTOR: u64 = 1;
/// The maximum size of a disk, in sectors: many products hold an extent's size in 32 bits.
const CAPACITY_SECTORS_MAX: u64 = u32::MAX as u64;
/// The number of directory entries that are encoded at once.
const DIRECTORY_PART: u64 = 1 << 14;

/// Writes `device` to the file `path` as a `monolithicSparse` VMDK, version 1, and reads on all
/// threads of the current `rayon` pool. Zero grains are not stored. The file gets its name only
/// when it is complete and synced. Equal disks, content ids and file names make identical files, on
/// any number of threads. Memory: 4 MiB per thread.
///
/// Returns the file's length.
///
/// # Errors
/// [`BlockError::FileExists`] for an existing file; [`BlockError::Invalid`] for a block device, for a file name
/// that a descriptor cannot hold and for an empty disk; [`BlockError::Limit`] beyond 2 TiB of disk or
/// file, the format's limit (a stream holds larger disks); [`BlockError::NoSpace`]; the errors of
/// reading the disk.
pub fn export_sparse(device: &dyn BlockDevice, path: &Path, options: &WriteOptions<'_>) -> Result<u64> {
    let target = Target::find_file(path, "a file, since a VMDK has a length of its own")?;
    let name = own_name(target.file_name())?;
    let layout = MonolithicLayout::of(capacity_sectors(device)?)?;
    let descriptor = DescriptorText {
        create_type: "monolithicSparse",
        access: "RW",
        capacity_sectors: layout.capacity_sectors,
        name,
        content: options.content,
        sectors: device.sector_bits(),
    };
    target.create(options.export.force, |out| {
        let spare = Spare::default();
        let mut writer = SparseWriter::start(out, layout, &descriptor)?;
        let whole = |piece| Ok(Stored::new(piece));
        in_order(device, &options.export, &spare, whole, |stored| {
            writer.grains(&stored)?;
            spare.give(stored.bytes);
            Ok(())
        })?;
        writer.finish()
    })
}

/// The places of all structures but the grains, in sectors.
#[derive(Debug, Clone, Copy)]
struct MonolithicLayout {
    capacity_sectors: u64,
    tables: u64,
    redundant_directory: u64,
    redundant_tables: u64,
    directory: u64,
    primary_tables: u64,
    data: u64,
}

impl MonolithicLayout {
    fn of(capacity_sectors: u64) -> Result<Self> {
        if capacity_sectors > CAPACITY_SECTORS_MAX {
            let what = "sectors of a disk as vmdk (vmdk-stream has no such limit)";
            return Err(BlockError::Limit { what, found: capacity_sectors, max: CAPACITY_SECTORS_MAX }.into());
        }
        let tables = capacity_sectors.div_ceil(COVERAGE_LEN / SECTOR_LEN);
        let directory_sectors = (tables * ENTRY_LEN as u64).div_ceil(SECTOR_LEN);
        let redundant_directory = DESCRIPTOR_SECTOR + DESCRIPTOR_SECTORS;
        let redundant_tables = redundant_directory + directory_sectors;
        let directory = redundant_tables + tables * TABLE_SECTORS;
        let primary_tables = directory + directory_sectors;
        let data = (primary_tables + tables * TABLE_SECTORS).next_multiple_of(GRAIN_SECTORS);
        entry(data, data)?;
        Ok(Self {
            capacity_sectors,
            tables,
            redundant_directory,
            redundant_tables,
            directory,
            primary_tables,
            data,
        })
    }

    fn header(&self) -> SparseHeader {
        SparseHeader {
            version: 1,
            flags: FLAG_NEWLINES | FLAG_REDUNDANT,
            capacity_sectors: self.capacity_sectors,
            grain_sectors: GRAIN_SECTORS,
            descriptor_sector: DESCRIPTOR_SECTOR,
            descriptor_sectors: DESCRIPTOR_SECTORS,
            table_entries: TABLE_ENTRIES as u32,
            redundant_sector: self.redundant_directory,
            directory_sector: self.directory,
            overhead_sectors: self.data,
            is_unclean: false,
            newlines_intact: true,
            compression: 0,
        }
    }
}

/// The non-zero grains of a piece, moved together.
struct Stored {
    /// The numbers of the grains on the disk.
    grains: Vec<u64>,
    bytes: Vec<u8>,
}

impl Stored {
    fn new(mut piece: Piece) -> Self {
        let stored: Vec<usize> = piece.stored_grains().map(|(number, _)| number).collect();
        for (to, &from) in stored.iter().enumerate().filter(|(to, from)| to != *from) {
            piece.bytes.copy_within(from * GRAIN_LEN..(from + 1) * GRAIN_LEN, to * GRAIN_LEN);
        }
        piece.bytes.truncate(stored.len() * GRAIN_LEN);
        let grains = stored.iter().map(|&number| piece.first_grain + number as u64).collect();
        Self { grains, bytes: piece.bytes }
    }
}

/// The state of writing the file.
struct SparseWriter<'a> {
    out: &'a OutputFile<'a>,
    layout: MonolithicLayout,
    /// The sector of the next grain.
    next_sector: u64,
    /// The entries of the table of the latest grains; `table_number` is its number.
    table: [u32; TABLE_ENTRIES],
    table_number: Option<u64>,
}

impl<'a> SparseWriter<'a> {
    fn start(
        out: &'a OutputFile<'a>,
        layout: MonolithicLayout,
        descriptor: &DescriptorText<'_>,
    ) -> Result<Self> {
        // Everything not written below is a hole, which reads as zeros.
        out.set_len(layout.data * SECTOR_LEN)?;
        out.write_at(&layout.header().encode(), 0)?;
        out.write_at(&descriptor.encode(), DESCRIPTOR_SECTOR * SECTOR_LEN)?;
        for (directory, tables) in
            [(layout.redundant_directory, layout.redundant_tables), (layout.directory, layout.primary_tables)]
        {
            write_directory(out, directory, tables, layout.tables)?;
        }
        Ok(Self { out, layout, next_sector: layout.data, table: [0; TABLE_ENTRIES], table_number: None })
    }

    fn grains(&mut self, stored: &Stored) -> Result<()> {
        let place = self.next_sector;
        for &grain in &stored.grains {
            let number = grain / TABLE_ENTRIES as u64;
            if self.table_number != Some(number) {
                self.end_table()?;
                self.table_number = Some(number);
            }
            let end = self.next_sector + GRAIN_SECTORS;
            self.table[(grain % TABLE_ENTRIES as u64) as usize] = entry(self.next_sector, end)?;
            self.next_sector = end;
        }
        self.out.write_at(&stored.bytes, place * SECTOR_LEN)
    }

    /// Writes the current table to both places, since no further grain belongs to it.
    fn end_table(&mut self) -> Result<()> {
        if let Some(number) = self.table_number.take() {
            let bytes = encode_entries(&self.table);
            for tables in [self.layout.redundant_tables, self.layout.primary_tables] {
                self.out.write_at(&bytes, (tables + number * TABLE_SECTORS) * SECTOR_LEN)?;
            }
            self.table = [0; TABLE_ENTRIES];
        }
        Ok(())
    }

    /// Finishes the file and returns its length, in bytes.
    fn finish(mut self) -> Result<u64> {
        self.end_table()?;
        Ok(self.next_sector * SECTOR_LEN)
    }
}

/// Writes a directory of `count` consecutive tables that begin at sector `tables`.
fn write_directory(out: &OutputFile<'_>, directory: u64, tables: u64, count: u64) -> Result<()> {
    for first in (0..count).step_by(DIRECTORY_PART as usize) {
        let part = first..count.min(first + DIRECTORY_PART);
        let places = part.map(|number| tables + number * TABLE_SECTORS);
        let entries = places.map(|place| entry(place, place + TABLE_SECTORS)).collect::<Result<Vec<_>>>()?;
        out.write_at(&encode_entries(&entries), directory * SECTOR_LEN + first * ENTRY_LEN as u64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmdk::write::pieces::FILE_SECTORS_MAX;
    use melv_block::Error;
    use melv_block::SectorBits;

    #[test]
    fn a_file_beyond_32_bits_is_a_limit_and_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = Target::find_file(&folder.path().join("out.vmdk"), "a file").expect("a target");
        let layout = MonolithicLayout::of(1 << 20).expect("a layout");
        let descriptor = DescriptorText {
            create_type: "monolithicSparse",
            access: "RW",
            capacity_sectors: 1 << 20,
            name: "out.vmdk",
            content: None,
            sectors: SectorBits::default(),
        };
        let error = target.create(false, |out| {
            let mut writer = SparseWriter::start(out, layout, &descriptor)?;
            writer.next_sector = FILE_SECTORS_MAX - 127;
            writer.grains(&Stored { grains: vec![3], bytes: vec![1; GRAIN_LEN] })
        });
        let found = FILE_SECTORS_MAX + 1;
        assert!(
            matches!(error.as_ref().err().and_then(Error::detail), Some(BlockError::Limit { found: f, .. }) if *f == found),
            "{error:?}"
        );
        assert_eq!(folder.path().read_dir().expect("a folder").count(), 0);
    }

    #[test]
    fn disks_beyond_32_bits_of_sectors_are_a_limit_before_anything_is_written() {
        assert!(MonolithicLayout::of((1 << 32) - 1).is_ok());
        for sectors in [1 << 32, 1 << 38, 1 << 45] {
            let error = MonolithicLayout::of(sectors).expect_err("too large");
            assert!(
                matches!(error.detail(), Some(BlockError::Limit { found, .. }) if *found == sectors),
                "{error:?}"
            );
            assert!(error.to_string().contains("vmdk-stream"), "{error}");
        }
    }
}
