//! The steps of a build.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use crate::{
    closure::{PackageLookup, Rules, named_packages},
    declaration::{Declaration, ImageSource, KernelSource, SourcePath},
    lock::{Date, LocalFile, Lock, OciImage, Package},
    sha256::Sha256,
};

use super::{
    BuildError, ForeignKernel, KernelFiles, Options, Phase, Plan,
    boot_loader::{self, BootLoader},
    inputs::{self, Files, Inputs, changed, lock_of, write_lock},
    kernel,
    plan::Parts,
    question::Question,
    unpack::{Archives, Sources},
};

/// A build of an appliance.
#[expect(missing_debug_implementations, reason = "it holds functions of the caller")]
pub struct Builder<'a> {
    /// The declaration.
    pub declaration: &'a Declaration,
    /// Name of the appliance.
    pub name: &'a str,
    /// Path of the lock.
    pub lock_path: &'a Path,
    /// The caller's choices.
    pub options: &'a Options,
    /// Finds kernels of other appliances.
    pub foreign_kernel: ForeignKernel<'a>,
    /// Told of each step; false stops the build.
    pub progress: &'a (dyn Fn(Phase) -> bool + Sync),
}

/// Files of the machine that builds, with their digests.
struct Locals {
    files: Vec<LocalFile>,
    images: Vec<OciImage>,
    /// Facts that an image of another origin told.
    config: Option<crate::sources::ImageConfig>,
    named: Vec<String>,
}

impl Builder<'_> {
    /// Brings all that the appliance is made of, and chooses its files. Writes the lock where there was none, or
    /// another one.
    ///
    /// # Errors
    ///
    /// See [`BuildError`]. The lock is as it was then.
    pub fn plan(&self) -> Result<Plan, BuildError> {
        let rules = Rules::built_in();
        let keys = self.keys()?;
        let digests = keys.iter().map(|key| digest(key)).collect::<Result<Vec<_>, _>>()?;
        let question = Question::of(self.declaration, rules, &digests)?;
        let tell = |phase| {
            (self.progress)(phase);
        };
        let found = inputs::inputs(self.declaration, &question, &keys, self.lock_path, self.options, &tell)?;
        let Inputs { resolved, lock, before } = found;
        // The kernel's digest and the epoch are known once its files are there.
        let draft = match &lock {
            Some(lock) => lock.clone(),
            None => lock_of(
                &question,
                resolved,
                Some(Sha256::of(&[])),
                Date::from_seconds(0).unwrap_or(before_all()),
            )?,
        };
        let files = Files::new(draft.clone(), self.options)?;
        files.fetch(self.progress)?;
        let (sources, locals) = self.unpack(&draft.packages, &files)?;
        self.go_on(Phase::Kernel)?;
        let of_kernel = draft.kernel.as_ref().map(|kernel| kernel.packages.as_slice()).unwrap_or_default();
        let kernel = self.kernel(of_kernel, &files)?;
        let machine = &self.declaration.machine;
        let boot_loader =
            boot_loader::take(files.open(&draft.boot)?, machine.uefi, machine.bios, self.options)?;
        let lock = self.lock(draft, lock.as_ref(), &sources, &locals, &kernel, &boot_loader)?;
        let changes = changed(before.as_ref(), &lock);
        let is_lock_new = before.as_ref() != Some(&lock);
        self.go_on(Phase::Close)?;
        let declaration =
            super::image_config::merge(self.declaration, locals.config.as_ref(), &sources.tree)?;
        let lookup = &() as &dyn PackageLookup;
        let parts = Parts {
            name: self.name,
            declaration,
            named: [named_packages(self.declaration), locals.named].concat(),
            sources,
            rules,
            lookup,
            kernel,
            init: crate::INIT,
            boot_loader,
            lock,
            changes,
            is_lock_new,
        };
        let plan = parts.plan(self.options)?;
        if plan.is_lock_new {
            write_lock(self.lock_path, &plan.lock)?;
        }
        Ok(plan)
    }

    fn go_on(&self, phase: Phase) -> Result<(), BuildError> {
        if (self.progress)(phase) { Ok(()) } else { Err(BuildError::Interrupted) }
    }

    /// Returns the files of the repositories' keys.
    fn keys(&self) -> Result<Vec<PathBuf>, BuildError> {
        let all = self.declaration.repositories.iter();
        all.map(|repository| self.options.folders.find(&repository.key).map_err(BuildError::from)).collect()
    }

    /// Unpacks all into one tree: an image of another origin first, then packages, then package files.
    fn unpack(&self, packages: &[Package], files: &Files) -> Result<(Sources, Locals), BuildError> {
        let mut archives = Archives::new(&self.options.temporary)?;
        let mut locals = Locals { files: Vec::new(), images: Vec::new(), config: None, named: Vec::new() };
        match &self.declaration.image {
            None => {}
            Some(ImageSource::RootFs(path)) => {
                let host = self.options.folders.find(path)?;
                locals.files.push(local(path, &host)?);
                archives.root(path.as_str(), open(&host)?)?;
            }
            Some(ImageSource::Oci(path)) => {
                let host = self.options.folders.find(path)?;
                let image = archives.image(path.as_str(), &host)?;
                let sha = |digest: &crate::sources::Digest| Sha256::from_bytes(digest.0);
                locals.images.push(OciImage {
                    path: path.as_str().parse().map_err(|source| BuildError::Text { source })?,
                    config: Sha256::of(
                        &image.diff_ids.iter().flat_map(|digest| digest.0).collect::<Vec<_>>(),
                    ),
                    layers: image.diff_ids.iter().map(sha).collect(),
                });
                locals.config = Some(image.config);
            }
        }
        let total = packages.len() as u64;
        for (done, (package, file)) in (0..).zip(files.open(packages)?) {
            self.go_on(Phase::Unpack { done, total })?;
            archives.package(package.name.as_str(), file)?;
        }
        for package in &self.declaration.packages {
            if let crate::declaration::PackageSource::File(path) = package {
                let host = self.options.folders.find(path)?;
                locals.files.push(local(path, &host)?);
                locals.named.push(archives.package(path.as_str(), open(&host)?)?);
            }
        }
        Ok((archives.finish(), locals))
    }

    fn kernel(&self, packages: &[Package], files: &Files) -> Result<KernelFiles, BuildError> {
        match &self.declaration.kernel.source {
            KernelSource::Cloud { modules } => {
                kernel::cloud(files.open(packages)?, modules, crate::INIT, self.options)
            }
            KernelSource::Tailored { profile, config, insecure } => {
                let [source] = packages else {
                    let path = kernel::source_package(self.declaration.suite).into();
                    return Err(BuildError::MissingFile { path, role: "the kernel" });
                };
                let declared = kernel::Declared { profile: *profile, config, insecure: *insecure };
                kernel::tailored((source, &files.path(source)), declared, self.options, self.progress)
            }
            other => kernel::given(other, &self.options.folders, self.foreign_kernel),
        }
    }

    /// Completes the lock, or checks that the one that was there has the bytes at hand.
    fn lock(
        &self,
        draft: Lock,
        there: Option<&Lock>,
        sources: &Sources,
        locals: &Locals,
        kernel: &KernelFiles,
        boot_loader: &BootLoader,
    ) -> Result<Lock, BuildError> {
        let sha256 = Sha256::of(&kernel.kernel);
        if let Some(lock) = there {
            check(lock, locals, sha256)?;
            return Ok(lock.clone());
        }
        let newest = sources.newest().max(kernel.newest).max(boot_loader.newest);
        let epoch = newest.and_then(Date::from_seconds).unwrap_or(draft.date);
        let kernel = draft.kernel.map(|kernel| crate::lock::Kernel { sha256, ..kernel });
        Ok(Lock { epoch, kernel, files: locals.files.clone(), images: locals.images.clone(), ..draft })
    }
}

