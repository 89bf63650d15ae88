//! Descriptors in every spelling, and copies that disagree.

use super::*;

#[test]
fn a_header_without_capacity_that_carries_a_text_is_the_disk_of_that_text() {
    let folder = folder();
    let disk = random_disk(14, 8 * SECTOR);
    put(folder.path(), "image.img", &disk);
    let text = descriptor("monolithicFlat", &["RW 8 FLAT \"image.img\" 0".to_owned()]);
    let sparse = Sparse { descriptor: Some(text), ..Sparse::default() };
    let mut vmdk = sparse.make(&disk);
    put64(&mut vmdk, 12, 0);
    let path = put(folder.path(), "emb.vmdk", &vmdk);
    assert_equal(&read_all(&VmdkDisk::open(&path, Gate::Beside).unwrap()).unwrap(), &disk, "the text's disk");
    assert!(feature(from_pipe(&vmdk)).contains("as a file"));
    put64(&mut vmdk, 28, 0);
    assert!(matches!(fault(from_file(&vmdk)), (12, VmdkViolation::Value { found: 0, .. })));
}

#[test]
fn a_descriptor_without_its_first_comment_is_read_where_it_is_known_to_be_one() {
    let folder = folder();
    put(folder.path(), "flat.bin", [5; 512]);
    let text = descriptor("monolithicFlat", &["RW 1 FLAT \"flat.bin\" 0".to_owned()]);
    for text in
        [text.replace("# Disk DescriptorFile\n", ""), text.replace("# Disk DescriptorFile", "# mine\n")]
    {
        assert!(!looks_like(text.as_bytes()));
        let opened = VmdkDisk::open(&put(folder.path(), "disk.vmdk", &text), Gate::Beside).unwrap();
        assert_eq!(read_all(&opened).unwrap(), [5; 512]);
        let other = text.replace("version=1\nCID", "CID");
        assert_eq!(
            fault(VmdkDisk::open(&put(folder.path(), "disk.vmdk", other), Gate::Beside)),
            (0, VmdkViolation::NotVmdk)
        );
    }
}

#[test]
fn a_colon_is_a_part_of_a_name() {
    let folder = folder();
    let names = ["web:1.vmdk", "file:flat.bin", "c:", "json:{}"];
    for name in names {
        put(folder.path(), name, [5; 512]);
        let text = descriptor("monolithicFlat", &[format!("RW 1 FLAT \"{name}\" 0")]);
        let opened = VmdkDisk::open(&put(folder.path(), "disk.vmdk", text), Gate::Beside).unwrap();
        assert_eq!(read_all(&opened).unwrap(), [5; 512]);
    }
}

#[test]
fn of_two_copies_that_disagree_the_whole_one_is_named() {
    let disk = random_disk(17, 300 * SECTOR);
    let sparse = Sparse { descriptor: Some(embedded("monolithicSparse", disk.len())), ..Sparse::default() };
    let vmdk = sparse.make(&disk);
    let at = |vmdk: &[u8], field: usize| get64(vmdk, field) as usize * SECTOR;
    let (redundant, primary) = (at(&vmdk, 48), at(&vmdk, 56));
    for (directory, wanted) in [(primary, "which is whole"), (redundant, "this one is whole")] {
        let table = get32(&vmdk, directory) as usize * SECTOR;
        for (place, len) in [(directory, 4), (table, 2048)] {
            let mut hurt = vmdk.clone();
            hurt[place..place + len].fill(0);
            let (_, found) = fault(from_file(&hurt));
            assert!(found.to_string().contains(wanted), "{place}: {found}");
        }
    }
}

#[test]
fn copies_that_disagree_in_a_file_that_was_not_closed_say_so() {
    let disk = random_disk(12, 300 * SECTOR);
    let sparse = Sparse { descriptor: Some(embedded("monolithicSparse", disk.len())), ..Sparse::default() };
    let mut vmdk = sparse.make(&disk);
    let copy = get32(&vmdk, get64(&vmdk, 48) as usize * SECTOR) as usize * SECTOR;
    put32(&mut vmdk, copy, 0);
    for unclean in [0, 1] {
        vmdk[72] = unclean;
        let (_, found) = fault(from_file(&vmdk));
        assert!(matches!(found, VmdkViolation::Disagree { .. }), "{found}");
        assert_eq!(found.to_string().contains("not closed cleanly"), unclean == 1, "{found}");
    }
    // An entry of the directory counts too.
    let directory = get64(&vmdk, 48) as usize * SECTOR;
    put32(&mut vmdk, directory, 0);
    assert!(fault(from_file(&vmdk)).1.to_string().contains("not closed cleanly"));
}

// ---- many files ------------------------------------------------------------------------------
