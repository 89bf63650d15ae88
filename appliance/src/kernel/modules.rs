//! The modules of a kernel's package, and the order in which they are loaded.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use thiserror::Error;

use crate::{
    closure::lookup::resolve,
    contents::Contents,
    tree::{Content, InodeId, Kind, Tree},
};

use super::{
    modinfo::{ModuleInfo, module_info, plain},
    unpack::{UnpackFault, unpack},
};

/// Largest module in bytes, unpacked and not. The largest of Debian (amdgpu, with symbols stripped) has 15 MiB.
const MAX_MODULE: usize = 64 << 20;
/// Largest `modules.builtin` in bytes.
const MAX_BUILTIN: u64 = 4 << 20;
/// Depth of folders below the release.
const MAX_DEPTH: usize = 16;

/// Modules that every appliance on Debian's kernel needs: virtio, EROFS, overlay, the power button.
pub const REQUIRED: [&str; 9] = [
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio_console",
    "virtio_rng",
    "virtio_balloon",
    "erofs",
    "overlay",
    "evdev",
];
/// Modules of other hypervisors and of hardware, loaded where the kernel has them. Debian 12's cloud kernel has no
/// AHCI, and neither one has E1000.
pub const OPTIONAL: [&str; 14] = [
    "button",
    "virtio_scsi",
    "sd_mod",
    "vmw_pvscsi",
    "vmxnet3",
    "nvme",
    "ata_piix",
    "ahci",
    "e1000",
    "e1000e",
    "ext4",
    "crc32c_intel",
    "crc32_pclmul",
    "vmw_balloon",
];

/// The modules of one kernel.
#[derive(Debug)]
pub struct Modules {
    release: String,
    /// Names, with `_` for `-`, to contents.
    files: BTreeMap<String, InodeId>,
    builtin: BTreeSet<String>,
}

/// A module to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Name, with `_` for `-`.
    pub name: String,
    /// The ELF file, unpacked.
    pub bytes: Vec<u8>,
}

/// The modules to be loaded, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadOrder {
    /// Modules, each after those that it needs.
    pub modules: Vec<Module>,
    /// Optional modules that the kernel does not have.
    pub absent: Vec<String>,
}

/// The reason that modules cannot be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModulesError {
    /// The tree has no modules of a kernel.
    #[error("there is no folder of modules in /usr/lib/modules")]
    NoKernel,
    /// The tree has modules of more than one kernel.
    #[error("there are modules of more than one kernel: {0} and {1}")]
    ManyKernels(String, String),
    /// A module that was asked for, or that one needs, is not there.
    #[error("the kernel {release} has no module {name}{}", needed(.by))]
    Missing {
        /// Name.
        name: String,
        /// The module that needs it; none where it was asked for.
        by: Option<String>,
        /// Release of the kernel.
        release: String,
    },
    /// Modules that need one another.
    #[error("the module {0} needs itself, by way of others")]
    Circle(String),
    /// A module that is no ELF file with a section `.modinfo`.
    #[error("the module {0} is damaged")]
    Damaged(String),
    /// A module that cannot be unpacked.
    #[error("the module {name} cannot be unpacked")]
    Packed {
        /// Name.
        name: String,
        /// The fault.
        source: UnpackFault,
    },
    /// A module for another kernel.
    #[error("the module {name} is for the kernel {found}, not {release}")]
    OtherKernel {
        /// Name.
        name: String,
        /// Release that it is for.
        found: String,
        /// Release of the kernel.
        release: String,
    },
    /// A file could not be read.
    #[error("the file {0} cannot be read")]
    Read(String, #[source] io::Error),
}

fn needed(by: &Option<String>) -> String {
    by.as_ref().map_or_else(String::new, |by| format!(", which {by} needs"))
}

