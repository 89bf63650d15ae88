//! Rules that hold for every configuration, read or written.

use std::time::Duration;

use super::{
    fault::{Fault, Rule, value},
    names::{ALL_CAPABILITIES, capability_name, limit_name},
    text::{MAX_WORD, MAX_WORDS},
    value::{Config, Network, Process, Ready, Restart, SecretSource, Service, TimeServers, Writes},
};

/// Most of each kind of thing. An appliance has a few; init's work grows with the square of services.
const MAX_SERVICES: usize = 64;
const MAX_DATA: usize = 16;
const MAX_OTHERS: usize = 1024;
/// Longest name of a data disk: ext4 labels have 16 bytes, `melv-` takes five.
const MAX_DATA_NAME: usize = 11;
const MAX_NAME: usize = 32;
/// Longest path, from `PATH_MAX` of Linux without its NUL.
const MAX_PATH: usize = 4095;

impl Config {
    /// Checks all rules of the values.
    ///
    /// # Errors
    ///
    /// The first rule that is broken. Its line is 0, since the values do not know their lines.
    pub fn check(&self) -> Result<(), Fault> {
        self.rules().map_err(|rule| Fault { line: 0, rule })
    }

    fn rules(&self) -> Result<(), Rule> {
        most(self.services.len(), "services", MAX_SERVICES)?;
        most(self.setups.len(), "setup commands", MAX_SERVICES)?;
        most(self.data.len(), "data disks", MAX_DATA)?;
        most(self.sysctls.len(), "sysctls", MAX_OTHERS)?;
        most(self.directories.len(), "directories", MAX_OTHERS)?;
        most(self.secrets.len(), "secrets", MAX_SERVICES)?;
        host_name(&self.hostname)?;
        self.network_rules()?;
        for sysctl in &self.sysctls {
            sysctl_rules(&sysctl.name, &sysctl.value)?;
        }
        self.storage_rules()?;
        for setup in &self.setups {
            name(&setup.name, MAX_NAME)?;
            process_rules(&setup.process)?;
            setup.creates.as_deref().map_or(Ok(()), path)?;
        }
        let names: Vec<&str> = self.services.iter().map(|service| service.name.as_str()).collect();
        unique(&names)?;
        for service in &self.services {
            service_rules(service, &names)?;
        }
        if self.services.iter().filter(|service| service.console).count() > 1 {
            return Err(Rule::Twice("console".into()));
        }
        if self.services.iter().filter(|service| service.exit).count() > 1 {
            return Err(Rule::Twice("exit".into()));
        }
        no_circle(&self.services)
    }

    fn network_rules(&self) -> Result<(), Rule> {
        if let Network::Static(fixed) = &self.network {
            if fixed.prefix > 32 {
                return Err(value("prefix", &fixed.prefix.to_string()));
            }
            most(fixed.dns.len(), "name servers", 8)?;
        }
        if let TimeServers::Addresses(addresses) = &self.time {
            most(addresses.len(), "time servers", 8)?;
            if addresses.is_empty() {
                return Err(Rule::Words("time".into()));
            }
        }
        Ok(())
    }

    fn storage_rules(&self) -> Result<(), Rule> {
        for disk in &self.data {
            name(&disk.name, MAX_DATA_NAME)?;
            path(&disk.mount)?;
            mode(disk.mode)?;
        }
        let names: Vec<&str> = self.data.iter().map(|disk| disk.name.as_str()).collect();
        unique(&names)?;
        unique(&self.data.iter().map(|disk| disk.mount.as_str()).collect::<Vec<_>>())?;
        let known = |name: &str| {
            let unknown = || Rule::Unknown { thing: "data disk", name: name.into() };
            names.contains(&name).then_some(()).ok_or_else(unknown)
        };
        if let Writes::Data(name) = &self.writes {
            known(name)?;
        }
        for directory in &self.directories {
            path(&directory.path)?;
            mode(directory.mode)?;
        }
        for secret in &self.secrets {
            name(&secret.name, MAX_NAME)?;
            mode(secret.mode)?;
            if let SecretSource::Generated { length, keep } = &secret.source {
                if !(8..=128).contains(length) {
                    return Err(value("length of a secret", &length.to_string()));
                }
                keep.as_deref().map_or(Ok(()), known)?;
            }
        }
        unique(&self.secrets.iter().map(|secret| secret.name.as_str()).collect::<Vec<_>>())
    }
}

fn service_rules(service: &Service, names: &[&str]) -> Result<(), Rule> {
    name(&service.name, MAX_NAME)?;
    process_rules(&service.process)?;
    most(service.depends.len(), "services", MAX_SERVICES)?;
    for other in &service.depends {
        if !names.contains(&other.as_str()) {
            return Err(Rule::Unknown { thing: "service", name: other.clone() });
        }
    }
    unique(&service.depends.iter().map(String::as_str).collect::<Vec<_>>())?;
    if !(1..=64).contains(&service.stop.signal) {
        return Err(value("signal", &service.stop.signal.to_string()));
    }
    milliseconds(service.stop.timeout)?;
    milliseconds(service.patience)?;
    match &service.ready {
        Ready::Tcp(0) | Ready::Http(0, _) => return Err(value("port", "0")),
        Ready::Http(_, path) => {
            // The path goes into a request as it is.
            if !path.starts_with('/')
                || path.len() > MAX_PATH
                || !path.bytes().all(|byte| byte.is_ascii_graphic())
            {
                return Err(value("path of HTTP", path));
            }
        }
        Ready::Exec(command) if command.is_empty() => return Err(Rule::Words("ready".into())),
        Ready::Exec(command) => words(command)?,
        Ready::Started | Ready::Tcp(_) => {}
    }
    if service.exit && service.restart != Restart::Never {
        return Err(value("restart of a service whose end ends the machine", "on-failure or always"));
    }
    Ok(())
}

