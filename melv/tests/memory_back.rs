//! A process gets back all memory that its stores used. There is one test, since it measures the process.

use melv::{BlockDevice, Cache, MemoryStorage, Store, StoreOptions};
use melv_testing::{image, import, noise, options, store_in};

const MIB: usize = 1 << 20;
/// The memory of the allocator, of threads' scratch buffers and of code that is loaded at its first use.
const TOLERANCE: usize = 4 * MIB;

/// Returns the mapped and the resident bytes of this process.
fn memory() -> [usize; 2] {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells the memory of a process");
    ["VmSize:", "VmRSS:"].map(|field| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the line is there");
        let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib << 10
    })
}

/// Opens the store with a cache of its own and reads its disk twice.
fn read_all(storage: &MemoryStorage) -> (Cache, Store) {
    let cache = Cache::new(64 * MIB as u64);
    let options = StoreOptions { cache: cache.clone(), ..StoreOptions::default() };
    let store = Store::open(storage.clone(), options).expect("store");
    let image = image(&store, "disk");
    let mut out = vec![0; 4096];
    for at in (0..image.size()).step_by(out.len()).chain((0..image.size()).step_by(out.len())) {
        image.read_at(at, &mut out).expect("read");
    }
    (cache, store)
}

#[test]
fn memory_of_a_cache_is_given_back_with_its_last_handle() {
    let storage = MemoryStorage::new();
    let disk = (0..32 * MIB as u64 / 4096).flat_map(noise).collect::<Vec<_>>();
    import(&store_in(&storage), &disk, &options("disk"));
    drop(disk);
    drop(read_all(&storage));
    let before = memory();
    for _ in 0..3 {
        // The caches of both stores are full at the same time, and have nothing in common.
        let stores = [read_all(&storage), read_all(&storage)];
        let [mapped, resident] = memory();
        let bytes = [stores[0].0.bytes(), stores[1].0.bytes()];
        assert!(bytes.iter().all(|bytes| *bytes >= 32 * MIB as u64), "{bytes:?} bytes");
        assert!(mapped >= before[0] + 60 * MIB && resident >= before[1] + 60 * MIB);
        let [(cache, store), other] = stores;
        drop(other);
        let half = memory();
        assert!(half[0] <= mapped - 30 * MIB && half[1] <= resident - 30 * MIB, "one is given back alone");
        drop(cache);
        let image = image(&store, "disk");
        drop(store);
        assert!(memory()[1] + TOLERANCE >= half[1], "an image holds the cache that it reads through");
        drop(image);
        let after = memory();
        let is_back = |at: usize| after[at] <= before[at] + TOLERANCE;
        assert!(is_back(0) && is_back(1), "{before:?} bytes before, {after:?} after");
    }
}
