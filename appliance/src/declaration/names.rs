//! Names: of packages, services, hosts, signals, capabilities, limits and kernel settings.

use super::fault::{Rule, quoted};

/// Longest name of a service, user or secret in bytes. `utmp` has room for 32.
pub(super) const MAX_NAME: usize = 32;
/// Longest name of a data disk in bytes: labels of ext4 have 16, and `melv-` takes five.
pub(super) const MAX_DATA_NAME: usize = 11;

/// Reads a name that is a file name, a label and a word at once. `melv` is the init's own.
pub(super) fn name(text: &str, limit: usize) -> Result<String, Rule> {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if first && rest && text.len() <= limit && text != "melv" {
        return Ok(text.to_owned());
    }
    let expected = if limit == MAX_DATA_NAME {
        "a name of at most 11 letters, digits, `-`, `_`, `.`, other than `melv`"
    } else {
        "a name of at most 32 letters, digits, `-`, `_`, `.`, other than `melv`"
    };
    Err(Rule::Value { expected, found: quoted(text) })
}

/// Reads the name of a Debian package (Debian Policy 5.6.1).
pub(super) fn package(text: &str) -> Result<String, Rule> {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let rest =
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    if first && rest && (2..=128).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(Rule::Value {
        expected: "the name of a package, or the path of one as \"./name.deb\"",
        found: quoted(text),
    })
}

/// Reads a host name: labels of letters, digits and inner hyphens (RFC 1123), at most 64 bytes as Linux has them.
pub(super) fn host_name(text: &str) -> Result<String, Rule> {
    let label = |part: &str| {
        let good = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        good && (1..=63).contains(&part.len()) && !part.starts_with('-') && !part.ends_with('-')
    };
    if text.len() <= 64 && text.split('.').all(label) {
        return Ok(text.to_owned());
    }
    Err(Rule::Value { expected: "a host name of at most 64 letters, digits, `-`, `.`", found: quoted(text) })
}

/// Reads the name of a kernel setting, as `vm.overcommit_memory` or `net/ipv4/conf/eth0.1/forwarding`.
pub(super) fn sysctl(text: &str) -> Result<String, Rule> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let parts = text.contains(['.', '/']) && text.split(['.', '/']).all(|part| !part.is_empty());
    if parts && text.len() <= 255 && text.bytes().all(good) {
        return Ok(text.to_owned());
    }
    Err(Rule::Value { expected: "a kernel setting as `vm.overcommit_memory`", found: quoted(text) })
}

/// Reads the name of a variable: anything but `=` and NUL.
pub(super) fn variable(text: &str) -> Result<String, Rule> {
    if text.is_empty() || text.contains(['=', '\0']) {
        return Err(Rule::Value { expected: "the name of a variable", found: quoted(text) });
    }
    Ok(text.to_owned())
}

/// Signals of x86-64, from `include/uapi/asm-generic/signal.h` of Linux, from 1.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// First real-time signal that glibc leaves to programs.
const RTMIN: u8 = 34;

/// A signal, 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(u8);

impl Signal {
    /// The signal that asks a program to end.
    pub const TERM: Self = Self(15);

    /// Returns the number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// Reads `INT`, `SIGINT`, `RTMIN+3` or a number.
    ///
    /// # Errors
    ///
    /// A text that names no signal.
    pub fn parse(text: &str) -> Result<Self, Rule> {
        let name = text.strip_prefix("SIG").unwrap_or(text);
        let known = SIGNALS.iter().zip(1..).find_map(|(signal, number)| (*signal == name).then_some(number));
        let real_time = || match name.strip_prefix("RTMIN")? {
            "" => Some(RTMIN),
            rest => super::units::decimal(rest.strip_prefix('+')?)
                .and_then(|add| u8::try_from(add).ok()?.checked_add(RTMIN)),
        };
        let plain = || super::units::decimal(name).and_then(|number| u8::try_from(number).ok());
        known
            .or_else(real_time)
            .or_else(plain)
            .filter(|number| (1..=64).contains(number))
            .map(Self)
            .ok_or_else(|| Rule::Value {
                expected: "a signal as \"INT\", \"TERM\" or \"RTMIN+3\"",
                found: quoted(text),
            })
    }
}

/// Capabilities in the order of their bits, from `include/uapi/linux/capability.h` of Linux.
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

/// Reads a capability, as `net_admin` or `CAP_NET_ADMIN`, into its name in lower case without `cap_`.
pub(super) fn capability(text: &str) -> Result<&'static str, Rule> {
    let lower = text.to_ascii_lowercase();
    let name = lower.strip_prefix("cap_").unwrap_or(&lower);
    CAPABILITIES
        .iter()
        .find(|known| **known == name)
        .copied()
        .ok_or_else(|| undeclared("capability", text, &CAPABILITIES))
}

/// Limits of resources in the order of their numbers, from `include/uapi/asm-generic/resource.h` of Linux.
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

/// Reads the name of a limit, as `nofile`.
pub(super) fn limit(text: &str) -> Result<&'static str, Rule> {
    LIMITS
        .iter()
        .find(|known| **known == text)
        .copied()
        .ok_or_else(|| undeclared("limit of a resource", text, &LIMITS))
}

fn undeclared(thing: &'static str, text: &str, known: &[&'static str]) -> Rule {
    let nearest = super::fault::nearest(text, known.iter().copied()).map(str::to_owned);
    Rule::Undeclared { thing, name: quoted(text), nearest }
}
