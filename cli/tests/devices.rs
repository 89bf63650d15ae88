//! Block devices as output: their content is not lost without --force, and a refusal states its reason. Needs
//! root and loop devices; says so without them.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

mod common;

use std::os::unix::fs::FileExt;

use common::{Bed, Ran, bed, disk, noise};

/// A loop device over a file, detached on drop.
struct Loop(String);

const TOOLS: &str = "PATH=$PATH:/sbin:/usr/sbin";

impl Loop {
    fn over(bed: &Bed, options: &str, file: &str) -> Option<Self> {
        let ran = bed.sh(&format!("{TOOLS} losetup {options} --find --show {file}"));
        if !ran.output.status.success() {
            println!("skipped: no loop device: {}", ran.stderr());
            return None;
        }
        Some(Self(ran.stdout().trim().to_owned()))
    }

    /// Creates a loop device over a new file of this size in bytes.
    fn new(bed: &Bed, file: &str, bytes: u64) -> Option<Self> {
        std::fs::File::create(bed.path(file)).unwrap().set_len(bytes).unwrap();
        Self::over(bed, "", file)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let path = "/sbin:/usr/sbin:/bin:/usr/bin";
        let detached = std::process::Command::new("losetup").env("PATH", path).args(["-d", &self.0]).status();
        assert!(detached.is_ok_and(|status| status.success()), "{} stays", self.0);
    }
}

fn one_image() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    bed
}

fn tool(bed: &Bed, line: &str) -> Option<Ran> {
    let program = line.split(' ').next().unwrap();
    if !bed.sh(&format!("{TOOLS} command -v {program}")).output.status.success() {
        println!("skipped: there is no {program}");
        return None;
    }
    Some(bed.sh(&format!("{TOOLS} {line}")))
}

#[test]
fn exit_1_a_device_that_holds_something_unless_it_is_forced() {
    let bed = one_image();
    let Some(device) = Loop::new(&bed, "lun", 320 << 20) else { return };
    let device = device.0.as_str();
    bed.sh(&format!("{TOOLS} command -v mkfs.ext4 && command -v mkswap && command -v sfdisk"));
    let makers = [
        ("mkfs.ext4 -q", "ext4"),
        ("mkfs.xfs -q -f", "XFS"),
        ("mkfs.btrfs -q -f", "btrfs"),
        ("mkfs.vfat", "FAT"),
        ("mkfs.ntfs -q -F -f", "NTFS"),
        ("mkfs.exfat", "exFAT"),
        ("mkfs.f2fs -q -f", "F2FS"),
        ("mkfs.minix", "Minix"),
        ("mkswap", "swap"),
        ("pvcreate -y -ff", "LVM"),
        (
            "cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file disk.raw --keyfile-size 32",
            "LUKS",
        ),
    ];
    let mut made = 0;
    for (maker, name) in makers {
        bed.sh(&format!("truncate -s 0 lun; truncate -s 320M lun; {TOOLS} blockdev --flushbufs {device}"))
            .exits(0);
        let Some(ran) = tool(&bed, &format!("{maker} {device} </dev/null")) else { continue };
        if !ran.output.status.success() {
            println!("skipped: {maker}: {}", ran.stderr());
            continue;
        }
        made += 1;
        for command in ["export web", "save web"] {
            let before = bed.sh(&format!("head -c 4M {device} | sha256sum")).stdout();
            bed.sh(&format!("melv {command} {device}")).exits(1).says(device).says(name).says("--force");
            assert_eq!(bed.sh(&format!("head -c 4M {device} | sha256sum")).stdout(), before);
        }
        // The hints work: one shows the content, the other overwrites it.
        assert!(!bed.sh(&format!("{TOOLS} wipefs {device}")).exits(0).stdout().is_empty(), "{maker}");
        bed.melv(&["export", "web", device, "--force"]).exits(0);
        bed.sh(&format!("head -c {} {device} | cmp - disk.raw", disk().len())).exits(0);
    }
    assert!(made > 0, "no tool makes anything that is known");
}

