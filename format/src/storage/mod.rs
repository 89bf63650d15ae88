//! The interface below the store: named objects that are written once, front to back, and read by
//! position.
//!
//! | back end | use |
//! |---|---|
//! | [`FileStorage`] | a folder |
//! | [`MemoryStorage`] | tests and examples; simulates power loss |
//!
//! A folder uses `fs`, the few operations of a file system. `real_fs` implements them on the operating
//! system. With feature `model`, an in-memory machine that loses its power implements them too.
//!
//! A store needs nothing else: an object store, a database or a network service that keeps these promises
//! can hold one. The crate `melv-testing` has a function that tests an implementation.
//!
//! Names are checked: see [`ObjectName`]. An implementation must never follow a name out of its own place,
//! such as through a symbolic link.

mod bytes;
mod file;
pub(crate) mod fs;
mod local_file;
mod machine;
mod memory;
#[cfg(feature = "model")]
#[doc(hidden)]
pub mod model;
mod object_name;
mod open_file;
mod real_fs;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use bytes::BytesObject;
pub use file::FileStorage;
pub use machine::Machine;
pub use melv_block::LocalFile;
pub use memory::MemoryStorage;
pub use object_name::{NotObjectName, ObjectName};

/// An object, read by position from any number of threads.
#[expect(clippy::len_without_is_empty, reason = "an empty object is damage, nobody asks for it")]
pub trait ReadAt: Send + Sync + Debug {
    /// Returns the length of the object in bytes when it was opened. Published objects never change.
    fn len(&self) -> u64;

    /// Fills `buf` from byte `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the object is too short; there are no short reads.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Returns the time of the last content change before the object was opened, in nanoseconds since
    /// 1970; `None` if the back end does not know it.
    ///
    /// A different stamp reveals a change behind the store's back. An equal stamp proves nothing: clocks
    /// and stamps can be set.
    fn modified_nanos(&self) -> Option<u64> {
        None
    }
}

/// An object being written.
pub trait Append: Send + Sync + Debug {
    /// Appends all of `bytes`. Callers append from one thread at a time.
    ///
    /// # Errors
    /// Errors of the medium; some of the bytes may have been written.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything appended so far survive a loss of power under the object's current name. May be
    /// called while another thread appends.
    ///
    /// # Errors
    /// Errors of the medium. After an error, the object's content is undefined.
    fn sync(&self) -> io::Result<()>;
}

/// The name and length of an object, returned by [`ObjectSource::list`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The full name.
    pub name: ObjectName,
    /// The length, in bytes.
    pub len: u64,
}

/// The mode of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Allows other shared holders.
    Shared,
    /// Excludes all other holders.
    Exclusive,
}

/// A lock that is held until this is dropped or its process ends in any way.
pub trait LockGuard: Send + Sync + Debug {}

/// Named objects that can be read.
pub trait ObjectSource: Send + Sync + Debug {
    /// Returns the location, for messages.
    fn place(&self) -> String;

    /// Opens an object for reading. It stays readable through this handle even if it is removed.
    ///
    /// # Errors
    /// `NotFound` if it does not exist.
    fn open(&self, name: &ObjectName) -> io::Result<Arc<dyn ReadAt>>;

    /// Lists all objects whose name begins with `prefix` and `/`, in ascending order of names; all
    /// objects for an empty prefix.
    ///
    /// # Errors
    /// Errors of the medium. A prefix without objects gives an empty list.
    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>>;

    /// Returns the owner of object `name` if it is neither this process's user nor root: such an owner
    /// may have written anything. Returns `None` as well if the back end has no users.
    fn foreign_owner(&self, name: &ObjectName) -> Option<u32> {
        let _ = name;
        None
    }
}

/// Named objects that change: each appears whole, is replaced whole, or is removed.
pub trait ObjectStore: ObjectSource {
    /// Renames objects, each atomically, replacing any objects with the new names. On return all new
    /// names survive a loss of power. The objects must have been synced.
    ///
    /// # Errors
    /// Errors of the medium; some objects may have been renamed.
    fn publish(&self, moves: &[(ObjectName, ObjectName)]) -> io::Result<()>;

    /// Announces the names for the next [`ObjectStore::publish`], so that their folders can be made durable
    /// together. The call is optional and gives no names.
    ///
    /// # Errors
    /// Errors of the medium.
    fn prepare(&self, names: &[ObjectName]) -> io::Result<()> {
        let _ = names;
        Ok(())
    }

