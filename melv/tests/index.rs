//! The block index is a cache: its loss, truncation or corruption costs time and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use melv::digest::{ListId, LogKey, object_digest};
use melv::ondisk::locator::LocatorRoot;
use melv::storage::{BytesObject, LockMode};
use melv::{
    BlockDevice, Bundle, BundleOptions, ImportOptions, LoadOptions, MemoryStorage, ObjectSource, ObjectStore,
    Run, SaveOptions, Source, Store, StoreOptions,
};
use melv_testing::{
    Op, SeedDisk, Seen, VecDisk, Watched, assert_clean, assert_equal, assert_image, assert_same_objects,
    committed, image, import, noise, object, objects, options, places, put_all, random_disk, read_all,
    store_in,
};

const MIB: usize = 1 << 20;

struct Fixture {
    contents: BTreeMap<String, Vec<u8>>,
    disks: Vec<Vec<u8>>,
    next: Vec<u8>,
    /// The new bytes of a clean import of `next`; `expected` has the objects after it.
    new_bytes: u64,
    expected: BTreeMap<String, Vec<u8>>,
}

impl Fixture {
    /// Makes three disks that share, with enough blocks for several pages of a segment; `next` mixes old and
    /// new pieces.
    fn new() -> Self {
        let storage = MemoryStorage::new();
        let store = store_in(&storage);
        let mut disks = vec![random_disk(1, 3 * MIB), random_disk(2, MIB + 512)];
        disks.push([&disks[0][MIB..2 * MIB], &random_disk(3, MIB / 2)].concat());
        let mut seen = Seen::default();
        for (number, disk) in disks.iter().enumerate() {
            import(&store, disk, &options(&format!("disk-{number}")));
            seen.add(disk);
        }
        let next =
            [&disks[0][MIB / 2..MIB], &random_disk(4, MIB / 4), &disks[2][MIB / 2..], &disks[1][..8192]]
                .concat();
        let (_, new_bytes) = seen.add(&next);
        let contents = storage.contents();
        let clean = put_all(&contents);
        import(&store_in(&clean), &next, &options("next"));
        Self { contents, disks, next, new_bytes, expected: committed(&clean) }
    }

    fn index(&self) -> impl Iterator<Item = (&String, &Vec<u8>)> {
        self.contents.iter().filter(|(name, _)| name.starts_with("index/"))
    }

    /// Applies `change` to the index: every disk still reads, and the next import equals the clean one.
    fn check(&self, what: &str, change: impl FnOnce(&MemoryStorage)) {
        let storage = put_all(&self.contents);
        change(&storage);
        let store = store_in(&storage);
        for (number, disk) in self.disks.iter().enumerate() {
            assert_equal(&read_all(&image(&store, &format!("disk-{number}"))).expect(what), disk, what);
        }
        let report = import(&store, &self.next, &options("next"));
        assert_eq!(report.new_bytes, self.new_bytes, "{what}");
        assert_same_objects(&committed(&storage), &self.expected, what);
        assert_image(&store, "next", &self.next);
        // The index is complete again: one more import finds everything.
        let again = import(&store, &self.next, &options("again"));
        assert_eq!(again.new_bytes, 0, "{what}");
    }
}

#[test]
fn the_index_may_be_deleted_in_whole_or_in_part() {
    let fixture = Fixture::new();
    let names: Vec<String> = fixture.index().map(|(name, _)| name.clone()).collect();
    assert!(names.len() >= 4, "{names:?}");
    fixture.check("all of it", |storage| storage.remove(&objects(&names)).expect("remove"));
    for name in &names {
        fixture.check(name, |storage| storage.remove(&[object(name)]).expect("remove"));
    }
    for folder in ["index/logs/", "index/segments/"] {
        let some: Vec<_> = names.iter().filter(|name| name.starts_with(folder)).cloned().collect();
        fixture.check(folder, |storage| storage.remove(&objects(&some)).expect("remove"));
    }
}

#[test]
fn the_index_may_be_cut_anywhere() {
    let fixture = Fixture::new();
    for (name, bytes) in fixture.index() {
        for len in [0, 1, 31, 32, bytes.len() / 2, bytes.len() - 33, bytes.len() - 1] {
            fixture.check(&format!("{name} cut at {len}"), |storage| {
                storage.put(name, bytes[..len].to_vec());
            });
        }
        fixture.check(&format!("{name} longer"), |storage| {
            storage.put(name, [&bytes[..], &[0; 32]].concat());
        });
    }
}

