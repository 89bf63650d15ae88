//! The lock of a build: read, resolved anew, or changed in part.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    apt::{self, Resolver},
    declaration::Declaration,
    fetch::{Cache, FetchError, Fetcher, Options as FetchOptions},
    lock::{
        Archive, ArchiveName, Change, Date, Kernel, KernelKind, Lock, MAX_LOCK_BYTES, Package, PackageName,
        changes,
    },
    sha256::Sha256,
};

use super::{
    BuildError, LockMode, Options, Phase,
    question::{Question, apt_repositories},
};

/// Version of the recipe: what this makes of the same files. A change of it that changes disks raises it.
pub(super) const RECIPE: &str = "1";

/// Packages that a build is made of, by role. They become the lock once the rest of it is known.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) date: Date,
    pub(super) archives: Vec<Archive>,
    pub(super) packages: Vec<Package>,
    pub(super) boot: Vec<Package>,
    pub(super) kernel: Vec<Package>,
}

/// The packages of a build, and the lock that they are of, if there is one.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) resolved: Resolved,
    /// The lock that answers the declaration; none where a new one is to be written.
    pub(super) lock: Option<Lock>,
    /// The lock that was there before, for the report of changes.
    pub(super) before: Option<Lock>,
}

/// Reads the lock at a path; none where there is none.
///
/// # Errors
///
/// A lock that cannot be read.
pub(super) fn read_lock(path: &Path) -> Result<Option<Lock>, BuildError> {
    let bytes = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BuildError::io(path)(error)),
        Ok(meta) if meta.len() > MAX_LOCK_BYTES as u64 => {
            return Err(BuildError::io(path)(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(_) => fs::read(path).map_err(BuildError::io(path))?,
    };
    Lock::parse(&bytes).map(Some).map_err(|source| BuildError::Lock { path: path.into(), source })
}

/// Writes a lock beside its declaration: whole, or not at all.
pub(super) fn write_lock(path: &Path, lock: &Lock) -> Result<(), BuildError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(lock.to_toml().as_bytes())?;
        // Temporary files are private; a lock is to be read by all who may read the declaration.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(mode)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(BuildError::io(path))
}

/// Finds the packages of a build: in the lock, or by asking apt.
pub(super) fn inputs(
    declaration: &Declaration,
    question: &Question,
    keys: &[PathBuf],
    lock_path: &Path,
    options: &Options,
    progress: &dyn Fn(Phase),
) -> Result<Inputs, BuildError> {
    let before = read_lock(lock_path)?;
    if let Some(lock) = &before
        && lock.recipe.as_str() != RECIPE
        && options.lock == LockMode::Locked
    {
        let found = lock.recipe.to_string();
        return Err(BuildError::Recipe { path: lock_path.into(), found, expected: RECIPE });
    }
    let is_good = |lock: &Lock| {
        lock.recipe.as_str() == RECIPE
            && lock.check(&question.asked()).is_ok()
            && question.has_boot(&lock.boot, lock.kernel.as_ref())
    };
    match (&options.lock, before) {
        (LockMode::Locked, None) => Err(BuildError::NoLock { path: lock_path.into() }),
        (LockMode::Locked, Some(lock)) => {
            let stale = |source| BuildError::Stale { path: lock_path.into(), source };
            lock.check(&question.asked()).map_err(stale)?;
            Ok(Inputs { resolved: of_lock(&lock), lock: Some(lock.clone()), before: Some(lock) })
        }
        (LockMode::Use, Some(lock)) if is_good(&lock) => {
            Ok(Inputs { resolved: of_lock(&lock), lock: Some(lock.clone()), before: Some(lock) })
        }
        (mode, before) => {
            progress(Phase::Resolve);
            let mut resolved = resolve(declaration, question, keys, options)?;
            if let Some(before) = &before {
                keep_others(&mut resolved, before, question, mode)?;
            }
            Ok(Inputs { resolved, lock: None, before })
        }
    }
}

