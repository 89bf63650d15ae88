//! The attributes of folders and disks, for `stat` and `getfattr`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};

use crate::inodes::DiskFile;

/// The extended attribute with the image id.
pub(crate) const IMAGE: &str = "user.melv.image";
/// The extended attribute with the content id.
pub(crate) const CONTENT: &str = "user.melv.content";
/// The names of both, each terminated by a zero byte, in the form of `listxattr`.
pub(crate) const NAMES: &[u8] = b"user.melv.image\0user.melv.content\0";

/// The owner of all files and folders: the user that mounted them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    /// Returns the user of this process.
    pub fn of_process() -> Self {
        Self { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }

    /// Returns the attributes of a folder.
    pub fn folder(self, number: u64) -> FileAttr {
        // A link count of 1 tells programs that subfolders are not counted.
        self.attributes(number, FileType::Directory, 0o555, UNIX_EPOCH)
    }

    /// Returns the attributes of a disk.
    pub fn file(self, number: u64, file: &DiskFile) -> FileAttr {
        // Only a damaged record can have a time that overflows.
        let created = UNIX_EPOCH.checked_add(Duration::from_secs(file.created_seconds));
        let attributes = self.attributes(number, FileType::RegularFile, 0o444, created.unwrap_or(UNIX_EPOCH));
        FileAttr { size: file.size, blocks: file.data_bytes.div_ceil(512), ..attributes }
    }

    fn attributes(self, number: u64, kind: FileType, perm: u16, time: SystemTime) -> FileAttr {
        FileAttr {
            ino: INodeNo(number),
            size: 0,
            blocks: 0,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink: 1,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}