#[test]
fn the_index_may_be_scribbled_on_anywhere() {
    let fixture = Fixture::new();
    for (name, bytes) in fixture.index() {
        for at in places(bytes.len(), 40) {
            fixture.check(&format!("{name} byte {at}"), |storage| {
                let mut bad = bytes.clone();
                bad[at] ^= 0x41;
                storage.put(name, bad);
            });
        }
        for fill in [0, 0xff] {
            fixture.check(&format!("{name} all {fill}"), |storage| {
                storage.put(name, vec![fill; bytes.len()]);
            });
        }
    }
}

#[test]
fn segments_of_another_version_are_made_again() {
    let fixture = Fixture::new();
    for version in [0, 1, 3, u8::MAX] {
        let storage = put_all(&fixture.contents);
        for (name, bytes) in fixture.index().filter(|(name, _)| name.starts_with("index/segments/")) {
            let mut other = bytes.clone();
            other[8] = version;
            storage.put(name, other);
        }
        let store = store_in(&storage);
        assert_eq!(import(&store, &fixture.next, &options("next")).new_bytes, fixture.new_bytes);
        let segments: Vec<_> =
            index_of(&storage).into_iter().filter(|(name, _)| name.contains("seg")).collect();
        assert!(!segments.is_empty());
        assert!(segments.iter().all(|(_, bytes)| bytes[8] == 2), "version {version}");
        assert_tidy(&storage);
    }
}

#[test]
fn a_log_or_segment_may_be_anothers() {
    let fixture = Fixture::new();
    let index: Vec<_> = fixture.index().collect();
    for (name, _) in &index {
        for (other, bytes) in &index {
            fixture.check(&format!("{name} holds {other}"), |storage| {
                storage.put(name, bytes.to_vec());
            });
        }
    }
    // The index of an unrelated store.
    let strange = MemoryStorage::new();
    import(&store_in(&strange), &random_disk(77, 2 * MIB), &options("strange"));
    fixture.check("another store's", |storage| {
        for (name, bytes) in strange.contents().iter().filter(|(name, _)| name.starts_with("index/")) {
            storage.put(name, bytes.clone());
        }
    });
}

#[test]
fn a_damaged_index_is_no_damage_to_the_store() {
    let fixture = Fixture::new();
    let storage = put_all(&fixture.contents);
    for (name, bytes) in fixture.index() {
        storage.put(name, vec![0x55; bytes.len()]);
    }
    assert_clean(&store_in(&storage));
}

#[test]
fn many_small_imports_keep_few_segments_and_share_exactly() {
    let storage = MemoryStorage::new();
    let store = store_in(&storage);
    let mut disk = SeedDisk { size: 64 << 20, ..Default::default() };
    disk.write(0, 500, 1);
    let mut most = 0;
    for number in 0..40u64 {
        let changed = 4 + number % 7;
        disk.write(1000 + number * 50, changed, 10_000 + number * 100);
        let text = format!("many:{number}");
        let report = store.import(Source::device(&disk), &options(&text)).expect("import");
        let expected = if number == 0 { 500 + changed } else { changed };
        assert_eq!(report.new_bytes, expected * 4096, "import {number}");
        most = most.max(storage.list("index/segments").expect("list").len());
    }
    assert!(most <= 4, "{most} segments at once");
    assert_eq!(storage.list("index/logs").expect("list").len(), 40);
    assert_eq!(storage.list("tmp").expect("list"), []);

    // They still find everything, from the oldest to the newest.
    let mut last = disk.clone();
    last.write(9000, 3, 500_000);
    let parent = Some("many:39".parse().expect("a reference"));
    let report =
        store.import(Source::device(&last), &ImportOptions { parent, ..options("last") }).expect("import");
    assert_eq!(report.new_bytes, 3 * 4096);
    assert_clean(&store);
}

/// Returns all objects of the index but its lock.
fn index_of(storage: &MemoryStorage) -> BTreeMap<String, Vec<u8>> {
    let mut contents = storage.contents();
    contents.retain(|name, _| name.starts_with("index/") && name != "index/lock");
    contents
}

/// Returns the keys that the segments name.
fn segment_keys(storage: &MemoryStorage) -> BTreeSet<LogKey> {
    let segments = storage.contents().into_iter().filter(|(name, _)| name.starts_with("index/segments/"));
    let keys = |(_, bytes): (String, Vec<u8>)| {
        let count = u64::from_le_bytes(bytes[16..24].try_into().expect("a number"));
        let ids = bytes[32..].chunks_exact(32).take(count as usize);
        ids.map(|id| LogKey::from_bytes(id.try_into().expect("a digest"))).collect::<Vec<_>>()
    };
    segments.flat_map(keys).collect()
}

