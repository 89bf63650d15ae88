//! Whether a lock answers the question of a declaration.

use std::collections::BTreeSet;

use thiserror::Error;

use super::text::{LocalPath, PackageName, SuiteName};
use super::value::{KernelKind, Lock, Repository, Request};

/// The question of a declaration.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Release of Debian.
    pub suite: &'a SuiteName,
    /// Packages, updates, repositories.
    pub request: &'a Request,
    /// Origin of the kernel; none where an image of another origin brings it.
    pub kernel: Option<KernelKind>,
    /// Package files and root file systems of the machine that builds.
    pub files: &'a [LocalPath],
    /// OCI images of the machine that builds.
    pub images: &'a [LocalPath],
}

/// The first difference between the question of a lock and the one of a declaration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Stale {
    /// Another release of Debian.
    #[error("the lock is for the suite {locked}, the declaration for {asked}")]
    Suite {
        /// The lock's.
        locked: SuiteName,
        /// The declaration's.
        asked: SuiteName,
    },
    /// Updates count in one of them.
    #[error("the lock has updates = {locked}, the declaration updates = {asked}")]
    Updates {
        /// The lock's.
        locked: bool,
        /// The declaration's.
        asked: bool,
    },
    /// Other packages.
    #[error(
        "packages: the lock lacks [{}] and has [{}] beside those of the declaration",
        list(lacking),
        list(beside)
    )]
    Packages {
        /// The declaration names them, the lock does not.
        lacking: Vec<PackageName>,
        /// The lock names them, the declaration does not.
        beside: Vec<PackageName>,
    },
    /// Other repositories, or another key of one.
    #[error("the lock has other repositories or keys than the declaration")]
    Repositories {
        /// The lock's.
        locked: Vec<Repository>,
        /// The declaration's.
        asked: Vec<Repository>,
    },
    /// A kernel of another origin.
    #[error("the lock has {}, the declaration {}", kernel(*locked), kernel(*asked))]
    Kernel {
        /// The lock's.
        locked: Option<KernelKind>,
        /// The declaration's.
        asked: Option<KernelKind>,
    },
    /// Other files of the machine that builds.
    #[error(
        "files: the lock lacks [{}] and has [{}] beside those of the declaration",
        list(lacking),
        list(beside)
    )]
    Files {
        /// The declaration names them, the lock does not.
        lacking: Vec<LocalPath>,
        /// The lock names them, the declaration does not.
        beside: Vec<LocalPath>,
    },
}

fn list(names: &[impl ToString]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn kernel(kind: Option<KernelKind>) -> String {
    kind.map_or_else(|| "no kernel".to_owned(), |kind| format!("the kernel {}", kind.name()))
}

impl Lock {
    /// Checks that this lock answers the question. Its order does not matter.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub fn check(&self, asked: &Asked<'_>) -> Result<(), Stale> {
        let request = asked.request;
        if self.suite != *asked.suite {
            return Err(Stale::Suite { locked: self.suite.clone(), asked: asked.suite.clone() });
        }
        if self.request.updates != request.updates {
            return Err(Stale::Updates { locked: self.request.updates, asked: request.updates });
        }
        if let Some((lacking, beside)) = differences(&self.request.packages, &request.packages) {
            return Err(Stale::Packages { lacking, beside });
        }
        if differences(&self.request.repositories, &request.repositories).is_some() {
            let (locked, asked) = (self.request.repositories.clone(), request.repositories.clone());
            return Err(Stale::Repositories { locked, asked });
        }
        let kernel = self.kernel.as_ref().map(|kernel| kernel.kind);
        if kernel != asked.kernel {
            return Err(Stale::Kernel { locked: kernel, asked: asked.kernel });
        }
        let files: Vec<LocalPath> = self.files.iter().map(|file| file.path.clone()).collect();
        let images: Vec<LocalPath> = self.images.iter().map(|image| image.path.clone()).collect();
        let differing = differences(&files, asked.files).or_else(|| differences(&images, asked.images));
        differing.map_or(Ok(()), |(lacking, beside)| Err(Stale::Files { lacking, beside }))
    }
}

/// Returns the values that only `asked` has, and those that only `locked` has; none where both lists are equal.
fn differences<T: Ord + Clone>(locked: &[T], asked: &[T]) -> Option<(Vec<T>, Vec<T>)> {
    let (locked, asked) = (locked.iter().collect::<BTreeSet<_>>(), asked.iter().collect::<BTreeSet<_>>());
    let only = |left: &BTreeSet<&T>, right: &BTreeSet<&T>| {
        left.difference(right).map(|value| (*value).clone()).collect()
    };
    (locked != asked).then(|| (only(&asked, &locked), only(&locked, &asked)))
}
