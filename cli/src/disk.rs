//! Disks in files: raw, VMware's, or an image of a bundle.

use std::path::Path;

use melv::source::RawFile;
use melv::vmdk::{self, Warning};
use melv::{BlockDevice, Container, RefName, StoreError};

use crate::bundle_ref::BundleRef;
use crate::exit::Failure;
use crate::format::Format;
use crate::naming;
use crate::operand::{Found, metadata};
use crate::report::note;
use crate::session::Session;

/// A disk in a file or on a block device, in any format that is read.
#[derive(Debug)]
pub enum Disk {
    /// The disk's bytes and nothing else.
    Raw(RawFile),
    /// VMware's.
    Vmdk(Box<vmdk::Disk>),
    /// An image of a bundle, and its name where it was meant by that.
    Image(Box<Found>, Option<RefName>),
}

impl Disk {
    /// Opens the disk at `path` in the format that it must have, or has by its content.
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
                Ok(Self::Raw(RawFile::open(path, pad)?))
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
        // The format first: a foreign file of an odd size is foreign before it is odd.
        let padded = RawFile::open(path, true)?;
        match padded.container()? {
            Some(Container::VmdkSparse | Container::VmdkDescriptor) => Self::of_vmdk(path),
            Some(format) => Err(Failure::ForeignFile { path: path.into(), format }),
            None if pad => Ok(Self::Raw(padded.beside(path))),
            None => Ok(Self::Raw(RawFile::open(path, false)?.beside(path))),
        }
    }

    /// The disk to be read.
    pub fn device(&self) -> &dyn BlockDevice {
        match self {
            Self::Raw(raw) => raw,
            Self::Vmdk(vmdk) => vmdk.as_ref(),
            Self::Image(found, _) => &found.image,
        }
    }

    /// Bytes of the disk as the file has them: without those that pad it.
    pub fn len(&self) -> u64 {
        match self {
            Self::Raw(raw) => raw.file_size(),
            Self::Vmdk(vmdk) => vmdk.size(),
            Self::Image(found, _) => found.image.size(),
        }
    }

    /// Fails where the disk has another length than it must have.
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

    /// Fails where a file of the disk was written to since it was opened. What comes out of a bundle
    /// was checked against its ids.
    pub fn check_unchanged(&self) -> melv::Result<()> {
        match self {
            Self::Raw(raw) => raw.check_unchanged(),
            Self::Vmdk(vmdk) => vmdk.check_unchanged(),
            Self::Image(..) => Ok(()),
        }
    }

    /// What is odd about the disk and no reason to refuse it.
    pub fn warnings(&self) -> &[Warning] {
        match self {
            Self::Vmdk(vmdk) => vmdk.warnings(),
            Self::Raw(raw) => raw.warnings(),
            Self::Image(..) => &[],
        }
    }

    /// What came of reading the disk, with the bundle's path where damage has none.
    pub fn told<T>(&self, result: melv::Result<T>) -> Result<T, Failure> {
        match self {
            Self::Image(found, _) => found.told(result),
            Self::Raw(_) | Self::Vmdk(_) => Ok(result?),
        }
    }

    /// The name to give the image of the disk at `path`: the one that it has in its bundle, or one
    /// made from the file's.
    pub fn default_name(&self, path: &Path) -> Option<RefName> {
        match self {
            Self::Image(_, Some(name)) => naming::kept_name(name),
            Self::Image(found, None) => naming::of_file(found.bundle.as_deref().unwrap_or(path)),
            Self::Raw(_) | Self::Vmdk(_) => naming::of_file(path),
        }
    }
}

/// Whether a file or block device has no bytes at all, whatever format it is to have.
pub fn is_empty(path: &Path) -> bool {
    RawFile::open(path, true).is_ok_and(|file| file.file_size() == 0)
}

/// Says what is odd about a disk; gives it as JSON, too.
pub fn say_warnings(warnings: &[Warning], session: &Session<'_>) -> Vec<String> {
    let texts: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    if !session.globals.quiet {
        texts.iter().for_each(|text| note(&format!("melv: warning: {text}")));
    }
    texts
}