impl Modules {
    /// Finds the modules of the one kernel in a tree.
    ///
    /// # Errors
    ///
    /// No kernel, more than one, or a list of built-in modules that cannot be read.
    pub fn of(tree: &Tree, contents: &dyn Contents) -> Result<Self, ModulesError> {
        let folder = resolve(tree, b"/usr/lib/modules").or_else(|_| resolve(tree, b"/lib/modules"));
        let folder = folder.map_err(|_| ModulesError::NoKernel)?;
        let Kind::Directory(releases) = &tree.get(folder.id).kind else { return Err(ModulesError::NoKernel) };
        let mut releases = releases.iter();
        let (name, id) = releases.next().ok_or(ModulesError::NoKernel)?;
        let release = String::from_utf8_lossy(name).into_owned();
        if let Some((other, _)) = releases.next() {
            return Err(ModulesError::ManyKernels(release, String::from_utf8_lossy(other).into_owned()));
        }
        let mut modules = Self { release, files: BTreeMap::new(), builtin: BTreeSet::new() };
        modules.add(tree, *id);
        if let Some(list) = tree.child(*id, b"modules.builtin") {
            let bytes = read(tree, contents, list, MAX_BUILTIN);
            let bytes = bytes.map_err(|source| ModulesError::Read("modules.builtin".into(), source))?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            modules.builtin = text.lines().filter_map(|line| module_name(line.rsplit('/').next()?)).collect();
        }
        Ok(modules)
    }

