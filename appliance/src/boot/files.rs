//! The files of the EFI system partition.

use std::borrow::Cow;

use super::cmdline::CommandLine;
use super::error::BootError;
use super::paths::{INITRD, KERNEL};
use crate::fat;
use crate::tree::Content;

/// Path at which UEFI firmware of x86-64 looks for a boot loader on a disk that it does not know (UEFI 2.10, 3.5.1.1).
const UEFI_LOADER: &str = "EFI/BOOT/BOOTX64.EFI";

/// systemd-boot starts its entry at once, and leaves the screen in the mode of the firmware.
const LOADER_CONFIG: &str = "timeout 0\ndefault melv.conf\nconsole-mode keep\n";

/// Files that the caller has.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The kernel, a bzImage.
    pub kernel: &'a Content,
    /// The initrd, where the kernel needs one.
    pub initrd: Option<&'a Content>,
    /// systemd-boot (`systemd-bootx64.efi`), where UEFI starts the disk.
    pub uefi: Option<&'a Content>,
    /// Whether a BIOS starts the disk.
    pub bios: bool,
}

/// The files of the EFI system partition: paths and contents.
#[derive(Debug, Clone)]
pub struct Files<'a>(Vec<(&'static str, Cow<'a, Content>)>);

impl<'a> Files<'a> {
    /// Makes the boot loaders' files and puts them beside those of the caller.
    ///
    /// # Errors
    ///
    /// Fails where no firmware could start the disk, or where a file of the caller is empty.
    pub fn new(parts: &Parts<'a>, cmdline: &CommandLine) -> Result<Self, BootError> {
        let given = [(KERNEL, Some(parts.kernel)), (INITRD, parts.initrd), (UEFI_LOADER, parts.uefi)];
        let given = given.into_iter().filter_map(|(path, content)| Some((path, content?)));
        let mut files: Vec<_> = given.map(|(path, content)| (path, Cow::Borrowed(content))).collect();
        if let Some((path, _)) = files.iter().find(|(_, content)| content.is_empty()) {
            return Err(BootError::EmptyFile { path });
        }
        let mut put = |path, text: String| files.push((path, Cow::Owned(Content::Bytes(text.into_bytes()))));
        if parts.uefi.is_some() {
            put("loader/loader.conf", LOADER_CONFIG.to_owned());
            put("loader/entries/melv.conf", systemd_boot_entry(parts.initrd.is_some(), cmdline));
        }
        if parts.bios {
            put("syslinux.cfg", syslinux_config(parts.initrd.is_some(), cmdline));
        }
        if parts.uefi.is_none() && !parts.bios {
            return Err(BootError::NoFirmware);
        }
        Ok(Self(files))
    }

    /// Returns the files for a volume.
    #[must_use]
    pub fn as_fat(&self) -> Vec<fat::File<'_>> {
        self.0.iter().map(|(path, content)| fat::File { path, content }).collect()
    }

    /// Returns files of the same paths and sizes that hold zeros: they lie on a volume at the same places.
    #[must_use]
    pub fn hollow(&self) -> Files<'static> {
        let zeros = |content: &Content| Cow::Owned(Content::Zeros { len: content.len() });
        Files(self.0.iter().map(|(path, content)| (*path, zeros(content))).collect())
    }
}

/// Returns the entry of systemd-boot: type 1 of the UAPI group's boot loader specification.
fn systemd_boot_entry(has_initrd: bool, cmdline: &CommandLine) -> String {
    let initrd = if has_initrd { format!("initrd /{INITRD}\n") } else { String::new() };
    format!("title melv\nlinux /{KERNEL}\n{initrd}options {cmdline}\n")
}

fn syslinux_config(has_initrd: bool, cmdline: &CommandLine) -> String {
    let initrd = if has_initrd { format!(" INITRD /{INITRD}\n") } else { String::new() };
    let kernel = format!("DEFAULT melv\nPROMPT 0\nTIMEOUT 0\nLABEL melv\n LINUX /{KERNEL}\n");
    format!("{kernel}{initrd} APPEND {cmdline}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpt::Guid;

    fn texts(files: &Files<'_>) -> Vec<(&'static str, String)> {
        let text = |content: &Content| match content {
            Content::Bytes(bytes) => String::from_utf8(bytes.clone()).unwrap(),
            other => format!("{other:?}"),
        };
        files.0.iter().map(|(path, content)| (*path, text(content))).collect()
    }

    #[test]
    fn each_firmware_has_its_files() {
        let [kernel, initrd, uefi] = ["k", "i", "u"].map(|text| Content::Bytes(text.into()));
        let cmdline = CommandLine::new(Guid([1; 16]), "quiet").unwrap();
        let parts = Parts { kernel: &kernel, initrd: Some(&initrd), uefi: Some(&uefi), bios: true };
        let options = "root=PARTUUID=01010101-0101-0101-0101-010101010101 quiet";
        let both = [
            ("melv/vmlinuz", "k".to_owned()),
            ("melv/initrd", "i".to_owned()),
            ("EFI/BOOT/BOOTX64.EFI", "u".to_owned()),
            ("loader/loader.conf", LOADER_CONFIG.to_owned()),
            (
                "loader/entries/melv.conf",
                format!("title melv\nlinux /melv/vmlinuz\ninitrd /melv/initrd\noptions {options}\n"),
            ),
            (
                "syslinux.cfg",
                format!(
                    "DEFAULT melv\nPROMPT 0\nTIMEOUT 0\nLABEL melv\n LINUX /melv/vmlinuz\n INITRD /melv/initrd\n \
                     APPEND {options}\n"
                ),
            ),
        ];
        assert_eq!(texts(&Files::new(&parts, &cmdline).unwrap()), both);
        let bios = Files::new(&Parts { uefi: None, initrd: None, ..parts }, &cmdline).unwrap();
        let paths: Vec<_> = texts(&bios).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["melv/vmlinuz", "syslinux.cfg"]);
        assert!(!texts(&bios)[1].1.contains("INITRD"));
        let uefi = Files::new(&Parts { bios: false, ..parts }, &cmdline).unwrap();
        assert_eq!(texts(&uefi), both[..5]);
        let none = Files::new(&Parts { bios: false, uefi: None, ..parts }, &cmdline);
        assert!(matches!(none, Err(BootError::NoFirmware)));
    }

    #[test]
    fn an_empty_file_is_refused() {
        let (kernel, empty) = (Content::Bytes(vec![1]), Content::Bytes(Vec::new()));
        let cmdline = CommandLine::new(Guid([1; 16]), "").unwrap();
        for (parts, name) in [
            (Parts { kernel: &empty, initrd: None, uefi: None, bios: true }, KERNEL),
            (Parts { kernel: &kernel, initrd: Some(&empty), uefi: None, bios: true }, INITRD),
            (Parts { kernel: &kernel, initrd: None, uefi: Some(&empty), bios: true }, UEFI_LOADER),
        ] {
            let fault = Files::new(&parts, &cmdline);
            assert!(matches!(fault, Err(BootError::EmptyFile { path }) if path == name));
        }
    }
}
