//! The kernel and its initrd.

use std::{fs, path::Path};

use melv_block::ErrorKind;

use crate::{
    contents::{Contents, read},
    declaration::{KernelSource, Profile, Suite},
    kernel::{
        bzimage::BzImage,
        initrd::initrd,
        modules::{Modules, OPTIONAL, REQUIRED},
        tailored,
    },
    lock::Package,
    tree::{Kind, Tree},
};

use super::{BuildError, Options, Phase, unpack::Archives};

/// The package that stands for the suite's kernel for virtual machines.
pub(super) const CLOUD_PACKAGE: &str = "linux-image-cloud-amd64";
/// Largest kernel and initrd in bytes.
const MAX_KERNEL: u64 = 128 << 20;
const MAX_INITRD: u64 = 256 << 20;

/// Returns the package with the source of the suite's kernel.
pub(super) fn source_package(suite: Suite) -> &'static str {
    match suite {
        Suite::Bookworm => "linux-source-6.1",
        Suite::Trixie => "linux-source-6.12",
    }
}

/// The files that start Linux.
#[derive(Debug, Clone)]
pub struct KernelFiles {
    /// The kernel, a bzImage.
    pub kernel: Vec<u8>,
    /// The initrd; none for a kernel that mounts its root itself.
    pub initrd: Option<Vec<u8>>,
    /// Release of the kernel, as `6.1.0-57-cloud-amd64`.
    pub release: String,
    /// Newest time of the files that it was taken from, in seconds since 1970.
    pub(super) newest: Option<i64>,
}

/// A kernel and its initrd, or the reason that there are none, with the next step of the caller.
pub type FoundKernel = Result<(Vec<u8>, Option<Vec<u8>>), (String, ErrorKind)>;

/// Finds the kernel of another appliance by its reference.
pub type ForeignKernel<'a> = &'a dyn Fn(&str) -> FoundKernel;

impl KernelFiles {
    fn new(
        name: &str,
        kernel: Vec<u8>,
        initrd: Option<Vec<u8>>,
        newest: Option<i64>,
    ) -> Result<Self, BuildError> {
        let parsed =
            BzImage::parse(&kernel).map_err(|source| BuildError::Kernel { name: name.into(), source })?;
        let release = parsed.release().to_owned();
        Ok(Self { kernel, initrd, release, newest })
    }
}

/// Takes the suite's kernel for virtual machines out of its packages, and makes the initrd.
pub(super) fn cloud(
    packages: Vec<(&Package, fs::File)>,
    modules: &[String],
    init: &[u8],
    options: &Options,
) -> Result<KernelFiles, BuildError> {
    let mut archives = Archives::new(&options.temporary)?;
    for (package, file) in packages {
        archives.package(package.name.as_str(), file)?;
    }
    let sources = archives.finish();
    let found = Modules::of(&sources.tree, &sources.spool)?;
    let required: Vec<&str> = REQUIRED.into_iter().chain(modules.iter().map(String::as_str)).collect();
    let order = found.load_order(&sources.tree, &sources.spool, &required, &OPTIONAL)?;
    let initrd = initrd(init, &order.modules)?;
    let path = format!("/boot/vmlinuz-{}", found.release());
    let kernel = file(&sources.tree, &sources.spool, &path)?;
    KernelFiles::new(CLOUD_PACKAGE, kernel, Some(initrd), sources.newest())
}

fn file(tree: &Tree, contents: &dyn Contents, path: &str) -> Result<Vec<u8>, BuildError> {
    let missing = || BuildError::MissingFile { path: path.into(), role: "the kernel" };
    let found = crate::closure::lookup::resolve(tree, path.as_bytes()).map_err(|_| missing())?;
    match &tree.get(found.id).kind {
        Kind::File(content) if content.len() <= MAX_KERNEL => {
            read(content, contents).map_err(BuildError::io(path))
        }
        _ => Err(missing()),
    }
}

/// Takes a kernel that the declaration names by path or by another appliance.
pub(super) fn given(
    source: &KernelSource,
    folders: &crate::image::SourceFolders,
    foreign: ForeignKernel<'_>,
) -> Result<KernelFiles, BuildError> {
    match source {
        KernelSource::File { path, initrd } => {
            let bytes = |path: &crate::declaration::SourcePath, limit| {
                let host = folders.find(path)?;
                read_file(&host, limit)
            };
            let kernel = bytes(path, MAX_KERNEL)?;
            let initrd = initrd.as_ref().map(|path| bytes(path, MAX_INITRD)).transpose()?;
            KernelFiles::new(path.as_str(), kernel, initrd, None)
        }
        KernelSource::From(reference) => {
            let (kernel, initrd) = foreign(reference).map_err(|(reason, kind)| {
                BuildError::ForeignKernel { reference: reference.clone(), reason, kind }
            })?;
            KernelFiles::new(reference, kernel, initrd, None)
        }
        KernelSource::Cloud { .. } | KernelSource::Tailored { .. } => {
            Err(BuildError::Unsupported { feature: "this kernel".into() })
        }
    }
}

fn read_file(path: &std::path::Path, limit: u64) -> Result<Vec<u8>, BuildError> {
    use std::io::Read as _;
    let file = fs::File::open(path).map_err(BuildError::io(path))?;
    let len = file.metadata().map_err(BuildError::io(path))?.len();
    if len > limit {
        return Err(BuildError::io(path)(std::io::ErrorKind::FileTooLarge.into()));
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(BuildError::io(path))?;
    Ok(bytes)
}

/// Builds a kernel from the suite's source, or takes it from the cache.
pub(super) fn tailored(
    source: (&Package, &Path),
    declared: Declared<'_>,
    options: &Options,
    progress: &(dyn Fn(Phase) -> bool + Sync),
) -> Result<KernelFiles, BuildError> {
    let (package, path) = source;
    let request = tailored::Request {
        source: path,
        sha256: package.sha256,
        profile: declared.profile,
        config: declared.config,
        insecure: declared.insecure,
        temporary: &options.temporary,
        cache: &options.cache,
    };
    let watch = |at: tailored::Progress| match at {
        tailored::Progress::Compile { done, total, .. } => progress(Phase::Compile { done, total }),
        _ => progress(Phase::Kernel),
    };
    let built = tailored::build(&request, &watch)?;
    KernelFiles::new(package.name.as_str(), built.image, None, None)
}

/// A declaration of a tailored kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Declared<'a> {
    pub(super) profile: Profile,
    pub(super) config: &'a [String],
    pub(super) insecure: bool,
}
