//! Power loss or a kill at every operation of every writing command. Existing data stays, the interrupted
//! change is there whole or not at all, and its space is reclaimed.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use melv::storage::BytesObject;
use melv::{
    BlockDevice, BlockError, Bundle, BundleOptions, FileStorage, ImageId, ImageRef, ImportOptions,
    LoadOptions, LocalFolder, MemoryStorage, Result, ResultExt, Run, SaveOptions, Source, Store, StoreError,
    StoreOptions, VerifyOptions,
};
use melv_testing::machine::{Contents, Machine, committed_on, store_on};
use melv_testing::{FaultMode, FaultyStorage, Operation};
use melv_testing::{
    Op, VecDisk, Watched, assert_clean, assert_image, assert_same_objects, image, import, name, on_threads,
    options, random_disk, store_in,
};

const SEEDS: u64 = 5;
const KIB: usize = 1 << 10;

/// A store with two images, and a third disk that shares with both.
struct Fixture {
    before: Contents,
    old: [Vec<u8>; 2],
    new: Vec<u8>,
    ids: [ImageId; 2],
}

impl Fixture {
    fn new() -> Self {
        let old = [random_disk(21, 300 * KIB), random_disk(22, 200 * KIB + 512)];
        let new = [&old[0][64 * KIB..], &random_disk(23, 150 * KIB)].concat();
        let storage = MemoryStorage::new();
        let store = store_in(&storage);
        let ids = [0, 1].map(|n| import(&store, &old[n], &options(&format!("old:{n}"))).image);
        Self { before: storage.contents(), old, new, ids }
    }

    fn check_old(&self, store: &Store) {
        for (number, disk) in self.old.iter().enumerate() {
            assert_image(store, &format!("old:{number}"), disk);
        }
    }
}

/// Returns every state that a dead machine or process may leave, with its seed; seed 0 is a kill.
fn remains<M: Machine>(storage: &M) -> impl Iterator<Item = (u64, M)> {
    let lost = |seed| if seed == 0 { storage.after_kill() } else { storage.power_loss(seed * 77) };
    (0..=SEEDS).map(move |seed| (seed, lost(seed)))
}

/// Runs `act` on copies of `before`, failing at its first, second, … write operation, until it completes.
/// Passes `check` whether `act` reported success, and the remains.
fn at_every_operation<M: Machine>(
    before: &Contents,
    act: impl Fn(&Store) -> Result<()>,
    check: impl Fn(bool, &M, &str),
) {
    for operation in 0.. {
        let storage = M::with(before);
        let kind = ErrorKind::Other;
        let faulty =
            FaultyStorage::new(storage.clone(), Operation::Writes, operation, FaultMode::Forever, kind);
        let store = Store::open(faulty.clone(), StoreOptions::default()).expect("store");
        let done = act(&store);
        drop(store);
        for (seed, remains) in remains(&storage) {
            check(done.is_ok(), &remains, &format!("operation {operation}, remains {seed}: {done:?}"));
        }
        if faulty.operations() <= operation {
            assert!(done.is_ok(), "{done:?}");
            assert!(operation > 2, "only {operation} operations");
            return;
        }
    }
}

melv_testing::on_every_machine!(
    an_import_is_there_whole_or_not_at_all,
    what_a_broken_off_import_left_goes_with_the_next_change_of_any_kind,
    a_replaced_name_is_the_old_image_or_the_new_one,
    a_tag_is_given_or_not,
    a_name_is_removed_or_not,
    a_store_is_made_or_not,
    one_failing_operation_leaves_nothing_half_done,
    a_writer_that_dies_after_its_commit_takes_nothing_with_it,
    an_interrupted_import_leaves_nothing,
    several_images_are_loaded_all_or_none_and_lists_held_in_part_stay_as_they_were,
    a_reader_sees_old_images_at_every_moment_of_a_broken_off_load,
);

fn no_leftovers(storage: &impl Machine, what: &str) {
    assert_eq!(storage.list("tmp").expect("list"), [], "{what}");
}

