//! A storage that passes everything on and writes down what is read.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use melv::Storage;
use melv::storage::{Append, Held, Listed, LockMode, ReadAt};

/// One read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The object's name.
    pub name: String,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: usize,
}

/// The reads made through a storage.
#[derive(Debug, Clone, Default)]
pub struct Reads(Arc<Mutex<Vec<Read>>>);

impl Reads {
    /// The reads since the last call of this.
    #[must_use]
    pub fn take(&self) -> Vec<Read> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, read: Read) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(read);
    }
}

/// A storage whose reads are written down.
#[derive(Debug, Clone)]
pub struct Watched<S> {
    inner: S,
    /// What was read.
    pub reads: Reads,
}

impl<S> Watched<S> {
    /// Nothing was read through it yet.
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

impl<S: Storage> Storage for Watched<S> {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn Append>> {
        self.inner.create(name)
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        let inner = self.inner.open(name)?;
        Ok(Arc::new(WatchedRead { inner, name: name.into(), reads: self.reads.clone() }))
    }
    fn publish(&self, moves: &[(String, String)]) -> io::Result<()> {
        self.inner.publish(moves)
    }
    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        self.inner.list(prefix)
    }
    fn remove(&self, names: &[String]) -> io::Result<()> {
        self.inner.remove(names)
    }
    fn lock(&self, name: &str, mode: LockMode, wait: Duration) -> io::Result<Box<dyn Held>> {
        self.inner.lock(name, mode, wait)
    }
}
