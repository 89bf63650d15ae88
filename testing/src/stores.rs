//! Stores in memory, and assertions about them.

use std::collections::BTreeMap;

use melv_block::{BlockDevice, Result, Source};
use melv_format::digest::{BlockDigest, block_digest};
use melv_format::ondisk::frame::{Frame, plain_len};
use melv_format::ondisk::pack;
use melv_format::{
    Image, Images, ImportOptions, ImportReport, MemoryStorage, ObjectSource, RefName, Store, StoreOptions,
    VerifyOptions,
};

use crate::disks::VecDisk;
use crate::random::BLOCK;
use melv_format::storage::ObjectName;

/// Parses a name.
pub fn name(text: &str) -> RefName {
    text.parse().expect("a name")
}

/// Returns the usual options for an import under this name.
pub fn options(text: &str) -> ImportOptions<'static> {
    ImportOptions::named(name(text))
}

/// Opens the store, creating it first if needed. The separate handle keeps the store's own header out of the
/// first import's figures.
pub fn store_in(storage: &MemoryStorage) -> Store {
    Store::create(storage.clone(), StoreOptions::default()).expect("a store");
    Store::open(storage.clone(), StoreOptions::default()).expect("a store")
}

/// Imports a disk, which must succeed.
pub fn import(store: &Store, disk: &[u8], options: &ImportOptions<'_>) -> ImportReport {
    let disk = VecDisk(disk.to_vec());
    store.import(Source::device(&disk), options).expect("import")
}

/// Opens an image by a reference.
pub fn image(store: &Images, text: &str) -> Image {
    store.image(&text.parse().expect("a reference")).expect("image")
}

/// Reads a whole disk.
///
/// # Errors
/// Those of the disk.
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

/// Asserts that an image reads as `expected`.
pub fn assert_image(store: &Images, text: &str, expected: &[u8]) {
    assert_equal(&read_all(&image(store, text)).expect(text), expected, text);
}

/// Returns the options that verify every chunk.
pub fn full() -> VerifyOptions<'static> {
    VerifyOptions { full: true, ..Default::default() }
}

/// Asserts that a store or a bundle has no damage.
pub fn assert_clean(store: &Images) {
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

/// Returns a storage that holds these objects.
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

/// Runs `work` on a pool of its own.
pub fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads").install(work)
}

/// Returns the name of an object.
pub fn object(name: &str) -> ObjectName {
    name.parse().unwrap()
}

/// Returns the names of objects.
pub fn objects<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Vec<ObjectName> {
    names.into_iter().map(|name| object(name.as_ref())).collect()
}

/// Returns the digests of all blocks in the frames of a pack. Chunks have eight blocks, except the last of a
/// list.
pub fn blocks_of_pack(storage: &dyn ObjectSource, name: &str) -> Vec<BlockDigest> {
    let object = storage.open(&object(name)).unwrap();
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
