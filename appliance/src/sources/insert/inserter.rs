//! A tree that grows by archives: who brought each inode, and how much it may still hold.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    sources::limits::{Limits, XATTR_BYTES, XATTR_NAME_BYTES},
    tree::{Content, Inode, InodeId, Kind, Timestamp, Tree},
};

use super::error::InsertFault;

/// Rules of a kind of archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rules {
    /// A Debian package: two packages may not have different files at one path, unless one names the other here.
    Package(Replaces),
    /// A layer of an image: what comes later counts, and whiteouts remove.
    Layer,
    /// A tar of a root file system: what comes later counts.
    Root,
}

/// Packages whose files a package may replace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replaces {
    /// Names of packages.
    pub names: BTreeSet<String>,
    /// All packages.
    pub all: bool,
}

/// Owner, mode and time of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits, `0o7777`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change.
    pub mtime: Timestamp,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Attributes {
    /// Returns the attributes of a folder or link that no archive has: owner 0, time 0.
    pub fn implied(mode: u16) -> Self {
        Self { mode, uid: 0, gid: 0, mtime: Timestamp::default(), xattrs: BTreeMap::new() }
    }
}

/// The part of an entry that its kind has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A second name: the path, as the archive has it.
    HardLink(Vec<u8>),
}

/// Counts of one archive's entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// Entries that became part of the tree.
    pub entries: u64,
    /// Devices that were left out.
    pub devices: u64,
    /// Named pipes that were left out.
    pub fifos: u64,
    /// Extended attributes that were left out, for their form.
    pub attributes: u64,
    /// Entries that took the place of an earlier one of the same archive.
    pub duplicates: u64,
    /// Whiteouts that named nothing in the layers below.
    pub idle_whiteouts: u64,
    /// Links that only led to the other place of their file, before `/usr` was merged.
    pub merged_links: u64,
    /// Entries for which the tree kept what it had, as `dpkg` does: a folder in place of a link to one, a link to a
    /// folder in place of the folder, a file of a package that replaces those of this one.
    pub kept: u64,
}

impl Report {
    /// Adds the counts of another archive.
    pub(crate) fn add(&mut self, other: &Self) {
        self.entries += other.entries;
        self.devices += other.devices;
        self.fifos += other.fifos;
        self.attributes += other.attributes;
        self.duplicates += other.duplicates;
        self.idle_whiteouts += other.idle_whiteouts;
        self.merged_links += other.merged_links;
        self.kept += other.kept;
    }
}

/// An archive that the tree has files of.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) label: String,
    pub(super) rules: Rules,
}

/// The archive that brought an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    archive: u32,
    /// Whether no entry names the inode: a parent of one does.
    implied: bool,
}

/// Inserts entries of archives into a tree.
#[derive(Debug)]
pub struct Inserter {
    pub(super) tree: Tree,
    limits: Limits,
    owners: Vec<Owner>,
    archives: Vec<Archive>,
    metadata_bytes: u64,
    /// Bytes that were compared, where two packages have a file.
    pub(super) compared_bytes: u64,
    /// Folders whose lower content a whiteout of the layer at hand removed.
    pub(super) opaque: BTreeSet<u32>,
    pub(super) report: Report,
}

/// Bytes that a tree needs for an entry or an attribute beside its name.
const OVERHEAD_BYTES: u64 = 32;

impl Inserter {
    /// Makes an empty tree.
    pub fn new(limits: Limits) -> Self {
        let archives = vec![Archive { label: String::new(), rules: Rules::Root }];
        let owners = vec![Owner { archive: 0, implied: true }];
        Self {
            tree: Tree::new(),
            limits,
            owners,
            archives,
            metadata_bytes: 0,
            compared_bytes: 0,
            opaque: BTreeSet::new(),
            report: Report::default(),
        }
    }

    /// Begins an archive. What follows is its own, and counted anew.
    pub fn begin(&mut self, label: &str, rules: Rules) {
        self.archives.push(Archive { label: label.to_owned(), rules });
        self.opaque.clear();
        self.report = Report::default();
    }

    /// Returns the rules of the archive at hand.
    pub fn rules(&self) -> &Rules {
        &self.current_archive().rules
    }

    /// Returns the counts of the archive at hand, to add to.
    pub fn report_mut(&mut self) -> &mut Report {
        &mut self.report
    }

    /// Returns the tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Ends the insertion: the tree, and the inodes that no archive has (parents, links of the merged `/usr`).
    pub fn finish(self) -> (Tree, Vec<InodeId>) {
        let implied = self.owners.iter().enumerate().filter(|(_, owner)| owner.implied);
        let implied = implied.map(|(at, _)| InodeId(at as u32)).collect();
        (self.tree, implied)
    }

