//! Files that contain a disk in another format, or none at all. They are recognized by content and refused by
//! name, and the hint leads to the disk.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod common;

use common::{Bed, bed, disk, noise};

/// Returns the hint for a file that must be refused with exit code 14 and this name.
fn hint(bed: &Bed, file: &str, name: &str) -> String {
    for command in ["import", "digest"] {
        bed.melv(&[command, file]).exits(14).says(name).says("--format raw");
    }
    let told = bed.melv(&["import", file, "--json"]).exits(14).stderr();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let text = format!("{}{}", told["error"], told["hint"]);
    assert!(!text.contains("--pad"), "{text}");
    assert_eq!(bed.json(&["inspect", &format!("./{file}")])["size"], serde_json::Value::Null);
    told["hint"].as_str().unwrap().to_owned()
}

/// Returns the command between the first two backquotes, for this file and image name.
fn command(hint: &str, file: &str, name: &str) -> String {
    hint.split('`').nth(1).unwrap().replace("FILE", file).replace("--name N", &format!("--name {name}"))
}

#[test]
fn compressed_files_are_unpacked_by_the_command_of_their_hint() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.melv(&["import", "disk.raw", "--name", "raw"]).exits(0);
    for (line, file, name) in [
        ("gzip -k disk.raw", "disk.raw.gz", "gzip"),
        ("xz -0k disk.raw", "disk.raw.xz", "xz"),
        ("xz -0k --format=lzma disk.raw", "disk.raw.lzma", "lzma"),
        ("bzip2 -k disk.raw", "disk.raw.bz2", "bzip2"),
        ("zstd -q -k disk.raw", "disk.raw.zst", "zstd"),
        ("lz4 -q disk.raw disk.raw.lz4", "disk.raw.lz4", "lz4"),
        ("lz4 -q -l disk.raw disk.raw.old.lz4", "disk.raw.old.lz4", "lz4"),
    ] {
        // Of these programs, only gzip exists on every machine.
        let program = line.split(' ').next().unwrap();
        if program != "gzip" && !bed.sh(&format!("command -v {program}")).output.status.success() {
            continue;
        }
        bed.sh(line).exits(0);
        let line = command(&hint(&bed, file, name), file, "out");
        bed.sh(&format!("{line} --replace")).exits(0);
        bed.melv(&["compare", "raw", "out"]).exits(0);
    }
}

#[test]
fn a_fixed_vhd_is_its_disk_and_a_footer() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.melv(&["import", "disk.raw", "--name", "raw"]).exits(0);
    bed.sh("qemu-img convert -O vpc -o subformat=fixed,force_size=on disk.raw disk.vhd").exits(0);
    let line = command(&hint(&bed, "disk.vhd", "VHD"), "disk.vhd", "out");
    bed.sh(&line).exits(0);
    bed.melv(&["compare", "raw", "out"]).exits(0);
}

#[test]
fn disks_that_qemu_reads_are_refused_by_name() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    for (format, name) in [
        ("qcow", "qcow version 1"),
        ("qcow2", "qcow2"),
        ("vdi", "VDI"),
        ("vhdx", "VHDX"),
        ("vpc", "VHD"),
        ("parallels", "Parallels"),
        ("qed", "QED"),
    ] {
        let file = format!("disk.{format}");
        bed.sh(&format!("qemu-img convert -O {format} disk.raw {file}")).exits(0);
        assert!(hint(&bed, &file, name).contains("nbdcopy -- [ qemu-nbd -r"), "{format}");
        bed.melv(&["import", &file, "--format", "raw", "--name", format]).exits(0);
    }
}

