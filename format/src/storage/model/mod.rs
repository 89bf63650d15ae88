//! A machine in memory whose power can go at any moment: for tests of what is synced, and when.
//!
//! It stands beneath [`FileStorage`], in the place of the system's file system, and knows of each file
//! and folder what would survive. From a [`Moment`] of it any number of *crash states* are made:
//!
//! - Of bytes that were not synced, each sector of 512 bytes is what it was, what it became, zeros or
//!   noise, in runs; the file is as long as it was, as it became, or between.
//! - Of names that were not synced there are two models. [`Names::Ordered`]: all of them were given in
//!   one sequence, of which some beginning is there, as ext4 and XFS do it. [`Names::Loose`]: each
//!   name is as it was or as it became at some time since, for itself, as POSIX allows: a rename may
//!   show in both folders, in one or in neither.
//! - Locks are free.
//!
//! Several processes can use a machine, each through a [`ModelFs`] of its own, and be killed: the
//! machine goes on then, with all that they had done.
//!
//! | file | idea |
//! |---|---|
//! | `state` | files, folders and names, now and durably |
//! | `crash` | what a loss of power leaves of a state |
//! | `process` | a process that does things and can be killed |

mod crash;
mod process;
mod state;

pub use crash::Moment;
pub use process::ModelFs;
pub use state::Names;

pub use super::fs::SyncPoint;

use super::FileStorage;

/// Where the storage of a model lies: on a disk that is mounted there, two folders deep.
pub const PLACE: &str = "/disk/shared/store";

impl ModelFs {
    /// The folder of the machine that holds a store, as this process sees it.
    #[must_use]
    pub fn storage(&self) -> FileStorage<Self> {
        FileStorage::on(self.clone(), PLACE)
    }
}
