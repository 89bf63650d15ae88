//! The values of a configuration.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// All that the init of one appliance is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Host name, 1 to 64 letters, digits and hyphens.
    pub hostname: String,
    /// The network of the first Ethernet interface.
    pub network: Network,
    /// Servers that the clock is set by.
    pub time: TimeServers,
    /// Place of the files that programs write below `/`.
    pub writes: Writes,
    /// Kernel settings, set before all else.
    pub sysctls: Vec<Sysctl>,
    /// Data disks, in the order in which blank disks are taken.
    pub data: Vec<DataDisk>,
    /// Folders made at every start where they are not there.
    pub directories: Vec<Directory>,
    /// Secrets, as files in `/run/melv/secrets`.
    pub secrets: Vec<Secret>,
    /// Commands that run once, in order, before the services.
    pub setups: Vec<Setup>,
    /// Programs that run as long as the machine does.
    pub services: Vec<Service>,
}

/// Configuration of the first Ethernet interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Network {
    /// The loopback interface alone.
    None,
    /// An address from a DHCP server.
    #[default]
    Dhcp,
    /// A fixed address.
    Static(StaticNetwork),
}

/// A fixed address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticNetwork {
    /// Address of the machine.
    pub address: Ipv4Addr,
    /// Bits of the network, 0 to 32.
    pub prefix: u8,
    /// Next hop of everything outside the network.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
}

/// Servers that the clock is set by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TimeServers {
    /// None: the hypervisor's clock stands.
    #[default]
    None,
    /// Those of the DHCP lease, if it has some.
    Lease,
    /// These.
    Addresses(Vec<Ipv4Addr>),
}

/// Place of the files that programs write below `/`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Writes {
    /// In memory, at most half of it, and lost at the end.
    #[default]
    Memory,
    /// On the data disk with this name.
    Data(String),
    /// Nowhere: `/` is read-only.
    None,
}

/// A kernel setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// Name with dots or slashes, as `vm.overcommit_memory`.
    pub name: String,
    /// Text to write.
    pub value: String,
}

/// Owner of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A data disk: an ext4 file system with the label `melv-NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDisk {
    /// Name, 1 to 11 bytes, since a label of ext4 has 16.
    pub name: String,
    /// Folder of the image where it is mounted.
    pub mount: String,
    /// Owner of its root, once formatted.
    pub owner: Owner,
    /// Permission bits of its root, once formatted.
    pub mode: u16,
}

/// A folder made at every start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Absolute path. Folders above it are made for user 0, mode 0755.
    pub path: String,
    /// Owner.
    pub owner: Owner,
    /// Permission bits.
    pub mode: u16,
}

/// A secret, which no image holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Name of the file in `/run/melv/secrets`.
    pub name: String,
    /// Owner of the file.
    pub owner: Owner,
    /// Permission bits of the file.
    pub mode: u16,
    /// Origin.
    pub source: SecretSource,
}

/// Origin of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// Given from outside at every start. Without it the machine does not start.
    Given,
    /// Given from outside, else made of `length` letters and digits at the first start, and shown once.
    Generated {
        /// Characters, 8 to 128.
        length: u16,
        /// The data disk that keeps it. Without one, each start is a first start.
        keep: Option<String>,
    },
}

/// A program and its rights.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process {
    /// Program and arguments, at least one.
    pub command: Vec<String>,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Environment, names and values, in this order.
    pub environment: Vec<(String, String)>,
    /// Working folder; `/` where there is none.
    pub directory: Option<String>,
    /// Capabilities that it may have, a bit each; [`super::ALL_CAPABILITIES`] for all.
    pub capabilities: u64,
    /// Limits of resources.
    pub limits: Vec<Limit>,
    /// Whether setuid programs and file capabilities may raise its rights.
    pub new_privileges: bool,
}

/// A limit of a resource. `u64::MAX` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Number of the resource, see [`super::limit_number`].
    pub resource: u32,
    /// Limit in force.
    pub soft: u64,
    /// Limit that the program may raise it to.
    pub hard: u64,
}

/// A command that runs before the services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// Name on the console.
    pub name: String,
    /// The program.
    pub process: Process,
    /// Path whose presence says that it has run.
    pub creates: Option<String>,
}

/// A program that runs as long as the machine does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Name on the console and of its log.
    pub name: String,
    /// The program.
    pub process: Process,
    /// Services that must be ready before it starts.
    pub depends: Vec<String>,
    /// Treatment of its end.
    pub restart: Restart,
    /// The way to stop it.
    pub stop: Stop,
    /// Sign that it does its job.
    pub ready: Ready,
    /// Time that it has to become ready before the console says that it has not.
    pub patience: Duration,
    /// Whether it has the terminal.
    pub console: bool,
    /// Whether its end ends the machine, with its exit code.
    pub exit: bool,
}

/// Treatment of a service's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// It stays ended.
    #[default]
    Never,
    /// It is started again unless its exit code was 0.
    OnFailure,
    /// It is started again.
    Always,
}

/// The way to stop a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// Signal, 1 to 64.
    pub signal: u8,
    /// Time until it is killed.
    pub timeout: Duration,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: 15, timeout: Duration::from_secs(10) }
    }
}

/// Sign that a service does its job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Ready {
    /// The program has started.
    #[default]
    Started,
    /// A connection to this port of 127.0.0.1 is accepted.
    Tcp(u16),
    /// `GET` of this path on this port of 127.0.0.1 is answered with a status from 200 to 399.
    Http(u16, String),
    /// This command, run as the service is, ends with 0.
    Exec(Vec<String>),
}

/// Time that a service has to become ready where none is told.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);