#[test]
fn other_containers_are_refused_by_name_at_any_length() {
    let bed = bed();
    for (mark, name) in [
        (&b"7z\xbc\xaf\x27\x1c"[..], "7z"),
        (b"EVF\t\r\n\xff\0", "EWF"),
        (b"EVF2\r\n\x81\0", "EWF"),
        (b"Bochs Virtual HD Image\0", "Bochs"),
        (b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n", "cloop"),
        (b"Rar!\x1a\x07\0", "RAR"),
        (b"VMA\0\0\0\0\x01", "VMA"),
        (b"<?xml version=\"1.0\"?><Envelope/>", "XML"),
        (b"<!DOCTYPE html><title>Sign in</title>", "HTML"),
    ] {
        for len in [8192, 8191] {
            let bytes = [mark, &noise(9, 8192)].concat();
            bed.write("disk.img", &bytes[..len]);
            hint(&bed, "disk.img", name);
        }
    }
    let mut dmg = noise(9, 8192);
    dmg[8192 - 512..8192 - 500].copy_from_slice(b"koly\0\0\0\x04\0\0\x02\0");
    bed.write("disk.img", &dmg);
    hint(&bed, "disk.img", "DMG");
}

#[test]
fn plain_disks_are_taken_for_nothing_else() {
    let bed = bed();
    let size = 320 << 20; // XFS needs 300 MiB.
    let make = |name: &str, line: &str| {
        bed.write("disk.img", &[]);
        std::fs::File::options().write(true).open(bed.path("disk.img")).unwrap().set_len(size).unwrap();
        let program = line.split(' ').next().unwrap();
        let found = bed.sh(&format!("PATH=$PATH:/sbin:/usr/sbin command -v {program}"));
        if !found.output.status.success() {
            return false;
        }
        bed.sh(&format!("PATH=$PATH:/sbin:/usr/sbin {line}")).exits(0);
        let told = bed.json(&["inspect", "./disk.img"]);
        assert_eq!((&told["format"], &told["size"]), (&"raw".into(), &size.into()), "{name}");
        bed.melv(&["digest", "disk.img"]).exits(0);
        true
    };
    let made = [
        ("zeros", "true"),
        ("ext4", "mkfs.ext4 -q -F disk.img"),
        ("swap", "mkswap disk.img"),
        ("xfs", "mkfs.xfs -q -f disk.img"),
        ("btrfs", "mkfs.btrfs -q -f disk.img"),
        ("fat", "mkfs.vfat disk.img"),
        ("random", "dd if=/dev/urandom of=disk.img bs=1M count=48 conv=notrunc status=none"),
    ];
    let made: Vec<_> = made.iter().filter(|(name, line)| make(name, line)).map(|(name, _)| *name).collect();
    assert!(["zeros", "ext4", "swap", "random"].iter().all(|name| made.contains(name)), "{made:?}");
    // First sectors that no tool here writes: boot code, LUKS, LVM, ISO 9660 with a boot sector, squashfs.
    for first in [
        &b"\xeb\x63\x90\x10\x8e\xd0\xbc\0\xb0"[..],
        b"\xfa\xb8\0\x10\x8e\xd0\xbc\0\xb0\xb8\0\0",
        b"\x33\xc0\x8e\xd0\xbc\0\x7c\x8e\xc0\x8e\xd8",
        b"\xeb\x52\x90NTFS    ",
        b"\xeb\x76\x90EXFAT   ",
        b"LUKS\xba\xbe\0\x02",
        b"\x45\x52\x08\0\0\0\x90\x90",
        b"hsqs\x07\0\0\0",
        b"\xe2\xe1\xf5\xe0",
        b"MZ\x07\xc0\x8c\xd8",
        b"\0\0\0\0",
        b"XFSB\0\0\x10\0",
    ] {
        let mut bytes = vec![0; 8192];
        bytes[..first.len()].copy_from_slice(first);
        bytes[510..512].copy_from_slice(b"\x55\xaa");
        // A partition, and the possible second sectors: zeros behind an MBR, a GPT, an LVM label.
        bytes[446..462].copy_from_slice(b"\x80\x20\x21\0\x83\x15\x50\x05\0\x08\0\0\0\x78\x01\0");
        for second in [&[0; 8], b"EFI PART", b"LABELONE"] {
            bytes[512..520].copy_from_slice(second);
            bed.write("disk.img", &bytes);
            assert_eq!(bed.json(&["inspect", "./disk.img"])["format"], "raw", "{first:?} {second:?}");
        }
    }
}
