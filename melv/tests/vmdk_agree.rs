//! VMDKs that two readers could take for different disks, or that only one would accept: file and pipe agree
//! on each.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

#[path = "vmdk_agree/files.rs"]
mod files;
#[path = "vmdk_agree/parents.rs"]
mod parents;
#[path = "vmdk_agree/texts.rs"]
mod texts;

use std::fs;
use std::path::{Path, PathBuf};

use melv::SpanStream;
use melv::for_each_run;
use melv::limits::SPAN_LEN;
use melv::vmdk::{Stream, VmdkDisk, VmdkViolation, looks_like};
use melv::{BlockDevice, BlockError, DiskError, ForeignDisk, Gate, Oddity, Result, ResultExt, content_of};
use melv_testing::vmdk::made::{
    Grains, Habits, Layout, SECTOR, Sparse, descriptor, embedded, get32, get64, put32, put64, stream,
};
use melv_testing::vmdk::refusal::{fault, feature};
use melv_testing::{Rng, VecDisk, assert_equal, random_disk, read_all};
use tempfile::TempDir;

const LAYOUTS: [Layout; 3] = [Layout::True, Layout::Patched, Layout::Front];

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn put(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    fs::write(folder.join(name), bytes).unwrap();
    folder.join(name)
}

fn from_file(bytes: &[u8]) -> Result<Vec<u8>> {
    let folder = folder();
    let disk = VmdkDisk::open(&put(folder.path(), "disk.vmdk", bytes), Gate::Beside)?;
    for_each_run(&disk, |_, _| Ok(()))?;
    read_all(&disk)
}

fn from_pipe(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = Stream::open(bytes, "pipe")?;
    let mut disk = vec![0; stream.size() as usize];
    while let Some(span) = stream.next_span()? {
        let start = span.number as usize * SPAN_LEN;
        let end = disk.len().min(start + SPAN_LEN);
        (span.fill)(&mut disk[start..end])?;
    }
    Ok(disk)
}

/// Makes a stream of a disk, and the disk.
fn made(sparse: Sparse, seed: u64) -> (Vec<u8>, Vec<u8>) {
    let disk = random_disk(seed, 12 * 65536 + 3 * SECTOR);
    let sparse = Sparse { descriptor: Some(embedded("streamOptimized", disk.len())), ..sparse };
    (sparse.make(&disk), disk)
}

// ---- one stream, one disk ----------------------------------------------------------------

#[test]
fn only_zeros_may_follow_the_end_of_a_stream() {
    let (vmdk, disk) = made(stream(Layout::True), 1);
    for zeros in [0, 1, 511, 512, 5000, 1 << 20, (3 << 20) + 700] {
        let padded = [&vmdk[..], &vec![0; zeros]].concat();
        assert_equal(&from_pipe(&padded).unwrap(), &disk, "piped");
        assert_equal(&from_file(&padded).unwrap(), &disk, "a file");
        let last = [&padded[..], &[7]].concat();
        let found = fault(from_pipe(&last));
        assert!(matches!(found.1, VmdkViolation::Value { found: 7, expected: "0", .. }), "{}", found.1);
        assert_eq!(found.0, padded.len() as u64);
        // In a file, the bytes at its end decide the end of the stream.
        let found = fault(from_file(&last));
        let is_far = matches!(found.1, VmdkViolation::Cut { .. }) && zeros >= 1 << 20;
        assert!(is_far || matches!(found.1, VmdkViolation::Value { found: 7, .. }), "{}", found.1);
    }
}

#[test]
fn zeros_behind_a_stream_are_passed_over_where_they_are_holes() {
    let (vmdk, disk) = made(stream(Layout::True), 1);
    let folder = folder();
    let path = put(folder.path(), "disk.vmdk", &vmdk);
    fs::File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    let opened = VmdkDisk::open(&path, Gate::Beside).unwrap();
    assert_equal(&read_all(&opened).unwrap(), &disk, "before a hole of a TiB");
    let bytes = (1 << 40) - vmdk.len() as u64;
    assert_eq!(opened.warnings()[0].oddity, Oddity::Padding { bytes });
    // A truncated stream is reported as such, regardless of trailing zeros.
    fs::write(&path, &vmdk[..vmdk.len() - 1024]).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(fault(VmdkDisk::open(&path, Gate::Beside)).1, VmdkViolation::Cut { .. }));
}

