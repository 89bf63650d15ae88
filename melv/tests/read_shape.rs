//! The shape of reading, not its time: its allocations, its storage reads, and waiting between readers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use melv::{BlockDevice, Cache, ErrorKind, Image, ImportOptions, MemoryStorage, Store, StoreOptions};
use melv_testing::{BLOCK, Op, Rng, Watched, assert_equal, image, import, options, store_in};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Bytes of a chunk of the default length.
const CHUNK: usize = 8 * BLOCK;

type Reads = Vec<(String, u64, u64)>;

fn noise(seeds: std::ops::Range<u64>) -> Vec<u8> {
    seeds.flat_map(melv_testing::noise).collect()
}

fn folder(object: &str) -> &str {
    object.split('/').next().unwrap_or_default()
}

fn is_pack_head((object, offset, _): &(String, u64, u64)) -> bool {
    folder(object) == "packs" && *offset == 0
}

fn is_frame(read: &(String, u64, u64)) -> bool {
    folder(&read.0) == "packs" && !is_pack_head(read)
}

fn is_frame_read(op: &Op) -> bool {
    matches!(op, Op::Read { object, offset, .. } if folder(object) == "packs" && *offset != 0)
}

fn open(storage: impl melv::LocalFolder + 'static, cache_bytes: u64) -> Store {
    let options = StoreOptions { cache: Cache::new(cache_bytes), ..Default::default() };
    Store::open(storage, options).expect("store")
}

fn read(image: &Image, offset: usize, out: &mut [u8]) {
    image.read_at(offset as u64, out).expect("read");
}

/// Returns the number of allocations that `work` makes on this thread.
fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

/// Makes a disk of leaves of 256 MiB each with data, the first of them from two generations.
fn leaves_and_lists(storage: &MemoryStorage) -> Vec<usize> {
    const LEAF_BLOCKS: u64 = 1 << 16;
    let store = store_in(storage);
    let mut disk = melv_testing::SeedDisk { size: 3 << 28, ..Default::default() };
    (0..3).for_each(|leaf| disk.write(leaf * LEAF_BLOCKS, 512, 1 + (leaf << 32)));
    store.import(melv::Source::device(&disk), &options("base")).expect("import");
    // Every eleventh block changes, and so belongs to another list.
    (0..512).step_by(11).for_each(|block| disk.write(block, 1, 1 << 50 | block));
    let parent = Some("base".parse().expect("a reference"));
    store.import(melv::Source::device(&disk), &ImportOptions { parent, ..options("disk") }).expect("import");
    (0..3 * LEAF_BLOCKS)
        .step_by(LEAF_BLOCKS as usize)
        .flat_map(|leaf| leaf..leaf + 512)
        .map(|block| block as usize * BLOCK)
        .collect()
}

#[test]
fn a_hot_read_allocates_nothing() {
    let storage = MemoryStorage::new();
    let blocks = leaves_and_lists(&storage);
    let image = image(&open(storage, 64 << 20), "disk");
    assert!(image.manifest().lists.len() > 1);
    let mut out = vec![0; 64 * KIB];
    blocks.iter().for_each(|&at| read(&image, at, &mut out[..BLOCK]));
    let mut rng = Rng::new(1);
    // Blocks; 4 KiB across blocks and chunks; 64 KiB, across several chunks.
    for (what, len, step) in
        [("4 KiB", BLOCK, BLOCK), ("4 KiB apart", BLOCK, 512), ("64 KiB", 64 * KIB, BLOCK)]
    {
        let places: Vec<_> = (0..1000)
            .map(|_| {
                let leaf = rng.below(3) as usize * (256 * MIB);
                leaf + rng.below(((512 * BLOCK - len) / step) as u64) as usize * step
            })
            .collect();
        // The thread allocates its buffers for stored bytes once.
        read(&image, 0, &mut out[..len]);
        let count = allocations(|| places.iter().for_each(|&at| read(&image, at, &mut out[..len])));
        assert_eq!(count, 0, "{count} allocations in 1000 hot reads: {what}");
    }
}

