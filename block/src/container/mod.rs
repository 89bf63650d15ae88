//! Detection of container formats by their magic numbers, in one table.
//!
//! A raw disk has no magic number, so any file without one is taken as raw. No boot sector, partition table
//! or file system begins with a mark listed here. Formats that raw disks do contain have no row: file systems
//! (ISO 9660, squashfs) and encrypted volumes (LUKS).

pub mod vmdk;

/// The most bytes [`Container::of`] reads at the start of a file. All marks but one lie in the first 1024;
/// comments may precede the mark of a VMDK descriptor.
pub const FIRST_LEN: usize = 64 << 10;
/// The most bytes [`Container::of`] reads at the end of a file.
pub const LAST_LEN: usize = 1024;

/// A format that contains a disk, or a file that is not a disk at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Container {
    /// A melv bundle.
    Bundle,
    /// A hosted sparse extent, streams included: `KDMV`.
    VmdkSparse,
    /// A VMDK descriptor, which is text.
    VmdkDescriptor,
    /// ESX's copy-on-write extent: `COWD`.
    VmdkCowd,
    /// ESX's space-efficient extent.
    VmdkSeSparse,
    /// QEMU's first copy-on-write format.
    Qcow,
    /// QEMU's format.
    Qcow2,
    /// QEMU's enhanced disk.
    Qed,
    /// The older format of Virtual PC and Hyper-V, dynamic or differencing: a copy of the footer comes first.
    Vhd,
    /// The same format, fixed: the raw disk, then a footer of 512 bytes, and no copy in front.
    VhdFixed,
    /// The same with a footer of 511 bytes, as written by Virtual PC before 2004.
    VhdFixedOld,
    /// Hyper-V's format.
    Vhdx,
    /// VirtualBox's format.
    Vdi,
    /// Parallels' format.
    Parallels,
    /// Bochs' format.
    Bochs,
    /// Proxmox's backup of a virtual machine.
    Vma,
    /// Apple's compressed disk image.
    Dmg,
    /// Apple's encrypted disk image.
    DmgEncrypted,
    /// Apple's growable images: `.sparseimage`, ASIF.
    AppleSparse,
    /// The compressed loop device of Knoppix.
    Cloop,
    /// An EnCase evidence image, version 1 or 2.
    Ewf,
    /// An Advanced Forensic Format image.
    Aff,
    /// Android's sparse image.
    AndroidSparse,
    /// A Partclone image of a file system.
    Partclone,
    /// A Windows imaging file.
    Wim,
    /// A tar archive, which includes an OVA.
    Tar,
    /// A zip archive.
    Zip,
    /// A 7-Zip archive.
    SevenZip,
    /// A RAR archive.
    Rar,
    /// Compressed by gzip.
    Gzip,
    /// Compressed by compress.
    Compress,
    /// Compressed by xz.
    Xz,
    /// Compressed by lzma or `xz --format=lzma`.
    Lzma,
    /// Compressed by bzip2.
    Bzip2,
    /// Compressed by zstd.
    Zstd,
    /// Compressed by lz4.
    Lz4,
    /// Compressed by lzip.
    Lzip,
    /// Compressed by lzop.
    Lzop,
    /// Compressed by Snappy, framed.
    Snappy,
    /// An XML file: an OVF, or the settings of a virtual machine.
    Xml,
    /// A web page, often left by a failed download.
    WebPage,
    /// The settings of a VMware machine: `.vmx`.
    Vmx,
}