/// Checks that files of the machine that builds and the kernel are those of the lock.
fn check(lock: &Lock, locals: &Locals, kernel: Sha256) -> Result<(), BuildError> {
    let changed = |path: String, found: Sha256, expected: Sha256| {
        Err(BuildError::Changed { path, found: found.to_string(), expected: expected.to_string() })
    };
    for file in &locals.files {
        let locked = lock.files.iter().find(|locked| locked.path == file.path);
        if let Some(locked) = locked.filter(|locked| locked.sha256 != file.sha256) {
            return changed(file.path.to_string(), file.sha256, locked.sha256);
        }
    }
    for image in &locals.images {
        let locked = lock.images.iter().find(|locked| locked.path == image.path);
        if let Some(locked) = locked.filter(|locked| *locked != image) {
            return changed(image.path.to_string(), image.config, locked.config);
        }
    }
    match &lock.kernel {
        Some(locked) if locked.sha256 != kernel => changed("the kernel".into(), kernel, locked.sha256),
        _ => Ok(()),
    }
}

/// Returns a time before all inputs, for a lock whose epoch is not known yet.
fn before_all() -> Date {
    Date::from_seconds(1).unwrap_or_else(|| unreachable!("1970 is a date"))
}

fn open(path: &Path) -> Result<File, BuildError> {
    File::open(path).map_err(BuildError::io(path))
}

fn digest(path: &Path) -> Result<Sha256, BuildError> {
    let (digest, _) = Sha256::of_reader(open(path)?).map_err(BuildError::io(path))?;
    Ok(digest)
}

fn local(path: &SourcePath, host: &Path) -> Result<LocalFile, BuildError> {
    let (sha256, size) = Sha256::of_reader(open(host)?).map_err(BuildError::io(host))?;
    let path = path.as_str().parse().map_err(|source| BuildError::Text { source })?;
    Ok(LocalFile { path, size, sha256 })
}
