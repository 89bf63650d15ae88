//! The tree of the image, out of the tree of all packages: the kept files alone.

use std::collections::BTreeMap;

use crate::{
    closure::Closure,
    tree::{Inode, InodeId, Kind, Timestamp, Tree},
};

use super::place::new_folder;

/// Bits that let a program act as its file's owner or group.
const SET_ID: u16 = 0o6000;

/// Returns a tree of the kept paths. Names of one inode stay names of one inode.
#[must_use]
pub fn select(tree: &Tree, closure: &Closure, time: Timestamp) -> Tree {
    let mut image = Tree::new();
    let root = image.root();
    *image.get_mut(root) = Inode { kind: Kind::Directory(BTreeMap::new()), ..tree.get(tree.root()).clone() };
    let mut known: BTreeMap<InodeId, InodeId> = BTreeMap::new();
    for path in closure.paths() {
        let Some(from) = find(tree, path) else { continue };
        let folder = matches!(tree.get(from).kind, Kind::Directory(_));
        let id = match known.get(&from) {
            Some(id) if !folder => *id,
            _ => {
                let mut inode = emptied(tree.get(from));
                if closure.cleared().contains(path) {
                    inode.mode &= !SET_ID;
                }
                let id = image.add(inode);
                known.insert(from, id);
                id
            }
        };
        enter(&mut image, path, id, time);
    }
    image
}

/// Copies an inode; a folder without its entries.
fn emptied(inode: &Inode) -> Inode {
    let kind = match &inode.kind {
        Kind::Directory(_) => Kind::Directory(BTreeMap::new()),
        other => other.clone(),
    };
    Inode { kind, ..inode.clone() }
}

fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
}

/// Finds a path that has no links in it.
fn find(tree: &Tree, path: &[u8]) -> Option<InodeId> {
    parts(path).try_fold(tree.root(), |at, part| tree.child(at, part))
}

/// Names an inode. Folders come before the paths below them, so that a missing one is rare; it is made.
fn enter(image: &mut Tree, path: &[u8], id: InodeId, time: Timestamp) {
    let mut at = image.root();
    let mut all = parts(path).peekable();
    while let Some(part) = all.next() {
        let next = match image.child(at, part) {
            Some(there) if all.peek().is_some() => there,
            _ if all.peek().is_none() => id,
            _ => image.add(new_folder(time)),
        };
        let Kind::Directory(entries) = &mut image.get_mut(at).kind else { return };
        entries.insert(part.to_vec(), next);
        at = next;
    }
}
