//! Processes: their start with reduced rights, their end, and signals to them.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::Command,
};

use super::{abi, check};

/// Rights and surroundings of a process to start.
#[derive(Debug, Default)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Capabilities that it may have, a bit each; all bits for no change.
    pub capabilities: u64,
    /// Limits: resource, soft, hard.
    pub limits: Vec<(u32, u64, u64)>,
    /// Whether it and its children can gain no rights.
    pub no_new_privileges: bool,
    /// Whether its standard input is the terminal that it controls.
    pub terminal: bool,
    /// `cgroup.procs` of its control group, open for writing.
    pub group: Option<File>,
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Ended by itself with this code.
    Code(u8),
    /// Ended by this signal.
    Signal(u8),
}

impl Status {
    /// Returns the code as a shell tells it: 128 and the signal's number.
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128_u8.saturating_add(signal),
        }
    }

    fn of(status: i32) -> Self {
        let signal = status & 0x7f;
        if signal == 0 { Self::Code((status >> 8 & 0xff) as u8) } else { Self::Signal(signal as u8) }
    }
}

/// Starts `command` in a session of its own as `identity`, and returns its process id.
pub fn spawn(command: &mut Command, identity: Identity) -> io::Result<i32> {
    // SAFETY: the closure makes system calls alone; it allocates nothing and takes no lock. The init has one
    // thread, so that no lock can be held across the fork either.
    unsafe { command.pre_exec(move || become_identity(&identity)) };
    let child = command.spawn()?;
    i32::try_from(child.id()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// Runs in the child between fork and exec. The order matters: each step needs rights that a later one takes.
fn become_identity(identity: &Identity) -> io::Result<()> {
    const TIOCSCTTY: u64 = 0x540e;
    const PR_SET_KEEPCAPS: i32 = 8;
    const PR_SET_NO_NEW_PRIVS: i32 = 38;
    const SIG_SETMASK: i32 = 2;
    // The init reads its signals as a file, and `std` hands its mask on: the program would be deaf to them.
    let none = abi::SignalSet([0; 16]);
    // SAFETY: each call takes numbers, or pointers to values of `identity` with their lengths.
    unsafe {
        check(abi::sigprocmask(SIG_SETMASK, &raw const none, std::ptr::null_mut()))?;
        check(abi::setsid())?;
        if identity.terminal {
            check(abi::ioctl(0, TIOCSCTTY, 1))?;
        }
        if let Some(group) = &identity.group {
            // Best effort: a kernel without control groups runs services as well.
            abi::write(group.as_raw_fd(), b"0".as_ptr().cast(), 1);
        }
        for (resource, soft, hard) in &identity.limits {
            check(abi::setrlimit(resource.cast_signed(), &raw const *&[*soft, *hard]))?;
        }
        let restricted = identity.capabilities != u64::MAX;
        if restricted {
            bound_capabilities(identity.capabilities)?;
        }
        check(abi::setgroups(identity.groups.len(), identity.groups.as_ptr()))?;
        check(abi::setresgid(identity.gid, identity.gid, identity.gid))?;
        check(abi::prctl(PR_SET_KEEPCAPS, 1_u64, 0_u64, 0_u64, 0_u64))?;
        check(abi::setresuid(identity.uid, identity.uid, identity.uid))?;
        if restricted || identity.uid != 0 {
            take_capabilities(identity.capabilities & KNOWN_CAPABILITIES, identity.uid != 0)?;
        }
        if identity.no_new_privileges {
            check(abi::prctl(PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64))?;
        }
    }
    Ok(())
}

/// Capabilities 0 to 40, the last one of Linux 6.
const KNOWN_CAPABILITIES: u64 = (1 << 41) - 1;

/// Drops all but `set` from the bounding set.
fn bound_capabilities(set: u64) -> io::Result<()> {
    const PR_CAPBSET_READ: i32 = 23;
    const PR_CAPBSET_DROP: i32 = 24;
    for capability in (0..64_u64).filter(|capability| set >> capability & 1 == 0) {
        // SAFETY: numbers alone. A number that the kernel does not know is refused by the first call.
        unsafe {
            if abi::prctl(PR_CAPBSET_READ, capability, 0_u64, 0_u64, 0_u64) == 1 {
                check(abi::prctl(PR_CAPBSET_DROP, capability, 0_u64, 0_u64, 0_u64))?;
            }
        }
    }
    Ok(())
}

/// Makes `set` the permitted, effective and inheritable capabilities, and the ambient ones of a plain user.
fn take_capabilities(set: u64, ambient: bool) -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    const PR_CAP_AMBIENT: i32 = 47;
    const PR_CAP_AMBIENT_RAISE: u64 = 2;
    let (low, high) = (set as u32, (set >> 32) as u32);
    let header = [VERSION_3, 0];
    let data = [low, low, low, high, high, high];
    // SAFETY: header and data have the layout of version 3: two numbers, and twice three numbers.
    if unsafe { abi::syscall(abi::SYS_CAPSET, &raw const header, &raw const data) } < 0 {
        return Err(io::Error::last_os_error());
    }
    for capability in (0..64_u64).filter(|capability| ambient && set >> capability & 1 == 1) {
        // SAFETY: numbers alone.
        check(unsafe { abi::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0_u64, 0_u64) })?;
    }
    Ok(())
}

/// Takes the end of one child, if one has ended.
pub fn reap() -> Option<(i32, Status)> {
    const WNOHANG: i32 = 1;
    let mut status = 0;
    // SAFETY: the pointer lives until the call returns.
    let pid = unsafe { abi::waitpid(-1, &raw mut status, WNOHANG) };
    (pid > 0).then(|| (pid, Status::of(status)))
}

/// Sends a signal to a process, or with `-pid` to its group.
pub fn kill(pid: i32, signal: u8) -> io::Result<()> {
    // SAFETY: numbers alone.
    check(unsafe { abi::kill(pid, signal.into()) }).map(drop)
}

/// Sends a signal to every process but this one.
pub fn kill_all(signal: u8) {
    // It fails if there is none, which is as good.
    let _ = kill(-1, signal);
}
