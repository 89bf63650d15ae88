//! The texts, byte for byte. `BLESS=1` writes them anew; a reader compares them then.

mod common;

use std::path::Path;

use common::{descriptor, fake_package, full, machine, members, minimal};
use melv_disks::ova::{BlankDisks, Firmware, MachineParts, vmx_files};

fn check(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).expect("write");
    }
    let golden = std::fs::read_to_string(&path).expect("a golden file");
    assert!(golden == text, "{file} is not as it was:\n{text}");
}

fn old() -> MachineParts {
    MachineParts { firmware: Firmware::Bios, network: None, hardware: 8, ..minimal() }
}

#[test]
fn descriptors_are_as_they_were() {
    for (file, parts, blank_disks) in [
        ("minimal.ovf", minimal(), BlankDisks::Files),
        ("old.ovf", old(), BlankDisks::Files),
        ("full.ovf", full(), BlankDisks::Files),
        ("described.ovf", full(), BlankDisks::Described),
    ] {
        check(file, &descriptor(&fake_package(&machine(parts), blank_disks)));
    }
}

#[test]
fn manifests_are_as_they_were() {
    let files = members(&fake_package(&machine(full()), BlankDisks::Files));
    check("full.mf", std::str::from_utf8(&files[1].1).expect("UTF-8"));
}

#[test]
fn vmx_files_are_as_they_were() {
    for (file, parts) in [("minimal.vmx", minimal()), ("old.vmx", old()), ("full.vmx", full())] {
        check(file, &vmx_files(&machine(parts), "my disk").expect("a VMX file").text);
    }
}