/// Returns the keys of the store's lists: those held whole, and those held in part.
fn list_keys(storage: &MemoryStorage) -> (BTreeSet<LogKey>, BTreeSet<LogKey>) {
    let (mut whole, mut in_part) = (BTreeSet::new(), BTreeSet::new());
    for (name, bytes) in storage.contents().iter().filter(|(name, _)| name.starts_with("locators/")) {
        let (rest, len) = bytes.split_last_chunk().expect("a trailer");
        let root = &rest[rest.len() - u64::from_le_bytes(*len) as usize..];
        let id: ListId = name["locators/".len()..].parse().expect("an id");
        if LocatorRoot::decode(root).expect("a root").in_part {
            in_part.insert(LogKey::new(object_digest(&[*id.as_bytes(), object_digest(root).0].concat())));
        } else {
            whole.insert(LogKey::new(id.digest()));
        }
    }
    (whole, in_part)
}

/// Checks that the index covers exactly the existing lists.
fn assert_tidy(storage: &MemoryStorage) {
    let (whole, in_part) = list_keys(storage);
    let logs: BTreeSet<LogKey> = storage
        .list("index/logs")
        .expect("list")
        .iter()
        .map(|log| log.name["index/logs/".len()..].parse().expect("a key"))
        .collect();
    assert_eq!(logs, whole);
    assert_eq!(segment_keys(storage), &whole | &in_part);
}

/// Saves an image as a bundle.
fn saved(store: &Store, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let images = [name.parse().expect("a reference")];
    store.save(&images, &mut bytes, &SaveOptions::default()).expect("save");
    bytes
}

fn load(store: &Store, bundle: Vec<u8>) {
    let bundle =
        Bundle::open_reader(BytesObject::from(bundle), "test", BundleOptions::default()).expect("bundle");
    store.load(&bundle, &LoadOptions::default()).expect("load");
}

/// Makes a disk of these noise blocks.
fn noise_disk(seeds: impl IntoIterator<Item = u64>) -> Vec<u8> {
    seeds.into_iter().flat_map(noise).collect()
}

/// Makes a store with a disk of 1000 blocks, `base`, and two disks that share some of them.
fn shared_base(chunk_blocks: u32) -> (MemoryStorage, Store) {
    let storage = MemoryStorage::new();
    let store = store_in(&storage);
    let named = |name| ImportOptions { chunk_blocks, ..options(name) };
    import(&store, &noise_disk(1..=1000), &named("base"));
    import(&store, &noise_disk((100..400).step_by(3)), &named("some"));
    import(&store, &noise_disk((50..900).step_by(7)), &named("more"));
    (storage, store)
}

#[test]
fn the_index_of_a_store_that_holds_more_gives_nothing_that_is_not_held() {
    for chunk_blocks in [1, 8, 64] {
        let (source, store) = shared_base(chunk_blocks);
        let loaded = MemoryStorage::new();
        load(&store_in(&loaded), saved(&store, "some"));
        let base = noise_disk(1..=1000);
        let mut seen = Seen::default();
        seen.add(&noise_disk((100..400).step_by(3)));
        let (_, new_bytes) = seen.add(&base);
        assert_eq!(new_bytes, 900 * 4096);
        let in_part = list_keys(&loaded).1;
        assert_eq!(in_part.len(), 1);

        let of_source = index_of(&source);
        let mut forged = of_source.clone();
        // The whole log under the key of the partial list, and segments that name it.
        for key in &in_part {
            for (name, bytes) in &of_source {
                if name.starts_with("index/logs/") {
                    forged.insert(format!("index/logs/{key}"), bytes.clone());
                }
            }
        }
        for (index, what) in [(BTreeMap::new(), "none"), (of_source, "the source's"), (forged, "forged")] {
            let storage = put_all(&loaded.contents());
            index.iter().for_each(|(name, bytes)| storage.put(name, bytes.clone()));
            let store = store_in(&storage);
            let report = import(&store, &base, &options("base"));
            assert_eq!(report.new_bytes, new_bytes, "{what}, {chunk_blocks} blocks to a chunk");
            assert_image(&store, "base", &base);
            assert_clean(&store);
            assert_tidy(&storage);
            assert_eq!(import(&store, &base, &options("again")).new_bytes, 0, "{what}");
        }
    }
}

