//! A VMDK in files, read as a disk.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::foreign_disk::{DiskFormat, ForeignDisk};
use crate::gate::Gate;
use crate::vmdk::layout::descriptor::Descriptor;
use crate::vmdk::layout::encoding;
use crate::vmdk::layout::extent::{Extent, ExtentKind};
use crate::vmdk::layout::extent_layout::{ExtentLayout, ViolationAt};
use crate::vmdk::layout::header::{HEADER_LEN, SECTOR_LEN, SparseHeader};
use crate::vmdk::layout::limits::DESCRIPTOR_LEN_MAX;
use crate::vmdk::layout::oddities;
use crate::vmdk::read::beside::neighbours;
use crate::vmdk::read::files::{ExtentFile, ExtentFiles, check_inside, read};
use crate::vmdk::read::outline::embedded_text;
use crate::vmdk::read::sparse::{Budget, DiskCaches, SparseExtent};
use crate::vmdk::{Parent, VmdkViolation};
use crate::warning::{Oddity, Warning};
use melv_block::RawFile;
use melv_block::Result;
use melv_block::container::vmdk::{Mark, is_bare_descriptor, mark};
use melv_block::{BlockDevice, Run, RunKind, SectorBits, check_range};

/// The number of leading bytes that identify a file's format.
const MARK_LEN: u64 = 64 << 10;

/// A disk in VMware's format, open for reading from any number of threads.
///
/// Memory use: 4 to 16 bytes per 32 MiB of disk in sparse extents, and one bit per uncompressed
/// grain that fits in their files. Tables take 128 KiB. Partial reads of compressed grains cache 16
/// MiB of inflated data. Each reading thread holds the stored bytes of one read: at most 1 MiB plus
/// two grains. A grain is usually 64 KiB, never more than 2 MiB. At most 64 of a descriptor's
/// extents are open at a time.
#[derive(Debug)]
pub struct VmdkDisk {
    name: String,
    size_bytes: u64,
    create_type: String,
    extents: Vec<Extent>,
    parts: Vec<Part>,
    files: Vec<Arc<ExtentFile>>,
    caches: DiskCaches,
    sector_bits: SectorBits,
    warnings: Vec<Warning>,
}

/// The content that one extent provides for the disk's bytes `start..end`.
#[derive(Debug)]
struct Part {
    start: u64,
    end: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Zero,
    Flat { file: Arc<ExtentFile>, offset: u64 },
    Sparse(Box<SparseExtent>),
}

impl VmdkDisk {
    /// Opens the disk at `path`, in a regular file or on a block device. It is a descriptor with
    /// its extents next to it, which `gate` lets in, or a sparse extent with an embedded descriptor
    /// (a stream too). Since the format is known here, a descriptor may lack its first comment, which
    /// [`looks_like`](crate::vmdk::looks_like) requires.
    ///
    /// Reads the header, the descriptor and the grain directories: time and memory grow with the
    /// number of grain tables, one per 32 MiB of disk. A table is checked on its first read, and
    /// grains as they are read. Once [`BlockDevice::map`] has covered the whole disk, as an import
    /// does, all tables are sound.
    ///
    /// # Errors
    /// [`DiskError::Vmdk`](crate::DiskError::Vmdk) with the fault and its place;
    /// [`BlockError::Unsupported`](melv_block::BlockError::Unsupported) for devices and ESX's own sparse formats;
    /// [`DiskError::Difference`](crate::DiskError::Difference) for a disk with a parent;
    /// [`DiskError::MissingExtent`](crate::DiskError::MissingExtent);
    /// [`DiskError::GateClosed`](crate::DiskError::GateClosed) for a descriptor and a closed gate;
    /// [`BlockError::Limit`](melv_block::BlockError::Limit).
    pub fn open(path: &Path, gate: Gate) -> Result<Self> {
        Self::of_file(RawFile::open(path, true)?, path, gate)
    }

    /// Opens the disk in `file`, which was opened at `path`, as [`VmdkDisk::open`] does.
    pub(crate) fn of_file(file: RawFile, path: &Path, gate: Gate) -> Result<Self> {
        let mut disk = Self::of_content(ExtentFile::of_open(file), path, gate)?;
        disk.warnings.extend(neighbours(path, gate));
        Ok(disk)
    }

