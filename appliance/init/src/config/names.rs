//! Names of capabilities and of limits, with the numbers that the kernel gave them.

/// Bits of all capabilities.
pub const ALL_CAPABILITIES: u64 = u64::MAX;

/// Names in the order of their numbers, from `include/uapi/linux/capability.h` of Linux.
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// Names in the order of their numbers, from `include/uapi/asm-generic/resource.h` of Linux.
const LIMITS: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// Returns the number of the capability `name`, in lower case and without `cap_`.
#[must_use]
pub fn capability_number(name: &str) -> Option<u32> {
    position(&CAPABILITIES, name)
}

/// Returns the name of capability `number`.
pub(super) fn capability_name(number: u32) -> Option<&'static str> {
    CAPABILITIES.get(number as usize).copied()
}

/// Returns the number of the limit `name`, in lower case and without `RLIMIT_`.
#[must_use]
pub fn limit_number(name: &str) -> Option<u32> {
    position(&LIMITS, name)
}

/// Returns the name of limit `number`.
pub(super) fn limit_name(number: u32) -> Option<&'static str> {
    LIMITS.get(number as usize).copied()
}

fn position(names: &[&str], name: &str) -> Option<u32> {
    names.iter().zip(0..).find_map(|(known, number)| (*known == name).then_some(number))
}
