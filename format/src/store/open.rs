//! Opens and creates stores, and holds the state shared by all handles.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::bundle::Bundle;
use super::list::List;
use super::names;
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result, StoreError};
use crate::fault::Fault;
use crate::limits::CACHE_BYTES_DEFAULT;
use crate::ondisk::list::ListShape;
use crate::ondisk::store_header;
use crate::storage::{FileStorage, Held, LockMode, ReadAt, Storage};

/// Packs and page files kept open, so that a store of thousands of packs needs few descriptors.
const OPEN_OBJECTS_MAX: usize = 256;

/// The number of the next store opened by this process. It takes four bytes in every cached chunk, and
/// wraps around after four billion stores.
static STORES: AtomicU32 = AtomicU32::new(1);

/// The thoroughness of checks on frames before their bytes are returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VerifyMode {
    /// Checks the stored bytes against their guard, and all of the decoder's rules: finds accidental
    /// damage.
    #[default]
    Guard,
    /// Also checks the decoded blocks against the chunk id: detects forgery too.
    Full,
}

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
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

/// An object held open, and its number of users.
type Pinned = (Arc<dyn ReadAt>, usize);

/// The state shared by all handles of one opened store.
#[derive(Debug)]
pub(crate) struct Shared {
    pub storage: Arc<dyn Storage>,
    pub cache: Cache,
    pub verify: VerifyMode,
    pub lock_wait: Duration,
    pub keep_whole_chunks: bool,
    pub break_locks: bool,
    /// The store's number within this process.
    pub number: NonZeroU32,
    lists: Mutex<HashMap<Digest, Arc<List>>>,
    objects: Mutex<HashMap<String, Arc<dyn ReadAt>>>,
    /// Objects of images being served.
    pinned: Mutex<HashMap<String, Pinned>>,
    poisoned: AtomicBool,
    /// The user who owns the store, if untrusted.
    foreign_owner: Option<u32>,
    writer_mask: u32,
    /// The bundle's bases; `Some` even for a bundle without any.
    pub bundle: Option<Bundle>,
    /// The length of the header in bytes if this handle created the store; its first import counts it.
    made_bytes: AtomicU64,
}

impl Store {
    /// Opens the store in `storage`.
    ///
    /// # Errors
    /// [`StoreError::NoStore`] if there is none, [`BlockError::Unsupported`](crate::BlockError::Unsupported) if it needs a newer melv.
    pub fn open(storage: impl Storage + 'static, options: StoreOptions) -> Result<Self> {
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
    pub fn create(storage: impl Storage + 'static, options: StoreOptions) -> Result<Self> {
        let storage: Arc<dyn Storage> = Arc::new(storage);
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
        let ours = [names::STORE, names::LOCK, names::TMP];
        let foreign =
            folder.foreign_entry(&ours).map_err(|error| Error::io("list", folder.place(), error))?;
        if let Some(foreign) = foreign
            && folder.open(names::STORE).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        {
            return Err(StoreError::NoStore {
                path: format!("{} (which holds other files, as {foreign})", folder.place()),
            }
            .into());
        }
        Self::create(FileStorage::new(path.as_ref()), options)
    }

    fn open_shared(storage: Arc<dyn Storage>, options: StoreOptions) -> Result<Self> {
        Self::open_with(storage, options, None)
    }

    /// Opens a store, or a bundle presented as one.
    pub(super) fn open_with(
        storage: Arc<dyn Storage>,
        options: StoreOptions,
        bundle: Option<Bundle>,
    ) -> Result<Self> {
        let bytes = match read_object(storage.as_ref(), names::STORE, 4096) {
            Err(error) if error.is_not_found() => {
                return Err(StoreError::NoStore { path: storage.place() }.into());
            }
            other => other?,
        };
        let object = format!("{}/{}", storage.place(), names::STORE);
        let header = store_header::decode(&bytes).map_err(|fault| StoreError::corrupt(object, 0, fault))?;
        let foreign_owner = storage.foreign_owner(names::STORE).filter(|_| !options.trust_owner);
        let shared = Shared {
            storage,
            cache: options.cache,
            verify: if foreign_owner.is_some() { VerifyMode::Full } else { options.verify },
            lock_wait: options.lock_wait,
            keep_whole_chunks: options.keep_whole_chunks,
            break_locks: options.break_locks,
            number: NonZeroU32::new(STORES.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU32::MAX),
            lists: Mutex::default(),
            objects: Mutex::default(),
            pinned: Mutex::default(),
            poisoned: AtomicBool::new(false),
            foreign_owner,
            writer_mask: header.writer_mask,
            bundle,
            made_bytes: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Returns the storage that holds this store.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.shared.storage
    }

    /// Returns the cache that this store's images use.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.shared.cache
    }

    /// Checks that the store's header still exists.
    ///
    /// # Errors
    /// [`StoreError::NoStore`]; an I/O error.
    pub fn check_exists(&self) -> Result<()> {
        self.shared.check_is_there()
    }
}

impl Shared {
    /// Fails unless the store's header still exists.
    pub fn check_is_there(&self) -> Result<()> {
        match self.storage.open(names::STORE) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(StoreError::NoStore { path: self.storage.place() }.into())
            }
            Err(error) => Err(StoreError::unopened(names::STORE, error)),
        }
    }
}

