//! Writers after others that died, ran on other machines, or were of a later version. Also their errors when
//! the outcome of their own work is unknown.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use melv::digest::object_digest;
use melv::storage::Machine;
use melv::storage::model::{ModelFs, Names, SyncPoint};
use melv::{
    BlockDevice, BlockError, Bundle, Error, ImportOptions, MemoryStorage, ObjectSource, Result, ResultExt,
    Run, RunKind, Source, Store, StoreError, StoreOptions,
};
use melv_testing::machine::{Contents, Machine as _, Modelled, store_on};
use melv_testing::{
    Op, VecDisk, Watched, assert_clean, assert_image, image, import, name, options, random_disk, read_all,
};

const KIB: usize = 1 << 10;

/// The syncs of folders.
const FOLDERS: [SyncPoint; 7] = [
    SyncPoint::Target,
    SyncPoint::Chain,
    SyncPoint::AboveRoot,
    SyncPoint::MadePlace,
    SyncPoint::AbovePlace,
    SyncPoint::Removal,
    SyncPoint::Settle,
];

fn open(fs: &ModelFs) -> Store {
    Store::create(fs.storage(), StoreOptions::default()).expect("a store")
}

fn breaking(fs: &ModelFs) -> Store {
    let options = StoreOptions { break_locks: true, ..StoreOptions::default() };
    Store::open(fs.storage(), options).expect("a store")
}

fn sealed(text: &str) -> Vec<u8> {
    format!("{text}{}", object_digest(text.as_bytes())).into_bytes()
}

fn try_import(store: &Store, disk: &[u8], text: &str) -> Result<()> {
    let options = ImportOptions { replace: true, ..options(text) };
    store.import(Source::device(&VecDisk(disk.to_vec())), &options).map(drop)
}

#[test]
fn a_journal_of_a_later_version_forbids_every_change_and_keeps_everything() {
    let machine = Modelled::<true>::with(&Contents::new());
    let store = store_on(&machine);
    let disk = random_disk(1, 64 * KIB);
    import(&store, &disk, &options("web"));
    let reference = object_digest(&machine.contents()["refs/web/latest"]);
    for line in ["drop packs/0000", "collect", "reference2 refs/a/b"] {
        machine.put("tmp/0/journal", sealed(&format!("reference refs/web/latest {reference}\n{line}\n")));
        machine.put("tmp/0/old-0", b"the only copy".to_vec());
        let before = machine.contents();
        let word = line.split(' ').next().expect("a word");
        let refused = |done: Result<()>| match done.detail() {
            Some(BlockError::Unsupported { object, feature }) => {
                assert!(object.ends_with("tmp/0/journal") && feature.contains(word), "{object}: {feature}");
            }
            _ => panic!("{line}: {done:?}"),
        };
        for break_locks in [false, true] {
            let options = StoreOptions { break_locks, ..StoreOptions::default() };
            let store = Store::open(machine.clone(), options).expect("a store");
            refused(try_import(&store, &random_disk(2, 64 * KIB), "new"));
            refused(store.tag(&"web".parse().expect("a name"), &name("tag"), true).map(drop));
            refused(store.untag(&name("web")).map(drop));
            assert_image(&store, "web", &disk);
        }
        assert!(machine.contents() == before, "{line}: something changed");
    }
}