fn an_import_is_there_whole_or_not_at_all<M: Machine>() {
    let fixture = Fixture::new();
    let clean = M::with(&fixture.before);
    import(&store_on(&clean), &fixture.new, &options("new"));
    let stored = store_on(&clean).usage().expect("space").stored_bytes;
    let expected = committed_on(&clean);
    let parent = || Some("old:0".parse().expect("a reference"));
    for with_parent in [false, true] {
        let made = |store: &Store, replace| {
            let parent = if with_parent { parent() } else { None };
            let disk = VecDisk(fixture.new.clone());
            store.import(Source::device(&disk), &ImportOptions { parent, replace, ..options("new") })
        };
        at_every_operation::<M>(
            &fixture.before,
            |store| made(store, false).map(drop),
            |done, remains, what| {
                let store = store_on(remains);
                fixture.check_old(&store);
                match store.image(&"new".parse().expect("a name")) {
                    Ok(_) => assert_image(&store, "new", &fixture.new),
                    Err(error) => {
                        assert!(error.is_not_found(), "{what}: {error:?}");
                        assert!(!done, "{what}: said to be done and gone");
                    }
                }
                assert_clean(&store);
                // A retry works, and all remains of the interrupted attempt are gone.
                made(&store, true).expect(what);
                assert_image(&store, "new", &fixture.new);
                fixture.check_old(&store);
                assert_clean(&store);
                no_leftovers(remains, what);
                if !with_parent {
                    assert_same_objects(&committed_on(remains), &expected, what);
                    assert_eq!(store.usage().expect("space").stored_bytes, stored, "{what}");
                }
            },
        );
    }
}

fn what_a_broken_off_import_left_goes_with_the_next_change_of_any_kind<M: Machine>() {
    let fixture = Fixture::new();
    let clean = committed_on(&M::with(&fixture.before));
    let disk = VecDisk(fixture.new.clone());
    at_every_operation::<M>(
        &fixture.before,
        |store| store.import(Source::device(&disk), &options("new")).map(drop),
        |_, remains, what| {
            let store = store_on(remains);
            if store.resolve(&"new".parse().expect("a name")).is_ok() {
                return;
            }
            store.tag(&ImageRef::Id(fixture.ids[0]), &name("other"), false).expect(what);
            no_leftovers(remains, what);
            assert_same_objects(&committed_on(remains), &clean, what);
        },
    );
}

fn a_replaced_name_is_the_old_image_or_the_new_one<M: Machine>() {
    let fixture = Fixture::new();
    at_every_operation::<M>(
        &fixture.before,
        |store| {
            let disk = VecDisk(fixture.new.clone());
            let options = ImportOptions { replace: true, ..options("old:0") };
            store.import(Source::device(&disk), &options).map(drop)
        },
        |done, remains, what| {
            let store = store_on(remains);
            let id = store.resolve(&"old:0".parse().expect("a name")).expect(what);
            if id == fixture.ids[0] {
                assert!(!done, "{what}");
                assert_image(&store, "old:0", &fixture.old[0]);
            } else {
                assert_image(&store, "old:0", &fixture.new);
            }
            assert_image(&store, "old:1", &fixture.old[1]);
            assert_image(&store, &format!("@{}", fixture.ids[0]), &fixture.old[0]);
            assert_clean(&store);
            import(&store, &fixture.new, &ImportOptions { replace: true, ..options("old:0") });
            assert_image(&store, "old:0", &fixture.new);
            assert_clean(&store);
            no_leftovers(remains, what);
        },
    );
}

fn a_tag_is_given_or_not<M: Machine>() {
    let fixture = Fixture::new();
    let id = ImageRef::Id(fixture.ids[0]);
    for (text, replace) in [("fresh", false), ("old:1", true)] {
        at_every_operation::<M>(
            &fixture.before,
            |store| store.tag(&id, &name(text), replace).map(drop),
            |done, remains, what| {
                let store = store_on(remains);
                assert_image(&store, "old:0", &fixture.old[0]);
                match store.resolve(&text.parse().expect("a name")) {
                    Ok(found) if found == fixture.ids[0] => {}
                    Ok(found) => assert!(!done && replace && found == fixture.ids[1], "{what}"),
                    Err(error) => assert!(!done && !replace && error.is_not_found(), "{what}: {error:?}"),
                }
                store.tag(&id, &name(text), true).expect(what);
                assert_image(&store, text, &fixture.old[0]);
                assert_image(&store, &format!("@{}", fixture.ids[1]), &fixture.old[1]);
                assert_clean(&store);
                no_leftovers(remains, what);
            },
        );
    }
}

fn a_name_is_removed_or_not<M: Machine>() {
    let fixture = Fixture::new();
    for operation in 0..4 {
        let storage = M::with(&fixture.before);
        let faulty = FaultyStorage::new(
            storage.clone(),
            Operation::Writes,
            operation,
            FaultMode::Forever,
            ErrorKind::Other,
        );
        let done = Store::open(faulty, StoreOptions::default()).expect("store").untag(&name("old:1"));
        assert_eq!(done.is_ok(), operation > 0, "one operation does it: {done:?}");
        for (_, remains) in remains(&storage) {
            let store = store_on(&remains);
            assert_image(&store, "old:0", &fixture.old[0]);
            match store.resolve(&"old:1".parse().expect("a name")) {
                Ok(id) => assert!(done.is_err() && id == fixture.ids[1]),
                Err(error) => assert!(error.is_not_found(), "{error:?}"),
            }
            assert_clean(&store);
        }
    }
}