/// Returns the allocations of 4000 cold reads, total and maximum, after the cache has turned over twice.
fn cold_allocations(cache_bytes: u64, chunk_blocks: u32) -> (u64, u64) {
    const READS: usize = 4000;
    const BLOCKS: u64 = 8192;
    let storage = MemoryStorage::new();
    let disk = noise(0..BLOCKS);
    import(&store_in(&storage), &disk, &ImportOptions { chunk_blocks, ..options("disk") });
    let image = image(&open(storage, cache_bytes), "disk");
    let mut out = vec![0; BLOCK];
    let mut rng = Rng::new(2);
    let places: Vec<_> = (0..3 * READS).map(|_| rng.below(BLOCKS) as usize * BLOCK).collect();
    let (warm, counted) = places.split_at(2 * READS);
    warm.iter().for_each(|&at| read(&image, at, &mut out));
    let counts = counted.iter().map(|&at| allocations(|| read(&image, at, &mut out)));
    counts.fold((0, 0), |(all, most), count| (all + count, most.max(count)))
}

#[test]
fn a_cold_read_allocates_next_to_nothing_once_the_cache_turns_over() {
    // Each runs on a new thread without kept buffers. A piece of an arena costs nothing; a kept buffer costs
    // one small box, and a new one its bytes too. The first cache has room for one
    // arena, half of its bytes. The cache's tables may grow once more.
    for (what, cache_bytes, chunk_blocks, all_max) in
        [("pieces of arenas", 8 << 20, 8, 2040), ("kept buffers", 2 << 20, 16, 4040)]
    {
        let counting = std::thread::spawn(move || cold_allocations(cache_bytes, chunk_blocks));
        let (all, most) = counting.join().expect("a reader");
        eprintln!("{what}: {all} allocations in 4000 reads, {most} in one at most");
        assert!(all <= all_max && most <= 4, "{what}: {all} allocations in 4000 reads, {most} in one");
    }
}

#[test]
fn eight_readers_of_one_chunk_read_and_decode_it_once() {
    const CHUNKS: usize = 64;
    let storage = MemoryStorage::new();
    let disk = noise(0..8 * CHUNKS as u64);
    import(&store_in(&storage), &disk, &options("disk"));
    // Slow enough that all readers arrive before it ends.
    let watched = Watched::hooked(storage, |op| {
        if is_frame_read(op) {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    });
    let image = image(&open(watched.clone(), 64 << 20), "disk");
    watched.take();
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (image, start, disk) = (image.clone(), &start, &disk);
            scope.spawn(move || {
                let mut out = vec![0; BLOCK];
                for chunk in 0..CHUNKS {
                    let at = chunk * CHUNK + thread * BLOCK;
                    start.wait();
                    read(&image, at, &mut out);
                    assert_equal(&out, &disk[at..at + BLOCK], "a reader");
                }
            });
        }
    });
    let reads = watched.take_reads();
    let mut frames: Vec<_> = reads.iter().filter(|read| is_frame(read)).collect();
    assert_eq!(frames.len(), CHUNKS, "{frames:?}");
    frames.sort();
    frames.dedup();
    assert_eq!(frames.len(), CHUNKS, "none twice");
    assert_eq!(reads.iter().filter(|read| is_pack_head(read)).count(), 1);
}

