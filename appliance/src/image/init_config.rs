//! The configuration of the init, out of a declaration.

use melv_init::config::{self, Config};
use thiserror::Error;

use crate::declaration::{
    Capabilities, Declaration, Limit, NetworkMode, Program, Ready, Restart, Secret, Service, Setup,
    TimeServers, Writes,
};

use super::users::{UnknownOwner, Users};

/// Folders that are empty at every start, since they are in memory.
const IN_MEMORY: [&str; 4] = ["/run", "/tmp", "/dev", "/var/run"];

/// Capabilities of a daemon that starts as user 0: it may take over its files, and become another user. Nothing of
/// it reaches beyond the machine's own files and processes.
const OF_ROOT: [&str; 9] = [
    "chown",
    "dac_override",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "net_bind_service",
    "sys_chroot",
];

/// The reason that there is no configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InitConfigError {
    /// A name that nobody knows.
    #[error(transparent)]
    Owner(#[from] UnknownOwner),
    /// A rule of the init that the declaration breaks.
    #[error("the init cannot do this: {0}")]
    Rule(config::Fault),
}

/// Whether a folder is in memory, and so has to be made at every start.
pub(super) fn is_in_memory(path: &str) -> bool {
    let within =
        |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    IN_MEMORY.into_iter().any(within)
}

/// Writes the configuration of the appliance `name`.
///
/// # Errors
///
/// Owners that nobody knows; rules that only the init has.
pub fn init_config(declaration: &Declaration, name: &str, users: &Users) -> Result<Vec<u8>, InitConfigError> {
    let machine = &declaration.machine;
    let config = Config {
        hostname: machine.host_name.clone().unwrap_or_else(|| host_name(name)),
        network: network(&declaration.network.mode),
        time: match &declaration.network.time {
            TimeServers::None => config::TimeServers::None,
            TimeServers::Lease => config::TimeServers::Lease,
            TimeServers::Addresses(addresses) => config::TimeServers::Addresses(addresses.clone()),
        },
        writes: match &declaration.writes {
            Writes::Memory => config::Writes::Memory,
            Writes::Data(name) => config::Writes::Data(name.clone()),
            Writes::None => config::Writes::None,
        },
        sysctls: machine
            .sysctls
            .iter()
            .map(|(name, value)| config::Sysctl { name: name.clone(), value: value.clone() })
            .collect(),
        data: declaration.data.iter().map(|disk| data_disk(disk, users)).collect::<Result<_, _>>()?,
        directories: directories(declaration, users)?,
        secrets: declaration.secrets.iter().map(|one| secret(one, users)).collect::<Result<_, _>>()?,
        setups: declaration.setups.iter().map(|one| setup(one, users)).collect::<Result<_, _>>()?,
        services: declaration.services.iter().map(|one| service(one, users)).collect::<Result<_, _>>()?,
    };
    config::write(&config).map_err(InitConfigError::Rule)
}

/// Makes a host name of an image's name, which may have other signs.
fn host_name(name: &str) -> String {
    let sign = |sign: char| if sign.is_ascii_alphanumeric() { sign } else { '-' };
    let name: String = name.chars().map(sign).take(63).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "appliance".into() } else { name.into() }
}

fn network(mode: &NetworkMode) -> config::Network {
    match mode {
        NetworkMode::None => config::Network::None,
        NetworkMode::Dhcp => config::Network::Dhcp,
        NetworkMode::Static { address, prefix, gateway, dns } => {
            config::Network::Static(config::StaticNetwork {
                address: *address,
                prefix: *prefix,
                gateway: *gateway,
                dns: dns.clone(),
            })
        }
    }
}

fn owner(owner: &crate::declaration::Owner, users: &Users) -> Result<config::Owner, UnknownOwner> {
    let (uid, gid) = users.ids(owner)?;
    Ok(config::Owner { uid, gid })
}

fn data_disk(disk: &crate::declaration::DataDisk, users: &Users) -> Result<config::DataDisk, UnknownOwner> {
    Ok(config::DataDisk {
        name: disk.name.clone(),
        mount: disk.mount.as_str().into(),
        owner: owner(&disk.owner, users)?,
        mode: disk.mode.bits(),
    })
}

fn directories(declaration: &Declaration, users: &Users) -> Result<Vec<config::Directory>, UnknownOwner> {
    let in_memory = declaration.directories.iter().filter(|folder| is_in_memory(folder.path.as_str()));
    in_memory
        .map(|folder| {
            Ok(config::Directory {
                path: folder.path.as_str().into(),
                owner: owner(&folder.owner, users)?,
                mode: folder.mode.bits(),
            })
        })
        .collect()
}

fn secret(secret: &Secret, users: &Users) -> Result<config::Secret, UnknownOwner> {
    Ok(config::Secret {
        name: secret.name.clone(),
        owner: owner(&secret.owner, users)?,
        mode: secret.mode.bits(),
        source: match &secret.generated {
            None => config::SecretSource::Given,
            Some(made) => config::SecretSource::Generated { length: made.length, keep: made.keep.clone() },
        },
    })
}

