//! The outline of an unsupported VMDK: a differencing disk, or another product's kind.

use std::path::Path;

use crate::vmdk::layout::descriptor::Descriptor;
use crate::vmdk::layout::extent::Extent;
use crate::vmdk::layout::header::{HEADER_LEN, SECTOR_LEN, SparseHeader};
use crate::vmdk::layout::limits::DESCRIPTOR_LEN_MAX;
use crate::vmdk::read::files::{ExtentFile, read};
use crate::vmdk::{Parent, VmdkViolation};
use melv_block::RawFile;
use melv_block::Result;
use melv_block::container::vmdk::{Mark, is_bare_descriptor, mark};

/// The number of leading bytes that identify a file's format.
const MARK_LEN: u64 = 64 << 10;

/// The content of one VMDK file, as far as it can be parsed. No other file is opened.
#[derive(Debug, Clone, Default)]
pub struct Outline {
    /// The disk type as the descriptor spells it.
    pub create_type: Option<String>,
    /// The size of the disk, or of its part in this file, in bytes.
    pub size_bytes: Option<u64>,
    /// The extents in disk order.
    pub extents: Vec<Extent>,
    /// The parent of a differencing disk.
    pub parent: Option<Parent>,
    /// The file's own content id and UUID, by which a child refers to it.
    pub(crate) ids: (Option<u32>, Option<String>),
}

impl Outline {
    /// Reads the header and the descriptor of the file at `path`, at most 1 MiB.
    ///
    /// # Errors
    /// The errors of opening and reading the file.
    pub fn read(path: &Path) -> Result<Self> {
        Self::of_file(&ExtentFile::of_open(RawFile::open(path, true)?), DESCRIPTOR_LEN_MAX)
    }

    /// Does the same as [`Outline::read`] for an open file, with at most `most` bytes of text.
    pub(crate) fn of_file(file: &ExtentFile, most: u64) -> Result<Self> {
        let first = read(file, 0, file.file_size().min(MARK_LEN))?;
        let u32_at = |at: usize| first.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        match mark(&first) {
            Some(Mark::Sparse) => Self::of_sparse(file, &first, most),
            Some(Mark::Descriptor) => Ok(Self::of_text(&read(file, 0, file.file_size().min(most))?, false)),
            None if is_bare_descriptor(&first) => {
                Ok(Self::of_text(&read(file, 0, file.file_size().min(most))?, false))
            }
            // Sources of the two offsets: libyal, "VMDK COWD", and QEMU's block/vmdk.c, "SESPARSE".
            Some(Mark::EsxSparse) => Ok(Self::of_sectors(u32_at(12).map(u64::from))),
            Some(Mark::SeSparse) => {
                let high = u32_at(20).map(|high| u64::from(high) << 32);
                Ok(Self::of_sectors(u32_at(16).zip(high).map(|(low, high)| u64::from(low) | high)))
            }
            None => Ok(Self::default()),
        }
    }

    fn of_sectors(sectors: Option<u64>) -> Self {
        let size_bytes = sectors.and_then(|sectors| sectors.checked_mul(SECTOR_LEN));
        Self { size_bytes, ..Self::default() }
    }

    fn of_text(text: &[u8], is_embedded: bool) -> Self {
        match Descriptor::parse(text, is_embedded) {
            Ok(descriptor) => Self {
                size_bytes: Some(descriptor.sectors() * SECTOR_LEN),
                create_type: Some(descriptor.create_type),
                extents: descriptor.extents,
                parent: descriptor.parent.map(|parent| *parent),
                ids: (descriptor.cid, descriptor.uuid),
            },
            Err(VmdkViolation::Difference { parent }) => Self { parent: Some(*parent), ..Self::default() },
            Err(_) => Self::default(),
        }
    }

    fn of_sparse(file: &ExtentFile, first: &[u8], most: u64) -> Result<Self> {
        let Some(header) = first.get(..HEADER_LEN).and_then(|bytes| SparseHeader::decode(bytes).ok()) else {
            return Ok(Self::default());
        };
        let text = embedded_text(file, &header, most)?;
        let found = Self::of_text(&text, true);
        let size_bytes = found.size_bytes.or_else(|| header.capacity_sectors.checked_mul(SECTOR_LEN));
        Ok(Self { size_bytes, ..found })
    }
}

/// Reads a sparse extent's descriptor space, up to `most` bytes and the end of the file.
pub(crate) fn embedded_text(file: &ExtentFile, header: &SparseHeader, most: u64) -> Result<Vec<u8>> {
    if header.descriptor_sector == 0 {
        return Ok(Vec::new());
    }
    let offset = header.descriptor_sector.saturating_mul(SECTOR_LEN);
    let there = file.file_size().saturating_sub(offset);
    read(
        file,
        offset.min(file.file_size()),
        header.descriptor_sectors.saturating_mul(SECTOR_LEN).min(most).min(there),
    )
}
