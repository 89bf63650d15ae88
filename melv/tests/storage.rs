//! Every back end keeps the contract of the storage seam.

use std::io::ErrorKind;

use melv::storage::model::{ModelFs, Names};
use melv::storage::{FileStorage, MemoryStorage, ObjectSource, ObjectStore, Scratch};
use melv_testing::{FaultMode, FaultyStorage, Operation, check_contract, object};

#[test]
fn a_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    check_contract(&FileStorage::new(folder.path().join("made/when/needed")));
}

#[test]
fn a_folder_on_the_modelled_disk_keeps_the_contract() {
    for names in [Names::Ordered, Names::Loose] {
        check_contract(&ModelFs::new(names).storage());
    }
}

#[test]
fn memory_keeps_the_contract() {
    check_contract(&MemoryStorage::new());
}

#[test]
fn a_faulty_storage_that_never_fails_keeps_the_contract() {
    check_contract(&FaultyStorage::counting(MemoryStorage::new(), Operation::All));
}

#[test]
fn the_nth_operation_fails_once_or_for_ever() {
    let fails = |mode| {
        let storage = FaultyStorage::new(MemoryStorage::new(), Operation::Reads, 1, mode, ErrorKind::Other);
        (0..4).map(|_| storage.list("").is_err()).collect::<Vec<_>>()
    };
    assert_eq!(fails(FaultMode::Once), [false, true, false, false]);
    assert_eq!(fails(FaultMode::Forever), [false, true, true, true]);
}

#[test]
fn a_loss_of_power_keeps_what_was_synced_and_published() {
    let storage = MemoryStorage::new();
    let made = storage.create(&object("tmp/one")).unwrap();
    made.append(b"synced").unwrap();
    made.sync().unwrap();
    made.append(b" and not").unwrap();
    storage.publish(&[(object("tmp/one"), object("one"))]).unwrap();
    storage.create(&object("tmp/two")).unwrap().append(b"never published").unwrap();
    let mut gone = 0;
    for seed in 0..64 {
        let after = storage.power_loss(seed).contents();
        assert!(after["one"].starts_with(b"synced"));
        gone += usize::from(!after.contains_key("tmp/two"));
    }
    assert!((1..64).contains(&gone), "both outcomes occur: {gone} of 64");
}

#[test]
fn a_folder_does_not_follow_a_link_to_a_file_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    std::fs::write(&outside, "secret").unwrap();
    std::fs::create_dir(folder.path().join("store")).unwrap();
    std::os::unix::fs::symlink(&outside, folder.path().join("store/link")).unwrap();
    let storage = FileStorage::new(folder.path().join("store"));
    assert!(storage.open(&object("link")).is_err());
    assert_eq!(storage.list("").unwrap(), []);
}
