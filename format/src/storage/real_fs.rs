//! The operating system's file system.
//!
//! Syncs and locks go through `std` and thus the C library, so that a fault injector beneath the C
//! library's interface reaches them.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};

use super::LockMode;
use super::fs::{Access, Fs, Kind, Stat, SyncPoint};
use super::machine::Machine;

/// The operating system's own files and folders.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

/// An open folder.
#[derive(Debug)]
pub struct RealFolder {
    file: File,
    /// Whether the descriptor is path-only: folders that are only traversed need not be readable.
    is_path_only: bool,
}

/// Whether the kernel refused `openat2`: a kernel before Linux 5.6, or a system call filter.
static HAS_NO_OPENAT2: AtomicBool = AtomicBool::new(false);

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// Opens `path` beneath `folder`, following no link.
fn open_beneath(folder: &File, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { "." } else { path };
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o666) } else { Mode::empty() };
    let opened = if HAS_NO_OPENAT2.load(Ordering::Relaxed) {
        Err(Errno::NOSYS)
    } else {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        retry_on_intr(|| rustix::fs::openat2(folder, path, flags, mode, resolve))
    };
    let opened = match opened {
        // A system call filter may return either.
        Err(Errno::NOSYS | Errno::PERM) => {
            let opened = open_by_parts(folder, path, flags, mode);
            if opened.is_ok() {
                HAS_NO_OPENAT2.store(true, Ordering::Relaxed);
            }
            opened
        }
        other => other,
    };
    opened.map_err(|errno| match errno {
        Errno::LOOP | Errno::NOTDIR | Errno::XDEV => link_error(folder, path).unwrap_or(errno.into()),
        _ => errno.into(),
    })
}

/// Does the same, one path part at a time.
fn open_by_parts(folder: &File, path: &str, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
    let mut at: Option<OwnedFd> = None;
    for part in above.split('/').filter(|part| !part.is_empty()) {
        let through = OFlags::PATH | OFlags::NOFOLLOW | FOLDER;
        let next = match &at {
            None => retry_on_intr(|| rustix::fs::openat(folder, part, through, Mode::empty())),
            Some(at) => retry_on_intr(|| rustix::fs::openat(at, part, through, Mode::empty())),
        }?;
        at = Some(next);
    }
    match &at {
        None => retry_on_intr(|| rustix::fs::openat(folder, last, flags, mode)),
        Some(at) => retry_on_intr(|| rustix::fs::openat(at, last, flags, mode)),
    }
}

/// Returns an error that names the symbolic link in a path, if there is one.
fn link_error(folder: &File, path: &str) -> Option<io::Error> {
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    for part in ends.map(|end| &path[..end]) {
        let stat = rustix::fs::statat(folder, part, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            let text = format!("{part} is a symbolic link");
            return Some(io::Error::new(io::ErrorKind::InvalidData, text));
        }
    }
    None
}

fn kind_of(kind: FileType) -> Kind {
    match kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        _ => Kind::Other,
    }
}

