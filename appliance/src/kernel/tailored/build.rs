//! The steps of a build.

use std::{
    cell::Cell,
    fs::{self, File},
    io,
    num::NonZero,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{declaration::Profile, kernel::bzimage::BzImage, sha256::Sha256};

use super::{
    cache::{self, Entry, Inputs, MAX_CONFIG, MAX_KERNEL, Slot},
    config,
    error::{SourceError, TailoredError},
    fragments,
    kconfig::Kconfig,
    process,
    progress::{self, Progress},
    scratch::Scratch,
    setting::Setting,
    source,
    tools::Tools,
    version,
};

/// Free bytes that a build needs: 1.2 GB of source, 0.3 GB of objects.
const NEEDED_BYTES: u64 = 2 << 30;
/// Free bytes below which a failure is the file system's.
const FULL_BYTES: u64 = 4 << 20;
/// Most time for the configuration and for the compilation.
const CONFIGURE_LIMIT: Duration = Duration::from_secs(3600);
const COMPILE_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// Largest makefile and Kconfig file that is read.
const MAX_TEXT: u64 = 4 << 20;
/// Most folders of a source that are looked at.
const MAX_FOLDERS: usize = 50_000;

/// The question for a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The package `linux-source-6.1` or `linux-source-6.12` of Debian.
    pub source: &'a Path,
    /// Its digest. It is checked before anything of the source runs.
    pub sha256: Sha256,
    /// Drivers.
    pub profile: Profile,
    /// Further lines, as `CONFIG_NUMA=y`.
    pub config: &'a [String],
    /// Whether mitigations of faults of CPUs are left out.
    pub insecure: bool,
    /// Folder of temporary files, with 2 GiB free. Those of a build are gone once it ends.
    pub temporary: &'a Path,
    /// Folder of all caches. It may be deleted at any time.
    pub cache: &'a Path,
}

/// A kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TailoredKernel {
    /// The bzImage.
    pub image: Vec<u8>,
    /// Its final configuration.
    pub config: String,
    /// Whether it came from the cache.
    pub from_cache: bool,
}

/// Takes a kernel from the cache, or builds it. `watch` returns whether to go on.
///
/// # Errors
///
/// Lines that are none or do not stand in the final configuration; a source that is damaged, unknown or another; a
/// program that is not there or fails; a full disk; an interruption. After any of them no process lives on, and the
/// cache has no part of the kernel.
pub fn build(
    request: &Request<'_>,
    watch: &dyn Fn(Progress) -> bool,
) -> Result<TailoredKernel, TailoredError> {
    let declared: Result<Vec<Setting>, _> = request.config.iter().map(|line| Setting::parse(line)).collect();
    let declared = declared.map_err(TailoredError::Line)?;
    let tools = Tools::find(fragments::compressor(request.profile, &declared))?;
    build_with(request, &declared, &tools, watch)
}

fn build_with(
    request: &Request<'_>,
    declared: &[Setting],
    tools: &Tools,
    watch: &dyn Fn(Progress) -> bool,
) -> Result<TailoredKernel, TailoredError> {
    let Request { profile, insecure, .. } = *request;
    let inputs = Inputs { source: request.sha256, profile, insecure, declared, versions: &tools.versions };
    let slot = Slot::new(request.cache, inputs.key())?;
    let cached = |Entry { image, config }| TailoredKernel { image, config, from_cache: true };
    if let Some(entry) = slot.get()? {
        return Ok(cached(entry));
    }
    let _lock = slot.lock(&mut || watch(Progress::Wait))?;
    if let Some(entry) = slot.get()? {
        return Ok(cached(entry));
    }
    let scratch = Scratch::new(request.temporary).map_err(TailoredError::io(request.temporary))?;
    let build = Build::new(scratch.path(), tools, watch)?;
    let built = build.kernel(request, declared).map_err(|error| build.explained(error))?;
    slot.put(&built).map_err(|error| explained(request.cache, error))?;
    Ok(TailoredKernel { image: built.image, config: built.config, from_cache: false })
}

/// A build in its folder.
struct Build<'a> {
    tree: PathBuf,
    temporary: PathBuf,
    tools: &'a Tools,
    watch: &'a dyn Fn(Progress) -> bool,
}

