//! Disks, packages and outside tools for the tests.

#![allow(dead_code, reason = "each test uses a part")]

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use melv_disks::ova::{BlankDisks, DataDisk, Machine, MachineParts, PackageDisk, Port, Protocol, write_ova};

/// The size of the disk in most tests: 8 MiB.
pub const CAPACITY: u64 = 8 << 20;

/// Runs a tool and returns its standard output; a tool that is missing or refuses fails the test.
pub fn run(tool: &str, arguments: &[&str]) -> String {
    let (is_good, out, errors) = outcome(tool, arguments);
    assert!(is_good, "{tool} {arguments:?}: {out}{errors}");
    out
}

/// Runs a tool and returns whether it succeeded, and its outputs.
pub fn outcome(tool: &str, arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(tool)
        .args(arguments)
        .env("LIBGUESTFS_BACKEND", "direct")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|error| panic!("{tool} is needed for this test: {error}"));
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// Returns the header of a stream-optimized VMDK and some bytes after it.
pub fn fake_stream(capacity: u64, tail: &[u8]) -> Vec<u8> {
    let mut bytes = b"KDMV".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(0x3_0001u32.to_le_bytes());
    bytes.extend((capacity / 512).to_le_bytes());
    bytes.resize(512, 0);
    bytes.extend(tail);
    bytes
}

/// Writes fake streams for every disk of a package.
pub fn fake_disks(disk: PackageDisk<'_>, _: &str, out: &mut dyn Write) -> melv_block::Result<()> {
    let bytes = match disk {
        PackageDisk::System => fake_stream(CAPACITY, b"the system"),
        PackageDisk::Blank(blank) => fake_stream(melv_block::BlockDevice::size(blank), b""),
    };
    out.write_all(&bytes).map_err(|error| melv_block::Error::io("write", "a disk", error))
}

pub fn minimal() -> MachineParts {
    MachineParts::new("nginx", CAPACITY)
}

/// Returns a machine that uses every part.
pub fn full() -> MachineParts {
    MachineParts {
        description: "Größe & <Zahl>\n\"quoted\" 'text'".into(),
        product: "Database of \"Müller & Söhne\"".into(),
        version: "15.7 <beta>".into(),
        memory_mib: 512,
        cpus: 2,
        network: Some("Büro | LAN \"1\"".into()),
        ports: vec![
            Port { number: 5432, protocol: Protocol::Tcp },
            Port { number: 53, protocol: Protocol::Udp },
        ],
        data_disks: ["db", "log.1", "x_2"].map(|name| DataDisk { name: name.into(), size: 8 << 30 }).to_vec(),
        ..MachineParts::new("Postgres 'fünfzehn' & <more>", CAPACITY)
    }
}

pub fn machine(parts: MachineParts) -> Machine {
    Machine::new(parts).expect("a machine")
}

/// Returns the package of a machine with fake disks.
pub fn fake_package(machine: &Machine, blank_disks: BlankDisks) -> Vec<u8> {
    let mut out = Vec::new();
    let len = write_ova(machine, blank_disks, &mut fake_disks, &mut out, "a.ova").expect("a package");
    assert_eq!(len, out.len() as u64);
    out
}

/// Returns the names and contents of an archive's files.
pub fn members(ova: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(ova);
    let entries = archive.entries().expect("an archive");
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("content");
            (entry.path().expect("a name").to_string_lossy().into_owned(), bytes)
        })
        .collect()
}

/// Returns the descriptor of a package.
pub fn descriptor(ova: &[u8]) -> String {
    let (name, bytes) = members(ova).swap_remove(0);
    assert!(name.ends_with(".ovf"), "{name}");
    String::from_utf8(bytes).expect("UTF-8")
}

pub fn path_str(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
