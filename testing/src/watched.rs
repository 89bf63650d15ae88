//! A storage that logs or hooks every operation.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use melv_format::storage::ObjectName;
use melv_format::storage::{
    Append, Listed, LocalFolder, LockGuard, LockMode, Machine, ObjectSource, ObjectStore, ReadAt, Scratch,
};

/// One operation on a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Creates an object of this name.
    Create(String),
    /// Appends this many bytes to an object.
    Append(String, u64),
    /// Syncs an object.
    Sync(String),
    /// Opens an object.
    Open(String),
    /// Reads from an object.
    Read {
        /// The object's name.
        object: String,
        /// The first byte.
        offset: u64,
        /// The number of bytes.
        len: u64,
    },
    /// Renames objects, each from one name to another.
    Publish(Vec<(String, String)>),
    /// Gives an object a second name.
    Link(String, String),
    /// Lists names with this prefix.
    List(String),
    /// Removes objects.
    Remove(Vec<String>),
}

type Hook = Arc<dyn Fn(&Op) -> io::Result<()> + Send + Sync>;

type AfterHook = Arc<dyn Fn(&Op) + Send + Sync>;

/// A storage that calls a hook first, logs the operation, and passes it on. A second hook is called after
/// operations on names that succeeded.
#[derive(Clone)]
pub struct Watched<S> {
    inner: S,
    log: Arc<Mutex<Vec<Op>>>,
    hook: Hook,
    after: AfterHook,
}

impl<S: std::fmt::Debug> std::fmt::Debug for Watched<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Watched").field(&self.inner).finish()
    }
}

impl<S: LocalFolder> Watched<S> {
    /// Creates a storage that only logs.
    pub fn new(inner: S) -> Self {
        Self::hooked(inner, |_| Ok(()))
    }

    /// Creates a storage that calls `hook` before each operation. If the hook fails, so does the operation.
    pub fn hooked(inner: S, hook: impl Fn(&Op) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { inner, log: Arc::default(), hook: Arc::new(hook), after: Arc::new(|_| ()) }
    }

    /// Calls `after` whenever an open, publish, link or removal has succeeded, as if another process acted at
    /// this moment.
    #[must_use]
    pub fn and_after(self, after: impl Fn(&Op) + Send + Sync + 'static) -> Self {
        Self { after: Arc::new(after), ..self }
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

impl<S: LocalFolder> ReadAt for WatchedObject<S, dyn ReadAt> {
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

impl<S: LocalFolder> Append for WatchedObject<S, dyn Append> {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.by.op(Op::Append(self.name.clone(), bytes.len() as u64))?;
        self.inner.append(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.by.op(Op::Sync(self.name.clone()))?;
        self.inner.sync()
    }
}

fn pairs(moves: &[(ObjectName, ObjectName)]) -> Vec<(String, String)> {
    moves.iter().map(|(from, to)| (from.into(), to.into())).collect()
}

impl<S: LocalFolder + Clone + 'static> ObjectSource for Watched<S> {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn open(&self, name: &ObjectName) -> io::Result<Arc<dyn ReadAt>> {
        self.op(Op::Open(name.into()))?;
        let inner = self.inner.open(name)?;
        (self.after)(&Op::Open(name.into()));
        Ok(Arc::new(WatchedObject { name: name.into(), by: self.clone(), inner }))
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        self.op(Op::List(prefix.into()))?;
        self.inner.list(prefix)
    }

    fn foreign_owner(&self, name: &ObjectName) -> Option<u32> {
        self.inner.foreign_owner(name)
    }
}

impl<S: LocalFolder + Clone + 'static> ObjectStore for Watched<S> {
    fn publish(&self, moves: &[(ObjectName, ObjectName)]) -> io::Result<()> {
        self.op(Op::Publish(pairs(moves)))?;
        self.inner.publish(moves)?;
        (self.after)(&Op::Publish(pairs(moves)));
        Ok(())
    }

    fn prepare(&self, names: &[ObjectName]) -> io::Result<()> {
        self.inner.prepare(names)
    }

    fn settle(&self, names: &[ObjectName]) -> io::Result<()> {
        self.inner.settle(names)
    }

    fn link(&self, name: &ObjectName, second: &ObjectName) -> io::Result<()> {
        self.op(Op::Link(name.into(), second.into()))?;
        self.inner.link(name, second)?;
        (self.after)(&Op::Link(name.into(), second.into()));
        Ok(())
    }

    fn remove(&self, names: &[ObjectName]) -> io::Result<()> {
        self.op(Op::Remove(names.iter().map(String::from).collect()))?;
        self.inner.remove(names)?;
        (self.after)(&Op::Remove(names.iter().map(String::from).collect()));
        Ok(())
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

impl<S: LocalFolder + Clone + 'static> Scratch for Watched<S> {
    fn create(&self, name: &ObjectName) -> io::Result<Arc<dyn Append>> {
        self.op(Op::Create(name.into()))?;
        let inner = self.inner.create(name)?;
        Ok(Arc::new(WatchedObject { name: name.into(), by: self.clone(), inner }))
    }
}
