//! Several writers, readers and handles at once on one store in a folder.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use melv::storage::LockMode;
use melv::{
    BlockDevice, FileStorage, ImageRef, ImportOptions, MemoryStorage, ObjectSource, ObjectStore, ResultExt,
    Source, Store, StoreError, StoreOptions,
};
use melv_testing::{
    Rng, VecDisk, Watched, assert_clean, assert_equal, assert_image, image, import, name, object, on_threads,
    options, random_disk, read_all, store_in,
};

const KIB: usize = 1 << 10;

fn open(path: &std::path::Path) -> Store {
    Store::create_folder(path, StoreOptions::default()).expect("store")
}

/// Runs `work` on `threads` threads at once, each with its own handle and pool.
fn at_once(path: &std::path::Path, threads: usize, work: impl Fn(usize, &Store) + Sync) {
    let start = Barrier::new(threads);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                let store = open(path);
                on_threads(2, || work(thread, &store));
            });
        }
    });
}

#[test]
fn imports_of_the_same_disk_at_once_all_succeed_and_store_it_at_most_once_each() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("store");
    let disk = random_disk(1, 900 * KIB);
    // The threads also create the store concurrently.
    at_once(&path, 4, |thread, store| {
        let report = import(store, &disk, &options(&format!("same:{thread}")));
        assert_eq!(report.size_bytes, disk.len() as u64);
    });
    let store = open(&path);
    let ids: Vec<_> = (0..4).map(|thread| image(&store, &format!("same:{thread}")).id()).collect();
    (0..4).for_each(|thread| assert_image(&store, &format!("same:{thread}"), &disk));
    assert_clean(&store);
    assert_eq!(import(&store, &disk, &options("again")).new_bytes, 0);
    assert!(ids.iter().all(|id| *id == ids[0]), "equal imports are one image: {ids:?}");
    assert_eq!(FileStorage::new(&path).list("tmp").expect("list"), []);
}

#[test]
fn imports_of_different_disks_at_once_all_succeed() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("store");
    let shared = random_disk(10, 400 * KIB);
    import(&open(&path), &shared, &options("shared"));
    let disk = |thread: usize| [&shared[..], &random_disk(100 + thread as u64, 300 * KIB)].concat();
    at_once(&path, 6, |thread, store| {
        let disk = disk(thread);
        let parent = (thread % 2 == 0).then(|| "shared".parse().expect("a reference"));
        let report = import(store, &disk, &ImportOptions { parent, ..options(&format!("disk:{thread}")) });
        assert!(report.new_bytes <= 300 * KIB as u64, "what was committed before is shared");
        assert_image(store, &format!("disk:{thread}"), &disk);
    });
    let store = open(&path);
    for thread in 0..6 {
        assert_image(&store, &format!("disk:{thread}"), &disk(thread));
        // The index is complete, regardless of the process that updated it.
        let again = import(&store, &disk(thread), &options(&format!("again:{thread}")));
        assert_eq!(again.new_bytes, 0);
    }
    assert_image(&store, "shared", &shared);
    assert_clean(&store);
    assert_eq!(FileStorage::new(&path).list("tmp").expect("list"), []);
}

/// Folders come and go under `tmp/` all the time: cleanup by one writer must not disturb another.
#[test]
fn many_small_changes_at_once_never_get_in_each_others_way() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("store");
    let base = random_disk(20, 20 * KIB);
    import(&open(&path), &base, &options("base"));
    at_once(&path, 6, |thread, store| {
        let mut rng = Rng::new(thread as u64);
        let base_ref: ImageRef = "base".parse().expect("a reference");
        for round in 0..25 {
            let text = format!("small-{thread}:{round}");
            match rng.below(3) {
                0 => {
                    let disk = random_disk(rng.next(), 8 * KIB);
                    import(store, &disk, &options(&text));
                    assert_image(store, &text, &disk);
                }
                1 => drop(store.tag(&base_ref, &name(&text), false).expect("tag")),
                _ => {
                    store.tag(&base_ref, &name(&text), true).expect("tag");
                    store.untag(&name(&text)).expect("remove");
                }
            }
        }
    });
    let store = open(&path);
    assert_image(&store, "base", &base);
    assert_clean(&store);
    assert_eq!(FileStorage::new(&path).list("tmp").expect("list"), []);
}

