//! The cost of an operation depends only on the data it concerns: counts storage operations and disk bytes.

use std::sync::Mutex;

use melv::RawFile;
use melv::limits::SPAN_LEN;
use melv::{
    BlockDevice, BlockError, Comparison, MemoryStorage, ObjectStore, RefName, Result, ResultExt, Run, Source,
    Store, StoreError, StoreErrors, StoreOptions, compare, content_of,
};
use melv_serve::Catalog;
use melv_testing::{Op, SeedDisk, VecDisk, Watched, full, import, name, noise, objects, options, store_in};

const SPAN: u64 = SPAN_LEN as u64;

/// Opens a handle of the store that logs its operations.
fn watched(storage: &MemoryStorage) -> (Watched<MemoryStorage>, Store) {
    let watched = Watched::new(storage.clone());
    let store = Store::open(watched.clone(), StoreOptions::default()).expect("the store");
    watched.take();
    (watched, store)
}

/// Makes `count` images of a common part and blocks of their own.
fn images(count: u64) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let store = store_in(&storage);
    let common: Vec<u8> = (1..=400).flat_map(noise).collect();
    for image in 0..count {
        let own = (0..16).flat_map(|block| noise(1_000_000 + image * 1000 + block));
        let disk: Vec<u8> = common.iter().copied().chain(own).collect();
        import(&store, &disk, &options(&format!("disk-{image}")));
    }
    storage
}

/// Makes a store of one image with `count` names; every third is another tag of `web`.
fn names(count: usize) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let store = store_in(&storage);
    import(&store, &noise(1), &options("web"));
    for number in 1..count {
        let text = if number % 3 == 0 { format!("web:v{number}") } else { format!("name-{number}") };
        store.tag(&"web".parse().expect("a name"), &name(&text), false).expect("a tag");
    }
    storage
}

fn listings(ops: &[Op]) -> usize {
    ops.iter().filter(|op| matches!(op, Op::List(_))).count()
}

#[test]
fn verify_in_full_lists_the_index_once_and_reads_the_digests_of_a_common_base_once() {
    let mut costs = Vec::new();
    for count in [10, 20, 40] {
        let (watched, store) = watched(&images(count));
        let report = store.verify(&[], &full()).expect("verify");
        assert_eq!((report.images, report.damaged.len()), (count, 0));
        let ops = watched.take();
        let read_twice = ops.iter().filter(|op| match op {
            Op::Read { object, .. } if object.starts_with("index/logs/") => {
                ops.iter().filter(|other| other == op).count() > 1
            }
            _ => false,
        });
        assert_eq!(read_twice.count(), 0, "{count} images");
        costs.push((listings(&ops), ops.len()));
    }
    let [(few_lists, few), (_, some), (many_lists, many)] = costs[..] else { panic!("three") };
    assert_eq!(few_lists, many_lists);
    assert!(many - some <= 2 * (some - few) + 4 && (many - some) / 20 <= 40, "{costs:?}");
}

#[test]
fn to_remove_a_name_costs_the_same_however_many_there_are() {
    let mut costs = Vec::new();
    for count in [3, 300] {
        let (watched, store) = watched(&names(count));
        assert!(store.untag(&name("name-1")).expect("removed").is_some());
        let ops = watched.take();
        assert!(ops.iter().all(|op| !matches!(op, Op::List(folder) if folder != "tmp")), "{ops:?}");
        costs.push(ops.len());
    }
    assert_eq!(costs[0], costs[1]);
    assert!(costs[0] <= 4, "{costs:?}");
}

