//! Promises of the FAT writer, against dosfstools, mtools and syslinux.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod common;

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use common::trees::{EPOCH, bytes_of};
use common::{Rng, hash, output, rounds, run};
use melv_appliance::fat::{CLUSTER_BYTES, FatError, File, Plan, Volume};
use melv_appliance::tree::{Content, Timestamp};

const MIB: u64 = 1 << 20;

fn volume() -> Volume {
    Volume {
        size_bytes: 17 * MIB,
        id: 0x6D65_6C76,
        label: "MELV".to_owned(),
        time: EPOCH,
        first_sector: 4096,
    }
}

fn files(contents: &[(String, Content)]) -> Vec<File<'_>> {
    contents.iter().map(|(path, content)| File { path, content }).collect()
}

#[allow(clippy::ptr_arg, reason = "a slice is no `dyn Contents`")]
fn image(volume: &Volume, contents: &[(String, Content)], spool: &Vec<u8>) -> Vec<u8> {
    let plan = Plan::new(volume, &files(contents)).unwrap();
    let mut output = Vec::new();
    plan.write(spool, &mut output).unwrap();
    assert_eq!(output.len() as u64, volume.size_bytes);
    assert_eq!(plan.size_bytes(), volume.size_bytes);
    for (path, content) in contents {
        match plan.offset_bytes(path) {
            None => assert!(content.is_empty()),
            Some(offset) => {
                assert!(offset.is_multiple_of(CLUSTER_BYTES));
                let bytes = bytes_of(content, spool);
                assert!(output[offset as usize..][..bytes.len()] == bytes, "{path}");
            }
        }
    }
    output
}

/// A usual partition: two boot loaders, kernel and initrd.
fn usual() -> (Vec<(String, Content)>, Vec<u8>) {
    let mut rng = Rng(7);
    let spool = rng.bytes(3_000_000);
    let text = |text: &str| Content::Bytes(text.as_bytes().to_vec());
    let files = vec![
        ("melv/vmlinuz".to_owned(), Content::Spooled { offset: 1, len: 1_234_567 }),
        ("melv/initrd".to_owned(), Content::Spooled { offset: 1_300_000, len: 1_000_000 }),
        ("EFI/BOOT/BOOTX64.EFI".to_owned(), Content::Spooled { offset: 2_500_000, len: 98_304 }),
        ("loader/loader.conf".to_owned(), text("timeout 0\ndefault melv.conf\n")),
        ("loader/entries/melv.conf".to_owned(), text("title melv\nlinux /melv/vmlinuz\n")),
        ("syslinux.cfg".to_owned(), text("DEFAULT melv\n")),
        ("empty".to_owned(), text("")),
    ];
    (files, spool)
}

/// No tool finds a fault, and mtools gives back each file.
fn verify(bytes: &[u8], contents: &[(String, Content)], spool: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("esp");
    std::fs::write(&path, bytes).unwrap();
    let checked = output("fsck.fat", ["-n", "-v", path.to_str().unwrap()]);
    let shown = String::from_utf8_lossy(&checked.stdout).into_owned();
    // The tool says so much of a faultless volume; further lines are faults that it does not count.
    assert!(checked.status.success(), "{shown}");
    for fault in ["differ", "Orphan", "Bad", "bad", "dirty", "reclaim", "wrong", "duplicate", "invalid"] {
        assert!(!shown.contains(fault), "{shown}");
    }
    // mtools call the root of a volume without files "not found".
    if contents.is_empty() {
        return;
    }
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let image = format!("{}", path.display());
    run("mdir", ["-i", &image, "-/", "-b", "::"]);
    mcopy_all(&path, &out);
    for (name, content) in contents {
        let found = std::fs::read(out.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(found == bytes_of(content, spool), "{name}");
    }
    assert_eq!(count_files(&out), contents.len());
}

fn mcopy_all(image: &Path, to: &Path) {
    let arguments =
        [OsStr::new("-i"), image.as_ref(), "-s".as_ref(), "-n".as_ref(), "::*".as_ref(), to.as_ref()];
    let copied =
        Command::new("mcopy").args(arguments).env("LC_ALL", "C.UTF-8").output().expect("mtools are needed");
    let shown = String::from_utf8_lossy(&copied.stderr);
    assert!(copied.status.success() && shown.is_empty(), "{shown}");
}

fn count_files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { count_files(&path) } else { 1 }).sum()
}

#[test]
fn fsck_and_mtools_find_the_usual_files_and_no_fault() {
    let (contents, spool) = usual();
    let bytes = image(&volume(), &contents, &spool);
    verify(&bytes, &contents, &spool);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("esp");
    std::fs::write(&path, &bytes).unwrap();
    let shown = run("mdir", ["-i", path.to_str().unwrap(), "::melv"]);
    assert!(shown.contains("Volume in drive : is MELV") && shown.contains("6D65-6C76"), "{shown}");
    assert!(shown.contains("1234567 2023-11-14  22:13"), "{shown}");
}

