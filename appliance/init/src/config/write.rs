//! Configuration to text.

use std::time::Duration;

use super::{
    fault::{Fault, Rule},
    names::{ALL_CAPABILITIES, capability_name, limit_name},
    text::{MAX_TEXT, encode},
    value::{
        Config, DEFAULT_PATIENCE, Network, Process, Ready, Restart, SecretSource, Service, Stop, TimeServers,
        Writes,
    },
};

/// Writes a configuration. The same value has the same bytes.
///
/// # Errors
///
/// A rule that the value breaks; the text could not be read.
#[allow(dead_code, reason = "the builder writes; the init reads")]
pub fn write(config: &Config) -> Result<Vec<u8>, Fault> {
    config.check()?;
    let mut text = Text(String::from("melv-init 1\n"));
    text.line(&["hostname", &config.hostname]);
    network(&config.network, &mut text);
    match &config.time {
        TimeServers::None => {}
        TimeServers::Lease => text.line(&["time", "lease"]),
        TimeServers::Addresses(addresses) => text.list("time", addresses),
    }
    match &config.writes {
        Writes::Memory => {}
        Writes::None => text.line(&["writes", "none"]),
        Writes::Data(name) => text.line(&["writes", "data", name]),
    }
    for sysctl in &config.sysctls {
        text.line(&["sysctl", &sysctl.name, &sysctl.value]);
    }
    for disk in &config.data {
        text.line(&["data", &disk.name]);
        text.inner(&["mount", &disk.mount]);
        text.inner(&["owner", &disk.owner.uid.to_string(), &disk.owner.gid.to_string()]);
        text.inner(&["mode", &octal(disk.mode)]);
    }
    for directory in &config.directories {
        let (uid, gid) = (directory.owner.uid.to_string(), directory.owner.gid.to_string());
        text.line(&["directory", &directory.path, &octal(directory.mode), &uid, &gid]);
    }
    for secret in &config.secrets {
        let (uid, gid) = (secret.owner.uid.to_string(), secret.owner.gid.to_string());
        let mode = octal(secret.mode);
        let start = ["secret", &secret.name, &mode, &uid, &gid];
        match &secret.source {
            SecretSource::Given => text.line(&[&start[..], &["given"]].concat()),
            SecretSource::Generated { length, keep } => {
                let length = length.to_string();
                let end: Vec<&str> = ["generated", &length].into_iter().chain(keep.as_deref()).collect();
                text.line(&[&start[..], &end].concat());
            }
        }
    }
    for setup in &config.setups {
        text.line(&["setup", &setup.name]);
        process(&setup.process, &mut text);
        if let Some(path) = &setup.creates {
            text.inner(&["creates", path]);
        }
    }
    for one in &config.services {
        service(one, &mut text);
    }
    text.line(&["end"]);
    if text.0.len() > MAX_TEXT {
        return Err(Fault { line: 0, rule: Rule::TooMany { thing: "bytes", limit: MAX_TEXT } });
    }
    Ok(text.0.into_bytes())
}

fn network(network: &Network, text: &mut Text) {
    match network {
        Network::Dhcp => {}
        Network::None => text.line(&["network", "none"]),
        Network::Static(fixed) => {
            text.line(&["network", "static"]);
            text.inner(&["address", &format!("{}/{}", fixed.address, fixed.prefix)]);
            if let Some(gateway) = fixed.gateway {
                text.inner(&["gateway", &gateway.to_string()]);
            }
            if !fixed.dns.is_empty() {
                text.0.push(' ');
                text.list("dns", &fixed.dns);
            }
        }
    }
}

fn process(process: &Process, text: &mut Text) {
    text.0.push(' ');
    text.list("command", &process.command);
    let mut ids = vec![process.uid, process.gid];
    ids.extend(&process.groups);
    if ids != [0, 0] {
        text.0.push(' ');
        text.list("user", &ids);
    }
    for (name, value) in &process.environment {
        text.inner(&["environment", name, value]);
    }
    if let Some(directory) = &process.directory {
        text.inner(&["directory", directory]);
    }
    if process.capabilities == ALL_CAPABILITIES {
        text.inner(&["capabilities", "all"]);
    } else if process.capabilities != 0 {
        let held =
            (0..64).filter(|number| process.capabilities >> number & 1 == 1).filter_map(capability_name);
        text.inner(&std::iter::once("capabilities").chain(held).collect::<Vec<_>>());
    }
    for limit in &process.limits {
        let amount = |amount: u64| if amount == u64::MAX { "unlimited".into() } else { amount.to_string() };
        let name = limit_name(limit.resource).unwrap_or_default();
        text.inner(&["limit", name, &amount(limit.soft), &amount(limit.hard)]);
    }
    if process.new_privileges {
        text.inner(&["new-privileges"]);
    }
}

fn service(service: &Service, text: &mut Text) {
    text.line(&["service", &service.name]);
    process(&service.process, text);
    if !service.depends.is_empty() {
        text.0.push(' ');
        text.list("depends", &service.depends);
    }
    match service.restart {
        Restart::Never => {}
        Restart::OnFailure => text.inner(&["restart", "on-failure"]),
        Restart::Always => text.inner(&["restart", "always"]),
    }
    if service.stop != Stop::default() {
        text.inner(&["stop", &service.stop.signal.to_string(), &milliseconds(service.stop.timeout)]);
    }
    match &service.ready {
        Ready::Started => {}
        Ready::Tcp(port) => text.inner(&["ready", "tcp", &port.to_string()]),
        Ready::Http(port, path) => text.inner(&["ready", "http", &port.to_string(), path]),
        Ready::Exec(command) => {
            let words = ["ready", "exec"].into_iter().chain(command.iter().map(String::as_str));
            text.inner(&words.collect::<Vec<_>>());
        }
    }
    if service.patience != DEFAULT_PATIENCE {
        text.inner(&["patience", &milliseconds(service.patience)]);
    }
    if service.console {
        text.inner(&["console"]);
    }
    if service.exit {
        text.inner(&["exit"]);
    }
}

fn octal(mode: u16) -> String {
    format!("{mode:04o}")
}

fn milliseconds(time: Duration) -> String {
    time.as_millis().to_string()
}

/// A text that grows by lines.
struct Text(String);

impl Text {
    fn line(&mut self, words: &[&str]) {
        for (index, word) in words.iter().enumerate() {
            if index > 0 {
                self.0.push(' ');
            }
            encode(word, &mut self.0);
        }
        self.0.push('\n');
    }

    fn inner(&mut self, words: &[&str]) {
        self.0.push(' ');
        self.line(words);
    }

    fn list(&mut self, key: &str, words: &[impl ToString]) {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let all: Vec<&str> = std::iter::once(key).chain(words.iter().map(String::as_str)).collect();
        self.line(&all);
    }
}
