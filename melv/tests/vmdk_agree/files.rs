//! Extents as files: many of them, changed ones, and files beside a disk.

use super::*;

/// Returns the number of this process's open files in a folder.
fn open_in(folder: &Path) -> usize {
    let links =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter(|path| path.parent() == Some(folder)).count()
}

#[test]
fn of_hundreds_of_extents_few_are_open_and_all_are_the_same_later() {
    let folder = folder();
    let place = folder.path().canonicalize().unwrap();
    let disk = random_disk(13, 300 * 16 * SECTOR);
    let mut lines = Vec::new();
    for (number, part) in disk.chunks(16 * SECTOR).enumerate() {
        let is_sparse = number % 3 == 0;
        let bytes = if is_sparse { Sparse::default().make(part) } else { part.to_vec() };
        put(&place, &format!("{number}.bin"), bytes);
        lines.push(format!("RW 16 {} \"{number}.bin\"", if is_sparse { "SPARSE" } else { "FLAT" }));
    }
    let path = put(&place, "disk.vmdk", descriptor("custom", &lines));
    let opened = VmdkDisk::open(&path, Gate::Beside).unwrap();
    // The descriptor stays open too.
    assert!(open_in(&place) <= 65, "{}", open_in(&place));
    for _ in 0..2 {
        for_each_run(&opened, |_, _| Ok(())).unwrap();
        assert_equal(&read_all(&opened).unwrap(), &disk, "reopened");
        assert!(open_in(&place) <= 65, "{}", open_in(&place));
    }
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_equal(&read_all(&opened).unwrap(), &disk, "at once"));
        }
    });
    opened.check_unchanged().unwrap();
    // The last ones are open now, the first ones closed: another file, none, a link, another length.
    let changed = |number: usize| {
        let read = opened.read_at((number * 16 * SECTOR) as u64, &mut [0; 512]);
        let Some(BlockError::Changed { object }) = read.detail() else { panic!("{number}: {read:?}") };
        assert!(object.ends_with(&format!("/{number}.bin")), "{object}");
    };
    fs::copy(place.join("1.bin"), place.join("copy")).unwrap();
    fs::rename(place.join("copy"), place.join("1.bin")).unwrap();
    fs::remove_file(place.join("2.bin")).unwrap();
    fs::rename(place.join("3.bin"), place.join("away")).unwrap();
    std::os::unix::fs::symlink("away", place.join("3.bin")).unwrap();
    fs::File::options().write(true).open(place.join("4.bin")).unwrap().set_len(20 * SECTOR as u64).unwrap();
    (1..5).for_each(changed);
    assert!(matches!(opened.check_unchanged().detail(), Some(BlockError::Changed { .. })));
}

#[test]
fn a_file_that_was_written_to_while_it_was_closed_has_changed() {
    let folder = folder();
    let lines: Vec<String> = (0..100).map(|number| format!("RW 1 FLAT \"{number}.bin\"")).collect();
    (0..100).for_each(|number| drop(put(folder.path(), &format!("{number}.bin"), [1; SECTOR])));
    let opened =
        VmdkDisk::open(&put(folder.path(), "disk.vmdk", descriptor("custom", &lines)), Gate::Beside).unwrap();
    opened.check_unchanged().unwrap();
    put(folder.path(), "0.bin", [2; SECTOR]);
    assert!(
        matches!(opened.check_unchanged().detail(), Some(BlockError::Changed { object }) if object.ends_with("/0.bin"))
    );
}

// ---- neighbours and omissions ------------------------------------------------------------------

fn oddities(path: &Path) -> Vec<Oddity> {
    VmdkDisk::open(path, Gate::Beside)
        .unwrap()
        .warnings()
        .iter()
        .map(|warning| warning.oddity.clone())
        .collect()
}

#[test]
fn what_a_descriptor_leaves_out_of_a_flat_file_is_told() {
    let folder = folder();
    put(folder.path(), "flat.bin", [5; 5 * SECTOR + 7]);
    let path = |lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        put(folder.path(), "disk.vmdk", descriptor("custom", &lines))
    };
    assert_eq!(oddities(&path(&["RW 2 FLAT \"flat.bin\" 0"])), [Oddity::Unused { bytes: 3 * 512 + 7 }]);
    let two = path(&["RW 1 FLAT \"flat.bin\" 4", "RW 1 FLAT \"flat.bin\" 0"]);
    assert_eq!(oddities(&two), [Oddity::Unused { bytes: 7 }]);
    put(folder.path(), "flat.bin", [5; 5 * SECTOR]);
    assert_eq!(oddities(&two), []);
}

