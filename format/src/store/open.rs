//! Opening and creating a store, and what all its handles share.

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

/// Open packs and page files kept, so that a store of thousands of packs needs few descriptors.
const OPEN_OBJECTS_MAX: usize = 256;

/// Stores opened by this process so far, and one. It is four bytes in every cached chunk; after four
/// billion stores it begins again.
static STORES: AtomicU32 = AtomicU32::new(1);

/// How thoroughly frames are checked before their bytes are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VerifyMode {
    /// The stored bytes against their guard, and everything the decoder checks: finds accidents.
    #[default]
    Guard,
    /// Also the decoded blocks against the chunk id: finds a forger too.
    Full,
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The cache to use; share one between all stores of a process.
    pub cache: Cache,
    /// How frames are checked.
    pub verify: VerifyMode,
    /// How long to wait for another process's lock.
    pub lock_wait: Duration,
    /// Whether the cache gets chunks that are read whole, too. Who reads a disk once from front to back
    /// is better off without; a server's next client may read what this one did.
    pub keep_whole_chunks: bool,
    /// Whether writers that another machine began, and those whose journal is damaged, are taken for
    /// dead and cleared away. Only right where nobody else writes to the store.
    pub break_locks: bool,
    /// Whether a store that another user owns, who is not root, is treated as this user's own. Else it is
    /// read with [`VerifyMode::Full`], and not written.
    pub trust_owner: bool,
}

impl Default for StoreOptions {
    /// A cache of 64 MiB of its own, guards, and 30 seconds.
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

/// An open store. Clones are handles of the same one; all methods may be called from many threads.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

/// An object that is held open, and by how many it is needed.
type Pinned = (Arc<dyn ReadAt>, usize);

/// What all handles of one opened store share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub storage: Arc<dyn Storage>,
    pub cache: Cache,
    pub verify: VerifyMode,
    pub lock_wait: Duration,
    pub keep_whole_chunks: bool,
    pub break_locks: bool,
    /// Which of the stores that this process opened.
    pub number: NonZeroU32,
    lists: Mutex<HashMap<Digest, Arc<List>>>,
    objects: Mutex<HashMap<String, Arc<dyn ReadAt>>>,
    /// Objects of images that are served.
    pinned: Mutex<HashMap<String, Pinned>>,
    poisoned: AtomicBool,
    /// The user who owns the store, where that is one who is not trusted.
    foreign_owner: Option<u32>,
    writer_mask: u32,
    /// Where a bundle's bases are; `Some` also for a bundle without any.
    pub bundle: Option<Bundle>,
    /// Bytes of the header, where this handle made the store: its first import counts them.
    made_bytes: AtomicU64,
}

impl Store {
    /// Opens the store in `storage`.
    ///
    /// # Errors
    /// [`StoreError::NoStore`] where there is none, [`BlockError::Unsupported`](crate::BlockError::Unsupported) where it needs a newer melv.
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

    /// Opens the store in `storage`, making it first where there is none and nothing else.
    ///
    /// # Errors
    /// As [`Store::open`]; [`StoreError::NoStore`] also where the place holds other things.
    pub fn create(storage: impl Storage + 'static, options: StoreOptions) -> Result<Self> {
        let storage: Arc<dyn Storage> = Arc::new(storage);
        match Self::open_shared(storage.clone(), options.clone()) {
            Err(error) if error.kind() == ErrorKind::NoStore => {
                let made_bytes = make_store(storage.as_ref(), options.lock_wait)?;
                // Made here and now: a file system that gives what is made to somebody else changes nothing.
                let trust_owner = options.trust_owner || made_bytes > 0;
                let store = Self::open_shared(storage, StoreOptions { trust_owner, ..options })?;
                store.shared.made_bytes.store(made_bytes, Ordering::SeqCst);
                Ok(store)
            }
            other => other,
        }
    }

    /// Opens the store in the folder `path`, making it where there is none.
    ///
    /// # Errors
    /// As [`Store::create`].
    pub fn create_folder(path: impl AsRef<Path>, options: StoreOptions) -> Result<Self> {
        // Looked at before anything is written there, and without walking all of it.
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

    /// Opens a store, or what a bundle shows as one.
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

    /// The storage that holds this store.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.shared.storage
    }

