//! The lock as a value.

use serde::Deserialize;

use super::text::{
    ArchiveName, Component, LocalPath, PackageName, PoolPath, Recipe, SuiteName, Uri, Version,
};
use super::{Date, MAX_FILE_BYTES};
use crate::sha256::{InvalidSha256, Sha256};

/// Everything that a build takes from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Version of melv's recipe: a newer one may make another image of the same files.
    pub recipe: Recipe,
    /// Release of Debian.
    pub suite: SuiteName,
    /// Time of the archive: the newest of the lists that were resolved with.
    pub date: Date,
    /// Newest time among the inputs, in seconds since 1970. All that the builder makes has it.
    pub epoch: Date,
    /// The question that the packages are the answer to.
    pub request: Request,
    /// Archives that the packages are in.
    pub archives: Vec<Archive>,
    /// Packages whose files the appliance has.
    pub packages: Vec<Package>,
    /// Packages of the boot loader.
    pub boot: Vec<Package>,
    /// The kernel; none where an image of another origin brings it.
    pub kernel: Option<Kernel>,
    /// Files of the machine that builds: packages and root file systems.
    pub files: Vec<LocalFile>,
    /// OCI images.
    pub images: Vec<OciImage>,
}

/// The question that was resolved. A declaration that asks another one needs a new lock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Packages by name.
    pub packages: Vec<PackageName>,
    /// Whether the suites of updates counted.
    pub updates: bool,
    /// Further repositories.
    pub repositories: Vec<Repository>,
}

/// A repository beside the suite's own, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// Address.
    pub uri: Uri,
    /// Name of the release there.
    pub suite: SuiteName,
    /// Components; none in a flat repository.
    pub components: Vec<Component>,
    /// Digest of the file of its keys.
    pub key: Sha256,
}

/// A repository of packages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// Name in this lock.
    pub name: ArchiveName,
    /// Address of the mirror that was resolved with.
    pub uri: Uri,
    /// Name in the snapshot archive, where it keeps the old files of this one.
    pub snapshot: Option<ArchiveName>,
}

/// A package and the file that it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Name.
    pub name: PackageName,
    /// Architecture.
    pub architecture: Architecture,
    /// Version.
    pub version: Version,
    /// Name of the source package.
    pub source: PackageName,
    /// Version of the source package.
    pub source_version: Version,
    /// Archive that has the file.
    pub archive: ArchiveName,
    /// Path in that archive.
    pub path: PoolPath,
    /// Length in bytes, 1 to [`MAX_FILE_BYTES`].
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// Digest.
    pub sha256: Sha256,
}

/// The machines that a package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// All.
    All,
    /// x86-64.
    Amd64,
}

/// The kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Origin.
    pub kind: KernelKind,
    /// Digest of the kernel as it lies in the image.
    pub sha256: Sha256,
    /// Packages that it comes from, or is built from.
    pub packages: Vec<Package>,
}

/// Origin of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelKind {
    /// The suite's kernel for virtual machines.
    Cloud,
    /// Built from the suite's source.
    Tailored,
    /// A file of the machine that builds.
    File,
    /// Taken out of another appliance.
    Appliance,
}

/// A file of the machine that builds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalFile {
    /// Path as the declaration writes it.
    pub path: LocalPath,
    /// Length in bytes, 1 to [`MAX_FILE_BYTES`].
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// Digest.
    pub sha256: Sha256,
}

/// An OCI image by the digests of its parts, which stay when it is saved once more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OciImage {
    /// Path as the declaration writes it.
    pub path: LocalPath,
    /// Digest of the configuration: the image's id.
    pub config: Sha256,
    /// Digests of the uncompressed layers (`diff_ids`), the lowest first.
    pub layers: Vec<Sha256>,
}

impl Architecture {
    /// Returns Debian's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Amd64 => "amd64",
        }
    }
}

impl KernelKind {
    /// Returns the word of the lock.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Tailored => "tailored",
            Self::File => "file",
            Self::Appliance => "appliance",
        }
    }
}

impl Lock {
    /// Returns the archive of that name.
    #[must_use]
    pub fn archive(&self, name: &ArchiveName) -> Option<&Archive> {
        self.archives.iter().find(|archive| archive.name == *name)
    }

    /// Returns all packages: the appliance's, the boot loader's, the kernel's.
    pub fn all_packages(&self) -> impl Iterator<Item = &Package> {
        let of_kernel = self.kernel.iter().flat_map(|kernel| &kernel.packages);
        self.packages.iter().chain(&self.boot).chain(of_kernel)
    }

    /// Returns the address of a package at the mirror that was resolved with.
    #[must_use]
    pub fn mirror_url(&self, package: &Package) -> Option<String> {
        self.archive(&package.archive).map(|archive| package.url_below(&archive.uri))
    }

    /// Returns addresses of a package in the snapshot archive at `base`, in the order to ask them.
    ///
    /// The first has the lock's date and a day more. A snapshot holds the state of some hours before, so the lock's
    /// date itself may be too early; and an archive keeps each file for more than a day after it was replaced.
    #[must_use]
    pub fn snapshot_urls(&self, base: &Uri, package: &Package) -> Vec<String> {
        let archive = self.archive(&package.archive).and_then(|archive| archive.snapshot.as_ref());
        let dates = [self.date.plus_hours(24), self.date];
        let address = |name: &ArchiveName, date: Date| {
            format!("{base}/archive/{name}/{}/{}", date.snapshot(), encode(&package.path))
        };
        archive.map(|name| dates.map(|date| address(name, date)).to_vec()).unwrap_or_default()
    }
}

impl Package {
    /// Returns the address of the package's file in the archive at `mirror`.
    #[must_use]
    pub fn url_below(&self, mirror: &Uri) -> String {
        format!("{mirror}/{}", encode(&self.path))
    }
}

/// Encodes the signs of a path that some servers take for others: `+` for a blank.
fn encode(path: &PoolPath) -> String {
    path.as_str().replace('+', "%2b").replace(':', "%3a")
}

fn size<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(deserializer)?;
    if (1..=MAX_FILE_BYTES).contains(&size) {
        return Ok(size);
    }
    Err(serde::de::Error::custom(format_args!("a size of {size} bytes, expected 1 to {MAX_FILE_BYTES}")))
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: InvalidSha256| serde::de::Error::custom(error))
    }
}