#[test]
fn a_footer_that_comes_twice_is_two_ends() {
    let (vmdk, _) = made(stream(Layout::True), 1);
    let (before, end) = vmdk.split_at(vmdk.len() - 512);
    let two = [before, &before[before.len() - 1024..], end].concat();
    for (at, found) in [fault(from_file(&two)), fault(from_pipe(&two))] {
        assert!(
            matches!(found, VmdkViolation::TwoEnds { .. }) && at == vmdk.len() as u64 - 1024,
            "{at} {found}"
        );
    }
    // The end marker is missing: cut off.
    for found in [fault(from_file(before)).1, fault(from_pipe(before)).1] {
        assert!(
            matches!(found, VmdkViolation::Cut { expected: "the marker that ends the stream" }),
            "{found}"
        );
    }
}

#[test]
fn two_streams_in_one_file_are_no_disk() {
    let (one, _) = made(stream(Layout::True), 1);
    let (mut other, _) = made(stream(Layout::True), 2);
    let two = [&one[..], &other].concat();
    assert_eq!(
        fault(from_file(&two)),
        (one.len() as u64 - 1024, VmdkViolation::TwoEnds { other: two.len() as u64 - 1024 })
    );
    assert!(fault(from_file(&two)).1.to_string().contains("two streams"));
    assert_eq!(fault(from_pipe(&two)).0, one.len() as u64);
    // The second stream's sectors are shifted, so that a reader from the back finds it sound.
    let (shift, directory) = ((one.len() / SECTOR) as u64, get64(&other, other.len() - 1024 + 56));
    let table_at = get32(&other, directory as usize * SECTOR) as usize * SECTOR;
    for entry in 0..512 {
        let at = table_at + entry * 4;
        let sector = get32(&other, at);
        put32(&mut other, at, if sector == 0 { 0 } else { sector + shift as u32 });
    }
    put32(&mut other, directory as usize * SECTOR, (table_at / SECTOR) as u32 + shift as u32);
    let footer = other.len() - 1024 + 56;
    put64(&mut other, footer, directory + shift);
    let two = [&one[..], &other].concat();
    assert!(matches!(fault(from_file(&two)).1, VmdkViolation::TwoEnds { .. }));
    assert!(matches!(
        fault(from_pipe(&two)).1,
        VmdkViolation::Value { what: "a byte after the end of the stream", .. }
    ));
}

/// Returns combination `number` of the habits: each alone first, then random ones.
fn habits(number: u64) -> Habits {
    let mut rng = Rng::new(number);
    let mut is = |bit: u64| if number < 8 { number == bit } else { rng.below(2) == 0 };
    let mut habits = Habits {
        zero_sizes: is(1),
        flag_without_place: is(2),
        together: is(3),
        gap: usize::from(is(4)),
        redundant: is(5),
        extra_tables: usize::from(is(6)),
        footer_overhead: is(7).then_some(21),
    };
    if number >= 8 {
        habits.gap *= [1, 2, 3, 4, 5, 2048][rng.below(6) as usize];
        habits.extra_tables *= 1 + rng.below(3) as usize;
    }
    habits
}

