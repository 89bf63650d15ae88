//! The requests of the kernel, and the answers.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use fuser::{
    Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenAccMode, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use melv_block::{BlockDevice, RunKind};
use melv_serve::{Budget, Export, Exports};

use crate::attributes::{self, Owner};
use crate::buffer::Buffer;
use crate::handles::Handles;
use crate::inodes::{DiskFile, Inodes, Node, ROOT, wanted_number};
use crate::listing::Listing;
use crate::waiting::{Missed, Waiting, answer};

/// The maximum number of concurrent requests of read-ahead and of asynchronous readers. With the kernel's
/// default of 12, a few reads ahead could hold up all others.
pub const BACKGROUND: u16 = 128;

/// The suffix of a disk's file.
const SUFFIX: &str = ".raw";
/// Time that the kernel may keep bytes and attributes: an image never changes.
const FOREVER: Duration = Duration::from_secs(3600);
/// Time that the kernel may keep names and attributes of a folder, whose entries may come and go.
const FOLDER: Duration = Duration::from_millis(500);
/// The validity of a name in a folder: it is looked up each time, since it may refer to another image.
const NEVER: Duration = Duration::ZERO;
/// The longest tag plus the suffix.
const NAME_LEN_MAX: u32 = 255 + SUFFIX.len() as u32;

/// The values of `whence` that the kernel does not handle itself.
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

thread_local! {
    static BUFFER: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
}

/// The content of a folder at the time of its opening: number, type and name of each entry.
type OpenFolder = Arc<[(u64, FileType, String)]>;

/// Exports as a file system.
#[derive(Debug)]
pub(crate) struct Images {
    exports: Arc<dyn Exports>,
    listing: Listing,
    owner: Owner,
    inodes: Inodes,
    files: Handles<Arc<dyn BlockDevice>>,
    folders: Handles<OpenFolder>,
    waiting: Arc<Waiting>,
}

/// Returns the answer to a failed request.
fn errno(error: &melv_block::Error) -> Errno {
    if error.is_not_found() { Errno::ENOENT } else { Errno::EIO }
}

impl Images {
    pub fn new(exports: Arc<dyn Exports>, budget: Budget) -> Self {
        Self {
            listing: Listing::new(exports.clone()),
            exports,
            owner: Owner::of_process(),
            inodes: Inodes::default(),
            files: Handles::default(),
            folders: Handles::default(),
            waiting: Arc::new(Waiting::new(budget)),
        }
    }

    fn node(&self, number: INodeNo) -> Result<Node, Errno> {
        // The kernel asks only for numbers that it was given and has not forgotten.
        self.inodes.get(number.0).ok_or(Errno::ESTALE)
    }

    fn file(&self, number: INodeNo) -> Result<Arc<DiskFile>, Errno> {
        match self.node(number)? {
            Node::File(file) => Ok(file),
            Node::Folder(_) => Err(Errno::EISDIR),
        }
    }

    /// Looks up the folder `name` in the root.
    fn find_folder(&self, name: &str) -> Result<Node, Errno> {
        match self.listing.has_folder(name) {
            Ok(true) => Ok(Node::Folder(name.into())),
            Ok(false) => Err(Errno::ENOENT),
            Err(error) => Err(unlisted(&error)),
        }
    }

    /// Looks up the disk `file` in the folder `name`.
    fn find_file(&self, name: &str, file: &str) -> Result<Node, Errno> {
        let tag = file.strip_suffix(SUFFIX).ok_or(Errno::ENOENT)?;
        let full_name = format!("{name}:{tag}");
        // Open no data objects yet: most files get a `stat` but are never read.
        let info = self.exports.info(&full_name).map_err(|error| logged(&full_name, &error))?;
        let info = info.ok_or(Errno::ENOENT)?;
        Ok(Node::File(Arc::new(DiskFile {
            name: full_name,
            id: info.entry.id,
            content: info.content,
            size: info.size_bytes,
            data_bytes: info.data_bytes,
            created_seconds: info.entry.created_seconds.unwrap_or(0),
        })))
    }

