//! Reads of 4 KiB: cold, each from a chunk that must be decoded, and hot, from the cache.

use criterion::{Criterion, criterion_group, criterion_main};
use melv::{BlockDevice, Cache, ImportOptions, MemoryStorage, Source, Store, StoreOptions};
use melv_benches::{BLOCK_LEN, made_up_disk};

const BLOCKS: u64 = 16 << 10;

fn image(cache_bytes: u64) -> melv::Result<melv::Image> {
    let options = StoreOptions { cache: Cache::new(cache_bytes), ..Default::default() };
    let store = Store::create(MemoryStorage::new(), options)?;
    let disk = made_up_disk(BLOCKS as usize, 1);
    store.import(Source::stream(&disk[..], "disk"), &ImportOptions::named("disk".parse()?))?;
    store.image(&"disk".parse()?)
}

fn benches(criterion: &mut Criterion) {
    let mut buffer = [0; BLOCK_LEN];
    let mut group = criterion.benchmark_group("read-4k");
    // A stride that meets every block once before it repeats, and no chunk twice in a row.
    let mut block = 0;
    let mut next = || {
        block = (block + 7919) % BLOCKS;
        block * BLOCK_LEN as u64
    };
    let cold = image(1 << 20).expect("an image in memory");
    group.bench_function("cold", |bencher| {
        bencher.iter(|| cold.read_at(next(), &mut buffer).expect("a sound image"));
    });
    let hot = image(256 << 20).expect("an image in memory");
    group.bench_function("hot", |bencher| {
        bencher.iter(|| hot.read_at(next(), &mut buffer).expect("a sound image"));
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
