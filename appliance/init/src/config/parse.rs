//! Text to configuration.

use std::{fmt::Display, str::FromStr, time::Duration};

use super::{
    fault::{Fault, Rule, value},
    names::{ALL_CAPABILITIES, capability_number, limit_number},
    text::{Line, MAX_TEXT, split},
    value::{
        Config, DEFAULT_PATIENCE, DataDisk, Directory, Limit, Network, Owner, Process, Ready, Restart,
        Secret, SecretSource, Service, Setup, StaticNetwork, Stop, Sysctl, TimeServers, Writes,
    },
};

/// Reads a configuration.
///
/// # Errors
///
/// The first rule that the text breaks, with its line.
pub fn parse(text: &[u8]) -> Result<Config, Fault> {
    if text.len() > MAX_TEXT {
        return Err(Fault { line: 0, rule: Rule::TooMany { thing: "bytes", limit: MAX_TEXT } });
    }
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if first != b"melv-init 1" {
        let found = String::from_utf8_lossy(first).chars().take(40).collect();
        return Err(Fault { line: 1, rule: Rule::Version(found) });
    }
    let body = text[first.len()..].strip_prefix(b"\n").and_then(|rest| rest.strip_suffix(b"end\n"));
    let body = body.filter(|body| body.is_empty() || body.ends_with(b"\n"));
    let body = body.ok_or(Fault { line: 0, rule: Rule::End })?;
    let mut lines = Vec::new();
    for (line, number) in body.split_inclusive(|byte| *byte == b'\n').zip(2..) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        lines.push(split(number, line).map_err(|rule| Fault { line: number, rule })?);
    }
    let config = read_lines(&lines)?;
    config.check()?;
    Ok(config)
}

fn read_lines(lines: &[Line]) -> Result<Config, Fault> {
    let mut config = Config::default();
    let mut seen = Seen::default();
    let mut rest = lines;
    while let Some((line, tail)) = rest.split_first() {
        let length = tail.iter().take_while(|inner| inner.inner).count();
        let (block, after) = tail.split_at(length);
        rest = after;
        let at = |rule| Fault { line: line.number, rule };
        if line.inner {
            return Err(at(Rule::Key(line.key.clone())));
        }
        if matches!(line.key.as_str(), "hostname" | "network" | "time" | "writes") {
            seen.once(line).map_err(at)?;
        }
        match line.key.as_str() {
            "data" => config.data.push(data_disk(line, block)?),
            "setup" => config.setups.push(setup(line, block)?),
            "service" => config.services.push(service(line, block)?),
            "network" => config.network = network(line, block)?,
            _ => {
                read_line(line, &mut config).map_err(at)?;
                if let Some(inner) = block.first() {
                    return Err(Fault { line: inner.number, rule: Rule::Key(inner.key.clone()) });
                }
            }
        }
    }
    Ok(config)
}

fn read_line(line: &Line, config: &mut Config) -> Result<(), Rule> {
    match line.key.as_str() {
        "hostname" => {
            let [name] = exactly(line)?;
            config.hostname.clone_from(name);
        }
        "time" => {
            config.time = match line.words.as_slice() {
                [word] if word == "lease" => TimeServers::Lease,
                words => TimeServers::Addresses(each(words, "IPv4 address")?),
            };
        }
        "writes" => {
            config.writes = match line.words.as_slice() {
                [word] if word == "memory" => Writes::Memory,
                [word] if word == "none" => Writes::None,
                [word, name] if word == "data" => Writes::Data(name.clone()),
                _ => return Err(Rule::Words(line.key.clone())),
            };
        }
        "sysctl" => {
            let [name, value] = exactly(line)?;
            config.sysctls.push(Sysctl { name: name.clone(), value: value.clone() });
        }
        "directory" => {
            let [path, mode, uid, gid] = exactly(line)?;
            let directory = Directory { path: path.clone(), owner: owner(uid, gid)?, mode: octal(mode)? };
            config.directories.push(directory);
        }
        "secret" => config.secrets.push(secret(line)?),
        _ => return Err(Rule::Key(line.key.clone())),
    }
    Ok(())
}

fn secret(line: &Line) -> Result<Secret, Rule> {
    let [name, mode, uid, gid, source @ ..] = line.words.as_slice() else {
        return Err(Rule::Words(line.key.clone()));
    };
    let source = match source {
        [word] if word == "given" => SecretSource::Given,
        [word, length] if word == "generated" => {
            SecretSource::Generated { length: number(length, "length")?, keep: None }
        }
        [word, length, keep] if word == "generated" => {
            SecretSource::Generated { length: number(length, "length")?, keep: Some(keep.clone()) }
        }
        _ => return Err(Rule::Words(line.key.clone())),
    };
    Ok(Secret { name: name.clone(), owner: owner(uid, gid)?, mode: octal(mode)?, source })
}