#[test]
fn what_is_not_held_of_a_list_takes_no_room_in_the_index() {
    let storage = MemoryStorage::new();
    let store = store_in(&storage);
    let named = |name| ImportOptions { chunk_blocks: 1, ..options(name) };
    import(&store, &noise_disk(1..=4096), &named("base"));
    import(&store, &noise_disk([2500]), &named("one"));
    let target = MemoryStorage::new();
    let loaded = store_in(&target);
    load(&loaded, saved(&store, "one"));
    let disk = noise_disk([2500, 9000, 9001]);
    assert_eq!(import(&loaded, &disk, &named("next")).new_bytes, 2 * 4096);
    assert_tidy(&target);
    let space = loaded.usage().expect("space");
    assert_eq!(space.unique_bytes, 3 * 4096);
    assert!(space.index_bytes <= (8 << 10) + 3 * 64, "{}", space.index_bytes);
    assert_image(&loaded, "next", &disk);
    assert_clean(&loaded);
}

#[test]
fn the_index_forgets_a_list_as_it_was_before_more_of_it_was_loaded() {
    let (_, source) = shared_base(8);
    let target = MemoryStorage::new();
    let mut seen = Seen::default();
    let disks =
        [("some", (100..400).step_by(3)), ("more", (50..900).step_by(7)), ("base", (1..1001).step_by(1))];
    // Two handles in turn: neither may rely on its earlier view of the lists.
    let stores = [store_in(&target), store_in(&target)];
    for (round, (name, seeds)) in disks.into_iter().enumerate() {
        let before = list_keys(&target).1;
        load(&stores[0], saved(&source, name));
        seen.add(&noise_disk(seeds.clone()));
        let own = 10_000 * (round as u64 + 1);
        let next = noise_disk(seeds.chain(own..own + 5));
        let (_, new_bytes) = seen.add(&next);
        for (store, new_bytes) in stores.iter().zip([new_bytes, 0]) {
            let options = ImportOptions { replace: true, ..options("next") };
            assert_eq!(import(store, &next, &options).new_bytes, new_bytes, "{name}");
            assert_tidy(&target);
        }
        assert!(before.is_disjoint(&list_keys(&target).1), "the list is another one by now");
        assert_clean(&stores[1]);
    }
    assert_image(&stores[0], "base", &noise_disk(1..=1000));
}

#[test]
fn what_other_lists_left_in_the_index_is_removed() {
    // Segments of the lists of four disks; the other store has one of them.
    let many = MemoryStorage::new();
    let store = store_in(&many);
    let disks: Vec<_> = (0..4).map(|number| noise_disk((1..=300).map(|n| number * 1000 + n))).collect();
    let storage = MemoryStorage::new();
    import(&store_in(&storage), &disks[2], &options("disk-2"));
    for (number, disk) in disks.iter().enumerate() {
        import(&store, disk, &options(&format!("disk-{number}")));
    }
    assert_eq!(many.list("index/segments").expect("list").len(), 1);
    storage.remove(&objects(index_of(&storage).into_keys())).expect("remove");
    for (name, bytes) in index_of(&many) {
        storage.put(&name, bytes);
    }
    let store = store_in(&storage);
    assert_eq!(import(&store, &disks[2], &options("again")).new_bytes, 0);
    assert_tidy(&storage);
    assert_eq!(storage.list("index/segments").expect("list").len(), 1);
    assert_eq!(storage.list("tmp").expect("list"), []);
    assert_eq!(import(&store, &disks[1], &options("disk-1")).new_bytes, 300 * 4096);
    assert_tidy(&storage);

    // Another process holds the index: it is left as it is.
    let strange = format!("index/logs/{}", object_digest(b"strange"));
    storage.put(&strange, vec![0; 32]);
    let held = storage.lock(&object("index/lock"), LockMode::Exclusive, Duration::ZERO).expect("lock");
    assert_eq!(import(&store, &disks[2], &options("held")).new_bytes, 0);
    assert!(storage.contents().contains_key(&strange));
    drop(held);
    assert_eq!(import(&store, &disks[2], &options("free")).new_bytes, 0);
    assert_tidy(&storage);
}

#[test]
fn imports_put_their_logs_into_the_index_whoever_has_its_lock() {
    let storage = MemoryStorage::new();
    let store = store_in(&storage);
    import(&store, &noise_disk(1..=300), &options("base"));
    let held = storage.lock(&object("index/lock"), LockMode::Exclusive, Duration::ZERO).expect("lock");
    for round in 1..=8 {
        let own = noise_disk((1..=100).chain(1000 * round..1000 * round + 50));
        assert_eq!(import(&store, &own, &options(&format!("disk-{round}"))).new_bytes, 50 * 4096);
    }
    assert_eq!(storage.list("index/logs").expect("list").len(), 9);
    assert_eq!(storage.list("index/segments").expect("list").len(), 9);
    assert_decodes_nothing(&storage, &noise_disk((1..=100).chain(8000..8050)));
    drop(held);
    // The next holder of the lock merges the leftovers.
    assert_eq!(import(&store, &noise_disk([77_777]), &options("free")).new_bytes, 4096);
    assert!(storage.list("index/segments").expect("list").len() < 5);
    assert_tidy(&storage);
}

