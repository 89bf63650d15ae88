//! A storage whose *n*th operation fails, once or forever, for tests of every failure path.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use melv_format::storage::ObjectName;
use melv_format::storage::{
    Append, Listed, LocalFolder, LockGuard, LockMode, Machine, ObjectSource, ObjectStore, ReadAt, Scratch,
};

/// The duration of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultMode {
    /// Only the *n*th operation fails.
    Once,
    /// The *n*th and all later operations fail, as when a disk or a machine dies.
    Forever,
}

/// The operations that are counted and can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Operations that change something: create, append, sync, publish, link, remove.
    Writes,
    /// Operations that read: open, read, list.
    Reads,
    /// All operations except taking locks.
    All,
}

/// Forwards everything to `inner` and counts operations; number `fail_at` fails.
///
/// A failing append writes half of its bytes, and a failing publish gives half of its names.
#[derive(Debug, Clone)]
pub struct FaultyStorage<S> {
    inner: S,
    faults: Arc<Faults>,
}

#[derive(Debug)]
struct Faults {
    count: AtomicU64,
    fail_at: u64,
    mode: FaultMode,
    counted: Operation,
    kind: io::ErrorKind,
}

impl Faults {
    fn check(&self, writes: bool) -> io::Result<()> {
        let counted = match self.counted {
            Operation::All => true,
            Operation::Writes => writes,
            Operation::Reads => !writes,
        };
        if !counted {
            return Ok(());
        }
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let fails = match self.mode {
            FaultMode::Once => number == self.fail_at,
            FaultMode::Forever => number >= self.fail_at,
        };
        if fails {
            Err(io::Error::new(self.kind, format!("injected fault at operation {number}")))
        } else {
            Ok(())
        }
    }
}

impl<S: LocalFolder> FaultyStorage<S> {
    /// Creates a storage whose operation number `fail_at`, counted from 0 among `counted`, fails with
    /// `kind`.
    pub fn new(inner: S, counted: Operation, fail_at: u64, mode: FaultMode, kind: io::ErrorKind) -> Self {
        let faults = Arc::new(Faults { count: AtomicU64::new(0), fail_at, mode, counted, kind });
        Self { inner, faults }
    }

    /// Creates a storage that only counts and never fails.
    pub fn counting(inner: S, counted: Operation) -> Self {
        Self::new(inner, counted, u64::MAX, FaultMode::Once, io::ErrorKind::Other)
    }

    /// Returns the number of operations so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.faults.count.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
struct FaultyRead {
    inner: Arc<dyn ReadAt>,
    faults: Arc<Faults>,
}

impl ReadAt for FaultyRead {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.faults.check(false)?;
        self.inner.read_exact_at(buf, offset)
    }

    fn modified_nanos(&self) -> Option<u64> {
        self.inner.modified_nanos()
    }
}

#[derive(Debug)]
struct FaultyAppend {
    inner: Arc<dyn Append>,
    faults: Arc<Faults>,
}

impl Append for FaultyAppend {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        if let Err(fault) = self.faults.check(true) {
            self.inner.append(&bytes[..bytes.len() / 2])?;
            return Err(fault);
        }
        self.inner.append(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.check(true)?;
        self.inner.sync()
    }
}

impl<S: LocalFolder> ObjectSource for FaultyStorage<S> {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn open(&self, name: &ObjectName) -> io::Result<Arc<dyn ReadAt>> {
        self.faults.check(false)?;
        Ok(Arc::new(FaultyRead { inner: self.inner.open(name)?, faults: self.faults.clone() }))
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        self.faults.check(false)?;
        self.inner.list(prefix)
    }

    fn foreign_owner(&self, name: &ObjectName) -> Option<u32> {
        self.inner.foreign_owner(name)
    }
}

impl<S: LocalFolder> ObjectStore for FaultyStorage<S> {
    fn publish(&self, moves: &[(ObjectName, ObjectName)]) -> io::Result<()> {
        if let Err(fault) = self.faults.check(true) {
            self.inner.publish(&moves[..moves.len() / 2])?;
            return Err(fault);
        }
        self.inner.publish(moves)
    }

    fn prepare(&self, names: &[ObjectName]) -> io::Result<()> {
        self.faults.check(true)?;
        self.inner.prepare(names)
    }

    fn settle(&self, names: &[ObjectName]) -> io::Result<()> {
        self.faults.check(true)?;
        self.inner.settle(names)
    }

    fn link(&self, name: &ObjectName, second: &ObjectName) -> io::Result<()> {
        self.faults.check(true)?;
        self.inner.link(name, second)
    }

    fn remove(&self, names: &[ObjectName]) -> io::Result<()> {
        self.faults.check(true)?;
        self.inner.remove(names)
    }

    fn lock(&self, name: &ObjectName, mode: LockMode, wait: Duration) -> io::Result<Box<dyn LockGuard>> {
        self.inner.lock(name, mode, wait)
    }

    fn claim(&self, name: &ObjectName, mark: &[u8]) -> io::Result<Box<dyn LockGuard>> {
        self.inner.claim(name, mark)
    }

    fn machine(&self) -> Option<Machine> {
        self.inner.machine()
    }
}

impl<S: LocalFolder> Scratch for FaultyStorage<S> {
    fn create(&self, name: &ObjectName) -> io::Result<Arc<dyn Append>> {
        self.faults.check(true)?;
        Ok(Arc::new(FaultyAppend { inner: self.inner.create(name)?, faults: self.faults.clone() }))
    }
}