fn a_store_is_made_or_not<M: Machine>() {
    for operation in 0..6 {
        let storage = M::with(&Contents::new());
        let faulty = FaultyStorage::new(
            storage.clone(),
            Operation::Writes,
            operation,
            FaultMode::Forever,
            ErrorKind::Other,
        );
        let made = Store::create(faulty, StoreOptions::default()).map(drop);
        for (seed, remains) in remains(&storage) {
            let what = format!("operation {operation}, remains {seed}: {made:?}");
            match Store::open(remains.clone(), StoreOptions::default()) {
                Ok(_) => {}
                Err(error) if matches!(error.detail(), Some(StoreError::NoStore { .. })) => {
                    assert!(made.is_err(), "{what}")
                }
                Err(error) => panic!("{what}: {error:?}"),
            }
            let store = store_on(&remains);
            let disk = random_disk(1, 64 * KIB);
            import(&store, &disk, &options("first"));
            assert_image(&store, "first", &disk);
            assert_clean(&store);
            no_leftovers(&remains, &what);
        }
    }
}

/// One operation fails and the next ones work: the call fails as a whole or not at all.
fn one_failing_operation_leaves_nothing_half_done<M: Machine>() {
    let fixture = Fixture::new();
    let clean = M::with(&fixture.before);
    import(&store_on(&clean), &fixture.new, &options("new"));
    let expected = committed_on(&clean);
    let before = committed_on(&M::with(&fixture.before));
    let disk = VecDisk(fixture.new.clone());
    let mut poisoned = 0;
    for operation in 0.. {
        let storage = M::with(&fixture.before);
        let faulty = FaultyStorage::new(
            storage.clone(),
            Operation::Writes,
            operation,
            FaultMode::Once,
            ErrorKind::Other,
        );
        let store = Store::open(faulty.clone(), StoreOptions::default()).expect("store");
        let done = store.import(Source::device(&disk), &options("new"));
        let what = format!("operation {operation}: {done:?}");
        fixture.check_old(&store);
        assert_clean(&store);
        let again = ImportOptions { replace: true, ..options("new") };
        match done.detail() {
            None if done.is_ok() => assert_image(&store, "new", &fixture.new),
            Some(BlockError::Io { operation: "sync" | "publish", source, .. }) => {
                assert!(source.to_string().contains("injected"), "{what}");
                poisoned += 1;
                // The state on disk is unknown: this handle still reads but writes no more.
                let refused = store.import(Source::device(&disk), &again);
                assert!(matches!(refused.detail(), Some(StoreError::Poisoned)), "{what}, then {refused:?}");
                let refused = store.tag(&ImageRef::Id(fixture.ids[0]), &name("tag"), true);
                assert!(matches!(refused.detail(), Some(StoreError::Poisoned)), "{what}, then {refused:?}");
                let refused = store.untag(&name("old:0"));
                assert!(matches!(refused.detail(), Some(StoreError::Poisoned)), "{what}, then {refused:?}");
                fixture.check_old(&store);
            }
            Some(BlockError::Io { source, .. }) => {
                assert!(source.to_string().contains("injected"), "{what}");
                assert_same_objects(&committed_on(&storage), &before, &what);
                // No sync failed: the same handle goes on.
                store.import(Source::device(&disk), &again).expect(&what);
            }
            _ => panic!("{what}"),
        }
        drop(store);
        let store = store_on(&storage);
        if done.is_err() && store.resolve(&"new".parse().expect("a name")).is_err() {
            store.import(Source::device(&disk), &options("new")).expect(&what);
        }
        store.tag(&ImageRef::Id(fixture.ids[0]), &name("old:0"), true).expect(&what);
        assert_image(&store, "new", &fixture.new);
        fixture.check_old(&store);
        assert_clean(&store);
        no_leftovers(&storage, &what);
        assert_same_objects(&committed_on(&storage), &expected, &what);
        if faulty.operations() <= operation {
            break;
        }
    }
    assert!(poisoned >= 8, "only {poisoned} syncs and publications");
}

/// A disk whose first read signals that it was reached and waits for release.
#[derive(Debug)]
struct Slow {
    disk: VecDisk,
    reached: Sender<()>,
    go: Mutex<Option<Receiver<()>>>,
}

