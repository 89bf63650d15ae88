//! Descriptors, extents and tables that make no disk are refused with their place.

use super::*;

#[test]
fn descriptors_are_read_however_they_are_written() {
    let folder = Folder::new();
    folder.put("flat.bin", [5; 512]);
    folder.put("é中.bin", [6; 512]);
    let base = descriptor("monolithicFlat", &["RW 1 FLAT \"flat.bin\" 0".to_owned()]);
    let spellings = [
        base.replace('\n', "\r\n"),
        base.to_uppercase().replace("FLAT.BIN", "flat.bin"),
        base.to_lowercase().replace("descriptorfile", "descriptor file"),
        format!("\u{feff}{base}"),
        format!("\n\n  # a comment\n{base}"),
        base.replace(
            "version=1",
            "encoding=\"UTF-8\"\n version = \"3\" \nunknown.key=x\n# Indicates no parent",
        ),
        format!("{base}ddb.toolsVersion=\"1\"\nddb.toolsVersion=\"2\"\ncreateType=\"MONOLITHICFLAT\"\n"),
        base.replace("ffffffff", "FFFFFFFF ").replace("RW 1", "  RDONLY\t1  "),
        format!("{base}parentFileNameHint=\"\"\n"),
        format!("{base}{}", "\0".repeat(100)),
        format!("{base}# {}", "x".repeat((1 << 20) - base.len() - 2)),
    ];
    for text in spellings {
        let disk = VmdkDisk::open(&folder.put("disk.vmdk", &text), Gate::Beside)
            .unwrap_or_else(|e| panic!("{e}: {text:.300}"));
        assert_eq!(read_all(&disk).unwrap(), [5; 512]);
    }
    let (before, after) = base.split_once("flat.bin").unwrap();
    let chinese: &[u8] = b"\xa8\xa6\xd6\xd0.bin";
    for encoding in ["encoding=\"GBK\"\n", "ddb.encoding = \"gb18030\"\r\n"] {
        let text = [before.as_bytes(), chinese, after.as_bytes(), encoding.as_bytes()].concat();
        assert_eq!(
            read_all(&VmdkDisk::open(&folder.put("disk.vmdk", text), Gate::Beside).unwrap()).unwrap(),
            [6; 512]
        );
    }
    let nowhere = [before.as_bytes(), chinese, after.as_bytes()].concat();
    let fault = fault(VmdkDisk::open(&folder.put("disk.vmdk", nowhere), Gate::Beside)).1;
    assert!(matches!(fault, VmdkViolation::Descriptor { line: 8, .. }), "{fault}");
}

#[test]
fn descriptors_that_make_no_disk_are_refused() {
    let folder = Folder::new();
    folder.put("flat.bin", [5; 512]);
    let base = descriptor("monolithicFlat", &["RW 1 FLAT \"flat.bin\" 0".to_owned()]);
    let refused = |text: &str| fault(VmdkDisk::open(&folder.put("disk.vmdk", text), Gate::Beside)).1;
    for text in [
        base.replace("RW 1 FLAT \"flat.bin\" 0", ""),
        base.replace("RW 1", "RW 0"),
        base.replace("RW 1", "RW 1x"),
        base.replace("RW 1", "RWX 1"),
        base.replace("FLAT", "ROUND"),
        base.replace("\"flat.bin\" 0", ""),
        base.replace("\"flat.bin\" 0", "flat.bin"),
        base.replace("\"flat.bin\" 0", "\"flat.bin"),
        base.replace("createType=\"monolithicFlat\"", ""),
        base.replace("version=1", "version=one"),
        base.replace("ffffffff", "fffffffff"),
        base.replace("ffffffff", "none"),
        format!("{base}createType=\"custom\"\n"),
        format!("{base}just words\n"),
        format!("{base}\0RW 1 FLAT \"flat.bin\" 0\n"),
        base.replace("RW 1 FLAT \"flat.bin\" 0", &"RW 1 ZERO\n".repeat(4097)),
    ] {
        assert!(matches!(refused(&text), VmdkViolation::Descriptor { .. }), "{text:.300}");
    }
    let sum = format!("RW {} ZERO\n", (1u64 << 54) - 1).repeat(2);
    let text = base.replace("RW 1 FLAT \"flat.bin\" 0", &sum);
    assert!(matches!(refused(&text), VmdkViolation::Value { what: "the sum of the extents' sectors", .. }));
    assert!(matches!(
        refused(&base.replace("RW 1", "RW 2")),
        VmdkViolation::Truncated { needed: 1024, found: 512 }
    ));
    assert!(matches!(
        refused(&base.replace("\" 0", "\" 1")),
        VmdkViolation::Truncated { needed: 1024, found: 512 }
    ));
    assert_eq!(refused("no mark at all"), VmdkViolation::NotVmdk);
    assert!(
        refused(&base.replace("RW 1", "RW 1x")).to_string().contains("line 8 of the descriptor is \"RW 1x")
    );
}

