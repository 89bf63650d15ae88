//! System calls that `std` lacks, as safe functions.
//!
//! All `unsafe` of the init is in this room. The C library is linked statically; `abi.rs` declares the functions
//! and numbers used here, for x86-64 Linux, since the crate has no dependencies. Each function checks its
//! arguments by types (slices with their lengths, `CString`, `OwnedFd`) and returns `io::Error`.

#![allow(unsafe_code)]

mod abi;
mod clock;
mod device;
mod entropy;
mod mount;
mod net;
mod poll;
mod process;
mod signal;
mod xattr;

pub use self::{
    clock::{adjust_clock, set_clock, since_boot},
    device::{Power, grow_ext4, load_module, power, set_host_name, sync, window_size},
    entropy::{add_entropy, entropy_is_ready, hardware_random},
    mount::{MountFlags, change_root, mount, unmount, unmount_lazily},
    net::{
        Datagram, Interface, connect_loopback, connected, packet_socket, receive, send_packet, send_to,
        udp_socket,
    },
    poll::{Interest, Poll},
    process::{Identity, Status, kill, kill_all, reap, spawn},
    signal::{Signals, signals},
    xattr::copy_xattrs,
};

use std::{ffi::CString, io, os::unix::ffi::OsStrExt, path::Path};

/// Makes an error of the last call's result.
fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Makes a length of the last call's result.
fn length(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn c_string(text: &[u8]) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

fn c_path(path: &Path) -> io::Result<CString> {
    c_string(path.as_os_str().as_bytes())
}