fn of_lock(lock: &Lock) -> Resolved {
    Resolved {
        date: lock.date,
        archives: lock.archives.clone(),
        packages: lock.packages.clone(),
        boot: lock.boot.clone(),
        kernel: lock.kernel.as_ref().map(|kernel| kernel.packages.clone()).unwrap_or_default(),
    }
}

/// Asks apt for all packages of a build.
fn resolve(
    declaration: &Declaration,
    question: &Question,
    keys: &[PathBuf],
    options: &Options,
) -> Result<Resolved, BuildError> {
    let resolver = resolver(declaration, question, keys, options)?;
    let needs = apt::Question {
        packages: question.packages.clone(),
        files: question
            .package_files
            .iter()
            .map(|path| options.folders.find(path))
            .collect::<Result<_, _>>()?,
        selection: apt::Selection::Needs,
    };
    let packages = resolver.resolve(&needs)?;
    let boot = resolver.resolve(&apt::Question::alone(question.boot.clone()))?;
    let kernel = resolver.resolve(&apt::Question::alone(question.kernel_packages.clone()))?;
    let boot_packages = only(boot.packages, &question.boot);
    let kernel_packages = match question.kernel {
        // The named package is empty and stands for the one with the files.
        KernelKind::Cloud => kernel.packages.into_iter().filter(|package| is_image(&package.name)).collect(),
        _ => only(kernel.packages, &question.kernel_packages),
    };
    let mut archives: Vec<Archive> = [packages.archives, boot.archives, kernel.archives].concat();
    archives.sort();
    archives.dedup();
    let date = packages.date.max(boot.date).max(kernel.date);
    let mut resolved = Resolved {
        date,
        archives,
        packages: packages.packages,
        boot: boot_packages,
        kernel: kernel_packages,
    };
    drop_unused(&mut resolved);
    Ok(resolved)
}

/// Whether a package has the kernel itself and its modules.
fn is_image(name: &PackageName) -> bool {
    let rest = name.as_str().strip_prefix("linux-image-");
    rest.is_some_and(|rest| rest.bytes().next().is_some_and(|byte| byte.is_ascii_digit()))
}

fn only(packages: Vec<Package>, names: &[PackageName]) -> Vec<Package> {
    packages.into_iter().filter(|package| names.contains(&package.name)).collect()
}

fn resolver(
    declaration: &Declaration,
    question: &Question,
    keys: &[PathBuf],
    options: &Options,
) -> Result<Resolver, BuildError> {
    let mut asked = apt::Options::new(question.suite.clone(), options.cache.clone());
    asked.updates = declaration.updates;
    asked.repositories = apt_repositories(declaration, keys)?;
    asked.offline = options.offline;
    if let Some(mirror) = &options.mirror {
        asked.mirror = mirror.clone();
    }
    // An update wants the newest lists.
    if matches!(options.lock, LockMode::UpdateAll | LockMode::Update(_)) {
        asked.max_age = Duration::ZERO;
    }
    Ok(Resolver::new(asked)?)
}

/// Keeps the entries of the old lock for all packages that are not to be updated.
fn keep_others(
    resolved: &mut Resolved,
    before: &Lock,
    question: &Question,
    mode: &LockMode,
) -> Result<(), BuildError> {
    let updated: BTreeSet<&PackageName> = match mode {
        LockMode::UpdateAll => return Ok(()),
        LockMode::Use | LockMode::Locked => BTreeSet::new(),
        LockMode::Update(names) => names.iter().collect(),
    };
    let all: BTreeSet<&PackageName> = resolved
        .packages
        .iter()
        .chain(&resolved.boot)
        .chain(&resolved.kernel)
        .map(|package| &package.name)
        .collect();
    if let Some(name) =
        updated.iter().find(|name| !all.contains(*name) && !question.kernel_packages.contains(*name))
    {
        return Err(BuildError::NotUpdated { name: name.to_string() });
    }
    // Versions of another release have no place beside those of this one.
    if before.suite != question.suite {
        return Ok(());
    }
    // The name of a kernel's package has its version in it, so that the old one goes by another name.
    let is_updated = |package: &Package| updated.contains(&package.name);
    let is_kernel_kept = !resolved.kernel.iter().any(is_updated)
        && !question.kernel_packages.iter().any(|name| updated.contains(name));
    let old: Vec<&Package> = before.all_packages().filter(|package| !is_updated(package)).collect();
    for package in resolved.packages.iter_mut().chain(&mut resolved.boot) {
        if let Some(kept) = old.iter().find(|old| old.name == package.name) {
            *package = (*kept).clone();
        }
    }
    if let Some(kernel) = &before.kernel
        && is_kernel_kept
        && kernel.kind == question.kernel
        && !kernel.packages.is_empty()
    {
        resolved.kernel.clone_from(&kernel.packages);
    }
    resolved.archives.extend(before.archives.iter().cloned());
    resolved.archives.sort();
    resolved.archives.dedup_by(|one, other| one.name == other.name);
    drop_unused(resolved);
    Ok(())
}

