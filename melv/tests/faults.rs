//! Every read fails once, and every write finds the disk full: errors are typed and bytes are right.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use melv::{BlockError, Error, ImageRef, ImportOptions, MemoryStorage, Source, Store, StoreOptions};
use melv_testing::{FaultMode, FaultyStorage, Operation};
use melv_testing::{
    Op, VecDisk, Watched, assert_clean, assert_equal, assert_image, assert_same_objects, committed, full,
    import, name, options, put_all, random_disk, read_all, store_in,
};

const KIB: usize = 1 << 10;

struct Fixture {
    storage: MemoryStorage,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Fixture {
    fn new() -> Self {
        let old = random_disk(41, 300 * KIB);
        let new = [&old[100 * KIB..], &random_disk(42, 120 * KIB)].concat();
        let storage = MemoryStorage::new();
        import(&store_in(&storage), &old, &options("old"));
        Self { storage: put_all(&storage.contents()), old, new }
    }

    /// Makes a copy of the storage whose operation `number` fails.
    fn faulty(
        &self,
        counted: Operation,
        number: u64,
        mode: FaultMode,
        kind: ErrorKind,
    ) -> (MemoryStorage, FaultyStorage<MemoryStorage>) {
        let storage = put_all(&self.storage.contents());
        (storage.clone(), FaultyStorage::new(storage, counted, number, mode, kind))
    }
}

/// Checks that the error is the injected fault, with its operation and object.
fn assert_typed(error: &Error, what: &str) {
    match error.detail() {
        Some(BlockError::Io { operation, object, source }) => {
            assert!(!operation.is_empty() && !object.is_empty(), "{what}: {error:?}");
            assert!(source.to_string().contains("injected fault"), "{what}: {error:?}");
        }
        _ => panic!("{what}: {error:?}"),
    }
}

#[test]
fn a_read_that_fails_once_is_an_error_and_never_wrong_bytes() {
    let fixture = Fixture::new();
    let (mut failed, mut unnoticed) = (0, 0);
    for number in 0.. {
        let (_, faulty) = fixture.faulty(Operation::Reads, number, FaultMode::Once, ErrorKind::Other);
        let what = format!("read {number}");
        let read = Store::open(faulty.clone(), StoreOptions::default())
            .and_then(|store| store.image(&"old".parse().expect("a name")))
            .and_then(|image| {
                let first = read_all(&image);
                if let Err(error) = &first {
                    assert_typed(error, &what);
                    // A failure is not cached.
                    assert_equal(&read_all(&image).expect(&what), &fixture.old, &what);
                }
                first
            });
        match read {
            Ok(bytes) => {
                assert_equal(&bytes, &fixture.old, &what);
                unnoticed += 1;
            }
            Err(error) => {
                assert_typed(&error, &what);
                failed += 1;
            }
        }
        if faulty.operations() <= number {
            break;
        }
    }
    assert!(failed > 10 && unnoticed == 1, "{failed} failed, {unnoticed} did not");
}

#[test]
fn an_import_during_which_a_read_fails_is_whole_or_an_error() {
    let fixture = Fixture::new();
    let clean = put_all(&fixture.storage.contents());
    let report = import(&store_in(&clean), &fixture.new, &options("new"));
    let disk = VecDisk(fixture.new.clone());
    let (mut failed, mut less_shared) = (0, 0);
    for number in 0.. {
        let (storage, faulty) = fixture.faulty(Operation::Reads, number, FaultMode::Once, ErrorKind::Other);
        let what = format!("read {number}");
        let Ok(store) = Store::open(faulty.clone(), StoreOptions::default()) else { continue };
        let parent = Some("old".parse().expect("a reference"));
        match store.import(Source::device(&disk), &ImportOptions { parent, ..options("new") }) {
            Ok(found) => {
                assert_eq!((found.content, found.data_bytes), (report.content, report.data_bytes), "{what}");
                less_shared += u64::from(found.new_bytes != report.new_bytes);
            }
            Err(error) => {
                assert_typed(&error, &what);
                failed += 1;
                // A read that may succeed at the next try is no reason to make the index again.
                let now = storage.contents();
                let index = fixture.storage.contents().into_keys().filter(|name| name.starts_with("index/"));
                let lost: Vec<_> = index.filter(|name| !now.contains_key(name)).collect();
                assert!(lost.is_empty(), "{what}: {lost:?}");
                store.import(Source::device(&disk), &options("new")).expect(&what);
            }
        }
        let done = faulty.operations() <= number;
        drop(store);
        assert_image(&store_in(&storage), "new", &fixture.new);
        assert_image(&store_in(&storage), "old", &fixture.old);
        assert_clean(&store_in(&storage));
        if done {
            break;
        }
    }
    assert!(failed > 5, "{failed}");
    assert_eq!(less_shared, 0, "imports that stored what was there, for one failed read");
}

#[test]
fn a_verify_during_which_a_read_fails_says_so() {
    let fixture = Fixture::new();
    for number in 0.. {
        let counted = Arc::new(AtomicU64::new(0));
        let failed = Arc::new(Mutex::new(None));
        let hook = {
            let (counted, failed) = (counted.clone(), failed.clone());
            move |op: &Op| {
                if counted.fetch_add(1, Ordering::SeqCst) == number {
                    *failed.lock().expect("lock") = Some(op.clone());
                    return Err(std::io::Error::other("injected fault"));
                }
                Ok(())
            }
        };
        let watched = Watched::hooked(put_all(&fixture.storage.contents()), hook);
        let Ok(store) = Store::open(watched, StoreOptions::default()) else { continue };
        let verified = store.verify(&[], &full());
        let failed = failed.lock().expect("lock").clone();
        let what = format!("{failed:?}");
        match verified {
            Err(error) => assert_typed(&error, &what),
            Ok(report) if report.damaged.is_empty() => match failed {
                None => break,
                // The index is a cache: its unreadable parts are rebuilt from the frames.
                Some(Op::Open(name) | Op::List(name) | Op::Read { object: name, .. }) => {
                    assert!(name.starts_with("index/"), "{what} went unnoticed")
                }
                Some(op) => panic!("{op:?} went unnoticed"),
            },
            Ok(_) => assert!(failed.is_some(), "nothing failed"),
        }
    }
}

/// A taken name is refused even if reading it fails.
#[test]
fn a_failing_read_never_gives_a_taken_name_away() {
    let fixture = Fixture::new();
    let store = store_in(&fixture.storage);
    let first = store.resolve(&"old".parse().expect("a name")).expect("id");
    let second = import(&store, &fixture.new, &options("new")).image;
    for number in 0.. {
        let (storage, faulty) = fixture.faulty(Operation::Reads, number, FaultMode::Once, ErrorKind::Other);
        let Ok(store) = Store::open(faulty.clone(), StoreOptions::default()) else { continue };
        let tagged = store.tag(&ImageRef::Id(second), &name("old"), false);
        assert!(tagged.is_err(), "read {number}: {tagged:?}");
        let imported = store.import(Source::device(&VecDisk(fixture.new.clone())), &options("old"));
        assert!(imported.is_err(), "read {number}: {imported:?}");
        let found = store_in(&storage).resolve(&"old".parse().expect("a name")).expect("id");
        assert_eq!(found, first, "read {number}");
        if faulty.operations() <= number {
            break;
        }
    }
}

#[test]
fn a_full_disk_is_told_apart_and_harms_nothing() {
    let fixture = Fixture::new();
    let before = committed(&fixture.storage);
    let clean = put_all(&fixture.storage.contents());
    import(&store_in(&clean), &fixture.new, &options("new"));
    let disk = VecDisk(fixture.new.clone());
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
        let mut full = 0;
        for number in 0.. {
            let what = format!("write {number}, {kind}");
            let (storage, faulty) = fixture.faulty(Operation::Writes, number, FaultMode::Forever, kind);
            let store = Store::open(faulty.clone(), StoreOptions::default()).expect("store");
            let done = store.import(Source::device(&disk), &options("new"));
            match &done {
                Ok(_) => assert_image(&store, "new", &fixture.new),
                Err(error) if matches!(error.detail(), Some(BlockError::NoSpace { .. })) => full += 1,
                Err(error) => panic!("{what}: {error:?}"),
            }
            assert_image(&store, "old", &fixture.old);
            drop(store);
            // With space freed, the same import works and leaves the same objects as a clean one.
            let store = store_in(&storage);
            let again = ImportOptions { replace: true, ..options("new") };
            store.import(Source::device(&disk), &again).expect(&what);
            assert_image(&store, "new", &fixture.new);
            assert_same_objects(&committed(&storage), &committed(&clean), &what);
            if faulty.operations() <= number {
                break;
            }
        }
        assert!(full > 15, "{full}");
    }
    assert_same_objects(&committed(&fixture.storage), &before, "the fixture");
}

#[test]
fn a_full_disk_that_has_room_again_needs_no_new_handle_but_after_a_sync() {
    let fixture = Fixture::new();
    let before = committed(&fixture.storage);
    let disk = VecDisk(fixture.new.clone());
    for number in 0.. {
        let what = format!("write {number}");
        let (storage, faulty) =
            fixture.faulty(Operation::Writes, number, FaultMode::Once, ErrorKind::StorageFull);
        let store = Store::open(faulty.clone(), StoreOptions::default()).expect("store");
        match store.import(Source::device(&disk), &options("new")) {
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.detail(),
                    Some(BlockError::NoSpace { operation: "sync" | "publish", .. })
                ) => {}
            Err(error) if matches!(error.detail(), Some(BlockError::NoSpace { .. })) => {
                assert_same_objects(&committed(&storage), &before, &what);
                store.import(Source::device(&disk), &options("new")).expect(&what);
                assert_image(&store, "new", &fixture.new);
            }
            Err(error) => panic!("{what}: {error:?}"),
        }
        if faulty.operations() <= number {
            break;
        }
    }
}