#[test]
fn random_volumes_are_faultless() {
    for seed in 0..rounds(10) {
        let mut rng = Rng(seed);
        let spool = rng.bytes(200_000);
        let size_bytes = rng.pick(&[17, 17, 18, 33, 256]) * MIB;
        let mut contents = std::collections::BTreeMap::new();
        for _ in 0..rng.pick(&[0, 1, 20, 150]) {
            let folders: String = (0..rng.below(4)).map(|_| format!("Folder {}/", rng.below(3))).collect();
            let letters = rng.pick(&[&['a', 'B', '.', '-'][..], &['x', 'é', '磁', 'ß', '~', '1', ' ']]);
            let length = rng.pick(&[1, 5, 8, 12, 13, 14, 40, 80]);
            let middle: String = (0..length).map(|_| rng.pick(letters)).collect();
            let len = rng.pick(&[0, 1, 4095, 4096, 4097, 60_000]);
            let content = Content::Spooled { offset: rng.below(100_000), len };
            let path = format!("{folders}n{middle}z{}", rng.below(1000));
            contents.insert(path.to_uppercase(), (path, content));
        }
        let contents: Vec<_> = contents.into_values().collect();
        let volume = Volume { size_bytes, ..volume() };
        eprintln!("seed {seed}: {} files", contents.len());
        verify(&image(&volume, &contents, &spool), &contents, &spool);
    }
}

#[test]
fn the_order_of_files_does_not_matter() {
    let (mut contents, spool) = usual();
    let first = image(&volume(), &contents, &spool);
    contents.reverse();
    assert!(first == image(&volume(), &contents, &spool));
}

#[test]
fn a_kernel_lies_on_equal_blocks_in_two_volumes() {
    let (mut contents, spool) = usual();
    let first = image(&volume(), &contents, &spool);
    contents.retain(|(path, _)| !path.starts_with("loader"));
    let second = image(&Volume { size_bytes: 40 * MIB, ..volume() }, &contents, &spool);
    let block = &spool[1..1 + CLUSTER_BYTES as usize];
    for image in [first, second] {
        assert!(image.chunks(CLUSTER_BYTES as usize).any(|other| other == block));
    }
}

#[test]
fn syslinux_installs_and_the_rest_stays_as_it_was() {
    let (contents, spool) = usual();
    let plan = Plan::new(&volume(), &files(&contents)).unwrap();
    assert!(plan.free_bytes() > 256 << 10);
    let before = image(&volume(), &contents, &spool);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("esp");
    let mut installed = Vec::new();
    for _ in 0..2 {
        std::fs::write(&path, &before).unwrap();
        let mut command = Command::new("syslinux");
        command.arg("--install").arg(&path).env("SOURCE_DATE_EPOCH", "1700000000").env("TZ", "UTC");
        let output = command.output().expect("syslinux is needed");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        installed.push(std::fs::read(&path).unwrap());
    }
    assert!(installed[0] == installed[1]);
    let after = &installed[0];
    assert_eq!(&after[3..11], b"SYSLINUX");
    assert!(after[11..62] == before[11..62]);
    for (name, content) in &contents {
        if let Some(offset) = plan.offset_bytes(name) {
            assert!(
                after[offset as usize..][..content.len() as usize] == bytes_of(content, &spool),
                "{name}"
            );
        }
    }
    let shown = run("fsck.fat", ["-n", path.to_str().unwrap()]);
    assert!(!shown.contains("differ") && !shown.contains("dirty"), "{shown}");
    let shown = run("mdir", ["-i", path.to_str().unwrap(), "-a", "::"]);
    assert!(shown.contains("ldlinux  sys") && shown.contains("ldlinux  c32"), "{shown}");
}

#[test]
fn the_golden_volume_never_changes() {
    let (contents, spool) = usual();
    let bytes = image(&volume(), &contents, &spool);
    let hex: String = bytes[..67].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "eb3c904d454c56202020200002080c000200020088f81200200040000010000000000000\
         800029766c656d4d454c56202020202020204641543136202020cd18f4ebfd"
    );
    assert_eq!(hash(&bytes), "6e1bdefcaf03279a4e2f5cd7060d1cad");
}

fn fault(volume: &Volume, paths: &[&str], len: u64) -> FatError {
    let contents: Vec<_> = paths.iter().map(|path| ((*path).to_owned(), Content::Zeros { len })).collect();
    Plan::new(volume, &files(&contents)).unwrap_err()
}