fn process(program: &Program, users: &Users) -> Result<config::Process, UnknownOwner> {
    let (uid, gid) = users.ids(&program.user)?;
    Ok(config::Process {
        command: program.command.clone(),
        uid,
        gid,
        groups: users.groups(uid).into_iter().filter(|group| *group != gid).collect(),
        environment: program.environment.clone(),
        directory: program.work_folder.as_ref().map(|path| path.as_str().into()),
        capabilities: capabilities(&program.capabilities, uid),
        limits: program.limits.iter().filter_map(limit).collect(),
        new_privileges: false,
    })
}

fn capabilities(capabilities: &Capabilities, uid: u32) -> u64 {
    let bits = |names: &[&str]| {
        let numbers = names.iter().filter_map(|name| config::capability_number(name));
        numbers.fold(0, |all, bit| all | 1 << bit)
    };
    match capabilities {
        Capabilities::All => config::ALL_CAPABILITIES,
        Capabilities::Usual if uid == 0 => bits(&OF_ROOT),
        Capabilities::Usual => 0,
        Capabilities::These(names) => bits(names),
    }
}

/// Converts a limit. The declaration has no name that the init does not know; a test holds that.
fn limit(limit: &Limit) -> Option<config::Limit> {
    Some(config::Limit {
        resource: config::limit_number(limit.resource)?,
        soft: limit.soft.unwrap_or(u64::MAX),
        hard: limit.hard.unwrap_or(u64::MAX),
    })
}

fn setup(setup: &Setup, users: &Users) -> Result<config::Setup, UnknownOwner> {
    Ok(config::Setup {
        name: setup.name.clone(),
        process: process(&setup.program, users)?,
        creates: setup.creates.as_ref().map(|path| path.as_str().into()),
    })
}

fn service(service: &Service, users: &Users) -> Result<config::Service, UnknownOwner> {
    Ok(config::Service {
        name: service.name.clone(),
        process: process(&service.program, users)?,
        depends: service.depends.clone(),
        restart: match service.restart {
            Restart::Never => config::Restart::Never,
            Restart::OnFailure => config::Restart::OnFailure,
            Restart::Always => config::Restart::Always,
        },
        stop: config::Stop { signal: service.stop_signal.number(), timeout: service.stop_timeout },
        ready: match &service.ready {
            Ready::Started => config::Ready::Started,
            Ready::Tcp(port) => config::Ready::Tcp(*port),
            Ready::Http { port, path } => config::Ready::Http(*port, path.clone()),
            Ready::Exec(command) => config::Ready::Exec(command.clone()),
        },
        patience: service.ready_within,
        console: service.console,
        exit: service.exit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{declaration::EXAMPLES, tree::Tree};

    #[test]
    fn every_example_has_a_configuration_that_the_init_reads() {
        for (name, text) in EXAMPLES {
            let declaration = Declaration::parse(text.as_bytes()).expect("a declaration");
            let users = Users::of(&Tree::new(), &Vec::new(), &declaration);
            let bytes = init_config(&declaration, name, &users).expect(name);
            let read = config::parse(&bytes).expect("what was written is read");
            assert_eq!(read.services.len(), declaration.services.len(), "{name}");
        }
    }

    #[test]
    fn names_become_numbers_and_folders_in_memory_are_made_by_the_init() {
        let text = r#"
suite = "bookworm"
[[user]]
name = "app"
uid = 1000
groups = ["adm"]
[[dir]]
path = "/run/app"
owner = "app"
[[dir]]
path = "/srv/app"
[[service]]
name = "app"
user = "app"
command = ["/app", "a b"]
capabilities = ["chown", "net_admin"]
limits = { nofile = "1024:unlimited" }
"#;
        let declaration = Declaration::parse(text.as_bytes()).expect("a declaration");
        let users = Users::of(&Tree::new(), &Vec::new(), &declaration);
        let bytes = init_config(&declaration, "My_App", &users).expect("a configuration");
        let config = config::parse(&bytes).expect("read");
        assert_eq!(config.hostname, "My-App");
        let folders: Vec<_> = config.directories.iter().map(|folder| folder.path.as_str()).collect();
        assert_eq!(folders, ["/run/app"]);
        let process = &config.services[0].process;
        assert_eq!((process.uid, process.gid, process.groups.as_slice()), (1000, 1000, &[4][..]));
        assert_eq!(process.capabilities, 1 << 0 | 1 << 12);
        assert_eq!(
            (process.limits[0].resource, process.limits[0].soft, process.limits[0].hard),
            (7, 1024, u64::MAX)
        );
    }

    #[test]
    fn a_host_name_is_made_of_any_name() {
        for (name, expected) in [("web", "web"), ("a.b_c", "a-b-c"), ("--", "appliance"), ("x-", "x")] {
            assert_eq!(host_name(name), expected, "{name}");
        }
        assert_eq!(host_name(&"a".repeat(99)).len(), 63);
    }
}