    fn of_content(file: ExtentFile, path: &Path, gate: Gate) -> Result<Self> {
        let file = Arc::new(file);
        let first = read(&file, 0, file.file_size().min(MARK_LEN))?;
        let unsupported = |what: &str| Err(VmdkViolation::unsupported(what).at(file.name(), 0));
        match mark(&first) {
            Some(Mark::Sparse) => Self::of_sparse(file, &first, path, gate),
            Some(Mark::Descriptor) => Self::of_descriptor_file(file, path, gate),
            Some(Mark::EsxSparse) => unsupported("ESX's copy-on-write extents (COWD)"),
            Some(Mark::SeSparse) => unsupported("ESX's space-efficient sparse extents (seSparse)"),
            None if is_bare_descriptor(&first) => Self::of_descriptor_file(file, path, gate),
            None => Err(VmdkViolation::NotVmdk.at(file.name(), 0)),
        }
    }

    /// Opens a sparse extent with an embedded descriptor. The file name in that descriptor is
    /// ignored: it is often outdated, and there is nothing to open.
    fn of_sparse(file: Arc<ExtentFile>, first: &[u8], path: &Path, gate: Gate) -> Result<Self> {
        let name = file.name();
        let header = SparseHeader::decode(&first[..first.len().min(HEADER_LEN)]);
        let header = header.map_err(|violation| violation.at(&name, 0))?;
        if header.capacity_sectors == 0 {
            // Such an extent may hold only the descriptor of a disk in other files.
            let text = embedded_text(&file, &header, DESCRIPTOR_LEN_MAX)?;
            let extents =
                Descriptor::parse(&text, true).map(|descriptor| descriptor.extents).unwrap_or_default();
            if extents.iter().any(|extent| extent.kind != ExtentKind::Sparse) {
                return Self::of_descriptor(file, &text, true, (path, gate));
            }
        }
        let mut warnings = Vec::new();
        let sparse = SparseExtent::open(file.clone(), 0, &mut Budget::default(), &mut warnings)?;
        let place = sparse.layout.descriptor.map_or(0, |(sector, _)| sector * SECTOR_LEN);
        let Some(room) = sparse.descriptor()? else {
            return Err(VmdkViolation::NoDescriptor.at(name, place));
        };
        warnings.extend(oddities::of_descriptor(&name, &room));
        let descriptor = embedded(&room, &sparse.layout, place)
            .map_err(|(place, violation)| violation.at(&name, place))?;
        let caches = DiskCaches::new(sparse.layout.grain_bytes());
        let size_bytes = descriptor.sectors() * SECTOR_LEN;
        let (bits, oddity) = descriptor.sector_bits();
        let sector_bits = bits.map(SectorBits::from).unwrap_or_default();
        warnings.extend(oddity.map(|oddity| Warning { object: name.clone(), oddity }));
        Ok(Self {
            name,
            size_bytes,
            sector_bits,
            create_type: descriptor.create_type,
            extents: descriptor.extents,
            parts: vec![Part { start: 0, end: size_bytes, content: Content::Sparse(Box::new(sparse)) }],
            files: vec![file],
            caches,
            warnings,
        })
    }

    fn of_descriptor_file(file: Arc<ExtentFile>, path: &Path, gate: Gate) -> Result<Self> {
        let name = file.name();
        let found = file.file_size();
        if found > DESCRIPTOR_LEN_MAX {
            return Err(VmdkViolation::DescriptorLen { found, max: DESCRIPTOR_LEN_MAX }.at(name, 0));
        }
        let text = read(&file, 0, found)?;
        Self::of_descriptor(file, &text, false, (path, gate))
    }

