//! Origins of paths: the package that brought each.

use std::collections::BTreeMap;

/// Number of a package in an [`Origins`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageIndex(usize);

/// Facts of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Name of its source package.
    pub source: String,
}

/// Origin of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A package brought it.
    Package(PackageIndex),
    /// An image of another origin brought it.
    Image,
    /// The declaration names it.
    Declared,
}

/// The package that brought each path. A path without an entry was declared.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    packages: Vec<Package>,
    paths: BTreeMap<Vec<u8>, Origin>,
}

impl Origins {
    /// Adds a package.
    pub fn add_package(&mut self, package: Package) -> PackageIndex {
        self.packages.push(package);
        PackageIndex(self.packages.len() - 1)
    }

    /// Records the origin of an absolute path of the tree, without links in its folders. The last one counts.
    pub fn record(&mut self, path: &[u8], origin: Origin) {
        self.paths.insert(path.to_vec(), origin);
    }

    /// Returns the origin of a path.
    #[must_use]
    pub fn origin(&self, path: &[u8]) -> Origin {
        self.paths.get(path).copied().unwrap_or(Origin::Declared)
    }

    /// Returns the package that brought a path.
    #[must_use]
    pub fn package_of(&self, path: &[u8]) -> Option<&Package> {
        match self.origin(path) {
            Origin::Package(index) => self.package(index),
            Origin::Image | Origin::Declared => None,
        }
    }

    /// Returns a package.
    #[must_use]
    pub fn package(&self, index: PackageIndex) -> Option<&Package> {
        self.packages.get(index.0)
    }

    /// Returns all packages.
    #[must_use]
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }
}