    /// Makes the present state of these names, existing or not, survive a loss of power. This includes
    /// names that other processes gave or removed.
    ///
    /// # Errors
    /// Errors of the medium.
    fn settle(&self, names: &[ObjectName]) -> io::Result<()> {
        let _ = names;
        Ok(())
    }

    /// Gives a published object a second name without copying it. The second name survives a loss of
    /// power only after it has been published in turn.
    ///
    /// # Errors
    /// `Unsupported` if the back end cannot; then the caller copies. `NotFound` if the object does not
    /// exist, `AlreadyExists` if the second name is taken.
    fn link(&self, name: &ObjectName, second: &ObjectName) -> io::Result<()> {
        let _ = (name, second);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Removes objects, then folders above them that became empty. On return the removal survives a loss
    /// of power. Skips missing names.
    ///
    /// # Errors
    /// Errors of the medium.
    fn remove(&self, names: &[ObjectName]) -> io::Result<()>;

    /// Takes the lock `name`, waiting up to `wait`. No object of that name need exist.
    ///
    /// # Errors
    /// `WouldBlock` if another process holds it for longer.
    fn lock(&self, name: &ObjectName, mode: LockMode, wait: Duration) -> io::Result<Box<dyn LockGuard>>;

    /// Takes the lock `name` exclusively without waiting. If the back end can, it stores `mark` in the
    /// lock, which other processes can then open as an object.
    ///
    /// # Errors
    /// As [`ObjectStore::lock`].
    fn claim(&self, name: &ObjectName, mark: &[u8]) -> io::Result<Box<dyn LockGuard>> {
        let _ = mark;
        self.lock(name, LockMode::Exclusive, Duration::ZERO)
    }

    /// Returns the machine whose kernel holds this process's locks, if several machines may hold locks.
    fn machine(&self) -> Option<Machine> {
        None
    }
}

/// Objects in the making, beside those of an [`ObjectStore`]: always on this machine.
///
/// A writer appends to them piece by piece, and reads them back by [`ObjectSource::open`]. They get their
/// final names by [`ObjectStore::publish`], or are removed.
pub trait Scratch: Send + Sync + Debug {
    /// Creates an object for writing.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken.
    fn create(&self, name: &ObjectName) -> io::Result<Arc<dyn Append>>;
}

/// A folder on this machine that holds a store: its objects, and the work of its writers. Every type that
/// is both an [`ObjectStore`] and a [`Scratch`] is one.
pub trait LocalFolder: ObjectStore + Scratch {}

impl<F: ObjectStore + Scratch + ?Sized> LocalFolder for F {}

impl<S: ObjectSource + ?Sized> ObjectSource for Arc<S> {
    fn place(&self) -> String {
        (**self).place()
    }

    fn open(&self, name: &ObjectName) -> io::Result<Arc<dyn ReadAt>> {
        (**self).open(name)
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        (**self).list(prefix)
    }

    fn foreign_owner(&self, name: &ObjectName) -> Option<u32> {
        (**self).foreign_owner(name)
    }
}

impl<S: ObjectStore + ?Sized> ObjectStore for Arc<S> {
    fn publish(&self, moves: &[(ObjectName, ObjectName)]) -> io::Result<()> {
        (**self).publish(moves)
    }

    fn prepare(&self, names: &[ObjectName]) -> io::Result<()> {
        (**self).prepare(names)
    }

    fn settle(&self, names: &[ObjectName]) -> io::Result<()> {
        (**self).settle(names)
    }

    fn link(&self, name: &ObjectName, second: &ObjectName) -> io::Result<()> {
        (**self).link(name, second)
    }

    fn remove(&self, names: &[ObjectName]) -> io::Result<()> {
        (**self).remove(names)
    }

    fn lock(&self, name: &ObjectName, mode: LockMode, wait: Duration) -> io::Result<Box<dyn LockGuard>> {
        (**self).lock(name, mode, wait)
    }

    fn claim(&self, name: &ObjectName, mark: &[u8]) -> io::Result<Box<dyn LockGuard>> {
        (**self).claim(name, mark)
    }

    fn machine(&self) -> Option<Machine> {
        (**self).machine()
    }
}

impl<S: Scratch + ?Sized> Scratch for Arc<S> {
    fn create(&self, name: &ObjectName) -> io::Result<Arc<dyn Append>> {
        (**self).create(name)
    }
}
