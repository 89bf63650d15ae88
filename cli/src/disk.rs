//! Disks in files: raw disks, VMDKs, and images of bundles.

use std::path::Path;

use melv::RawFile;
use melv::vmdk::{self, Warning};
use melv::{BlockDevice, Container, RefName, StoreError};

use crate::bundle_ref::BundleRef;
use crate::failure::Failure;
use crate::format::Format;
use crate::input_file::metadata;
use crate::log::note;
use crate::naming;
use crate::opened_image::OpenedImage;
use crate::session::Session;

/// A disk in a file or on a block device, in any supported format.
#[derive(Debug)]
pub enum Disk {
    /// A raw disk, with nothing but its bytes, and the warnings of the VMDKs beside it.
    Raw(RawFile, Vec<Warning>),
    /// A VMDK.
    Vmdk(Box<vmdk::Disk>),
    /// An image of a bundle, with its name if the reference gave one.
    Image(Box<OpenedImage>, Option<RefName>),
}

impl Disk {
    /// Opens the disk at `path` in the given format, or else in the one detected from its content.
    pub fn open(
        path: &Path,
        format: Option<Format>,
        pad: bool,
        session: &Session<'_>,
    ) -> Result<Self, Failure> {
        match format {
            None => match BundleRef::of_file(path)? {
                Some(bundle) => Self::of_bundle(&bundle, session),
                None => Self::by_content(path, pad),
            },
            Some(Format::Bundle) => Self::of_bundle(&BundleRef::of_bundle(path)?, session),
            Some(Format::Vmdk) => {
                metadata(path)?;
                Self::of_vmdk(path)
            }
            Some(Format::Raw) => {
                metadata(path)?;
                Ok(Self::Raw(RawFile::open(path, pad)?, Vec::new()))
            }
        }
    }

    fn of_bundle(bundle: &BundleRef, session: &Session<'_>) -> Result<Self, Failure> {
        let found = bundle.image(session)?;
        let name = bundle.name(&found.store);
        Ok(Self::Image(Box::new(found), name))
    }

    fn of_vmdk(path: &Path) -> Result<Self, Failure> {
        Ok(Self::Vmdk(Box::new(vmdk::Disk::open(path).map_err(Failure::of_vmdk)?)))
    }

    fn by_content(path: &Path, pad: bool) -> Result<Self, Failure> {
        metadata(path)?;
        // Detect the format first: a foreign file of an odd size is reported as foreign.
        let padded = RawFile::open(path, true)?;
        match padded.container()? {
            Some(Container::VmdkSparse | Container::VmdkDescriptor) => Self::of_vmdk(path),
            Some(format) => Err(Failure::ForeignFile { path: path.into(), format }),
            None if pad => Ok(Self::Raw(padded, vmdk::neighbours(path))),
            None => Ok(Self::Raw(RawFile::open(path, false)?, vmdk::neighbours(path))),
        }
    }

    /// Returns the device to read.
    pub fn device(&self) -> &dyn BlockDevice {
        match self {
            Self::Raw(raw, _) => raw,
            Self::Vmdk(vmdk) => vmdk.as_ref(),
            Self::Image(found, _) => &found.image,
        }
    }

    /// Returns the size of the disk in bytes, without padding.
    pub fn len(&self) -> u64 {
        match self {
            Self::Raw(raw, _) => raw.file_size(),
            Self::Vmdk(vmdk) => vmdk.size(),
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
            Self::Raw(raw, _) => raw.check_unchanged(),
            Self::Vmdk(vmdk) => vmdk.check_unchanged(),
            Self::Image(..) => Ok(()),
        }
    }

    /// Returns the peculiarities of the disk that are no reason to refuse it.
    pub fn warnings(&self) -> &[Warning] {
        match self {
            Self::Vmdk(vmdk) => vmdk.warnings(),
            Self::Raw(_, warnings) => warnings,
            Self::Image(..) => &[],
        }
    }

    /// Adds the bundle's path to damage in it.
    pub fn told<T>(&self, result: melv::Result<T>) -> Result<T, Failure> {
        match self {
            Self::Image(found, _) => found.told(result),
            Self::Raw(..) | Self::Vmdk(_) => Ok(result?),
        }
    }

    /// Returns the default name of an image of the disk at `path`: its name in the bundle, or one made from
    /// the file's.
    pub fn default_name(&self, path: &Path) -> Option<RefName> {
        match self {
            Self::Image(_, Some(name)) => naming::kept_name(name),
            Self::Image(found, None) => naming::of_file(found.bundle.as_deref().unwrap_or(path)),
            Self::Raw(..) | Self::Vmdk(_) => naming::of_file(path),
        }
    }
}

/// Prints the warnings about a disk and returns them as texts for JSON.
pub fn say_warnings(warnings: &[Warning], session: &Session<'_>) -> Vec<String> {
    let texts: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    if !session.globals.quiet {
        texts.iter().for_each(|text| note(&format!("melv: warning: {text}")));
    }
    texts
}
