//! Inode numbers: of folders, and of images under their names.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock};

use melv::Digest;

/// The number of the folder that is mounted.
pub(crate) const ROOT: u64 = 1;

/// An image under a name, as a file.
#[derive(Debug)]
pub(crate) struct DiskFile {
    /// `NAME:TAG`.
    pub name: String,
    /// The image.
    pub image: Digest,
    /// What the guest reads.
    pub content: Digest,
    /// Bytes of the disk.
    pub size: u64,
    /// Bytes of it that are not zeros.
    pub data_bytes: u64,
    /// When the name was given.
    pub created_seconds: u64,
}

/// What has a number.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// The folder of a name.
    Folder(Arc<str>),
    /// A disk in it.
    File(Arc<DiskFile>),
}

impl Node {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Folder(one), Self::Folder(other)) => one == other,
            (Self::File(one), Self::File(other)) => one.image == other.image && one.name == other.name,
            _ => false,
        }
    }

    /// The number that it has unless another has it: the same each time, so that listings, which are
    /// not remembered, show the numbers that `stat` shows.
    pub fn wanted_number(&self) -> u64 {
        match self {
            Self::Folder(name) => wanted_number(name, None),
            Self::File(file) => wanted_number(&file.name, Some(&file.image)),
        }
    }
}

/// The number that a folder, or an image under its name, has unless another has it.
pub(crate) fn wanted_number(name: &str, image: Option<&Digest>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, image).hash(&mut hasher);
    // Signed programs exist; 0 is no number and 1 the root's.
    (hasher.finish() >> 1).max(ROOT + 1)
}

/// The nodes that the kernel remembers.
#[derive(Debug, Default)]
pub(crate) struct Inodes(RwLock<HashMap<u64, (Node, u64)>>);

impl Inodes {
    /// The number of a node that the kernel is told of now, and will forget once more often.
    pub fn remember(&self, node: Node) -> u64 {
        let mut nodes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut number = node.wanted_number();
        loop {
            match nodes.get_mut(&number) {
                Some((known, lookups)) if known.is_same(&node) => {
                    // What is new of it: when the name was given.
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

    /// The node with a number.
    pub fn get(&self, number: u64) -> Option<Node> {
        let nodes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        nodes.get(&number).map(|(node, _)| node.clone())
    }

    /// Takes back `lookups` of the times that the kernel was told of a node.
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
        // As if both names had the same number by chance.
        let mut nodes = inodes.0.write().expect("nobody has panicked");
        let taken = nodes.remove(&number).expect("it was just put there");
        nodes.insert(folder("db").wanted_number(), taken);
        drop(nodes);
        let other = inodes.remember(folder("db"));
        assert_eq!(other, folder("db").wanted_number() + 1);
        assert!(matches!(inodes.get(other), Some(Node::Folder(name)) if &*name == "db"));
    }
}
