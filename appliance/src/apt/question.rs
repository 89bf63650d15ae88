//! The question to apt, its options and its answer.

use std::path::PathBuf;
use std::time::Duration;

use crate::lock::{Archive, Component, Date, Package, PackageName, SuiteName, Uri};
use crate::sha256::Sha256;

/// The archive's keys on a machine of Debian (package `debian-archive-keyring`).
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The addresses that every Debian knows.
const MAIN: &str = "http://deb.debian.org/debian";
const SECURITY: &str = "http://deb.debian.org/debian-security";

/// The state of the archives that questions are put to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Release of Debian: bookworm or trixie.
    pub suite: SuiteName,
    /// Whether the suites of updates and of security updates count.
    pub updates: bool,
    /// Mirror of `debian`; [`Options::new`] has deb.debian.org.
    pub mirror: Uri,
    /// Mirror of `debian-security`.
    pub security_mirror: Uri,
    /// Keys of the archive, as `gpg --export` writes them, with or without armour.
    pub keyring: PathBuf,
    /// Further repositories.
    pub repositories: Vec<Repository>,
    /// Folder of all caches of melv. It may be deleted at any time.
    pub cache: PathBuf,
    /// Age up to which lists are used without a look at the mirror. Zero looks each time.
    pub max_age: Duration,
    /// Whether lists of any age are used, and the mirror never asked.
    pub offline: bool,
    /// Whether lists that are past their `Valid-Until` are accepted, for archives of old states.
    pub accept_expired: bool,
    /// Time limit of each run of apt, and of the wait for another process that updates the same lists.
    pub time_limit: Duration,
    /// The programs.
    pub programs: Programs,
}

/// The programs of apt: paths, or names to be looked up in `PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// `apt-get`.
    pub apt_get: PathBuf,
    /// `apt-config`, which tells the proxies of this machine.
    pub apt_config: PathBuf,
}

/// A repository of packages beside the suite's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Address.
    pub uri: Uri,
    /// Name of the release there; ends with `/` in a flat repository.
    pub suite: SuiteName,
    /// Components; none in a flat repository.
    pub components: Vec<Component>,
    /// File of the key that signs it.
    pub key: PathBuf,
}

/// Packages to be resolved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    /// Packages of the archives.
    pub packages: Vec<PackageName>,
    /// Package files of this machine, by absolute paths. The answer has their needs, but not them.
    pub files: Vec<PathBuf>,
    /// The part of apt's solution that the answer has.
    pub selection: Selection,
}

/// A part of apt's solution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Selection {
    /// The packages named and all that they need to run.
    #[default]
    Needs,
    /// The packages named, and of the others those that are built from a source package of the named. This is the
    /// kernel behind `linux-image-cloud-amd64`, without the programs that would install it.
    SameSource,
}

/// The packages that answer a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Time of the archives: the newest of the lists that were resolved with.
    pub date: Date,
    /// Archives that the packages are in, by name.
    pub archives: Vec<Archive>,
    /// Packages by name.
    pub packages: Vec<Package>,
    /// Digests of the keys of the further repositories, in the order of [`Options::repositories`].
    pub keys: Vec<Sha256>,
}

impl Options {
    /// Returns the usual options: Debian's own mirrors, keys of this machine, updates, lists up to an hour old, five
    /// minutes for each run of apt. `cache` is the folder of all caches of melv.
    ///
    /// # Panics
    ///
    /// Never: the addresses are constants that a test reads.
    #[must_use]
    pub fn new(suite: SuiteName, cache: PathBuf) -> Self {
        let uri = |text: &str| text.parse().expect("the constant is an address");
        Self {
            suite,
            updates: true,
            mirror: uri(MAIN),
            security_mirror: uri(SECURITY),
            keyring: KEYRING.into(),
            repositories: Vec::new(),
            cache,
            max_age: Duration::from_secs(3600),
            offline: false,
            accept_expired: false,
            time_limit: Duration::from_secs(300),
            programs: Programs { apt_get: "apt-get".into(), apt_config: "apt-config".into() },
        }
    }
}

impl Question {
    /// Asks for packages and all that they need to run.
    #[must_use]
    pub fn needs(packages: Vec<PackageName>) -> Self {
        Self { packages, ..Self::default() }
    }

    /// Asks for packages alone, and for those that a package without files stands for.
    #[must_use]
    pub fn alone(packages: Vec<PackageName>) -> Self {
        Self { packages, files: Vec::new(), selection: Selection::SameSource }
    }
}