#[test]
fn to_give_a_name_writes_and_syncs_one_object_however_many_there_are() {
    let mut costs = Vec::new();
    for count in [3, 300] {
        let (watched, store) = watched(&names(count));
        let tag = |text: &str, replace| store.tag(&"web".parse().expect("a name"), &name(text), replace);
        for (text, replace) in [("new", false), ("web:new", false), ("name-1", true)] {
            tag(text, replace).expect("a tag");
            let ops = watched.take();
            assert!(ops.iter().all(|op| !matches!(op, Op::List(folder) if folder != "tmp")), "{ops:?}");
            assert_eq!(listings(&ops), 1, "{ops:?}");
            let is_sync = |op: &&Op| matches!(op, Op::Sync(_));
            let is_publication = |op: &&Op| matches!(op, Op::Publish(moves) if moves.len() == 1);
            assert_eq!(ops.iter().filter(is_sync).count(), 1, "{ops:?}");
            assert_eq!(ops.iter().filter(is_publication).count(), 1, "{ops:?}");
            assert!(!format!("{ops:?}").contains("journal"), "{ops:?}");
            costs.push((count, ops.len()));
        }
        let (before, refused) = (watched.take(), tag("name-1", false));
        assert!(before.is_empty() && refused.is_err());
        let writes = |op: &Op| matches!(op, Op::Create(_) | Op::Sync(_) | Op::Publish(_));
        assert!(!watched.take().iter().any(writes), "a refused name writes nothing");
    }
    let (few, many) = costs.split_at(3);
    assert!(few.iter().zip(many).all(|(few, many)| few.1 == many.1), "{costs:?}");
    assert!(few.iter().all(|(_, cost)| *cost <= 14), "{costs:?}");
}

#[test]
fn to_find_a_name_costs_the_same_however_many_there_are() {
    let mut costs = Vec::new();
    for count in [3, 300] {
        let (watched, store) = watched(&names(count));
        let catalog = Catalog::all(store.clone());
        let mut cost = |what: &str, done: &dyn Fn(), most: usize| {
            done();
            let ops = watched.take();
            assert_eq!(listings(&ops), 0, "{what}: {ops:?}");
            assert!(ops.len() <= most, "{what}: {ops:?}");
            costs.push((count, ops.len()));
        };
        cost("named", &|| drop(store.named(&name("web")).expect("named")), 2);
        cost("a name that is missing", &|| assert!(store.named(&name("nope")).is_err()), 1);
        cost("look-up", &|| drop(catalog.image("name-1").expect("an image")), 4);
        cost("look-up of a missing one", &|| assert!(catalog.image("web:nope").is_err()), 1);
        cost("a folder", &|| assert!(catalog.tag_of("web", Some("latest")).expect("a tag").is_some()), 2);
        let (ops, found) = (watched.take(), catalog.tag_of("nope", None).expect("none"));
        assert!(ops.is_empty() && found.is_none());
        assert!(watched.take().len() <= 2);
    }
    let (few, many) = costs.split_at(costs.len() / 2);
    assert!(few.iter().zip(many).all(|(few, many)| few.1 == many.1), "{costs:?}");
}

#[test]
fn to_list_the_tags_of_a_name_reads_no_other_name() {
    let (watched, store) = watched(&names(300));
    let catalog = Catalog::all(store);
    let tags = catalog.list_of("name-1").expect("tags");
    assert_eq!(tags.iter().map(|entry| entry.full_name()).collect::<Vec<_>>(), ["name-1:latest"]);
    assert_eq!(watched.take().len(), 3);
    assert_eq!(catalog.list_of("web").expect("tags").len(), 1 + 299 / 3);
    for strange in ["", ".", "..", "Web", "a/b", "web:v3", "\0"] {
        assert!(catalog.list_of(strange).expect("none").is_empty(), "{strange:?}");
        assert!(catalog.tag_of(strange, Some("latest")).expect("none").is_none(), "{strange:?}");
    }
}

#[test]
fn many_chosen_images_are_found_by_their_names() {
    let storage = names(300);
    let store = store_in(&storage);
    let image = store.image(&"web".parse().expect("a name")).expect("an image");
    let mut catalog = Catalog::empty();
    for (name, _) in store.names().expect("names") {
        catalog.add(Some(&name), &store, &image);
        catalog.add(Some(&name), &store, &image);
    }
    catalog.add(None, &store, &image);
    let all = catalog.list().expect("entries");
    assert_eq!(all.len(), 301);
    assert!(all.is_sorted_by_key(|entry| (entry.name.clone(), entry.tag.clone())));
    for name in store.names().expect("names").into_iter().map(|(name, _)| name) {
        assert_eq!(catalog.open(&name.to_string()).expect("open").image_id(), image.id());
    }
    assert_eq!(catalog.open("web").expect("open").image_id(), image.id());
    assert_eq!(catalog.list_of("web").expect("tags").len(), 100);
    assert_eq!(catalog.tag_of("name-1", None).expect("a tag").as_deref(), Some("latest"));
    assert!(catalog.open("").is_err_and(|error| error.is_not_found()));
    assert!(catalog.open("nope").is_err_and(|error| error.is_not_found()));
}

