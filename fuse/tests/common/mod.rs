//! A store in a folder, with its images mounted by this process.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use melv::RawFile;
use melv::{Cache, ImportOptions, Source, Store, StoreOptions};
use melv_fuse::{Error, MountOptions, Mounted, Unmounter};
use melv_serve::Catalog;
use rustix::fs::OFlags;

pub const BLOCK: usize = 4096;
/// The alignment of direct reads.
const ALIGNED: usize = 4096;

pub struct Bed {
    folder: tempfile::TempDir,
}

/// Images that are mounted until this is dropped.
pub struct Live {
    pub dir: PathBuf,
    pub unmounter: Unmounter,
    thread: Option<JoinHandle<melv_fuse::Result<()>>>,
}

pub fn bed() -> Bed {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("mnt")).expect("a folder");
    Store::create_folder(folder.path().join("store"), StoreOptions::default()).expect("a store");
    Bed { folder }
}

impl Bed {
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Opens the store anew, with nothing in memory and a small cache.
    pub fn store(&self) -> Store {
        let options = StoreOptions { cache: Cache::new(1 << 20), ..StoreOptions::default() };
        Store::open_folder(self.path("store"), options).expect("the store")
    }

    pub fn import(&self, name: &str, disk: &[u8]) {
        self.import_with(disk, ImportOptions::named(name.parse().expect("a name")));
    }

    pub fn replace(&self, name: &str, disk: &[u8]) {
        let options = ImportOptions::named(name.parse().expect("a name"));
        self.import_with(disk, ImportOptions { replace: true, ..options });
    }

    fn import_with(&self, disk: &[u8], options: ImportOptions<'_>) {
        let path = self.path("disk.raw");
        std::fs::write(&path, disk).expect("a disk");
        let disk = RawFile::open(&path, false).expect("a disk");
        self.store().import(Source::device(&disk), &options).expect("an import");
    }

    /// Mounts all images at `mnt`. If that is not possible here, prints the reason.
    pub fn mount(&self) -> Option<Live> {
        self.mount_catalog(Catalog::all(self.store()))
    }

    pub fn mount_catalog(&self, catalog: Catalog) -> Option<Live> {
        let dir = self.path("mnt");
        match Mounted::new(Arc::new(catalog), &dir, &MountOptions::default()) {
            Ok(mounted) => {
                let unmounter = mounted.unmounter();
                let thread = Some(std::thread::spawn(move || mounted.run()));
                Some(Live { dir, unmounter, thread })
            }
            Err(error @ (Error::NoDevice { .. } | Error::Helper { .. })) => {
                println!("skipped, since nothing can be mounted here: {error}");
                None
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

impl Live {
    pub fn file(&self, path: &str) -> File {
        File::open(self.dir.join(path)).expect(path)
    }

    /// Opens a file so that every read reaches the file system.
    pub fn direct(&self, path: &str) -> File {
        let flags = OFlags::DIRECT.bits() as i32;
        File::options().read(true).custom_flags(flags).open(self.dir.join(path)).expect(path)
    }

    pub fn names(&self, path: &str) -> Vec<String> {
        names(&self.dir.join(path))
    }

    /// Unmounts while nothing is open, and waits for the end.
    pub fn end(mut self) {
        self.unmounter.unmount().expect("an unmount");
        self.thread.take().expect("it runs").join().expect("no panic").expect("a clean end");
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.unmounter.unmount_lazily();
        if let Some(thread) = self.thread.take()
            && !std::thread::panicking()
        {
            thread.join().expect("no panic").expect("a clean end");
        }
    }
}

/// Returns the names in a folder, in ascending order.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

/// Reads directly, into aligned memory.
pub fn read_direct(file: &File, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
    let mut memory = vec![0; len + ALIGNED];
    let start = memory.as_ptr().align_offset(ALIGNED);
    let read = file.read_at(&mut memory[start..start + len], offset)?;
    Ok(memory[start..start + read].to_vec())
}

/// Returns incompressible bytes, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    melv_testing::Rng::new(seed).bytes(len)
}

/// A disk with data, zeros, and data again, whose last block is short.
pub fn disk() -> Vec<u8> {
    [noise(1, 40 * BLOCK), vec![0; 3 << 20], noise(2, 25 * BLOCK), vec![0; 10 * BLOCK], noise(3, 512)]
        .concat()
}