#[test]
fn paths_that_are_none_are_refused() {
    for path in ["", "/a", "a//b", "a/", "../a", "a/./b", "a:b", "a/b\\c", "a./b", "a\0"] {
        assert!(matches!(fault(&volume(), &[path], 1), FatError::InvalidName { .. }), "{path:?}");
    }
    for paths in [["a", "A"], ["a/b", "A/c"], ["d/größe", "d/GRÖSSE"], ["x", "x"]] {
        assert!(matches!(fault(&volume(), &paths, 1), FatError::Duplicate { .. }), "{paths:?}");
    }
    assert!(matches!(fault(&volume(), &["a", "a/b"], 1), FatError::NotAFolder { .. }));
    assert!(matches!(fault(&volume(), &["A/b", "a"], 1), FatError::Duplicate { .. }));
}

#[test]
fn volumes_that_are_too_small_are_refused() {
    let fault_of = |len| fault(&volume(), &["d/a"], len);
    let plan_bytes = Plan::new(&volume(), &[]).unwrap().free_bytes();
    let content = Content::Zeros { len: plan_bytes - CLUSTER_BYTES };
    assert_eq!(Plan::new(&volume(), &[File { path: "d/a", content: &content }]).unwrap().free_bytes(), 0);
    assert!(matches!(fault_of(plan_bytes - CLUSTER_BYTES + 1), FatError::NoSpace { .. }));
    assert!(matches!(fault_of(u64::MAX), FatError::NoSpace { .. }));
    let names: Vec<String> = (0..256).map(|at| format!("long name {at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(matches!(fault(&volume(), &names, 0), FatError::RootFull { entries: 513 }));
    let content = Content::Spooled { offset: u64::MAX, len: 2 };
    let files = [File { path: "a", content: &content }];
    assert!(matches!(Plan::new(&volume(), &files), Err(FatError::InvalidRange { .. })));
    for label in ["", "lower", "TWELVE CHARS", " A", "A ", "A.B"] {
        let volume = Volume { label: label.to_owned(), ..volume() };
        assert!(matches!(Plan::new(&volume, &[]), Err(FatError::InvalidLabel { .. })), "{label:?}");
    }
}

#[test]
fn a_folder_of_5_000_similar_names_is_written() {
    let contents: Vec<_> =
        (0..5_000).map(|at| (format!("d/similar name {at}"), Content::Bytes(Vec::new()))).collect();
    let volume = Volume { time: Timestamp { seconds: 0, nanoseconds: 0 }, ..volume() };
    verify(&image(&volume, &contents, &Vec::new()), &contents, &[]);
}

#[test]
fn failures_of_reading_and_writing_tell_the_place() {
    let content = Content::Spooled { offset: 10, len: 300_000 };
    let plan = Plan::new(&volume(), &[File { path: "a/f", content: &content }]).unwrap();
    let fault = plan.write(&vec![0; 299_000], &mut std::io::sink()).unwrap_err();
    assert!(matches!(fault, FatError::Read { path, offset: 262_144, .. } if path == "a/f"));
    let mut short = vec![0; 5000];
    let fault = plan.write(&vec![0; 400_000], &mut short.as_mut_slice()).unwrap_err();
    assert!(matches!(fault, FatError::Write { offset: 5000, .. }), "{fault:?}");
}

#[test]
fn careless_paths_are_faults_or_volumes_and_never_panics() {
    let (mut faults, mut volumes) = (0, 0);
    for seed in 0..5000 {
        let mut rng = Rng(seed);
        let letters = ['a', 'A', '.', '~', '1', ' ', '/', 'ß', 'ŉ', '\u{130}', '\u{7f}', '𝄞', '?'];
        let usual = &letters[..letters.len() - 3 * usize::from(rng.chance(80))];
        let contents: Vec<_> = (0..rng.below(6))
            .map(|_| {
                let path: String = (0..rng.pick(&[1, 2, 3, 10, 300])).map(|_| rng.pick(usual)).collect();
                let (offset, len) = (rng.pick(&[0, u64::MAX]), rng.pick(&[0, 0, 1, 5000, 1 << 32, u64::MAX]));
                (path, Content::Spooled { offset, len })
            })
            .collect();
        let size_bytes = rng.pick(&[17 * MIB, 17 * MIB, 18 * MIB, 0, u64::MAX, 16 * MIB]);
        match Plan::new(&Volume { size_bytes, ..volume() }, &files(&contents)) {
            Err(fault) => {
                assert!(!fault.to_string().is_empty());
                faults += 1;
            }
            Ok(plan) => {
                if seed % 50 == 0 {
                    plan.write(&vec![0; 5000], &mut std::io::sink()).unwrap();
                }
                volumes += 1;
            }
        }
    }
    assert!(faults > 500 && volumes > 500, "{faults} faults, {volumes} volumes");
}