    fn add(&mut self, tree: &Tree, folder: InodeId) {
        let mut left = vec![(folder, 0)];
        while let Some((id, depth)) = left.pop() {
            let Kind::Directory(entries) = &tree.get(id).kind else { continue };
            for (name, child) in entries {
                match &tree.get(*child).kind {
                    Kind::Directory(_) if depth < MAX_DEPTH => left.push((*child, depth + 1)),
                    Kind::File(_) => {
                        if let Some(name) = std::str::from_utf8(name).ok().and_then(module_name) {
                            self.files.insert(name, *child);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// Returns the release of the kernel, as `6.1.0-57-cloud-amd64`.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Computes the order in which modules are loaded: those that a module needs come before it.
    ///
    /// A module that is built into the kernel is left out. A soft dependency that is not there is passed over.
    ///
    /// # Errors
    ///
    /// A required module, or one that a module needs, that is not there; circles; damaged files.
    pub fn load_order(
        &self,
        tree: &Tree,
        contents: &dyn Contents,
        required: &[&str],
        optional: &[&str],
    ) -> Result<LoadOrder, ModulesError> {
        let mut walk = Walk {
            modules: self,
            tree,
            contents,
            order: LoadOrder::default(),
            done: BTreeSet::new(),
            aliases: None,
        };
        for name in optional.iter().chain(required).map(|name| plain(name)) {
            // An order by kind would depend on the caller; needs come first in any case.
            let wanted = required.iter().any(|required| plain(required) == name);
            match self.has(&name) {
                true => walk.load(&name)?,
                false if wanted => return Err(self.missing(&name, None)),
                false => walk.order.absent.push(name),
            }
        }
        Ok(walk.order)
    }

    fn has(&self, name: &str) -> bool {
        self.files.contains_key(name) || self.builtin.contains(name)
    }

    fn missing(&self, name: &str, by: Option<&str>) -> ModulesError {
        ModulesError::Missing {
            name: name.to_owned(),
            by: by.map(str::to_owned),
            release: self.release.clone(),
        }
    }

    fn module(
        &self,
        tree: &Tree,
        contents: &dyn Contents,
        name: &str,
        id: InodeId,
    ) -> Result<(Vec<u8>, ModuleInfo), ModulesError> {
        let bytes = read(tree, contents, id, MAX_MODULE as u64);
        let bytes = bytes.map_err(|source| ModulesError::Read(name.to_owned(), source))?;
        let bytes = unpack(&bytes, MAX_MODULE)
            .map_err(|source| ModulesError::Packed { name: name.to_owned(), source })?;
        let info = module_info(&bytes).ok_or_else(|| ModulesError::Damaged(name.to_owned()))?;
        let found = info.vermagic.as_deref().and_then(|text| text.split(' ').next()).unwrap_or_default();
        if found != self.release {
            let (name, found) = (name.to_owned(), found.to_owned());
            return Err(ModulesError::OtherKernel { name, found, release: self.release.clone() });
        }
        Ok((bytes, info))
    }
}

/// The state of one computation.
struct Walk<'a> {
    modules: &'a Modules,
    tree: &'a Tree,
    contents: &'a dyn Contents,
    order: LoadOrder,
    done: BTreeSet<String>,
    /// Aliases without wildcards to names; read when first asked for, since that reads all modules.
    aliases: Option<BTreeMap<String, Vec<String>>>,
}

/// A step: look at a module, or put it down once its needs are.
enum Step {
    Enter(String, Option<String>),
    Leave(Module),
}

impl Walk<'_> {
    /// Loads a module and its needs. A list of steps, not calls, since the depth is up to the files.
    fn load(&mut self, name: &str) -> Result<(), ModulesError> {
        let mut open: BTreeSet<String> = BTreeSet::new();
        let mut steps = vec![Step::Enter(name.to_owned(), None)];
        while let Some(step) = steps.pop() {
            let (name, by) = match step {
                Step::Leave(module) => {
                    open.remove(&module.name);
                    self.done.insert(module.name.clone());
                    self.order.modules.push(module);
                    continue;
                }
                Step::Enter(name, by) => (name, by),
            };
            if self.done.contains(&name) || self.modules.builtin.contains(&name) {
                continue;
            }
            if open.contains(&name) {
                return Err(ModulesError::Circle(name));
            }
            let id =
                self.modules.files.get(&name).ok_or_else(|| self.modules.missing(&name, by.as_deref()))?;
            let (bytes, info) = self.modules.module(self.tree, self.contents, &name, *id)?;
            let mut before = Vec::new();
            for soft in &info.before {
                before.extend(self.soft(soft)?);
            }
            let mut after = Vec::new();
            for soft in &info.after {
                after.extend(self.soft(soft)?);
            }
            open.insert(name.clone());
            // The last one is the first to be done. A soft need of a module that waits for this one is passed over.
            steps.extend(
                after
                    .into_iter()
                    .rev()
                    .filter(|soft| !open.contains(soft))
                    .map(|soft| Step::Enter(soft, None)),
            );
            steps.push(Step::Leave(Module { name: name.clone(), bytes }));
            let hard = info.depends.into_iter().rev();
            steps.extend(hard.map(|need| Step::Enter(need, Some(name.clone()))));
            let soft = before.into_iter().rev().filter(|soft| !open.contains(soft));
            steps.extend(soft.map(|soft| Step::Enter(soft, None)));
        }
        Ok(())
    }

    /// Returns the modules that a soft dependency means: one of that name, else those with that alias.
    fn soft(&mut self, name: &str) -> Result<Vec<String>, ModulesError> {
        if self.modules.files.contains_key(name) {
            return Ok(vec![name.to_owned()]);
        }
        if self.modules.builtin.contains(name) {
            return Ok(Vec::new());
        }
        if self.aliases.is_none() {
            let mut aliases: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (module, id) in &self.modules.files {
                let (_, info) = self.modules.module(self.tree, self.contents, module, *id)?;
                for alias in info.aliases.iter().filter(|alias| !alias.contains(['*', '?', '['])) {
                    aliases.entry(plain(alias)).or_default().push(module.clone());
                }
            }
            self.aliases = Some(aliases);
        }
        Ok(self.aliases.as_ref().and_then(|aliases| aliases.get(name)).cloned().unwrap_or_default())
    }
}

/// Returns the name of a module by that of its file, as `virtio-rng.ko.xz`.
fn module_name(file: &str) -> Option<String> {
    let (name, rest) = file.split_once(".ko")?;
    matches!(rest, "" | ".xz" | ".zst").then(|| plain(name))
}

fn read(tree: &Tree, contents: &dyn Contents, id: InodeId, limit: u64) -> io::Result<Vec<u8>> {
    match &tree.get(id).kind {
        Kind::File(Content::Bytes(bytes)) if bytes.len() as u64 <= limit => Ok(bytes.clone()),
        Kind::File(Content::Spooled { offset, len }) if *len <= limit => {
            let count = usize::try_from(*len).map_err(|_| io::ErrorKind::OutOfMemory)?;
            let mut bytes = vec![0; count];
            contents.read_at(*offset, &mut bytes)?;
            Ok(bytes)
        }
        Kind::File(_) => Err(io::ErrorKind::FileTooLarge.into()),
        Kind::Directory(_) | Kind::Symlink(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}