    /// The cache that this store's images use.
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
    /// Whether the store's header still has its name.
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

/// Makes the header of a new store in a place that holds nothing else; gives the bytes written.
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

/// Reads all of a small object.
pub(crate) fn read_object(storage: &dyn Storage, name: &str, len_max: u64) -> Result<Bytes> {
    let object = storage.open(name).map_err(|error| StoreError::unopened(name, error))?;
    if object.len() > len_max {
        let fault = Fault::Limit { what: "object length", found: object.len(), max: len_max };
        return Err(StoreError::corrupt(name, 0, fault));
    }
    read_range(object.as_ref(), name, 0, object.len())
}

/// Reads a range of an object that is known to have it or is checked to.
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
    /// Takes the lock under which references change.
    pub fn lock(&self) -> Result<Box<dyn Held>> {
        take_lock(self.storage.as_ref(), self.lock_wait)
    }

    /// The store that has the bases of this bundle, and their records.
    pub fn bases(&self) -> Option<(&Arc<Self>, &[super::record::Record])> {
        self.bundle.as_ref()?.bases()
    }

    /// Fails where this handle must not write.
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

    /// The bytes that making the store took, once.
    pub fn take_made_bytes(&self) -> u64 {
        self.made_bytes.swap(0, Ordering::SeqCst)
    }

    /// After a failed sync nobody knows what is on the disk: no more writes through this handle.
    pub fn poison(&self) {
        self.poisoned.store(true, Ordering::SeqCst);
    }

    /// An object for reading, from the few that are kept open.
    pub fn open_object(&self, name: &str) -> Result<Arc<dyn ReadAt>> {
        self.open_checked(name, 0, |_| Ok(()))
    }

    /// An object for reading, from the few that are kept open; its first `head_len` bytes are
    /// checked when it is opened.
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

    /// An object for reading that something which was read has named, as it is now.
    pub fn open_anew(&self, name: &str) -> Result<Arc<dyn ReadAt>> {
        self.storage.open(name).or_else(|error| match (error.kind(), self.pinned(name)) {
            // Removed while it is served.
            (std::io::ErrorKind::NotFound, Some(object)) => Ok(object),
            (std::io::ErrorKind::NotFound, None) => Err(StoreError::corrupt(name, 0, Fault::Missing)),
            _ => Err(StoreError::unopened(name, error)),
        })
    }

    /// An object that is kept open.
    pub fn kept_object(&self, name: &str) -> Option<Arc<dyn ReadAt>> {
        self.objects().get(name).cloned()
    }

    /// Keeps an object open under `name`, for a while.
    pub fn keep_object(&self, name: &str, object: Arc<dyn ReadAt>) {
        let mut objects = self.objects();
        if objects.len() >= OPEN_OBJECTS_MAX {
            // Which ones go matters little: what is open is a convenience, not a cache of content.
            let mut keep = false;
            objects.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        objects.insert(name.into(), object);
    }

    /// Lets go of an object that may have been replaced.
    pub fn forget_object(&self, name: &str) {
        self.objects().remove(name);
    }

    /// Lets go of all lists, so that they are looked at as they are now.
    pub fn forget_lists(&self) {
        let known: Vec<Digest> = {
            let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
            lists.keys().copied().collect()
        };
        known.iter().for_each(|id| self.forget_list(id));
    }

    /// Lets go of a list that may have been replaced by one that holds more.
    pub fn forget_list(&self, id: &Digest) {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.forget_object(&names::object(names::LISTS, id));
    }

    fn pinned(&self, name: &str) -> Option<Arc<dyn ReadAt>> {
        self.pins().get(name).map(|(object, _)| object.clone())
    }

    /// Holds an object open until [`Shared::unpin_object`] was called as often as this.
    pub fn pin_object(&self, name: &str) -> Result<()> {
        if let Some((_, users)) = self.pins().get_mut(name) {
            *users += 1;
            return Ok(());
        }
        // What may be replaced is pinned as it is now.
        let never_moved = [names::PACKS, names::PAGES].iter().any(|folder| name.starts_with(folder));
        let object = if never_moved { self.open_object(name)? } else { self.open_anew(name)? };
        self.pins().entry(name.into()).or_insert((object, 0)).1 += 1;
        Ok(())
    }

    /// Ends what one [`Shared::pin_object`] began.
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

    /// The list `id`; `shape` is what a manifest says of it, if one is at hand.
    pub fn list(self: &Arc<Self>, id: &Digest, shape: Option<ListShape>) -> Result<Arc<List>> {
        let lists = || self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lists().get(id).cloned();
        match known {
            Some(list) if list.is_proved() => {
                list.check_shape(shape)?;
                return Ok(list);
            }
            // So far the shape is what a manifest claims; another claim is settled by the root.
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
