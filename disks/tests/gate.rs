//! The gate: which of the files that a descriptor names are opened, and that no other one is.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![cfg(feature = "vmdk")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use melv_block::{Error, ErrorKind};
use melv_disks::vmdk::{VmdkDisk, VmdkViolation, neighbours};
use melv_disks::{DiskError, DiskFormat, ForeignDisk, Gate, OpenOptions, open};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

const GATES: [Gate; 2] = [Gate::Beside, Gate::Nothing];

/// A folder with a disk's files in `disk/`, and a file outside of it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.path("disk")).unwrap();
        std::fs::write(place.path("outside.bin"), [1; 512]).unwrap();
        std::fs::write(place.path("disk/beside.bin"), [2; 512]).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a descriptor whose one extent has this name; returns its path.
    fn naming(&self, extent: &str) -> PathBuf {
        let path = self.path("disk/disk.vmdk");
        let text = format!(
            "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
             createType=\"monolithicFlat\"\nRW 1 FLAT \"{extent}\" 0\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Opens the descriptor that names this extent, by the one entry point.
    fn open(&self, extent: &str, gate: Gate) -> Result<Box<dyn ForeignDisk>, Error> {
        open(self.naming(extent), &OpenOptions { gate, ..OpenOptions::default() })
    }
}

/// The reason for which a gate refuses a name, by the error that tells it.
fn why(error: &Error, name: &str, gate: Gate) -> &'static str {
    match error.detail() {
        Some(DiskError::Vmdk { violation: VmdkViolation::Extent { name: told, why }, offset: 0, .. }) => {
            assert_eq!((told.as_str(), error.kind()), (name, ErrorKind::Damaged));
            assert_eq!(gate, Gate::Beside);
            why
        }
        Some(DiskError::GateClosed { object, name: told }) => {
            assert!(object.ends_with("disk/disk.vmdk"), "{object}");
            assert_eq!((told.as_str(), error.kind()), (name, ErrorKind::Invalid));
            assert_eq!(gate, Gate::Nothing);
            "the gate is closed"
        }
        _ => panic!("{name}: {error:?}"),
    }
}

fn assert_refused(place: &Place, name: &str, beside: &str) {
    for gate in GATES {
        let expected = if gate == Gate::Beside { beside } else { "the gate is closed" };
        let error = place.open(name, gate).expect_err(name);
        assert_eq!(why(&error, name, gate), expected, "{name}");
        let error = VmdkDisk::open(&place.path("disk/disk.vmdk"), gate).expect_err(name);
        assert_eq!(why(&error, name, gate), expected, "{name}");
    }
}

#[test]
fn a_file_beside_the_disk_is_opened_if_the_gate_lets_it() {
    let place = Place::new();
    let disk = place.open("beside.bin", Gate::Beside).unwrap();
    let mut sector = [0; 512];
    disk.read_at(0, &mut sector).unwrap();
    assert_eq!((sector, disk.format(), disk.unpadded_size()), ([2; 512], DiskFormat::Vmdk, 512));
    disk.check_unchanged().unwrap();
    assert_eq!(why(&place.open("beside.bin", Gate::Nothing).unwrap_err(), "beside.bin", Gate::Nothing), {
        "the gate is closed"
    });
}

#[test]
fn paths_that_lead_out_of_the_folder_are_refused() {
    let place = Place::new();
    assert_refused(&place, "../outside.bin", "a path");
    let absolute = place.path("outside.bin").display().to_string();
    assert_refused(&place, &absolute, "an absolute path");
    // The right file, but not by its plain name.
    assert_refused(&place, "./beside.bin", "a path");
    assert_refused(&place, "/proc/self/fd/0", "an absolute path");
    assert_refused(&place, "file:///etc/passwd", "a URL");
    assert_refused(&place, "..", "a folder");
}

#[test]
fn links_devices_and_pipes_are_refused_without_being_opened() {
    let place = Place::new();
    symlink("../outside.bin", place.path("disk/out.bin")).unwrap();
    symlink("beside.bin", place.path("disk/within.bin")).unwrap();
    symlink("/dev/zero", place.path("disk/zero.bin")).unwrap();
    for link in ["out.bin", "within.bin", "zero.bin"] {
        assert_refused(&place, link, "a symbolic link");
    }
    std::fs::create_dir(place.path("disk/folder.bin")).unwrap();
    assert_refused(&place, "folder.bin", "a folder");
    let made = |name: &str, kind: FileType, device: u64| {
        mknodat(CWD, place.path("disk").join(name), kind, Mode::RUSR | Mode::WUSR, device)
    };
    // A pipe would hang, or show its reader to the writer: it must not even be opened.
    made("pipe.bin", FileType::Fifo, 0).unwrap();
    assert_refused(&place, "pipe.bin", "a device, a pipe or a socket");
    let _socket = std::os::unix::net::UnixListener::bind(place.path("disk/socket.bin")).unwrap();
    assert_refused(&place, "socket.bin", "a device, a pipe or a socket");
    // Only root may make devices: `/dev/zero` by its number.
    if made("device.bin", FileType::CharacterDevice, rustix::fs::makedev(1, 5)).is_ok() {
        assert_refused(&place, "device.bin", "a device, a pipe or a socket");
    }
}

#[test]
fn a_missing_file_is_told_by_an_open_gate_alone() {
    let place = Place::new();
    let error = place.open("Beside.bin", Gate::Beside).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("\"beside.bin\""), "{error}");
    // A closed gate does not tell whether a file is there.
    let error = place.open("Beside.bin", Gate::Nothing).unwrap_err();
    assert_eq!(why(&error, "Beside.bin", Gate::Nothing), "the gate is closed");
}

#[test]
fn a_closed_gate_does_not_look_at_the_files_beside_a_raw_disk() {
    let place = Place::new();
    place.naming("beside.bin");
    let raw: &Path = &place.path("disk/beside.bin");
    let warnings = |gate| {
        let disk = open(raw, &OpenOptions { gate, ..OpenOptions::default() }).unwrap();
        assert_eq!(disk.format(), DiskFormat::Raw);
        disk.warnings().len()
    };
    assert_eq!((warnings(Gate::Beside), warnings(Gate::Nothing)), (1, 0));
    assert_eq!(neighbours(raw, Gate::Nothing), []);
}

#[test]
fn a_file_that_was_replaced_by_a_link_has_changed() {
    let place = Place::new();
    let disk = place.open("beside.bin", Gate::Beside).unwrap();
    std::fs::remove_file(place.path("disk/beside.bin")).unwrap();
    symlink("../outside.bin", place.path("disk/beside.bin")).unwrap();
    assert_eq!(disk.check_unchanged().unwrap_err().kind(), ErrorKind::Changed);
}
