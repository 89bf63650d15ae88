//! Machines that can lose power: objects in memory, and folders on a modelled disk whose names become durable
//! in order or independently.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use melv_format::storage::ObjectName;
use melv_format::storage::model::{ModelFs, Names};
use melv_format::storage::{Append, FileStorage, Listed, LockGuard, LockMode, Machine as MachineIds, ReadAt};
use melv_format::{LocalFolder, MemoryStorage, ObjectSource, ObjectStore, Scratch, Store, StoreOptions};

/// The bytes of objects, by name.
pub type Contents = BTreeMap<String, Vec<u8>>;

/// A storage that can lose power.
pub trait Machine: LocalFolder + Clone + 'static {
    /// Makes a machine that holds these objects, all durable.
    fn with(contents: &Contents) -> Self;
    /// Returns all objects, without locks.
    fn contents(&self) -> Contents;
    /// Replaces an object's bytes, or creates it.
    fn put(&self, name: &str, bytes: Vec<u8>);
    /// Returns a machine with the same bytes and no locks, as after all processes were killed.
    fn after_kill(&self) -> Self;
    /// Returns one of the states that a power loss may leave.
    fn power_loss(&self, seed: u64) -> Self;
}

/// Opens the store on a machine, creating it first if needed, through a separate handle.
pub fn store_on(machine: &impl Machine) -> Store {
    Store::create(machine.clone(), StoreOptions::default()).expect("a store");
    Store::open(machine.clone(), StoreOptions::default()).expect("a store")
}

/// Returns all objects except references and the index.
pub fn committed_on(machine: &impl Machine) -> Contents {
    let mut contents = machine.contents();
    contents.retain(|name, _| !name.starts_with("refs/") && !name.starts_with("index/"));
    contents
}

impl Machine for MemoryStorage {
    fn with(contents: &Contents) -> Self {
        let storage = Self::new();
        contents.iter().for_each(|(name, bytes)| storage.put(name, bytes.clone()));
        storage
    }

    fn contents(&self) -> Contents {
        Self::contents(self)
    }

    fn put(&self, name: &str, bytes: Vec<u8>) {
        Self::put(self, name, bytes);
    }

    fn after_kill(&self) -> Self {
        Self::with(&Self::contents(self))
    }

    fn power_loss(&self, seed: u64) -> Self {
        Self::power_loss(self, seed)
    }
}

/// A folder on a modelled disk; `LOOSE` sets whether names become durable in any order.
#[derive(Debug, Clone)]
pub struct Modelled<const LOOSE: bool> {
    fs: ModelFs,
    storage: FileStorage<ModelFs>,
}

impl<const LOOSE: bool> Modelled<LOOSE> {
    fn on(fs: ModelFs) -> Self {
        Self { storage: fs.storage(), fs }
    }
}

impl<const LOOSE: bool> Machine for Modelled<LOOSE> {
    fn with(contents: &Contents) -> Self {
        let machine = Self::on(ModelFs::new(if LOOSE { Names::Loose } else { Names::Ordered }));
        contents.iter().for_each(|(name, bytes)| machine.put(name, bytes.clone()));
        machine
    }

    fn contents(&self) -> Contents {
        let mut contents = self.fs.contents();
        contents.retain(|name, _| name != "lock" && !name.ends_with("/lock"));
        contents
    }

    fn put(&self, name: &str, bytes: Vec<u8>) {
        self.fs.put(name, bytes).expect("put");
    }

    fn after_kill(&self) -> Self {
        Self::on(self.fs.moment().restart())
    }

    fn power_loss(&self, seed: u64) -> Self {
        Self::on(self.fs.moment().crash(seed))
    }
}

impl<const LOOSE: bool> ObjectSource for Modelled<LOOSE> {
    fn place(&self) -> String {
        self.storage.place()
    }

    fn open(&self, name: &ObjectName) -> io::Result<Arc<dyn ReadAt>> {
        self.storage.open(name)
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        self.storage.list(prefix)
    }
}

impl<const LOOSE: bool> ObjectStore for Modelled<LOOSE> {
    fn publish(&self, moves: &[(ObjectName, ObjectName)]) -> io::Result<()> {
        self.storage.publish(moves)
    }

    fn prepare(&self, names: &[ObjectName]) -> io::Result<()> {
        self.storage.prepare(names)
    }

    fn settle(&self, names: &[ObjectName]) -> io::Result<()> {
        self.storage.settle(names)
    }

    fn link(&self, name: &ObjectName, second: &ObjectName) -> io::Result<()> {
        self.storage.link(name, second)
    }

    fn remove(&self, names: &[ObjectName]) -> io::Result<()> {
        self.storage.remove(names)
    }

    fn lock(&self, name: &ObjectName, mode: LockMode, wait: Duration) -> io::Result<Box<dyn LockGuard>> {
        self.storage.lock(name, mode, wait)
    }

    fn claim(&self, name: &ObjectName, mark: &[u8]) -> io::Result<Box<dyn LockGuard>> {
        self.storage.claim(name, mark)
    }

    fn machine(&self) -> Option<MachineIds> {
        self.storage.machine()
    }
}

impl<const LOOSE: bool> Scratch for Modelled<LOOSE> {
    fn create(&self, name: &ObjectName) -> io::Result<Arc<dyn Append>> {
        self.storage.create(name)
    }
}

/// Makes a test of each function that is generic over the machine, on each kind of machine.
#[macro_export]
macro_rules! on_every_machine {
    ($($promise:ident),+ $(,)?) => {
        mod in_memory {
            $(#[test] fn $promise() { super::$promise::<melv::MemoryStorage>(); })+
        }
        mod where_names_are_ordered {
            $(#[test] fn $promise() { super::$promise::<$crate::machine::Modelled<false>>(); })+
        }
        mod where_names_are_loose {
            $(#[test] fn $promise() { super::$promise::<$crate::machine::Modelled<true>>(); })+
        }
    };
}
