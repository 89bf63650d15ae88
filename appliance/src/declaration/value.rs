//! The value of a declaration, its defaults filled in.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::{
    names::Signal,
    paths::{AbsolutePath, Pattern, SourcePath},
    units::{Mode, Port, Size},
    users::{Owner, User},
};

/// A release of Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// Debian 12.
    Bookworm,
    /// Debian 13.
    Trixie,
}

impl Suite {
    /// Returns the name that the archive has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

/// An appliance, as its declaration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// Release of the kernel, the boot loader and the packages.
    pub suite: Suite,
    /// Whether the suites of updates and of security updates count.
    pub updates: bool,
    /// Packages, in the order of the file.
    pub packages: Vec<PackageSource>,
    /// Further repositories.
    pub repositories: Vec<Repository>,
    /// An image of another origin, as the lowest layer.
    pub image: Option<ImageSource>,
    /// Reference of the image that the built one names as its parent.
    pub parent: Option<String>,
    /// Whether the appliance has a shell: busybox.
    pub shell: bool,
    /// Place of the files that programs write.
    pub writes: Writes,
    /// The machine.
    pub machine: Machine,
    /// The kernel.
    pub kernel: Kernel,
    /// The network of the first Ethernet interface.
    pub network: Network,
    /// Choice of the files that are kept.
    pub files: Files,
    /// Users beside those that every Debian has.
    pub users: Vec<User>,
    /// Files with a text, one path each.
    pub texts: Vec<TextFile>,
    /// Files and folders of the machine that builds.
    pub copies: Vec<Copy>,
    /// Folders.
    pub directories: Vec<Directory>,
    /// Links.
    pub links: Vec<Link>,
    /// Data disks.
    pub data: Vec<DataDisk>,
    /// Secrets, which no image holds.
    pub secrets: Vec<Secret>,
    /// Commands that run before the services, in order.
    pub setups: Vec<Setup>,
    /// Services, in the order of the file.
    pub services: Vec<Service>,
    /// Command that says whether the appliance does its job.
    pub check: Option<Vec<String>>,
}

/// Origin of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageSource {
    /// The suite's package with this name.
    Named(String),
    /// A file of the machine that builds.
    File(SourcePath),
}

/// A repository of packages beside the suite's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Address, `http://` or `https://`.
    pub uri: String,
    /// Name of the release there.
    pub suite: String,
    /// Components; none for a flat repository.
    pub components: Vec<String>,
    /// Key that signs it.
    pub key: SourcePath,
}

/// An image of another origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// `docker save`, an OCI layout, or a tar of one.
    Oci(SourcePath),
    /// A tar of a root file system.
    RootFs(SourcePath),
}

/// Place of the files that programs write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writes {
    /// In memory, lost at the end.
    Memory,
    /// On the data disk with this name.
    Data(String),
    /// Nowhere.
    None,
}

/// The machine that the appliance wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Memory, whole MiB.
    pub memory: Size,
    /// Processors, 1 to 255.
    pub cpus: u16,
    /// Ports that it listens on.
    pub ports: Vec<Port>,
    /// Whether the disk boots under UEFI.
    pub uefi: bool,
    /// Whether the disk boots under a BIOS.
    pub bios: bool,
    /// Host name; the appliance's name where there is none.
    pub host_name: Option<String>,
    /// Kernel settings, in the order of the file.
    pub sysctls: Vec<(String, String)>,
}

/// The kernel and its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Origin.
    pub source: KernelSource,
    /// Added to the command line.
    pub command_line: String,
}

/// Origin of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelSource {
    /// The suite's `linux-image-cloud-amd64`.
    Cloud {
        /// Modules beside the usual ones.
        modules: Vec<String>,
    },
    /// Built from the suite's `linux-source`.
    Tailored {
        /// Drivers that it starts from.
        profile: Profile,
        /// Lines of `.config`.
        config: Vec<String>,
        /// Whether mitigations of CPU faults are off.
        insecure: bool,
    },
    /// Files of the machine that builds.
    File {
        /// The bzImage.
        path: SourcePath,
        /// Its initrd, if it needs one of its own.
        initrd: Option<SourcePath>,
    },
    /// The kernel of another appliance in the store.
    From(String),
}

/// Drivers of a tailored kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// All hypervisors and firmwares.
    Portable,
    /// virtio and direct boot alone.
    Micro,
}

/// The network of the first Ethernet interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Origin of the address.
    pub mode: NetworkMode,
    /// Servers that the clock is set by.
    pub time: TimeServers,
}

/// Origin of the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkMode {
    /// Loopback alone.
    None,
    /// A DHCP server.
    Dhcp,
    /// Told here.
    Static {
        /// Address of the machine.
        address: Ipv4Addr,
        /// Bits of the network, 0 to 32.
        prefix: u8,
        /// Next hop.
        gateway: Option<Ipv4Addr>,
        /// Name servers, at most 8.
        dns: Vec<IpAddr>,
    },
}

