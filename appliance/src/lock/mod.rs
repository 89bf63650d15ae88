//! The lock: a file beside the declaration that says which bytes an appliance is made of.
//!
//! A declaration names packages; an archive changes under these names. The lock keeps the answer of one day: each
//! package with its version, its place in the archive, its size and its SHA-256. With it a build needs neither apt
//! nor Debian, only a server that still has the files. It never accepts another file than the one of the digest.
//!
//! The file is TOML, since people read it in reviews. [`Lock::to_toml`] has one form for each value: a fixed order of
//! keys, packages by name, no option of layout. [`Lock::parse`] accepts any order, but no unknown key: a key that is
//! not understood might be one that changes the image. A lock of another version is refused before its keys are
//! looked at.
//!
//! | file | job |
//! |---|---|
//! | `text` | names, versions, paths and addresses that are checked once, when they are made |
//! | `date` | the time of the archive, and its form in addresses of a snapshot archive |
//! | `version` | the order of Debian's versions |
//! | `value` | the lock as a value |
//! | `read`, `write` | bytes to value, value to bytes; both pure |
//! | `change_text` | the differences, as people read them |
//! | `changes` | the differences of two locks, for the report of an update |
//! | `stale` | whether a lock answers the question of a declaration |
//! | `error` | faults with line and column |

mod change_text;
mod changes;
mod date;
mod error;
mod read;
mod stale;
mod text;
mod value;
mod version;
mod write;

pub use changes::{Change, Difference, Role, changes};
pub use date::{Date, InvalidDate};
pub use error::{LockError, Rule};
pub use stale::{Asked, Stale};
pub use text::{
    ArchiveName, Component, InvalidText, LocalPath, PackageName, PoolPath, Recipe, SuiteName, Uri, Version,
};
pub use value::{
    Architecture, Archive, Kernel, KernelKind, LocalFile, Lock, OciImage, Package, Repository, Request,
};
pub use version::compare;

/// The version of the lock's form that is written, and the only one that is read.
pub const LOCK_VERSION: i64 = 1;

/// Longest lock in bytes: some 20,000 packages.
pub const MAX_LOCK_BYTES: usize = 8 << 20;

/// Largest file in bytes that a lock may name.
pub const MAX_FILE_BYTES: u64 = 16 << 30;
