//! Promises of a whole disk: table, EFI system partition and root, written by their places.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::compare::{Depth, assert_same};
use common::run;
use common::trees::{self, EPOCH};
use melv_appliance::tree::Content;
use melv_appliance::{erofs, fat, gpt};

const MIB: u64 = 1 << 20;

const SYSLINUX: &str = "SERIAL 0 115200\nPROMPT 1\nTIMEOUT 0\n";
const SHELL: &str = "echo started by firmware\r\n";

fn esp(path: &Path, first_sector: u32) {
    let text = |text: &str| Content::Bytes(text.as_bytes().to_vec());
    let (config, script) = (text(SYSLINUX), text(SHELL));
    let files = [
        fat::File { path: "syslinux.cfg", content: &config },
        fat::File { path: "startup.nsh", content: &script },
        fat::File { path: "a folder/with a long name.txt", content: &script },
    ];
    let volume =
        fat::Volume { size_bytes: 17 * MIB, id: 1, label: "MELV".to_owned(), time: EPOCH, first_sector };
    let plan = fat::Plan::new(&volume, &files).unwrap();
    plan.write(&Vec::new(), &mut File::create(path).unwrap()).unwrap();
    run("syslinux", ["--install", path.to_str().unwrap()]);
}

/// Makes a disk in `folder`; returns its path and the place of the root.
fn disk(folder: &Path, sample: &trees::Sample) -> (PathBuf, gpt::Place) {
    let volume = erofs::Volume { label: "root".to_owned(), epoch: EPOCH };
    let plan = erofs::Plan::new(&sample.tree, &volume).unwrap();
    let partition = |type_guid, number: u8, attributes, size_bytes| gpt::Partition {
        type_guid,
        guid: gpt::Guid::from_digest([number; 16]),
        name: format!("part {number}"),
        attributes,
        size_bytes,
    };
    let partitions = vec![
        partition(gpt::Guid::EFI_SYSTEM, 2, gpt::LEGACY_BIOS_BOOTABLE, 17 * MIB),
        partition(gpt::Guid::LINUX_ROOT_X86_64, 3, gpt::READ_ONLY, plan.size_bytes()),
    ];
    let code = fs::read("/usr/lib/SYSLINUX/gptmbr.bin").expect("syslinux is needed by this test");
    let table =
        gpt::Table::new(gpt::Guid::from_digest([1; 16]), gpt::Alignment::TwoMib, &code, partitions).unwrap();
    let [esp_place, root] = table.places().try_into().unwrap();
    let esp_path = folder.join("esp");
    esp(&esp_path, (esp_place.offset_bytes / gpt::SECTOR_BYTES) as u32);
    let path = folder.join("disk");
    let file = File::create(&path).unwrap();
    file.set_len(table.size_bytes()).unwrap();
    file.write_all_at(&table.head(), 0).unwrap();
    let tail = table.tail();
    file.write_all_at(&tail, table.size_bytes() - tail.len() as u64).unwrap();
    file.write_all_at(&fs::read(esp_path).unwrap(), esp_place.offset_bytes).unwrap();
    let mut image = Vec::new();
    plan.write([3; 16], &sample.spool, &mut image).unwrap();
    file.write_all_at(&image, root.offset_bytes).unwrap();
    (path, root)
}

#[test]
fn tools_find_each_part_of_a_disk_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let sample = trees::random(9);
    let (path, root) = disk(folder.path(), &sample);
    let shown = run("sgdisk", ["-v", path.to_str().unwrap()]);
    assert!(shown.contains("No problems found"), "{shown}");
    let shown = run("mdir", ["-b", "-i", &format!("{}@@2M", path.display()), "::a folder"]);
    assert!(shown.contains("with a long name.txt"), "{shown}");
    let part = folder.path().join("root");
    let mut bytes = vec![0; root.size_bytes as usize];
    File::open(&path).unwrap().read_exact_at(&mut bytes, root.offset_bytes).unwrap();
    fs::write(&part, bytes).unwrap();
    let extracted = folder.path().join("extracted");
    run("fsck.erofs", [format!("--extract={}", extracted.display()), part.display().to_string()]);
    assert_same(&sample.tree, &sample.spool, &extracted, Depth::Extracted);
}

/// Starts a disk in QEMU until `text` stands on the serial console.
fn boots(firmware: &[String], path: &Path, text: &str) {
    let serial = path.with_extension("serial");
    let drive = format!("file={},format=raw,if=virtio,snapshot=on", path.display());
    let mut machine = Command::new("qemu-system-x86_64")
        .args([
            "-accel",
            "tcg",
            "-m",
            "256",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
            "-drive",
            &drive,
        ])
        .args(firmware)
        .arg("-serial")
        .arg(format!("file:{}", serial.display()))
        .stdin(Stdio::null())
        .spawn()
        .expect("QEMU is needed by this test");
    let start = Instant::now();
    let mut shown = String::new();
    while !shown.contains(text) && start.elapsed() < Duration::from_secs(180) {
        std::thread::sleep(Duration::from_millis(200));
        shown = String::from_utf8_lossy(&fs::read(&serial).unwrap_or_default()).into_owned();
    }
    machine.kill().unwrap();
    machine.wait().unwrap();
    assert!(shown.contains(text), "{shown}");
}

#[test]
#[ignore = "needs QEMU and up to a minute"]
fn a_bios_starts_syslinux_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = disk(folder.path(), &trees::random(9));
    // The prompt comes to the serial line because the configuration says so: syslinux has read our file.
    boots(&[], &path, "boot:");
}

#[test]
#[ignore = "needs QEMU with OVMF and up to a minute"]
fn uefi_firmware_reads_a_file_of_the_partition() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = disk(folder.path(), &trees::random(9));
    let variables = folder.path().join("variables");
    fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables).expect("OVMF is needed by this test");
    let code = "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd".to_owned();
    let variables = format!("if=pflash,format=raw,file={}", variables.display());
    boots(&["-drive".to_owned(), code, "-drive".to_owned(), variables], &path, "started by firmware");
}
