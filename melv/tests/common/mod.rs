//! Shared test code: disks made from seeds, a storage that logs or hooks every operation, and common
//! assertions about a store.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use melv::storage::{Append, Held, Listed, LockMode, Machine, ReadAt};
use melv::{
    BlockDevice, BlockError, Image, ImportOptions, ImportReport, MemoryStorage, RefName, Result, Run,
    RunKind, Source, Storage, Store, StoreOptions, VerifyOptions,
};

/// Bytes in a block.
pub const BLOCK: usize = 4096;

/// xorshift64*: the same numbers everywhere.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn fill(&mut self, out: &mut [u8]) {
        for word in out.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            word.copy_from_slice(&bytes[..word.len()]);
        }
    }
}

/// Makes an incompressible block; other seeds give other blocks.
pub fn noise(seed: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    Rng::new(seed).fill(&mut block);
    block
}

/// Makes a block that compresses well; other seeds give other blocks.
pub fn text(seed: u64) -> Vec<u8> {
    let line = format!("{seed:020}: the quick brown fox jumps over the lazy dog\n");
    line.bytes().cycle().take(BLOCK).collect()
}

/// Makes a disk of `size` bytes, any number: runs of zeros, of blocks from a small pool, of compressible and
/// of incompressible blocks.
pub fn random_disk(seed: u64, size: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut disk = Vec::with_capacity(size + BLOCK);
    while disk.len() < size {
        let run = 1 + rng.below(24);
        let kind = rng.below(5);
        for _ in 0..run {
            match kind {
                0 => disk.resize(disk.len() + BLOCK, 0),
                1 => disk.extend(text(rng.below(8))),
                2 => disk.extend(text(rng.next())),
                3 => disk.extend(noise(rng.below(16))),
                _ => disk.extend(noise(rng.next())),
            }
        }
    }
    disk.truncate(size);
    disk
}

/// A disk in memory that knows its zero blocks.
#[derive(Debug, Clone)]
pub struct VecDisk(pub Vec<u8>);

fn range_of(offset: u64, len: u64, size: u64) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(BlockError::OutOfRange { offset, len, size }.into()),
    }
}

impl BlockDevice for VecDisk {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        range_of(offset, buf.len() as u64, self.size())?;
        buf.copy_from_slice(&self.0[offset as usize..][..buf.len()]);
        Ok(())
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        range_of(offset, len, self.size())?;
        let end = ((offset / BLOCK as u64 + 1) * BLOCK as u64).min(offset + len);
        let zero = self.0[offset as usize..end as usize].iter().all(|&byte| byte == 0);
        Ok(Run { kind: if zero { RunKind::Zero } else { RunKind::Data }, len: end - offset })
    }

    fn name(&self) -> String {
        "vec".into()
    }
}

/// A disk of any size whose few blocks of data are made from seeds.
#[derive(Debug, Clone, Default)]
pub struct SeedDisk {
    pub size: u64,
    /// Seeds by block number.
    pub blocks: BTreeMap<u64, u64>,
}

impl SeedDisk {
    /// Overwrites `count` blocks from `first` on.
    pub fn write(&mut self, first: u64, count: u64, seed: u64) {
        self.blocks.extend((0..count).map(|n| (first + n, seed + n)));
    }

    /// Makes a sparse disk with `per_leaf` blocks at the start of every 256 MiB.
    pub fn with_every_leaf(size: u64, per_leaf: u64) -> Self {
        let mut disk = Self { size, blocks: BTreeMap::new() };
        for leaf in 0..size.div_ceil(256 << 20) {
            disk.write(leaf << 16, per_leaf, leaf * 1000 + 7);
        }
        disk
    }
}

impl BlockDevice for SeedDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        range_of(offset, buf.len() as u64, self.size)?;
        let mut filled = 0;
        while filled < buf.len() {
            let at = offset + filled as u64;
            let within = (at % BLOCK as u64) as usize;
            let len = (BLOCK - within).min(buf.len() - filled);
            let out = &mut buf[filled..filled + len];
            match self.blocks.get(&(at / BLOCK as u64)) {
                Some(&seed) => out.copy_from_slice(&noise(seed)[within..within + len]),
                None => out.fill(0),
            }
            filled += len;
        }
        Ok(())
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        range_of(offset, len, self.size)?;
        let block = offset / BLOCK as u64;
        let (kind, next) = if self.blocks.contains_key(&block) {
            let mut next = block + 1;
            while self.blocks.contains_key(&next) && (next - block) * (BLOCK as u64) < len {
                next += 1;
            }
            (RunKind::Data, next)
        } else {
            let next = self.blocks.range(block..).next().map_or(u64::MAX >> 12, |(next, _)| *next);
            (RunKind::Zero, next)
        };
        Ok(Run { kind, len: (next * BLOCK as u64 - offset).min(len) })
    }

    fn name(&self) -> String {
        "seeds".into()
    }
}

pub fn name(text: &str) -> RefName {
    text.parse().expect("a name")
}

pub fn options(text: &str) -> ImportOptions<'static> {
    ImportOptions::named(name(text))
}