/// Servers that the clock is set by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeServers {
    /// None.
    None,
    /// Those of the DHCP lease.
    Lease,
    /// These, at most 8.
    Addresses(Vec<Ipv4Addr>),
}

/// Choice of the files that are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Kept whoever needs them.
    pub keep: Vec<Pattern>,
    /// Left out.
    pub drop: Vec<Pattern>,
    /// Extent of the choice; an image of another origin is kept whole, packages by files, where it is not told.
    pub closure: Option<ClosureKind>,
    /// Whether copyright files stay.
    pub licences: bool,
    /// Whether programs of named packages stay that nothing names.
    pub all_programs: bool,
    /// Files whose setuid and setgid bits stay.
    pub suid: Vec<AbsolutePath>,
}

/// Extent of the choice of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosureKind {
    /// Files that something needs.
    Files,
    /// Whole packages and images.
    Packages,
}

/// A file with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFile {
    /// Path.
    pub path: AbsolutePath,
    /// Content.
    pub text: String,
    /// Permission bits.
    pub mode: Mode,
    /// Owner.
    pub owner: Owner,
}

/// A file or folder of the machine that builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Place on the machine that builds.
    pub from: SourcePath,
    /// Place in the image.
    pub to: AbsolutePath,
    /// Permission bits of files; 0644, or 0755 for a program, where there are none.
    pub mode: Option<Mode>,
    /// Owner.
    pub owner: Owner,
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Path.
    pub path: AbsolutePath,
    /// Permission bits.
    pub mode: Mode,
    /// Owner.
    pub owner: Owner,
}

/// A symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Path.
    pub path: AbsolutePath,
    /// Target, as text.
    pub target: String,
}

/// A data disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDisk {
    /// Name, at most 11 bytes.
    pub name: String,
    /// Size.
    pub size: Size,
    /// Folder where it is mounted.
    pub mount: AbsolutePath,
    /// Owner of its root.
    pub owner: Owner,
    /// Permission bits of its root.
    pub mode: Mode,
}

/// A secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Name of its file in `/run/melv/secrets`.
    pub name: String,
    /// Owner of its file.
    pub owner: Owner,
    /// Permission bits of its file.
    pub mode: Mode,
    /// Present when it is made at the first start, if nobody gave it.
    pub generated: Option<GeneratedSecret>,
}

/// Making of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedSecret {
    /// Characters, 8 to 128.
    pub length: u16,
    /// Data disk that keeps it; without one each start is the first.
    pub keep: Option<String>,
}

/// A program and its rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Program, an absolute path, and its arguments.
    pub command: Vec<String>,
    /// User and group.
    pub user: Owner,
    /// Variables, in the order of the file.
    pub environment: Vec<(String, String)>,
    /// Working folder; `/` where there is none.
    pub work_folder: Option<AbsolutePath>,
    /// Rights beyond the user's.
    pub capabilities: Capabilities,
    /// Limits of resources.
    pub limits: Vec<Limit>,
}

/// Rights beyond the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capabilities {
    /// Those of a daemon that starts as user 0 and gives its rights up itself; none for all other users.
    Usual,
    /// These, as `net_admin`; usually none.
    These(Vec<&'static str>),
    /// All.
    All,
}

/// A limit of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Name of the resource, as `nofile`.
    pub resource: &'static str,
    /// Limit in force; `None` for none.
    pub soft: Option<u64>,
    /// Limit that the program may raise it to; `None` for none.
    pub hard: Option<u64>,
}

/// A command that runs before the services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// Name on the console: the program's where none is told.
    pub name: String,
    /// The program.
    pub program: Program,
    /// Path whose presence says that it has run.
    pub creates: Option<AbsolutePath>,
}

/// A program that runs as long as the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Name.
    pub name: String,
    /// The program.
    pub program: Program,
    /// Services that are ready before it starts.
    pub depends: Vec<String>,
    /// Treatment of its end.
    pub restart: Restart,
    /// Signal that stops it.
    pub stop_signal: Signal,
    /// Time until it is killed.
    pub stop_timeout: Duration,
    /// Sign that it does its job.
    pub ready: Ready,
    /// Time that it has to become ready.
    pub ready_within: Duration,
    /// Whether it has the terminal.
    pub console: bool,
    /// Whether its end ends the machine, with its exit code.
    pub exit: bool,
}

/// Treatment of a service's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// It stays ended.
    Never,
    /// It starts again unless its exit code was 0.
    OnFailure,
    /// It starts again.
    Always,
}

/// Sign that a service does its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// It has started.
    Started,
    /// This port accepts a connection.
    Tcp(u16),
    /// `GET` of this path on this port is answered with a status from 200 to 399.
    Http {
        /// Port.
        port: u16,
        /// Path with its query, visible ASCII.
        path: String,
    },
    /// This command ends with 0.
    Exec(Vec<String>),
}
