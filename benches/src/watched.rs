//! A storage that passes every call on and logs the reads.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use melv::storage::{Append, Listed, LockGuard, LockMode, ObjectName, ReadAt};
use melv::{LocalFolder, ObjectSource, ObjectStore, Scratch};

/// One read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The object's name.
    pub name: String,
    /// The offset of the first byte.
    pub offset: u64,
    /// The length, in bytes.
    pub len: usize,
}

/// The reads made through a storage.
#[derive(Debug, Clone, Default)]
pub struct Reads(Arc<Mutex<Vec<Read>>>);

impl Reads {
    /// Returns the reads since the last `take`.
    #[must_use]
    pub fn take(&self) -> Vec<Read> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, read: Read) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(read);
    }
}

/// A storage that logs its reads.
#[derive(Debug, Clone)]
pub struct Watched<S> {
    inner: S,
    /// The log.
    pub reads: Reads,
}

impl<S> Watched<S> {
    /// Wraps `inner` with an empty log.
    pub fn new(inner: S) -> Self {
        Self { inner, reads: Reads::default() }
    }
}

#[derive(Debug)]
struct WatchedRead {
    inner: Arc<dyn ReadAt>,
    name: String,
    reads: Reads,
}

impl ReadAt for WatchedRead {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.reads.add(Read { name: self.name.clone(), offset, len: buf.len() });
        self.inner.read_exact_at(buf, offset)
    }
}

impl<S: LocalFolder> ObjectSource for Watched<S> {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn open(&self, name: &ObjectName) -> io::Result<Arc<dyn ReadAt>> {
        let inner = self.inner.open(name)?;
        Ok(Arc::new(WatchedRead { inner, name: name.into(), reads: self.reads.clone() }))
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        self.inner.list(prefix)
    }
}

impl<S: LocalFolder> ObjectStore for Watched<S> {
    fn publish(&self, moves: &[(ObjectName, ObjectName)]) -> io::Result<()> {
        self.inner.publish(moves)
    }

    fn remove(&self, names: &[ObjectName]) -> io::Result<()> {
        self.inner.remove(names)
    }

    fn lock(&self, name: &ObjectName, mode: LockMode, wait: Duration) -> io::Result<Box<dyn LockGuard>> {
        self.inner.lock(name, mode, wait)
    }
}

impl<S: LocalFolder> Scratch for Watched<S> {
    fn create(&self, name: &ObjectName) -> io::Result<Arc<dyn Append>> {
        self.inner.create(name)
    }
}