/// A disk that logs its reads.
#[derive(Debug)]
struct Counted<D> {
    inner: D,
    reads: Mutex<Vec<(u64, u64)>>,
}

impl<D: BlockDevice> Counted<D> {
    fn new(inner: D) -> Self {
        Self { inner, reads: Mutex::default() }
    }

    /// Returns the reads, in ascending order.
    fn take(&self) -> Vec<(u64, u64)> {
        let mut reads = std::mem::take(&mut *self.reads.lock().expect("reads"));
        reads.sort_unstable();
        reads
    }
}

impl<D: BlockDevice> BlockDevice for Counted<D> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.reads.lock().expect("reads").push((offset, buf.len() as u64));
        self.inner.read_at(offset, buf)
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        self.inner.map(offset, len)
    }

    fn name(&self) -> String {
        self.inner.name()
    }
}

/// Makes disks with few blocks of data, near and far, at both ends and across the ends of spans.
fn sparse() -> Vec<SeedDisk> {
    let tib = 1u64 << 40;
    let spans = SPAN >> 12;
    let mut disks = Vec::new();
    for size in [512, 4096, SPAN - 512, SPAN + 512, 3 * SPAN, 64 << 30, 15 * tib] {
        let blocks = size.div_ceil(4096);
        let mut disk = SeedDisk { size, ..SeedDisk::default() };
        disks.push(disk.clone());
        disk.write(blocks - 1, 1, 1);
        disks.push(disk.clone());
        for (at, count) in [(0, 1), (2, 3), (40, 1), (spans - 2, 5), (2 * spans - 1, 1), (blocks / 2, 20)] {
            if at + count <= blocks {
                disk.write(at, count, 100 + at);
            }
        }
        disks.push(disk.clone());
        (0..300).map(|n| n * (blocks / 300)).for_each(|at| disk.write(at, 1, 7000 + at));
        disks.push(disk);
    }
    disks
}

#[test]
fn digest_and_compare_read_data_and_next_to_no_holes() {
    for (number, disk) in sparse().into_iter().enumerate() {
        let store = store_in(&MemoryStorage::new());
        let imported = store.import(Source::device(&disk), &options("disk")).expect("an import");
        let image = store.image(&"disk".parse().expect("a name")).expect("an image");
        let data = disk.blocks.len() as u64 * 4096;
        // Short holes are read along, each with data on both its sides.
        let most = data + disk.blocks.len() as u64 * (64 << 10);
        let (one, other) = (Counted::new(disk.clone()), Counted::new(image));
        assert_eq!(content_of(&one, None, None).expect("a digest"), imported.content, "{number}");
        let reads = one.take();
        assert!(reads.iter().map(|read| read.1).sum::<u64>() <= most, "{number}");
        assert!(reads.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{number}: read twice");
        assert!(reads.iter().all(|(start, len)| start / SPAN == (start + len - 1) / SPAN), "{number}");
        assert_eq!(compare(&one, &other, None).expect("compared"), Comparison::Same, "{number}");
        for reads in [one.take(), other.take()] {
            assert!(reads.iter().map(|read| read.1).sum::<u64>() <= most, "{number}");
        }
    }
}

#[test]
fn compare_finds_the_first_difference_wherever_only_one_disk_has_data() {
    let size = 5 * SPAN + 512;
    let mut base = SeedDisk { size, ..SeedDisk::default() };
    base.write(300, 2, 5);
    for block in [0, 255, 256, 299, 302, 900, 5 * (SPAN >> 12)] {
        let mut other = base.clone();
        other.write(block, 1, 77);

        let first = noise(77).iter().position(|byte| *byte != 0).expect("noise") as u64;
        let expected = Comparison::Differ { offset: block * 4096 + first };
        assert_eq!(compare(&base, &other, None).expect("compared"), expected, "{block}");
        assert_eq!(compare(&other, &base, None).expect("compared"), expected, "{block}");
    }
    let longer = SeedDisk { size: size + 512, ..base.clone() };
    assert_eq!(compare(&longer, &base, None).expect("compared"), Comparison::Differ { offset: size });
    // Zeros stored as data on one side are no difference.
    let mut zeros = vec![0; 3 << 20];
    zeros[(2 << 20) + 5] = 0;
    let nothing = SeedDisk { size: 3 << 20, ..SeedDisk::default() };
    let written = AllData(VecDisk(zeros));
    assert_eq!(compare(&written, &nothing, None).expect("compared"), Comparison::Same);
    assert_eq!(
        content_of(&written, None, None).expect("one"),
        content_of(&nothing, None, None).expect("other")
    );
}

/// A disk that cannot report its zeros.
#[derive(Debug)]
struct AllData(VecDisk);

impl BlockDevice for AllData {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.0.read_at(offset, buf)
    }

    fn map(&self, _: u64, len: u64) -> Result<Run> {
        Ok(Run { kind: melv::RunKind::Data, len: len.min(3000) })
    }

    fn name(&self) -> String {
        self.0.name()
    }
}

