//! Measures the memory of a process that opens a hundred images of one base and reads them all.
//!
//! ```text
//! hundred_images make STORE DISK IMAGES   the disk, and so many that differ from it in 1 % of its data
//! hundred_images read STORE IMAGES GIB    opens them all and reads so much at random, on two threads
//! ```
//!
//! `read` prints its own memory. Each runs as its own process, so that importing does not count.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use melv::RawFile;
use melv::{BlockDevice, Image, ImportOptions, Run, RunKind, Source, Store, StoreOptions};
use melv_benches::memory::Memory;
use melv_benches::numbered::mixed;
use melv_benches::{BLOCK_LEN, made_up_disk};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "usage: hundred_images make STORE DISK IMAGES | read STORE IMAGES GIB";
/// One block in this many is the image's own.
const OWN_ONE_IN: usize = 100;
/// The most blocks in one run of an image's own blocks.
const RUN_MAX: u64 = 8;
const THREADS: u64 = 2;
/// The lengths of a read: a page of a file, or a readahead window.
const READ_LENS: [usize; 2] = [BLOCK_LEN, 16 * BLOCK_LEN];

/// A disk over another, with some of its blocks replaced.
#[derive(Debug)]
struct Patched<'a> {
    base: &'a Image,
    own: HashMap<u64, Vec<u8>>,
}

impl<'a> Patched<'a> {
    /// Makes image `number`: replaces 1 % of `data`, the base's data blocks, in short runs.
    fn new(base: &'a Image, data: &[u64], number: u64) -> Self {
        let count = data.len() / OWN_ONE_IN;
        let contents = made_up_disk(count, mixed(number + 1));
        let mut contents = contents.chunks(BLOCK_LEN);
        let mut own = HashMap::new();
        let mut draws = (0u64..).map(|draw| mixed(number << 32 | (draw + 1)));
        while own.len() < count {
            let (at, len) = (draws.next().unwrap_or_default(), draws.next().unwrap_or_default());
            let at = (at % data.len() as u64) as usize;
            for block in data.iter().skip(at).take((1 + len % RUN_MAX) as usize) {
                if own.len() < count && !own.contains_key(block) {
                    own.extend(contents.next().map(|content| (*block, content.to_vec())));
                }
            }
        }
        Self { base, own }
    }
}

impl BlockDevice for Patched<'_> {
    fn size(&self) -> u64 {
        self.base.size()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> melv::Result<()> {
        self.base.read_at(offset, buf)?;
        for (number, block) in (offset / BLOCK_LEN as u64..).zip(buf.chunks_mut(BLOCK_LEN)) {
            if let Some(own) = self.own.get(&number) {
                block.copy_from_slice(&own[..block.len()]);
            }
        }
        Ok(())
    }
    fn map(&self, offset: u64, len: u64) -> melv::Result<Run> {
        self.base.map(offset, len)
    }
    fn name(&self) -> String {
        "patched".into()
    }
}

/// Returns the blocks of a disk that hold data.
fn data_blocks(disk: &dyn BlockDevice) -> Result<Vec<u64>> {
    let mut blocks = Vec::new();
    melv::for_each_run(disk, |start, run| {
        if run.kind == RunKind::Data {
            let first = start / BLOCK_LEN as u64;
            blocks.extend(first..first + run.len / BLOCK_LEN as u64);
        }
        Ok(())
    })?;
    Ok(blocks)
}

fn make(path: &str, disk: &str, images: u64) -> Result<()> {
    let store = Store::create_folder(path, StoreOptions::default())?;
    let file = RawFile::open(Path::new(disk), false)?;
    store.import(Source::device(&file), &ImportOptions::named("base".parse()?))?;
    let base = store.image(&"base".parse()?)?;
    let data = data_blocks(&base)?;
    let mut new_bytes = 0;
    for number in 0..images {
        let disk = Patched::new(&base, &data, number);
        let options = ImportOptions::named(format!("image-{number}").parse()?);
        new_bytes += store.import(Source::device(&disk), &options)?.new_bytes;
    }
    println!("data_bytes {}", data.len() * BLOCK_LEN);
    println!("own_bytes_per_image {}", new_bytes / images.max(1));
    Ok(())
}

/// Reads `bytes` bytes in total, at random data blocks of random images.
fn read_some(images: &[Image], data: &[u64], seed: u64, bytes: u64) -> melv::Result<()> {
    let mut buffer = vec![0; READ_LENS[1]];
    let (mut done, mut draw) = (0, seed << 40);
    while done < bytes {
        draw += 1;
        let random = mixed(draw);
        let image = &images[random as usize % images.len()];
        let block = data[(random >> 32) as usize % data.len()];
        let len = READ_LENS[(random >> 31) as usize % READ_LENS.len()];
        let offset = block * BLOCK_LEN as u64;
        let len = len.min((image.size() - offset) as usize);
        image.read_at(offset, &mut buffer[..len])?;
        done += len as u64;
    }
    Ok(())
}

fn read(path: &str, images: u64, gib: u64) -> Result<()> {
    let start = Memory::now()?;
    let store = Store::open_folder(path, StoreOptions::default())?;
    let opened: Vec<Image> = (0..images)
        .map(|number| Ok(store.image(&format!("image-{number}").parse()?)?))
        .collect::<Result<_>>()?;
    let opened_kib = Memory::now()?.resident_kib;
    let data = data_blocks(&store.image(&"base".parse()?)?)?;
    let begun = Instant::now();
    let share = (gib << 30) / THREADS;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=THREADS)
            .map(|seed| {
                let (opened, data) = (&opened, &data);
                scope.spawn(move || read_some(opened, data, seed, share))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("reading does not panic"))
    })?;
    let end = Memory::now()?;
    println!("images {}", opened.len());
    println!("seconds {:.3}", begun.elapsed().as_secs_f64());
    println!("start_kib {}", start.peak_kib);
    println!("opened_kib {opened_kib}");
    println!("cache_bytes {}", store.cache().bytes());
    println!("end_kib {}", end.resident_kib);
    println!("anonymous_kib {}", end.anonymous_kib);
    println!("peak_kib {}", end.peak_kib);
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["make", store, disk, images] => make(store, disk, images.parse()?),
        ["read", store, images, gib] => read(store, images.parse()?, gib.parse()?),
        _ => Err(USAGE.into()),
    }
}
