//! Objects in memory, with a model of a power loss.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{
    Append, BytesObject, Listed, LockGuard, LockMode, ObjectName, ObjectSource, ObjectStore, ReadAt, Scratch,
};

/// Objects in memory, shared by all clones of the value.
///
/// It tracks synced bytes and published names, so that [`power_loss`] can produce a state that a real
/// machine might have after a restart.
///
/// [`power_loss`]: MemoryStorage::power_loss
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    state: Arc<Mutex<State>>,
    locks: Arc<Locks>,
}

#[derive(Debug, Default)]
struct State {
    live: BTreeMap<ObjectName, Arc<Object>>,
    durable: BTreeMap<ObjectName, Arc<Object>>,
}

#[derive(Debug, Default)]
struct Object(Mutex<Content>);

#[derive(Debug, Default, Clone)]
struct Content {
    /// Shared with readers: an append copies the bytes if a reader holds them.
    bytes: Arc<Vec<u8>>,
    synced_len: usize,
}

impl Object {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryStorage {
    /// Creates an empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the bytes of all objects, by name.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        self.state()
            .live
            .iter()
            .map(|(name, object)| (name.into(), object.content().bytes.to_vec()))
            .collect()
    }

    /// Replaces or creates an object, for tests that inject damage.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let object = Arc::new(Object(Mutex::new(Content { synced_len: bytes.len(), bytes: bytes.into() })));
        let mut state = self.state();
        let name = ObjectName::made(name.to_owned());
        state.live.insert(name.clone(), object.clone());
        state.durable.insert(name, object);
    }

    /// Returns one of the possible states after a power loss, chosen by `seed`.
    ///
    /// Published names and synced bytes survive. Unsynced bytes survive in part, truncated or partly
    /// zeroed. Unpublished names may survive or not. Locks are free.
    #[must_use]
    pub fn power_loss(&self, seed: u64) -> Self {
        let mut random = seed | 1;
        let mut next = move || {
            // xorshift64: good enough to pick states, and the same everywhere.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let mut settle = |object: &Object| {
            let Content { bytes, synced_len } = object.content().clone();
            let mut bytes = bytes.to_vec();
            let unsynced = bytes.len() - synced_len;
            let kept = if unsynced == 0 { 0 } else { (next() % (unsynced as u64 + 1)) as usize };
            bytes.truncate(synced_len + kept);
            if kept > 0 && next() % 2 == 0 {
                let at = synced_len + (next() % kept as u64) as usize;
                bytes[at..].fill(0);
            }
            (next() % 2 == 0, bytes)
        };
        let after = Self::new();
        let state = self.state();
        for (name, object) in &state.durable {
            after.put(name, settle(object).1);
        }
        for (name, object) in state.live.iter().filter(|(name, _)| !state.durable.contains_key(*name)) {
            let (there, bytes) = settle(object);
            if there {
                after.put(name, bytes);
            }
        }
        drop(state);
        after
    }
}

#[derive(Debug)]
struct Writer(Arc<Object>);

impl Append for Writer {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        Arc::make_mut(&mut self.0.content().bytes).extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut content = self.0.content();
        content.synced_len = content.bytes.len();
        Ok(())
    }
}

impl ObjectSource for MemoryStorage {
    fn place(&self) -> String {
        "memory".into()
    }

    fn open(&self, name: &ObjectName) -> io::Result<Arc<dyn ReadAt>> {
        let state = self.state();
        let object = state.live.get(name).ok_or(io::ErrorKind::NotFound)?;
        let bytes = object.content().bytes.clone();
        Ok(Arc::new(BytesObject::from(bytes)))
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        let inside = |name: &str| {
            prefix.is_empty() || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
        };
        let listed = |(name, object): (&ObjectName, &Arc<Object>)| Listed {
            name: name.clone(),
            len: object.content().bytes.len() as u64,
        };
        Ok(self.state().live.iter().filter(|(name, _)| inside(name)).map(listed).collect())
    }
}

impl ObjectStore for MemoryStorage {
    fn publish(&self, moves: &[(ObjectName, ObjectName)]) -> io::Result<()> {
        let mut state = self.state();
        for (from, to) in moves {
            let object = state.live.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.durable.remove(from);
            state.live.insert(to.clone(), object.clone());
            state.durable.insert(to.clone(), object);
        }
        Ok(())
    }

    fn link(&self, name: &ObjectName, second: &ObjectName) -> io::Result<()> {
        let mut state = self.state();
        let object = state.live.get(name).ok_or(io::ErrorKind::NotFound)?.clone();
        if state.live.contains_key(second) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.live.insert(second.clone(), object);
        Ok(())
    }

    fn remove(&self, names: &[ObjectName]) -> io::Result<()> {
        let mut state = self.state();
        for name in names {
            state.live.remove(name);
            state.durable.remove(name);
        }
        Ok(())
    }

    fn lock(&self, name: &ObjectName, mode: LockMode, wait: Duration) -> io::Result<Box<dyn LockGuard>> {
        self.locks.take(name, mode, wait)?;
        Ok(Box::new(MemoryLockGuard { locks: self.locks.clone(), name: name.clone(), mode }))
    }
}

impl Scratch for MemoryStorage {
    fn create(&self, name: &ObjectName) -> io::Result<Arc<dyn Append>> {
        let mut state = self.state();
        if state.live.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let object = Arc::<Object>::default();
        state.live.insert(name.clone(), object.clone());
        Ok(Arc::new(Writer(object)))
    }
}

/// The holders of each lock: the number of shared holders, or -1 for an exclusive one.
#[derive(Debug, Default)]
struct Locks {
    holders: Mutex<BTreeMap<ObjectName, i64>>,
    freed: Condvar,
}

impl Locks {
    fn take(&self, name: &ObjectName, mode: LockMode, wait: Duration) -> io::Result<()> {
        let deadline = Instant::now() + wait.min(Duration::from_secs(1 << 30));
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let count = holders.entry(name.clone()).or_default();
            match mode {
                LockMode::Shared if *count >= 0 => {
                    *count += 1;
                    return Ok(());
                }
                LockMode::Exclusive if *count == 0 => {
                    *count = -1;
                    return Ok(());
                }
                _ => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            holders = self.freed.wait_timeout(holders, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[derive(Debug)]
struct MemoryLockGuard {
    locks: Arc<Locks>,
    name: ObjectName,
    mode: LockMode,
}

impl LockGuard for MemoryLockGuard {}

impl Drop for MemoryLockGuard {
    fn drop(&mut self) {
        let mut holders = self.locks.holders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = holders.get_mut(&self.name) {
            match self.mode {
                LockMode::Shared => *count -= 1,
                LockMode::Exclusive => *count = 0,
            }
        }
        self.locks.freed.notify_all();
    }
}