impl<'a> Build<'a> {
    fn new(
        folder: &Path,
        tools: &'a Tools,
        watch: &'a dyn Fn(Progress) -> bool,
    ) -> Result<Self, TailoredError> {
        let folder = fs::canonicalize(folder).map_err(TailoredError::io(folder))?;
        let good = |byte: u8| byte.is_ascii_graphic() && !b":'\"\\$`#%;&|<>()*?[]{}~!".contains(&byte);
        if !folder.as_os_str().as_encoded_bytes().iter().copied().all(good) {
            return Err(TailoredError::WorkFolder(folder));
        }
        if let Some(free) = free_bytes(&folder).filter(|free| *free < NEEDED_BYTES) {
            return Err(TailoredError::NoSpace { path: folder, free, expected: NEEDED_BYTES });
        }
        let (tree, temporary) = (folder.join("linux"), folder.join("tmp"));
        for folder in [&tree, &temporary] {
            fs::create_dir(folder).map_err(TailoredError::io(folder))?;
        }
        Ok(Self { tree, temporary, tools, watch })
    }

    /// Tells a failure of a full file system from others.
    fn explained(&self, error: TailoredError) -> TailoredError {
        explained(&self.tree, error)
    }

    fn kernel(&self, request: &Request<'_>, declared: &[Setting]) -> Result<Entry, TailoredError> {
        self.unpack(request)?;
        let version = version::version(&self.text("Makefile", MAX_TEXT)?).ok_or_else(|| {
            let source = Box::new(SourceError::NoSource);
            TailoredError::Source { path: request.source.into(), source }
        })?;
        let lines = fragments::lines(version, request.profile, request.insecure, declared)?;
        self.configure(&lines)?;
        let config = self.text(".config", MAX_CONFIG)?;
        self.compile(&config)?;
        self.check_paths()?;
        let place = self.tree.join("arch/x86/boot/bzImage");
        let image = cache::read(&place, MAX_KERNEL).map_err(TailoredError::io(&place))?.unwrap_or_default();
        BzImage::parse(&image).map_err(TailoredError::Kernel)?;
        Ok(Entry { image, config })
    }

    fn unpack(&self, request: &Request<'_>) -> Result<(), TailoredError> {
        let path = request.source;
        let file = File::open(path).map_err(TailoredError::io(path))?;
        let total = file.metadata().map_err(TailoredError::io(path))?.len();
        let mut watch = |done| (self.watch)(Progress::Unpack { done, total });
        let unpacked = source::unpack(&file, &self.tree, &mut watch);
        let found =
            unpacked.map_err(|source| TailoredError::Source { path: path.into(), source: source.into() })?;
        let found = found.ok_or(TailoredError::Interrupted)?;
        if found != request.sha256 {
            return Err(TailoredError::Digest { path: path.into(), found, expected: request.sha256 });
        }
        Ok(())
    }

    /// Makes the configuration, and checks that each line stands in it.
    fn configure(&self, lines: &[fragments::Line]) -> Result<(), TailoredError> {
        let kconfig = self.kconfig()?;
        let mut watch = |_| (self.watch)(Progress::Configure);
        process::run(self.make(&["tinyconfig"]), CONFIGURE_LIMIT, &mut watch)?;
        let (merged, lines) = config::merge(&self.text(".config", MAX_CONFIG)?, lines, &kconfig);
        let place = self.tree.join(".config");
        fs::write(&place, merged).map_err(TailoredError::io(&place))?;
        process::run(self.make(&["olddefconfig"]), CONFIGURE_LIMIT, &mut watch)?;
        let fallen = config::fallen(&self.text(".config", MAX_CONFIG)?, &lines, &kconfig);
        if fallen.is_empty() { Ok(()) } else { Err(TailoredError::Fallen(fallen)) }
    }

