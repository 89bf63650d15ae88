//! The seam under the store: named objects that are written once, front to back, and read by
//! position.
//!
//! | back end | for |
//! |---|---|
//! | [`FileStorage`] | a folder |
//! | [`MemoryStorage`] | tests, examples; can lose its power |
//! | [`FaultyStorage`] | another back end whose *n*th operation fails |
//!
//! A folder stands on `fs`, the few operations of a file system: the system's in `real_fs`, and with
//! feature `model` those of a machine in memory that loses its power.
//!
//! A store needs nothing else of the world: an object store, a database or a network service
//! that keeps these promises can hold one. [`check_contract`] tests an implementation.
//!
//! Names are paths of one to four parts, each of lower-case letters, digits, `.`, `-` and `_`;
//! the store makes them, so an implementation need not check them, but must never follow one out
//! of its own place.

mod contract;
mod faulty;
mod file;
pub(crate) mod fs;
mod machine;
mod medium;
mod memory;
#[cfg(feature = "model")]
#[doc(hidden)]
pub mod model;
mod real_fs;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use contract::check_contract;
pub use faulty::{FaultMode, FaultyStorage, Operation};
pub use file::FileStorage;
pub use machine::Machine;
pub use medium::Medium;
pub use memory::MemoryStorage;

/// One object, read by position from any number of threads.
#[expect(clippy::len_without_is_empty, reason = "an empty object is damage, nobody asks for it")]
pub trait ReadAt: Send + Sync + Debug {
    /// Bytes in the object when it was opened. Objects never change once published.
    fn len(&self) -> u64;

    /// Fills `buf` from byte `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` where the object ends before `buf` does; never a short read.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// When the content last changed, in nanoseconds since 1970, as it was when the object was opened;
    /// `None` where the back end does not know.
    ///
    /// An object that was changed behind the store's back has another stamp than before. An equal
    /// stamp proves nothing: clocks can be set, and so can stamps.
    fn modified_nanos(&self) -> Option<u64> {
        None
    }
}

/// One object being written.
pub trait Append: Send + Sync + Debug {
    /// Appends all of `bytes`. Callers append from one thread at a time.
    ///
    /// # Errors
    /// Those of the medium; some of the bytes may have been written.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Returns once everything appended so far would survive a loss of power under the object's
    /// present name. May be called while another thread appends.
    ///
    /// # Errors
    /// Those of the medium. After one, nothing may be assumed of the object's content.
    fn sync(&self) -> io::Result<()>;
}

/// An object's name and length, as [`Storage::list`] gives it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The whole name.
    pub name: String,
    /// Bytes.
    pub len: u64,
}

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Beside other shared holders.
    Shared,
    /// Alone.
    Exclusive,
}

/// A lock that is held until this is dropped, or its process ends, however it ends.
pub trait Held: Send + Sync + Debug {}

/// Named objects.
pub trait Storage: Send + Sync + Debug {
    /// Where this is, for messages.
    fn place(&self) -> String;

    /// Makes a new object for writing.
    ///
    /// # Errors
    /// `AlreadyExists` where the name is taken.
    fn create(&self, name: &str) -> io::Result<Arc<dyn Append>>;

    /// Opens an object for reading. It stays readable through this handle even if it is removed.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>>;

    /// Gives objects new names, each in one step, replacing what had them; on return all the new
    /// names would survive a loss of power. The objects were synced before.
    ///
    /// # Errors
    /// Those of the medium; some of the names may have been given.
    fn publish(&self, moves: &[(String, String)]) -> io::Result<()>;

    /// Tells the names that [`Storage::publish`] is going to give, so that what they need can be made
    /// durable together. It need not be called, and nothing has a name by it.
    ///
    /// # Errors
    /// Those of the medium.
    fn prepare(&self, names: &[String]) -> io::Result<()> {
        let _ = names;
        Ok(())
    }

    /// Returns once these names, there or not as they are now, would survive a loss of power, whoever
    /// gave or removed them.
    ///
    /// # Errors
    /// Those of the medium.
    fn settle(&self, names: &[String]) -> io::Result<()> {
        let _ = names;
        Ok(())
    }

    /// Gives an object that was published a second name, without copying it. The second name survives
    /// a loss of power once it was published in its turn.
    ///
    /// # Errors
    /// `Unsupported` where the back end cannot: then the caller copies. `NotFound` where there is no
    /// such object, `AlreadyExists` where the second name is taken.
    fn link(&self, name: &str, second: &str) -> io::Result<()> {
        let _ = (name, second);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// All objects whose name is `prefix` followed by `/` and more, in ascending order of names;
    /// all objects for an empty prefix.
    ///
    /// # Errors
    /// Those of the medium. A prefix without objects is an empty list.
    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>>;

    /// Removes objects and then the folders above them that became empty; on return this would
    /// survive a loss of power. Names that are not there are passed over.
    ///
    /// # Errors
    /// Those of the medium.
    fn remove(&self, names: &[String]) -> io::Result<()>;

    /// The user who owns object `name`, where that is neither this process's user nor root: whoever wrote it
    /// may have written anything. `None` also where the back end knows no users.
    fn foreign_owner(&self, name: &str) -> Option<u32> {
        let _ = name;
        None
    }

    /// Takes the lock `name` (no object of that name need exist), waiting up to `wait`.
    ///
    /// # Errors
    /// `WouldBlock` where somebody else holds it for longer.
    fn lock(&self, name: &str, mode: LockMode, wait: Duration) -> io::Result<Box<dyn Held>>;

    /// Takes the lock `name` alone, without waiting, and leaves `mark` in it, where the back end can:
    /// then the lock is an object that others open.
    ///
    /// # Errors
    /// As [`Storage::lock`].
    fn claim(&self, name: &str, mark: &[u8]) -> io::Result<Box<dyn Held>> {
        let _ = mark;
        self.lock(name, LockMode::Exclusive, Duration::ZERO)
    }

    /// The machine whose kernel keeps the locks of this process, if they may be kept by several.
    fn machine(&self) -> Option<Machine> {
        None
    }
}

impl<S: Storage + ?Sized> Storage for Arc<S> {
    fn place(&self) -> String {
        (**self).place()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Append>> {
        (**self).create(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        (**self).open(name)
    }

    fn publish(&self, moves: &[(String, String)]) -> io::Result<()> {
        (**self).publish(moves)
    }

    fn link(&self, name: &str, second: &str) -> io::Result<()> {
        (**self).link(name, second)
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        (**self).list(prefix)
    }

    fn remove(&self, names: &[String]) -> io::Result<()> {
        (**self).remove(names)
    }

    fn foreign_owner(&self, name: &str) -> Option<u32> {
        (**self).foreign_owner(name)
    }

    fn lock(&self, name: &str, mode: LockMode, wait: Duration) -> io::Result<Box<dyn Held>> {
        (**self).lock(name, mode, wait)
    }

    fn prepare(&self, names: &[String]) -> io::Result<()> {
        (**self).prepare(names)
    }

    fn settle(&self, names: &[String]) -> io::Result<()> {
        (**self).settle(names)
    }

    fn claim(&self, name: &str, mark: &[u8]) -> io::Result<Box<dyn Held>> {
        (**self).claim(name, mark)
    }

    fn machine(&self) -> Option<Machine> {
        (**self).machine()
    }
}