    /// Opens the disk that the text in `file` describes; its extents lie next to `path`.
    fn of_descriptor(
        file: Arc<ExtentFile>,
        text: &[u8],
        is_embedded: bool,
        (path, gate): (&Path, Gate),
    ) -> Result<Self> {
        let name = file.name();
        let descriptor = Descriptor::parse(text, is_embedded)
            .and_then(|descriptor| descriptor.check_supported().map(|()| descriptor))
            .map_err(|violation| violation.at(&name, 0))?;
        let mut opening = Opening::new(file, path, gate)?;
        for extent in &descriptor.extents {
            opening.add(extent, &descriptor.create_type)?;
        }
        opening.note_unused();
        let (bits, oddity) = descriptor.sector_bits();
        let sector_bits = bits.map(SectorBits::from).unwrap_or_default();
        opening.warnings.extend(oddity.map(|oddity| Warning { object: name.clone(), oddity }));
        Ok(Self {
            name,
            sector_bits,
            size_bytes: descriptor.sectors() * SECTOR_LEN,
            create_type: descriptor.create_type,
            extents: descriptor.extents,
            caches: DiskCaches::new(opening.grain_bytes_max),
            parts: opening.parts,
            files: opening.files,
            warnings: opening.warnings,
        })
    }

    /// Returns the disk type as the descriptor spells it: `monolithicSparse`, …
    #[must_use]
    pub fn create_type(&self) -> &str {
        &self.create_type
    }

    /// Returns the extents in disk order.
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Returns the part that holds byte `offset`, which lies inside the disk.
    fn part(&self, offset: u64) -> Option<&Part> {
        self.parts.get(self.parts.partition_point(|part| part.end <= offset))
    }
}

/// Parses the descriptor embedded in a sparse extent of this layout, in the area at `place`. The
/// descriptor decides the disk's size, which may be up to one grain less than the header's capacity.
pub(crate) fn embedded(room: &[u8], layout: &ExtentLayout, place: u64) -> Result<Descriptor, ViolationAt> {
    let here = |violation| (place, violation);
    let descriptor = Descriptor::parse(room, true).map_err(here)?;
    descriptor.check_supported().map_err(here)?;
    let [extent] = &descriptor.extents[..] else {
        let kind = descriptor.extents.first().map_or("", |extent| extent.kind.word());
        return Err(here(VmdkViolation::Embedded { extents: descriptor.extents.len(), kind }));
    };
    if extent.kind != ExtentKind::Sparse {
        return Err(here(VmdkViolation::Embedded { extents: 1, kind: extent.kind.word() }));
    }
    layout.check_sectors(extent.sectors)?;
    layout.check_type(&descriptor.create_type)?;
    Ok(descriptor)
}

/// Refuses an extent whose own descriptor names a parent; the rest of that text is ignored.
fn check_piece(sparse: &SparseExtent) -> Result<()> {
    let Some((sector, sectors)) = sparse.layout.descriptor else {
        return Ok(());
    };
    let offset = sector.saturating_mul(SECTOR_LEN);
    let len = sectors.saturating_mul(SECTOR_LEN).min(DESCRIPTOR_LEN_MAX);
    let parent =
        encoding::decode(&read(&sparse.file, offset, len)?).ok().and_then(|(text, _)| Parent::of(&text));
    match parent {
        Some(parent) => {
            Err(VmdkViolation::Difference { parent: Box::new(parent) }.at(sparse.file.name(), offset))
        }
        None => Ok(()),
    }
}

/// The state of opening a descriptor's extents.
struct Opening {
    extent_files: Arc<ExtentFiles>,
    descriptor: (u64, u64),
    /// The open files by device and inode, and whether each is a sparse extent.
    by_identity: HashMap<(u64, u64), (Arc<ExtentFile>, bool)>,
    files: Vec<Arc<ExtentFile>>,
    parts: Vec<Part>,
    budget: Budget,
    grain_bytes_max: u64,
    warnings: Vec<Warning>,
}

impl Opening {
    fn new(descriptor: Arc<ExtentFile>, path: &Path, gate: Gate) -> Result<Self> {
        Ok(Self {
            extent_files: ExtentFiles::of(path, gate)?,
            descriptor: descriptor.identity()?,
            by_identity: HashMap::new(),
            files: vec![descriptor],
            parts: Vec::new(),
            budget: Budget::default(),
            grain_bytes_max: 0,
            warnings: Vec::new(),
        })
    }

