//! Import of made-up disks into memory: all new, and all shared already.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use melv::{ImportOptions, MemoryStorage, Source, Store, StoreOptions};
use melv_benches::{BLOCK_LEN, made_up_disk};

const BLOCKS: usize = 16 << 10;

fn import(store: &Store, disk: &[u8]) -> melv::Result<()> {
    let options = ImportOptions { replace: true, ..ImportOptions::named("disk".parse()?) };
    store.import(Source::stream(disk, "disk"), &options).map(drop)
}

fn benches(criterion: &mut Criterion) {
    let disk = made_up_disk(BLOCKS, 1);
    let new_store = || Store::create(MemoryStorage::new(), StoreOptions::default()).expect("a new store");
    let mut group = criterion.benchmark_group("import");
    group.throughput(Throughput::Bytes((BLOCKS * BLOCK_LEN) as u64)).sample_size(10);
    group.bench_function("unique", |bencher| {
        bencher.iter_batched(
            new_store,
            |store| import(&store, &disk).expect("an import into memory"),
            BatchSize::PerIteration,
        );
    });
    let store = new_store();
    import(&store, &disk).expect("an import into memory");
    group.bench_function("shared", |bencher| bencher.iter(|| import(&store, &disk).expect("an import")));
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
