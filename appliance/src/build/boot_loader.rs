//! The programs and files that start a disk, out of their packages.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{
    closure::lookup::resolve,
    contents::{Contents, read},
    lock::Package,
    tree::{Content, Kind, Tree},
};

use super::{
    BuildError, Options,
    unpack::{Archives, Sources},
};

/// systemd-boot, of the package `systemd-boot-efi`.
const UEFI_LOADER: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
/// Code of the MBR that starts the partition that is marked, of the package `syslinux-common`.
const BOOT_CODE: &str = "/usr/lib/syslinux/mbr/gptmbr.bin";
const SYSLINUX: &str = "/usr/bin/syslinux";
const MTOOLS: &str = "/usr/bin/mtools";
/// The C library that these programs were linked against, and the program that starts others with it: this machine may
/// have an older one.
const LIBRARIES: [&str; 2] = ["libc.so.6", "ld-linux-x86-64.so.2"];
const LIBRARY_FOLDER: &str = "/usr/lib/x86_64-linux-gnu";
/// Largest of these files in bytes.
const MAX_FILE: u64 = 16 << 20;

/// The boot loaders of a disk.
#[derive(Debug)]
pub(super) struct BootLoader {
    /// systemd-boot.
    pub(super) uefi: Option<Content>,
    /// Programs and boot code for a BIOS.
    pub(super) bios: Option<Bios>,
    /// Newest time of the packages' files, in seconds since 1970.
    pub(super) newest: Option<i64>,
}

/// Programs and boot code for a BIOS, in a temporary folder.
#[derive(Debug)]
pub(super) struct Bios {
    pub(super) boot_code: Vec<u8>,
    pub(super) syslinux: PathBuf,
    pub(super) mtools: PathBuf,
    /// Folder with their C library.
    pub(super) libraries: PathBuf,
    /// Holds the folder with the programs.
    _folder: tempfile::TempDir,
}

/// Takes the boot loaders out of their packages.
pub(super) fn take(
    packages: Vec<(&Package, File)>,
    uefi: bool,
    bios: bool,
    options: &Options,
) -> Result<BootLoader, BuildError> {
    let mut archives = Archives::new(&options.temporary)?;
    for (package, file) in packages {
        archives.package(package.name.as_str(), file)?;
    }
    let sources = archives.finish();
    let loader = uefi.then(|| file(&sources, UEFI_LOADER).map(Content::Bytes)).transpose()?;
    let bios = bios.then(|| programs(&sources, options)).transpose()?;
    Ok(BootLoader { uefi: loader, bios, newest: sources.newest() })
}

fn programs(sources: &Sources, options: &Options) -> Result<Bios, BuildError> {
    let boot_code = file(sources, BOOT_CODE)?;
    let folder = tempfile::Builder::new().prefix("melv-boot-").tempdir_in(&options.temporary);
    let folder = folder.map_err(BuildError::io(&options.temporary))?;
    let write = |path: &str, name: &str| {
        let host = folder.path().join(name);
        fs::write(&host, file(sources, path)?).map_err(BuildError::io(&host))?;
        fs::set_permissions(&host, fs::Permissions::from_mode(0o700)).map_err(BuildError::io(&host))?;
        Ok::<PathBuf, BuildError>(host)
    };
    let (syslinux, mtools) = (write(SYSLINUX, "syslinux")?, write(MTOOLS, "mtools")?);
    let libraries = folder.path().join("lib");
    fs::create_dir(&libraries).map_err(BuildError::io(&libraries))?;
    for name in LIBRARIES {
        write(&format!("{LIBRARY_FOLDER}/{name}"), &format!("lib/{name}"))?;
    }
    Ok(Bios { boot_code, syslinux, mtools, libraries, _folder: folder })
}

fn file(sources: &Sources, path: &str) -> Result<Vec<u8>, BuildError> {
    content(&sources.tree, &sources.spool, path, MAX_FILE)
}

fn content(tree: &Tree, contents: &dyn Contents, path: &str, limit: u64) -> Result<Vec<u8>, BuildError> {
    let missing = || BuildError::MissingFile { path: path.into(), role: "the boot loader" };
    let found = resolve(tree, path.as_bytes()).map_err(|_| missing())?;
    match &tree.get(found.id).kind {
        Kind::File(content) if content.len() <= limit => {
            read(content, contents).map_err(BuildError::io(Path::new(path)))
        }
        _ => Err(missing()),
    }
}