    fn current(&self) -> u32 {
        (self.archives.len() - 1) as u32
    }

    pub(super) fn owner(&self, id: InodeId) -> Owner {
        self.owners[id.0 as usize]
    }

    pub(super) fn archive(&self, owner: Owner) -> &Archive {
        &self.archives[owner.archive as usize]
    }

    pub(super) fn current_archive(&self) -> &Archive {
        &self.archives[self.archives.len() - 1]
    }

    /// Whether the archive at hand brought an inode, be it as a parent.
    pub(super) fn is_current(&self, id: InodeId) -> bool {
        self.owner(id).archive == self.current()
    }

    /// Whether an entry of the archive at hand brought an inode.
    pub(super) fn is_current_entry(&self, id: InodeId) -> bool {
        self.is_current(id) && !self.owner(id).implied
    }

    /// Counts bytes that the tree holds in memory.
    fn charge(&mut self, bytes: usize) -> Result<(), InsertFault> {
        let limit = self.limits.metadata_bytes;
        let total = self.metadata_bytes.saturating_add(bytes as u64).saturating_add(OVERHEAD_BYTES);
        if total > limit {
            return Err(InsertFault::Limit { of: "bytes of names, links and attributes", limit });
        }
        self.metadata_bytes = total;
        Ok(())
    }

    /// Checks attributes, and counts the bytes of the extended ones.
    fn charge_xattrs(&mut self, xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), InsertFault> {
        let mut found = 0usize;
        for (name, value) in xattrs {
            if name.is_empty() || name.len() > XATTR_NAME_BYTES || name.contains(&0) {
                return Err(InsertFault::XattrName(name.clone()));
            }
            found = found.saturating_add(name.len()).saturating_add(value.len());
            if found > XATTR_BYTES {
                return Err(InsertFault::Xattrs { found, limit: XATTR_BYTES });
            }
            self.charge(name.len() + value.len())?;
        }
        Ok(())
    }

    /// Puts a new inode into a folder, in place of what has the name.
    pub(super) fn put_new(
        &mut self,
        folder: InodeId,
        name: &[u8],
        kind: Kind,
        attributes: Attributes,
        implied: bool,
    ) -> Result<InodeId, InsertFault> {
        if self.tree.inode_count() >= self.limits.inodes {
            return Err(InsertFault::Limit {
                of: "files, folders and links",
                limit: self.limits.inodes as u64,
            });
        }
        self.charge_xattrs(&attributes.xattrs)?;
        if let Kind::Symlink(target) = &kind {
            self.charge(target.len())?;
        }
        let Attributes { mode, uid, gid, mtime, xattrs } = attributes;
        self.charge(name.len())?;
        let id = self.tree.add(Inode { kind, mode, uid, gid, mtime, xattrs });
        self.owners.push(Owner { archive: self.current(), implied });
        self.name(folder, name, id);
        Ok(id)
    }

    /// Puts an inode into a folder once more.
    pub(super) fn put_name(&mut self, folder: InodeId, name: &[u8], id: InodeId) -> Result<(), InsertFault> {
        self.charge(name.len())?;
        self.name(folder, name, id);
        Ok(())
    }

    fn name(&mut self, folder: InodeId, name: &[u8], id: InodeId) {
        if let Kind::Directory(entries) = &mut self.tree.get_mut(folder).kind {
            entries.insert(name.to_vec(), id);
        }
    }

    /// Takes a name out of a folder.
    pub(super) fn remove_name(&mut self, folder: InodeId, name: &[u8]) {
        if let Kind::Directory(entries) = &mut self.tree.get_mut(folder).kind {
            entries.remove(name);
        }
    }

    /// Gives an inode the attributes of an entry of the archive at hand, which has it from now on.
    pub(super) fn take_attributes(&mut self, id: InodeId, attributes: Attributes) -> Result<(), InsertFault> {
        self.charge_xattrs(&attributes.xattrs)?;
        let Attributes { mode, uid, gid, mtime, xattrs } = attributes;
        let inode = self.tree.get_mut(id);
        (inode.mode, inode.uid, inode.gid, inode.mtime, inode.xattrs) = (mode, uid, gid, mtime, xattrs);
        self.owners[id.0 as usize] = Owner { archive: self.current(), implied: false };
        Ok(())
    }

    /// Counts bytes that are to be compared. Hard links could have the same ones compared over and over.
    pub(super) fn charge_comparison(&mut self, bytes: u64) -> Result<(), InsertFault> {
        let limit = self.limits.content_bytes.saturating_mul(2);
        self.compared_bytes = self.compared_bytes.saturating_add(bytes);
        if self.compared_bytes > limit {
            return Err(InsertFault::Limit { of: "bytes to compare between packages", limit });
        }
        Ok(())
    }
}
