//! The packages that a declaration needs.

use crate::{
    apt,
    closure::{Rules, named_packages},
    declaration::{Declaration, ImageSource, KernelSource, PackageSource, SourcePath},
    lock::{self, Asked, Kernel, KernelKind, LocalPath, PackageName, SuiteName},
    sha256::Sha256,
};

use super::{BuildError, kernel};

/// Packages that formatting and growing a data disk takes.
const DATA_PACKAGES: [&str; 1] = ["e2fsprogs"];
/// The package of the shell.
const SHELL_PACKAGE: &str = "busybox-static";
/// Packages of the boot loader for UEFI.
const UEFI_PACKAGES: [&str; 1] = ["systemd-boot-efi"];
/// Packages of the boot loader for a BIOS, with the programs that install it.
const BIOS_PACKAGES: [&str; 4] = ["syslinux", "syslinux-common", "mtools", "libc6"];

/// The question of a declaration, in the words of apt and of the lock.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) suite: SuiteName,
    pub(super) request: lock::Request,
    /// Packages whose files the appliance may have.
    pub(super) packages: Vec<PackageName>,
    /// Packages of the boot loader.
    pub(super) boot: Vec<PackageName>,
    /// Origin of the kernel.
    pub(super) kernel: KernelKind,
    /// Packages of the kernel.
    pub(super) kernel_packages: Vec<PackageName>,
    /// Package files and root file systems of the machine that builds.
    pub(super) files: Vec<LocalPath>,
    /// OCI images of the machine that builds.
    pub(super) images: Vec<LocalPath>,
    /// Package files alone.
    pub(super) package_files: Vec<SourcePath>,
}

impl Question {
    /// Makes the question of a declaration. `keys` are the digests of the repositories' keys, in their order.
    ///
    /// # Errors
    ///
    /// Names that no archive could have; a kernel that this version does not build.
    pub(super) fn of(declaration: &Declaration, rules: &Rules, keys: &[Sha256]) -> Result<Self, BuildError> {
        let named = named_packages(declaration);
        let mut all: Vec<&str> = named.iter().map(String::as_str).collect();
        if declaration.shell {
            all.push(SHELL_PACKAGE);
        }
        if !declaration.data.is_empty() {
            all.extend(DATA_PACKAGES);
        }
        // An image of another origin has no need of rules about packages that nobody named.
        let companions = if all.is_empty() { Vec::new() } else { rules.companions(&all) };
        let machine = &declaration.machine;
        let boot = [(machine.uefi, &UEFI_PACKAGES[..]), (machine.bios, &BIOS_PACKAGES[..])];
        let boot: Vec<&str> =
            boot.into_iter().filter(|(has, _)| *has).flat_map(|(_, names)| names).copied().collect();
        let (kernel, kernel_packages) = kernel_packages(&declaration.kernel.source, declaration.suite);
        let package_files = package_files(declaration);
        let mut files = locals(package_files.iter())?;
        let mut images = Vec::new();
        match &declaration.image {
            Some(ImageSource::Oci(path)) => images.extend(locals([path])?),
            Some(ImageSource::RootFs(path)) => files.extend(locals([path])?),
            None => {}
        }
        let packages: Vec<&str> = all.iter().copied().chain(companions).collect();
        Ok(Self {
            suite: text(declaration.suite.name())?,
            request: lock::Request {
                packages: names(&packages)?,
                updates: declaration.updates,
                repositories: repositories(declaration, keys)?,
            },
            packages: names(&packages)?,
            boot: names(&boot)?,
            kernel,
            kernel_packages: names(&kernel_packages)?,
            files,
            images,
            package_files,
        })
    }

    /// Returns the question in the words of the lock.
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked {
            suite: &self.suite,
            request: &self.request,
            kernel: Some(self.kernel),
            files: &self.files,
            images: &self.images,
        }
    }

    /// Whether the kernel and boot loader of a lock are those that the question has.
    pub(super) fn has_boot(&self, boot: &[lock::Package], kernel: Option<&Kernel>) -> bool {
        let is_there =
            |packages: &[lock::Package], name: &PackageName| packages.iter().any(|one| one.name == *name);
        let has_loader = self.boot.iter().all(|name| is_there(boot, name));
        has_loader && kernel.is_some_and(|kernel| kernel.kind == self.kernel)
    }
}

fn package_files(declaration: &Declaration) -> Vec<SourcePath> {
    let file = |package: &PackageSource| match package {
        PackageSource::File(path) => Some(path.clone()),
        PackageSource::Named(_) => None,
    };
    declaration.packages.iter().filter_map(file).collect()
}

fn kernel_packages(
    source: &KernelSource,
    suite: crate::declaration::Suite,
) -> (KernelKind, Vec<&'static str>) {
    match source {
        KernelSource::Cloud { .. } => (KernelKind::Cloud, vec![kernel::CLOUD_PACKAGE]),
        KernelSource::Tailored { .. } => (KernelKind::Tailored, vec![kernel::source_package(suite)]),
        KernelSource::File { .. } => (KernelKind::File, Vec::new()),
        KernelSource::From(_) => (KernelKind::Appliance, Vec::new()),
    }
}

/// Returns the further repositories in the words of the lock.
fn repositories(declaration: &Declaration, keys: &[Sha256]) -> Result<Vec<lock::Repository>, BuildError> {
    let all = declaration.repositories.iter().zip(keys);
    all.map(|(repository, key)| {
        Ok(lock::Repository {
            uri: text(repository.uri.trim_end_matches('/'))?,
            suite: text(&repository.suite)?,
            components: repository.components.iter().map(|one| text(one)).collect::<Result<_, _>>()?,
            key: *key,
        })
    })
    .collect()
}

/// Returns the further repositories in the words of apt.
pub(super) fn apt_repositories(
    declaration: &Declaration,
    keys: &[std::path::PathBuf],
) -> Result<Vec<apt::Repository>, BuildError> {
    let all = declaration.repositories.iter().zip(keys);
    all.map(|(repository, key)| {
        Ok(apt::Repository {
            uri: text(repository.uri.trim_end_matches('/'))?,
            suite: text(&repository.suite)?,
            components: repository.components.iter().map(|one| text(one)).collect::<Result<_, _>>()?,
            key: key.clone(),
        })
    })
    .collect()
}

fn names(names: &[&str]) -> Result<Vec<PackageName>, BuildError> {
    let mut names: Vec<PackageName> = names.iter().map(|name| text(name)).collect::<Result<_, _>>()?;
    names.sort();
    names.dedup();
    Ok(names)
}

fn locals<'p>(paths: impl IntoIterator<Item = &'p SourcePath>) -> Result<Vec<LocalPath>, BuildError> {
    paths.into_iter().map(|path| text(path.as_str())).collect()
}

/// Reads a text whose form the declaration has checked by rules of its own.
fn text<T: std::str::FromStr<Err = lock::InvalidText>>(text: &str) -> Result<T, BuildError> {
    text.parse().map_err(|source: lock::InvalidText| BuildError::Text { source })
}
