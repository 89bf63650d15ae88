//! Counts the storage reads of opening an image and reading its first 4 KiB. Times an image of many
//! generations against the same disk imported at once.
//!
//! ```text
//! reads open STORE NAME          reads, dependent reads and bytes
//! reads open-1tib                the same for a made-up image with a map of 1 TiB
//! reads generations N PERCENT    cold 4 KiB reads after N generations over those of a flat image
//! ```

use std::time::Instant;

use melv::{
    BlockDevice, Cache, FileStorage, ImageRef, ImportOptions, LocalFolder, MemoryStorage, Result, Source,
    Store, StoreOptions,
};
use melv_benches::watched::{Read, Watched};
use melv_benches::{BLOCK_LEN, WideDisk, first_data};

fn count_open<S: LocalFolder + Clone + 'static>(storage: S, name: &ImageRef) -> Result<()> {
    let storage = Watched::new(storage);
    let reads = storage.reads.clone();
    // The store is already open: a process reads its header once, not once per image.
    let store = Store::open(storage, StoreOptions::default())?;
    let take = || reads.take();
    take();
    let image = store.image(name)?;
    let opened = take();
    let first = first_data(&image, 0)?;
    take();
    // A new handle with an empty cache: the search for data has filled the other one.
    let store = Store::open(store.storage().clone(), StoreOptions::default())?;
    let image = store.image(name)?;
    take();
    image.read_at(first, &mut [0; BLOCK_LEN])?;
    let read = take();
    let bytes = |reads: &[Read]| reads.iter().map(|read| read.len as u64).sum::<u64>();
    println!("open_reads {}", opened.len());
    println!("open_bytes {}", bytes(&opened));
    println!("first_reads {}", read.len());
    println!("first_dependent_reads {}", rounds(&read));
    println!("first_bytes {}", bytes(&read));
    Ok(())
}

/// Counts the rounds of dependent reads. Lists and locators are read side by side; the manifest gives the
/// positions of roots and pages.
fn rounds(reads: &[Read]) -> usize {
    let folder = |name: &str| match name.split('/').next().unwrap_or_default() {
        "lists" | "locators" => "tables".to_owned(),
        other => other.to_owned(),
    };
    let mut folders: Vec<String> = reads.iter().map(|read| folder(&read.name)).collect();
    folders.dedup();
    folders.len()
}

fn generations(count: u64, percent: u64) -> Result<()> {
    const BLOCKS: usize = 32 << 10;
    let mut disk = melv_benches::made_up_disk(BLOCKS, 7);
    let deep = Store::create(MemoryStorage::new(), StoreOptions::default())?;
    let mut random = 99u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    deep.import(Source::stream(&disk[..], "disk"), &ImportOptions::named("g0".parse()?))?;
    for generation in 1..=count {
        let fresh = melv_benches::made_up_disk(BLOCKS * percent as usize / 100, next());
        for block in fresh.chunks(BLOCK_LEN) {
            let at = (next() % BLOCKS as u64) as usize * BLOCK_LEN;
            disk[at..at + BLOCK_LEN].copy_from_slice(block);
        }
        let parent = Some(format!("g{}", generation - 1).parse()?);
        let options = ImportOptions { parent, ..ImportOptions::named(format!("g{generation}").parse()?) };
        deep.import(Source::stream(&disk[..], "disk"), &options)?;
    }
    let flat = Store::create(MemoryStorage::new(), StoreOptions::default())?;
    flat.import(Source::stream(&disk[..], "disk"), &ImportOptions::named("flat".parse()?))?;
    let (mut ratios, mut lookups) = (Vec::new(), Vec::new());
    for run in 0..15 {
        // One block from each chunk's worth of the disk, in random order. No read of the flat image finds a
        // chunk decoded earlier, so all are cold.
        let mut order: Vec<u64> =
            (0..BLOCKS as u64 / 8).map(|group| (group * 8 + next() % 8) * BLOCK_LEN as u64).collect();
        order.sort_by_cached_key(|_| next());
        let (deep_read, deep_map) = cold(&deep, &format!("g{count}"), &order)?;
        let (flat_read, flat_map) = cold(&flat, "flat", &order)?;
        if run > 0 {
            ratios.push(deep_read / flat_read);
            lookups.push(deep_map / flat_map);
        }
    }
    ratios.sort_by(f64::total_cmp);
    lookups.sort_by(f64::total_cmp);
    println!("cold_ratio {:.3}", ratios[ratios.len() / 2]);
    println!("lookup_ratio {:.3}", lookups[lookups.len() / 2]);
    Ok(())
}

/// Returns the seconds for 4 KiB reads at `order`, and for as many map lookups. The cache holds metadata and
/// few chunks.
fn cold(store: &Store, name: &str, order: &[u64]) -> Result<(f64, f64)> {
    let options = StoreOptions { cache: Cache::new(16 << 20), ..Default::default() };
    let store = Store::open(store.storage().clone(), options)?;
    let image = store.image(&name.parse()?)?;
    let mut block = [0; BLOCK_LEN];
    let begun = Instant::now();
    for &at in order {
        image.read_at(at, &mut block)?;
    }
    let read = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    for &at in order {
        image.map(at, BLOCK_LEN as u64)?;
    }
    Ok((read, begun.elapsed().as_secs_f64()))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["open", store, name] => count_open(FileStorage::new(store), &name.parse()?)?,
        ["open-1tib"] => {
            let storage = MemoryStorage::new();
            let store = Store::create(storage.clone(), StoreOptions::default())?;
            store.import(Source::device(&WideDisk::of_one_tib()), &ImportOptions::named("wide".parse()?))?;
            count_open(storage, &"wide".parse()?)?;
        }
        ["generations", count, percent] => generations(count.parse()?, percent.parse()?)?,
        _ => return Err("usage: reads open STORE NAME | open-1tib | generations N PERCENT".into()),
    }
    Ok(())
}
