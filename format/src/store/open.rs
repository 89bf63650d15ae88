//! Opens and creates stores, and holds the state that their writers share.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::images::Images;
use super::names;
use super::objects::{Objects, read_object};
use super::reader::{Reader, VerifyMode};
use crate::cache::Cache;
use crate::error::{Error, ErrorKind, Result, StoreError};
use crate::fault::RuleViolation;
use crate::limits::CACHE_BYTES_DEFAULT;
use crate::ondisk::store_header;
use crate::storage::{FileStorage, LocalFolder, LockGuard, LockMode, ObjectName, ObjectSource};

/// Options for opening a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The cache; share one between all stores of a process.
    pub cache: Cache,
    /// The checks on frames.
    pub verify: VerifyMode,
    /// The time to wait for another process's lock.
    pub lock_wait: Duration,
    /// Whether whole-chunk reads also fill the cache. Leave it off for one sequential pass; turn it on in
    /// a server, where another client may read the same data.
    pub keep_whole_chunks: bool,
    /// Whether writers on another machine, and those with a damaged journal, count as dead and are
    /// cleaned up. Only safe if no other process writes to the store.
    pub break_locks: bool,
    /// Whether a store owned by another non-root user is treated as this user's own. Otherwise it is read
    /// with [`VerifyMode::Full`] and never written.
    pub trust_owner: bool,
}

impl Default for StoreOptions {
    /// Uses a separate cache of 64 MiB, guard checks, and a lock wait of 30 seconds.
    fn default() -> Self {
        Self {
            cache: Cache::new(CACHE_BYTES_DEFAULT),
            verify: VerifyMode::default(),
            lock_wait: Duration::from_secs(30),
            keep_whole_chunks: false,
            break_locks: false,
            trust_owner: false,
        }
    }
}

/// An open store. Clones are handles of the same store. All methods are thread-safe.
///
/// It is [`Images`] that one can write to: everything that only reads is a method of that type.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) images: Images,
    pub(crate) shared: Arc<StoreInner>,
}

impl Deref for Store {
    type Target = Images;

    fn deref(&self) -> &Images {
        &self.images
    }
}

impl From<Store> for Images {
    fn from(store: Store) -> Self {
        store.images
    }
}

/// The state shared by all handles of one opened store that its writers need.
#[derive(Debug)]
pub(crate) struct StoreInner {
    pub reader: Arc<Reader>,
    pub storage: Arc<dyn LocalFolder>,
    pub lock_wait: Duration,
    pub break_locks: bool,
    poisoned: AtomicBool,
    /// Whether this store has warned about a writer on another machine, and about a damaged journal.
    pub is_elsewhere_told: AtomicBool,
    pub is_damage_told: AtomicBool,
    /// The user who owns the store, if untrusted.
    foreign_owner: Option<u32>,
    writer_mask: u32,
    /// The length of the header in bytes if this handle created the store; its first import counts it.
    made_bytes: AtomicU64,
}

impl Store {
    /// Opens the store in `storage`.
    ///
    /// # Errors
    /// [`StoreError::NoStore`] if there is none, [`BlockError::Unsupported`](crate::BlockError::Unsupported) if it needs a newer melv.
    pub fn open(storage: impl LocalFolder + 'static, options: StoreOptions) -> Result<Self> {
        Self::open_shared(Arc::new(storage), options)
    }