/// Opens the store, creating it first if needed. The separate handle keeps the store's own header out of the
/// first import's figures.
pub fn store_in(storage: &MemoryStorage) -> Store {
    Store::create(storage.clone(), StoreOptions::default()).expect("a store");
    Store::open(storage.clone(), StoreOptions::default()).expect("a store")
}

pub fn import(store: &Store, disk: &[u8], options: &ImportOptions<'_>) -> ImportReport {
    let disk = VecDisk(disk.to_vec());
    store.import(Source::device(&disk), options).expect("import")
}

pub fn image(store: &Store, text: &str) -> Image {
    store.image(&text.parse().expect("a reference")).expect("image")
}

pub fn read_all(device: &dyn BlockDevice) -> Result<Vec<u8>> {
    let mut bytes = vec![0xa5; device.size() as usize];
    device.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// Panics with the first difference rather than with two disks.
pub fn assert_equal(found: &[u8], expected: &[u8], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    if let Some(at) = found.iter().zip(expected).position(|(one, other)| one != other) {
        panic!("{what}: byte {at} is {:#04x}, expected {:#04x}", found[at], expected[at]);
    }
}

pub fn assert_image(store: &Store, text: &str, expected: &[u8]) {
    assert_equal(&read_all(&image(store, text)).expect(text), expected, text);
}

pub fn full() -> VerifyOptions<'static> {
    VerifyOptions { full: true, ..Default::default() }
}

pub fn assert_clean(store: &Store) {
    let report = store.verify(&[], &full()).expect("verify");
    assert!(report.damaged.is_empty(), "{:#?}", report.damaged);
}

/// Returns all objects except the references, whose records hold the time.
pub fn but_refs(storage: &MemoryStorage) -> BTreeMap<String, Vec<u8>> {
    let mut contents = storage.contents();
    contents.retain(|name, _| !name.starts_with("refs/"));
    contents
}

/// Returns all objects except references and the index.
pub fn committed(storage: &MemoryStorage) -> BTreeMap<String, Vec<u8>> {
    let mut contents = but_refs(storage);
    contents.retain(|name, _| !name.starts_with("index/"));
    contents
}

/// Returns a machine with the same bytes and no locks, as after a process was killed.
pub fn after_kill(storage: &MemoryStorage) -> MemoryStorage {
    let copy = MemoryStorage::new();
    storage.contents().into_iter().for_each(|(name, bytes)| copy.put(&name, bytes));
    copy
}

pub fn put_all(contents: &BTreeMap<String, Vec<u8>>) -> MemoryStorage {
    let storage = MemoryStorage::new();
    contents.iter().for_each(|(name, bytes)| storage.put(name, bytes.clone()));
    storage
}

/// Compares two storages and shows the sizes of differing objects, which read better than their bytes.
pub fn assert_same_objects(
    found: &BTreeMap<String, Vec<u8>>,
    expected: &BTreeMap<String, Vec<u8>>,
    what: &str,
) {
    let names = |one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>| -> Vec<String> {
        let differs = |(name, bytes): (&String, &Vec<u8>)| {
            (other.get(name) != Some(bytes)).then(|| format!("{name} ({} bytes)", bytes.len()))
        };
        one.iter().filter_map(differs).collect()
    };
    let (more, less) = (names(found, expected), names(expected, found));
    assert!(more.is_empty() && less.is_empty(), "{what}\nfound {more:#?}\nexpected {less:#?}");
}

/// Counts unseen blocks as the format must.
#[derive(Debug, Default, Clone)]
pub struct Seen(HashSet<[u8; 32]>);

impl Seen {
    /// Returns the bytes of non-zero blocks, and of those not seen before.
    pub fn add(&mut self, disk: &[u8]) -> (u64, u64) {
        let (mut data, mut new) = (0, 0);
        for block in disk.chunks(BLOCK) {
            if block.iter().all(|&byte| byte == 0) {
                continue;
            }
            let mut padded = [0; BLOCK];
            padded[..block.len()].copy_from_slice(block);
            data += BLOCK as u64;
            if self.0.insert(*blake3::hash(&padded).as_bytes()) {
                new += BLOCK as u64;
            }
        }
        (data, new)
    }
}

/// Runs `work` on a pool of its own.
pub fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads").install(work)
}

/// One operation on a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Create(String),
    Append(String, u64),
    Sync(String),
    Open(String),
    Read { object: String, offset: u64, len: u64 },
    Publish(Vec<(String, String)>),
    Link(String, String),
    List(String),
    Remove(Vec<String>),
}

type Hook = Arc<dyn Fn(&Op) -> io::Result<()> + Send + Sync>;

/// A storage that calls a hook first, logs the operation, and passes it on.
#[derive(Clone)]
pub struct Watched<S> {
    inner: S,
    log: Arc<Mutex<Vec<Op>>>,
    hook: Hook,
}

impl<S: std::fmt::Debug> std::fmt::Debug for Watched<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Watched").field(&self.inner).finish()
    }
}

impl<S: Storage> Watched<S> {
    pub fn new(inner: S) -> Self {
        Self::hooked(inner, |_| Ok(()))
    }

