//! A disk that differs from the caller's expectation is not stored.

use std::io::Read;

use melv::digest::ContentId;
use melv::{
    BlockError, ImportOptions, MemoryStorage, ResultExt, Source, Store, StoreError, StoreOptions, first_data,
};
use melv_testing::{Rng, VecDisk};

fn store() -> (Store, MemoryStorage) {
    let storage = MemoryStorage::new();
    let store = Store::create(storage.clone(), StoreOptions::default());
    (store.expect("a store"), storage)
}

fn options() -> ImportOptions<'static> {
    ImportOptions::named("disk".parse().expect("a name"))
}

fn noise(len: usize) -> Vec<u8> {
    Rng::new(7).bytes(len)
}

/// A stream that counts the bytes read from it.
struct Counted<'a>(&'a [u8], &'a std::sync::atomic::AtomicUsize);

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read(buf)?;
        self.1.fetch_add(read, std::sync::atomic::Ordering::Relaxed);
        Ok(read)
    }
}

#[test]
fn another_size_is_refused_and_nothing_stays() {
    let (store, storage) = store();
    let bytes = noise((3 << 20) + 1024);
    for expected in [0, 512, 1 << 20, 3 << 20, (3 << 20) + 512, (3 << 20) + 1536, 1 << 40] {
        let options = || ImportOptions { size_bytes: Some(expected), ..options() };
        let by_device = store.import(Source::device(&VecDisk(bytes.clone())), &options());
        let by_stream = store.import(Source::stream(&bytes[..], "stream"), &options());
        for refused in [by_device, by_stream] {
            let is_so = matches!(refused.detail(), Some(StoreError::SizeMismatch { expected: said, .. }) if *said == expected);
            assert!(is_so, "{expected}: {refused:?}");
        }
    }
    assert!(store.names().expect("references").is_empty());
    let left = melv::ObjectSource::list(&storage, "packs/").expect("packs");
    assert!(left.is_empty(), "{left:?}");
    let size_bytes = Some(bytes.len() as u64);
    store
        .import(Source::device(&VecDisk(bytes.clone())), &ImportOptions { size_bytes, ..options() })
        .expect("import");
}

#[test]
fn a_stream_that_goes_on_too_long_is_given_up_at_once() {
    let (store, _) = store();
    let bytes = noise(32 << 20);
    let read = std::sync::atomic::AtomicUsize::new(0);
    let options = ImportOptions { size_bytes: Some(512), ..options() };
    let refused = store.import(Source::stream(Counted(&bytes, &read), "stream"), &options);
    assert!(matches!(refused.detail(), Some(StoreError::SizeMismatch { found: None, .. })), "{refused:?}");
    assert!(read.into_inner() <= 2 << 20);
}

#[test]
fn padding_is_not_counted_of_a_stream() {
    let (store, _) = store();
    let bytes = noise(1000);
    let padded = |size| ImportOptions { size_bytes: Some(size), pad: true, ..options() };
    let refused = store.import(Source::stream(&bytes[..], "stream"), &padded(1024));
    assert!(
        matches!(refused.detail(), Some(StoreError::SizeMismatch { found: Some(1000), .. })),
        "{refused:?}"
    );
    assert_eq!(
        store.import(Source::stream(&bytes[..], "stream"), &padded(1000)).expect("import").size_bytes,
        1024
    );
}

#[test]
fn another_content_is_refused_also_where_all_of_it_is_shared() {
    let (store, _) = store();
    let bytes = noise(1 << 20);
    let content = store.import(Source::stream(&bytes[..], "stream"), &options()).expect("import").content;
    let other: ContentId = "ab".repeat(32).parse().expect("a digest");
    let expecting = |content| ImportOptions { content: Some(content), replace: true, ..options() };
    let refused = store.import(Source::stream(&bytes[..], "stream"), &expecting(other));
    let is_so = matches!(refused.detail(), Some(StoreError::ContentMismatch { expected, found, .. }) if (expected, found) == (&other, &content));
    assert!(is_so, "{refused:?}");
    assert_eq!(store.names().expect("references").len(), 1);
    store.import(Source::stream(&bytes[..], "stream"), &expecting(content)).expect("import");
}

#[test]
fn the_first_data_in_a_range_is_found() {
    let mut bytes = vec![0; (5 << 20) + 512];
    let disk = |bytes: &[u8]| VecDisk(bytes.to_vec());
    let len = bytes.len() as u64;
    assert_eq!(first_data(&disk(&bytes), 0, len, None).expect("zeros"), None);
    for at in [0, 1, 4095, 4096, (3 << 20) + 77, len - 1] {
        bytes[at as usize] = 1;
        for (start, end, found) in
            [(0, len, true), (at, at + 1, true), (at, at, false), (0, at, false), (at + 1, len, false)]
        {
            let looked = first_data(&disk(&bytes), start, end, None).expect("a look");
            assert_eq!(looked, found.then_some(at), "{at}: {start}..{end}");
        }
        bytes[at as usize] = 0;
    }
    let stop = std::sync::atomic::AtomicBool::new(true);
    assert!(matches!(first_data(&disk(&bytes), 0, len, Some(&stop)).detail(), Some(BlockError::Interrupted)));
}
