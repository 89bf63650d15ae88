//! What an argument means: a disk to read, or a reference or a file.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use melv::source::RawFile;
use melv::{Error, Image, ImageRef, Store};

use crate::exit::Failure;

/// What a format's name is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// To read a disk in it.
    Read,
    /// To write a disk in it.
    Write,
}

/// Formats that other tools know by these names, and this one does not yet.
const FOREIGN: &[&str] = &[
    "cloop",
    "dmg",
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
    "vmdk",
    "vpc",
];

/// Whether raw is asked for by name; without a name, whether that is the format is looked at.
pub fn is_raw_named(format: Option<&str>, wanted: Use) -> Result<bool, Failure> {
    match format {
        None => Ok(false),
        Some("raw") => Ok(true),
        Some(name) if FOREIGN.contains(&name) => {
            let verb = if wanted == Use::Read { "read" } else { "write" };
            Err(Failure::ForeignFormat { format: name.into(), verb })
        }
        Some(name) => Err(Failure::Usage(format!("--format {name:?} is not the name of a disk format: raw"))),
    }
}

/// Opens a file as a raw disk; without `as_raw`, only if it is in no format that is known.
pub fn open_disk(path: &Path, as_raw: bool, pad: bool) -> Result<RawFile, Failure> {
    metadata(path)?;
    // The format first: a foreign file of an odd size is foreign before it is odd.
    let padded = RawFile::open(path, true)?;
    match padded.foreign_format()? {
        Some(format) if !as_raw => Err(Failure::ForeignFile { path: path.into(), format }),
        _ if pad => Ok(padded),
        _ => Ok(RawFile::open(path, false)?),
    }
}

/// What the system says about an input file.
pub fn metadata(path: &Path) -> Result<Metadata, Failure> {
    std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            Failure::NoFile { path: path.into() }
        }
        _ => Error::io("look at", path.display().to_string(), error).into(),
    })
}

/// An argument that may be a reference or a file.
#[derive(Debug)]
pub enum Operand {
    /// An image of the store.
    Image(Box<Image>),
    /// A file.
    File(PathBuf),
}

impl Operand {
    /// An image where the text resolves to one in the store, if there is a store; else a file
    /// where one is there.
    pub fn find(text: &str, store: Result<Store, Failure>) -> Result<Self, Failure> {
        let path = Path::new(text);
        let found = store.and_then(|store| Ok(store.image(&text.parse()?)?));
        match found {
            Ok(image) => Ok(Self::Image(Box::new(image))),
            Err(_) if text.contains('/') => metadata(path).map(|_| Self::File(path.into())),
            Err(failure) if !means_absent(&failure) => Err(failure),
            Err(_) if path.exists() => Ok(Self::File(path.into())),
            Err(Failure::Melv(Error::NotFound { .. } | Error::Invalid { .. })) => {
                Err(Failure::NoOperand { text: text.into() })
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Whether a reference was not found, rather than found and bad.
fn means_absent(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Melv(
            Error::NotFound { .. }
                | Error::Invalid { .. }
                | Error::NoStore { .. }
                | Error::Unsupported { .. }
        )
    )
}

/// Opens the image of a reference.
pub fn image(store: &Store, text: &str) -> Result<Image, Failure> {
    Ok(store.image(&text.parse::<ImageRef>()?)?)
}