#[test]
fn whatever_the_habits_of_its_writer_a_stream_is_its_disk_from_a_file_and_from_a_pipe() {
    for number in 0..160 {
        let mut rng = Rng::new(1000 + number);
        // One table, its last entry used or not; several, the first or the last of them empty.
        let grain_sectors = 8;
        let tables = 1 + rng.below(4) as usize;
        let short = if rng.below(2) == 0 { 0 } else { 3 };
        let mut disk = vec![0; (tables * 128 * grain_sectors - short) * SECTOR];
        for (grain, bytes) in disk.chunks_mut(grain_sectors * SECTOR).enumerate() {
            let is_used = match number % 3 {
                0 => rng.below(40) == 0,
                1 => grain / 128 != tables - 1 && rng.below(3) == 0,
                _ => grain / 128 != 0 || tables == 1,
            };
            if is_used {
                bytes.fill(grain as u8 | 1);
            }
        }
        let layout = [Layout::True, Layout::Patched][rng.below(2) as usize];
        let habits = habits(number);
        let sparse = Sparse {
            grain_sectors,
            entries: 128,
            version: 3,
            grains: Grains::Marked(layout),
            descriptor: Some(embedded("streamOptimized", disk.len())),
            habits,
            ..Sparse::default()
        };
        let mut vmdk = sparse.make(&disk);
        let what = format!("{number}: {layout:?} {habits:?}, {tables} tables");
        let read = |vmdk: &[u8]| [from_file(vmdk), from_pipe(vmdk)];
        for (from, found) in ["file", "pipe"].into_iter().zip(read(&vmdk)) {
            let found = found.unwrap_or_else(|error| panic!("{what}, {from}: {error:?}"));
            assert_equal(&found, &disk, &what);
        }
        // With trailing zeros the result is the same; with the last sector before its end cut off, both fail.
        let padded = [&vmdk[..], &vec![0; 700 * rng.below(9) as usize]].concat();
        read(&padded).into_iter().for_each(|found| assert_equal(&found.expect(&what), &disk, &what));
        let cut = vmdk.len() - 2 * SECTOR;
        for found in read(&vmdk[..cut]) {
            assert!(
                matches!(fault(found).1, VmdkViolation::Cut { .. } | VmdkViolation::Truncated { .. }),
                "{what}"
            );
        }
        // A directory that points at no table is refused.
        let place = if layout == Layout::True { vmdk.len() - 2 * SECTOR + 56 } else { 56 };
        let directory = get64(&vmdk, place) as usize * SECTOR;
        if let Some(at) = (0..tables).map(|table| directory + table * 4).find(|&at| get32(&vmdk, at) != 0) {
            put32(&mut vmdk, at, (directory / SECTOR) as u32);
            read(&vmdk).into_iter().for_each(|found| assert!(found.is_err(), "{what}"));
        }
    }
}

/// Compares the streams of two writers with content ids computed from the raw disks.
#[test]
fn streams_of_vmware_and_of_xen_orchestra_have_the_content_of_their_disks() {
    let vmware = Habits { extra_tables: 1, ..Habits::default() };
    let xen = Habits {
        zero_sizes: true,
        flag_without_place: true,
        together: true,
        redundant: true,
        footer_overhead: Some(21),
        ..Habits::default()
    };
    let mut one = vec![0; 32 << 20];
    one[..65536].copy_from_slice(&b"melv".repeat(16384));
    let mut two = vec![0; 64 << 20];
    two[..65536].fill(b'a');
    two[700 * 65536..701 * 65536].fill(b'b');
    for (disk, habits, id) in [
        (&one, vmware, "5a0cb71e2dd6f16c03831a66cb91127c36d6af83ef865efcd4fc1fe264ef2fd5"),
        (&two, xen, "27d22838106c2a6b31ef83b92b8805e062a9f95524d18ceaa8d29916fa40305a"),
        (
            &two,
            Habits { gap: 2048, ..xen },
            "27d22838106c2a6b31ef83b92b8805e062a9f95524d18ceaa8d29916fa40305a",
        ),
    ] {
        for layout in [Layout::True, Layout::Patched] {
            let descriptor = Some(embedded("streamOptimized", disk.len()));
            let vmdk = Sparse { descriptor, habits, ..stream(layout) }.make(disk);
            for found in [from_file(&vmdk), from_pipe(&vmdk)] {
                let found = content_of(&VecDisk(found.expect(id)), None, None).unwrap();
                assert_eq!(found.to_string(), id, "{layout:?} {habits:?}");
            }
        }
    }
}

