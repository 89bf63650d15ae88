//! Declarations of the C library for x86-64 Linux (LP64), from its headers.

use std::ffi::{c_char, c_int, c_long, c_short, c_uint, c_ulong, c_void};

unsafe extern "C" {
    pub fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    pub fn umount2(target: *const c_char, flags: c_int) -> c_int;
    pub fn chroot(path: *const c_char) -> c_int;
    pub fn reboot(command: c_int) -> c_int;
    pub fn sync();
    pub fn syscall(number: c_long, ...) -> c_long;
    pub fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    pub fn sethostname(name: *const c_char, length: usize) -> c_int;

    pub fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    pub fn bind(fd: c_int, address: *const c_void, length: c_uint) -> c_int;
    pub fn connect(fd: c_int, address: *const c_void, length: c_uint) -> c_int;
    pub fn sendto(
        fd: c_int,
        bytes: *const c_void,
        length: usize,
        flags: c_int,
        address: *const c_void,
        address_length: c_uint,
    ) -> isize;
    pub fn recvfrom(
        fd: c_int,
        bytes: *mut c_void,
        length: usize,
        flags: c_int,
        address: *mut c_void,
        address_length: *mut c_uint,
    ) -> isize;
    pub fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, length: c_uint) -> c_int;
    pub fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut c_uint)
    -> c_int;

    pub fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    pub fn kill(pid: c_int, signal: c_int) -> c_int;
    pub fn setsid() -> c_int;
    pub fn setgroups(count: usize, groups: *const c_uint) -> c_int;
    pub fn setresgid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int;
    pub fn setresuid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int;
    pub fn setrlimit(resource: c_int, limit: *const [u64; 2]) -> c_int;
    pub fn prctl(option: c_int, ...) -> c_int;
    pub fn write(fd: c_int, bytes: *const c_void, length: usize) -> isize;

    pub fn sigemptyset(set: *mut SignalSet) -> c_int;
    pub fn sigaddset(set: *mut SignalSet, signal: c_int) -> c_int;
    pub fn sigprocmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    pub fn signalfd(fd: c_int, set: *const SignalSet, flags: c_int) -> c_int;

    pub fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
    pub fn clock_gettime(clock: c_int, time: *mut [i64; 2]) -> c_int;
    pub fn clock_settime(clock: c_int, time: *const [i64; 2]) -> c_int;
    pub fn adjtime(delta: *const [i64; 2], old: *mut [i64; 2]) -> c_int;

    pub fn llistxattr(path: *const c_char, list: *mut c_char, size: usize) -> isize;
    pub fn lgetxattr(path: *const c_char, name: *const c_char, value: *mut c_void, size: usize) -> isize;
    pub fn lsetxattr(
        path: *const c_char,
        name: *const c_char,
        value: *const c_void,
        size: usize,
        flags: c_int,
    ) -> c_int;
}

/// `sigset_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SignalSet(pub [u64; 16]);

/// `struct pollfd`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PollFd {
    pub fd: c_int,
    pub events: c_short,
    pub revents: c_short,
}

/// `struct sockaddr_in`; port and address in network order.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SockaddrIn {
    pub family: u16,
    pub port: [u8; 2],
    pub address: [u8; 4],
    pub zero: [u8; 8],
}

/// `struct sockaddr_ll`; protocol in network order.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SockaddrLl {
    pub family: u16,
    pub protocol: [u8; 2],
    pub index: c_int,
    pub hardware: u16,
    pub packet_type: u8,
    pub address_length: u8,
    pub address: [u8; 8],
}

/// `struct ifreq`: a name and a union of 24 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct InterfaceRequest {
    pub name: [u8; 16],
    pub data: [u8; 24],
}

/// `struct rtentry`.
#[repr(C)]
pub struct RouteEntry {
    pub pad1: c_ulong,
    pub destination: SockaddrIn,
    pub gateway: SockaddrIn,
    pub mask: SockaddrIn,
    pub flags: u16,
    pub pad2: c_short,
    pub pad3: c_ulong,
    pub pad4: *mut c_void,
    pub metric: c_short,
    pub device: *const c_char,
    pub mtu: c_ulong,
    pub window: c_ulong,
    pub initial_rtt: u16,
}

/// `struct rand_pool_info` with room for 512 bits.
#[repr(C)]
pub struct RandomPool {
    pub entropy_bits: c_int,
    pub bytes: c_int,
    pub data: [u8; 64],
}

pub const SYS_CAPSET: c_long = 126;
pub const SYS_FINIT_MODULE: c_long = 313;
pub const SYS_GETRANDOM: c_long = 318;
