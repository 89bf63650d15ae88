//! Kernel settings.

use std::{fs, path::PathBuf};

use crate::{
    config::{Config, Sysctl},
    report::Problem,
    sys::{self, Power},
};

/// Lets the kernel restart the machine at once when it panics, or when the init dies, which is a panic as well. A
/// hypervisor that was told to end at a restart ends then.
pub fn panic_restarts() {
    let _ = fs::write("/proc/sys/kernel/panic", "-1");
}

/// Sets the host name and all kernel settings. A setting that fails is told; the machine goes on.
pub fn configure(config: &Config, note: &mut dyn FnMut(Problem)) {
    if let Err(error) = sys::set_host_name(&config.hostname) {
        note(Problem::new("host name", &config.hostname, error));
    }
    // SIGINT instead of a restart without a stop.
    let _ = sys::power(Power::KeyIsSignal);
    // A service needs no capability for a port below 1024.
    let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    for sysctl in &config.sysctls {
        let path = path(sysctl);
        if let Err(error) = fs::write(&path, &sysctl.value) {
            note(Problem::new("sysctl", &path, error));
        }
    }
}

/// Returns the file of a setting. A name with a slash has slashes between its parts, else it has dots.
fn path(sysctl: &Sysctl) -> PathBuf {
    let name = if sysctl.name.contains('/') { sysctl.name.clone() } else { sysctl.name.replace('.', "/") };
    PathBuf::from("/proc/sys").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_dots_and_with_slashes_mean_files() {
        let of = |name: &str| path(&Sysctl { name: name.into(), value: String::new() });
        assert_eq!(of("vm.overcommit_memory"), PathBuf::from("/proc/sys/vm/overcommit_memory"));
        assert_eq!(
            of("net/ipv4/conf/eth0.1/forwarding"),
            PathBuf::from("/proc/sys/net/ipv4/conf/eth0.1/forwarding")
        );
    }
}