#[test]
fn digest_and_compare_can_be_stopped_between_scattered_blocks() {
    let mut disk = SeedDisk { size: 1 << 40, ..SeedDisk::default() };
    (0..20_000).for_each(|number| disk.write(number * 1000, 1, 1));
    let stop = std::sync::atomic::AtomicBool::new(true);
    assert!(matches!(content_of(&disk, Some(&stop), None).detail(), Some(BlockError::Interrupted)));
    assert!(matches!(compare(&disk, &disk, Some(&stop)).detail(), Some(BlockError::Interrupted)));
}

#[test]
fn a_sparse_file_is_read_where_it_has_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disk.raw");
    let file = std::fs::File::create(&path).expect("a file");
    file.set_len(64 << 30).expect("sparse");
    let mut disk = SeedDisk { size: 64 << 30, ..SeedDisk::default() };
    for number in 0..256u64 {
        let block = number * 65_000;
        disk.write(block, 1, number);
        std::os::unix::fs::FileExt::write_all_at(&file, &noise(number), block * 4096).expect("written");
    }
    let raw = Counted::new(RawFile::open(&path, false).expect("a disk"));
    let expected = content_of(&disk, None, None).expect("a digest");
    assert_eq!(content_of(&raw, None, None).expect("a digest"), expected);
    let read = raw.take().iter().map(|read| read.1).sum::<u64>();
    // A file system may allocate more than a block for each.
    assert!(read <= 256 * (64 << 10), "{read}");
    assert_eq!(compare(&raw, &disk, None).expect("compared"), Comparison::Same);
}

#[test]
fn names_given_and_taken_by_others_are_seen_at_once() {
    let storage = names(3);
    let (one, other) = (store_in(&storage), store_in(&storage));
    let catalog = Catalog::all(one.clone());
    let added: RefName = name("new:1");
    other.tag(&"web".parse().expect("a name"), &added, false).expect("a tag");
    assert_eq!(catalog.tag_of("new", None).expect("a tag").as_deref(), Some("1"));
    other.tag(&"web".parse().expect("a name"), &name("new:2"), false).expect("a tag");
    other.untag(&added).expect("removed");
    // The known tag is gone: the catalog looks for another.
    assert_eq!(catalog.tag_of("new", Some("1")).expect("a tag").as_deref(), Some("2"));
    other.untag(&name("new:2")).expect("removed");
    assert_eq!(catalog.tag_of("new", Some("2")).expect("none"), None);
    // A record that cannot be read still exists.
    storage.put("refs/bad/latest", vec![1, 2, 3]);
    assert_eq!(catalog.tag_of("bad", None).expect("a tag").as_deref(), Some("latest"));
    assert!(catalog.list_of("bad").expect("none").is_empty());
    assert!(catalog.image("bad").is_err_and(|error| error.is_damage()));
    assert_eq!(one.untag(&name("bad")).expect("removed"), None);
    // A missing store does not make a name count as missing.
    storage.remove(&objects(storage.contents().into_keys())).expect("erased");
    assert!(matches!(catalog.tag_of("web", None).detail(), Some(StoreError::NoStore { .. })));
}
