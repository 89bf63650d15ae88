//! Inode numbers of folders and of images under their names.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock};

use melv_serve::ExportId;

/// The number of the root folder.
pub(crate) const ROOT: u64 = 1;

/// A file: a disk under a name.
#[derive(Debug)]
pub(crate) struct DiskFile {
    /// The name, as `NAME:TAG`.
    pub name: String,
    /// The identity of the disk: the image id.
    pub id: ExportId,
    /// The content id, if there is one.
    pub content: Option<String>,
    /// The size of the disk, in bytes.
    pub size: u64,
    /// The size of its data without zero blocks, in bytes.
    pub data_bytes: u64,
    /// The creation time of the name, in seconds since 1970.
    pub created_seconds: u64,
}

/// A folder or file with an inode number.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// The folder of a name.
    Folder(Arc<str>),
    /// A disk in a folder.
    File(Arc<DiskFile>),
}

impl Node {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Folder(one), Self::Folder(other)) => one == other,
            (Self::File(one), Self::File(other)) => one.id == other.id && one.name == other.name,
            _ => false,
        }
    }

    /// Returns the number of this node, unless a collision makes it another one. It is the same each time, so
    /// that listings, which do not remember nodes, show the same numbers as `stat`.
    pub fn wanted_number(&self) -> u64 {
        match self {
            Self::Folder(name) => wanted_number(name, None),
            Self::File(file) => wanted_number(&file.name, Some(&file.id)),
        }
    }
}

/// Returns the number of a folder, or of an image under its name, unless a collision makes it another one.
pub(crate) fn wanted_number(name: &str, id: Option<&ExportId>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, id).hash(&mut hasher);
    // Clear the top bit for programs with signed numbers, and skip 0, which is invalid, and the root's 1.
    (hasher.finish() >> 1).max(ROOT + 1)
}

/// The nodes that the kernel remembers, with their lookup counts.
#[derive(Debug, Default)]
pub(crate) struct Inodes(RwLock<HashMap<u64, (Node, u64)>>);

impl Inodes {
    /// Returns the number of a node and counts one more lookup by the kernel.
    pub fn remember(&self, node: Node) -> u64 {
        let mut nodes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut number = node.wanted_number();
        loop {
            match nodes.get_mut(&number) {
                Some((known, lookups)) if known.is_same(&node) => {
                    // The creation time of the name may be new.
                    *known = node;
                    *lookups += 1;
                    return number;
                }
                Some(_) => number = (number + 1).max(ROOT + 1),
                None => {
                    nodes.insert(number, (node, 1));
                    return number;
                }
            }
        }
    }

    /// Returns the node with this number.
    pub fn get(&self, number: u64) -> Option<Node> {
        let nodes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        nodes.get(&number).map(|(node, _)| node.clone())
    }

    /// Subtracts `lookups` from the lookup count of a node, and removes the node at 0.
    pub fn forget(&self, number: u64, lookups: u64) {
        let mut nodes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = nodes.get_mut(&number) {
            *known = known.saturating_sub(lookups);
            if *known == 0 {
                nodes.remove(&number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> Node {
        Node::Folder(name.into())
    }

    #[test]
    fn a_node_keeps_its_number_until_it_is_forgotten_as_often_as_told() {
        let inodes = Inodes::default();
        let number = inodes.remember(folder("web"));
        assert_eq!(inodes.remember(folder("web")), number);
        assert_ne!(inodes.remember(folder("db")), number);
        inodes.forget(number, 1);
        assert!(matches!(inodes.get(number), Some(Node::Folder(name)) if &*name == "web"));
        inodes.forget(number, 1);
        assert!(inodes.get(number).is_none());
        inodes.forget(number, 1);
        assert_eq!(inodes.remember(folder("web")), number);
    }

    #[test]
    fn no_two_nodes_have_one_number() {
        let inodes = Inodes::default();
        let number = inodes.remember(folder("web"));
        // Simulate a collision of the numbers of two names.
        let mut nodes = inodes.0.write().expect("nobody has panicked");
        let taken = nodes.remove(&number).expect("it was just put there");
        nodes.insert(folder("db").wanted_number(), taken);
        drop(nodes);
        let other = inodes.remember(folder("db"));
        assert_eq!(other, folder("db").wanted_number() + 1);
        assert!(matches!(inodes.get(other), Some(Node::Folder(name)) if &*name == "db"));
    }
}
