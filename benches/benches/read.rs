//! Reads of 4 KiB: cold, each from a chunk that must be decoded, and hot, from the cache. Each has its floor
//! beside it.

use std::fs::File;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use melv::{BlockDevice, VerifyMode};
use melv_benches::figures::cold::mixed;
use melv_benches::floor::{self, Worker};
use melv_benches::workload::{self, Result};
use melv_benches::{BLOCK_LEN, made_up_disk};

const BLOCKS: usize = 8 << 10;
const NAME: &str = "disk";

/// Cycles through the numbers below `count` in a shuffled order.
fn in_turn(count: usize) -> impl Iterator<Item = usize> {
    mixed(count, 1).into_iter().cycle()
}

fn cold(criterion: &mut Criterion, folder: &Path) -> Result<()> {
    let mut buffer = [0; BLOCK_LEN];
    let frames = workload::frames(folder, NAME)?;
    // The cache is too small for a chunk to survive until its next read.
    let image = workload::image(folder, NAME, 1 << 20, VerifyMode::Guard)?;
    let mut group = criterion.benchmark_group("read-4k-cold");
    let mut numbers = in_turn(frames.frames.len());
    let mut next = || numbers.next().unwrap_or_default();
    group.bench_function("melv", |bencher| {
        bencher.iter(|| image.read_at(frames.guests[next()], &mut buffer).expect("a sound image"));
    });
    let mut worker = Worker::default();
    group.bench_function("floor", |bencher| {
        let mut one = |number: usize| worker.cold(&frames.files, &frames.frames[number], false, &mut buffer);
        bencher.iter(|| one(next()).expect("a sound frame"));
    });
    group.finish();
    Ok(())
}

fn hot(criterion: &mut Criterion, folder: &Path, raw: &File) -> Result<()> {
    let mut buffer = [0; BLOCK_LEN];
    let image = workload::image(folder, NAME, 256 << 20, VerifyMode::Guard)?;
    for block in 0..BLOCKS {
        image.read_at((block * BLOCK_LEN) as u64, &mut buffer)?;
    }
    let mut numbers = in_turn(BLOCKS);
    let mut next = || (numbers.next().unwrap_or_default() * BLOCK_LEN) as u64;
    let mut group = criterion.benchmark_group("read-4k-hot");
    group.bench_function("melv", |bencher| {
        bencher.iter(|| image.read_at(next(), &mut buffer).expect("a sound image"));
    });
    group.bench_function("floor", |bencher| {
        bencher.iter(|| floor::preads(raw, &[next()], &mut buffer).expect("a raw file"));
    });
    group.finish();
    Ok(())
}

fn both(criterion: &mut Criterion) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (corpus, store) = (folder.path(), folder.path().join("store"));
    let raw = workload::disk_path(corpus, NAME);
    std::fs::write(&raw, made_up_disk(BLOCKS, 1))?;
    workload::import_all(&store, corpus, &[NAME])?;
    cold(criterion, &store)?;
    hot(criterion, &store, &File::open(raw)?)
}

fn benches(criterion: &mut Criterion) {
    both(criterion).expect("a disk, a store and its frames");
}

criterion_group!(all, benches);
criterion_main!(all);
