//! Bytes to a lock. Pure.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::text::{PackageName, Recipe, SuiteName};
use super::value::{Archive, Kernel, KernelKind, LocalFile, Lock, OciImage, Package, Repository, Request};
use super::{Date, LOCK_VERSION, LockError, MAX_LOCK_BYTES, Rule};
use crate::sha256::Sha256;

/// The one key that each version of the lock's form has.
#[derive(Deserialize)]
struct Head {
    version: toml::Spanned<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "version")]
    _version: i64,
    recipe: Recipe,
    suite: SuiteName,
    date: Date,
    epoch: Date,
    requested: Vec<PackageName>,
    updates: bool,
    #[serde(default)]
    repository: Vec<Repository>,
    #[serde(default)]
    archive: Vec<Archive>,
    #[serde(default)]
    package: Vec<Package>,
    #[serde(default)]
    boot: Vec<Package>,
    kernel: Option<KernelTable>,
    #[serde(default)]
    file: Vec<LocalFile>,
    #[serde(default)]
    oci: Vec<OciImage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KernelTable {
    kind: KernelKind,
    sha256: Sha256,
    #[serde(default)]
    package: Vec<Package>,
}

impl Lock {
    /// Reads a lock. Its entries may come in any order; the value has them in the order that is written.
    ///
    /// # Errors
    ///
    /// The first broken rule with line and column: see [`Rule`]. A rule over several entries is at line 1.
    pub fn parse(bytes: &[u8]) -> Result<Self, LockError> {
        let start = |rule| LockError { line: 1, column: 1, rule };
        if bytes.len() > MAX_LOCK_BYTES {
            return Err(start(Rule::TooLong { found: bytes.len(), limit: MAX_LOCK_BYTES }));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            locate(&good, good.len(), Rule::Encoding)
        })?;
        let form = |error: toml::de::Error| {
            let offset = error.span().map_or(0, |span| span.start);
            locate(text, offset, Rule::Form(error.message().replace('\n', ", ")))
        };
        let head: Head = toml::from_str(text).map_err(form)?;
        let found = *head.version.get_ref();
        if found != LOCK_VERSION {
            return Err(locate(text, head.version.span().start, Rule::Version { found }));
        }
        let file: File = toml::from_str(text).map_err(form)?;
        let mut lock = file.into_lock();
        lock.sort();
        check(&lock).map_err(start)?;
        Ok(lock)
    }

    /// Brings all entries into the order that is written.
    pub(super) fn sort(&mut self) {
        self.request.packages.sort();
        self.request.packages.dedup();
        self.request.repositories.sort();
        self.request.repositories.dedup();
        self.archives.sort();
        self.packages.sort();
        self.boot.sort();
        self.files.sort();
        self.images.sort();
        if let Some(kernel) = &mut self.kernel {
            kernel.packages.sort();
        }
    }
}

impl File {
    fn into_lock(self) -> Lock {
        let kernel =
            |table: KernelTable| Kernel { kind: table.kind, sha256: table.sha256, packages: table.package };
        Lock {
            recipe: self.recipe,
            suite: self.suite,
            date: self.date,
            epoch: self.epoch,
            request: Request {
                packages: self.requested,
                updates: self.updates,
                repositories: self.repository,
            },
            archives: self.archive,
            packages: self.package,
            boot: self.boot,
            kernel: self.kernel.map(kernel),
            files: self.file,
            images: self.oci,
        }
    }
}

/// Holds the rules over several entries.
fn check(lock: &Lock) -> Result<(), Rule> {
    let of_kernel = lock.kernel.as_ref().map_or(&[][..], |kernel| &kernel.packages);
    unique("archive", lock.archives.iter().map(|archive| archive.name.as_str()))?;
    unique("package", lock.packages.iter().map(|package| package.name.as_str()))?;
    unique("boot", lock.boot.iter().map(|package| package.name.as_str()))?;
    unique("kernel.package", of_kernel.iter().map(|package| package.name.as_str()))?;
    unique("file", lock.files.iter().map(|file| file.path.as_str()))?;
    unique("oci", lock.images.iter().map(|image| image.path.as_str()))?;
    match lock.all_packages().find(|package| lock.archive(&package.archive).is_none()) {
        None => Ok(()),
        Some(package) => Err(Rule::UnknownArchive {
            package: package.name.to_string(),
            archive: package.archive.to_string(),
        }),
    }
}

fn unique<'a>(table: &'static str, names: impl Iterator<Item = &'a str>) -> Result<(), Rule> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Rule::Duplicate { table, name: name.to_owned() });
        }
    }
    Ok(())
}

/// Turns a byte of `text` into line and column.
fn locate(text: &str, offset: usize, rule: Rule) -> LockError {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    LockError {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        rule,
    }
}