impl Slow {
    fn new(disk: &[u8]) -> (Self, Receiver<()>, Sender<()>) {
        let ((reached, is_reached), (let_go, go)) = (channel(), channel());
        (Self { disk: VecDisk(disk.to_vec()), reached, go: Mutex::new(Some(go)) }, is_reached, let_go)
    }
}

impl BlockDevice for Slow {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        if let Some(go) = self.go.lock().expect("lock").take() {
            self.reached.send(()).expect("somebody waits");
            go.recv().expect("somebody lets go");
        }
        self.disk.read_at(offset, buf)
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        self.disk.map(offset, len)
    }

    fn name(&self) -> String {
        "slow".into()
    }
}

fn a_living_writer_is_left_alone(storage: impl LocalFolder + Clone + 'static) {
    let open = || Store::create(storage.clone(), StoreOptions::default()).expect("store");
    let (one, two) = (random_disk(31, 400 * KIB), random_disk(32, 300 * KIB));
    let (slow, reached, let_go) = Slow::new(&one);
    std::thread::scope(|scope| {
        let store = open();
        let first = scope.spawn(move || {
            on_threads(2, || store.import(Source::device(&slow), &options("slow")).map(|report| report.image))
        });
        reached.recv().expect("the slow import reads");
        // Writers of every kind come and go; each removes the remains of dead ones.
        let store = open();
        on_threads(2, || import(&store, &two, &options("quick")));
        store.tag(&"quick".parse().expect("a name"), &name("tag"), false).expect("tag");
        store.untag(&name("tag")).expect("remove");
        let failed = store.import(Source::stream(&two[..513], "pipe"), &options("odd"));
        assert!(failed.is_err());
        assert!(storage.list("tmp").expect("list").iter().all(|object| object.name.starts_with("tmp/0/")));
        let_go.send(()).expect("it waits");
        first.join().expect("no panic").expect("the slow import");
    });
    let store = open();
    assert_image(&store, "slow", &one);
    assert_image(&store, "quick", &two);
    assert_clean(&store);
    assert_eq!(storage.list("tmp").expect("list"), []);
}

#[test]
fn a_living_writers_folder_is_never_cleared_in_memory() {
    a_living_writer_is_left_alone(MemoryStorage::new());
}

#[test]
fn a_living_writers_folder_is_never_cleared_in_a_folder() {
    let folder = tempfile::tempdir().expect("folder");
    a_living_writer_is_left_alone(FileStorage::new(folder.path().join("store")));
}

/// The commit is done and the store's lock is free. While the writer updates the index, others reassign its
/// name and build on its blocks. Then it dies, and their data must survive.
fn a_writer_that_dies_after_its_commit_takes_nothing_with_it<M: Machine>() {
    let fixture = Fixture::new();
    for replace in [false, true] {
        let storage = M::with(&fixture.before);
        let dead = Arc::new(AtomicBool::new(false));
        let others = {
            let (storage, dead, disk) = (storage.clone(), dead.clone(), fixture.new.clone());
            move |op: &Op| {
                if dead.load(Ordering::SeqCst) {
                    return Err(ErrorKind::Other.into());
                }
                let Op::Publish(moves) = op else { return Ok(()) };
                if !moves.iter().any(|(_, to)| to.starts_with("index/")) {
                    return Ok(());
                }
                let store = Store::open(storage.clone(), StoreOptions::default()).expect("store");
                assert_eq!(import(&store, &disk, &options("shared")).new_bytes, 0);
                if replace {
                    let other = random_disk(99, 20 * KIB);
                    import(&store, &other, &ImportOptions { replace: true, ..options("new") });
                } else {
                    store.untag(&name("new")).expect("remove");
                }
                dead.store(true, Ordering::SeqCst);
                Err(ErrorKind::Other.into())
            }
        };
        let hooked = Watched::hooked(storage.clone(), others);
        let store = Store::open(hooked, StoreOptions::default()).expect("store");
        import(&store, &fixture.new, &options("new"));
        assert!(dead.load(Ordering::SeqCst), "the hook was reached");
        drop(store);
        for (seed, remains) in remains(&storage) {
            let store = store_on(&remains);
            // The next writer removes the dead writer's remains.
            import(&store, &random_disk(98, 8 * KIB), &options("next"));
            assert_image(&store, "shared", &fixture.new);
            fixture.check_old(&store);
            assert_clean(&store);
            no_leftovers(&remains, &format!("remains {seed}"));
        }
    }
}

