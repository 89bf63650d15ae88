//! The files of the image: the needed ones of all packages, with those that every appliance has.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    closure::{
        Closure, Command, Origin, PackageLookup, Policy, Request, Rules, certificates, close, commands,
    },
    declaration::Declaration,
    image::{Access, Placer, SystemFiles, Users, declared, init_config, select, system},
    lock::{Change, Lock, PackageName},
    record::{ApplianceRecord, PackageRecord},
    sources::Spool,
    tree::{Content, Timestamp, Tree},
};

use super::{BuildError, KernelFiles, Options, boot_loader::BootLoader, unpack::Sources};

/// Program that formats data disks; the init runs it.
const FORMAT: &str = "/usr/sbin/mke2fs";
/// Programs that the init runs where they are there.
const GROW: [&str; 2] = ["/usr/sbin/resize2fs", "/usr/sbin/e2fsck"];

/// An appliance whose files are known, ready to be written.
#[derive(Debug)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// Its declaration, with what an image of another origin told.
    pub declaration: Declaration,
    /// The lock that it is built from.
    pub lock: Lock,
    /// Changes of the lock; none where it is the one that was there.
    pub changes: Vec<Change>,
    /// Whether the lock differs from the one that was there.
    pub is_lock_new: bool,
    /// The kept files, with their reasons.
    pub closure: Closure,
    /// The files that start Linux.
    pub kernel: KernelFiles,
    /// Devices and named pipes that were left out.
    pub left_out: u64,
    /// Packages that files are of.
    pub packages: Vec<PackageRecord>,
    pub(super) tree: Tree,
    pub(super) spool: Spool,
    pub(super) boot_loader: BootLoader,
    pub(super) time: Timestamp,
}

/// Parts of a plan before the files are chosen.
pub(super) struct Parts<'a> {
    pub(super) name: &'a str,
    pub(super) declaration: Declaration,
    /// Names of packages, those of package files included.
    pub(super) named: Vec<String>,
    pub(super) sources: Sources,
    pub(super) rules: &'a Rules,
    pub(super) lookup: &'a dyn PackageLookup,
    pub(super) kernel: KernelFiles,
    pub(super) init: &'static [u8],
    pub(super) boot_loader: BootLoader,
    pub(super) lock: Lock,
    pub(super) changes: Vec<Change>,
    pub(super) is_lock_new: bool,
}

