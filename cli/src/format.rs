//! The names of disk formats for `--format`.

use melv::DiskFormat;

use crate::failure::Failure;

/// An input format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A disk of another program.
    Disk(DiskFormat),
    /// An image of a bundle.
    Bundle,
}

impl Format {
    /// Returns the format of another program's disk; `None` for a bundle.
    pub fn of_disk(self) -> Option<DiskFormat> {
        match self {
            Self::Disk(format) => Some(format),
            Self::Bundle => None,
        }
    }
}

/// An output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutFormat {
    /// A raw disk, with nothing but its bytes.
    Raw,
    /// A VMDK that grows as it is used: `monolithicSparse`.
    Vmdk,
    /// A compressed VMDK, written front to back: `streamOptimized`.
    VmdkStream,
    /// A machine with its disks in one file, for VMware and others.
    Ova,
    /// A machine beside its disk, for VMware Workstation and Fusion.
    Vmx,
}

/// Formats known to other tools by these names, but not supported here.
const FOREIGN: &[&str] = &[
    "bochs",
    "cloop",
    "dmg",
    "e01",
    "ewf",
    "ovf",
    "parallels",
    "qcow",
    "qcow2",
    "qed",
    "sesparse",
    "vdi",
    "vhd",
    "vhdx",
    "vma",
    "vpc",
];

/// The names of the input formats.
pub const READ: &str = "raw, vmdk or bundle";
/// The names of the output formats.
pub const WRITTEN: &str = "raw, vmdk, vmdk-stream, ova or vmx";

/// Parses the input format. Without a name, it is detected from the file.
pub fn read_format(name: Option<&str>) -> Result<Option<Format>, Failure> {
    match name.map(str::to_lowercase).as_deref() {
        None => Ok(None),
        Some("raw") => Ok(Some(Format::Disk(DiskFormat::Raw))),
        Some("vmdk") => Ok(Some(Format::Disk(DiskFormat::Vmdk))),
        Some("bundle") => Ok(Some(Format::Bundle)),
        Some("vmdk-stream") => {
            Err(Failure::Usage("--format vmdk reads every kind of VMDK, including streams".into()))
        }
        Some(name @ ("ova" | "vmx")) => Err(Failure::ForeignFormat { format: name.into(), verb: "read" }),
        Some(name) => Err(unknown(name, "read", READ)),
    }
}

/// Parses the output format; raw by default.
pub fn write_format(name: Option<&str>) -> Result<OutFormat, Failure> {
    match name.map(str::to_lowercase).as_deref() {
        None | Some("raw") => Ok(OutFormat::Raw),
        Some("vmdk") => Ok(OutFormat::Vmdk),
        Some("vmdk-stream") => Ok(OutFormat::VmdkStream),
        Some("ova") => Ok(OutFormat::Ova),
        Some("vmx") => Ok(OutFormat::Vmx),
        Some("bundle") => Err(Failure::Usage("bundles are made with `melv save REF... FILE.melv`".into())),
        Some(name) => Err(unknown(name, "write", WRITTEN)),
    }
}

fn unknown(name: &str, verb: &'static str, expected: &str) -> Failure {
    if FOREIGN.contains(&name) {
        Failure::ForeignFormat { format: name.into(), verb }
    } else {
        Failure::Usage(format!("--format {name:?} is unknown, expected {expected}"))
    }
}
