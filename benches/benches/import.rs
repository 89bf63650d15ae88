//! Imports a generated disk into memory, once all new and once all shared. The floor beside each reads and
//! hashes the same bytes, and compresses new ones.

use std::fs::File;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use melv::RawFile;
use melv::limits::{CHUNK_BLOCKS_DEFAULT, LEVEL_DEFAULT};
use melv::{ImportOptions, MemoryStorage, Source, Store, StoreOptions};
use melv_benches::floor::{self, Compression};
use melv_benches::workload::{self, Result};
use melv_benches::{BLOCK_LEN, made_up_disk};

const BLOCKS: usize = 8 << 10;

fn new_store() -> Store {
    Store::create(MemoryStorage::new(), StoreOptions::default()).expect("a new store")
}

fn import(store: &Store, raw: &Path) {
    let one = || {
        let disk = RawFile::open(raw, false)?;
        let options = ImportOptions { replace: true, ..ImportOptions::named("disk".parse()?) };
        store.import(Source::device(&disk), &options)
    };
    one().expect("an import into memory");
}

fn both(criterion: &mut Criterion) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let raw = folder.path().join("disk.raw");
    std::fs::write(&raw, made_up_disk(BLOCKS, 1))?;
    let (file, spans) = (File::open(&raw)?, workload::spans(&raw, &mut Default::default())?);
    let threads = std::thread::available_parallelism()?.get();
    let how = Compression { chunk_len: CHUNK_BLOCKS_DEFAULT as usize * BLOCK_LEN, level: LEVEL_DEFAULT };
    let bare = |how| floor::import(&file, &spans, how, threads).expect("a raw file");
    let throughput = Throughput::Bytes((BLOCKS * BLOCK_LEN) as u64);

    let mut group = criterion.benchmark_group("import-unique");
    group.throughput(throughput.clone()).sample_size(10);
    group.bench_function("melv", |bencher| {
        bencher.iter_batched(new_store, |store| import(&store, &raw), BatchSize::PerIteration);
    });
    group.bench_function("floor", |bencher| bencher.iter(|| bare(Some(how))));
    group.finish();

    let store = new_store();
    import(&store, &raw);
    let mut group = criterion.benchmark_group("import-shared");
    group.throughput(throughput).sample_size(10);
    group.bench_function("melv", |bencher| bencher.iter(|| import(&store, &raw)));
    group.bench_function("floor", |bencher| bencher.iter(|| bare(None)));
    group.finish();
    Ok(())
}

fn benches(criterion: &mut Criterion) {
    both(criterion).expect("a disk and its spans");
}

criterion_group!(all, benches);
criterion_main!(all);