#[test]
fn a_descriptor_of_gigabytes_is_refused_unread() {
    let folder = Folder::new();
    let path = folder.put("disk.vmdk", descriptor("monolithicFlat", &[]));
    fs::File::options().write(true).open(&path).unwrap().set_len(3 << 30).unwrap();
    let begun = std::time::Instant::now();
    let expected = VmdkViolation::DescriptorLen { found: 3 << 30, max: 1 << 20 };
    assert_eq!(fault(VmdkDisk::open(&path, Gate::Beside)), (0, expected));
    assert!(begun.elapsed().as_millis() < 500);
    // An embedded descriptor has the same limit.
    let (mut vmdk, _) = sparse_vmdk(Sparse::default());
    put64(&mut vmdk, 36, 1 << 40);
    assert!(matches!(fault(open_bytes(&vmdk)).1, VmdkViolation::Truncated { .. }));
    let path = folder.put("disk.vmdk", &vmdk);
    let end = 2u64 << 30;
    fs::File::options().write(true).open(&path).unwrap().set_len(3 << 30).unwrap();
    put64(&mut vmdk, 28, end / 512);
    put64(&mut vmdk, 36, (1 << 20) / 512 + 1);
    use std::os::unix::fs::FileExt;
    fs::File::options().write(true).open(&path).unwrap().write_all_at(&vmdk[..512], 0).unwrap();
    assert!(matches!(fault(VmdkDisk::open(&path, Gate::Beside)), (_, VmdkViolation::DescriptorLen { .. })));
}

#[test]
fn other_kinds_are_named_as_unsupported() {
    let folder = Folder::new();
    folder.put("flat.bin", [5; 512]);
    let line = "RW 1 FLAT \"flat.bin\" 0";
    let device = "RW 1 FLAT \"/dev/sda\" 0";
    for kind in ["fullDevice", "partitionedDevice"] {
        assert_eq!(read_all(&folder.open(kind, &[line]).unwrap()).unwrap(), [5; 512], "{kind}");
        for device in [device, "RW 1 FLAT \"\\\\.\\PhysicalDrive2\" 0", "RW 1 FLAT \"../flat.bin\""] {
            let told = feature(folder.open(kind, &[line, device]));
            assert!(told.contains(kind) && told.contains("give it directly"), "{told}");
        }
    }
    for kind in ["vmfsRaw", "vmfsRDM", "vmfsSparse", "seSparse", "vsanSparse", "x"] {
        assert!(feature(folder.open(kind, &[line])).contains(kind));
    }
    for word in ["VMFSSPARSE", "VMFSRDM", "VMFSRAW", "SESPARSE"] {
        assert!(feature(folder.open("vmfs", &[&format!("RW 1 {word} \"flat.bin\"")])).contains(word));
    }
    assert!(feature(folder.open("custom", &["NOACCESS 1 FLAT \"flat.bin\" 0"])).contains("NOACCESS"));
    let base = descriptor("monolithicFlat", &[line.to_owned()]);
    let with = |text: String| feature(VmdkDisk::open(&folder.put("disk.vmdk", text), Gate::Beside));
    assert!(with(base.replace("ffffffff", "0badcafe")).contains("content id 0badcafe"));
    let hint = format!("{base}parentFileNameHint=\"/vm/base.vmdk\"\n");
    assert!(with(hint.replace("ffffffff", "0badcafe")).contains("/vm/base.vmdk"));
    assert!(with(hint.replace("parentCID=ffffffff\n", "")).contains("/vm/base.vmdk"));
    assert!(with(base.replace("version=1", "version=4")).contains("version 4"));
    let (vmdk, _) = sparse_vmdk(Sparse::default());
    let text = String::from_utf8_lossy(&vmdk[512..1536]).into_owned();
    let child = text.replace("parentCID=ffffffff", "parentCID=0badcafe");
    let child = [&vmdk[..512], child.as_bytes(), &vmdk[1536..]].concat();
    assert!(feature(open_bytes(&child)).contains("parent"));
    for (magic, what) in
        [(&b"COWD\x01"[..], "COWD"), (b"\xbe\xba\xfe\xca\0\0\0\0\x01\0\0\0\x02\0\0\0", "seSparse")]
    {
        let bytes = [magic, &[0; 4096]].concat();
        assert!(feature(open_bytes(&bytes)).contains(what));
        assert!(feature(import_stream(&bytes)).contains(what));
    }
}