/// Leaves out archives that no package is in.
fn drop_unused(resolved: &mut Resolved) {
    let all = resolved.packages.iter().chain(&resolved.boot).chain(&resolved.kernel);
    let used: BTreeSet<ArchiveName> = all.map(|package| package.archive.clone()).collect();
    resolved.archives.retain(|archive| used.contains(&archive.name));
}

/// Files of the packages of a build, by their digests.
#[derive(Debug)]
pub(super) struct Files {
    fetcher: Fetcher,
    /// A lock of the packages, which the fetcher asks for addresses.
    lock: Lock,
}

impl Files {
    /// Prepares to fetch the files of a lock.
    pub(super) fn new(lock: Lock, options: &Options) -> Result<Self, BuildError> {
        let cache = Cache::open(&options.cache)?;
        let mut fetch = FetchOptions { offline: options.offline, ..FetchOptions::default() };
        if let Some(mirror) = &options.mirror {
            let debian =
                lock.archives.iter().filter(|archive| archive.snapshot.as_ref().is_some_and(is_main));
            fetch.mirrors = debian.map(|archive| (archive.name.clone(), mirror.clone())).collect();
        }
        Ok(Self { fetcher: Fetcher::new(cache, fetch), lock })
    }

    /// Brings all files into the cache.
    pub(super) fn fetch(&self, progress: &(dyn Fn(Phase) -> bool + Sync)) -> Result<(), BuildError> {
        let all: Vec<&Package> = self.lock.all_packages().collect();
        let told = |at: crate::fetch::Progress| {
            let goes_on = progress(Phase::Fetch { done: at.done, total: at.total });
            if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        self.fetcher.get_all(&all, &self.lock, &told).map_err(|error| match error {
            FetchError::Interrupted => BuildError::Interrupted,
            other => other.into(),
        })
    }

    /// Opens the file of each package.
    pub(super) fn open<'p>(&self, packages: &'p [Package]) -> Result<Vec<(&'p Package, File)>, BuildError> {
        packages.iter().map(|package| Ok((package, self.fetcher.get(package, &self.lock)?))).collect()
    }

    /// Returns the path of a package's file in the cache.
    pub(super) fn path(&self, package: &Package) -> PathBuf {
        self.fetcher.cache().path(&package.sha256)
    }
}

fn is_main(snapshot: &ArchiveName) -> bool {
    snapshot.as_str() == "debian"
}

/// Makes the lock of a build.
pub(super) fn lock_of(
    question: &Question,
    resolved: Resolved,
    kernel: Option<Sha256>,
    epoch: Date,
) -> Result<Lock, BuildError> {
    let kernel = kernel.map(|sha256| Kernel { kind: question.kernel, sha256, packages: resolved.kernel });
    Ok(Lock {
        recipe: RECIPE.parse().map_err(|source| BuildError::Text { source })?,
        suite: question.suite.clone(),
        date: resolved.date,
        epoch,
        request: question.request.clone(),
        archives: resolved.archives,
        packages: resolved.packages,
        boot: resolved.boot,
        kernel,
        files: Vec::new(),
        images: Vec::new(),
    })
}

/// Returns the changes from the lock that was there before.
pub(super) fn changed(before: Option<&Lock>, now: &Lock) -> Vec<Change> {
    before.map(|before| changes(before, now)).unwrap_or_default()
}
