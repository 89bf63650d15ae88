//! Roots of the walk, and the order of its steps.

use std::collections::BTreeSet;

use crate::tree::Kind;

use super::{
    lookup::{Paths, resolve, shown},
    origins::{Origin, PackageIndex},
    outcome::{Closure, ClosureError},
    request::{Request, Wanted},
    walk::Walk,
    why::Reason,
};

/// Finds the files that an appliance needs.
///
/// # Errors
///
/// Needs that are not met, a program that is none, a content that cannot be read.
pub fn close(request: Request<'_>) -> Result<Closure, ClosureError> {
    let paths = Paths::of(request.tree);
    let mut walk = Walk::new(request, &paths);
    for command in request.commands {
        walk.need(&command.path, Reason::Command(command.by.clone()));
    }
    patterns(&mut walk);
    for (path, id) in paths.iter() {
        // Folders come with their files; an empty one may be a program's place for files.
        let full = matches!(&request.tree.get(id).kind, Kind::Directory(entries) if !entries.is_empty());
        if let (false, Some(reason)) = (full, root(request, path)) {
            walk.keep(path, reason);
        }
    }
    walk.run()?;
    if request.policy.licences {
        licences(&mut walk);
        walk.run()?;
    }
    set_ids(&mut walk);
    walk.finish()
}

/// Returns the reason that a path is a root.
fn root(request: Request<'_>, path: &[u8]) -> Option<Reason> {
    let policy = request.policy;
    match request.origins.origin(path) {
        Origin::Declared => Some(Reason::Declared),
        Origin::Image => (!policy.shrink_image).then_some(Reason::Image),
        Origin::Package(index) => package_root(request, path, index),
    }
}

fn package_root(request: Request<'_>, path: &[u8], index: PackageIndex) -> Option<Reason> {
    let policy = request.policy;
    let package = request.origins.package(index)?;
    let text = shown(path);
    if request.rules.is_unwanted(&text) {
        return None;
    }
    if policy.whole_packages {
        return Some(Reason::WholePackage(package.name.clone()));
    }
    if !policy.all_programs && request.rules.is_program(&text) {
        return None;
    }
    if request.named.contains(&package.name) {
        return Some(Reason::Named(package.name.clone()));
    }
    let same = |name: &&String| {
        request.origins.packages().iter().any(|other| other.name == **name && other.source == package.source)
    };
    let named = request.named.iter().find(same)?.clone();
    Some(Reason::SameSource { package: package.name.clone(), named })
}

/// Keeps all that the patterns of the declaration name. A pattern that names nothing is a need that is not met.
fn patterns(walk: &mut Walk<'_>) {
    let (paths, policy) = (walk.paths, walk.request.policy);
    for pattern in &policy.keep {
        let reason = Reason::Keep(pattern.as_str().to_owned());
        let fitting: Vec<&[u8]> =
            paths.iter().map(|(path, _)| path).filter(|path| pattern.fits(path)).collect();
        for path in &fitting {
            for below in std::iter::once(*path).chain(paths.below(path)) {
                walk.keep(below, reason.clone());
            }
        }
        // A path through a link is a path as well, unless it is a pattern.
        if fitting.is_empty() && walk.keep_resolved(pattern.as_str().as_bytes(), &reason).is_err() {
            walk.miss(Wanted::Path(pattern.as_str().as_bytes()), reason);
        }
    }
}

/// Keeps the copyright file of each package of which something is kept.
fn licences(walk: &mut Walk<'_>) {
    let packages: BTreeSet<String> = walk.closure.packages().into_keys().map(str::to_owned).collect();
    for package in packages {
        let path = format!("/usr/share/doc/{package}/copyright");
        // A package without one broke Debian's policy; that is not the appliance's fault.
        let _ = walk.keep_resolved(path.as_bytes(), &Reason::Licence(package));
    }
}

/// Notes the kept files whose setuid and setgid bits go.
fn set_ids(walk: &mut Walk<'_>) {
    let tree = walk.request.tree;
    let mut stay: BTreeSet<Vec<u8>> = BTreeSet::new();
    for path in &walk.request.policy.suid {
        match resolve(tree, path) {
            Ok(found) if walk.closure.keeps(&found.path) => {
                stay.insert(found.path);
            }
            _ => walk.miss(Wanted::Path(path), Reason::Keep("files.suid".to_owned())),
        }
    }
    let kept: Vec<Vec<u8>> = walk.closure.paths().map(<[u8]>::to_vec).collect();
    for path in kept {
        let Ok(found) = resolve(tree, &path) else { continue };
        let inode = tree.get(found.id);
        let set = matches!(inode.kind, Kind::File(_)) && inode.mode & 0o6000 != 0;
        if set && found.path == path && !stay.contains(&path) {
            walk.closure.cleared.insert(path);
        }
    }
}