fn process_rules(process: &Process) -> Result<(), Rule> {
    if process.command.is_empty() {
        return Err(Rule::Missing("command"));
    }
    words(&process.command)?;
    if process.command.first().is_none_or(String::is_empty) {
        return Err(value("program", ""));
    }
    // -1 means "leave as it is" to the kernel, and would leave user 0.
    for id in [process.uid, process.gid].iter().chain(&process.groups) {
        if *id == u32::MAX {
            return Err(value("user or group", &id.to_string()));
        }
    }
    most(process.groups.len(), "groups", MAX_OTHERS)?;
    most(process.environment.len(), "variables", MAX_OTHERS)?;
    for (name, text) in &process.environment {
        if name.is_empty() || name.contains(['=', '\0']) || text.contains('\0') {
            return Err(value("variable", name));
        }
        if name.len() > MAX_WORD || text.len() > MAX_WORD {
            return Err(Rule::Word);
        }
    }
    process.directory.as_deref().map_or(Ok(()), path)?;
    if process.capabilities != ALL_CAPABILITIES {
        let unknown =
            (0..64).find(|bit| process.capabilities >> bit & 1 == 1 && capability_name(*bit).is_none());
        if let Some(bit) = unknown {
            return Err(value("capability", &bit.to_string()));
        }
    }
    most(process.limits.len(), "limits", 16)?;
    for limit in &process.limits {
        if limit_name(limit.resource).is_none() || limit.soft > limit.hard {
            return Err(value("limit", &limit.soft.to_string()));
        }
    }
    Ok(())
}

/// Refuses services that wait for one another. Takes ready ones away until none is left, or none can be taken.
fn no_circle(services: &[Service]) -> Result<(), Rule> {
    let mut started: Vec<&str> = Vec::new();
    while started.len() < services.len() {
        let next: Vec<&str> = services
            .iter()
            .filter(|service| !started.contains(&service.name.as_str()))
            .filter(|service| service.depends.iter().all(|other| started.contains(&other.as_str())))
            .map(|service| service.name.as_str())
            .collect();
        if next.is_empty() {
            let stuck = services.iter().find(|service| !started.contains(&service.name.as_str()));
            return Err(Rule::Circle(stuck.map(|service| service.name.clone()).unwrap_or_default()));
        }
        started.extend(next);
    }
    Ok(())
}

fn most(count: usize, thing: &'static str, limit: usize) -> Result<(), Rule> {
    if count > limit { Err(Rule::TooMany { thing, limit }) } else { Ok(()) }
}

fn unique(names: &[&str]) -> Result<(), Rule> {
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(Rule::Twice((*name).into()));
        }
    }
    Ok(())
}

fn words(words: &[String]) -> Result<(), Rule> {
    most(words.len(), "words", MAX_WORDS - 1)?;
    let bad = words.iter().any(|word| word.len() > MAX_WORD || word.contains('\0'));
    if bad { Err(Rule::Word) } else { Ok(()) }
}

/// Allows names that are a file name, a label and a word of a line at once. `melv` begins init's own lines.
fn name(name: &str, limit: usize) -> Result<(), Rule> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if first && rest && name.len() <= limit && name != "melv" { Ok(()) } else { Err(value("name", name)) }
}

fn host_name(name: &str) -> Result<(), Rule> {
    let good = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if good && (1..=64).contains(&name.len()) { Ok(()) } else { Err(value("host name", name)) }
}

fn path(path: &str) -> Result<(), Rule> {
    let parts = || path.split('/').skip(1);
    let good = path.starts_with('/') && parts().all(|part| !part.is_empty() && part != "." && part != "..");
    if good && path.len() <= MAX_PATH && !path.contains('\0') {
        Ok(())
    } else {
        Err(value("absolute path", path))
    }
}

fn mode(mode: u16) -> Result<(), Rule> {
    if mode <= 0o7777 { Ok(()) } else { Err(value("mode", &format!("{mode:o}"))) }
}

fn sysctl_rules(name: &str, text: &str) -> Result<(), Rule> {
    let parts = || name.split(['.', '/']);
    let good = name.bytes().all(|byte| byte.is_ascii_graphic()) && parts().all(|part| !part.is_empty());
    if !good || name.len() > 255 {
        return Err(value("sysctl", name));
    }
    if text.len() > MAX_PATH || text.contains('\0') { Err(value("value of a sysctl", text)) } else { Ok(()) }
}

fn milliseconds(time: Duration) -> Result<(), Rule> {
    let whole = time.subsec_nanos().is_multiple_of(1_000_000);
    if whole && u32::try_from(time.as_millis()).is_ok() {
        Ok(())
    } else {
        Err(value("time in whole milliseconds below 2^32", &format!("{time:?}")))
    }
}