#[test]
fn a_damaged_journal_stays_with_its_copies_until_it_is_told_to_go() {
    let machine = Modelled::<true>::with(&Contents::new());
    import(&store_on(&machine), &random_disk(1, 64 * KIB), &options("web"));
    let id = object_digest(b"some");
    let whole = sealed(&format!("reference refs/web/latest {id}\nrestore locators/{id} old-0\n"));
    let mut flipped = whole.clone();
    flipped[30] ^= 1;
    for damaged in [flipped, whole[..whole.len() - 1].to_vec(), Vec::new(), vec![0xff; 200]] {
        machine.put("tmp/0/journal", damaged.clone());
        machine.put("tmp/0/old-0", b"the only copy".to_vec());
        let store = store_on(&machine);
        // Other writers go on.
        try_import(&store, &random_disk(2, 64 * KIB), "more").expect("imported");
        store.tag(&"more".parse().expect("a name"), &name("tag"), true).expect("tagged");
        store.untag(&name("tag")).expect("removed");
        assert_eq!(machine.contents()["tmp/0/journal"], damaged);
        assert_eq!(machine.contents()["tmp/0/old-0"], b"the only copy");
        let options = StoreOptions { break_locks: true, ..StoreOptions::default() };
        let store = Store::open(machine.clone(), options).expect("a store");
        store.tag(&"web".parse().expect("a name"), &name("tag"), true).expect("tagged");
        assert_eq!(machine.list("tmp").expect("listed"), []);
    }
}

/// Makes a machine from the first letters of its ids.
fn machine(id: char, boot: char) -> Option<Machine> {
    let text = |char: char| std::iter::repeat_n(char, 32).collect();
    Some(Machine { id: text(id), boot: text(boot) })
}

/// Makes a modelled disk with a store of one image and the remains of an import killed on `writer`.
fn killed_on(writer: Option<Machine>) -> ModelFs {
    let fs = ModelFs::new(Names::Loose).process_on(writer);
    import(&open(&fs), &random_disk(1, 64 * KIB), &options("web"));
    let dying = fs.process();
    dying.kill_after(30);
    try_import(&open(&dying), &random_disk(2, 64 * KIB), "dead").expect_err("it was killed");
    assert!(dying.is_killed());
    assert_ne!(fs.storage().list("tmp").expect("listed"), [], "it left something");
    fs
}

#[test]
fn a_dead_writer_of_this_machine_is_cleared_away_whatever_the_boot() {
    let cases = [
        (machine('a', '1'), machine('a', '1')),
        (machine('a', '1'), machine('a', '2')),
        (machine('a', '1'), machine('b', '1')),
        (machine('a', '1'), None),
        (None, machine('a', '1')),
        (None, None),
    ];
    for (writer, here) in cases {
        let fs = killed_on(writer.clone()).process_on(here.clone());
        let store = open(&fs);
        store.tag(&"web".parse().expect("a name"), &name("tag"), false).expect("tagged");
        assert_eq!(fs.storage().list("tmp").expect("listed"), [], "{writer:?}, then {here:?}");
    }
}

#[test]
fn a_writer_of_another_machine_is_left_alone_until_its_locks_are_broken() {
    let fs = killed_on(machine('a', '1')).process_on(machine('b', '2'));
    let left = fs.storage().list("tmp").expect("listed");
    let store = open(&fs);
    store.tag(&"web".parse().expect("a name"), &name("tag"), false).expect("tagged");
    try_import(&store, &random_disk(3, 64 * KIB), "more").expect("imported");
    store.untag(&name("tag")).expect("removed");
    assert_eq!(fs.storage().list("tmp").expect("listed"), left);
    let store = breaking(&fs);
    store.tag(&"web".parse().expect("a name"), &name("tag"), false).expect("tagged");
    assert_eq!(fs.storage().list("tmp").expect("listed"), []);
    assert_clean(&store);
}

/// Models locks that exclude only processes of the same machine.
#[test]
fn a_living_writer_of_another_machine_goes_through() {
    let first = ModelFs::new(Names::Loose).process_on(machine('a', '1'));
    let other = first.process_on(machine('b', '2'));
    import(&open(&first), &random_disk(1, 64 * KIB), &options("web"));
    let meanwhile = || {
        let store = open(&other);
        store.tag(&"web".parse()?, &name("tag"), true)?;
        try_import(&store, &random_disk(3, 64 * KIB), "more")
    };
    let disk = random_disk(2, 64 * KIB);
    let with = ImportOptions { before_commit: Some(&meanwhile), ..options("slow") };
    open(&first).import(Source::device(&VecDisk(disk.clone())), &with).expect("imported");
    let store = open(&other);
    assert_image(&store, "slow", &disk);
    assert_clean(&store);
}