#[test]
fn a_stale_footer_behind_a_header_that_tells_the_place_is_no_fault() {
    let (vmdk, disk) = made(stream(Layout::True), 3);
    let footer = vmdk.len() - 1024;
    let mut stale = vmdk.clone();
    put64(&mut stale, 56, get64(&vmdk, footer + 56));
    put64(&mut stale, footer + 56, u64::MAX);
    assert_equal(&from_file(&stale).unwrap(), &disk, "a file");
    assert_equal(&from_pipe(&stale).unwrap(), &disk, "piped");
    put64(&mut stale, footer + 56, get64(&vmdk, footer + 56) - 1);
    for (at, found) in [fault(from_file(&stale)), fault(from_pipe(&stale))] {
        assert!(matches!(found, VmdkViolation::Disagree { .. }) && at == footer as u64 + 56, "{found}");
    }
}

#[test]
fn progress_markers_are_one_sector_whatever_they_say() {
    for layout in LAYOUTS {
        for value in [0, 1, 256, u64::MAX] {
            let (vmdk, disk) = made(Sparse { progress: Some(value), ..stream(layout) }, 4);
            assert_equal(&from_pipe(&vmdk).unwrap(), &disk, "piped");
            assert_equal(&from_file(&vmdk).unwrap(), &disk, "a file");
        }
    }
}

#[test]
fn a_header_that_says_compressed_in_one_place_and_not_in_another_is_refused() {
    let disk = random_disk(5, 300 * SECTOR);
    let plain = |create_type| {
        let descriptor = Some(embedded(create_type, disk.len()));
        Sparse { descriptor, ..Sparse::default() }.make(&disk)
    };
    let mut vmdk = plain("monolithicSparse");
    assert_equal(&from_file(&vmdk).unwrap(), &disk, "plain");
    for compression in [1u8, 2, 255] {
        vmdk[77] = compression;
        for (at, found) in [fault(from_file(&vmdk)), fault(from_pipe(&vmdk))] {
            assert!(
                matches!(found, VmdkViolation::Value { found, .. } if found == u64::from(compression)),
                "{found}"
            );
            assert_eq!(at, 77);
        }
    }
    let is_flag = |(at, found): (u64, VmdkViolation)| {
        assert!(at == 8 && found.to_string().contains("bit 16"), "{at} {found}");
    };
    is_flag(fault(from_file(&plain("streamOptimized"))));
    is_flag(fault(from_file(&plain("STREAMoptimized"))));
    let folder = folder();
    put(folder.path(), "one.vmdk", Sparse::default().make(&disk));
    let text = descriptor("streamOptimized", &["RW 300 SPARSE \"one.vmdk\"".to_owned()]);
    is_flag(fault(VmdkDisk::open(&put(folder.path(), "disk.vmdk", text), Gate::Beside)));
}

// ---- a capacity up to the end of the last grain --------------------------------------------

/// Sets the capacity in the header, and in the footer if there is one.
fn put_capacity(vmdk: &mut [u8], sectors: u64) {
    if get64(vmdk, 56) == u64::MAX {
        let footer = vmdk.len() - 1024;
        put64(vmdk, footer + 12, sectors);
    }
    put64(vmdk, 12, sectors);
}

