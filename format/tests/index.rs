//! The block index is a cache: lost, cut or scribbled on, it costs time and nothing else.

mod common;

use std::collections::BTreeMap;

use common::{
    SeedDisk, Seen, assert_clean, assert_equal, assert_image, assert_same_objects, committed, image, import,
    options, places, put_all, random_disk, read_all, store_in,
};
use melv::{ImportOptions, MemoryStorage, Source, Storage};

const MIB: usize = 1 << 20;

struct Fixture {
    contents: BTreeMap<String, Vec<u8>>,
    disks: Vec<Vec<u8>>,
    next: Vec<u8>,
    /// What a clean import of `next` brings, and the objects that are there then.
    new_bytes: u64,
    expected: BTreeMap<String, Vec<u8>>,
}

impl Fixture {
    /// Three disks that share, of enough blocks for several pages of a segment; `next` is of old
    /// and new pieces.
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

    /// With `change` done to the index: every disk reads, and the next import is the clean one.
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
        // And the index is whole again: one more import finds everything.
        let again = import(&store, &self.next, &options("again"));
        assert_eq!(again.new_bytes, 0, "{what}");
    }
}

#[test]
fn the_index_may_be_deleted_in_whole_or_in_part() {
    let fixture = Fixture::new();
    let names: Vec<String> = fixture.index().map(|(name, _)| name.clone()).collect();
    assert!(names.len() >= 4, "{names:?}");
    fixture.check("all of it", |storage| storage.remove(&names).expect("remove"));
    for name in &names {
        fixture.check(name, |storage| storage.remove(std::slice::from_ref(name)).expect("remove"));
    }
    for folder in ["index/logs/", "index/segments/"] {
        let some: Vec<_> = names.iter().filter(|name| name.starts_with(folder)).cloned().collect();
        fixture.check(folder, |storage| storage.remove(&some).expect("remove"));
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
    // An index of another store altogether.
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

    // Everything is found in them still, from the oldest to the newest.
    let mut last = disk.clone();
    last.write(9000, 3, 500_000);
    let parent = Some("many:39".parse().expect("a reference"));
    let report =
        store.import(Source::device(&last), &ImportOptions { parent, ..options("last") }).expect("import");
    assert_eq!(report.new_bytes, 3 * 4096);
    assert_clean(&store);
}