impl Parts<'_> {
    /// Chooses the files.
    pub(super) fn plan(mut self, options: &Options) -> Result<Plan, BuildError> {
        let time = Timestamp { seconds: self.lock.epoch.seconds(), nanoseconds: 0 };
        self.sources.stamp(time);
        let users = Users::of(&self.sources.tree, &self.sources.spool, &self.declaration);
        let sources = &mut self.sources;
        declared::add(
            &mut sources.tree,
            &mut sources.spool,
            &self.declaration,
            &users,
            &options.folders,
            time,
        )?;
        let bundle = self.add_made(time)?;
        let closure = self.close()?;
        let mut tree = select(&self.sources.tree, &closure, time);
        system::link_libraries(&mut tree, time, &closure)?;
        let packages = self.packages(&closure);
        let files = SystemFiles {
            suite: self.declaration.suite,
            users: &users,
            init_config: init_config(&self.declaration, self.name, &users)?,
            init: self.kernel.initrd.is_none().then_some(self.init),
            certificates: bundle.filter(|_| closure.keeps(certificates::BUNDLE.as_bytes())),
            packages: self.paragraphs(&closure),
        };
        system::add(&mut tree, time, files)?;
        Ok(Plan {
            name: self.name.into(),
            declaration: self.declaration,
            lock: self.lock,
            changes: self.changes,
            is_lock_new: self.is_lock_new,
            closure,
            kernel: self.kernel,
            left_out: self.sources.left_out,
            packages,
            tree,
            spool: self.sources.spool,
            boot_loader: self.boot_loader,
            time,
        })
    }

    /// Adds files that a package's script would have made, before the closure, so that rules can keep them.
    fn add_made(&mut self, time: Timestamp) -> Result<Option<Vec<u8>>, BuildError> {
        let Sources { tree, spool, origins, indexes, .. } = &mut self.sources;
        let bundle = certificates::bundle(tree, spool).map_err(BuildError::io(certificates::BUNDLE))?;
        let mut placer = Placer { tree, time };
        if let (Some(bundle), Some(index)) = (&bundle, indexes.get("ca-certificates")) {
            placer.file(certificates::BUNDLE, Content::Bytes(bundle.clone()), Access::root(0o644))?;
            placer.link(certificates::OPENSSL_LINK, certificates::BUNDLE.as_bytes())?;
            for path in [certificates::BUNDLE, certificates::OPENSSL_LINK] {
                origins.record(path.as_bytes(), Origin::Package(*index));
            }
        }
        if self.declaration.shell {
            placer.link("/usr/bin/sh", b"busybox")?;
        }
        Ok(bundle)
    }

    fn close(&self) -> Result<Closure, BuildError> {
        let mut commands = commands(&self.declaration);
        let has = |path: &str| crate::closure::lookup::resolve(&self.sources.tree, path.as_bytes()).is_ok();
        if !self.declaration.data.is_empty() {
            let by = "the data disks".to_owned();
            commands.push(Command { path: FORMAT.into(), by: by.clone() });
            let there = GROW.into_iter().filter(|path| has(path));
            commands.extend(there.map(|path| Command { path: path.into(), by: by.clone() }));
        }
        let policy = Policy::of(&self.declaration);
        Ok(close(Request {
            tree: &self.sources.tree,
            contents: &self.sources.spool,
            origins: &self.sources.origins,
            commands: &commands,
            named: &self.named,
            policy: &policy,
            rules: self.rules,
            packages: self.lookup,
        })?)
    }

    fn packages(&self, closure: &Closure) -> Vec<PackageRecord> {
        let versions =
            self.lock.packages.iter().map(|package| (package.name.as_str(), package.version.to_string()));
        let versions: BTreeMap<&str, String> = versions.collect();
        let of = |name: &str| {
            let version = versions.get(name).cloned();
            PackageRecord { name: name.into(), version: version.unwrap_or_else(|| self.version(name)) }
        };
        closure.packages().into_keys().map(of).collect()
    }

    /// Returns the version of a package that is no part of the lock's archives: a package file.
    fn version(&self, name: &str) -> String {
        let paragraph = self.sources.paragraphs.get(name).map(|bytes| String::from_utf8_lossy(bytes));
        let line =
            paragraph.as_ref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("Version:")));
        line.unwrap_or_default().trim().into()
    }

    /// Returns the control paragraphs of the packages that files are of.
    fn paragraphs(&self, closure: &Closure) -> BTreeMap<String, Vec<u8>> {
        let kept = closure.packages();
        let all = self.sources.paragraphs.iter().filter(|(name, _)| kept.contains_key(name.as_str()));
        all.map(|(name, paragraph)| (name.clone(), paragraph.clone())).collect()
    }
}

impl Plan {
    /// Returns the record of the machine.
    #[must_use]
    pub fn appliance(&self) -> ApplianceRecord {
        ApplianceRecord::of(&self.declaration, &self.kernel.release, self.packages.clone())
    }
}

/// Says why a path is in the image, if it is: the file that needs it, and so on to the declaration.
impl Plan {
    /// Returns the names of the packages that files are of.
    #[must_use]
    pub fn package_names(&self) -> BTreeSet<PackageName> {
        self.packages.iter().filter_map(|package| package.name.parse().ok()).collect()
    }

    /// Returns the chain of reasons for a path; links on the way are followed.
    #[must_use]
    pub fn why(&self, path: &str) -> Option<String> {
        let found = crate::closure::lookup::resolve(&self.tree, path.as_bytes()).ok()?;
        let real = found.path;
        let why = self.closure.why(path.as_bytes()).or_else(|| self.closure.why(&real));
        why.map(|why| why.to_string())
    }
}
