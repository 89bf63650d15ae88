//! Inodes of a tree in the order of their paths, checked.

use std::collections::btree_map;

use super::error::ErofsError;
use super::xattr;
use crate::contents;
use crate::tree::{Inode, InodeId, Kind, Tree};

/// Bytes of a name at most: `EROFS_NAME_LEN`.
const NAME_BYTES: usize = 255;

/// Bytes of a link's target at most: Linux's `PATH_MAX` without its NUL.
const TARGET_BYTES: usize = 4095;

/// Permission bits.
const MODE_MASK: u16 = 0o7777;

/// Marks an inode that no folder named so far.
const UNSEEN: u32 = u32::MAX;

/// An inode with its first name.
#[derive(Debug)]
pub(super) struct Node<'t> {
    pub(super) inode: &'t Inode,
    /// Index of the folder that holds it; the root's is its own.
    pub(super) parent: u32,
    name: &'t [u8],
    /// Names of a file or link; of a folder, 2 and one for each folder in it.
    pub(super) links: u32,
}

/// All inodes that the root reaches, each once, by path.
#[derive(Debug)]
pub(super) struct Order<'t> {
    nodes: Vec<Node<'t>>,
    /// Index in `nodes` by inode id.
    index: Vec<u32>,
}

impl<'t> Order<'t> {
    /// Walks `tree` and checks names, modes, times, links and attributes.
    pub(super) fn new(tree: &'t Tree) -> Result<Self, ErofsError> {
        let root = tree.get(tree.root());
        let Kind::Directory(entries) = &root.kind else {
            return Err(ErofsError::RootNotDirectory);
        };
        let count = tree.inode_count();
        let mut order = Self { nodes: Vec::with_capacity(count), index: vec![UNSEEN; count] };
        order.add(tree.root(), root, 0, b"")?;
        let mut stack: Vec<(u32, btree_map::Iter<'t, Vec<u8>, InodeId>)> = vec![(0, entries.iter())];
        while let Some((parent, entries)) = stack.last_mut() {
            let parent = *parent;
            let Some((name, &id)) = entries.next() else {
                stack.pop();
                continue;
            };
            order.check_name(parent, name)?;
            let Some(seen) = order.index.get(id.0 as usize).copied() else {
                let (path, count) = (order.path_in(parent, name), order.index.len());
                return Err(ErofsError::UnknownInode { path, id: id.0, count });
            };
            let inode = tree.get(id);
            if seen != UNSEEN {
                order.link(seen, parent, name)?;
                continue;
            }
            let child = order.add(id, inode, parent, name)?;
            if let Kind::Directory(below) = &inode.kind {
                order.count_name(parent, parent, name)?;
                stack.push((child, below.iter()));
            }
        }
        Ok(order)
    }

    /// Appends an inode at its first name; returns its index.
    fn add(&mut self, id: InodeId, inode: &'t Inode, parent: u32, name: &'t [u8]) -> Result<u32, ErofsError> {
        let index = u32::try_from(self.nodes.len()).map_err(|_| ErofsError::TooManyInodes)?;
        if index == UNSEEN {
            return Err(ErofsError::TooManyInodes);
        }
        let links = if matches!(inode.kind, Kind::Directory(_)) { 2 } else { 1 };
        self.nodes.push(Node { inode, parent, name, links });
        self.index[id.0 as usize] = index;
        self.check_inode(index)?;
        Ok(index)
    }

    /// Counts a further name of inode `index`; a folder has only one.
    fn link(&mut self, index: u32, parent: u32, name: &[u8]) -> Result<(), ErofsError> {
        if matches!(self.node(index).inode.kind, Kind::Directory(_)) {
            return Err(ErofsError::DirectoryTwice { path: self.path_in(parent, name) });
        }
        self.count_name(index, parent, name)
    }

    fn count_name(&mut self, index: u32, parent: u32, name: &[u8]) -> Result<(), ErofsError> {
        let links = self.node(index).links.checked_add(1);
        self.nodes[index as usize].links =
            links.ok_or_else(|| ErofsError::TooManyLinks { path: self.path_in(parent, name) })?;
        Ok(())
    }

    fn check_name(&self, parent: u32, name: &[u8]) -> Result<(), ErofsError> {
        if name.len() > NAME_BYTES {
            return Err(ErofsError::NameTooLong { path: self.path_in(parent, name), length: name.len() });
        }
        let separated = name.iter().any(|byte| matches!(byte, b'/' | 0));
        if separated || matches!(name, b"" | b"." | b"..") {
            return Err(ErofsError::InvalidName { path: self.path_in(parent, name) });
        }
        Ok(())
    }

    fn check_inode(&self, index: u32) -> Result<(), ErofsError> {
        let Node { inode, .. } = self.node(index);
        let path = || self.path(index);
        if inode.mode > MODE_MASK {
            return Err(ErofsError::InvalidMode { path: path(), mode: inode.mode });
        }
        let nanoseconds = inode.mtime.nanoseconds;
        if nanoseconds >= 1_000_000_000 {
            return Err(ErofsError::InvalidTime { path: path(), nanoseconds });
        }
        match &inode.kind {
            Kind::Symlink(target)
                if target.is_empty() || target.len() > TARGET_BYTES || target.contains(&0) =>
            {
                return Err(ErofsError::InvalidTarget { path: path(), length: target.len() });
            }
            Kind::File(content) if !contents::is_addressable(content) => {
                let crate::tree::Content::Spooled { offset, len } = *content else {
                    return Ok(());
                };
                return Err(ErofsError::InvalidRange { path: path(), offset, length: len });
            }
            _ => {}
        }
        xattr::check(&inode.xattrs, &path)
    }

    /// Returns the number of inodes.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns the inode at `index`, which this order gave.
    pub(super) fn node(&self, index: u32) -> &Node<'t> {
        &self.nodes[index as usize]
    }

    /// Returns the inodes by path.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Node<'t>)> {
        (0..).zip(&self.nodes)
    }

    /// Returns the index of an inode, if the root reaches it.
    pub(super) fn index_of(&self, id: InodeId) -> Option<u32> {
        self.index.get(id.0 as usize).copied().filter(|&index| index != UNSEEN)
    }

    /// Returns the first path of an inode, for errors.
    pub(super) fn path(&self, index: u32) -> String {
        let mut names = Vec::new();
        let mut at = index;
        while at != 0 {
            let node = self.node(at);
            names.push(node.name);
            at = node.parent;
        }
        if names.is_empty() {
            return "/".to_owned();
        }
        names.iter().rev().fold(String::new(), |path, name| format!("{path}/{}", name.escape_ascii()))
    }

    fn path_in(&self, parent: u32, name: &[u8]) -> String {
        let folder = self.path(parent);
        format!("{}/{}", folder.trim_end_matches('/'), name.escape_ascii())
    }
}