#[test]
fn the_descriptor_says_where_the_disk_ends_in_the_last_grain() {
    let mut all = vec![Grains::Plain, Grains::Bare(Layout::Front)];
    all.extend(LAYOUTS.map(Grains::Marked));
    for grains in all {
        for (grain, sectors) in [(128usize, 300usize), (8, 4099), (4096, 4097), (4096, 8191), (4096, 4500)] {
            let mut whole = random_disk(6, sectors.next_multiple_of(grain) * SECTOR);
            whole[(sectors - 1) * SECTOR..].fill(7);
            let expected = &whole[..sectors * SECTOR];
            let create_type = if grains == Grains::Plain { "monolithicSparse" } else { "streamOptimized" };
            let descriptor = Some(embedded(create_type, expected.len()));
            let vmdk = Sparse { grain_sectors: grain, grains, descriptor, ..Sparse::default() }.make(&whole);
            assert_eq!(get64(&vmdk, 12) as usize, sectors.next_multiple_of(grain));
            assert_equal(&from_file(&vmdk).unwrap(), expected, "a file");
            let folder = folder();
            let disk = VmdkDisk::open(&put(folder.path(), "disk.vmdk", &vmdk), Gate::Beside).unwrap();
            assert_eq!(disk.size(), expected.len() as u64);
            assert!(matches!(
                disk.read_at(disk.size(), &mut [0]).detail(),
                Some(BlockError::OutOfRange { .. })
            ));
            let id = content_of(&VecDisk(expected.to_vec()), None, None).unwrap();
            assert_eq!(content_of(&disk, None, None).unwrap(), id);
            if matches!(grains, Grains::Marked(_)) {
                assert_equal(&from_pipe(&vmdk).unwrap(), expected, "piped");
            }
        }
    }
}

#[test]
fn a_last_grain_that_the_header_makes_whole_is_stored_whole() {
    let mut disk = random_disk(7, 300 * SECTOR);
    disk[299 * SECTOR..].fill(7);
    for layout in LAYOUTS {
        let descriptor = Some(embedded("streamOptimized", disk.len()));
        for whole_tail in [true, false] {
            let sparse = Sparse { whole_tail, descriptor: descriptor.clone(), ..stream(layout) };
            let mut vmdk = sparse.make(&disk);
            put_capacity(&mut vmdk, 384);
            for read in [from_file(&vmdk), from_pipe(&vmdk)] {
                if whole_tail {
                    assert_equal(&read.unwrap(), &disk, "whole");
                } else {
                    let (_, found) = fault(read);
                    assert!(matches!(found, VmdkViolation::GrainLen { expected: 65536, .. }), "{found}");
                }
            }
            for capacity in [299, 301, 383, 385, 512] {
                put_capacity(&mut vmdk, capacity);
                for (at, found) in [fault(from_file(&vmdk)), fault(from_pipe(&vmdk))] {
                    let text =
                        format!("the capacity in sectors is {capacity}, but 300 according to the descriptor");
                    assert_eq!((at, found.to_string()), (12, text));
                }
            }
        }
    }
}

#[test]
fn extents_whose_header_has_the_whole_last_grain_join_without_a_seam() {
    let folder = folder();
    let disk = random_disk(8, 600 * SECTOR);
    let (one, two) = disk.split_at(300 * SECTOR);
    let filled = |part: &[u8]| [part, &[9; 84 * SECTOR]].concat();
    put(folder.path(), "one.vmdk", Sparse::default().make(&filled(one)));
    put(folder.path(), "two.vmdk", Sparse::default().make(&filled(two)));
    let lines = ["one", "two"].map(|name| format!("RW 300 SPARSE \"{name}.vmdk\""));
    let opened = VmdkDisk::open(
        &put(folder.path(), "disk.vmdk", descriptor("twoGbMaxExtentSparse", &lines)),
        Gate::Beside,
    )
    .unwrap();
    assert_equal(&read_all(&opened).unwrap(), &disk, "joined");
    let lines = lines.map(|line| line.replace("300", "256"));
    let text = descriptor("twoGbMaxExtentSparse", &lines);
    let (at, found) = fault(VmdkDisk::open(&put(folder.path(), "disk.vmdk", text), Gate::Beside));
    assert_eq!(
        (at, found.to_string().as_str()),
        (12, "the capacity in sectors is 384, but 256 according to the descriptor")
    );
}

// ---- descriptors ---------------------------------------------------------------------------
