//! Writes a package: descriptor, manifest, disks.

use std::io::Write;

use melv_block::{Error, Result};

use super::blank::BlankDisk;
use super::machine::Machine;
use super::manifest::manifest;
use super::measure::{Measure, Measured, Repeat, measured};
use super::ovf::{DiskFile, descriptor};
use super::tar_header::{BLOCK_LEN, END_LEN, header};

/// The form of blank data disks in a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BlankDisks {
    /// Each is an empty stream-optimized VMDK, about 66 KB; every reader takes it.
    #[default]
    Files,
    /// Each is described without a file, as OVF intends. VMware's products make such a disk; virt-v2v refuses the
    /// package.
    Described,
}

/// A disk of a package.
#[derive(Debug, Clone, Copy)]
pub enum PackageDisk<'a> {
    /// The disk that the machine starts from.
    System,
    /// A blank data disk, with its content to read.
    Blank(&'a BlankDisk),
}

/// Writes the disks of a package.
///
/// The exporter of VMDK streams fits: its `name` is `file`. A closure is a writer too.
pub trait DiskWriter {
    /// Writes a disk as a stream-optimized VMDK to `out`. `file` is its name in the package. It is called twice
    /// for each disk and must write the same bytes both times.
    ///
    /// # Errors
    /// The errors of the disk and of `out`.
    fn write_disk(&mut self, disk: PackageDisk<'_>, file: &str, out: &mut dyn Write) -> Result<()>;
}

impl<F: FnMut(PackageDisk<'_>, &str, &mut dyn Write) -> Result<()>> DiskWriter for F {
    fn write_disk(&mut self, disk: PackageDisk<'_>, file: &str, out: &mut dyn Write) -> Result<()> {
        self(disk, file, out)
    }
}

/// A disk before its first pass.
struct Planned {
    /// The blank disk, or none for the system disk.
    blank: Option<BlankDisk>,
    file: String,
    capacity: u64,
    populated: Option<u64>,
}

impl Planned {
    fn disk(&self) -> PackageDisk<'_> {
        self.blank.as_ref().map_or(PackageDisk::System, PackageDisk::Blank)
    }
}

/// Writes `machine` with its disks as an OVA to `out`, front to back. `name` is the stream's name in messages.
/// Equal machines and disks make identical packages. Memory: the descriptor, and the disk writer's own.
///
/// Returns the number of bytes written.
///
/// # Errors
/// [`OvaError::NotStream`](super::OvaError::NotStream), [`OvaError::Capacity`](super::OvaError::Capacity) and
/// [`OvaError::DiskChanged`](super::OvaError::DiskChanged) for a disk that is another one than the machine
/// tells; the errors of `disks` and of `out`.
pub fn write_ova(
    machine: &Machine,
    blank_disks: BlankDisks,
    disks: &mut dyn DiskWriter,
    out: &mut dyn Write,
    name: &str,
) -> Result<u64> {
    let stem = machine.file_stem();
    let planned = plan(machine, blank_disks, &stem);
    let mut measures = Vec::with_capacity(planned.len());
    for plan in &planned {
        let mut measure = Measure::default();
        disks.write_disk(plan.disk(), &plan.file, &mut measure)?;
        measures.push(measure.finish(&plan.file, plan.capacity)?);
    }
    let files: Vec<_> = planned
        .iter()
        .zip(&measures)
        .map(|(plan, measure)| DiskFile {
            href: &plan.file,
            size: measure.size,
            capacity: plan.capacity,
            populated: plan.populated,
        })
        .collect();
    let ovf = descriptor(machine, &files);
    let ovf_name = format!("{stem}.ovf");
    let digests = planned.iter().zip(&measures).map(|(plan, measure)| (plan.file.as_str(), measure.digest));
    let mf = manifest([(ovf_name.as_str(), measured(&ovf).digest)].into_iter().chain(digests));

    let mut archive = Archive { out, name, len: 0 };
    archive.file(&ovf_name, &ovf)?;
    archive.file(&format!("{stem}.mf"), &mf)?;
    for (plan, &measure) in planned.iter().zip(&measures) {
        archive.disk(plan, measure, disks)?;
    }
    archive.finish()
}

/// Returns the disks that have files, in the order of the archive.
fn plan(machine: &Machine, blank_disks: BlankDisks, stem: &str) -> Vec<Planned> {
    let parts = machine.parts();
    let system = Planned {
        blank: None,
        file: format!("{stem}-disk1.vmdk"),
        capacity: parts.system_disk.capacity,
        populated: parts.system_disk.populated,
    };
    let blanks = parts.data_disks.iter().enumerate().map(|(index, disk)| Planned {
        blank: Some(BlankDisk { name: disk.name.clone(), size: disk.size }),
        file: format!("{stem}-disk{}.vmdk", index.saturating_add(2)),
        capacity: disk.size,
        populated: Some(0),
    });
    let blanks = blanks.filter(|_| blank_disks == BlankDisks::Files);
    std::iter::once(system).chain(blanks).collect()
}

/// The archive that is written.
struct Archive<'a> {
    out: &'a mut dyn Write,
    name: &'a str,
    len: u64,
}

impl Archive<'_> {
    fn file(&mut self, file: &str, bytes: &[u8]) -> Result<()> {
        self.header(file, bytes.len() as u64)?;
        self.write(bytes)?;
        self.pad(bytes.len() as u64)
    }

    fn disk(&mut self, plan: &Planned, measure: Measured, disks: &mut dyn DiskWriter) -> Result<()> {
        self.header(&plan.file, measure.size)?;
        let mut repeat = Repeat::new(self.out, &plan.file, measure);
        disks.write_disk(plan.disk(), &plan.file, &mut repeat)?;
        repeat.finish()?;
        self.len = self.len.saturating_add(measure.size);
        self.pad(measure.size)
    }

    fn finish(mut self) -> Result<u64> {
        self.write(&[0; END_LEN as usize])?;
        self.out.flush().map_err(|error| Error::io("write", self.name, error))?;
        Ok(self.len)
    }

    fn header(&mut self, file: &str, size: u64) -> Result<()> {
        let header = header(file, size).map_err(|error| Error::io("name", file, error))?;
        self.write(header.as_bytes())
    }

    /// Fills the last block of a file of `size` bytes.
    fn pad(&mut self, size: u64) -> Result<()> {
        let zeros = [0; BLOCK_LEN as usize];
        let used = (size % BLOCK_LEN) as usize;
        if used == 0 { Ok(()) } else { self.write(&zeros[used..]) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let at = self.len;
        self.out
            .write_all(bytes)
            .map_err(|error| Error::io("write", format!("{} at byte {at}", self.name), error))?;
        self.len = self.len.saturating_add(bytes.len() as u64);
        Ok(())
    }
}
