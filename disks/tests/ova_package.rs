//! The archive: its order, its bytes, and the disks that it refuses.

mod common;

use std::io::{self, Write};

use common::{CAPACITY, fake_package, fake_stream, full, machine, members, minimal};
use melv_block::{Error, ErrorKind, Result};
use melv_disks::ova::{BlankDisks, OvaError, PackageDisk, write_ova};

fn names(ova: &[u8]) -> Vec<String> {
    members(ova).into_iter().map(|(name, _)| name).collect()
}

/// Writes a package whose system disk has the bytes of `pass` in each pass; returns the error.
fn refusal(pass: impl Fn(usize) -> Vec<u8>) -> Error {
    let mut count = 0;
    let mut disks = |_: PackageDisk<'_>, _: &str, out: &mut dyn Write| -> Result<()> {
        count += 1;
        out.write_all(&pass(count)).map_err(|error| Error::io("write", "the disk", error))
    };
    write_ova(&machine(minimal()), BlankDisks::Files, &mut disks, &mut Vec::new(), "a.ova")
        .expect_err("a refusal")
}

#[test]
fn the_descriptor_is_first_then_the_manifest_then_the_disks_as_referenced() {
    let ova = fake_package(&machine(full()), BlankDisks::Files);
    let stem = "Postgres--f-nfzehn-----more";
    let disks = (1..=4).map(|number| format!("{stem}-disk{number}.vmdk"));
    let expected: Vec<_> = [format!("{stem}.ovf"), format!("{stem}.mf")].into_iter().chain(disks).collect();
    assert_eq!(names(&ova), expected);
    let descriptor = common::descriptor(&ova);
    let places: Vec<_> = expected[2..].iter().map(|name| descriptor.find(name.as_str())).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
}

#[test]
fn a_described_disk_has_no_file() {
    let ova = fake_package(&machine(full()), BlankDisks::Described);
    assert_eq!(names(&ova).len(), 3);
    assert_eq!(common::descriptor(&ova).matches("fileRef").count(), 1);
}

#[test]
fn equal_machines_and_disks_make_identical_packages() {
    for parts in [minimal(), full()] {
        let first = fake_package(&machine(parts.clone()), BlankDisks::Files);
        assert!(first == fake_package(&machine(parts), BlankDisks::Files));
    }
}

#[test]
fn the_archive_is_whole_blocks_and_two_of_zeros() {
    for tail in [0, 1, 511, 512, 513] {
        let mut disks = |_: PackageDisk<'_>, _: &str, out: &mut dyn Write| -> Result<()> {
            out.write_all(&fake_stream(CAPACITY, &vec![7; tail]))
                .map_err(|error| Error::io("write", "the disk", error))
        };
        let mut out = Vec::new();
        write_ova(&machine(minimal()), BlankDisks::Files, &mut disks, &mut out, "a.ova").expect("a package");
        assert_eq!(out.len() % 512, 0);
        assert!(out[out.len() - 1024..].iter().all(|&byte| byte == 0));
        assert_eq!(members(&out)[2].1.len(), 512 + tail);
    }
}

#[test]
fn a_disk_that_changes_between_the_passes_is_refused() {
    let stream = |tail: &[u8]| fake_stream(CAPACITY, tail);
    for second in [stream(b"bcd"), stream(b"ab"), stream(b"abcd"), Vec::new()] {
        let error = refusal(|pass| if pass == 1 { stream(b"abc") } else { second.clone() });
        let expected = OvaError::DiskChanged { file: "nginx-disk1.vmdk".into(), expected: 515 };
        assert_eq!(error.detail(), Some(&expected));
        assert_eq!(error.kind(), ErrorKind::Changed);
    }
}

#[test]
fn a_disk_that_is_no_stream_is_refused() {
    let mut sparse = fake_stream(CAPACITY, b"");
    sparse[10] = 0;
    let short = fake_stream(CAPACITY, b"")[..511].to_vec();
    let huge = {
        let mut bytes = fake_stream(CAPACITY, b"");
        bytes[12..20].fill(0xff);
        bytes
    };
    for bytes in [Vec::new(), b"KDMV".to_vec(), vec![0; 4096], sparse, short, huge] {
        let error = refusal(|_| bytes.clone());
        assert!(matches!(error.detail(), Some(OvaError::NotStream { found, .. }) if found.len() <= 16));
    }
}

#[test]
fn a_disk_of_another_size_than_the_machine_tells_is_refused() {
    let error = refusal(|_| fake_stream(CAPACITY + 512, b""));
    let file = "nginx-disk1.vmdk".into();
    let expected = OvaError::Capacity { file, found: CAPACITY + 512, expected: CAPACITY };
    assert_eq!(error.detail(), Some(&expected));
}

/// Takes a number of bytes, then has no space.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = self.0.min(bytes.len());
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_medium_is_told_at_any_byte() {
    let len = fake_package(&machine(full()), BlankDisks::Files).len();
    let write = |room: usize| {
        let out = &mut Full(room);
        write_ova(&machine(full()), BlankDisks::Files, &mut common::fake_disks, out, "a.ova")
    };
    for room in (0..len).step_by(97).chain([len - 1]) {
        assert_eq!(write(room).expect_err("no space").kind(), ErrorKind::NoSpace, "{room}");
    }
    assert!(write(len).is_ok());
}

#[test]
fn a_failure_of_the_disk_is_passed_on() {
    let fault = || Error::from(melv_block::BlockError::Interrupted);
    let mut disks = |_: PackageDisk<'_>, _: &str, _: &mut dyn Write| -> Result<()> { Err(fault()) };
    let result = write_ova(&machine(minimal()), BlankDisks::Files, &mut disks, &mut Vec::new(), "a.ova");
    assert_eq!(result.expect_err("interrupted").kind(), ErrorKind::Interrupted);
}