// ---- names ---------------------------------------------------------------------------------

#[test]
fn nothing_but_a_plain_file_beside_the_descriptor_is_opened() {
    let folder = Folder::new();
    fs::create_dir(folder.path("sub")).unwrap();
    for file in ["sub/flat.bin", "flat.bin"] {
        folder.put(file, [5; 512]);
    }
    symlink("flat.bin", folder.path("link.bin")).unwrap();
    symlink("/etc/hostname", folder.path("away.bin")).unwrap();
    let made = Command::new("mkfifo").arg(folder.path("pipe.bin")).status().unwrap();
    assert!(made.success());
    let absolute = folder.path("flat.bin").display().to_string();
    let names = [
        "/etc/hostname",
        &absolute,
        "../flat.bin",
        "sub/flat.bin",
        "./flat.bin",
        ".",
        "..",
        "",
        "sub",
        "link.bin",
        "away.bin",
        "pipe.bin",
        "/dev/zero",
        "http://example.org/flat.bin",
        "json:{\"file\":{}}",
        "nbd:unix:/socket",
        "C:\\flat.bin",
        "sub\\flat.bin",
        "disk.vmdk",
    ];
    for extent in names {
        for kind in ["FLAT", "VMFS", "SPARSE"] {
            let line = format!("RW 1 {kind} \"{extent}\"");
            let (_, found) = fault(folder.open("custom", &[&line]));
            // A quote ends a name, so that one is not even a line.
            if extent.contains('"') {
                assert!(matches!(found, VmdkViolation::Descriptor { .. }), "{extent}: {found}");
                continue;
            }
            assert!(
                matches!(&found, VmdkViolation::Extent { name, .. } if name == extent),
                "{extent}: {found}"
            );
            assert!(found.to_string().contains("melv opens nothing else"), "{found}");
        }
    }
    // A hard link is still the descriptor.
    fs::hard_link(folder.path("disk.vmdk"), folder.path("hard.vmdk")).unwrap();
    let text = descriptor("custom", &["RW 1 FLAT \"hard.vmdk\"".to_owned()]);
    fs::write(folder.path("disk.vmdk"), text).unwrap();
    let (_, found) = fault(VmdkDisk::open(&folder.path("disk.vmdk"), Gate::Beside));
    assert!(matches!(found, VmdkViolation::Extent { why: "the descriptor itself", .. }), "{found}");
}

