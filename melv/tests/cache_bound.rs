//! The cache keeps to its bound under any reads. There is one test, since it takes both processors.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use melv::{BlockDevice, Cache, ImportOptions, MemoryStorage, Store, StoreOptions};
use melv_testing::{BLOCK, Rng, image, import, options, random_disk, store_in};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn open(storage: &MemoryStorage, cache_bytes: u64) -> Store {
    let options = StoreOptions { cache: Cache::new(cache_bytes), ..Default::default() };
    Store::open(storage.clone(), options).expect("store")
}

/// Makes four disks of `len` bytes each, in chunks of 4, 32, 64 and 1024 KiB.
fn of_many_chunk_lengths(len: usize) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let store = store_in(&storage);
    for chunk_blocks in [1, 8, 16, 256] {
        let disk = random_disk(u64::from(chunk_blocks), len);
        import(&store, &disk, &ImportOptions { chunk_blocks, ..options(&format!("disk:{chunk_blocks}")) });
    }
    storage
}

fn check_bound(storage: &MemoryStorage, bytes_max: u64, reads: usize) {
    let store = open(storage, bytes_max);
    let cache = store.cache().clone();
    let images: Vec<_> = [1, 8, 16, 256].map(|blocks| image(&store, &format!("disk:{blocks}"))).into();
    let (done, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let one = |thread: u64| {
        let mut rng = Rng::new(bytes_max + thread);
        let mut out = vec![0; MIB];
        for _ in 0..reads {
            let image = &images[rng.below(4) as usize];
            let len = [BLOCK, BLOCK, BLOCK, 3 * BLOCK, 64 * KIB, MIB][rng.below(6) as usize];
            let at = rng.below(image.size() - len as u64);
            image.read_at(at, &mut out[..len]).expect("read");
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // `bytes` sums its parts one after the other: a real excess shows in two calls.
                most.fetch_max(cache.bytes().min(cache.bytes()), Ordering::Relaxed);
                std::thread::yield_now();
            }
        });
        let one = &one;
        let readers: Vec<_> = (0..4).map(|thread| scope.spawn(move || one(thread))).collect();
        let ended: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        done.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|reader| reader.expect("a reader"));
    });
    let last = cache.bytes();
    let most = most.into_inner().max(last);
    eprintln!("a cache of {bytes_max}: {most} at most, {last} at the end");
    assert!(most <= bytes_max, "{most} bytes in a cache of {bytes_max}");
    assert!(most >= bytes_max / 4, "only {most} bytes of {bytes_max} are used");
}

/// Checks that leaves and list pages stay within the bound while chunks fill the cache.
fn check_pages(storage: &MemoryStorage, bytes_max: u64) {
    let store = open(storage, bytes_max);
    let mut out = vec![0; BLOCK];
    for blocks in [8, 1, 16, 256, 8, 1] {
        let image = image(&store, &format!("disk:{blocks}"));
        for at in (0..image.size()).step_by(BLOCK) {
            image.read_at(at, &mut out).expect("read");
            let held = store.cache().bytes();
            assert!(held <= bytes_max, "{held} bytes in a cache of {bytes_max}: {blocks} blocks, byte {at}");
        }
    }
}

#[test]
fn a_cache_never_holds_more_than_it_may() {
    let small = of_many_chunk_lengths(4 * MIB);
    for bytes_max in [256 << 10, 1 << 20, 2 << 20] {
        check_pages(&small, bytes_max);
    }
    for (bytes_max, reads) in [(256 << 10, 300), (1 << 20, 500), (8 << 20, 1500)] {
        check_bound(&small, bytes_max, reads);
    }
    check_bound(&of_many_chunk_lengths(36 * MIB), 64 << 20, 3000);
}