    pub fn hooked(inner: S, hook: impl Fn(&Op) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { inner, log: Arc::default(), hook: Arc::new(hook) }
    }

    /// Returns the operations since the last call.
    pub fn take(&self) -> Vec<Op> {
        std::mem::take(&mut *self.log.lock().expect("log"))
    }

    /// Returns the reads since the last call: object, offset, length.
    pub fn take_reads(&self) -> Vec<(String, u64, u64)> {
        let reads = self.take().into_iter().filter_map(|op| match op {
            Op::Read { object, offset, len } => Some((object, offset, len)),
            _ => None,
        });
        reads.collect()
    }

    fn op(&self, op: Op) -> io::Result<()> {
        let asked = (self.hook)(&op);
        self.log.lock().expect("log").push(op);
        asked
    }
}

#[derive(Debug)]
struct WatchedObject<S, O: ?Sized> {
    name: String,
    by: Watched<S>,
    inner: Arc<O>,
}

impl<S: Storage> ReadAt for WatchedObject<S, dyn ReadAt> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.by.op(Op::Read { object: self.name.clone(), offset, len: buf.len() as u64 })?;
        self.inner.read_exact_at(buf, offset)
    }

    fn modified_nanos(&self) -> Option<u64> {
        self.inner.modified_nanos()
    }
}

impl<S: Storage> Append for WatchedObject<S, dyn Append> {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.by.op(Op::Append(self.name.clone(), bytes.len() as u64))?;
        self.inner.append(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.by.op(Op::Sync(self.name.clone()))?;
        self.inner.sync()
    }
}

impl<S: Storage + Clone + 'static> Storage for Watched<S> {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Append>> {
        self.op(Op::Create(name.into()))?;
        let inner = self.inner.create(name)?;
        Ok(Arc::new(WatchedObject { name: name.into(), by: self.clone(), inner }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        self.op(Op::Open(name.into()))?;
        let inner = self.inner.open(name)?;
        Ok(Arc::new(WatchedObject { name: name.into(), by: self.clone(), inner }))
    }

    fn publish(&self, moves: &[(String, String)]) -> io::Result<()> {
        self.op(Op::Publish(moves.to_vec()))?;
        self.inner.publish(moves)
    }

    fn link(&self, name: &str, second: &str) -> io::Result<()> {
        self.op(Op::Link(name.into(), second.into()))?;
        self.inner.link(name, second)
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        self.op(Op::List(prefix.into()))?;
        self.inner.list(prefix)
    }

    fn remove(&self, names: &[String]) -> io::Result<()> {
        self.op(Op::Remove(names.to_vec()))?;
        self.inner.remove(names)
    }

    fn lock(&self, name: &str, mode: LockMode, wait: Duration) -> io::Result<Box<dyn Held>> {
        self.inner.lock(name, mode, wait)
    }

    fn prepare(&self, names: &[String]) -> io::Result<()> {
        self.inner.prepare(names)
    }

    fn settle(&self, names: &[String]) -> io::Result<()> {
        self.inner.settle(names)
    }

    fn claim(&self, name: &str, mark: &[u8]) -> io::Result<Box<dyn Held>> {
        self.inner.claim(name, mark)
    }

    fn machine(&self) -> Option<Machine> {
        self.inner.machine()
    }
}

/// Returns the places in `0..end` to damage: all if few, else spread evenly with both ends.
pub fn places(end: usize, most: usize) -> Vec<usize> {
    if end <= most {
        return (0..end).collect();
    }
    let edge = most / 4;
    let middle = most - 2 * edge;
    let spread = (0..middle).map(|n| edge + n * (end - 2 * edge) / middle);
    (0..edge).chain(spread).chain(end - edge..end).collect()
}

#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
/// Returns the digests of all blocks in the frames of a pack. Chunks have eight blocks, except the last of a
/// list.
pub fn blocks_of_pack(storage: &dyn Storage, name: &str) -> Vec<melv::Digest> {
    use melv::digest::block_digest;
    use melv::ondisk::frame::{Frame, plain_len};
    use melv::ondisk::pack;
    let object = storage.open(name).unwrap();
    let read = |offset: u64, len: u64| {
        let mut bytes = vec![0; len as usize];
        object.read_exact_at(&mut bytes, offset).unwrap();
        bytes
    };
    let len = object.len();
    let trailer = pack::decode_trailer(&read(len - pack::TRAILER_LEN, pack::TRAILER_LEN), len).unwrap();
    let index = read(trailer.index_offset(), trailer.index_len());
    let records = pack::decode_index(&read(0, pack::FRAMES_OFFSET), &index, &trailer).unwrap();
    let mut offset = pack::FRAMES_OFFSET;
    let mut found = Vec::new();
    for record in records {
        let bytes = read(offset, u64::from(record.len));
        offset += u64::from(record.len);
        let decoded = (1..=8).rev().find_map(|blocks| {
            let frame = Frame::decode(&bytes, blocks).ok()?;
            let mut plain = vec![0; plain_len(frame.held(blocks))];
            frame.decode_payload(&mut plain).ok()?;
            Some(plain)
        });
        found.extend(decoded.unwrap().chunks(BLOCK).map(block_digest));
    }
    found
}