    fn find(&self, parent: INodeNo, name: &OsStr) -> Result<Node, Errno> {
        let name = name.to_str().ok_or(Errno::ENOENT)?;
        if parent.0 == ROOT {
            return self.find_folder(name);
        }
        match self.node(parent)? {
            Node::Folder(folder) => self.find_file(&folder, name),
            Node::File(_) => Err(Errno::ENOTDIR),
        }
    }

    /// Opens the disk of a file.
    fn disk(&self, file: &DiskFile) -> Result<Arc<dyn BlockDevice>, Errno> {
        // A process that has a file open may reopen it through `/proc`, even after its name is gone.
        if let Some(Export { disk, .. }) = self.exports.opened(&file.id) {
            return Ok(disk);
        }
        match self.exports.open(&file.name) {
            Ok(Some(Export { id, disk, .. })) if id == file.id => Ok(disk),
            // Since the lookup, the name was moved to another image or removed. ESTALE makes the kernel look
            // it up again.
            Ok(_) => Err(Errno::ESTALE),
            Err(error) => Err(logged(&file.name, &error)),
        }
    }

    fn entries(&self, number: INodeNo) -> Result<OpenFolder, Errno> {
        let mut entries = vec![
            (number.0, FileType::Directory, ".".to_owned()),
            (ROOT, FileType::Directory, "..".to_owned()),
        ];
        if number.0 == ROOT {
            for name in self.listing.folders().map_err(|error| unlisted(&error))? {
                entries.push((wanted_number(&name, None), FileType::Directory, name));
            }
        } else {
            let Node::Folder(folder) = self.node(number)? else { return Err(Errno::ENOTDIR) };
            for entry in self.listing.folder(&folder).map_err(|error| unlisted(&error))? {
                let number = wanted_number(&entry.full_name(), Some(&entry.id));
                entries.push((number, FileType::RegularFile, format!("{}{SUFFIX}", entry.tag)));
            }
        }
        Ok(entries.into())
    }

    fn attribute(&self, number: INodeNo, name: &OsStr) -> Result<String, Errno> {
        if number.0 == ROOT {
            return Err(Errno::ENODATA);
        }
        match (self.node(number)?, name.to_str()) {
            (Node::File(file), Some(attributes::IMAGE)) => Ok(file.id.to_string()),
            (Node::File(file), Some(attributes::CONTENT)) => file.content.clone().ok_or(Errno::ENODATA),
            _ => Err(Errno::ENODATA),
        }
    }

    fn attribute_names(&self, number: INodeNo) -> Result<&'static [u8], Errno> {
        let is_file = number.0 != ROOT && matches!(self.node(number)?, Node::File(_));
        Ok(if is_file { attributes::NAMES } else { &[] })
    }
}

/// Logs an error, unless the image merely does not exist, and returns the answer.
fn logged(name: &str, error: &melv_block::Error) -> Errno {
    if !error.is_not_found() {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(image = %name, %error, cause, "cannot open");
    }
    errno(error)
}

/// Returns `EIO` if the store cannot be listed, even if the reason is that it no longer exists.
fn unlisted(error: &melv_block::Error) -> Errno {
    logged("all images", error);
    Errno::EIO
}

/// Returns the next position from `offset` on that is in a hole, or in data; the end of a disk counts as a
/// hole.
fn seek(disk: &dyn BlockDevice, offset: i64, whence: i32) -> Result<i64, Errno> {
    let size = disk.size();
    let wanted = match whence {
        SEEK_DATA => RunKind::Data,
        SEEK_HOLE => RunKind::Zero,
        _ => return Err(Errno::EINVAL),
    };
    let mut offset = u64::try_from(offset).ok().filter(|offset| *offset < size).ok_or(Errno::ENXIO)?;
    while offset < size {
        let run = disk.map(offset, size - offset).map_err(|error| logged(&disk.name(), &error))?;
        if run.kind == wanted {
            break;
        }
        offset += run.len;
    }
    if offset >= size && wanted == RunKind::Data {
        return Err(Errno::ENXIO);
    }
    i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)
}