    fn add(&mut self, extent: &Extent, create_type: &str) -> Result<()> {
        let start = self.parts.last().map_or(0, |part| part.end);
        let len = extent.sectors * SECTOR_LEN;
        let name = extent.name.as_deref().unwrap_or_default();
        let content = match extent.kind {
            ExtentKind::Zero => Content::Zero,
            ExtentKind::Sparse => {
                let file = self.file(name, true)?;
                let number = self.parts.len() as u32;
                let sparse = SparseExtent::open(file.clone(), number, &mut self.budget, &mut self.warnings)?;
                check_piece(&sparse)?;
                let checked = sparse.layout.check_sectors(extent.sectors);
                checked
                    .and_then(|()| sparse.layout.check_type(create_type))
                    .map_err(|(offset, violation)| violation.at(file.name(), offset))?;
                self.grain_bytes_max = self.grain_bytes_max.max(sparse.layout.grain_bytes());
                Content::Sparse(Box::new(sparse))
            }
            // `check_supported` refused the other types.
            _ => {
                let file = self.file(name, false)?;
                let offset = extent.offset_sectors * SECTOR_LEN;
                check_inside(&file, offset, len)?;
                Content::Flat { file, offset }
            }
        };
        self.parts.push(Part { start, end: start + len, content });
        Ok(())
    }

    /// Warns of flat files with data after the part that the descriptor uses.
    fn note_unused(&mut self) {
        for file in &self.files {
            let ends = self.parts.iter().filter_map(|part| match &part.content {
                Content::Flat { file: flat, offset } if Arc::ptr_eq(flat, file) => {
                    Some(offset + part.end - part.start)
                }
                _ => None,
            });
            let bytes = ends.max().map_or(0, |end| file.file_size().saturating_sub(end));
            if bytes != 0 {
                self.warnings.push(Warning { object: file.name(), oddity: Oddity::Unused { bytes } });
            }
        }
    }

    /// Opens an extent's file or returns the open one: flat extents may share a file.
    fn file(&mut self, name: &str, is_sparse: bool) -> Result<Arc<ExtentFile>> {
        let file = self.extent_files.find(name, self.files.len() as u32)?;
        let identity = file.identity()?;
        let refused = |why| {
            let violation = VmdkViolation::Extent { name: name.to_owned(), why };
            Err(violation.at(self.files.first().map(|file| file.name()).unwrap_or_default(), 0))
        };
        if identity == self.descriptor {
            return refused("the descriptor itself");
        }
        match self.by_identity.get(&identity) {
            Some((there, false)) if !is_sparse => Ok(there.clone()),
            Some(_) => refused("a sparse extent that another line names too"),
            None => {
                let file = Arc::new(file);
                self.files.push(file.clone());
                self.by_identity.insert(identity, (file.clone(), is_sparse));
                Ok(file)
            }
        }
    }
}

impl ForeignDisk for VmdkDisk {
    fn format(&self) -> DiskFormat {
        DiskFormat::Vmdk
    }

    fn unpadded_size(&self) -> u64 {
        self.size_bytes
    }

    fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    fn check_unchanged(&self) -> Result<()> {
        self.files.iter().try_for_each(|file| file.check_unchanged())
    }
}

impl BlockDevice for VmdkDisk {
    fn size(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len() as u64, self.size_bytes)?;
        while !buf.is_empty()
            && let Some(part) = self.part(offset)
        {
            let len = (part.end - offset).min(buf.len() as u64);
            let (now, rest) = std::mem::take(&mut buf).split_at_mut(len as usize);
            let within = offset - part.start;
            match &part.content {
                Content::Zero => now.fill(0),
                Content::Flat { file, offset } => file.read_at(offset + within, now)?,
                Content::Sparse(sparse) => sparse.read_at(&self.caches, within, now)?,
            }
            offset += len;
            buf = rest;
        }
        Ok(())
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        check_range(offset, len, self.size_bytes)?;
        let Some(part) = self.part(offset) else {
            return Ok(Run { kind: RunKind::Zero, len });
        };
        let (within, len) = (offset - part.start, len.min(part.end - offset));
        match &part.content {
            Content::Zero => Ok(Run { kind: RunKind::Zero, len }),
            Content::Flat { file, offset } => file.map(offset + within, len),
            Content::Sparse(sparse) => sparse.map(&self.caches, within, len),
        }
    }

    fn sector_bits(&self) -> SectorBits {
        self.sector_bits
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}
