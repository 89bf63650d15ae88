//! Lookups in a tree: all paths, and paths through links as the kernel takes them.

use std::collections::BTreeMap;

use crate::tree::{InodeId, Kind, Tree};

/// Links on the way of one path: `MAXSYMLINKS` of Linux.
const MAX_LINKS: usize = 40;
/// Longest path in bytes, `PATH_MAX` of Linux.
const MAX_PATH: usize = 4096;

/// A path of a tree, once links are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The path without links in it.
    pub path: Vec<u8>,
    /// The inode.
    pub id: InodeId,
    /// Paths of the links on the way, in order.
    pub links: Vec<Vec<u8>>,
}

/// The reason that a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// Nothing is there. Links up to that point were followed.
    NotFound,
    /// More than 40 links, or a circle of them.
    TooManyLinks,
    /// The path, or what a link makes of it, is longer than 4096 bytes.
    TooLong,
}

/// Finds an absolute path, as the kernel does: links are followed within the tree, `..` of the root is the root.
///
/// # Errors
///
/// A path that leads nowhere.
pub fn resolve(tree: &Tree, path: &[u8]) -> Result<Resolved, Unresolved> {
    // Parts still to go, the next one last.
    let mut left: Vec<Vec<u8>> = parts(path)?;
    let mut way: Vec<(Vec<u8>, InodeId)> = Vec::new();
    let mut links: Vec<Vec<u8>> = Vec::new();
    while let Some(part) = left.pop() {
        if part == b".." {
            way.pop();
            continue;
        }
        let folder = way.last().map_or_else(|| tree.root(), |(_, id)| *id);
        let id = tree.child(folder, &part).ok_or(Unresolved::NotFound)?;
        if let Kind::Symlink(target) = &tree.get(id).kind {
            if links.len() == MAX_LINKS {
                return Err(Unresolved::TooManyLinks);
            }
            links.push(join(&way, Some(&part)));
            if target.starts_with(b"/") {
                way.clear();
            }
            left.extend(parts(target)?);
            if left.len() > MAX_PATH {
                return Err(Unresolved::TooLong);
            }
            continue;
        }
        way.push((part, id));
    }
    let id = way.last().map_or_else(|| tree.root(), |(_, id)| *id);
    Ok(Resolved { path: join(&way, None), id, links })
}

/// Splits a path into its parts, the first one last; without empty ones and `.`.
fn parts(path: &[u8]) -> Result<Vec<Vec<u8>>, Unresolved> {
    if path.len() > MAX_PATH {
        return Err(Unresolved::TooLong);
    }
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let mut parts: Vec<Vec<u8>> = parts.map(<[u8]>::to_vec).collect();
    parts.reverse();
    Ok(parts)
}

fn join(way: &[(Vec<u8>, InodeId)], last: Option<&[u8]>) -> Vec<u8> {
    let mut path = Vec::new();
    for part in way.iter().map(|(part, _)| part.as_slice()).chain(last) {
        path.push(b'/');
        path.extend_from_slice(part);
    }
    if path.is_empty() { b"/".to_vec() } else { path }
}

/// All paths of a tree but the root, in byte order of their parts' text.
#[derive(Debug)]
pub(super) struct Paths {
    all: BTreeMap<Vec<u8>, InodeId>,
}

impl Paths {
    pub(super) fn of(tree: &Tree) -> Self {
        let mut all = BTreeMap::new();
        let mut left = vec![(Vec::new(), tree.root())];
        while let Some((folder, id)) = left.pop() {
            let Kind::Directory(entries) = &tree.get(id).kind else { continue };
            for (name, child) in entries {
                let mut path: Vec<u8> = folder.clone();
                path.push(b'/');
                path.extend_from_slice(name);
                // Longer ones cannot be opened in the appliance.
                if path.len() > MAX_PATH {
                    continue;
                }
                if matches!(tree.get(*child).kind, Kind::Directory(_)) {
                    left.push((path.clone(), *child));
                }
                all.insert(path, *child);
            }
        }
        Self { all }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], InodeId)> {
        self.all.iter().map(|(path, id)| (path.as_slice(), *id))
    }

    /// Returns the paths below a folder.
    pub(super) fn below(&self, folder: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut start = folder.to_vec();
        start.push(b'/');
        let prefix = start.clone();
        self.all
            .range(start..)
            .map(|(path, _)| path.as_slice())
            .take_while(move |path| path.starts_with(&prefix))
    }
}

/// Returns the last part of a path.
pub(super) fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// Returns the folder of an absolute path.
pub(super) fn folder(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) | None => b"/",
        Some(at) => &path[..at],
    }
}

/// Shows a path as text.
pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
