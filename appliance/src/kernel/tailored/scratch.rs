//! The folder of a build, which goes with it.
//!
//! A build that is killed leaves a gigabyte behind. So each folder has a file that its build holds locked, and the next
//! build removes those of its user that nobody holds.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use tempfile::TempDir;

const PREFIX: &str = "melv-kernel-";
const LOCK: &str = "lock";

/// A folder with a lock.
#[derive(Debug)]
pub(super) struct Scratch {
    folder: TempDir,
    _lock: File,
}

impl Scratch {
    /// Removes folders that nobody holds, and makes one.
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        // Those that cannot be looked at or removed now are there at the next time, too.
        for entry in fs::read_dir(parent)?.flatten() {
            let is_ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
            if is_ours && is_abandoned(&entry.path()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        // It gets its name once it is locked: there is no moment at which another build could take it for abandoned.
        let new = folder.path().join("new");
        let lock = File::create_new(&new)?;
        match lock.try_lock() {
            Ok(()) => fs::rename(new, folder.path().join(LOCK))?,
            // Without locks nobody can tell, and the folder stays when this build is killed.
            Err(_) => fs::remove_file(new)?,
        }
        Ok(Self { folder, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Tells whether a folder is this user's and its lock nobody's.
fn is_abandoned(folder: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    let is_own = fs::symlink_metadata(folder).is_ok_and(|data| data.is_dir() && data.uid() == user);
    is_own && File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_killed_builds_go_and_those_in_use_stay() {
        let parent = tempfile::tempdir().unwrap();
        let used = Scratch::new(parent.path()).unwrap();
        let killed = Scratch::new(parent.path()).unwrap();
        let left = killed.folder.path().to_owned();
        // As a killed process does it: the lock goes, the folder stays.
        let Scratch { folder, _lock } = killed;
        drop(_lock);
        let _ = folder.keep();
        fs::create_dir(parent.path().join("melv-kernel-without-lock")).unwrap();
        fs::create_dir(parent.path().join("other")).unwrap();
        let next = Scratch::new(parent.path()).unwrap();
        assert!(!left.exists() && used.path().exists() && next.path().exists());
        drop((used, next));
        let mut names: Vec<_> =
            fs::read_dir(parent.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["melv-kernel-without-lock", "other"]);
    }
}