/// Creates the header of a new store in an otherwise empty place. Returns the bytes written.
fn make_store(storage: &dyn Storage, wait: Duration) -> Result<u64> {
    let _lock = take_lock(storage, wait)?;
    let listed = storage.list("").map_err(|error| Error::io("list", storage.place(), error))?;
    if listed.iter().any(|object| object.name == names::STORE) {
        return Ok(0);
    }
    let ours = |name: &str| name == names::LOCK || name.starts_with("tmp/");
    if listed.iter().any(|object| !ours(&object.name)) {
        return Err(
            StoreError::NoStore { path: format!("{} (which holds other files)", storage.place()) }.into()
        );
    }
    let temporary = format!("{}/{}", names::TMP, names::STORE);
    let failed = |operation| move |error| Error::io(operation, names::STORE, error);
    storage.remove(std::slice::from_ref(&temporary)).map_err(failed("clear"))?;
    let object = storage.create(&temporary).map_err(failed("create"))?;
    let header = store_header::encode();
    object.append(&header).map_err(failed("append to"))?;
    object.sync().map_err(failed("sync"))?;
    storage.publish(&[(temporary, names::STORE.into())]).map_err(failed("publish"))?;
    Ok(header.len() as u64)
}

fn take_lock(storage: &dyn Storage, wait: Duration) -> Result<Box<dyn Held>> {
    storage.lock(names::LOCK, LockMode::Exclusive, wait).map_err(|error| {
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

/// Reads a small object whole.
pub(crate) fn read_object(storage: &dyn Storage, name: &str, len_max: u64) -> Result<Bytes> {
    let object = storage.open(name).map_err(|error| StoreError::unopened(name, error))?;
    if object.len() > len_max {
        let fault = Fault::Limit { what: "object length", found: object.len(), max: len_max };
        return Err(StoreError::corrupt(name, 0, fault));
    }
    read_range(object.as_ref(), name, 0, object.len())
}

/// Reads a range of an object, and checks that the object is long enough.
pub(crate) fn read_range(object: &dyn ReadAt, name: &str, offset: u64, len: u64) -> Result<Bytes> {
    let needed = offset.saturating_add(len);
    if needed > object.len() {
        return Err(StoreError::corrupt(name, offset, Fault::Truncated { needed, found: object.len() }));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    object
        .read_exact_at(&mut bytes, offset)
        .map_err(|error| Error::io("read", format!("{name} at byte {offset}"), error))?;
    Ok(bytes.into())
}

impl Shared {
    /// Takes the lock for changing references.
    pub fn lock(&self) -> Result<Box<dyn Held>> {
        take_lock(self.storage.as_ref(), self.lock_wait)
    }

    /// Returns the store with this bundle's bases, and their records.
    pub fn bases(&self) -> Option<(&Arc<Self>, &[super::record::Record])> {
        self.bundle.as_ref()?.bases()
    }

    /// Fails if this handle must not write.
    pub fn check_writable(&self) -> Result<()> {
        if self.bundle.is_some() {
            return Err(StoreError::ReadOnly { object: self.storage.place() }.into());
        }
        if self.poisoned.load(Ordering::SeqCst) {
            return Err(StoreError::Poisoned.into());
        }
        if let Some(owner) = self.foreign_owner {
            return Err(StoreError::ForeignOwner { store: self.storage.place(), owner }.into());
        }
        if self.writer_mask != 0 {
            let fault = Fault::WriterBit { found: self.writer_mask };
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

    /// Opens an object for reading, or returns it from the open-object cache.
    pub fn open_object(&self, name: &str) -> Result<Arc<dyn ReadAt>> {
        self.open_checked(name, 0, |_| Ok(()))
    }

    /// Opens an object for reading, or returns it from the open-object cache. Checks its first `head_len`
    /// bytes when opening it.
    pub fn open_checked(
        &self,
        name: &str,
        head_len: u64,
        check: impl FnOnce(&[u8]) -> std::result::Result<(), Fault>,
    ) -> Result<Arc<dyn ReadAt>> {
        if let Some(object) = self.kept_object(name) {
            return Ok(object);
        }
        let object = self.open_anew(name)?;
        if head_len > 0 {
            let head = read_range(object.as_ref(), name, 0, head_len)?;
            check(&head).map_err(|fault| StoreError::corrupt(name, 0, fault))?;
        }
        self.keep_object(name, object.clone());
        Ok(object)
    }

    /// Opens an object in its current state. Another object refers to this one, so its absence is damage.
    pub fn open_anew(&self, name: &str) -> Result<Arc<dyn ReadAt>> {
        self.storage.open(name).or_else(|error| match (error.kind(), self.pinned(name)) {
            // Removed while being served.
            (std::io::ErrorKind::NotFound, Some(object)) => Ok(object),
            (std::io::ErrorKind::NotFound, None) => Err(StoreError::corrupt(name, 0, Fault::Missing)),
            _ => Err(StoreError::unopened(name, error)),
        })
    }

    /// Returns an object from the open-object cache.
    pub fn kept_object(&self, name: &str) -> Option<Arc<dyn ReadAt>> {
        self.objects().get(name).cloned()
    }

    /// Adds an object to the open-object cache under `name`.
    pub fn keep_object(&self, name: &str, object: Arc<dyn ReadAt>) {
        let mut objects = self.objects();
        if objects.len() >= OPEN_OBJECTS_MAX {
            // The choice hardly matters: this caches descriptors, not content.
            let mut keep = false;
            objects.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        objects.insert(name.into(), object);
    }

    /// Closes an object that may have been replaced.
    pub fn forget_object(&self, name: &str) {
        self.objects().remove(name);
    }

    /// Drops all cached lists, so that later reads see their current state.
    pub fn forget_lists(&self) {
        let known: Vec<Digest> = {
            let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
            lists.keys().copied().collect()
        };
        known.iter().for_each(|id| self.forget_list(id));
    }

    /// Drops a list that may have been replaced by a fuller one.
    pub fn forget_list(&self, id: &Digest) {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.forget_object(&names::object(names::LISTS, id));
    }

    fn pinned(&self, name: &str) -> Option<Arc<dyn ReadAt>> {
        self.pins().get(name).map(|(object, _)| object.clone())
    }

    /// Holds an object open until a matching call of [`Shared::unpin_object`].
    pub fn pin_object(&self, name: &str) -> Result<()> {
        if let Some((_, users)) = self.pins().get_mut(name) {
            *users += 1;
            return Ok(());
        }
        // Open replaceable objects anew, to pin their current state.
        let never_moved = [names::PACKS, names::PAGES].iter().any(|folder| name.starts_with(folder));
        let object = if never_moved { self.open_object(name)? } else { self.open_anew(name)? };
        self.pins().entry(name.into()).or_insert((object, 0)).1 += 1;
        Ok(())
    }

    /// Reverts one [`Shared::pin_object`].
    pub fn unpin_object(&self, name: &str) {
        let mut pins = self.pins();
        if let Some((_, users)) = pins.get_mut(name) {
            *users -= 1;
            if *users == 0 {
                pins.remove(name);
            }
        }
    }

    fn pins(&self) -> std::sync::MutexGuard<'_, HashMap<String, Pinned>> {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn objects(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<dyn ReadAt>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns list `id`. `shape` is a manifest's claim about it, if available.
    pub fn list(self: &Arc<Self>, id: &Digest, shape: Option<ListShape>) -> Result<Arc<List>> {
        let lists = || self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lists().get(id).cloned();
        match known {
            Some(list) if list.is_proved() => {
                list.check_shape(shape)?;
                return Ok(list);
            }
            // The shape is only a manifest's claim so far; the root settles a differing claim.
            Some(list) if shape == Some(list.shape) => return Ok(list),
            Some(_) => {
                let list = Arc::new(List::open(self, *id, None)?);
                lists().insert(*id, list.clone());
                list.check_shape(shape)?;
                return Ok(list);
            }
            None => {}
        }
        let list = Arc::new(List::open(self, *id, shape)?);
        Ok(lists().entry(*id).or_insert(list).clone())
    }
}