#[test]
fn a_name_that_may_not_last_is_not_reported_as_not_given() {
    let fs = ModelFs::new(Names::Loose);
    let disk = random_disk(1, 64 * KIB);
    import(&open(&fs), &disk, &options("web"));
    // Without a journal, the reference's folder is the first that receives a name.
    let failing = fs.failing(&[SyncPoint::Target], 5, 0);
    let store = open(&failing);
    let done = store.tag(&"web".parse().expect("a name"), &name("tag"), false);
    assert!(
        matches!(done.detail(), Some(StoreError::OutcomeUnknown { name, .. }) if name == "tag:latest"),
        "{done:?}"
    );
    assert_image(&store, "tag", &disk);
    let refused = store.tag(&"web".parse().expect("a name"), &name("more"), false);
    assert!(matches!(refused.detail(), Some(StoreError::Poisoned)), "{refused:?}");
    drop(store);
    // After a power loss the name is there whole, or not at all.
    for seed in 0..64 {
        let after = fs.moment().crash(seed);
        let store = open(&after);
        store.untag(&name("nobody")).expect_err("no such name");
        match store.image(&"tag".parse().expect("a name")) {
            Ok(_) => assert_image(&store, "tag", &disk),
            Err(error) => assert!(error.is_not_found(), "{error:?}"),
        }
        assert_clean(&store);
        assert_eq!(after.storage().list("tmp").expect("listed"), []);
    }
    // Without one, the next writer makes it durable.
    let next = fs.moment().restart();
    open(&next).untag(&name("nobody")).expect_err("no such name");
    for seed in 0..64 {
        assert_image(&open(&next.moment().crash(seed)), "tag", &disk);
    }
}

#[test]
fn a_removal_that_may_not_last_is_not_reported_as_failed() {
    let fs = ModelFs::new(Names::Loose);
    import(&open(&fs), &random_disk(1, 64 * KIB), &options("web"));
    let store = open(&fs.failing(&[SyncPoint::Removal], 5, 0));
    let removed = store.untag(&name("web"));
    assert!(
        matches!(removed.detail(), Some(StoreError::OutcomeUnknown { name, .. }) if name == "web:latest"),
        "{removed:?}"
    );
    assert!(matches!(store.untag(&name("web")).detail(), Some(StoreError::Poisoned)));
}

#[test]
fn several_names_of_a_dead_writer_last_together_or_not_at_all() {
    let names = ["one", "two"];
    let source = store_on(&MemoryStorage::new());
    names
        .iter()
        .zip(7..)
        .for_each(|(text, seed)| drop(import(&source, &random_disk(seed, 40 * KIB), &options(text))));
    let refs: Vec<_> = names.iter().map(|text| text.parse().expect("a reference")).collect();
    let mut bytes = Vec::new();
    source.save(&refs, &mut bytes, &melv::SaveOptions::default()).expect("saved");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("both.melv");
    std::fs::write(&path, bytes).expect("written");
    let bundle = Bundle::open(&path, melv::BundleOptions::default()).expect("a bundle");
    let mut done = 0;
    for changes in 0.. {
        let fs = ModelFs::new(Names::Loose);
        import(&open(&fs), &random_disk(1, 64 * KIB), &options("web"));
        let dying = fs.process();
        dying.kill_after(changes);
        let loaded = open(&dying).load(&bundle, &melv::LoadOptions::default());
        if !dying.is_killed() {
            loaded.expect("loaded");
            break;
        }
        drop(loaded);
        // Another process reads, then power is lost.
        open(&fs).untag(&name("nobody")).expect_err("no such name");
        let there = names.map(|text| open(&fs).resolve(&text.parse().expect("a name")).is_ok());
        done += u64::from(there == [true, true]);
        for seed in 0..12 {
            let store = open(&fs.moment().crash(seed));
            assert_eq!(
                names.map(|text| store.resolve(&text.parse().expect("a name")).is_ok()),
                there,
                "{changes}"
            );
        }
        assert!(there[0] == there[1], "killed after {changes} changes");
    }
    assert!(done > 1, "{done} of them had happened");
}

