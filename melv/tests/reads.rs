//! The cost of reading, counted through the storage seam: opening, the first block, a read after many
//! generations, a whole disk through a small cache. Also the cost of storing a small change.

use std::sync::{Arc, Barrier};

use melv::{
    BlockDevice, Cache, Comparison, ImportOptions, MemoryStorage, Source, Store, StoreOptions, compare,
};
use melv_testing::{
    BLOCK, Rng, SeedDisk, VecDisk, Watched, assert_equal, image, import, options, random_disk, store_in,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

type Reads = Vec<(String, u64, u64)>;

fn folder(object: &str) -> &str {
    object.split('/').next().unwrap_or_default()
}

/// Whether a read is of a page file's or pack's head, whose place is known beforehand.
fn is_head((object, offset, len): &(String, u64, u64)) -> bool {
    *offset == 0 && [("pages", 32), ("packs", 48)].contains(&(folder(object), *len))
}

fn is_frame(read: &(String, u64, u64)) -> bool {
    folder(&read.0) == "packs" && !is_head(read)
}

fn bytes_of(reads: &Reads) -> u64 {
    reads.iter().map(|(_, _, len)| len).sum()
}

fn told(what: &str, reads: &Reads) {
    let list: Vec<_> = reads.iter().map(|(object, _, len)| format!("{} {len}", folder(object))).collect();
    eprintln!("{what}: {} reads, {} bytes: {}", reads.len(), bytes_of(reads), list.join(", "));
}

/// Opens an image, reads its first data block with nothing cached, and checks both against the design.
fn check_opening(storage: &MemoryStorage, offset: u64, expected: &[u8], what: &str) {
    let watched = Watched::new(storage.clone());
    let store = Store::open(watched.clone(), StoreOptions::default()).expect("store");
    watched.take();
    let image = image(&store, "disk");
    let opening = watched.take_reads();
    told(&format!("{what}, opening"), &opening);
    assert!(opening.len() <= 3, "{opening:?}");
    assert!(bytes_of(&opening) <= MIB, "{opening:?}");
    // The reference first, then the record: its front, and the remainder if the front was too short.
    let folders: Vec<_> = opening.iter().map(|(object, ..)| folder(object)).collect();
    assert!(folders == ["refs", "manifests"] || folders == ["refs", "manifests", "manifests"], "{folders:?}");

    let mut block = vec![0; BLOCK];
    image.read_at(offset, &mut block).expect("read");
    assert_equal(&block, expected, what);
    let first = watched.take_reads();
    told(&format!("{what}, first 4 KiB"), &first);
    // Three rounds: the leaf; root and page of list and locator, whose places are both known beforehand; the
    // frame. No object is read in two rounds. Heads of page file and pack are read in parallel, once per
    // file.
    let round = |object: &str| match folder(object) {
        "pages" => 1,
        "lists" | "locators" => 2,
        "packs" => 3,
        other => panic!("{other} is not needed here"),
    };
    let rounds: Vec<_> = first.iter().map(|(object, ..)| round(object)).collect();
    assert!(rounds.is_sorted(), "{first:?}");
    assert_eq!(rounds.first().copied(), Some(1), "{first:?}");
    let wanted = |name| first.iter().filter(|read| folder(&read.0) == name && !is_head(read)).count();
    assert_eq!(wanted("pages"), 1, "one leaf: {first:?}");
    assert_eq!(wanted("packs"), 1, "one frame: {first:?}");
    assert!(first.iter().filter(|read| is_head(read)).count() <= 2, "{first:?}");
    for folder_name in ["lists", "locators"] {
        let count = first.iter().filter(|(object, ..)| folder(object) == folder_name).count();
        assert!(count <= 2, "root and page of {folder_name}: {first:?}");
    }
    assert!(bytes_of(&first) <= 256 << 10, "{first:?}");
    // The same block and its neighbour in the chunk: nothing is read.
    image.read_at(offset, &mut block).expect("read");
    assert_eq!(watched.take_reads(), []);
    // Another block nearby: at most its frame.
    image.read_at(offset + 16 * BLOCK as u64, &mut block).expect("read");
    assert!(watched.take_reads().len() <= 1);
}

#[test]
fn an_ordinary_image_opens_in_three_reads_and_gives_its_first_block_in_three_more() {
    let storage = MemoryStorage::new();
    let store = store_in(&storage);
    // Two generations that share with another disk: several lists, several page files.
    let other = random_disk(1, 3 << 20);
    import(&store, &other, &options("other"));
    let mut disk: Vec<u8> = (1000..6000).flat_map(melv_testing::noise).collect();
    disk[8 << 20..11 << 20].copy_from_slice(&other);
    import(&store, &disk, &options("base"));
    disk[12 << 20..][..BLOCK].copy_from_slice(&melv_testing::noise(99_999));
    let parent = Some("base".parse().expect("a reference"));
    import(&store, &disk, &ImportOptions { parent, ..options("disk") });
    check_opening(&storage, 0, &disk[..BLOCK], "ordinary image");
}

#[test]
fn an_image_with_a_map_of_a_tib_opens_in_three_reads_and_a_mib() {
    let storage = MemoryStorage::new();
    let store = store_in(&storage);
    let disk = SeedDisk::with_every_leaf(TIB, 20);
    let report = store.import(Source::device(&disk), &options("disk")).expect("import");
    assert_eq!(report.data_bytes, 4096 * 20 * BLOCK as u64);
    let opened = image(&store, "disk");
    assert_eq!(opened.manifest().geometry.leaves(), 4096);
    assert_eq!(opened.manifest().geometry.size_bytes, TIB);
    for leaf in [0u64, 1, 2047, 4095] {
        let mut block = vec![0; BLOCK];
        disk.read_at(leaf << 28, &mut block).expect("seeds");
        check_opening(&storage, leaf << 28, &block, &format!("1 TiB map, leaf {leaf}"));
    }
}

/// Reads 4 KiB blocks with nothing cached and returns the storage reads.
fn cold_reads(storage: &MemoryStorage, reference: &str, disk: &[u8], order: &[u64]) -> Reads {
    let watched = Watched::new(storage.clone());
    let store = Store::open(watched.clone(), StoreOptions::default()).expect("store");
    let image = image(&store, reference);
    watched.take();
    let mut block = vec![0; BLOCK];
    for &number in order {
        let at = number as usize * BLOCK;
        image.read_at(at as u64, &mut block).expect("read");
        assert_equal(&block, &disk[at..at + BLOCK], reference);
    }
    watched.take_reads()
}

#[test]
fn sixty_four_generations_cost_no_more_to_look_up_than_one() {
    const BLOCKS: u64 = 4096;
    let storage = MemoryStorage::new();
    let store = store_in(&storage);
    let mut rng = Rng::new(64);
    let mut disk: Vec<u8> = (0..BLOCKS).flat_map(melv_testing::text).collect();
    import(&store, &disk, &options("gen:0"));
    for generation in 1..=64u64 {
        // Random changes of 2 %.
        for n in 0..BLOCKS / 50 {
            let at = rng.below(BLOCKS) as usize * BLOCK;
            disk[at..at + BLOCK].copy_from_slice(&melv_testing::text((generation << 32) + n));
        }
        let parent = Some(format!("gen:{}", generation - 1).parse().expect("a reference"));
        import(&store, &disk, &ImportOptions { parent, ..options(&format!("gen:{generation}")) });
    }
    let lists = image(&store, "gen:64").manifest().lists.len();
    assert!(lists >= 60, "{lists} lists");

    // One block each from a cold start: the same rounds at any depth of lineage.
    let flat = MemoryStorage::new();
    import(&store_in(&flat), &disk, &options("flat"));
    for number in [0, 77, 2048, 4095] {
        let (deep, one) =
            (cold_reads(&storage, "gen:64", &disk, &[number]), cold_reads(&flat, "flat", &disk, &[number]));
        assert_eq!(deep.len(), one.len(), "{deep:?}\n{one:?}");
    }
    // Every block once, in a random order: besides frames, only the root and pages of each list and locator
    // are read, once each.
    let mut order: Vec<u64> = (0..BLOCKS).collect();
    for n in (1..order.len()).rev() {
        order.swap(n, rng.below(n as u64 + 1) as usize);
    }
    let metadata = |reads: &Reads| reads.iter().filter(|read| !is_frame(read)).count();
    let by_folder = |reads: &Reads, name: &str| {
        let fits = |read: &&(String, u64, u64)| match name {
            "heads" => is_head(read),
            "frames" => is_frame(read),
            name => folder(&read.0) == name && !is_head(read),
        };
        reads.iter().filter(fits).count()
    };
    let (deep, one) =
        (cold_reads(&storage, "gen:64", &disk, &order), cold_reads(&flat, "flat", &disk, &order));
    for (what, reads) in [("64 generations", &deep), ("flattened", &one)] {
        let counts =
            ["pages", "lists", "locators", "heads", "frames"].map(|name| (name, by_folder(reads, name)));
        let average = reads.len() as f64 / BLOCKS as f64;
        eprintln!("{what}, every block: {} reads ({average:.3} a block), {counts:?}", reads.len());
    }
    // A read of an uncached chunk takes one frame (as asserted above); the metadata is read once. This gives
    // the average cost of 4 KiB if no frame is reused:
    let cost = |reads: &Reads| (metadata(reads) as f64 + BLOCKS as f64) / BLOCKS as f64;
    let (deep_cost, one_cost) = (cost(&deep), cost(&one));
    eprintln!("reads for 4 KiB, no frame used twice: {deep_cost:.3} and {one_cost:.3}");
    assert!(deep_cost <= 1.1 * one_cost, "{deep_cost:.3} and {one_cost:.3}");
    assert_eq!(by_folder(&deep, "pages"), 1, "one leaf, whatever the lineage");
    assert!(by_folder(&deep, "lists") <= 2 * lists && by_folder(&deep, "locators") <= 2 * lists);
    // Blocks of 65 lists lie in more frames than blocks of one; the lookups do not add to them.
    let frames: std::collections::BTreeSet<_> = deep.iter().filter(|read| is_frame(read)).collect();
    assert_eq!(by_folder(&deep, "frames"), frames.len(), "each frame once: all fit the cache");

    // Once the roots are known, a lookup reads nothing, as for the flattened image.
    let warm = {
        let watched = Watched::new(storage.clone());
        let store = Store::open(watched.clone(), StoreOptions::default()).expect("store");
        let image = image(&store, "gen:64");
        let mut block = vec![0; BLOCK];
        for &number in &order[..2000] {
            image.read_at(number * BLOCK as u64, &mut block).expect("read");
        }
        watched.take();
        for &number in &order[2000..] {
            image.read_at(number * BLOCK as u64, &mut block).expect("read");
        }
        watched.take_reads()
    };
    let (all, metadata) = (warm.len(), metadata(&warm));
    eprintln!(
        "64 generations, roots known: {all} reads for {} blocks, {metadata} of metadata",
        BLOCKS - 2000
    );
    assert_eq!(metadata, 0, "nothing but frames");
}

#[test]
fn one_changed_mib_costs_two_at_most_whatever_the_disks_size() {
    // The 1 TiB disk has data in each of its 4096 leaves.
    for (size, per_leaf) in [(64 * MIB, 8192), (2 * GIB, 300), (TIB, 4)] {
        let storage = MemoryStorage::new();
        let store = store_in(&storage);
        let mut disk = SeedDisk::with_every_leaf(size, per_leaf);
        store.import(Source::device(&disk), &options("base")).expect("import");
        // One run of incompressible blocks across two spans.
        disk.write(size / BLOCK as u64 / 2 + 100, 256, 1 << 50);
        let parent = Some("base".parse().expect("a reference"));
        let report = store
            .import(Source::device(&disk), &ImportOptions { parent, ..options("later") })
            .expect("import");
        eprintln!("1 MiB changed of {} MiB: {} bytes stored", size / MIB, report.stored_bytes);
        assert_eq!(report.new_bytes, MIB);
        assert!(report.stored_bytes <= 2 * MIB, "{} bytes for {} MiB", report.stored_bytes, size / MIB);
        // The later disk reads back, at both ends of the change.
        let later = image(&store, "later");
        for block in [size / BLOCK as u64 / 2 + 99, size / BLOCK as u64 / 2 + 355] {
            let (mut found, mut expected) = (vec![1; 2 * BLOCK], vec![2; 2 * BLOCK]);
            later.read_at(block * BLOCK as u64, &mut found).expect("read");
            disk.read_at(block * BLOCK as u64, &mut expected).expect("seeds");
            assert_equal(&found, &expected, "the later disk");
        }
        if size <= 2 * GIB {
            assert_eq!(compare(&later, &disk, None).expect("compare"), Comparison::Same);
        }
    }
}

#[test]
fn a_cache_keeps_to_its_bound_whatever_is_read() {
    const BOUND: u64 = 1 << 20;
    let storage = MemoryStorage::new();
    let disk = random_disk(5, 24 << 20);
    for chunk_blocks in [2, 16, 1024] {
        let name = format!("disk:c{chunk_blocks}");
        let fresh = MemoryStorage::new();
        import(&store_in(&fresh), &disk, &ImportOptions { chunk_blocks, ..options(&name) });
        let cache = Cache::new(BOUND);
        let store =
            Store::open(fresh, StoreOptions { cache: cache.clone(), ..Default::default() }).expect("store");
        let image = image(&store, &name);
        let mut most = 0;
        for len in [BLOCK, 3 * BLOCK, 100_000, 1 << 20] {
            let mut out = vec![0; len];
            for offset in (0..disk.len() - len).step_by(7 * len) {
                image.read_at(offset as u64, &mut out).expect("read");
                assert_equal(&out, &disk[offset..offset + len], &name);
                most = most.max(cache.bytes());
            }
        }
        eprintln!("chunks of {chunk_blocks} blocks: at most {most} bytes in a cache of {BOUND}");
        assert!(most <= BOUND, "{most} bytes in a cache of {BOUND}");
        assert!(chunk_blocks == 1024 || most > BOUND / 2, "only {most} bytes are used");
    }
    drop(storage);
}

#[test]
fn images_share_one_cache_by_content() {
    let storage = MemoryStorage::new();
    let store = store_in(&storage);
    let base: Vec<u8> = (0..256).flat_map(melv_testing::noise).collect();
    import(&store, &base, &options("base"));
    for number in 0..5u64 {
        let mut disk = base.clone();
        disk[..BLOCK].copy_from_slice(&melv_testing::noise(1000 + number));
        import(&store, &disk, &options(&format!("appliance:{number}")));
    }
    let watched = Watched::new(storage);
    let store = Store::open(watched.clone(), StoreOptions::default()).expect("store");
    // In small pieces, as guests read: large reads bypass the cache.
    let read = |name: &str| {
        let image = image(&store, name);
        let mut out = vec![0; BLOCK];
        (64..256).for_each(|block| image.read_at(block * BLOCK as u64, &mut out).expect("read"));
        watched.take_reads().iter().filter(|read| is_frame(read)).count()
    };
    assert_eq!(read("base"), 192 / 8, "every chunk once");
    let held = store.cache().bytes();
    for number in 0..5 {
        assert_eq!(read(&format!("appliance:{number}")), 0, "the base's chunks are there");
    }
    assert!(store.cache().bytes() < held + held / 10, "{} after {held}", store.cache().bytes());
}

#[test]
fn threads_that_miss_the_same_chunk_decode_it_once() {
    let storage = MemoryStorage::new();
    let disk: Vec<u8> = (0..64).flat_map(melv_testing::noise).collect();
    import(&store_in(&storage), &disk, &ImportOptions { chunk_blocks: 64, ..options("disk") });
    for round in 0..20 {
        let watched = Watched::new(storage.clone());
        let store = Store::open(watched.clone(), StoreOptions::default()).expect("store");
        let image = image(&store, "disk");
        let start = Arc::new(Barrier::new(8));
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let (image, start, disk) = (image.clone(), start.clone(), &disk);
                scope.spawn(move || {
                    let mut out = vec![0; BLOCK];
                    start.wait();
                    image.read_at(thread * 3 * BLOCK as u64, &mut out).expect("read");
                    assert_equal(&out, &disk[thread as usize * 3 * BLOCK..][..BLOCK], "thread");
                });
            }
        });
        let reads = watched.take_reads();
        let frames = reads.iter().filter(|read| is_frame(read)).count();
        assert_eq!(frames, 1, "round {round}: {reads:?}");
    }
}

#[test]
fn a_front_to_back_read_reads_each_frame_once() {
    let storage = MemoryStorage::new();
    let disk = random_disk(8, 8 << 20);
    let report = import(&store_in(&storage), &disk, &options("disk"));
    let watched = Watched::new(storage);
    let store = Store::open(watched.clone(), StoreOptions::default()).expect("store");
    let image = image(&store, "disk");
    watched.take();
    assert_equal(&melv_testing::read_all(&image).expect("read"), &disk, "disk");
    let frames: Vec<_> = watched.take_reads().into_iter().filter(is_frame).collect();
    let chunks = report.new_bytes.div_ceil(8 * BLOCK as u64);
    eprintln!("front to back: {} frame reads for {chunks} chunks", frames.len());
    // Repeated blocks lie in chunks that are read again and may bypass the cache.
    assert!(frames.len() as u64 <= chunks * 5 / 4, "{} frame reads for {chunks} chunks", frames.len());
    assert_eq!(compare(&image, &VecDisk(disk), None).expect("compare"), Comparison::Same);
}
