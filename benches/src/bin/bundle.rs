//! Counts the contents of a bundle and the cost of reading it by ranges.
//!
//! ```text
//! bundle foreign BUNDLE DISK...   blocks in its frames, and those that no disk has
//! bundle open BUNDLE NAME         requests to open it and for the first 4 KiB of data
//! bundle open-wide TIB MIB        the same for a made-up bundle: 16 KiB of data every MIB
//! bundle export BUNDLE NAME OUT   the disk, through range reads alone, which are counted
//! ```
//!
//! `foreign` ignores the locators and decodes every frame of every pack.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use melv::limits::CHUNK_BLOCKS_DEFAULT;
use melv::ondisk::frame::{Frame, plain_len};
use melv::ondisk::pack;
use melv::storage::{BytesObject, LocalFile, ReadAt};
use melv::{
    BlockDevice, Bundle, BundleOptions, ExportOptions, ImportOptions, MemoryStorage, SaveOptions, Source,
    Store, StoreOptions,
};
use melv_benches::{BLOCK_LEN, Counted, WideDisk, first_data};
use rayon::prelude::*;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str =
    "usage: bundle foreign BUNDLE DISK... | open BUNDLE NAME | open-wide TIB MIB | export BUNDLE NAME OUT";
/// Positions in a disk at which 4 KiB of data are read.
const PLACES: u64 = 64;
/// Bytes of a disk per read.
const PIECE_LEN: usize = 16 << 20;

fn digest(block: &[u8]) -> [u8; 32] {
    *blake3::hash(block).as_bytes()
}

/// Returns the digests of all blocks of a disk, the last one padded with zeros.
fn blocks_of_disk(path: &Path) -> io::Result<HashSet<[u8; 32]>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut found = HashSet::new();
    let mut piece = Vec::new();
    for offset in (0..size).step_by(PIECE_LEN) {
        piece.resize((size - offset).min(PIECE_LEN as u64) as usize, 0);
        file.read_exact_at(&mut piece, offset)?;
        piece.resize(piece.len().next_multiple_of(BLOCK_LEN), 0);
        found.extend(piece.par_chunks(BLOCK_LEN).map(digest).collect::<Vec<_>>());
    }
    Ok(found)
}

/// Returns the digests of all blocks in the frames of a pack with the default chunk length.
fn blocks_of_pack(object: &dyn ReadAt) -> Result<Vec<[u8; 32]>> {
    let read = |offset: u64, len: u64| -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len as usize];
        object.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    };
    let len = object.len();
    let trailer = pack::decode_trailer(&read(len - pack::TRAILER_LEN, pack::TRAILER_LEN)?, len)?;
    let index = read(trailer.index_offset(), trailer.index_len())?;
    let records = pack::decode_index(&read(0, pack::FRAMES_OFFSET)?, &index, &trailer)?;
    let mut places = Vec::new();
    let mut offset = pack::FRAMES_OFFSET;
    for record in &records {
        places.push((offset, u64::from(record.len)));
        offset += u64::from(record.len);
    }
    let frames: Vec<_> = places
        .into_par_iter()
        .map(|(offset, len)| blocks_of_frame(&read(offset, len).ok()?))
        .collect::<Option<_>>()
        .ok_or("a frame cannot be decoded")?;
    Ok(frames.concat())
}

/// Tries chunk lengths from the default down, since the last chunk of a list is shorter.
fn blocks_of_frame(bytes: &[u8]) -> Option<Vec<[u8; 32]>> {
    (1..=CHUNK_BLOCKS_DEFAULT).rev().find_map(|blocks| {
        let frame = Frame::decode(bytes, blocks).ok()?;
        let mut plain = vec![0; plain_len(frame.held(blocks))];
        frame.decode_payload(&mut plain).ok()?;
        Some(plain.chunks(BLOCK_LEN).map(digest).collect())
    })
}