/// Offset, mark, format.
const MARKS: &[(usize, &[u8], Container)] = &[
    (0, b"melvbndl", Container::Bundle),
    (0, b"QFI\xfb\0\0\0\x01", Container::Qcow),
    (0, b"QFI\xfb", Container::Qcow2),
    (0, b"QED\0", Container::Qed),
    (0, b"conectix", Container::Vhd),
    (0, b"vhdxfile", Container::Vhdx),
    (0x40, b"\x7f\x10\xda\xbe", Container::Vdi),
    (0, b"WithoutFreeSpace", Container::Parallels),
    (0, b"WithouFreSpacExt", Container::Parallels),
    (0, b"Bochs Virtual HD Image", Container::Bochs),
    (0, b"VMA\0\0\0\0\x01", Container::Vma),
    (0, b"encrcdsa", Container::DmgEncrypted),
    (0, b"sprs\0\0\0", Container::AppleSparse),
    (0, b"shdw\0\0\0\x01", Container::AppleSparse),
    (0, b"EVF\t\r\n\xff\0", Container::Ewf),
    (0, b"LVF\t\r\n\xff\0", Container::Ewf),
    (0, b"EVF2\r\n\x81\0", Container::Ewf),
    (0, b"LEF2\r\n\x81\0", Container::Ewf),
    (0, b"AFF10\r\n\0", Container::Aff),
    (0, b"AFF1\x0d\x0a\0", Container::Aff),
    (0, b"\x3a\xff\x26\xed\x01\0", Container::AndroidSparse),
    (0, b"partclone-image", Container::Partclone),
    (0, b"MSWIM\0\0\0", Container::Wim),
    (257, b"ustar", Container::Tar),
    (0, b"PK\x03\x04", Container::Zip),
    (0, b"PK\x05\x06", Container::Zip),
    (0, b"PK\x07\x08", Container::Zip),
    (0, b"7z\xbc\xaf\x27\x1c", Container::SevenZip),
    (0, b"Rar!\x1a\x07", Container::Rar),
    (0, b"\x1f\x8b\x08", Container::Gzip),
    (0, b"\xfd7zXZ\0", Container::Xz),
    (0, b"\x28\xb5\x2f\xfd", Container::Zstd),
    (0, b"\x04\x22\x4d\x18", Container::Lz4),
    (0, b"\x02\x21\x4c\x18", Container::Lz4),
    (0, b"\x03\x21\x4c\x18", Container::Lz4),
    (0, b"LZIP\x01", Container::Lzip),
    (0, b"\x89LZO\0\r\n\x1a\n", Container::Lzop),
    (0, b"\xff\x06\0\0sNaPpY", Container::Snappy),
];

/// Marks at the end of a file. For a DMG: `koly`, the trailer's version and its length.
const DMG_TRAILER: &[u8] = b"koly\0\0\0\x04\0\0\x02\0";
const DMG_ENCRYPTED_TRAILER: &[u8] = b"cdsaencr";
const VHD_FOOTER: &[u8] = b"conectix";

impl Container {
    /// Returns the container of a file that begins with `first` and ends with `last`, or `None` for a raw
    /// disk. Pass [`FIRST_LEN`] and [`LAST_LEN`] bytes, or the whole file if it is smaller. For a pipe,
    /// `last` may be empty; formats marked only at the end are then not detected. Pure and fast: a few
    /// comparisons.
    #[must_use]
    pub fn of(first: &[u8], last: &[u8]) -> Option<Self> {
        of_vmdk(first)
            .or_else(|| MARKS.iter().find(|(at, mark, _)| is_at(first, *at, mark)).map(|row| row.2))
            .or_else(|| of_looser_mark(first))
            .or_else(|| of_text(first))
            .or_else(|| of_end(last))
    }

    /// Returns the name for messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.names().1
    }

    /// Returns one lower-case word, for programs.
    #[must_use]
    pub fn token(self) -> &'static str {
        self.names().0
    }

    /// Whether it is a VMware format, supported or not.
    #[must_use]
    pub fn is_vmdk(self) -> bool {
        matches!(self, Self::VmdkSparse | Self::VmdkDescriptor | Self::VmdkCowd | Self::VmdkSeSparse)
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Bundle => ("melv", "melv bundle"),
            Self::VmdkSparse => ("vmdk", "VMDK"),
            Self::VmdkDescriptor => ("vmdk", "VMDK (descriptor)"),
            Self::VmdkCowd => ("vmdk", "VMDK (ESX copy-on-write)"),
            Self::VmdkSeSparse => ("vmdk", "VMDK (seSparse)"),
            Self::Qcow => ("qcow", "qcow version 1"),
            Self::Qcow2 => ("qcow2", "qcow2"),
            Self::Qed => ("qed", "QED"),
            Self::Vhd => ("vhd", "VHD"),
            Self::VhdFixed | Self::VhdFixedOld => ("vhd", "VHD (fixed)"),
            Self::Vhdx => ("vhdx", "VHDX"),
            Self::Vdi => ("vdi", "VDI"),
            Self::Parallels => ("parallels", "Parallels"),
            Self::Bochs => ("bochs", "Bochs"),
            Self::Vma => ("vma", "VMA (a Proxmox backup)"),
            Self::Dmg => ("dmg", "DMG (Apple disk image)"),
            Self::DmgEncrypted => ("dmg", "DMG (Apple disk image, encrypted)"),
            Self::AppleSparse => ("sparseimage", "Apple sparse image"),
            Self::Cloop => ("cloop", "cloop"),
            Self::Ewf => ("ewf", "EWF (EnCase evidence)"),
            Self::Aff => ("aff", "AFF"),
            Self::AndroidSparse => ("simg", "Android sparse image"),
            Self::Partclone => ("partclone", "Partclone"),
            Self::Wim => ("wim", "WIM"),
            Self::Tar => ("tar", "tar or OVA"),
            Self::Zip => ("zip", "zip"),
            Self::SevenZip => ("7z", "7z"),
            Self::Rar => ("rar", "RAR"),
            Self::Gzip => ("gzip", "gzip"),
            Self::Compress => ("compress", "compress"),
            Self::Xz => ("xz", "xz"),
            Self::Lzma => ("lzma", "lzma"),
            Self::Bzip2 => ("bzip2", "bzip2"),
            Self::Zstd => ("zstd", "zstd"),
            Self::Lz4 => ("lz4", "lz4"),
            Self::Lzip => ("lzip", "lzip"),
            Self::Lzop => ("lzop", "lzop"),
            Self::Snappy => ("snappy", "Snappy"),
            Self::Xml => ("xml", "XML (an OVF or a machine's settings, no disk)"),
            Self::WebPage => ("html", "HTML (a web page, no disk)"),
            Self::Vmx => ("vmx", "VMX (a machine's settings, no disk)"),
        }
    }
}

