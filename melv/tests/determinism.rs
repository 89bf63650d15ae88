//! The same disks in the same order give the same bytes, on any number of threads.

use std::collections::BTreeMap;

use melv::{ImportOptions, MemoryStorage, ObjectSource, ObjectStore, Source};
use melv_testing::{
    SeedDisk, assert_clean, assert_same_objects, but_refs, committed, import, on_threads, options,
    random_disk, store_in,
};

const MIB: usize = 1 << 20;

/// Makes four disks: two generations of one, one that shares pieces, and one of random blocks.
fn disks() -> Vec<Vec<u8>> {
    let base = random_disk(1, 6 * MIB + 512);
    let mut later = base.clone();
    later[MIB..2 * MIB].copy_from_slice(&random_disk(2, MIB));
    let mut mixed = random_disk(3, 2 * MIB);
    mixed.extend_from_slice(&base[3 * MIB..5 * MIB]);
    mixed.extend_from_slice(&base[MIB / 2..MIB]);
    vec![base, later, mixed, random_disk(4, 12345 * 512)]
}

/// Imports them all; `between` may change the storage after each.
fn made(threads: usize, between: impl Fn(&MemoryStorage) + Sync) -> MemoryStorage {
    let storage = MemoryStorage::new();
    on_threads(threads, || {
        let store = store_in(&storage);
        for (number, disk) in disks().iter().enumerate() {
            let parent = (number == 1).then(|| "disk-0".parse().expect("a reference"));
            let chunk_blocks = [8, 8, 16, 2][number];
            let text = format!("disk-{number}");
            import(&store, disk, &ImportOptions { parent, chunk_blocks, ..options(&text) });
            between(&storage);
        }
        let mut heap = SeedDisk { size: 80 << 20, ..Default::default() };
        heap.write(16, (70 << 20) / 4096, 1 << 32);
        let heap_options = ImportOptions { chunk_blocks: 1024, level: 1, ..options("heap") };
        store.import(Source::device(&heap), &heap_options).expect("import");
    });
    storage
}

fn kinds(contents: &BTreeMap<String, Vec<u8>>) -> BTreeMap<&str, usize> {
    let mut kinds = BTreeMap::new();
    for name in contents.keys() {
        *kinds.entry(name.split('/').next().unwrap_or_default()).or_default() += 1;
    }
    kinds
}

#[test]
fn one_two_and_eight_threads_write_the_same_bytes() {
    let one = made(1, |_| ());
    let contents = but_refs(&one);
    let found = kinds(&contents);
    let expected =
        [("lists", 5), ("locators", 5), ("manifests", 5), ("melv.store", 1), ("packs", 6), ("pages", 5)];
    for (kind, count) in expected {
        assert_eq!(found.get(kind), Some(&count), "{kind}: {found:?}");
    }
    assert!(!found.contains_key("tmp"), "{found:?}");
    for threads in [2, 8] {
        // The index too: the same inputs in the same order give the same index.
        assert_same_objects(&but_refs(&made(threads, |_| ())), &contents, &format!("{threads} threads"));
    }
    assert_clean(&store_in(&one));
}

#[test]
fn an_index_that_was_lost_makes_the_same_choices() {
    let expected = committed(&made(2, |_| ()));
    let lost = made(2, |storage| {
        let index = storage.list("index").expect("list").into_iter().map(|object| object.name);
        storage.remove(&index.collect::<Vec<_>>()).expect("remove");
    });
    assert_same_objects(&committed(&lost), &expected, "the index lost after every import");
}

#[test]
fn a_stream_and_a_device_make_the_same_image() {
    for disk in disks() {
        let (by_device, by_stream) = (MemoryStorage::new(), MemoryStorage::new());
        let device = import(&store_in(&by_device), &disk, &options("disk"));
        let stream =
            store_in(&by_stream).import(Source::stream(&disk[..], "pipe"), &options("disk")).expect("import");
        assert_eq!(device, stream, "the reports");
        assert_same_objects(&but_refs(&by_stream), &but_refs(&by_device), "the objects");
    }
}

#[test]
fn neither_name_nor_replacing_shows_in_what_is_stored() {
    let disk = random_disk(9, MIB);
    let (one, two) = (MemoryStorage::new(), MemoryStorage::new());
    import(&store_in(&one), &disk, &options("a-name:v1"));
    let replaced = store_in(&two);
    import(&replaced, &disk, &options("other"));
    import(&replaced, &disk, &ImportOptions { replace: true, ..options("other") });
    assert_same_objects(&committed(&two), &committed(&one), "another name, twice");
}