#[test]
fn after_imports_at_once_the_index_has_all_their_logs() {
    let storage = MemoryStorage::new();
    let base = noise_disk(1..=300);
    import(&store_in(&storage), &base, &options("base"));
    std::thread::scope(|scope| {
        for number in 1..=8u64 {
            let (storage, base) = (storage.clone(), &base);
            scope.spawn(move || {
                let own = noise_disk(10_000 * number..10_000 * number + 200);
                let disk = [&base[..100 * 4096], &own].concat();
                import(&store_in(&storage), &disk, &options(&format!("disk-{number}")));
            });
        }
    });
    assert_eq!(storage.list("index/logs").expect("list").len(), 9);
    assert_decodes_nothing(&storage, &noise_disk(30_000..30_200));
    assert_tidy(&storage);
}

/// Checks that importing an existing disk reads no frame: of a shared pack, only head and trailer are read.
fn assert_decodes_nothing(storage: &MemoryStorage, disk: &[u8]) {
    let watched = Watched::new(storage.clone());
    let store = Store::open(watched.clone(), StoreOptions::default()).expect("the store");
    let disk = VecDisk(disk.to_vec());
    let report = store.import(Source::device(&disk), &options("there-already")).expect("an import");
    assert_eq!(report.new_bytes, 0);
    let len = |pack: &str| storage.open(&object(pack)).expect("a pack").len();
    let is_frame = |(object, offset, read): &(String, u64, u64)| {
        object.starts_with("packs/") && (*offset, *read) != (0, 48) && *offset + 56 != len(object)
    };
    let frames: Vec<_> = watched.take_reads().into_iter().filter(is_frame).collect();
    assert!(frames.is_empty(), "{frames:?}");
}

/// A disk whose first read removes the index.
#[derive(Debug)]
struct TakingIndex(VecDisk, MemoryStorage);

impl BlockDevice for TakingIndex {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> melv::Result<()> {
        self.1.remove(&objects(index_of(&self.1).into_keys())).expect("remove");
        self.0.read_at(offset, buf)
    }

    fn map(&self, offset: u64, len: u64) -> melv::Result<Run> {
        self.0.map(offset, len)
    }

    fn name(&self) -> String {
        "taking".into()
    }
}

#[test]
fn the_index_may_go_while_an_import_is_under_way() {
    let fixture = Fixture::new();
    let storage = put_all(&fixture.contents);
    let store = store_in(&storage);
    let disk = TakingIndex(VecDisk(fixture.next.clone()), storage.clone());
    let report = store.import(Source::device(&disk), &options("next")).expect("import");
    assert_eq!(report.new_bytes, fixture.new_bytes);
    assert_same_objects(&committed(&storage), &fixture.expected, "taken away");
    assert_image(&store, "next", &fixture.next);
    assert_eq!(import(&store, &fixture.next, &options("again")).new_bytes, 0);
    assert_tidy(&storage);
}

#[test]
fn a_new_segment_may_be_merged_and_removed_by_another_process_at_once() {
    let fixture = Fixture::new();
    // Without its index, an import publishes one segment before it reads the disk and one behind its commit.
    let storage = put_all(&fixture.contents);
    storage.remove(&objects(index_of(&storage).into_keys())).expect("remove");
    let (other, removed) = (storage.clone(), Arc::new(AtomicUsize::new(0)));
    let count = removed.clone();
    let watched = Watched::new(storage.clone()).and_after(move |op| {
        let Op::Publish(moves) = op else { return };
        let published = moves.iter().map(|(_, name)| name.clone());
        let segments: Vec<_> = published.filter(|name| name.starts_with("index/segments/")).collect();
        count.fetch_add(segments.len(), Ordering::SeqCst);
        other.remove(&objects(&segments)).expect("remove");
    });
    let store = Store::open(watched, StoreOptions::default()).expect("the store");
    let report = import(&store, &fixture.next, &options("next"));
    assert!(removed.load(Ordering::SeqCst) >= 2, "{removed:?}");
    assert_eq!(report.new_bytes, fixture.new_bytes);
    assert_same_objects(&committed(&storage), &fixture.expected, "merged away");
    assert_image(&store, "next", &fixture.next);
    assert_eq!(import(&store_in(&storage), &fixture.next, &options("again")).new_bytes, 0);
}