    /// Reads all Kconfig files of the source.
    fn kconfig(&self) -> Result<Kconfig, TailoredError> {
        let mut kconfig = Kconfig::default();
        let mut folders = vec![self.tree.clone()];
        let mut seen = 0;
        while let Some(folder) = folders.pop() {
            seen += 1;
            for entry in fs::read_dir(&folder).map_err(TailoredError::io(&folder))? {
                let entry = entry.map_err(TailoredError::io(&folder))?;
                let kind = entry.file_type().map_err(TailoredError::io(&entry.path()))?;
                if kind.is_dir() && seen + folders.len() < MAX_FOLDERS {
                    folders.push(entry.path());
                } else if kind.is_file() && entry.file_name().as_encoded_bytes().starts_with(b"Kconfig") {
                    let text =
                        cache::read(&entry.path(), MAX_TEXT).map_err(TailoredError::io(&entry.path()))?;
                    kconfig.add(&String::from_utf8_lossy(&text.unwrap_or_default()));
                }
            }
        }
        Ok(kconfig)
    }

    fn compile(&self, config: &str) -> Result<(), TailoredError> {
        let jobs = thread::available_parallelism().map_or(1, NonZero::get);
        let estimate = estimate(config);
        let start = Instant::now();
        // The time that is left is told anew with each step, not with each look.
        let last = Cell::new((u64::MAX, Progress::Configure));
        let mut watch = |done| {
            if last.get().0 != done {
                last.set((done, progress::compile(done, estimate, start.elapsed())));
            }
            (self.watch)(last.get().1)
        };
        process::run(self.make(&[&format!("-j{jobs}"), "bzImage"]), COMPILE_LIMIT, &mut watch)
    }

    /// Checks that the kernel does not hold the path of its folder.
    fn check_paths(&self) -> Result<(), TailoredError> {
        let place = self.tree.join("vmlinux");
        let kernel = cache::read(&place, MAX_KERNEL).map_err(TailoredError::io(&place))?.unwrap_or_default();
        let path = self.tree.as_os_str().as_encoded_bytes();
        let found = kernel.windows(path.len()).any(|part| part == path);
        if found { Err(TailoredError::PathInKernel(self.tree.clone())) } else { Ok(()) }
    }

    /// Returns `make` with an environment that is the same on every machine and day.
    fn make(&self, arguments: &[&str]) -> Command {
        let mut command = self.tools.command(&self.tools.make);
        command.args(arguments).current_dir(&self.tree);
        command.env("HOME", &self.temporary).env("TMPDIR", &self.temporary);
        command.env("KBUILD_BUILD_USER", "melv").env("KBUILD_BUILD_HOST", "melv");
        command
            .env("KBUILD_BUILD_VERSION", "1")
            .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970");
        // Unless it is set, a repository around the folder adds a `+` to the release.
        command.env("LOCALVERSION", "").env("KCONFIG_NOTIMESTAMP", "1");
        command
    }

    fn text(&self, name: &str, limit: u64) -> Result<String, TailoredError> {
        let place = self.tree.join(name);
        let bytes = cache::read(&place, limit).map_err(TailoredError::io(&place))?;
        let bytes =
            bytes.ok_or(io::ErrorKind::NotFound).map_err(|kind| TailoredError::io(&place)(kind.into()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Returns an error as one of a full file system, where that is its reason: the system said so, or a program failed
/// and nothing is free.
fn explained(folder: &Path, error: TailoredError) -> TailoredError {
    let most = match written(&error).map(io::Error::kind) {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => u64::MAX,
        None if matches!(error, TailoredError::Failed { .. }) => FULL_BYTES,
        _ => return error,
    };
    match free_bytes(folder).filter(|free| *free < most) {
        Some(free) => TailoredError::NoSpace { path: folder.into(), free, expected: NEEDED_BYTES },
        None => error,
    }
}

/// Returns the failure of the system behind an error of writing.
fn written(error: &TailoredError) -> Option<&io::Error> {
    match error {
        TailoredError::Io { source, .. } => Some(source),
        TailoredError::Source { source, .. } => match source.as_ref() {
            SourceError::Write { source, .. } => Some(source),
            _ => None,
        },
        _ => None,
    }
}

/// Returns the bytes that are free for this user.
fn free_bytes(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Estimates the lines that `make` prints, by the number of symbols that are built in.
///
/// Counted: `portable` of Linux 6.1 prints 1916 lines for 769 symbols.
fn estimate(config: &str) -> u64 {
    let symbols =
        config.lines().filter(|line| line.starts_with("CONFIG_") && line.ends_with("=y")).count() as u64;
    symbols.saturating_mul(5) / 2
}

#[cfg(test)]
mod tests;
