//! A disk that differs from the caller's expectation is not stored.

use std::io::Read;

use melv::{
    BlockDevice, BlockError, Digest, ImportOptions, MemoryStorage, Result, ResultExt, Run, RunKind, Source,
    Store, StoreError,
};
use melv::{StoreOptions, first_data};

/// Bytes as a disk, with zeros as holes of 4 KiB.
#[derive(Debug)]
struct Bytes(Vec<u8>);

impl BlockDevice for Bytes {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        buf.copy_from_slice(&self.0[offset as usize..][..buf.len()]);
        Ok(())
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        let piece = &self.0[offset as usize..][..(4096 - offset % 4096).min(len) as usize];
        let kind = if piece.iter().all(|byte| *byte == 0) { RunKind::Zero } else { RunKind::Data };
        Ok(Run { kind, len: piece.len() as u64 })
    }

    fn name(&self) -> String {
        "bytes".into()
    }
}

fn store() -> (Store, MemoryStorage) {
    let storage = MemoryStorage::new();
    let store = Store::create(storage.clone(), StoreOptions::default());
    (store.expect("a store"), storage)
}

fn options() -> ImportOptions<'static> {
    ImportOptions::named("disk".parse().expect("a name"))
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(next).collect()
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
        let by_device = store.import(Source::device(&Bytes(bytes.clone())), &options());
        let by_stream = store.import(Source::stream(&bytes[..], "stream"), &options());
        for refused in [by_device, by_stream] {
            let is_so = matches!(refused.detail(), Some(StoreError::SizeMismatch { expected: said, .. }) if *said == expected);
            assert!(is_so, "{expected}: {refused:?}");
        }
    }
    assert!(store.references().expect("references").is_empty());
    let left = melv::Storage::list(&storage, "packs/").expect("packs");
    assert!(left.is_empty(), "{left:?}");
    let size_bytes = Some(bytes.len() as u64);
    store
        .import(Source::device(&Bytes(bytes.clone())), &ImportOptions { size_bytes, ..options() })
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
    let other: Digest = "ab".repeat(32).parse().expect("a digest");
    let expecting = |content| ImportOptions { content: Some(content), replace: true, ..options() };
    let refused = store.import(Source::stream(&bytes[..], "stream"), &expecting(other));
    let is_so = matches!(refused.detail(), Some(StoreError::ContentMismatch { expected, found, .. }) if (expected, found) == (&other, &content));
    assert!(is_so, "{refused:?}");
    assert_eq!(store.references().expect("references").len(), 1);
    store.import(Source::stream(&bytes[..], "stream"), &expecting(content)).expect("import");
}

#[test]
fn the_first_data_in_a_range_is_found() {
    let mut bytes = vec![0; (5 << 20) + 512];
    let disk = |bytes: &[u8]| Bytes(bytes.to_vec());
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