#[test]
fn one_name_for_several_imports_goes_to_exactly_one() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("store");
    let disk = |thread: usize| random_disk(200 + thread as u64, 200 * KIB);
    let winners = std::sync::Mutex::new(Vec::new());
    at_once(&path, 4, |thread, store| {
        let disk = VecDisk(disk(thread));
        match store.import(Source::device(&disk), &options("prize")) {
            Ok(_) => winners.lock().expect("lock").push(thread),
            Err(error) => assert!(matches!(error.detail(), Some(StoreError::Exists { .. })), "{error:?}"),
        }
    });
    let winners = winners.into_inner().expect("lock");
    assert_eq!(winners.len(), 1, "{winners:?}");
    let store = open(&path);
    assert_image(&store, "prize", &disk(winners[0]));
    assert_clean(&store);
    assert_eq!(FileStorage::new(&path).list("tmp").expect("list"), [], "the others left nothing");
}

#[test]
fn one_name_for_several_tags_goes_to_exactly_one_and_is_removed_by_exactly_one() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("store");
    let disk = |thread: usize| random_disk(250 + thread as u64, 20 * KIB);
    (0..4).for_each(|thread| {
        import(&open(&path), &disk(thread), &options(&format!("disk:{thread}")));
    });
    for _ in 0..10 {
        let winners = std::sync::Mutex::new(Vec::new());
        at_once(&path, 4, |thread, store| {
            let image: ImageRef = format!("disk:{thread}").parse().expect("a reference");
            match store.tag(&image, &name("prize"), false) {
                Ok(_) => winners.lock().expect("lock").push(thread),
                Err(error) => assert!(matches!(error.detail(), Some(StoreError::Exists { .. })), "{error:?}"),
            }
        });
        let winners = winners.into_inner().expect("lock");
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_image(&open(&path), "prize", &disk(winners[0]));
        let removals = std::sync::Mutex::new(0);
        at_once(&path, 4, |thread, store| {
            let image: ImageRef = format!("disk:{thread}").parse().expect("a reference");
            store.tag(&image, &name("shared"), true).expect("tag");
            match store.untag(&name("prize")) {
                Ok(_) => *removals.lock().expect("lock") += 1,
                Err(error) => assert!(error.is_not_found(), "{error:?}"),
            }
        });
        assert_eq!(removals.into_inner().expect("lock"), 1);
        let store = open(&path);
        let shared = read_all(&image(&store, "shared")).expect("read");
        assert!((0..4).any(|thread| shared == disk(thread)));
    }
    assert_clean(&open(&path));
    assert_eq!(FileStorage::new(&path).list("tmp").expect("list"), []);
}

#[test]
fn a_name_that_is_replaced_all_the_time_is_always_one_image_or_another() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("store");
    let disks: Vec<_> = (0..3).map(|n| random_disk(300 + n, 60 * KIB)).collect();
    import(&open(&path), &disks[0], &options("name"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !stop.load(Ordering::SeqCst) {
                let store = open(&path);
                let found = read_all(&image(&store, "name")).expect("read");
                assert!(disks.contains(&found), "neither of them");
                reads += 1;
            }
            reads
        });
        let store = open(&path);
        for round in 0..20 {
            let options = ImportOptions { replace: true, ..options("name") };
            on_threads(1, || import(&store, &disks[round % 3], &options));
        }
        stop.store(true, Ordering::SeqCst);
        assert!(reader.join().expect("no panic") > 0);
    });
    assert_clean(&open(&path));
}

#[test]
fn eight_threads_read_the_same_bytes() {
    let storage = MemoryStorage::new();
    let disk = random_disk(30, 6 << 20);
    import(&store_in(&storage), &disk, &options("disk"));
    // A cache far smaller than the disk, so that chunks come and go.
    let cache = melv::Cache::new(256 << 10);
    let store = Store::open(storage, StoreOptions { cache, ..Default::default() }).expect("store");
    let image = image(&store, "disk");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (image, disk) = (image.clone(), &disk);
            scope.spawn(move || {
                let mut rng = Rng::new(thread);
                for _ in 0..300 {
                    let offset = rng.below(disk.len() as u64) as usize;
                    let len = (rng.below(40_000) as usize).min(disk.len() - offset);
                    let mut out = vec![0; len];
                    image.read_at(offset as u64, &mut out).expect("read");
                    assert_equal(&out, &disk[offset..offset + len], "read");
                }
            });
        }
    });
}

#[test]
fn readers_go_on_during_imports() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("store");
    let disk = random_disk(40, 2 << 20);
    import(&open(&path), &disk, &options("disk"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3u64)
            .map(|thread| {
                let (path, disk, stop) = (&path, &disk, &stop);
                scope.spawn(move || {
                    let mut reads = 0;
                    let mut rng = Rng::new(thread);
                    while !stop.load(Ordering::SeqCst) {
                        let store = open(path);
                        let image = image(&store, "disk");
                        for _ in 0..50 {
                            let offset = rng.below(disk.len() as u64 - 5000) as usize;
                            let mut out = [0; 5000];
                            image.read_at(offset as u64, &mut out).expect("read");
                            assert_equal(&out, &disk[offset..offset + 5000], "read");
                            reads += 1;
                        }
                    }
                    reads
                })
            })
            .collect();
        let store = open(&path);
        for round in 0..10 {
            let other = random_disk(400 + round, 500 * KIB);
            on_threads(2, || import(&store, &other, &options(&format!("other:{round}"))));
        }
        stop.store(true, Ordering::SeqCst);
        for reader in readers {
            assert!(reader.join().expect("no panic") > 0);
        }
    });
    assert_clean(&open(&path));
}

