//! The machine and its network.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    super::{
        fault::{Fault, Rule, quoted},
        names,
        reader::{Section, Value},
        units::{MIB, Port, Size, decimal},
        value::{Kernel, KernelSource, Machine, Network, NetworkMode, TimeServers},
    },
    Context,
};

const KEYS: &[&str] = &["memory", "cpus", "ports", "firmware", "hostname", "sysctl"];
const NETWORK_KEYS: &[&str] = &["mode", "address", "gateway", "dns", "ntp"];
/// Servers of names or of time at most.
const MAX_SERVERS: usize = 8;
/// Least memory that a kernel of any kind boots in.
const LEAST_MEMORY: u64 = 32 * MIB;
const MOST_MEMORY: u64 = 4 << 40;

pub(super) fn machine(
    context: &Context<'_>,
    document: &Section<'_>,
    kernel: &Kernel,
    micro: bool,
) -> Result<Machine, Fault> {
    let small = matches!(kernel.source, KernelSource::Tailored { .. });
    let mut machine = Machine {
        memory: Size::from_mebibytes(if small { 64 } else { 128 }),
        cpus: 1,
        ports: Vec::new(),
        uefi: !micro,
        bios: !micro,
        host_name: None,
        sysctls: Vec::new(),
    };
    let Some(table) = document.get("machine") else {
        return Ok(machine);
    };
    let section = table.table(KEYS)?;
    if let Some(memory) = section.optional("memory", |value| value.parse(memory))? {
        machine.memory = memory;
    }
    if let Some(cpus) = section.optional("cpus", |value| value.integer(1, 255, "1 to 255 processors"))? {
        machine.cpus = u16::try_from(cpus).unwrap_or(1);
    }
    machine.ports = section.optional("ports", |value| ports(context, value))?.unwrap_or_default();
    if micro {
        section.only_with("firmware", "a kernel whose profile is not \"micro\"")?;
    }
    if let Some(value) = section.get("firmware") {
        (machine.uefi, machine.bios) = firmware(&value)?;
    }
    machine.host_name = section.optional("hostname", |value| value.parse(names::host_name))?;
    machine.sysctls = section.optional("sysctl", |value| sysctls(context, value))?.unwrap_or_default();
    Ok(machine)
}

fn memory(text: &str) -> Result<Size, Rule> {
    let size = Size::parse(text)?;
    if size.bytes() % MIB == 0 && (LEAST_MEMORY..=MOST_MEMORY).contains(&size.bytes()) {
        return Ok(size);
    }
    Err(Rule::Value { expected: "memory of \"32M\" to \"4T\" in whole MiB", found: quoted(text) })
}

fn ports(context: &Context<'_>, value: &Value<'_>) -> Result<Vec<Port>, Fault> {
    let mut seen = Vec::new();
    value.each(|entry| {
        let port = entry.parse(Port::parse)?;
        context.unique("the port", &mut seen, &port.to_string(), &entry.spot)?;
        Ok(port)
    })
}

fn firmware(value: &Value<'_>) -> Result<(bool, bool), Fault> {
    let (mut uefi, mut bios) = (false, false);
    for entry in value.list()? {
        match entry.text()? {
            "uefi" => uefi = true,
            "bios" => bios = true,
            other => {
                let rule = Rule::Value { expected: "\"uefi\" or \"bios\"", found: quoted(other) };
                return Err(entry.fault(rule));
            }
        }
    }
    if !uefi && !bios {
        return Err(value.fault(Rule::Value { expected: "\"uefi\", \"bios\" or both", found: "none".into() }));
    }
    Ok((uefi, bios))
}

