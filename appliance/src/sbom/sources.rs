//! The source packages.

use std::collections::BTreeSet;

use crate::lock::Lock;

/// Returns the exact source packages of all packages of the lock: lines `NAME VERSION`, each once, in byte order.
#[must_use]
pub fn sources(lock: &Lock) -> String {
    let line = |package: &crate::lock::Package| format!("{} {}\n", package.source, package.source_version);
    lock.all_packages().map(line).collect::<BTreeSet<_>>().into_iter().collect()
}