#[test]
fn a_name_that_a_dead_writer_gave_lasts_once_the_next_writer_was_there() {
    let disks = [1, 2].map(|seed| random_disk(seed, 40 * KIB));
    let given = |fs: &ModelFs, text: &str| {
        let found = open(fs).resolve(&text.parse().expect("a reference")).ok();
        found.map(|_| read_all(&image(&open(fs), text)).expect("read"))
    };
    // The machine loses its power at once, too: then the name is the old one or the new one.
    for (text, names) in [("web:tag", Names::Loose), ("new:tag", Names::Loose), ("old", Names::Ordered)] {
        let (mut kept, mut given_up) = (0, 0);
        for changes in 0.. {
            let fs = ModelFs::new(names);
            import(&open(&fs), &disks[0], &options("web"));
            import(&open(&fs), &disks[1], &options("old"));
            let before = given(&fs, text);
            let dying = fs.process();
            dying.kill_after(changes);
            let tagged = open(&dying).tag(&"web".parse().expect("a name"), &name(text), true);
            if !dying.is_killed() {
                tagged.expect("tagged");
                break;
            }
            for seed in 0..12 {
                let after = fs.moment().crash(seed);
                let now = given(&after, text);
                assert!(now == before || now.as_ref() == Some(&disks[0]), "{text}, {changes}, {seed}");
                open(&after).untag(&name("nobody")).expect_err("no such name");
                assert!(given(&after, text) == now, "{text}, {changes}, {seed}");
                assert_eq!(after.storage().list("tmp").expect("listed"), []);
            }
            open(&fs).untag(&name("nobody")).expect_err("no such name");
            let now = given(&fs, text);
            assert!(now == before || now.as_ref() == Some(&disks[0]), "{text}, {changes}");
            for seed in 0..24 {
                let later = given(&fs.moment().crash(seed), text);
                assert!(later == now, "{text}, killed after {changes} changes, {seed}");
            }
            *(if now == before { &mut given_up } else { &mut kept }) += 1;
        }
        assert!(kept > 2 && given_up > 4, "{text}: {kept} given, {given_up} not");
    }
}

/// Models locks that exclude only processes of the same machine: another machine gives and removes names at
/// every step of a tag.
#[test]
fn a_tag_goes_through_beside_a_writer_of_another_machine() {
    let disk = random_disk(1, 40 * KIB);
    for step in 0.. {
        let first = ModelFs::new(Names::Loose).process_on(machine('a', '1'));
        let other = first.process_on(machine('b', '2'));
        import(&open(&first), &disk, &options("web"));
        let steps = Arc::new(AtomicU64::new(0));
        let hooked = Watched::hooked(first.storage(), {
            let steps = steps.clone();
            move |op: &Op| {
                // Before it lists the stages and claims its own, two machines may choose the same number.
                if matches!(op, Op::List(_)) || steps.fetch_add(1, Ordering::SeqCst) != step {
                    return Ok(());
                }
                let store = open(&other);
                store.tag(&"web".parse().expect("a name"), &name("tag:two"), true).expect("tagged");
                store.tag(&"web".parse().expect("a name"), &name("tag:three"), true).expect("tagged");
                store.untag(&name("tag:three")).expect("removed");
                Ok(())
            }
        });
        let store = Store::open(hooked, StoreOptions::default()).expect("a store");
        store.tag(&"web".parse().expect("a name"), &name("tag:one"), false).expect("tagged");
        if steps.load(Ordering::SeqCst) <= step {
            assert!(step > 8, "only {step} steps");
            break;
        }
        for seed in 0..12 {
            let store = open(&first.moment().crash(seed));
            ["tag:one", "tag:two"].iter().for_each(|text| assert_image(&store, text, &disk));
            assert_clean(&store);
        }
        assert_eq!(first.storage().list("tmp").expect("listed"), []);
    }
}