/// Reads the blocks of the chunk at `at` with eight readers at once; fails rather than wait forever.
fn eight_readers(image: &Image, at: usize) -> Vec<melv::Result<Vec<u8>>> {
    let start = Arc::new(Barrier::new(8));
    let (done, results) = channel();
    for thread in 0..8 {
        let (image, start, done) = (image.clone(), start.clone(), done.clone());
        std::thread::spawn(move || {
            let mut out = vec![0; BLOCK];
            start.wait();
            let result = image.read_at((at + thread * BLOCK) as u64, &mut out);
            done.send((thread, result.map(|()| out))).expect("the test waits");
        });
    }
    let wait = Duration::from_secs(60);
    let mut found: Vec<_> = (0..8).map(|_| results.recv_timeout(wait).expect("a reader hangs")).collect();
    found.sort_by_key(|(thread, _)| *thread);
    found.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn a_load_that_fails_is_its_readers_error_alone_and_nobody_waits_for_it() {
    let storage = MemoryStorage::new();
    let disk = noise(0..64);
    import(&store_in(&storage), &disk, &options("disk"));
    let to_fail = Arc::new(AtomicU64::new(0));
    let left = to_fail.clone();
    let watched = Watched::hooked(storage, move |op| {
        if !is_frame_read(op) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
        let less = |left: u64| left.checked_sub(1);
        match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
            Ok(_) => Err(std::io::Error::other("injected fault")),
            Err(_) => Ok(()),
        }
    });
    let image = image(&open(watched.clone(), 64 << 20), "disk");
    for (chunk, fails) in [(0, 0), (1, 1), (2, 3), (3, 8), (4, 1)] {
        let at = chunk * CHUNK;
        watched.take();
        to_fail.store(fails, Ordering::SeqCst);
        let (mut failed, mut good) = (0, 0);
        for (number, result) in eight_readers(&image, at).into_iter().enumerate() {
            match result {
                Ok(found) => {
                    good += 1;
                    assert_equal(&found, &disk[at + number * BLOCK..][..BLOCK], "a reader");
                }
                Err(error) if error.kind() == ErrorKind::Io && format!("{error:?}").contains("injected") => {
                    failed += 1
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!((failed, good), (fails, 8 - fails), "each fault is one reader's");
        // After each failure the next reader tries; a success serves the rest.
        let frames = watched.take_reads().iter().filter(|read| is_frame(read)).count() as u64;
        assert_eq!(frames, fails + u64::from(fails < 8), "chunk {chunk}");
        let mut out = vec![0; CHUNK];
        read(&image, at, &mut out);
        assert_equal(&out, &disk[at..at + CHUNK], "later");
    }
}

/// Returns the folders of the objects read, in order, with heads of packs and page files marked.
fn shape(reads: &Reads) -> Vec<String> {
    let one = |(object, offset, _): &(String, u64, u64)| {
        let is_head = *offset == 0 && ["packs", "pages"].contains(&folder(object));
        format!("{}{}", folder(object), if is_head { " head" } else { "" })
    };
    reads.iter().map(one).collect()
}

#[test]
fn opening_and_a_first_cold_read_take_few_reads_and_the_next_takes_one() {
    let storage = MemoryStorage::new();
    let disk = noise(0..4096);
    import(&store_in(&storage), &disk, &options("disk"));
    let watched = Watched::new(storage);
    let store = open(watched.clone(), 64 << 20);
    watched.take();
    let image = image(&store, "disk");
    let opening = watched.take_reads();
    assert_eq!(shape(&opening), ["refs", "manifests"]);
    assert!(opening.len() <= 3 && opening.iter().map(|(_, _, len)| len).sum::<u64>() <= MIB as u64);
    let mut out = vec![0; BLOCK];
    read(&image, 5 * BLOCK, &mut out);
    let first = watched.take_reads();
    // The leaf; root and page of the list; root and page of its locator; the frame. The heads of page file
    // and pack are checked when these are opened.
    let expected = ["pages head", "pages", "lists", "lists", "locators", "locators", "packs head", "packs"];
    assert_eq!(shape(&first), expected, "{first:?}");
    eprintln!("first cold read: {:?}", first.iter().map(|(_, _, len)| len).collect::<Vec<_>>());
    // Another chunk of the same region reads its frame; another block of the chunk reads nothing.
    for chunk in [1, 7, 100, 511] {
        read(&image, chunk * CHUNK + 3 * BLOCK, &mut out);
        assert_equal(&out, &disk[chunk * CHUNK + 3 * BLOCK..][..BLOCK], "a cold read");
        assert_eq!(shape(&watched.take_reads()), ["packs"], "chunk {chunk}");
        read(&image, chunk * CHUNK, &mut out);
        assert_eq!(watched.take_reads(), []);
    }
}

#[test]
fn a_small_cache_keeps_the_pages_that_chunks_are_found_by() {
    const BLOCKS: u64 = 8192;
    let storage = MemoryStorage::new();
    // One block per chunk: eight pages of the list and eight of its locator, 448 KiB.
    let disk = noise(0..BLOCKS);
    import(&store_in(&storage), &disk, &ImportOptions { chunk_blocks: 1, ..options("disk") });
    let watched = Watched::new(storage);
    let image = image(&open(watched.clone(), 768 << 10), "disk");
    let mut rng = Rng::new(3);
    let mut out = vec![0; BLOCK];
    for _ in 0..2000 {
        let at = rng.below(BLOCKS) as usize * BLOCK;
        read(&image, at, &mut out);
        assert_equal(&out, &disk[at..at + BLOCK], "a cold read");
    }
    let reads = watched.take_reads();
    let of_pages = reads.iter().filter(|read| ["lists", "locators"].contains(&folder(&read.0))).count();
    eprintln!("{of_pages} reads of pages, {} of frames", reads.iter().filter(|read| is_frame(read)).count());
    assert!(of_pages < 60, "{of_pages} reads of 16 pages");
}

#[test]
fn reading_from_front_to_back_asks_once_for_many_frames() {
    // Frames as long as chunks, half as long, and short ones.
    let half = |seed: u64| [&melv_testing::noise(seed)[..BLOCK / 2], &[7; BLOCK / 2]].concat();
    for (what, disk) in [
        ("noise", noise(0..4096)),
        ("half noise", (0..4096).flat_map(half).collect()),
        ("text", (0..4096).flat_map(melv_testing::text).collect::<Vec<_>>()),
        // Zeros in between: requests begin within chunks.
        ("with zeros", (0..4096).flat_map(|n| if n % 700 < 45 { vec![0; BLOCK] } else { half(n) }).collect()),
    ] {
        let storage = MemoryStorage::new();
        let report = import(&store_in(&storage), &disk, &options("disk"));
        let frames = report.new_bytes.div_ceil(CHUNK as u64) as usize;
        let watched = Watched::new(storage);
        let image = image(&open(watched.clone(), 64 << 20), "disk");
        watched.take();
        let mut out = vec![0; MIB];
        for (number, expected) in disk.chunks(MIB).enumerate() {
            read(&image, number * MIB, &mut out);
            assert_equal(&out, expected, what);
        }
        let reads = watched.take_reads();
        eprintln!("{what}: {} reads for {frames} frames", reads.len());
        assert!(reads.len() * 4 <= frames, "{what}: {} reads for {frames} frames", reads.len());
    }
}

#[test]
fn a_child_reads_what_it_shares_from_what_its_base_left_in_the_cache() {
    let storage = MemoryStorage::new();
    let store = store_in(&storage);
    let base = noise(0..2048);
    import(&store, &base, &options("base"));
    let mut child = base.clone();
    let own = [0, 700, 701, 1999];
    own.iter().for_each(|&block: &usize| {
        child[block * BLOCK..][..BLOCK].copy_from_slice(&melv_testing::noise(1 << 40 | block as u64))
    });
    let parent = Some("base".parse().expect("a reference"));
    import(&store, &child, &ImportOptions { parent, ..options("child") });
    let watched = Watched::new(storage);
    let store = open(watched.clone(), 64 << 20);
    let images = [image(&store, "base"), image(&store, "child")];
    let mut out = vec![0; BLOCK];
    (0..2048).for_each(|block| read(&images[0], block * BLOCK, &mut out));
    let held = store.cache().bytes();
    watched.take();
    for block in (0..2048).filter(|block| !own.contains(block)) {
        read(&images[1], block * BLOCK, &mut out);
        assert_equal(&out, &child[block * BLOCK..][..BLOCK], "the child");
    }
    let reads = watched.take_reads();
    assert_eq!(reads.iter().filter(|read| folder(&read.0) == "packs").count(), 0, "{reads:?}");
    assert!(reads.len() <= 2, "the child's leaf: {reads:?}");
    assert!(store.cache().bytes() - held < 32 << 10, "the child's leaf");
    // Its own blocks are one frame, of its own list.
    own.iter().for_each(|&block| read(&images[1], block * BLOCK, &mut out));
    assert_eq!(watched.take_reads().iter().filter(|read| is_frame(read)).count(), 1);
    // The base also stays fully cached.
    (0..2048).for_each(|block| read(&images[0], block * BLOCK, &mut out));
    assert_eq!(watched.take_reads(), []);
}