    /// Opens the store in the folder `path`.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_folder(path: impl AsRef<Path>, options: StoreOptions) -> Result<Self> {
        Self::open(FileStorage::new(path.as_ref()), options)
    }

    /// Opens the store in `storage`, or creates it if the storage is empty.
    ///
    /// # Errors
    /// As [`Store::open`]; also [`StoreError::NoStore`] if the storage holds other objects.
    pub fn create(storage: impl LocalFolder + 'static, options: StoreOptions) -> Result<Self> {
        let storage: Arc<dyn LocalFolder> = Arc::new(storage);
        match Self::open_shared(storage.clone(), options.clone()) {
            Err(error) if error.kind() == ErrorKind::NoStore => {
                let made_bytes = make_store(storage.as_ref(), options.lock_wait)?;
                // This process just created the store, even if the file system assigns another owner.
                let trust_owner = options.trust_owner || made_bytes > 0;
                let store = Self::open_shared(storage, StoreOptions { trust_owner, ..options })?;
                store.shared.made_bytes.store(made_bytes, Ordering::SeqCst);
                Ok(store)
            }
            other => other,
        }
    }

    /// Opens the store in the folder `path`, or creates it.
    ///
    /// # Errors
    /// As [`Store::create`].
    pub fn create_folder(path: impl AsRef<Path>, options: StoreOptions) -> Result<Self> {
        // Check before writing anything, and without walking the whole folder.
        let folder = FileStorage::new(path.as_ref());
        let ours = [names::STORE.as_str(), names::LOCK.as_str(), names::TMP];
        let foreign =
            folder.foreign_entry(&ours).map_err(|error| Error::io("list", folder.place(), error))?;
        if let Some(foreign) = foreign
            && folder.open(&names::STORE).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        {
            return Err(StoreError::NoStore {
                path: format!("{} (which holds other files, such as {foreign})", folder.place()),
            }
            .into());
        }
        Self::create(FileStorage::new(path.as_ref()), options)
    }

    fn open_shared(storage: Arc<dyn LocalFolder>, options: StoreOptions) -> Result<Self> {
        let bytes = match read_object(storage.as_ref(), &names::STORE, 4096) {
            Err(error) if error.is_not_found() => {
                return Err(StoreError::NoStore { path: storage.place() }.into());
            }
            other => other?,
        };
        let object = format!("{}/{}", storage.place(), names::STORE);
        let header = store_header::decode(&bytes).map_err(|fault| StoreError::corrupt(object, 0, fault))?;
        let foreign_owner = storage.foreign_owner(&names::STORE).filter(|_| !options.trust_owner);
        let verify = if foreign_owner.is_some() { VerifyMode::Full } else { options.verify };
        let objects = Objects::new(storage.clone(), options.cache, false);
        let reader = Arc::new(Reader::new(objects, verify, options.keep_whole_chunks, None));
        let shared = StoreInner {
            reader: reader.clone(),
            storage,
            lock_wait: options.lock_wait,
            break_locks: options.break_locks,
            poisoned: AtomicBool::new(false),
            is_elsewhere_told: AtomicBool::new(false),
            is_damage_told: AtomicBool::new(false),
            foreign_owner,
            writer_mask: header.writer_mask,
            made_bytes: AtomicU64::new(0),
        };
        Ok(Self { images: Images::new(reader), shared: Arc::new(shared) })
    }

    /// Returns the storage that holds this store.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn LocalFolder> {
        &self.shared.storage
    }
}

/// Creates the header of a new store in an otherwise empty place. Returns the bytes written.
fn make_store(storage: &dyn LocalFolder, wait: Duration) -> Result<u64> {
    let _lock = take_lock(storage, wait)?;
    let listed = storage.list("").map_err(|error| Error::io("list", storage.place(), error))?;
    if listed.iter().any(|object| object.name == names::STORE) {
        return Ok(0);
    }
    let ours = |name: &ObjectName| *name == names::LOCK || name.starts_with("tmp/");
    if listed.iter().any(|object| !ours(&object.name)) {
        return Err(
            StoreError::NoStore { path: format!("{} (which holds other files)", storage.place()) }.into()
        );
    }
    let failed = |operation| move |error| Error::io(operation, &names::STORE, error);
    storage.remove(std::slice::from_ref(&names::NEW_STORE)).map_err(failed("clear"))?;
    let object = storage.create(&names::NEW_STORE).map_err(failed("create"))?;
    let header = store_header::encode();
    object.append(&header).map_err(failed("append to"))?;
    object.sync().map_err(failed("sync"))?;
    storage.publish(&[(names::NEW_STORE.clone(), names::STORE.clone())]).map_err(failed("publish"))?;
    Ok(header.len() as u64)
}

fn take_lock(storage: &dyn LocalFolder, wait: Duration) -> Result<Box<dyn LockGuard>> {
    storage.lock(&names::LOCK, LockMode::Exclusive, wait).map_err(|error| {
        let object = format!("{}/{}", storage.place(), names::LOCK);
        match error.kind() {
            std::io::ErrorKind::WouldBlock => {
                Error::from(StoreError::Locked { object, waited_seconds: wait.as_secs() })
            }
            std::io::ErrorKind::Unsupported => StoreError::NoLocks { object, source: error }.into(),
            _ => Error::io("lock", object, error),
        }
    })
}

impl StoreInner {
    /// Takes the lock for changing references.
    pub fn lock(&self) -> Result<Box<dyn LockGuard>> {
        take_lock(self.storage.as_ref(), self.lock_wait)
    }

    /// Fails if this handle must not write.
    pub fn check_writable(&self) -> Result<()> {
        if self.poisoned.load(Ordering::SeqCst) {
            return Err(StoreError::Poisoned.into());
        }
        if let Some(owner) = self.foreign_owner {
            return Err(StoreError::ForeignOwner { store: self.storage.place(), owner }.into());
        }
        if self.writer_mask != 0 {
            let fault = RuleViolation::WriterBit { found: self.writer_mask };
            return Err(StoreError::corrupt(format!("{}/{}", self.storage.place(), names::STORE), 0, fault));
        }
        Ok(())
    }

    /// Returns the bytes written to create the store, once.
    pub fn take_made_bytes(&self) -> u64 {
        self.made_bytes.swap(0, Ordering::SeqCst)
    }

    /// Forbids further writes through this handle: after a failed sync the state of the disk is unknown.
    pub fn poison(&self) {
        self.poisoned.store(true, Ordering::SeqCst);
    }
}