fn an_interrupted_import_leaves_nothing<M: Machine>() {
    let fixture = Fixture::new();
    let storage = M::with(&fixture.before);
    let store = store_on(&storage);
    let cancel = AtomicBool::new(true);
    let disk = VecDisk(fixture.new.clone());
    let stopped =
        store.import(Source::device(&disk), &ImportOptions { cancel: Some(&cancel), ..options("new") });
    assert!(matches!(stopped.detail(), Some(BlockError::Interrupted)), "{stopped:?}");
    let refuse = || Err(BlockError::Changed { object: "disk".into() }.into());
    let refused = store
        .import(Source::device(&disk), &ImportOptions { before_commit: Some(&refuse), ..options("new") });
    assert!(matches!(refused.detail(), Some(BlockError::Changed { .. })), "{refused:?}");
    // The import may have checked a pack and stamped it as sound.
    let left = storage.contents().into_iter().filter(|(name, _)| !name.starts_with("index/stamps/"));
    assert_same_objects(&left.collect(), &fixture.before, "what is left");
    assert_eq!(image(&store, "old:0").id(), fixture.ids[0]);
}

/// A store that holds one image of a bundle, with its lists in part. The bundle holds that image, the image
/// its lists come from, and a third.
struct Loading {
    before: Contents,
    bundle: Bundle,
    disks: [Vec<u8>; 3],
}

impl Loading {
    fn new() -> Self {
        let base = random_disk(31, 400 * KIB);
        let apart: Vec<u8> = base.chunks(20 * KIB).step_by(2).flatten().copied().collect();
        let disks = [base, apart, random_disk(32, 90 * KIB)];
        let source = store_in(&MemoryStorage::new());
        for (disk, name) in disks.iter().zip(["base", "apart", "third"]) {
            import(&source, disk, &options(name));
        }
        let bundle = |names: &[&str]| {
            let refs: Vec<ImageRef> = names.iter().map(|name| name.parse().expect("a reference")).collect();
            let mut bytes = Vec::new();
            source.save(&refs, &mut bytes, &SaveOptions::default()).expect("saved");
            Bundle::open_reader(BytesObject::from(bytes), "bundle", BundleOptions::default()).expect("opened")
        };
        let storage = MemoryStorage::new();
        let target = store_in(&storage);
        target.load(&bundle(&["apart"]), &LoadOptions::default()).expect("loaded");
        // The load replaces this name.
        import(&target, &disks[1], &options("third"));
        Self { before: storage.contents(), bundle: bundle(&["base", "apart", "third"]), disks }
    }

    fn load(&self, store: &Store) -> Result<()> {
        let options = LoadOptions { replace: true, ..LoadOptions::default() };
        store.load(&self.bundle, &options).map(drop)
    }

    /// Checks that the load happened entirely or not at all; returns whether it happened.
    fn check(&self, store: &Store, what: &str) -> bool {
        assert_image(store, "apart", &self.disks[1]);
        let there = store.image(&"base".parse().expect("a name")).is_ok();
        if there {
            assert_image(store, "base", &self.disks[0]);
        }
        assert_image(store, "third", if there { &self.disks[2] } else { &self.disks[1] });
        let report = store.verify(&[], &VerifyOptions { full: true, ..Default::default() }).expect(what);
        assert!(report.damaged.is_empty(), "{what}: {:?}", report.damaged);
        there
    }
}

fn several_images_are_loaded_all_or_none_and_lists_held_in_part_stay_as_they_were<M: Machine>() {
    let loading = Loading::new();
    let happened = AtomicBool::new(false);
    at_every_operation::<M>(
        &loading.before,
        |store| loading.load(store),
        |done, remains, what| {
            // The next writer undoes an interrupted load; until then readers see the earlier state.
            let store = store_on(remains);
            let _ = store.tag(&"apart".parse().expect("a name"), &name("poke"), true);
            let there = loading.check(&store, what);
            assert!(there || !done, "{what}: said to be done and gone");
            happened.fetch_or(there, Ordering::Relaxed);
            loading.load(&store).expect(what);
            assert!(loading.check(&store, what));
            no_leftovers(remains, what);
        },
    );
    assert!(happened.into_inner());
}

fn a_reader_sees_old_images_at_every_moment_of_a_broken_off_load<M: Machine>() {
    let loading = Loading::new();
    at_every_operation::<M>(
        &loading.before,
        |store| loading.load(store),
        |_, remains, what| {
            let store = store_on(remains);
            assert_image(&store, "apart", &loading.disks[1]);
            let report = store.verify(&[], &VerifyOptions { full: true, ..Default::default() }).expect(what);
            assert!(report.damaged.is_empty(), "{what}: {:?}", report.damaged);
        },
    );
}
