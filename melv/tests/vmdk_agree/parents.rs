//! Differences are refused and name their parents.

use super::*;

#[test]
fn encrypted_disks_are_named() {
    let folder = folder();
    put(folder.path(), "flat.bin", [5; 512]);
    let base = descriptor("monolithicFlat", &["RW 1 FLAT \"flat.bin\" 0".to_owned()]);
    for line in [
        "encryption.keySafe = \"x\"",
        "ENCRYPTIONkeys=\"x\"",
        "keySafe=\"x\"",
        "ddb.other = \"vmware:key/list/(pair/(...\"",
        "ddb.other = \"VMWARE:KEY/list\"",
    ] {
        let text = format!("{base}{line}\n");
        assert!(
            feature(VmdkDisk::open(&put(folder.path(), "disk.vmdk", &text), Gate::Beside))
                .contains("encrypted"),
            "{line}"
        );
        // This takes precedence over other unknown values.
        let text = text.replace("version=1", "version=7").replace("monolithicFlat", "other");
        assert!(
            feature(VmdkDisk::open(&put(folder.path(), "disk.vmdk", &text), Gate::Beside))
                .contains("encrypted"),
            "{line}"
        );
        let (mut vmdk, _) = made(stream(Layout::True), 9);
        let end = (512..).find(|&at| vmdk[at] == 0).unwrap();
        vmdk[end..end + line.len()].copy_from_slice(line.as_bytes());
        assert!(feature(from_file(&vmdk)).contains("encrypted"), "{line}");
        assert!(feature(from_pipe(&vmdk)).contains("encrypted"), "{line}");
    }
}

#[test]
fn a_difference_is_refused_with_its_parent_wherever_the_text_is_and_however_it_is_written() {
    let folder = folder();
    put(folder.path(), "flat.bin", [5; 512]);
    let text = descriptor("monolithicFlat", &["RW 1 FLAT \"flat.bin\" 0".to_owned()]);
    let utf16 = |text: &str, mark: char| -> Vec<u8> {
        let units: Vec<u16> = format!("{mark}{text}").encode_utf16().collect();
        units.iter().flat_map(|unit| unit.to_le_bytes()).collect()
    };
    let uuid = "9f8e7d6c-5b4a-3928-1706-f5e4d3c2b1a0";
    for (line, shown) in [
        ("parentFileNameHint=\"/vm/base.vmdk\"".to_owned(), "/vm/base.vmdk"),
        ("PARENTFILENAMEHINT = base.vmdk".to_owned(), "base.vmdk"),
        ("parentCID=00000001".to_owned(), "00000001"),
        (format!("ddb.uuid.parent=\"{uuid}\""), uuid),
        (format!("\tDDB.uuid.PARENT  =\t\"{{{}}}\"", uuid.to_uppercase()), uuid),
        (format!("ddb.uuid.parentmodification = {uuid}"), uuid),
        ("ddb.nativeParentHint = \"x-000001.vmdk\"".to_owned(), "x-000001.vmdk"),
    ] {
        let child = format!("{text}{line}\n");
        let with_error = format!("{text}{line}\njust words\n");
        for bytes in [
            child.clone().into_bytes(),
            child.replace('\n', "\r\n").into_bytes(),
            child.replace('\n', "\r").into_bytes(),
            format!("\u{feff}{child}").into_bytes(),
            utf16(&child, '\u{feff}'),
            with_error.into_bytes(),
        ] {
            assert!(feature(from_pipe(&bytes)).contains(shown), "{line}, piped");
            let told = feature(VmdkDisk::open(&put(folder.path(), "disk.vmdk", bytes), Gate::Beside));
            assert!(told.contains("parent") && told.contains(shown), "{line}: {told}");
        }
        let (mut vmdk, _) = made(stream(Layout::True), 10);
        let end = (512..).find(|&at| vmdk[at] == 0).unwrap();
        vmdk[end..end + line.len()].copy_from_slice(line.as_bytes());
        assert!(feature(from_file(&vmdk)).contains(shown), "{line}");
        assert!(feature(from_pipe(&vmdk)).contains(shown), "{line}");
        let sparse = Sparse { descriptor: Some(child.replace("FLAT", "SPARSE")), ..Sparse::default() };
        let vmdk = sparse.make(&[7; 512]);
        assert!(feature(from_file(&vmdk)).contains(shown), "{line}, a sparse file");
        assert!(feature(from_pipe(&vmdk)).contains(shown), "{line}, a sparse file piped");
    }
    // UTF-16 without a parent is read.
    let opened =
        VmdkDisk::open(&put(folder.path(), "disk.vmdk", utf16(&text, '\u{feff}')), Gate::Beside).unwrap();
    assert_eq!(read_all(&opened).unwrap(), [5; 512]);
}

#[test]
fn ids_of_zeros_name_no_parent() {
    let zeros = "00000000-0000-0000-0000-000000000000";
    let text = format!(
        "ddb.uuid.image=\"2d7e1d11-7d0c-4a86-a2b3-0123456789ab\"\nddb.uuid.parent=\"{zeros}\"\n\
         ddb.uuid.parentmodification = {{{zeros}}}\nparentFileNameHint=\"\"\n"
    );
    let (mut vmdk, disk) = made(stream(Layout::True), 10);
    let end = (512..).find(|&at| vmdk[at] == 0).unwrap();
    vmdk[end..end + text.len()].copy_from_slice(text.as_bytes());
    assert_equal(&from_file(&vmdk).unwrap(), &disk, "a file");
    assert_equal(&from_pipe(&vmdk).unwrap(), &disk, "piped");
}

#[test]
fn a_piece_whose_own_text_names_a_parent_makes_the_disk_a_difference() {
    let folder = folder();
    let disk = random_disk(11, 512 * SECTOR);
    let lines = ["one", "two"].map(|name| format!("RW 256 SPARSE \"{name}.vmdk\""));
    let path = put(folder.path(), "disk.vmdk", descriptor("twoGbMaxExtentSparse", &lines));
    let pieces = |child: usize| {
        for (number, part) in disk.chunks(256 * SECTOR).enumerate() {
            let text = embedded("monolithicSparse", part.len());
            let text = if number == child { text.replace("ffffffff", "0badcafe") } else { text };
            let sparse = Sparse { descriptor: Some(text), ..Sparse::default() };
            put(folder.path(), ["one.vmdk", "two.vmdk"][number], sparse.make(part));
        }
    };
    pieces(2);
    assert_equal(&read_all(&VmdkDisk::open(&path, Gate::Beside).unwrap()).unwrap(), &disk, "no parent");
    for child in [0, 1] {
        pieces(child);
        assert!(
            feature(VmdkDisk::open(&path, Gate::Beside)).contains("content id 0badcafe"),
            "piece {child}"
        );
    }
}