fn is_at(bytes: &[u8], offset: usize, mark: &[u8]) -> bool {
    bytes.get(offset..).is_some_and(|rest| rest.starts_with(mark))
}

fn of_vmdk(first: &[u8]) -> Option<Container> {
    Some(match vmdk::mark(first)? {
        vmdk::Mark::Sparse => Container::VmdkSparse,
        vmdk::Mark::Descriptor => Container::VmdkDescriptor,
        vmdk::Mark::EsxSparse => Container::VmdkCowd,
        vmdk::Mark::SeSparse => Container::VmdkSeSparse,
    })
}

/// Matches marks that are too short for a plain comparison.
fn of_looser_mark(first: &[u8]) -> Option<Container> {
    match *first {
        // A block of data, or the end mark of an empty file.
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', b'&', b'S', b'Y', ..]
        | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, b'r', b'E', b'8', b'P', 0x90, ..] => Some(Container::Bzip2),
        // Skippable frames: pzstd and seekable files begin with one.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Container::Zstd),
        // Bits 5 and 6 are unused; the maximum code length is 9 to 16.
        [0x1f, 0x9d, flags, ..] if flags & 0x60 == 0 && (9..=16).contains(&(flags & 0x1f)) => {
            Some(Container::Compress)
        }
        _ if is_lzma(first) => Some(Container::Lzma),
        _ if is_old_tar(first) => Some(Container::Tar),
        _ => None,
    }
}

/// Whether the file begins with an lzma header of 13 bytes. It needs usual properties and a dictionary of 2^n
/// or 2^n + 2^(n-1) bytes. Its length must be unknown or below 256 GiB.
fn is_lzma(first: &[u8]) -> bool {
    let Some(&[0x5d, a, b, c, d, ref len @ ..]) = first.first_chunk::<13>() else {
        return false;
    };
    let dictionary = u32::from_le_bytes([a, b, c, d]);
    let lowest = dictionary & dictionary.wrapping_neg();
    let is_step = dictionary >= 4096 && (dictionary == lowest || dictionary / 3 == lowest);
    let len = u64::from_le_bytes(*len);
    is_step && (len == u64::MAX || len < 1 << 38)
}

/// Whether the first 512 bytes are a tar header from before `ustar`: a name, octal numbers and a matching
/// checksum.
fn is_old_tar(first: &[u8]) -> bool {
    let Some(header) = first.first_chunk::<512>() else {
        return false;
    };
    let number = |at: std::ops::Range<usize>| {
        let text = header[at].trim_ascii_start();
        let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
        let ends = text[end..].iter().all(|byte| matches!(byte, 0 | b' '));
        let digits = std::str::from_utf8(&text[..end]).ok().filter(|_| ends)?;
        u64::from_str_radix(digits, 8).ok()
    };
    let blanked =
        header.iter().enumerate().map(|(at, &byte)| if (148..156).contains(&at) { b' ' } else { byte });
    let sum: u64 = blanked.map(u64::from).sum();
    header[0].is_ascii_graphic()
        && number(148..156) == Some(sum)
        && number(100..108).is_some()
        && number(124..136).is_some()
}

/// Matches text files that users mistake for disks.
fn of_text(first: &[u8]) -> Option<Container> {
    const SCRIPT: &[u8] = b"#!/bin/sh\n#V";
    if first.starts_with(SCRIPT) && contains(&first[..first.len().min(160)], b"cloop") {
        return Some(Container::Cloop);
    }
    let text = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first).trim_ascii_start();
    let begins = |mark: &[u8]| text.get(..mark.len()).is_some_and(|found| found.eq_ignore_ascii_case(mark));
    if begins(b"<!doctype html") || begins(b"<html") {
        Some(Container::WebPage)
    } else if begins(b"<?xml") || begins(b"<envelope") || begins(b"<virtualbox") {
        Some(Container::Xml)
    } else if begins(b"#!/usr/bin/vmware") || begins(b".encoding = \"") || begins(b"config.version = \"") {
        Some(Container::Vmx)
    } else {
        None
    }
}