#[test]
fn a_missing_extent_is_named() {
    let folder = Folder::new();
    let opened = folder.open("monolithicFlat", &["RW 1 FLAT \"gone-flat.vmdk\" 0"]);
    let Some(DiskError::MissingExtent { object, source }) = opened.detail() else { panic!("{opened:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
    assert!(object.ends_with("/gone-flat.vmdk"), "{object}");
}

#[test]
fn sparse_extents_are_used_once_and_say_what_the_descriptor_says() {
    let folder = Folder::new();
    let disk = random_disk(9, 300 * SECTOR);
    let bare = Sparse::default().make(&disk);
    folder.put("s001.vmdk", &bare);
    let line = "RW 300 SPARSE \"s001.vmdk\"";
    assert_equal(
        &read_through(&folder.open("2GbMaxExtentSparse", &[line]).unwrap()).unwrap(),
        &disk,
        "split",
    );
    for lines in [[line, line], [line, "RW 1 FLAT \"s001.vmdk\""], ["RW 1 FLAT \"s001.vmdk\"", line]] {
        assert!(matches!(fault(folder.open("custom", &lines)).1, VmdkViolation::Extent { .. }));
    }
    let (offset, found) = fault(folder.open("2GbMaxExtentSparse", &["RW 301 SPARSE \"s001.vmdk\""]));
    let text = "the capacity in sectors is 300, but 301 according to the descriptor";
    assert_eq!((offset, found.to_string().as_str()), (12, text));
    folder.put("s001.vmdk", &disk);
    assert_eq!(fault(folder.open("2GbMaxExtentSparse", &[line])), (0, VmdkViolation::Magic));
    // Alone it is not a disk.
    assert_eq!(fault(open_bytes(&bare)).1, VmdkViolation::NoDescriptor);
    for (text, kind) in [
        (embedded("monolithicSparse", 300 * SECTOR).replace("SPARSE", "FLAT"), "FLAT"),
        (embedded("monolithicSparse", 300 * SECTOR) + "RW 1 ZERO\n", "SPARSE"),
    ] {
        let vmdk = Sparse { descriptor: Some(text), ..Sparse::default() }.make(&disk);
        assert!(
            matches!(fault(open_bytes(&vmdk)).1, VmdkViolation::Embedded { kind: found, .. } if found == kind)
        );
    }
    let other =
        Sparse { descriptor: Some(embedded("monolithicSparse", 512)), ..Sparse::default() }.make(&disk);
    assert!(matches!(fault(open_bytes(&other)).1, VmdkViolation::Disagree { found: 300, expected: 1, .. }));
}

// ---- headers and tables --------------------------------------------------------------------

#[test]
fn headers_out_of_range_are_refused_at_their_field() {
    let (vmdk, _) = sparse_vmdk(Sparse::default());
    let set = |at: usize, value: u64, len: usize| {
        let mut vmdk = vmdk.clone();
        vmdk[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        vmdk
    };
    for (field, values) in [
        ("capacity", &[0u64, 1 << 54, 1 << 55, (1 << 63) / 512, 1 << 63, u64::MAX][..]),
        ("grain", &[0, 1, 4, 7, 100, 129, 8192, 32768, 1 << 32, 1 << 63, u64::MAX]),
        ("entries", &[0, 1, 64, 511, 513, 1024, u32::MAX as u64]),
    ] {
        let (_, at, len) = *FIELDS.iter().find(|(name, _, _)| *name == field).unwrap();
        for &value in values {
            let (offset, found) = fault(open_bytes(&set(at, value, len)));
            assert_eq!(offset, at as u64, "{field} {value}: {found}");
            assert!(
                matches!(found, VmdkViolation::Value { found, .. } if found == value),
                "{field} {value}: {found}"
            );
        }
    }
    for version in [0, 4, u32::MAX] {
        assert!(feature(open_bytes(&set(4, u64::from(version), 4))).contains("version"));
    }
    for flags in [0x4_0003, 0x8000_0003, 0x2_0003] {
        feature(open_bytes(&set(8, flags, 4)));
    }
    assert!(matches!(fault(open_bytes(&set(8, 0x1_0003, 4))), (77, VmdkViolation::Value { .. })));
    assert!(matches!(
        fault(open_bytes(&vmdk[..511])).1,
        VmdkViolation::Truncated { needed: 512, found: 511 }
    ));
    assert!(matches!(fault(open_bytes(b"KDMV")).1, VmdkViolation::Truncated { .. }));
    // Unknown low flags are compatible by their position.
    assert!(open_bytes(&set(8, 0xfff3, 4)).is_ok());
}

#[test]
fn tables_that_cannot_be_are_refused_at_their_entry() {
    let (vmdk, _) = sparse_vmdk(Sparse::default());
    let (redundant, primary) = (get64(&vmdk, 48) as usize * SECTOR, get64(&vmdk, 56) as usize * SECTOR);
    let table = get32(&vmdk, primary) as usize * SECTOR;
    let copy = get32(&vmdk, redundant) as usize * SECTOR;
    let end = (vmdk.len() / SECTOR) as u32;
    let with = |places: &[(usize, u32)]| {
        let mut vmdk = vmdk.clone();
        places.iter().for_each(|&(at, value)| put32(&mut vmdk, at, value));
        fault(open_bytes(&vmdk))
    };
    // Past the end of the file: directory, table, grain.
    for field in [48, 56] {
        let mut past = vmdk.clone();
        put64(&mut past, field, u64::from(end));
        assert!(matches!(fault(open_bytes(&past)).1, VmdkViolation::Truncated { .. }));
        put64(&mut past, field, u64::MAX - 1);
        assert!(matches!(fault(open_bytes(&past)).1, VmdkViolation::Truncated { .. }));
    }
    for sector in [end - 3, end, u32::MAX] {
        assert!(
            matches!(with(&[(primary, sector)]), (at, VmdkViolation::Truncated { .. }) if at == primary as u64)
        );
    }
    for sector in [end, end + 1, u32::MAX] {
        let (at, found) = with(&[(table + 4, sector), (copy + 4, sector)]);
        assert!(matches!(found, VmdkViolation::Truncated { .. }), "{found}");
        assert_eq!(at, table as u64 + 4);
    }
    // Overlapping.
    for sector in [0, 1, 2] {
        let mut over = vmdk.clone();
        put64(&mut over, 56, sector);
        assert!(matches!(fault(open_bytes(&over)).1, VmdkViolation::Overlap { .. }));
    }
    let sectors = |at: usize| (at / SECTOR) as u32;
    for sector in
        [1, sectors(primary), sectors(redundant), sectors(copy), sectors(copy) + 3, sectors(table) - 3]
    {
        assert!(matches!(with(&[(primary, sector)]).1, VmdkViolation::Overlap { .. }), "{sector}");
    }
    let grain = get32(&vmdk, table + 4);
    for sector in
        [1, 2, sectors(primary), sectors(table) + 3, sectors(copy), grain + 128, grain + 129, grain - 127]
    {
        let (at, found) = with(&[(table + 4, sector), (copy + 4, sector)]);
        assert!(matches!(found, VmdkViolation::GrainPlace { .. }), "{sector}: {found}");
        assert!((table as u64..table as u64 + 2048).contains(&at), "{at}");
    }
    // Disagreeing.
    let (at, found) = with(&[(copy + 4, grain + 128)]);
    assert!(
        matches!(found, VmdkViolation::Disagree { by, .. } if by.starts_with("the redundant one")),
        "{found}"
    );
    assert_eq!(at, table as u64 + 4);
    assert!(matches!(with(&[(redundant, 0)]), (at, VmdkViolation::Disagree { .. }) if at == primary as u64));
    // A grain past the end of the disk.
    assert!(matches!(
        with(&[(table + 511 * 4, grain), (copy + 511 * 4, grain)]).1,
        VmdkViolation::GrainPlace { .. }
    ));
}

#[test]
fn two_grains_of_different_tables_at_one_place_are_refused() {
    let disk = random_disk(11, 9 << 20);
    let create_type = "monolithicSparse";
    let sparse = Sparse {
        grain_sectors: 8,
        redundant: false,
        descriptor: Some(embedded(create_type, disk.len())),
        ..Sparse::default()
    };
    let mut vmdk = sparse.make(&disk);
    let directory = get64(&vmdk, 56) as usize * SECTOR;
    let tables = [0, 4].map(|at| get32(&vmdk, directory + at) as usize * SECTOR);
    let used = (0..512).find(|entry| get32(&vmdk, tables[0] + entry * 4) != 0).unwrap();
    let place = get32(&vmdk, tables[0] + used * 4);
    let other = (0..512).find(|entry| get32(&vmdk, tables[1] + entry * 4) != 0).unwrap();
    put32(&mut vmdk, tables[1] + other * 4, place);
    let (at, found) = fault(open_bytes(&vmdk));
    assert!(matches!(
        found,
        VmdkViolation::GrainPlace { table: 1, why: "which overlaps a grain of another table", .. }
    ));
    assert_eq!(at, (tables[1] + other * 4) as u64);
    // Every read fails alike, on any thread.
    let folder = Folder::new();
    let opened = VmdkDisk::open(&folder.put("disk.vmdk", &vmdk), Gate::Beside).unwrap();
    let mut one = vec![0; 4096];
    opened.read_at(0, &mut one).unwrap();
    let again = || {
        let mut bytes = vec![0; 4096];
        fault(opened.read_at((512 + other as u64) * 4096, &mut bytes))
    };
    let expected = (at, found);
    assert_eq!((again(), again()), (expected.clone(), expected.clone()));
    std::thread::scope(|scope| {
        let threads = [scope.spawn(again), scope.spawn(again)];
        threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), expected));
    });
    opened.read_at(0, &mut one).unwrap();
}

