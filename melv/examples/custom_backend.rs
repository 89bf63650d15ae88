//! A store over custom storage: here a map behind a lock, standing in for a database table. Any storage that
//! keeps the contract of [`LocalFolder`] will do; the contract test checks it.
//!
//! ```text
//! cargo run --release --example custom_backend
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use melv::storage::{Append, Listed, LockGuard, LockMode, ObjectName, ReadAt};
use melv::{BlockDevice, ImportOptions, ObjectSource, ObjectStore, Scratch, Source, Store, StoreOptions};
use melv_testing::check_contract;

/// A table with an object per row, and the locks held.
#[derive(Debug, Default)]
struct Table {
    rows: BTreeMap<ObjectName, Arc<Row>>,
    locked: BTreeMap<ObjectName, u32>,
    locked_alone: BTreeSet<ObjectName>,
}

#[derive(Debug, Default)]
struct Row(Mutex<Vec<u8>>);

#[derive(Debug, Clone, Default)]
struct TableStorage(Arc<Mutex<Table>>);

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ReadAt for Row {
    fn len(&self) -> u64 {
        guard(&self.0).len() as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = guard(&self.0);
        let start = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buf.len()).ok_or(ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes.get(start..end).ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Append for Row {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        guard(&self.0).extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(()) // a real table would make the row durable here
    }
}

impl ObjectSource for TableStorage {
    fn place(&self) -> String {
        "a table in memory".into()
    }

    fn open(&self, name: &ObjectName) -> io::Result<Arc<dyn ReadAt>> {
        let row = guard(&self.0).rows.get(name).cloned().ok_or(ErrorKind::NotFound)?;
        Ok(row)
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        let inside = |name: &str| {
            prefix.is_empty() || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
        };
        let table = guard(&self.0);
        let rows = table.rows.iter().filter(|(name, _)| inside(name));
        Ok(rows.map(|(name, row)| Listed { name: name.clone(), len: row.len() }).collect())
    }
}

impl ObjectStore for TableStorage {
    fn publish(&self, moves: &[(ObjectName, ObjectName)]) -> io::Result<()> {
        let mut table = guard(&self.0);
        for (from, to) in moves {
            let row = table.rows.remove(from).ok_or(ErrorKind::NotFound)?;
            table.rows.insert(to.clone(), row);
        }
        Ok(())
    }

    fn remove(&self, names: &[ObjectName]) -> io::Result<()> {
        let mut table = guard(&self.0);
        names.iter().for_each(|name| drop(table.rows.remove(name)));
        Ok(())
    }

    fn lock(&self, name: &ObjectName, mode: LockMode, wait: Duration) -> io::Result<Box<dyn LockGuard>> {
        let deadline = Instant::now() + wait;
        loop {
            let mut table = guard(&self.0);
            let shared = table.locked.get(name).copied().unwrap_or_default();
            let free = !table.locked_alone.contains(name) && (mode == LockMode::Shared || shared == 0);
            if free {
                match mode {
                    LockMode::Shared => drop(table.locked.insert(name.clone(), shared + 1)),
                    LockMode::Exclusive => drop(table.locked_alone.insert(name.clone())),
                }
                return Ok(Box::new(TableLock { storage: self.clone(), name: name.clone(), mode }));
            }
            drop(table);
            if Instant::now() >= deadline {
                return Err(ErrorKind::WouldBlock.into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Scratch for TableStorage {
    fn create(&self, name: &ObjectName) -> io::Result<Arc<dyn Append>> {
        let mut table = guard(&self.0);
        if table.rows.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let row = Arc::<Row>::default();
        table.rows.insert(name.clone(), row.clone());
        Ok(row)
    }
}

#[derive(Debug)]
struct TableLock {
    storage: TableStorage,
    name: ObjectName,
    mode: LockMode,
}

impl LockGuard for TableLock {}

impl Drop for TableLock {
    fn drop(&mut self) {
        let mut table = guard(&self.storage.0);
        match self.mode {
            LockMode::Exclusive => drop(table.locked_alone.remove(&self.name)),
            LockMode::Shared => {
                if let Some(count) = table.locked.get_mut(&self.name) {
                    *count -= 1;
                }
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    check_contract(&TableStorage::default());

    let store = Store::create(TableStorage::default(), StoreOptions::default())?;
    let disk: Vec<u8> = (0..4u32 << 20).map(|at| (at / 4096 % 200) as u8).collect();
    let report = store.import(Source::stream(&disk[..], "disk"), &ImportOptions::named("disk".parse()?))?;
    let image = store.image(&"disk".parse()?)?;
    let mut read = vec![0; disk.len()];
    image.read_at(0, &mut read)?;
    assert_eq!(read, disk);
    println!(
        "{} bytes of data became {} in {}",
        report.data_bytes,
        report.stored_bytes,
        store.storage().place()
    );
    Ok(())
}