/// Matches formats that carry their mark at the end.
fn of_end(last: &[u8]) -> Option<Container> {
    let from_end =
        |len: usize| last.len().checked_sub(len).and_then(|start| last.get(start..)).unwrap_or(&[]);
    if from_end(512).starts_with(VHD_FOOTER) {
        Some(Container::VhdFixed)
    } else if from_end(511).starts_with(VHD_FOOTER) {
        Some(Container::VhdFixedOld)
    } else if contains(from_end(LAST_LEN.min(last.len())), DMG_TRAILER) {
        Some(Container::Dmg)
    } else if last.ends_with(DMG_ENCRYPTED_TRAILER) {
        Some(Container::DmgEncrypted)
    } else {
        None
    }
}

fn contains(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.windows(mark.len()).any(|window| window == mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: usize, mark: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 2048];
        bytes[offset..offset + mark.len()].copy_from_slice(mark);
        bytes
    }

    #[test]
    fn every_mark_names_its_format_and_no_mark_hides_another() {
        for &(offset, mark, container) in MARKS {
            assert_eq!(Container::of(&at(offset, mark), &[]), Some(container), "{mark:?}");
            let mut cut = at(offset, mark);
            cut.truncate(offset + mark.len() - 1);
            assert_ne!(Container::of(&cut, &[]), Some(container), "{mark:?} cut");
        }
        for (first, container) in [
            (&b"KDMV\x01"[..], Container::VmdkSparse),
            (b"COWD\x01", Container::VmdkCowd),
            (b"\xbe\xba\xfe\xca\0\0\0\0\x01\0\0\0\x02\0\0\0", Container::VmdkSeSparse),
            (b"\r\n# disk descriptor file\r\n", Container::VmdkDescriptor),
            (b"QFI\xfb\0\0\0\x03", Container::Qcow2),
            (b"BZh91AY&SY", Container::Bzip2),
            (b"BZh9\x17rE8P\x90", Container::Bzip2),
            (b"\x50\x2a\x4d\x18\x04\0\0\0", Container::Zstd),
            (b"\x1f\x9d\x90", Container::Compress),
            (b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff", Container::Lzma),
            (b"\x5d\0\0\0\x0c\0\0\x10\0\0\0\0\0", Container::Lzma),
            (b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount", Container::Cloop),
            (b"\xef\xbb\xbf  <?xml version=\"1.0\"?><Envelope>", Container::Xml),
            (b"\n<!DOCTYPE HTML><title>404", Container::WebPage),
            (b".encoding = \"UTF-8\"\nconfig.version = \"8\"", Container::Vmx),
        ] {
            assert_eq!(Container::of(first, &[]), Some(container), "{first:?}");
        }
    }

    #[test]
    fn marks_at_the_end_are_told_at_their_place_only() {
        let from_end = |len: usize, mark: &[u8]| at(2048 - len, mark).split_off(1024);
        for (last, container) in [
            (from_end(512, b"conectix"), Some(Container::VhdFixed)),
            (from_end(511, b"conectix"), Some(Container::VhdFixedOld)),
            (from_end(510, b"conectix"), None),
            (from_end(512, DMG_TRAILER), Some(Container::Dmg)),
            (from_end(1023, DMG_TRAILER), Some(Container::Dmg)),
            (from_end(512, b"koly"), None),
            (from_end(8, b"cdsaencr"), Some(Container::DmgEncrypted)),
            (vec![0; 1024], None),
            (vec![0; 3], None),
            (Vec::new(), None),
        ] {
            assert_eq!(Container::of(&[0; 512], &last), container);
        }
    }

    #[test]
    fn short_marks_alone_make_no_format() {
        for first in [
            &b"BZh9"[..],
            b"BZh0\x17rE8P\x90",
            b"\x1f\x8b",
            b"\x1f\x9d\xff",
            b"\x5d\0\0",
            b"\x5d\0\0\x81\0\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x5d\0\0\x80\0\0\0\0\0\0\0\0\x01",
            b"#!/bin/sh\nexit 0\n",
            b"PK",
            b"",
        ] {
            assert_eq!(Container::of(first, &[]), None, "{first:?}");
        }
    }

    #[test]
    fn a_tar_from_before_ustar_is_told_by_its_sum() {
        let mut header = [0; 512];
        header[..8].copy_from_slice(b"disk.raw");
        header[100..108].copy_from_slice(b"0000644\0");
        header[124..136].copy_from_slice(b"00000001000\0");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum::<u32>() + 8 * 32;
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(Container::of(&header, &[]), Some(Container::Tar));
        header[0] = b'e';
        assert_eq!(Container::of(&header, &[]), None);
    }
}