#[test]
fn snapshots_and_descriptors_beside_a_disk_are_told() {
    let folder = folder();
    let disk = random_disk(15, 300 * SECTOR);
    let text = format!("{}ddb.uuid.image=\"AB-12\"\n", embedded("monolithicSparse", disk.len()));
    let sparse = |text: &str| Sparse { descriptor: Some(text.to_owned()), ..Sparse::default() }.make(&disk);
    let base = put(folder.path(), "base.vmdk", sparse(&text));
    assert_eq!(oddities(&base), []);
    let child = |name: &str| vec![Oddity::Child { name: name.to_owned() }];
    for line in [
        "parentFileNameHint=\"base.vmdk\"",
        "parentFileNameHint=\"/vmfs/volumes/x/base.vmdk\"",
        "parentCID=12345678",
        "ddb.uuid.parent=\"{ab-12}\"",
    ] {
        put(folder.path(), "child.vmdk", sparse(&format!("{text}{line}\n")));
        assert_eq!(oddities(&base), child("child.vmdk"), "{line}");
        put(folder.path(), "child.vmdk", format!("{text}{line}\n"));
        assert_eq!(oddities(&base), child("child.vmdk"), "{line}, a text");
    }
    for line in ["parentFileNameHint=\"other.vmdk\"", "parentCID=87654321", "ddb.uuid.parent=\"{ab-13}\""] {
        put(folder.path(), "child.vmdk", format!("{text}{line}\n"));
        assert_eq!(oddities(&base), [], "{line}");
    }
    put(
        folder.path(),
        "child.vmdk",
        descriptor("twoGbMaxExtentFlat", &["RW 300 FLAT \"base-f001.vmdk\" 0".into()]),
    );
    let piece = put(folder.path(), "base-f001.vmdk", &disk);
    let told = melv::vmdk::neighbours(&piece, Gate::Beside);
    assert_eq!(told[0].oddity, Oddity::Piece { name: "child.vmdk".into() });
    assert!(told[0].to_string().contains("base-f001.vmdk") && told.len() == 1, "{told:?}");
    // Unreadable files and other formats are not reported.
    fs::remove_file(folder.path().join("child.vmdk")).unwrap();
    std::os::unix::fs::symlink("base.vmdk", folder.path().join("link.vmdk")).unwrap();
    put(folder.path(), "noise.vmdk", random_disk(16, 4096));
    assert_eq!(melv::vmdk::neighbours(&piece, Gate::Beside), []);
}

#[test]
fn the_size_of_sectors_is_kept_and_told() {
    use melv::SectorBits;
    let folder = folder();
    put(folder.path(), "flat.bin", [5; 8 * SECTOR]);
    let base = descriptor("monolithicFlat", &["RW 8 FLAT \"flat.bin\" 0".to_owned()]);
    let bits = |logical, physical| SectorBits { logical, physical };
    for (lines, expected, oddity) in [
        ("", bits(9, 12), None),
        ("ddb.logicalSectorSize = \"512\"\nddb.physicalSectorSize = \"512\"\n", bits(9, 12), None),
        ("ddb.logicalSectorSize = \"4096\"\n", bits(12, 12), Some(Oddity::SectorSize { bytes: 4096 })),
        (
            "DDB.LOGICALSECTORSIZE=4096\nddb.physicalSectorSize=\"512\"\n",
            bits(12, 12),
            Some(Oddity::SectorSize { bytes: 4096 }),
        ),
        ("ddb.logicalSectorSize=1024\n", bits(10, 12), Some(Oddity::SectorSize { bytes: 1024 })),
        ("ddb.logicalSectorSize=8192\n", bits(9, 12), Some(Oddity::OddSectorSize { bytes: 8192 })),
    ] {
        let path = put(folder.path(), "disk.vmdk", format!("{base}{lines}"));
        assert_eq!(VmdkDisk::open(&path, Gate::Beside).unwrap().sector_bits(), expected, "{lines}");
        assert_eq!(oddities(&path), Vec::from_iter(oddity), "{lines}");
    }
}

#[test]
fn a_missing_extent_of_almost_the_same_name_is_named() {
    let folder = folder();
    for (there, wanted, shown) in [
        ("Gro\u{308}\u{df}e.bin", "Gr\u{f6}\u{df}e.bin", "\"Gro\\u{308}\u{df}e.bin\""),
        ("DISK-flat.bin", "disk-FLAT.bin", "\"DISK-flat.bin\""),
    ] {
        put(folder.path(), there, [5; 512]);
        let text = format!(
            "encoding=\"UTF-8\"\n{}",
            descriptor("monolithicFlat", &[format!("RW 1 FLAT \"{wanted}\" 0")])
        );
        let opened = VmdkDisk::open(
            &put(folder.path(), "disk.vmdk", format!("# Disk DescriptorFile\n{text}")),
            Gate::Beside,
        );
        let Some(DiskError::MissingExtent { object, source }) = opened.detail() else { panic!("{opened:?}") };
        assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
        assert!(object.contains("differs only in case") && object.contains(shown), "{object}");
    }
}