fn sysctls(context: &Context<'_>, value: &Value<'_>) -> Result<Vec<(String, String)>, Fault> {
    let mut seen = Vec::new();
    let read = |(spot, name, value): &(_, &str, Value<'_>)| {
        let name = names::sysctl(name).map_err(|rule| super::Spot::fault(spot, rule))?;
        // `net.core.somaxconn` and `net/core/somaxconn` are one file.
        context.unique("the kernel setting", &mut seen, &name.replace('/', "."), spot)?;
        let text = value.text_or_integer()?;
        if text.is_empty() || text.len() > 4095 || text.contains(['\0', '\n']) {
            return Err(value.fault(Rule::Value { expected: "a value of one line", found: quoted(text) }));
        }
        Ok((name, text.to_owned()))
    };
    value.pairs()?.iter().map(read).collect()
}

pub(super) fn network(document: &Section<'_>) -> Result<Network, Fault> {
    let Some(table) = document.get("network") else {
        return Ok(Network { mode: NetworkMode::Dhcp, time: TimeServers::None });
    };
    let section = table.table(NETWORK_KEYS)?;
    let mode = section.optional("mode", |value| value.parse(network_mode))?.unwrap_or("dhcp");
    if mode != "static" {
        for key in ["address", "gateway", "dns"] {
            section.only_with(key, "`mode = \"static\"`")?;
        }
    }
    if mode == "none" {
        section.only_with("ntp", "a network")?;
    }
    let time = section.optional("ntp", |value| time_servers(value, mode))?.unwrap_or(TimeServers::None);
    let mode = match mode {
        "none" => NetworkMode::None,
        "dhcp" => NetworkMode::Dhcp,
        _ => {
            let (address, prefix) = section.require("address")?.parse(address)?;
            NetworkMode::Static {
                address,
                prefix,
                gateway: section.optional("gateway", |value| value.parse(ipv4))?,
                dns: section.optional("dns", |value| servers(value, ip))?.unwrap_or_default(),
            }
        }
    };
    Ok(Network { mode, time })
}

fn network_mode(text: &str) -> Result<&'static str, Rule> {
    ["dhcp", "static", "none"]
        .into_iter()
        .find(|known| *known == text)
        .ok_or_else(|| Rule::Value { expected: "\"dhcp\", \"static\" or \"none\"", found: quoted(text) })
}

fn time_servers(value: &Value<'_>, mode: &str) -> Result<TimeServers, Fault> {
    if value.is_text() {
        return match value.text()? {
            "lease" if mode == "dhcp" => Ok(TimeServers::Lease),
            other => {
                let expected = "a list of IPv4 addresses, or \"lease\" with DHCP";
                Err(value.fault(Rule::Value { expected, found: quoted(other) }))
            }
        };
    }
    Ok(match servers(value, ipv4)? {
        addresses if addresses.is_empty() => TimeServers::None,
        addresses => TimeServers::Addresses(addresses),
    })
}

fn servers<T>(value: &Value<'_>, read: fn(&str) -> Result<T, Rule>) -> Result<Vec<T>, Fault> {
    let servers = value.each(|entry| entry.parse(read))?;
    if servers.len() > MAX_SERVERS {
        return Err(value.fault(Rule::TooMany { found: servers.len(), limit: MAX_SERVERS }));
    }
    Ok(servers)
}

fn ipv4(text: &str) -> Result<Ipv4Addr, Rule> {
    text.parse()
        .map_err(|_| Rule::Value { expected: "an IPv4 address as \"192.0.2.1\"", found: quoted(text) })
}

fn ip(text: &str) -> Result<IpAddr, Rule> {
    text.parse().map_err(|_| Rule::Value { expected: "an IP address as \"192.0.2.1\"", found: quoted(text) })
}

fn address(text: &str) -> Result<(Ipv4Addr, u8), Rule> {
    let read = || {
        let (address, prefix) = text.split_once('/')?;
        let prefix = decimal(prefix).and_then(|bits| u8::try_from(bits).ok()).filter(|bits| *bits <= 32)?;
        Some((address.parse().ok()?, prefix))
    };
    read().ok_or_else(|| Rule::Value {
        expected: "an IPv4 address and its bits as \"192.0.2.7/24\"",
        found: quoted(text),
    })
}
