//! A machine in memory that can lose power at any moment, for tests of the order of syncs.
//!
//! It replaces the system's file system below [`FileStorage`], and tracks the durable state of each file
//! and folder. A [`Moment`] of it yields any number of *crash states*:
//!
//! - In unsynced bytes, each sector of 512 bytes holds its old bytes, its new bytes, zeros or noise, in
//!   runs. The length of the file is the old one, the new one, or between.
//! - For unsynced names there are two models. [`Names::Ordered`]: all names form one sequence, and a
//!   prefix of it survives, as with ext4 and XFS. [`Names::Loose`]: each name independently has its old
//!   value or any later one, as POSIX allows. A rename may show in both folders, in one or in neither.
//! - Locks are free.
//!
//! Several processes can use a machine, each through its own [`ModelFs`]. Processes can be killed; the
//! machine keeps all their completed changes.
//!
//! | file | idea |
//! |---|---|
//! | `state` | files, folders and names, current and durable |
//! | `crash` | states after a loss of power |
//! | `process` | a process that makes changes and can be killed |

mod crash;
mod process;
mod state;

pub use crash::Moment;
pub use process::ModelFs;
pub use state::Names;

pub use super::fs::SyncPoint;

use super::FileStorage;

/// The path of the model's storage, two folders deep on a mounted disk.
pub const PLACE: &str = "/disk/shared/store";

impl ModelFs {
    /// Returns the machine's folder for a store, as seen by this process.
    #[must_use]
    pub fn storage(&self) -> FileStorage<Self> {
        FileStorage::on(self.clone(), PLACE)
    }
}
