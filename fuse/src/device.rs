//! The kernel's side of a file system: mounting and unmounting, as root or through `fusermount3`.

use std::ffi::{CString, OsStr};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::error::{Error, Result};
use crate::mounts::{DEVICE, KIND, source};

/// The helper that mounts for users other than root, part of libfuse.
const HELPER: &str = "fusermount3";
/// The environment variable with the number of the socket on which the helper returns the device.
const HELPER_SOCKET: &str = "_FUSE_COMMFD";

/// Mounts at `dir`, a path without symbolic links, and returns the device that delivers the requests.
pub(crate) fn mount(dir: &Path, allow_other: bool) -> Result<OwnedFd> {
    let device = OpenOptions::new().read(true).write(true).open(DEVICE);
    let device = device.map_err(|source| Error::NoDevice { source })?;
    match mount_as_root(dir, &device, allow_other) {
        Ok(()) => Ok(device.into()),
        Err(Errno::PERM) => mount_by_helper(dir, allow_other),
        Err(errno) => Err(Error::io("mount at", dir, errno)),
    }
}

fn mount_as_root(dir: &Path, device: &File, allow_other: bool) -> Result<(), Errno> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let mut options = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions",
        device.as_raw_fd(),
        user.as_raw(),
        group.as_raw()
    );
    if allow_other {
        options.push_str(",allow_other");
    }
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount(source(), dir, KIND, flags, options.as_c_str())
}

fn mount_by_helper(dir: &Path, allow_other: bool) -> Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair().map_err(|source| Error::io("create", "a socket", source))?;
    let mut options = format!("ro,nosuid,nodev,default_permissions,subtype=melv,fsname={}", source());
    if allow_other {
        options.push_str(",allow_other");
    }
    let mut helper = Command::new(HELPER);
    helper.arg("-o").arg(options).arg("--").arg(dir);
    // The helper gets its end of the socket as standard input. Any other descriptor would need its
    // close-on-exec flag cleared, which is not safe here.
    helper.env(HELPER_SOCKET, "0").stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
    let running = helper.spawn().map_err(|error| no_helper(dir, error))?;
    // Close our copy of the helper's end.
    drop(helper);
    let device = receive(&ours).map_err(|errno| Error::io("receive the FUSE device for", dir, errno))?;
    let ended = running.wait_with_output().map_err(|error| no_helper(dir, error))?;
    match device {
        Some(device) if ended.status.success() => Ok(device),
        _ => Err(Error::Helper { dir: dir.into(), said: words(&ended.stderr) }),
    }
}

/// Receives the descriptor that the helper sends; `None` if the helper ends without sending one.
fn receive(socket: &UnixStream) -> Result<Option<OwnedFd>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::io::retry_on_intr(|| {
        let bytes = &mut [IoSliceMut::new(&mut byte)];
        rustix::net::recvmsg(socket, bytes, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let sent = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(sent)
}

/// Unmounts the file system at `dir`, a path without symbolic links. With `is_lazy`, also detaches one in
/// use, which ends with its last use.
pub(crate) fn unmount(dir: &Path, is_lazy: bool) -> Result<()> {
    let flags = UnmountFlags::NOFOLLOW | if is_lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    match rustix::mount::unmount(dir, flags) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(Error::Busy { dir: dir.into() }),
        Err(Errno::INVAL | Errno::NOENT) => Err(Error::NotMounted { dir: dir.into() }),
        Err(Errno::PERM) => unmount_by_helper(dir, is_lazy),
        Err(errno) => Err(Error::io("unmount", dir, errno)),
    }
}

fn unmount_by_helper(dir: &Path, is_lazy: bool) -> Result<()> {
    let mut helper = Command::new(HELPER);
    helper.arg("-u").args(is_lazy.then_some("-z")).arg("--").arg(dir).stdin(Stdio::null());
    // The check for "busy" below needs untranslated messages.
    helper.env("LC_ALL", "C");
    let ended = helper.output().map_err(|error| no_helper(dir, error))?;
    let said = words(&ended.stderr);
    match ended.status.success() {
        true => Ok(()),
        false if said.contains("busy") => Err(Error::Busy { dir: dir.into() }),
        false => Err(Error::Helper { dir: dir.into(), said }),
    }
}

fn no_helper(dir: &Path, error: std::io::Error) -> Error {
    if error.kind() == ErrorKind::NotFound {
        let said = "it is not installed (package fuse3), and only root can mount without it";
        return Error::Helper { dir: dir.into(), said: said.into() };
    }
    Error::io("run", OsStr::new(HELPER), error)
}

/// Returns the message of the helper, without its name.
fn words(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let said = said.trim();
    said.strip_prefix("fusermount3: ").unwrap_or(said).to_owned()
}
