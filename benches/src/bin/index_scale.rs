//! Measures the block index at scale: fills a store with made-up blocks, and looks up real disks' blocks.
//!
//! ```text
//! index_scale orders FOLDER DISK...                   writes FOLDER/NAME.order for each: which content
//!                                                     each block has, by number in the order met
//! index_scale fill STORE BLOCKS IMAGES                contents 0 to BLOCKS, as so many images
//! index_scale own STORE BLOCKS PIECE ORDER...         those contents alone that the orders have
//! index_scale look STORE BLOCKS PIECE RUNS ORDER...   the orders as disks, imported so many times
//! index_scale share STORE DISK...                     the disks themselves
//! ```
//!
//! Every line printed is `NAME VALUE...`. Orders are spread over the contents in pieces of PIECE.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use melv::RawFile;
use melv::for_each_run;
use melv::{BlockDevice, ImportOptions, ImportReport, RunKind, Source, Store, StoreOptions};
use melv_benches::memory::{Memory, peak_during};
use melv_benches::numbered::{NumberedDisk, OrderedDisk, Scatter};
use melv_benches::{BLOCK_LEN, Oracle, digest};
use rayon::prelude::*;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "usage: index_scale orders FOLDER DISK... | fill STORE BLOCKS IMAGES | \
                     own STORE BLOCKS PIECE ORDER... | look STORE BLOCKS PIECE RUNS ORDER... | share STORE DISK...";

/// Bytes of a disk per read.
const PIECE_LEN: usize = 16 << 20;

