//! Disks in files: those of other programs, and images of bundles.

use std::path::Path;

use melv::{BlockDevice, ForeignDisk, Gate, OpenOptions, RefName, StoreError, Warning, open_disk};

use crate::bundle_ref::BundleRef;
use crate::failure::Failure;
use crate::format::Format;
use crate::input_file::metadata;
use crate::log::note;
use crate::naming;
use crate::opened_image::OpenedImage;
use crate::session::Session;

/// The files that a disk names are opened where they lie beside it.
pub const GATE: Gate = Gate::Beside;

/// A disk in a file or on a block device, in any supported format.
#[derive(Debug)]
pub enum InputDisk {
    /// A disk of another program.
    Foreign(Box<dyn ForeignDisk>),
    /// An image of a bundle, with its name if the reference gave one.
    Image(Box<OpenedImage>, Option<RefName>),
}

impl InputDisk {
    /// Opens the disk at `path` in the given format, or else in the one detected from its content.
    pub fn open(
        path: &Path,
        format: Option<Format>,
        pad: bool,
        session: &Session<'_>,
    ) -> Result<Self, Failure> {
        let bundle = match format {
            None => BundleRef::of_file(path)?,
            Some(Format::Bundle) => Some(BundleRef::of_bundle(path)?),
            Some(Format::Disk(_)) => None,
        };
        if let Some(bundle) = bundle {
            let found = bundle.image(session)?;
            let name = bundle.name(&found.images);
            return Ok(Self::Image(Box::new(found), name));
        }
        metadata(path)?;
        let options = OpenOptions { format: format.and_then(Format::of_disk), pad, gate: GATE };
        Ok(Self::Foreign(open_disk(path, &options).map_err(Failure::of_disk)?))
    }

    /// Returns the device to read.
    pub fn device(&self) -> &dyn BlockDevice {
        match self {
            Self::Foreign(disk) => disk.as_ref(),
            Self::Image(found, _) => &found.image,
        }
    }

    /// Returns the size of the disk in bytes, without padding.
    pub fn len(&self) -> u64 {
        match self {
            Self::Foreign(disk) => disk.unpadded_size(),
            Self::Image(found, _) => found.image.size(),
        }
    }

    /// Fails if the size of the disk is not the expected one.
    pub fn check_len(&self, expected: Option<u64>) -> melv::Result<()> {
        match expected {
            Some(expected) if expected != self.len() => Err(StoreError::SizeMismatch {
                object: self.device().name(),
                expected,
                found: Some(self.len()),
            }
            .into()),
            _ => Ok(()),
        }
    }

    /// Fails if a file of the disk was written to since it was opened. Images of bundles need no check: their
    /// data is verified against its ids.
    pub fn check_unchanged(&self) -> melv::Result<()> {
        match self {
            Self::Foreign(disk) => disk.check_unchanged(),
            Self::Image(..) => Ok(()),
        }
    }

    /// Returns the peculiarities of the disk that are no reason to refuse it.
    pub fn warnings(&self) -> &[Warning] {
        match self {
            Self::Foreign(disk) => disk.warnings(),
            Self::Image(..) => &[],
        }
    }

    /// Adds the bundle's path to damage in it.
    pub fn in_bundle<T>(&self, result: melv::Result<T>) -> Result<T, Failure> {
        match self {
            Self::Image(found, _) => found.in_bundle(result),
            Self::Foreign(_) => Ok(result?),
        }
    }

    /// Returns the default name of an image of the disk at `path`: its name in the bundle, or one made from
    /// the file's.
    pub fn default_name(&self, path: &Path) -> Option<RefName> {
        match self {
            Self::Image(_, Some(name)) => naming::kept_name(name),
            Self::Image(found, None) => naming::of_file(found.bundle.as_deref().unwrap_or(path)),
            Self::Foreign(_) => naming::of_file(path),
        }
    }
}

/// Prints the warnings about a disk and returns them as texts for JSON.
pub fn print_warnings(warnings: &[Warning], session: &Session<'_>) -> Vec<String> {
    let texts: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    if !session.globals.quiet {
        texts.iter().for_each(|text| note(&format!("melv: warning: {text}")));
    }
    texts
}