/// Sends the value of an extended attribute, or only its length if `room` is 0.
fn give(value: &[u8], room: u32, reply: ReplyXattr) {
    match (room as usize, value.len()) {
        // Each value is far shorter than 4 GiB.
        (0, len) => reply.size(len as u32),
        (room, len) if room < len => reply.error(Errno::ERANGE),
        _ => reply.data(value),
    }
}

impl Filesystem for Images {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // The library already requests the longest read-ahead and the longest requests that the kernel
        // offers. The setters fail only for numbers that are too small.
        let _ = config.set_max_background(BACKGROUND);
        let _ = config.set_congestion_threshold(BACKGROUND / 4 * 3);
        // Older kernels lack some of these. Each only improves speed or concurrency.
        for faster in [InitFlags::FUSE_PARALLEL_DIROPS, InitFlags::FUSE_ASYNC_DIO] {
            let _ = config.add_capabilities(faster);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let node = match self.find(parent, name) {
            Ok(node) => node,
            Err(errno) => return reply.error(errno),
        };
        let number = self.inodes.remember(node.clone());
        match node {
            Node::Folder(_) => reply.entry(&FOLDER, &self.owner.folder(number), Generation(0)),
            Node::File(file) => {
                reply.entry_with_ttls(&FOREVER, &NEVER, &self.owner.file(number, &file), Generation(0));
            }
        }
    }

    fn forget(&self, _: &Request, number: INodeNo, lookups: u64) {
        self.inodes.forget(number.0, lookups);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        if number.0 == ROOT {
            return reply.attr(&FOLDER, &self.owner.folder(ROOT));
        }
        match self.node(number) {
            Ok(Node::Folder(_)) => reply.attr(&FOLDER, &self.owner.folder(number.0)),
            Ok(Node::File(file)) => reply.attr(&FOREVER, &self.owner.file(number.0, &file)),
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, _: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        // The mount is read-only, so the kernel normally refuses this itself.
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(Errno::EROFS);
        }
        match self.file(number).and_then(|file| self.disk(&file)) {
            Ok(disk) => {
                let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
                reply.opened(FileHandle(self.files.open(disk)), flags);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(disk) = self.files.get(handle.0) else { return reply.error(Errno::EBADF) };
        let len = disk.size().saturating_sub(offset).min(u64::from(size)) as usize;
        BUFFER.with_borrow_mut(|buffer| {
            let Ok(room) = buffer.room(len) else { return reply.error(Errno::ENOMEM) };
            match disk.try_read_cached(offset, room) {
                Ok(false) => {}
                cached => return answer(cached.map(drop), room, reply),
            }
            self.waiting.read(Missed { disk, offset, len, reply }, room);
        });
    }

    fn lseek(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let Some(disk) = self.files.get(handle.0) else { return reply.error(Errno::EBADF) };
        match seek(disk.as_ref(), offset, whence) {
            Ok(offset) => reply.offset(offset),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.files.close(handle.0);
        reply.ok();
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.entries(number) {
            Ok(entries) => reply.opened(FileHandle(self.folders.open(entries)), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let Some(entries) = self.folders.get(handle.0) else { return reply.error(Errno::EBADF) };
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        for (at, (number, kind, name)) in entries.iter().enumerate().skip(skip) {
            if reply.add(INodeNo(*number), at as u64 + 1, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.folders.close(handle.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        // Report no size: the sum over all disks would require opening all of them.
        let files = self.listing.entries().map_or(0, |entries| entries.len() as u64);
        reply.statfs(0, 0, 0, files, 0, 4096, NAME_LEN_MAX, 4096);
    }

    fn getxattr(&self, _: &Request, number: INodeNo, name: &OsStr, room: u32, reply: ReplyXattr) {
        match self.attribute(number, name) {
            Ok(value) => give(value.as_bytes(), room, reply),
            Err(errno) => reply.error(errno),
        }
    }

    fn listxattr(&self, _: &Request, number: INodeNo, room: u32, reply: ReplyXattr) {
        match self.attribute_names(number) {
            Ok(names) => give(names, room, reply),
            Err(errno) => reply.error(errno),
        }
    }
}