/// Returns a disk's name in a report: its file name without the extension.
fn name_of(path: &str) -> String {
    Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the numbers of a disk's contents: 0 for zeros, else one more than the number in `known`.
fn order_of(path: &str, known: &mut HashMap<[u8; 32], u32>) -> Result<Vec<u32>> {
    let disk = RawFile::open(Path::new(path), false)?;
    let mut order = vec![0; (disk.size() as usize).div_ceil(BLOCK_LEN)];
    let mut piece = vec![0; PIECE_LEN];
    for_each_run(&disk, |start, run| {
        let end = start + run.len;
        for at in (start..end).step_by(PIECE_LEN).filter(|_| run.kind == RunKind::Data) {
            let piece = &mut piece[..(end - at).min(PIECE_LEN as u64) as usize];
            disk.read_at(at, piece)?;
            let digests: Vec<_> = piece.par_chunks(BLOCK_LEN).map(digest).collect();
            for (number, digest) in order[at as usize / BLOCK_LEN..].iter_mut().zip(digests) {
                let next = known.len() as u32 + 1;
                *number = digest.map_or(0, |digest| *known.entry(digest).or_insert(next));
            }
        }
        Ok(())
    })?;
    Ok(order)
}

fn write_orders(folder: &str, disks: &[String]) -> Result<()> {
    let mut known = HashMap::new();
    for disk in disks {
        let bytes: Vec<u8> =
            order_of(disk, &mut known)?.iter().flat_map(|number| number.to_le_bytes()).collect();
        fs::write(format!("{folder}/{}.order", name_of(disk)), bytes)?;
    }
    println!("contents {}", known.len());
    Ok(())
}

fn read_order(path: &str) -> Result<Vec<u32>> {
    let bytes = fs::read(path)?;
    let number = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
    Ok(bytes.as_chunks().0.iter().map(number).collect())
}

fn open(path: &str) -> Result<Store> {
    Ok(Store::create_folder(path, StoreOptions::default())?)
}

fn import(store: &Store, device: &dyn BlockDevice, name: &str) -> Result<(ImportReport, f64)> {
    let begun = Instant::now();
    let options = ImportOptions { replace: true, ..ImportOptions::named(name.parse()?) };
    let report = store.import(Source::device(device), &options)?;
    Ok((report, begun.elapsed().as_secs_f64()))
}

/// Fills the store with numbered contents. Resumes an interrupted run.
fn fill(path: &str, blocks: u64, images: u64) -> Result<()> {
    let store = open(path)?;
    let begun = Instant::now();
    let each = blocks / images;
    for image in 0..images {
        let name = format!("made-{image}");
        if store.image(&name.parse()?).is_ok() {
            continue;
        }
        let disk = NumberedDisk(image * each..(image + 1) * each);
        let (imported, peak_kib) = peak_during(|| import(&store, &disk, &name))?;
        let (report, seconds) = imported?;
        if report.new_bytes != disk.size() {
            return Err(format!("{name}: only {} bytes of {} are new", report.new_bytes, disk.size()).into());
        }
        println!("filled {image} {seconds:.3} {peak_kib}");
    }
    println!("fill_seconds {:.3}", begun.elapsed().as_secs_f64());
    println!("fill_peak_kib {}", Memory::now()?.peak_kib);
    Ok(())
}

/// Imports the contents of `orders` in the order of their numbers, so that runs are as in the full store.
fn own(path: &str, scatter: Scatter, orders: &[String]) -> Result<()> {
    let mut contents = 0;
    for order in orders {
        contents = contents.max(read_order(order)?.into_iter().max().unwrap_or_default());
    }
    let (report, _) = import(&open(path)?, &OrderedDisk { order: (1..=contents).collect(), scatter }, "own")?;
    println!("new_bytes {}", report.new_bytes);
    Ok(())
}

/// Prints `disk NAME DATA_BYTES NEW_BYTES SECONDS PEAK_KIB`, and `open SECONDS` for a disk of one block.
fn look(path: &str, scatter: Scatter, runs: u32, orders: &[String]) -> Result<()> {
    let store = open(path)?;
    let before_kib = Memory::now()?.anonymous_kib;
    println!("before_kib {before_kib}");
    for run in 0..runs {
        let one = OrderedDisk { order: vec![1], scatter };
        let (_, seconds) = import(&store, &one, &format!("open-{run}"))?;
        println!("open {seconds:.4}");
        for path in orders {
            let disk = OrderedDisk { order: read_order(path)?, scatter };
            let name = name_of(path);
            let (imported, peak_kib) = peak_during(|| import(&store, &disk, &format!("{name}-{run}")))?;
            let (report, seconds) = imported?;
            println!("disk {name} {} {} {seconds:.4} {peak_kib}", report.data_bytes, report.new_bytes);
        }
    }
    println!("peak_kib {}", Memory::now()?.peak_kib);
    Ok(())
}

/// Prints `disk NAME DATA_BYTES NEW_BYTES SECONDS PEAK_KIB EXACT_NEW_BYTES`.
fn share(path: &str, disks: &[String]) -> Result<()> {
    let store = open(path)?;
    // The compressed sizes are not used, so the fastest level will do.
    let mut oracle = Oracle::new(1 << 20, 1);
    for path in disks {
        let file = RawFile::open(Path::new(path), false)?;
        let name = name_of(path);
        let (imported, peak_kib) = peak_during(|| import(&store, &file, &name))?;
        let (report, seconds) = imported?;
        let exact = oracle.disk(Path::new(path))?.new_bytes;
        let (data, new) = (report.data_bytes, report.new_bytes);
        println!("disk {name} {data} {new} {seconds:.4} {peak_kib} {exact}");
    }
    println!("peak_kib {}", Memory::now()?.peak_kib);
    Ok(())
}

fn scatter(blocks: &str, piece: &str) -> Result<Scatter> {
    Ok(Scatter { numbers: blocks.parse()?, piece: piece.parse()? })
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["orders", folder, _, ..] => write_orders(folder, &arguments[2..]),
        ["fill", store, blocks, images] => fill(store, blocks.parse()?, images.parse()?),
        ["own", store, blocks, piece, _, ..] => own(store, scatter(blocks, piece)?, &arguments[4..]),
        ["look", store, blocks, piece, runs, _, ..] => {
            look(store, scatter(blocks, piece)?, runs.parse()?, &arguments[5..])
        }
        ["share", store, _, ..] => share(store, &arguments[2..]),
        _ => Err(USAGE.into()),
    }
}