fn network(line: &Line, block: &[Line]) -> Result<Network, Fault> {
    let at = |rule| Fault { line: line.number, rule };
    let [kind] = exactly(line).map_err(at)?;
    if kind != "static" {
        if let Some(inner) = block.first() {
            return Err(Fault { line: inner.number, rule: Rule::Key(inner.key.clone()) });
        }
        return match kind.as_str() {
            "none" => Ok(Network::None),
            "dhcp" => Ok(Network::Dhcp),
            _ => Err(at(value("kind of network", kind))),
        };
    }
    let mut address = None;
    let mut gateway = None;
    let mut dns = Vec::new();
    read_block(block, &[], |line| {
        match line.key.as_str() {
            "address" => {
                let [word] = exactly(line)?;
                let (host, prefix) = word.split_once('/').ok_or_else(|| value("address", word))?;
                address = Some((number(host, "address")?, number(prefix, "prefix")?));
            }
            "gateway" => {
                let [word] = exactly(line)?;
                gateway = Some(number(word, "address")?);
            }
            "dns" => dns = each(&line.words, "address")?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let (address, prefix) = address.ok_or_else(|| at(Rule::Missing("address")))?;
    Ok(Network::Static(StaticNetwork { address, prefix, gateway, dns }))
}

fn data_disk(line: &Line, block: &[Line]) -> Result<DataDisk, Fault> {
    let at = |rule| Fault { line: line.number, rule };
    let [name] = exactly(line).map_err(at)?;
    let mut disk =
        DataDisk { name: name.clone(), mount: String::new(), owner: Owner::default(), mode: 0o755 };
    read_block(block, &[], |line| {
        match line.key.as_str() {
            "mount" => {
                let [path] = exactly(line)?;
                disk.mount.clone_from(path);
            }
            "owner" => {
                let [uid, gid] = exactly(line)?;
                disk.owner = owner(uid, gid)?;
            }
            "mode" => {
                let [mode] = exactly(line)?;
                disk.mode = octal(mode)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if disk.mount.is_empty() {
        return Err(at(Rule::Missing("mount")));
    }
    Ok(disk)
}

fn setup(line: &Line, block: &[Line]) -> Result<Setup, Fault> {
    let at = |rule| Fault { line: line.number, rule };
    let [name] = exactly(line).map_err(at)?;
    let mut setup = Setup { name: name.clone(), process: Process::default(), creates: None };
    read_block(block, PROCESS_LISTS, |line| {
        if line.key == "creates" {
            let [path] = exactly(line)?;
            setup.creates = Some(path.clone());
            return Ok(true);
        }
        process_line(line, &mut setup.process)
    })?;
    Ok(setup)
}

fn service(line: &Line, block: &[Line]) -> Result<Service, Fault> {
    let at = |rule| Fault { line: line.number, rule };
    let [name] = exactly(line).map_err(at)?;
    let mut service = Service {
        name: name.clone(),
        process: Process::default(),
        depends: Vec::new(),
        restart: Restart::default(),
        stop: Stop::default(),
        ready: Ready::default(),
        patience: DEFAULT_PATIENCE,
        console: false,
        exit: false,
    };
    read_block(block, PROCESS_LISTS, |line| {
        Ok(service_line(line, &mut service)? || process_line(line, &mut service.process)?)
    })?;
    Ok(service)
}

fn service_line(line: &Line, service: &mut Service) -> Result<bool, Rule> {
    match line.key.as_str() {
        "depends" => service.depends.clone_from(&line.words),
        "restart" => {
            let [word] = exactly(line)?;
            service.restart = match word.as_str() {
                "never" => Restart::Never,
                "on-failure" => Restart::OnFailure,
                "always" => Restart::Always,
                _ => return Err(value("restart", word)),
            };
        }
        "stop" => {
            let [signal, timeout] = exactly(line)?;
            service.stop = Stop { signal: number(signal, "signal")?, timeout: milliseconds(timeout)? };
        }
        "ready" => service.ready = ready(line)?,
        "patience" => {
            let [time] = exactly(line)?;
            service.patience = milliseconds(time)?;
        }
        "console" => {
            let [] = exactly(line)?;
            service.console = true;
        }
        "exit" => {
            let [] = exactly(line)?;
            service.exit = true;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn ready(line: &Line) -> Result<Ready, Rule> {
    match line.words.as_slice() {
        [word] if word == "started" => Ok(Ready::Started),
        [word, port] if word == "tcp" => Ok(Ready::Tcp(number(port, "port")?)),
        [word, port, path] if word == "http" => Ok(Ready::Http(number(port, "port")?, path.clone())),
        [word, command @ ..] if word == "exec" && !command.is_empty() => Ok(Ready::Exec(command.to_vec())),
        _ => Err(Rule::Words(line.key.clone())),
    }
}

/// Keys of a process that may come more than once.
const PROCESS_LISTS: &[&str] = &["environment", "limit"];

fn process_line(line: &Line, process: &mut Process) -> Result<bool, Rule> {
    match line.key.as_str() {
        "command" => process.command.clone_from(&line.words),
        "user" => {
            let [uid, gid, groups @ ..] = line.words.as_slice() else {
                return Err(Rule::Words(line.key.clone()));
            };
            process.uid = number(uid, "user")?;
            process.gid = number(gid, "group")?;
            process.groups = each(groups, "group")?;
        }
        "environment" => {
            let [name, value] = exactly(line)?;
            process.environment.push((name.clone(), value.clone()));
        }
        "directory" => {
            let [path] = exactly(line)?;
            process.directory = Some(path.clone());
        }
        "capabilities" => process.capabilities = capabilities(&line.words)?,
        "limit" => {
            let [name, soft, hard] = exactly(line)?;
            let resource = limit_number(name).ok_or_else(|| value("limit", name))?;
            process.limits.push(Limit { resource, soft: limit(soft)?, hard: limit(hard)? });
        }
        "new-privileges" => {
            let [] = exactly(line)?;
            process.new_privileges = true;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn capabilities(words: &[String]) -> Result<u64, Rule> {
    if matches!(words, [word] if word == "all") {
        return Ok(ALL_CAPABILITIES);
    }
    let mut set = 0;
    for word in words {
        let number = capability_number(word).ok_or_else(|| value("capability", word))?;
        set |= 1_u64 << number;
    }
    Ok(set)
}

fn limit(word: &str) -> Result<u64, Rule> {
    if word == "unlimited" { Ok(u64::MAX) } else { number(word, "limit") }
}

/// Gives each line of a block to `read`, which says whether it knows the key.
fn read_block(
    block: &[Line],
    lists: &[&str],
    mut read: impl FnMut(&Line) -> Result<bool, Rule>,
) -> Result<(), Fault> {
    let mut seen = Seen::default();
    for line in block {
        let at = |rule| Fault { line: line.number, rule };
        if !lists.contains(&line.key.as_str()) {
            seen.once(line).map_err(at)?;
        }
        if !read(line).map_err(at)? {
            return Err(at(Rule::Key(line.key.clone())));
        }
    }
    Ok(())
}

/// Keys that were there.
#[derive(Default)]
struct Seen<'a>(Vec<&'a str>);

impl<'a> Seen<'a> {
    fn once(&mut self, line: &'a Line) -> Result<(), Rule> {
        if self.0.contains(&line.key.as_str()) {
            return Err(Rule::Twice(line.key.clone()));
        }
        self.0.push(&line.key);
        Ok(())
    }
}

fn exactly<const N: usize>(line: &Line) -> Result<&[String; N], Rule> {
    line.words.as_slice().try_into().map_err(|_| Rule::Words(line.key.clone()))
}

/// Reads a value that is written in the one way that `Display` writes it.
fn number<T: FromStr + Display>(word: &str, thing: &'static str) -> Result<T, Rule> {
    let read = word.parse::<T>().map_err(|_| value(thing, word))?;
    if read.to_string() == word { Ok(read) } else { Err(value(thing, word)) }
}

fn each<T: FromStr + Display>(words: &[String], thing: &'static str) -> Result<Vec<T>, Rule> {
    words.iter().map(|word| number(word, thing)).collect()
}

fn milliseconds(word: &str) -> Result<Duration, Rule> {
    Ok(Duration::from_millis(number::<u32>(word, "number of milliseconds")?.into()))
}

fn octal(word: &str) -> Result<u16, Rule> {
    let mode = u16::from_str_radix(word, 8).map_err(|_| value("mode", word))?;
    if format!("{mode:04o}") == word { Ok(mode) } else { Err(value("mode", word)) }
}

fn owner(uid: &str, gid: &str) -> Result<Owner, Rule> {
    Ok(Owner { uid: number(uid, "user")?, gid: number(gid, "group")? })
}
