//! The facts that the maker of a container image told, in the words of a declaration.

use std::time::Duration;

use crate::{
    closure::lookup::resolve,
    declaration::{
        AbsolutePath, Capabilities, Declaration, Owner, Port, Program, Protocol, Ready, Restart, Rule,
        Service, Signal,
    },
    sources::{HealthTest, ImageConfig},
    tree::Tree,
};

use super::BuildError;

/// Folders where programs are looked for, unless the image's environment tells others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The shell of health checks.
const SHELL: &str = "/bin/sh";
/// Time that a service of an image has to become ready and to stop.
const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Longest name of a service in bytes.
const MAX_NAME: usize = 32;

/// Returns the declaration with the image's command as its service, if it has no service of its own, and with the
/// image's ports, if it has none.
///
/// # Errors
///
/// An image without a command, where the declaration has none; a value that no appliance can have.
pub(super) fn merge(
    declaration: &Declaration,
    config: Option<&ImageConfig>,
    tree: &Tree,
) -> Result<Declaration, BuildError> {
    let mut merged = declaration.clone();
    let Some(config) = config else { return Ok(merged) };
    if merged.services.is_empty() {
        merged.services.push(service(config, tree)?);
    }
    if merged.machine.ports.is_empty() {
        merged.machine.ports = config.exposed_ports.iter().filter_map(port).collect();
    }
    Ok(merged)
}

fn fault(field: &'static str, found: &str) -> BuildError {
    BuildError::ImageConfig { field, found: found.chars().take(200).collect() }
}

fn port(port: &crate::sources::Port) -> Option<Port> {
    let protocol = match port.protocol.as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        // The machine's record has no other.
        _ => return None,
    };
    Some(Port { number: port.number, protocol })
}

fn service(config: &ImageConfig, tree: &Tree) -> Result<Service, BuildError> {
    let mut command: Vec<String> = config.entrypoint.iter().chain(&config.cmd).cloned().collect();
    let Some(program) = command.first() else { return Err(fault("Entrypoint and Cmd", "")) };
    let found = find(program, config, tree).ok_or_else(|| fault("Entrypoint and Cmd", program))?;
    let name = name(&found);
    if let Some(first) = command.first_mut() {
        *first = found;
    }
    let stop_signal = match &config.stop_signal {
        None => Signal::TERM,
        Some(signal) => Signal::parse(signal).map_err(|_| fault("StopSignal", signal))?,
    };
    let work_folder = match config.working_dir.as_str() {
        "" | "/" => None,
        folder => Some(path("WorkingDir", folder.trim_end_matches('/'))?),
    };
    let ready = match config.health_check.as_ref().map(|check| &check.test) {
        None | Some(HealthTest::None) => Ready::Started,
        Some(HealthTest::Command(words)) => {
            let program = words.first().map(String::as_str).unwrap_or_default();
            let found = find(program, config, tree).ok_or_else(|| fault("Healthcheck", program))?;
            Ready::Exec(std::iter::once(found).chain(words.iter().skip(1).cloned()).collect())
        }
        Some(HealthTest::Shell(text)) => Ready::Exec(vec![SHELL.into(), "-c".into(), text.clone()]),
    };
    Ok(Service {
        name,
        program: Program {
            command,
            user: owner(&config.user),
            environment: config.env.clone(),
            work_folder,
            capabilities: Capabilities::Usual,
            limits: Vec::new(),
        },
        depends: Vec::new(),
        restart: Restart::Always,
        stop_signal,
        stop_timeout: STOP_WITHIN,
        ready,
        ready_within: READY_WITHIN,
        console: false,
        exit: false,
    })
}

fn path(field: &'static str, text: &str) -> Result<AbsolutePath, BuildError> {
    AbsolutePath::parse(text).map_err(|_: Rule| fault(field, text))
}

/// Reads `USER` or `USER:GROUP`, names or numbers; user 0 where nothing is told.
fn owner(text: &str) -> Owner {
    if text.is_empty() {
        return Owner::ROOT;
    }
    let (user, group) =
        text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group.to_owned())));
    Owner::Names { user: user.into(), group }
}

/// Finds a program as the image's own start would: by its path, or in the folders of `PATH`.
fn find(program: &str, config: &ImageConfig, tree: &Tree) -> Option<String> {
    let is_there = |path: &str| resolve(tree, path.as_bytes()).is_ok();
    if program.starts_with('/') {
        return Some(program.into());
    }
    let base = if config.working_dir.is_empty() { "/" } else { config.working_dir.as_str() };
    if program.contains('/') {
        let relative = program.trim_start_matches("./");
        return Some(format!("{}/{relative}", base.trim_end_matches('/'))).filter(|path| is_there(path));
    }
    let folders =
        config.env.iter().rev().find(|(name, _)| name == "PATH").map_or(PATH, |(_, value)| value.as_str());
    folders
        .split(':')
        .filter(|folder| folder.starts_with('/'))
        .map(|folder| format!("{}/{program}", folder.trim_end_matches('/')))
        .find(|path| is_there(path))
}

/// Makes a service's name of a program's: letters, digits, `-`, `_` and `.`.
fn name(program: &str) -> String {
    let last = program.rsplit('/').next().unwrap_or_default();
    let sign = |sign: char| if sign.is_ascii_alphanumeric() || "-_.".contains(sign) { sign } else { '-' };
    let name: String = last.chars().map(sign).take(MAX_NAME).collect();
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if first && name != "melv" { name } else { "service".into() }
}
