//! The real disks in a store, and the positions of one disk's frames. They are found by watching the
//! library's reads, so that floors need none of its code.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use melv::{
    BlockDevice, Cache, FileStorage, Image, ImportOptions, RunKind, Source, Store, StoreOptions, VerifyMode,
};

use crate::BLOCK_LEN;
use crate::floor::{Span, Wanted};
use crate::watched::Watched;

/// The result of a measurement.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The eight disks, in the order of import.
pub const DISKS: [&str; 8] =
    ["base", "nginx", "redis", "python", "nodejs", "postgresql", "apart-ext4", "apart-xfs"];

/// A disk's frames, in the order in which a front-to-back read meets them.
#[derive(Debug, Default)]
pub struct Frames {
    /// The packs.
    pub files: Vec<File>,
    /// The frames, each once; the wanted block is the first that the disk uses from it.
    pub frames: Vec<Wanted>,
    /// The disk offset of each wanted block.
    pub guests: Vec<u64>,
}

/// Opens an image of the store in `folder` through a new handle with an empty cache.
///
/// # Errors
/// Any error of opening.
pub fn image(folder: &Path, name: &str, cache_bytes: u64, verify: VerifyMode) -> Result<Image> {
    let options = StoreOptions { cache: Cache::new(cache_bytes), verify, ..Default::default() };
    Ok(Store::open_folder(folder, options)?.image(&name.parse()?)?)
}

/// Returns the ranges of a disk that hold data: offset and length in bytes.
///
/// # Errors
/// Any error of the disk's map.
pub fn data_ranges(device: &dyn BlockDevice) -> Result<Vec<(u64, u64)>> {
    let mut ranges = Vec::new();
    melv::for_each_run(device, |start, run| {
        if run.kind == RunKind::Data {
            ranges.push((start, run.len));
        }
        Ok(())
    })?;
    Ok(ranges)
}

/// Finds the frames that a front-to-back read of image `name` decodes, each once.
///
/// # Errors
/// Any read error.
pub fn frames(folder: &Path, name: &str) -> Result<Frames> {
    let storage = Watched::new(FileStorage::new(folder));
    let reads = storage.reads.clone();
    let options = StoreOptions { cache: Cache::new(1 << 30), ..Default::default() };
    let image = Store::open(storage, options)?.image(&name.parse()?)?;
    let mut found = Frames::default();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut seen = HashSet::new();
    let mut block = [0; BLOCK_LEN];
    for (start, len) in data_ranges(&image)? {
        for guest in (start..start + len).step_by(BLOCK_LEN) {
            let block = &mut block[..(start + len - guest).min(BLOCK_LEN as u64) as usize];
            drop(reads.take());
            image.read_at(guest, block)?;
            for read in reads.take().into_iter().filter(|read| read.name.starts_with("packs/")) {
                let is_head = read.offset == 0;
                if is_head || !seen.insert((read.name.clone(), read.offset)) {
                    continue;
                }
                if !numbers.contains_key(&read.name) {
                    numbers.insert(read.name.clone(), found.files.len());
                    found.files.push(File::open(folder.join(&read.name))?);
                }
                let file = numbers[&read.name];
                let (plain_len, within) = block_in_frame(&found.files[file], read.offset, read.len, block)?;
                found.frames.push(Wanted { file, offset: read.offset, len: read.len, plain_len, within });
                found.guests.push(guest);
            }
        }
    }
    Ok(found)
}

/// Returns a chunk's length and the offset of a block in it.
fn block_in_frame(file: &File, offset: u64, len: usize, block: &[u8]) -> Result<(usize, usize)> {
    let mut stored = vec![0; len];
    file.read_exact_at(&mut stored, offset)?;
    let payload = &stored[4..];
    let plain = if stored[0] == 0 { payload.to_vec() } else { zstd::decode_all(payload)? };
    let at = plain.chunks(BLOCK_LEN).position(|held| held.starts_with(block)).ok_or("no such block")?;
    Ok((plain.len(), at * BLOCK_LEN))
}

/// Finds the spans of a raw disk that hold data, and flags the blocks that no earlier disk contains.
///
/// # Errors
/// Any read error.
pub fn spans(path: &Path, seen: &mut HashSet<[u8; 32]>) -> Result<Vec<Span>> {
    const SPAN_LEN: u64 = 1 << 20;
    let disk = melv::RawFile::open(path, false)?;
    let mut spans: Vec<Span> = Vec::new();
    let mut data = vec![0; SPAN_LEN as usize];
    for (start, len) in data_ranges(&disk)? {
        let end = (start + len).next_multiple_of(BLOCK_LEN as u64).min(disk.size());
        let mut at = start;
        while at < end {
            let piece_end = (at / SPAN_LEN + 1) * SPAN_LEN;
            let len = piece_end.min(end) - at;
            let data = &mut data[..len as usize];
            disk.read_at(at, data)?;
            let is_new = |block: &[u8]| {
                block.iter().any(|&byte| byte != 0) && seen.insert(*blake3::hash(block).as_bytes())
            };
            let is_new = data.chunks(BLOCK_LEN).map(is_new).collect();
            spans.push(Span { offset: at, len: len as usize, is_new });
            at += len;
        }
    }
    Ok(spans)
}

/// Makes a store of the disks in `folder`.
///
/// # Errors
/// Any import error.
pub fn import_all(folder: &Path, corpus: &Path, disks: &[&str]) -> Result<()> {
    let store = Store::create_folder(folder, StoreOptions::default())?;
    for name in disks {
        let disk = melv::RawFile::open(&disk_path(corpus, name), false)?;
        store.import(Source::device(&disk), &ImportOptions::named(name.parse()?))?;
    }
    Ok(())
}

/// Returns the path of the disk `name`.
#[must_use]
pub fn disk_path(corpus: &Path, name: &str) -> PathBuf {
    corpus.join(format!("{name}.raw"))
}

/// A frame's bytes, and the length of its chunk.
pub type StoredFrame = (Vec<u8>, usize);

/// Returns a disk's first frames, up to `plain_len_max` bytes of chunks: as stored with their plain lengths,
/// and their plaintext.
///
/// # Errors
/// Any read error.
pub fn in_memory(frames: &Frames, plain_len_max: usize) -> Result<(Vec<StoredFrame>, Vec<u8>)> {
    let (mut all, mut plain) = (Vec::new(), Vec::new());
    for wanted in &frames.frames {
        if plain.len() + wanted.plain_len > plain_len_max {
            break;
        }
        let mut stored = vec![0; wanted.len];
        frames.files[wanted.file].read_exact_at(&mut stored, wanted.offset)?;
        let payload = &stored[4..];
        plain.extend(if stored[0] == 0 { payload.to_vec() } else { zstd::decode_all(payload)? });
        all.push((stored, wanted.plain_len));
    }
    Ok((all, plain))
}
