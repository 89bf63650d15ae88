//! Control groups: one for each process that the init starts, so that all its children end with it.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
};

use crate::sys;

const SIGKILL: u8 = 9;

/// A control group, or nothing on a kernel without them.
#[derive(Debug)]
pub struct Group {
    path: Option<PathBuf>,
}

impl Group {
    /// Makes the group `name`, or takes the one that is there.
    pub fn new(name: &str) -> Self {
        let path = Path::new("/sys/fs/cgroup/melv").join(name);
        let _ = fs::create_dir(&path);
        Self { path: path.join("cgroup.procs").exists().then_some(path) }
    }

    /// Opens the file through which a process joins.
    pub fn door(&self) -> Option<File> {
        OpenOptions::new().write(true).open(self.path.as_ref()?.join("cgroup.procs")).ok()
    }

    /// Kills all processes of the group; without one, those of the session of `pid`.
    pub fn kill(&self, pid: Option<i32>) {
        let killed = self.path.as_ref().is_some_and(|path| fs::write(path.join("cgroup.kill"), "1").is_ok());
        if let (false, Some(pid)) = (killed, pid) {
            // It fails if nothing is left, which is as good.
            let _ = sys::kill(-pid, SIGKILL);
        }
    }
}