#[test]
fn a_folder_that_a_dead_process_made_lasts_once_a_name_in_it_is_acknowledged() {
    let disk = random_disk(1, 64 * KIB);
    for changes in 0.. {
        let fs = ModelFs::new(Names::Loose);
        import(&open(&fs), &disk, &options("web"));
        let dying = fs.process();
        dying.kill_after(changes);
        let tagged = open(&dying).tag(&"web".parse().expect("a name"), &name("new:one"), false);
        if !dying.is_killed() {
            tagged.expect("tagged");
            break;
        }
        open(&fs.process()).tag(&"web".parse().expect("a name"), &name("new:two"), false).expect("tagged");
        for seed in 0..12 {
            assert_image(&open(&fs.moment().crash(seed)), "new:two", &disk);
        }
    }
}

/// A disk of noise with an unreadable end.
#[derive(Debug)]
struct Breaking(VecDisk);

impl BlockDevice for Breaking {
    fn size(&self) -> u64 {
        self.0.size() + (1 << 20)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        if offset + buf.len() as u64 > self.0.size() {
            return Err(Error::io("read", "disk", ErrorKind::Other.into()));
        }
        self.0.read_at(offset, buf)
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        let _ = offset;
        Ok(Run { kind: RunKind::Data, len })
    }

    fn name(&self) -> String {
        "breaking".into()
    }
}

#[test]
fn a_pack_whose_sync_fails_in_an_import_that_fails_anyway_ends_all_writing() {
    let fs = ModelFs::new(Names::Ordered);
    import(&open(&fs), &random_disk(1, 64 * KIB), &options("web"));
    let mut noise = vec![0; 40 << 20];
    melv_testing::Rng::new(5).fill(&mut noise);
    let disk = Breaking(VecDisk(noise));
    // The sync of the store's objects works; packs are also synced now and then while they are written.
    let store = open(&fs.failing(&[SyncPoint::Object], 5, 0));
    let failed = store.import(Source::device(&disk), &options("new"));
    assert!(matches!(failed.detail(), Some(BlockError::Io { object, .. }) if object == "disk"), "{failed:?}");
    let refused = store.tag(&"web".parse().expect("a name"), &name("tag"), true);
    assert!(matches!(refused.detail(), Some(StoreError::Poisoned)), "{refused:?}");
}

#[test]
fn a_file_system_that_cannot_sync_folders_is_used() {
    for errno in [22, 95, 38, 25] {
        let fs = ModelFs::new(Names::Ordered).failing(&FOLDERS, errno, 0);
        let disk = random_disk(1, 64 * KIB);
        let store = open(&fs);
        import(&store, &disk, &options("web"));
        store.tag(&"web".parse().expect("a name"), &name("tag"), false).expect("tagged");
        store.untag(&name("web")).expect("removed");
        assert_image(&store, "tag", &disk);
        assert_clean(&store);
    }
}

#[test]
fn a_medium_that_fails_to_sync_a_folder_fails_the_work() {
    for point in [SyncPoint::Target, SyncPoint::Chain, SyncPoint::AboveRoot] {
        let fs = ModelFs::new(Names::Ordered);
        import(&open(&fs), &random_disk(1, 64 * KIB), &options("web"));
        let store = open(&fs.failing(&[point], 5, 0));
        let failed = try_import(&store, &random_disk(2, 64 * KIB), "new");
        assert!(matches!(failed.detail(), Some(BlockError::Io { .. })), "{point:?}: {failed:?}");
        assert!(
            matches!(
                try_import(&store, &random_disk(2, 64 * KIB), "new").detail(),
                Some(StoreError::Poisoned)
            ),
            "{point:?}"
        );
        let store = open(&fs.process());
        assert!(store.image(&"new".parse().expect("a name")).is_err());
        assert_eq!(image(&store, "web").size(), 64 * KIB as u64);
    }
}
