//! The files of an appliance, in memory: names, owners and modes in the tree, contents in a spool.
//!
//! Names are bytes without `/` and NUL, and never `.` or `..`, so that no path climbs out of the tree. A link's
//! target is text: nothing here follows it on the host.

use std::collections::BTreeMap;

/// Identifies an inode of a [`Tree`]. Hard links are entries with equal ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(pub(crate) u32);

/// A time in seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp {
    /// Seconds; negative before 1970.
    pub seconds: i64,
    /// Nanoseconds, below 10^9.
    pub nanoseconds: u32,
}

/// The content of a regular file: a range of the spool, or bytes in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Bytes `offset..offset + len` of the spool.
    Spooled {
        /// The first byte.
        offset: u64,
        /// The length in bytes.
        len: u64,
    },
    /// Bytes in memory, for small files that the builder makes.
    Bytes(Vec<u8>),
    /// `len` zeros.
    Zeros {
        /// The length in bytes.
        len: u64,
    },
}

impl Content {
    /// Returns the length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Spooled { len, .. } | Self::Zeros { len } => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Whether the file is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The kind of an inode with its own part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder: names in byte order.
    Directory(BTreeMap<Vec<u8>, InodeId>),
    /// A regular file.
    File(Content),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
}

/// A file, folder or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    /// The kind.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: `0o7777`.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The time of the last change.
    pub mtime: Timestamp,
    /// Extended attributes: full name (`security.capability`) to value.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Folders, files and links under one root.
#[derive(Debug, Clone)]
pub struct Tree {
    inodes: Vec<Inode>,
}

impl Tree {
    /// Makes a tree of an empty root folder, mode 0755, owner 0.
    #[must_use]
    pub fn new() -> Self {
        let root = Inode {
            kind: Kind::Directory(BTreeMap::new()),
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            xattrs: BTreeMap::new(),
        };
        Self { inodes: vec![root] }
    }

    /// Returns the root.
    #[must_use]
    pub fn root(&self) -> InodeId {
        InodeId(0)
    }

    /// Returns the number of inodes, those that no folder names included. Ids are below it.
    #[must_use]
    pub fn inode_count(&self) -> usize {
        self.inodes.len()
    }

    /// Returns an inode.
    #[must_use]
    pub fn get(&self, id: InodeId) -> &Inode {
        &self.inodes[id.0 as usize]
    }

    /// Returns an inode to change.
    pub fn get_mut(&mut self, id: InodeId) -> &mut Inode {
        &mut self.inodes[id.0 as usize]
    }

    /// Adds an inode that no folder names yet.
    pub fn add(&mut self, inode: Inode) -> InodeId {
        self.inodes.push(inode);
        InodeId(self.inodes.len() as u32 - 1)
    }

    /// Returns the entry `name` of folder `directory`.
    #[must_use]
    pub fn child(&self, directory: InodeId, name: &[u8]) -> Option<InodeId> {
        match &self.get(directory).kind {
            Kind::Directory(entries) => entries.get(name).copied(),
            _ => None,
        }
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}