/// Converts to nanoseconds since 1970; `None` before that and after 2554.
fn nanos(seconds: i64, nanos: u64) -> Option<u64> {
    u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

fn foreign(owner: u32) -> Option<u32> {
    (owner != 0 && owner != rustix::process::geteuid().as_raw()).then_some(owner)
}

#[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "types differ between systems")]
fn stat_of(stat: &rustix::fs::Stat) -> Stat {
    Stat {
        kind: kind_of(FileType::from_raw_mode(stat.st_mode)),
        len: u64::try_from(stat.st_size).unwrap_or(0),
        links: u64::from(stat.st_nlink),
        modified_nanos: nanos(i64::from(stat.st_mtime), stat.st_mtime_nsec as u64),
        foreign_owner: foreign(stat.st_uid),
    }
}

impl RealFolder {
    /// Passes `work` a descriptor that can be read and synced.
    fn with_readable<T>(&self, work: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        if self.is_path_only { work(&open_beneath(&self.file, "", FOLDER)?.into()) } else { work(&self.file) }
    }
}

impl Fs for RealFs {
    type Folder = RealFolder;
    type File = File;

    fn place(&self, path: &Path) -> io::Result<RealFolder> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::PATH | FOLDER;
        let opened = retry_on_intr(|| rustix::fs::openat(CWD, path, flags, Mode::empty()))?;
        Ok(RealFolder { file: opened.into(), is_path_only: true })
    }

    fn above(&self, folder: &RealFolder) -> io::Result<RealFolder> {
        let flags = OFlags::PATH | FOLDER;
        let opened = retry_on_intr(|| rustix::fs::openat(&folder.file, "..", flags, Mode::empty()))?;
        Ok(RealFolder { file: opened.into(), is_path_only: true })
    }

    fn folder(&self, beneath: &RealFolder, path: &str) -> io::Result<RealFolder> {
        let opened = open_beneath(&beneath.file, path, FOLDER)?;
        Ok(RealFolder { file: opened.into(), is_path_only: false })
    }

    fn open(&self, beneath: &RealFolder, path: &str, access: Access) -> io::Result<File> {
        let flags = match access {
            Access::Read => OFlags::RDONLY | OFlags::NONBLOCK,
            Access::Create => OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
            Access::Lock => OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK,
        };
        Ok(open_beneath(&beneath.file, path, flags)?.into())
    }

    fn make_folder(&self, folder: &RealFolder, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&folder.file, name, Mode::from_raw_mode(0o777))?)
    }

    fn remove_folder(&self, folder: &RealFolder, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&folder.file, name, AtFlags::REMOVEDIR)?)
    }

    fn remove_file(&self, folder: &RealFolder, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&folder.file, name, AtFlags::empty())?)
    }

    fn rename(&self, from: (&RealFolder, &str), to: (&RealFolder, &str)) -> io::Result<()> {
        Ok(rustix::fs::renameat(&from.0.file, from.1, &to.0.file, to.1)?)
    }

    fn link(&self, from: (&RealFolder, &str), to: (&RealFolder, &str)) -> io::Result<()> {
        let linked = rustix::fs::linkat(&from.0.file, from.1, &to.0.file, to.1, AtFlags::empty());
        linked.map_err(|errno| match errno {
            // The file system has no links, or the file has its maximum number.
            Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK | Errno::XDEV | Errno::INVAL => {
                io::Error::new(io::ErrorKind::Unsupported, io::Error::from(errno))
            }
            _ => errno.into(),
        })
    }

    fn entries(&self, folder: &RealFolder) -> io::Result<Vec<(OsString, Kind)>> {
        let mut found = Vec::new();
        for entry in folder.with_readable(|file| Ok(Dir::read_from(file)?))? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not report the type.
                FileType::Unknown => {
                    match rustix::fs::statat(&folder.file, name, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                        Err(Errno::NOENT) => continue,
                        Err(errno) => return Err(errno.into()),
                    }
                }
                known => known,
            };
            found.push((name.to_owned(), kind_of(kind)));
        }
        Ok(found)
    }

    fn stat(&self, folder: &RealFolder, name: &str) -> io::Result<Stat> {
        Ok(stat_of(&rustix::fs::statat(&folder.file, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    fn stat_file(&self, file: &File) -> io::Result<Stat> {
        Ok(stat_of(&rustix::fs::fstat(file)?))
    }

    fn stat_folder(&self, folder: &RealFolder) -> io::Result<Stat> {
        Ok(stat_of(&rustix::fs::fstat(&folder.file)?))
    }

    fn read_exact_at(&self, file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
        file.read_exact_at(buf, offset)
    }

    fn append(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn rewrite(&self, file: &File, bytes: &[u8]) -> io::Result<()> {
        file.set_len(0)?;
        file.write_all_at(bytes, 0)
    }

    fn sync(&self, file: &File, _point: SyncPoint) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_folder(&self, folder: &RealFolder, _point: SyncPoint) -> io::Result<()> {
        folder.with_readable(File::sync_all)
    }

    fn lock(&self, file: &File, mode: LockMode) -> io::Result<bool> {
        let tried = match mode {
            LockMode::Shared => file.try_lock_shared(),
            LockMode::Exclusive => file.try_lock(),
        };
        match tried {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(match Errno::from_io_error(&error) {
                Some(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => no_locks(&error),
                _ => error,
            }),
        }
    }

    fn machine(&self) -> Option<Machine> {
        let id = std::fs::read_to_string("/etc/machine-id")
            .or_else(|_| std::fs::read_to_string("/var/lib/dbus/machine-id"));
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        Machine::from_texts(&id.ok()?, &boot.ok()?)
    }
}

/// Returns the error for missing locks: without them, two writers would corrupt the store.
fn no_locks(error: &io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("this file system has no locks: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_openat2_no_part_of_a_path_is_a_link_either() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("a/b")).expect("folders");
        std::fs::write(folder.path().join("a/b/file"), "inside").expect("a file");
        for (target, link) in [("a", "to-a"), ("b", "a/to-b"), ("b/file", "a/to-file"), ("/etc", "etc")] {
            std::os::unix::fs::symlink(target, folder.path().join(link)).expect("a link");
        }
        let root = RealFs.place(folder.path()).expect("the root").file;
        let open = |path| open_by_parts(&root, path, OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        assert!(open("a/b/file").is_ok());
        for path in ["to-a/b/file", "a/to-b/file", "a/to-file", "etc/hostname"] {
            assert!(open(path).is_err(), "{path}");
            let error = open_beneath(&root, path, OFlags::empty()).expect_err(path);
            assert!(error.to_string().ends_with(" is a symbolic link"), "{path}: {error}");
        }
    }
}
