//! Helpers of the tests: outside programs, packages of Debian, volumes.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, missing_docs, reason = "helpers of tests")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use melv_appliance::boot::{CommandLine, Files, Parts, Programs};
use melv_appliance::fat;
use melv_appliance::gpt::Guid;
use melv_appliance::tree::{Content, Timestamp};

pub const MIB: u64 = 1 << 20;

pub const EPOCH: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };

pub const MBR_CODE: &str = "/usr/lib/SYSLINUX/gptmbr.bin";

/// Runs a tool that must be there, and must succeed. Returns its output.
pub fn run<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(tool: &str, arguments: I) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(tool).args(arguments).env("PATH", path).env("LC_ALL", "C").output();
    let output = output.unwrap_or_else(|error| panic!("{tool} is needed by this test: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{tool}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout) + &text(&output.stderr)
}

/// Brings packages of a suite; returns the folder of each, by the start of its name.
pub fn fetch(suite: &str, set: &str, names: &[&str]) -> impl Fn(&str) -> PathBuf + use<> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = base.join("target/packages").join(suite);
    let list = packages.join(format!("{set}.list"));
    if !list.exists() {
        let status = Command::new(base.join("tests/fetch-packages")).arg(suite).arg(set).args(names).status();
        assert!(status.unwrap().success(), "the packages {names:?} of {suite} could not be brought");
    }
    let lines = fs::read_to_string(list).unwrap();
    move |start: &str| {
        let line = lines.lines().find(|line| line.starts_with(&format!("{start}_")));
        packages.join("extracted").join(line.unwrap_or_else(|| panic!("{start}"))).join("data")
    }
}

/// Writes a program.
pub fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

pub fn host() -> Programs<'static> {
    Programs {
        syslinux: Path::new("/usr/bin/syslinux"),
        mtools: Path::new("/usr/bin/mtools"),
        libraries: None,
    }
}

pub fn volume(size_mib: u64) -> fat::Volume {
    fat::Volume {
        size_bytes: size_mib * MIB,
        id: 0x6D65_6C76,
        label: "MELV".to_owned(),
        time: EPOCH,
        first_sector: 4096,
    }
}

pub fn cmdline(more: &str) -> CommandLine {
    CommandLine::new(Guid([3; 16]), more).unwrap()
}

/// Contents that are not zeros, of a length.
pub fn noise(length: usize, seed: u64) -> Content {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8 | 1
    };
    Content::Bytes((0..length).map(|_| next()).collect())
}

/// Makes the files of both firmwares and hands them on.
pub fn with_files<T>(
    kernel: &Content,
    initrd: Option<&Content>,
    use_them: impl FnOnce(&Files<'_>) -> T,
) -> T {
    let uefi = noise(98_000, 9);
    let parts = Parts { kernel, initrd, uefi: Some(&uefi), bios: true };
    use_them(&Files::new(&parts, &cmdline("quiet")).unwrap())
}
