//! Saves an image as one file and reads it in place by ranges alone, as from an object store or a web server.
//!
//! ```text
//! cargo run -p melv --example bundle_by_ranges
//! ```

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use melv::storage::ReadAt;
use melv::{
    BlockDevice, Bundle, BundleOptions, ImportOptions, MemoryStorage, Result, SaveOptions, Source, Store,
    StoreOptions,
};

/// A stand-in for a remote file; every call is a request.
#[derive(Debug)]
struct Far {
    bytes: Vec<u8>,
    requests: &'static AtomicU64,
}

static REQUESTS: AtomicU64 = AtomicU64::new(0);

impl ReadAt for Far {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let range = usize::try_from(offset).ok().and_then(|start| self.bytes.get(start..)?.get(..buf.len()));
        buf.copy_from_slice(range.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fn main() -> Result<()> {
    let store = Store::create(MemoryStorage::new(), StoreOptions::default())?;
    let disk: Vec<u8> = (0..64u32 << 18).flat_map(|word| (word / 700).to_le_bytes()).collect();
    store.import(Source::stream(&disk[..], "disk"), &ImportOptions::named("web".parse()?))?;

    let mut file = Vec::new();
    let saved = store.save(&["web".parse()?], &mut file, &SaveOptions::default())?;
    println!("{} bytes of disk, {} bytes of bundle", disk.len(), saved.bytes);

    let far = Far { bytes: file, requests: &REQUESTS };
    let bundle = Bundle::open_reader(far, "far/web.melv", BundleOptions::default())?;
    let image = bundle.image(&"web".parse()?)?;
    println!("opened with {} requests", REQUESTS.swap(0, Ordering::Relaxed));
    let mut block = vec![0; 4096];
    image.read_at(disk.len() as u64 / 2, &mut block)?;
    assert_eq!(block, disk[disk.len() / 2..][..4096]);
    println!("read a block with {} more", REQUESTS.load(Ordering::Relaxed));
    Ok(())
}
