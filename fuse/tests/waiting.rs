//! A remote store: its reads wait concurrently, and reads from memory do not wait for them.

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{BLOCK, bed, noise, read_direct};
use melv::storage::{
    Append, FileStorage, Listed, LockGuard, LockMode, ObjectName, ObjectSource, ObjectStore, ReadAt, Scratch,
};
use melv::{Store, StoreOptions};
use melv_serve::Catalog;

const BLOCKS: u64 = 4096;
const READERS: u64 = 24;

/// The current and the highest number of concurrent reads.
#[derive(Debug, Default)]
struct UnderWay {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A folder where every read takes a few milliseconds.
#[derive(Debug)]
struct FarStorage(FileStorage, Arc<UnderWay>);

#[derive(Debug)]
struct FarObject(Arc<dyn ReadAt>, Arc<UnderWay>);

impl ReadAt for FarObject {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let now = self.1.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.1.most.fetch_max(now, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(3));
        self.1.now.fetch_sub(1, Ordering::SeqCst);
        self.0.read_exact_at(buf, offset)
    }
}

impl ObjectSource for FarStorage {
    fn place(&self) -> String {
        self.0.place()
    }

    fn open(&self, name: &ObjectName) -> io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(FarObject(self.0.open(name)?, self.1.clone())))
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        self.0.list(prefix)
    }
}

impl ObjectStore for FarStorage {
    fn publish(&self, moves: &[(ObjectName, ObjectName)]) -> io::Result<()> {
        self.0.publish(moves)
    }

    fn remove(&self, names: &[ObjectName]) -> io::Result<()> {
        self.0.remove(names)
    }

    fn lock(&self, name: &ObjectName, mode: LockMode, wait: Duration) -> io::Result<Box<dyn LockGuard>> {
        self.0.lock(name, mode, wait)
    }
}

impl Scratch for FarStorage {
    fn create(&self, name: &ObjectName) -> io::Result<Arc<dyn Append>> {
        self.0.create(name)
    }
}

fn threads_that_wait() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("tasks");
    // A thread may end meanwhile.
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.expect("a task").path().join("comm")).ok());
    names.filter(|name| name == "fuse-wait\n").count()
}

#[test]
fn reads_that_wait_for_the_store_do_so_together_and_the_threads_for_them_end() {
    let bed = bed();
    let disk = noise(1, BLOCKS as usize * BLOCK);
    bed.import("web", &disk);
    let under_way = Arc::new(UnderWay::default());
    let storage = FarStorage(FileStorage::new(bed.path("store")), under_way.clone());
    let store = Store::open(storage, StoreOptions::default()).expect("the store");
    let Some(live) = bed.mount_catalog(Catalog::all(store)) else { return };
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let (file, disk) = (live.direct("web/latest.raw"), &disk);
            scope.spawn(move || {
                // A chunk has eight blocks, so that each of these blocks is in its own chunk.
                for block in
                    (0..BLOCKS / 8).filter(|chunk| chunk % READERS == reader).map(|chunk| chunk * 8 + 3)
                {
                    let at = block * BLOCK as u64;
                    assert!(read_direct(&file, at, BLOCK).expect("a read") == disk[at as usize..][..BLOCK]);
                }
            });
        }
    });
    let most = under_way.most.load(Ordering::SeqCst);
    assert!(most > melv_fuse::default_threads() && most >= READERS as usize / 2, "{most} at once");
    let begun = Instant::now();
    while threads_that_wait() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} threads stay", threads_that_wait());
        std::thread::sleep(Duration::from_millis(20));
    }
    live.end();
}
