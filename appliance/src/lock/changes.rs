//! The differences of two locks.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::value::{Archive, Lock, Package};
use super::{Date, PackageName, Uri, Version, version};
use crate::sha256::Sha256;

/// The use of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Its files are the appliance's.
    Files,
    /// It is of the boot loader.
    Boot,
    /// The kernel comes from it.
    Kernel,
}

/// A package whose entries differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It is new.
    Added(Version),
    /// It is gone.
    Removed(Version),
    /// It has a later version.
    Raised(Version, Version),
    /// It has an earlier version.
    Lowered(Version, Version),
    /// It has the same version and another file.
    Replaced(Version),
    /// It has the same file, at another place.
    Moved(Version),
}

/// One difference of two locks: the old value, the new value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Another version of melv's recipe.
    Recipe(String, String),
    /// Another suite.
    Suite(String, String),
    /// Another state of the archives.
    Date(Date, Date),
    /// Another epoch.
    Epoch(Date, Date),
    /// Another question.
    Request,
    /// An archive came, went, or is at another address.
    Archive(String, Option<Uri>, Option<Uri>),
    /// A package.
    Package(Role, PackageName, Difference),
    /// Another kernel.
    Kernel(Option<Sha256>, Option<Sha256>),
    /// Another file of the machine that builds.
    File(String),
    /// Another OCI image.
    Image(String),
}

/// Returns all differences, in the order of the lock's text.
#[must_use]
pub fn changes(old: &Lock, new: &Lock) -> Vec<Change> {
    let mut found = Vec::new();
    if old.recipe != new.recipe {
        found.push(Change::Recipe(old.recipe.to_string(), new.recipe.to_string()));
    }
    if old.suite != new.suite {
        found.push(Change::Suite(old.suite.to_string(), new.suite.to_string()));
    }
    if old.date != new.date {
        found.push(Change::Date(old.date, new.date));
    }
    if old.epoch != new.epoch {
        found.push(Change::Epoch(old.epoch, new.epoch));
    }
    if old.request != new.request {
        found.push(Change::Request);
    }
    archives(old, new, &mut found);
    packages(Role::Files, &old.packages, &new.packages, &mut found);
    packages(Role::Boot, &old.boot, &new.boot, &mut found);
    kernels(old, new, &mut found);
    named(&old.files, &new.files, |file| file.path.as_str(), Change::File, &mut found);
    named(&old.images, &new.images, |image| image.path.as_str(), Change::Image, &mut found);
    found
}

fn archives(old: &Lock, new: &Lock, found: &mut Vec<Change>) {
    let by_name = |lock: &Lock| -> BTreeMap<String, Archive> {
        lock.archives.iter().map(|archive| (archive.name.to_string(), archive.clone())).collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        if old.get(name) != new.get(name) {
            let uri =
                |archives: &BTreeMap<String, Archive>| archives.get(name).map(|archive| archive.uri.clone());
            found.push(Change::Archive(name.clone(), uri(&old), uri(&new)));
        }
    }
}

fn packages(role: Role, old: &[Package], new: &[Package], found: &mut Vec<Change>) {
    let by_name = |packages: &[Package]| -> BTreeMap<PackageName, Package> {
        packages.iter().map(|package| (package.name.clone(), package.clone())).collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let difference = match (old.get(name), new.get(name)) {
            (None, None) => None,
            (Some(package), None) => Some(Difference::Removed(package.version.clone())),
            (None, Some(package)) => Some(Difference::Added(package.version.clone())),
            (Some(old), Some(new)) => difference(old, new),
        };
        found.extend(difference.map(|difference| Change::Package(role, name.clone(), difference)));
    }
}

fn difference(old: &Package, new: &Package) -> Option<Difference> {
    let versions = (old.version.clone(), new.version.clone());
    match version::compare(&old.version, &new.version) {
        Ordering::Less => Some(Difference::Raised(versions.0, versions.1)),
        Ordering::Greater => Some(Difference::Lowered(versions.0, versions.1)),
        Ordering::Equal if old.sha256 != new.sha256 => Some(Difference::Replaced(versions.1)),
        Ordering::Equal if old != new => Some(Difference::Moved(versions.1)),
        Ordering::Equal => None,
    }
}

fn kernels(old: &Lock, new: &Lock, found: &mut Vec<Change>) {
    let packages_of =
        |lock: &Lock| lock.kernel.as_ref().map(|kernel| kernel.packages.clone()).unwrap_or_default();
    let digest = |lock: &Lock| lock.kernel.as_ref().map(|kernel| kernel.sha256);
    let kind = |lock: &Lock| lock.kernel.as_ref().map(|kernel| kernel.kind);
    if (digest(old), kind(old)) != (digest(new), kind(new)) {
        found.push(Change::Kernel(digest(old), digest(new)));
    }
    packages(Role::Kernel, &packages_of(old), &packages_of(new), found);
}

/// Finds the entries, by name, that only one of two lists has.
fn named<T: PartialEq>(
    old: &[T],
    new: &[T],
    name: fn(&T) -> &str,
    change: fn(String) -> Change,
    found: &mut Vec<Change>,
) {
    let gone = old.iter().filter(|entry| !new.contains(entry));
    let come = new.iter().filter(|entry| !old.contains(entry));
    let names: BTreeSet<&str> = gone.chain(come).map(name).collect();
    found.extend(names.into_iter().map(|name| change(name.to_owned())));
}