#[test]
fn partition_tables_and_the_copy_at_the_end_are_found() {
    let bed = one_image();
    let Some(device) = Loop::new(&bed, "lun", 32 << 20) else { return };
    let device = device.0.as_str();
    let labels = [
        ("gpt", "GPT", "partition table"),
        ("dos", "MBR", "partition table"),
        ("sun", "Sun", "disk label"),
        ("sgi", "SGI", "disk label"),
    ];
    for (label, name, kind) in labels {
        let Some(ran) =
            tool(&bed, &format!("sfdisk --wipe always --no-reread {device} <<E\nlabel: {label}\nE"))
        else {
            break;
        };
        if ran.output.status.success() {
            bed.melv(&["export", "web", device]).exits(1).says(name).says(kind);
        }
        bed.sh(&format!("{TOOLS} wipefs -qa {device}"));
    }
    // Only the copy of the partition table remains.
    let file = std::fs::File::options().write(true).open(bed.path("lun")).unwrap();
    file.write_all_at(&vec![0; 32 << 20], 0).unwrap();
    file.write_all_at(b"EFI PART", (32 << 20) - 512).unwrap();
    bed.sh(&format!("{TOOLS} blockdev --flushbufs {device}"));
    bed.melv(&["export", "web", device]).exits(1).says("the copy of a partition table (GPT)");
    bed.melv(&["save", "web", device, "--force"]).exits(0);
    // A saved bundle counts as content, too.
    bed.melv(&["export", "web", device]).exits(1).says("melv bundle");
    bed.melv(&["export", "web", device, "--force"]).exits(0);
    bed.melv(&["compare", "web", device]).exits(5);
}

#[test]
fn an_empty_device_needs_no_force_and_what_is_behind_the_end_is_told() {
    let bed = one_image();
    let Some(device) = Loop::new(&bed, "lun", 12 << 20) else { return };
    let (device, left) = (device.0.as_str(), (12 << 20) - disk().len());
    bed.melv(&["export", "web", device]).exits(0).says(&format!("{left} bytes")).says("stay unchanged");
    let json = bed.json(&["export", "web", device, "--force"]);
    assert_eq!(json["left_bytes"], left);
    assert_eq!(bed.melv(&["export", "web", device, "--force", "-q"]).exits(0).stderr(), "");
    // A comparison reports the sizes.
    let ran = bed.melv(&["compare", "web", device]).exits(5);
    assert!(ran.stdout().contains("goes on with zeros"), "{}", ran.stdout());
    let saved = bed.json(&["save", "web", device, "--force"]);
    assert_eq!(saved["left_bytes"].as_u64().unwrap() + saved["bytes"].as_u64().unwrap(), 12 << 20);
    // There is no note about a device filled to its end.
    bed.write("full.raw", &noise(3, 12 << 20));
    bed.melv(&["import", "full.raw"]).exits(0);
    assert!(!bed.melv(&["export", "full", device, "--force"]).exits(0).stderr().contains("note"));
    bed.melv(&["compare", "full", device]).exits(0);
}

#[test]
fn a_device_that_is_too_small_is_named_with_both_sizes() {
    let bed = one_image();
    let Some(device) = Loop::new(&bed, "lun", 1 << 20) else { return };
    for force in [&[][..], &["--force"]] {
        let ran = bed.melv(&[&["export", "web", &device.0], force].concat()).exits(1);
        ran.says(&device.0).says("1048576 bytes").says(&disk().len().to_string());
    }
    assert!(bed.read("lun").iter().all(|byte| *byte == 0));
    let told = bed.sh(&format!("{TOOLS} blockdev --getsize64 {}", device.0)).exits(0).stdout();
    assert_eq!(told.trim(), "1048576");
}

#[test]
fn a_device_that_is_read_only_is_called_so_and_the_hint_helps() {
    let bed = one_image();
    bed.write("lun", &vec![0; 8 << 20]);
    let Some(device) = Loop::over(&bed, "--read-only", "lun") else { return };
    for command in ["export web", "save web"] {
        bed.sh(&format!("melv {command} {}", device.0))
            .exits(1)
            .says(&device.0)
            .says("read-only")
            .says("blockdev --getro");
    }
    drop(device);
    let Some(device) = Loop::over(&bed, "", "lun") else { return };
    bed.sh(&format!("{TOOLS} blockdev --setro {}", device.0)).exits(0);
    bed.melv(&["export", "web", &device.0]).exits(1).says("read-only").says("blockdev --setrw");
    bed.sh(&format!("{TOOLS} blockdev --setrw {}", device.0)).exits(0);
    bed.melv(&["export", "web", &device.0]).exits(0);
}

#[test]
fn a_device_in_use_is_called_so() {
    let bed = one_image();
    let Some(device) = Loop::new(&bed, "lun", 32 << 20) else { return };
    let Some(_) = tool(&bed, &format!("mkfs.ext4 -q {}", device.0)) else { return };
    bed.sh(&format!("mkdir at && {TOOLS} mount {} at", device.0)).exits(0);
    let ran = [&["export", "web", &device.0][..], &["save", "web", &device.0, "--force"]]
        .map(|line| bed.melv(line));
    let told = bed.sh(&format!("{TOOLS} lsblk {}", device.0)).stdout();
    bed.sh(&format!("{TOOLS} umount at")).exits(0);
    assert!(told.contains("/at"), "the hint helps: {told}");
    for ran in ran {
        ran.exits(1).says(&device.0).says("in use").says("lsblk");
    }
}