fn foreign(bundle: &Path, disks: &[String]) -> Result<()> {
    let mut own = HashSet::new();
    for disk in disks {
        own.extend(blocks_of_disk(Path::new(disk))?);
    }
    own.remove(&digest(&[0; BLOCK_LEN]));
    let storage = Bundle::open(bundle, BundleOptions::default())?;
    let mut held = Vec::new();
    for object in storage.source().list("packs")? {
        held.extend(blocks_of_pack(storage.source().open(&object.name)?.as_ref())?);
    }
    println!("held_blocks {}", held.len());
    println!("foreign_blocks {}", held.iter().filter(|block| !own.contains(*block)).count());
    let held: HashSet<_> = held.into_iter().collect();
    println!("absent_blocks {}", own.difference(&held).count());
    println!("held_twice_blocks {}", own.len().abs_diff(held.len()));
    Ok(())
}

/// Counts reader calls: over a network, each is a request, made one after the other. Reads 4 KiB at the first
/// data and at positions all over the disk, each through a new handle.
fn count_open(reader: impl ReadAt + 'static, name: &str) -> Result<()> {
    let reader = Counted::new(reader);
    let bytes = |calls: &[(u64, usize)]| calls.iter().map(|call| call.1 as u64).sum::<u64>();
    let open = || -> melv::Result<_> {
        let store = Bundle::open_reader(reader.clone(), "counted", BundleOptions::default())?;
        store.image(&name.parse()?)
    };
    let image = open()?;
    let opened = reader.take();
    println!("open_requests {}", opened.len());
    println!("open_bytes {}", bytes(&opened));
    let mut places = vec![first_data(&image, 0)?];
    for part in 0..PLACES {
        let from = image.size() / PLACES * part;
        places.push(first_data(&image, from - from % BLOCK_LEN as u64)?);
    }
    places.retain(|&at| at < image.size());
    let mut counts = Vec::new();
    for at in places {
        // The search for data has filled the cache of the earlier handle.
        let image = open()?;
        let _ = reader.take();
        image.read_at(at, &mut [0; BLOCK_LEN])?;
        let read = reader.take();
        counts.push((read.len(), bytes(&read)));
    }
    let first = counts.first().ok_or("a disk without data")?;
    println!("first_4k_requests {}", first.0);
    println!("first_4k_bytes {}", first.1);
    println!("any_4k_requests {}", counts.iter().map(|count| count.0).max().unwrap_or(0));
    println!("any_4k_bytes {}", counts.iter().map(|count| count.1).max().unwrap_or(0));
    Ok(())
}

fn export(bundle: &Path, name: &str, out: &Path) -> Result<()> {
    let reader = Counted::new(LocalFile::open(bundle)?);
    let store = Bundle::open_reader(reader.clone(), "counted", BundleOptions::default())?;
    let image = store.image(&name.parse()?)?;
    melv::export(&image, out, &ExportOptions { force: true, ..ExportOptions::default() })?;
    println!("export_requests {}", reader.take().len());
    Ok(())
}

fn wide_bundle(disk: &WideDisk) -> melv::Result<Vec<u8>> {
    let store = Store::create(MemoryStorage::new(), StoreOptions::default())?;
    store.import(Source::device(disk), &ImportOptions::named("wide".parse()?))?;
    let mut bytes = Vec::new();
    store.save(&["wide".parse()?], &mut bytes, &SaveOptions::default())?;
    Ok(bytes)
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["foreign", bundle, _, ..] => foreign(Path::new(bundle), &arguments[2..])?,
        ["open", bundle, name] => count_open(LocalFile::open(Path::new(bundle))?, name)?,
        ["export", bundle, name, out] => export(Path::new(bundle), name, Path::new(out))?,
        ["open-wide", tib, mib] => {
            let disk = WideDisk::new(tib.parse()?, mib.parse()?);
            count_open(BytesObject::from(wide_bundle(&disk)?), "wide")?;
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}
