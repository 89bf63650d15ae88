//! Devices, modules, and the machine as a whole.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd},
};

use super::{abi, c_string, check};

/// An end of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Power off.
    Off,
    /// Halt, where the power cannot be turned off.
    Halt,
    /// Keep Ctrl-Alt-Del from restarting at once: PID 1 gets SIGINT.
    KeyIsSignal,
}

/// Ends the machine, or sets the meaning of Ctrl-Alt-Del.
pub fn power(power: Power) -> io::Result<()> {
    let command: u32 = match power {
        Power::Off => 0x4321_fedc,
        Power::Halt => 0xcdef_0123,
        Power::KeyIsSignal => 0,
    };
    // SAFETY: takes a number alone.
    check(unsafe { abi::reboot(command.cast_signed()) }).map(drop)
}

/// Writes all file systems out.
pub fn sync() {
    // SAFETY: takes nothing and cannot fail.
    unsafe { abi::sync() }
}

/// Sets the host name.
pub fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length are of one slice.
    check(unsafe { abi::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Loads a kernel module with its parameters.
pub fn load_module(file: &File, parameters: &str) -> io::Result<()> {
    let parameters = c_string(parameters.as_bytes())?;
    // SAFETY: the string ends with NUL and lives until the call returns; the number is of `finit_module`.
    let result = unsafe { abi::syscall(abi::SYS_FINIT_MODULE, file.as_raw_fd(), parameters.as_ptr(), 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Grows a mounted ext4 file system to `blocks` of its blocks. `folder` is any open folder of it.
///
/// `EXT4_IOC_RESIZE_FS` of Linux does the whole work; `resize2fs` does the same on a mounted file system.
pub fn grow_ext4(folder: &File, blocks: u64) -> io::Result<()> {
    const EXT4_IOC_RESIZE_FS: u64 = 0x4008_6610;
    // SAFETY: the request reads eight bytes at the pointer, which lives until the call returns.
    check(unsafe { abi::ioctl(folder.as_raw_fd(), EXT4_IOC_RESIZE_FS, &raw const blocks) }).map(drop)
}

/// Sets the size of a terminal if it has none, as serial lines do not.
pub fn window_size(terminal: impl AsFd, rows: u16, columns: u16) -> io::Result<()> {
    const TIOCGWINSZ: u64 = 0x5413;
    const TIOCSWINSZ: u64 = 0x5414;
    let fd = terminal.as_fd().as_raw_fd();
    let mut size = [0_u16; 4];
    // SAFETY: the request writes `struct winsize`, four 16-bit numbers, at the pointer.
    check(unsafe { abi::ioctl(fd, TIOCGWINSZ, &raw mut size) })?;
    if size[0] != 0 {
        return Ok(());
    }
    let size = [rows, columns, 0, 0];
    // SAFETY: the request reads `struct winsize` at the pointer.
    check(unsafe { abi::ioctl(fd, TIOCSWINSZ, &raw const size) }).map(drop)
}