#[test]
fn a_file_cut_anywhere_is_never_filled_with_zeros() {
    for sparse in [Sparse::default(), stream(Layout::True), stream(Layout::Patched), stream(Layout::Front)] {
        let is_stream = sparse.grains != Grains::Plain;
        let (vmdk, disk) = sparse_vmdk(Sparse { descriptor: None, ..sparse });
        let step = 509 * 7;
        for end in (0..vmdk.len()).step_by(step).chain([vmdk.len() - 1, vmdk.len() - 512, vmdk.len() - 1024])
        {
            // The padding of the last grain or of the directory, and the end marker, may be missing.
            match open_bytes(&vmdk[..end]) {
                Ok(bytes) => {
                    assert!(is_stream && vmdk.len() - end < 1024, "{end} of {}", vmdk.len());
                    assert_equal(&bytes, &disk, "cut in its padding");
                }
                Err(error) if matches!(error.detail(), Some(DiskError::Vmdk { .. })) => {}
                Err(other) => panic!("{end}: {other:?}"),
            }
            if is_stream {
                match import_stream(&vmdk[..end]) {
                    Err(error) if matches!(error.detail(), Some(DiskError::Vmdk { .. })) => {}
                    // The patched layout needs no end marker: the directory came last.
                    Ok(_) if end == vmdk.len() - 512 => {}
                    other => panic!("{end}: {other:?}"),
                }
            }
        }
    }
}

// ---- streams -------------------------------------------------------------------------------