#[test]
fn a_lock_that_is_held_is_waited_for_as_long_as_was_asked() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("store");
    let disk = random_disk(50, 20 * KIB);
    import(&open(&path), &disk, &options("disk"));
    let storage = FileStorage::new(&path);
    let with_wait = |lock_wait| {
        Store::open_folder(&path, StoreOptions { lock_wait, ..Default::default() }).expect("store")
    };
    let held = storage.lock(&object("lock"), LockMode::Exclusive, Duration::ZERO).expect("free");

    let store = with_wait(Duration::ZERO);
    let base: ImageRef = "disk".parse().expect("a reference");
    let import_refused = store.import(Source::device(&VecDisk(disk.clone())), &options("other")).map(drop);
    let tag_refused = store.tag(&base, &name("tag"), false).map(drop);
    let remove_refused = store.untag(&name("disk")).map(drop);
    for refused in [import_refused, tag_refused, remove_refused] {
        let Some(StoreError::Locked { object, waited_seconds: 0 }) = refused.detail() else {
            panic!("{refused:?}")
        };
        assert!(object.ends_with("store/lock"), "{object}");
    }
    // Reading takes no lock.
    assert_image(&store, "disk", &disk);
    assert_clean(&store);

    let began = Instant::now();
    let refused = with_wait(Duration::from_millis(300)).tag(&base, &name("tag"), false);
    assert!(matches!(refused.detail(), Some(StoreError::Locked { .. })), "{refused:?}");
    assert!(began.elapsed() >= Duration::from_millis(300));

    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| with_wait(Duration::from_secs(30)).tag(&base, &name("tag"), false));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!waiting.is_finished(), "it waits");
        drop(held);
        waiting.join().expect("no panic").expect("the lock is free");
    });
    // A refused call does not affect the next one.
    store.tag(&base, &name("tag-2"), false).expect("tag");
    assert_image(&store, "tag-2", &disk);
    assert_eq!(storage.list("tmp").expect("list"), []);
}

/// No lock is held while a disk is read: a slow import blocks no other writer.
#[test]
fn imports_hold_the_lock_for_moments_only() {
    let storage = MemoryStorage::new();
    store_in(&storage);
    let free = {
        let storage = storage.clone();
        move |op: &melv_testing::Op| {
            if let melv_testing::Op::Append(name, _) = op
                && name.contains("/pack-")
            {
                let free = storage.lock(&object("lock"), LockMode::Exclusive, Duration::ZERO);
                assert!(free.is_ok(), "the lock is held while packs are written");
            }
            Ok(())
        }
    };
    let hooked = Watched::hooked(storage.clone(), free);
    let store = Store::open(hooked, StoreOptions::default()).expect("store");
    import(&store, &random_disk(60, 3 << 20), &options("disk"));
    assert_clean(&store_in(&storage));
}

/// Imports on one thread pool at worst wait for each other, even if they find the index damaged and rebuild
/// it on the same threads.
#[test]
fn one_pool_serves_several_imports_and_reads_at_once() {
    let storage = MemoryStorage::new();
    let base = random_disk(70, 3 << 20);
    import(&store_in(&storage), &base, &options("base"));
    for (object, mut bytes) in storage.contents().into_iter().filter(|(name, _)| name.starts_with("index/")) {
        let middle = bytes.len() / 3;
        bytes[middle] ^= 1;
        storage.put(&object, bytes);
    }
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let (storage, base, pool) = (storage.clone(), &base, &pool);
                scope.spawn(move || {
                    let store = store_in(&storage);
                    let disk = [&base[1 << 20..], &random_disk(700 + thread, 200 * KIB)].concat();
                    let text = format!("pool-{threads}:{thread}");
                    let report = pool.install(|| import(&store, &disk, &options(&text)));
                    assert!(report.new_bytes <= 200 * KIB as u64, "{report:?}");
                    assert_image(&store, &text, &disk);
                    let found =
                        pool.install(|| melv::compare(&image(&store, "base"), &VecDisk(base.clone()), None));
                    assert_eq!(found.expect("compare"), melv::Comparison::Same);
                });
            }
        });
    }
    assert_clean(&store_in(&storage));
}
