//! A file system that does nothing: the floor for melv's.
//!
//! ```text
//! bare_fuse DIR SIZE    DIR/disk of SIZE bytes, until DIR is unmounted
//! ```
//!
//! One static buffer, which stays in the CPU cache, answers every read. Threads, queues, background requests
//! and open flags match `melv-fuse`, so only the kernel and `fuser` remain.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen, Request,
};
use melv_fuse::BACKGROUND;

const FOREVER: Duration = Duration::from_secs(3600);
/// The longest request that Linux makes by default.
const REQUEST_MAX: usize = 1 << 20;
const DISK: INodeNo = INodeNo(2);

/// A buffer aligned to a page, since the kernel copies by pages.
#[repr(align(4096))]
struct Aligned([u8; REQUEST_MAX]);

static BYTES: Aligned = Aligned([0x5a; REQUEST_MAX]);

#[derive(Debug)]
struct Bare {
    size: u64,
}

impl Bare {
    fn attributes(&self, number: INodeNo) -> FileAttr {
        let is_disk = number == DISK;
        FileAttr {
            ino: number,
            size: if is_disk { self.size } else { 0 },
            blocks: self.size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_disk { FileType::RegularFile } else { FileType::Directory },
            perm: if is_disk { 0o444 } else { 0o555 },
            nlink: 1,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Bare {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let _ = config.set_max_background(BACKGROUND);
        let _ = config.set_congestion_threshold(BACKGROUND / 4 * 3);
        for faster in [InitFlags::FUSE_PARALLEL_DIROPS, InitFlags::FUSE_ASYNC_DIO] {
            let _ = config.add_capabilities(faster);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == "disk" {
            reply.entry(&FOREVER, &self.attributes(DISK), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attributes(number));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let len = self.size.saturating_sub(offset).min(u64::from(size)) as usize;
        match BYTES.0.get(..len) {
            Some(bytes) => reply.data(bytes),
            None => reply.error(Errno::EINVAL),
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        if offset == 0 {
            let _ = reply.add(DISK, 1, FileType::RegularFile, "disk");
        }
        reply.ok();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, size] = arguments.as_slice() else { return Err("usage: bare_fuse DIR SIZE".into()) };
    let mut config = Config::default();
    config.n_threads = Some(melv_fuse::default_threads());
    config.clone_fd = true;
    config.mount_options = vec![
        fuser::MountOption::RO,
        fuser::MountOption::DefaultPermissions,
        fuser::MountOption::FSName("bare".into()),
    ];
    fuser::mount(Bare { size: size.parse()? }, Path::new(dir), &config)?;
    Ok(())
}
