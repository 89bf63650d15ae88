//! Names of disk formats, as `--format` takes them.

use crate::exit::Failure;

/// A format that a disk is read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The disk's bytes and nothing else.
    Raw,
    /// VMware's, of any kind.
    Vmdk,
    /// An image of a bundle.
    Bundle,
}

/// A format that a disk is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutFormat {
    /// The disk's bytes and nothing else.
    Raw,
    /// VMware's, as a file that grows as it is used: `monolithicSparse`.
    Vmdk,
    /// VMware's, compressed and written front to back: `streamOptimized`.
    VmdkStream,
}

/// Formats that other tools know by these names, and this one does not.
const FOREIGN: &[&str] = &[
    "bochs",
    "cloop",
    "dmg",
    "e01",
    "ewf",
    "ova",
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

/// What the names of formats to read are.
pub const READ: &str = "raw, vmdk or bundle";
/// What the names of formats to write are.
pub const WRITTEN: &str = "raw, vmdk or vmdk-stream";

/// The format asked for by name; without a name, the file is looked at.
pub fn read_format(name: Option<&str>) -> Result<Option<Format>, Failure> {
    match name.map(str::to_lowercase).as_deref() {
        None => Ok(None),
        Some("raw") => Ok(Some(Format::Raw)),
        Some("vmdk") => Ok(Some(Format::Vmdk)),
        Some("bundle") => Ok(Some(Format::Bundle)),
        Some("vmdk-stream") => {
            Err(Failure::Usage("--format vmdk reads every kind of VMDK, streams too".into()))
        }
        Some(name) => Err(unknown(name, "read", READ)),
    }
}

/// The format to write; raw without a name.
pub fn write_format(name: Option<&str>) -> Result<OutFormat, Failure> {
    match name.map(str::to_lowercase).as_deref() {
        None | Some("raw") => Ok(OutFormat::Raw),
        Some("vmdk") => Ok(OutFormat::Vmdk),
        Some("vmdk-stream") => Ok(OutFormat::VmdkStream),
        Some("bundle") => Err(Failure::Usage("bundles are made with `melv save REF... FILE.melv`".into())),
        Some(name) => Err(unknown(name, "write", WRITTEN)),
    }
}

fn unknown(name: &str, verb: &'static str, expected: &str) -> Failure {
    if FOREIGN.contains(&name) {
        Failure::ForeignFormat { format: name.into(), verb }
    } else {
        Failure::Usage(format!("--format {name:?} is not the name of a disk format: {expected}"))
    }
}
