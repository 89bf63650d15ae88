//! Mounting and the change of the root.

use std::{io, path::Path, ptr};

use super::{abi, c_path, c_string, check};

/// Flags of a mount (`MS_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountFlags(u64);

impl MountFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Nothing can be written.
    pub const READ_ONLY: Self = Self(1);
    /// setuid bits have no effect.
    pub const NO_SUID: Self = Self(2);
    /// Device files do not work.
    pub const NO_DEVICES: Self = Self(4);
    /// Programs do not start from it.
    pub const NO_EXEC: Self = Self(8);
    /// A mount that is there gets new flags.
    pub const REMOUNT: Self = Self(32);
    /// Reading does not change times.
    pub const NO_TIMES: Self = Self(1024);
    /// A mount that is there gets a second place.
    pub const BIND: Self = Self(4096);
    /// A mount that is there gets a new place.
    pub const MOVE: Self = Self(8192);

    /// Adds the flags of `other`.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Mounts `source` at `target`.
pub fn mount(source: &Path, target: &Path, kind: &str, flags: MountFlags, options: &str) -> io::Result<()> {
    let (source, target) = (c_path(source)?, c_path(target)?);
    let (kind, options) = (c_string(kind.as_bytes())?, c_string(options.as_bytes())?);
    // SAFETY: all pointers are of strings that end with NUL and live until the call returns.
    let result = unsafe {
        abi::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags.0, options.as_ptr().cast())
    };
    check(result).map(drop)
}

/// Unmounts `target`.
pub fn unmount(target: &Path) -> io::Result<()> {
    let target = c_path(target)?;
    // SAFETY: the pointer is of a string that ends with NUL and lives until the call returns.
    check(unsafe { abi::umount2(target.as_ptr(), 0) }).map(drop)
}

/// Takes `target` out of the name space; the file system ends when its last user does.
pub fn unmount_lazily(target: &Path) -> io::Result<()> {
    const MNT_DETACH: i32 = 2;
    let target = c_path(target)?;
    // SAFETY: as in `unmount`.
    check(unsafe { abi::umount2(target.as_ptr(), MNT_DETACH) }).map(drop)
}

/// Makes the mount at `new` the root of this process, in the place of the old one.
pub fn change_root(new: &Path) -> io::Result<()> {
    std::env::set_current_dir(new)?;
    // SAFETY: literals that end with NUL; a move takes neither type nor options.
    check(unsafe { abi::mount(c".".as_ptr(), c"/".as_ptr(), ptr::null(), MountFlags::MOVE.0, ptr::null()) })?;
    // SAFETY: a literal that ends with NUL.
    check(unsafe { abi::chroot(c".".as_ptr()) })?;
    std::env::set_current_dir("/")
}
