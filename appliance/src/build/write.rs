//! The disk of a plan.

use std::fs::File;

use crate::{
    disk::{self, Bios, BootParts, Place},
    erofs,
    record::{APPLIANCE_KEY, BOOT_KEY, BootRecord, FilePlace, LOCK_KEY, RecordError},
    sha256::Sha256,
    tree::Content,
};

use super::{BuildError, Options, Plan};

/// Words of every command line, behind the root: a screen and a serial line, few words, and no check of a timer that
/// emulated machines fail under load. Linux itself leaves that check out where it knows the hypervisor.
const COMMAND_LINE: &str = "rootfstype=erofs ro console=tty0 console=ttyS0,115200 quiet no_timer_check";
/// Label of the root file system.
const LABEL: &str = "melv-root";
/// Bytes of an image's metadata that are left for all others.
const METADATA_BYTES: usize = (64 << 10) - 1024;

/// A disk that was written, with the records of it.
#[derive(Debug, Clone)]
pub struct Disk {
    /// Size in bytes.
    pub size_bytes: u64,
    /// Metadata of the image: keys and values.
    pub metadata: Vec<(String, String)>,
    /// Bytes of the kernel and its initrd.
    pub kernel_bytes: u64,
}

impl Plan {
    /// Writes the disk into an empty file. Runs of zeros become holes.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    pub fn write(&self, options: &Options, file: &File) -> Result<Disk, BuildError> {
        let volume = erofs::Volume { label: LABEL.into(), epoch: self.time };
        let root = erofs::Plan::new(&self.tree, &volume).map_err(disk::DiskError::from)?;
        let kernel = Content::Bytes(self.kernel.kernel.clone());
        let initrd = self.kernel.initrd.clone().map(Content::Bytes);
        let bios = self.boot_loader.bios.as_ref();
        let parts = BootParts {
            kernel: &kernel,
            initrd: initrd.as_ref(),
            uefi: self.boot_loader.uefi.as_ref(),
            bios: bios.map(|bios| Bios {
                boot_code: &bios.boot_code,
                syslinux: &bios.syslinux,
                mtools: &bios.mtools,
                libraries: Some(&bios.libraries),
            }),
            command_line: &self.command_line(),
        };
        let written = disk::write(&root, &self.spool, &parts, self.time, &options.temporary, file)?;
        let place = |place: &Place| FilePlace {
            offset: place.offset,
            length: place.length,
            blake3: blake3::Hash::from_bytes(place.blake3).to_string(),
        };
        let initrd = written.initrd.as_ref().map(place);
        let kernel_bytes = written.kernel.length + initrd.as_ref().map_or(0, |place| place.length);
        let boot =
            BootRecord::new(place(&written.kernel), initrd, written.command_line, written.root.to_string());
        let metadata = self.metadata(&boot)?;
        Ok(Disk { size_bytes: written.size_bytes, metadata, kernel_bytes })
    }

    fn command_line(&self) -> String {
        let more = &self.declaration.kernel.command_line;
        if more.is_empty() { COMMAND_LINE.into() } else { format!("{COMMAND_LINE} {more}") }
    }

    /// Returns the metadata of the image.
    fn metadata(&self, boot: &BootRecord) -> Result<Vec<(String, String)>, RecordError> {
        let boot = boot.to_json()?;
        let lock = format!("sha256:{}", Sha256::of(self.lock.to_toml().as_bytes()));
        let used = boot.len() + lock.len() + APPLIANCE_KEY.len() + BOOT_KEY.len() + LOCK_KEY.len();
        let limit = METADATA_BYTES.saturating_sub(used);
        let appliance = self.appliance().to_json(limit)?;
        Ok(vec![(APPLIANCE_KEY.into(), appliance), (BOOT_KEY.into(), boot), (LOCK_KEY.into(), lock)])
    }
}
