//! Inodes put at absolute paths of a tree, as a program in the appliance would put them.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::{
    closure::lookup::{Unresolved, resolve},
    tree::{Content, Inode, InodeId, Kind, Timestamp, Tree},
};

/// The reason that nothing can be put at a path.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The path leads through something that is no folder.
    #[error("{path}: {above} is no folder")]
    NoFolder {
        /// The path.
        path: String,
        /// The part that is none.
        above: String,
    },
    /// A folder is there, and a file or link is to take its place.
    #[error("{path}: a folder is there")]
    IsFolder {
        /// The path.
        path: String,
    },
    /// A file or link is there, and a folder is to take its place.
    #[error("{path}: a file is there, no folder")]
    IsFile {
        /// The path.
        path: String,
    },
    /// The folders of the path lead in a circle of links.
    #[error("{path}: its folders lead in a circle of links")]
    Circle {
        /// The path.
        path: String,
    },
}

/// Owner and permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits: `0o7777`.
    pub mode: u16,
}

impl Access {
    /// User 0 and group 0 with these bits.
    #[must_use]
    pub const fn root(mode: u16) -> Self {
        Self { uid: 0, gid: 0, mode }
    }
}

/// A tree that grows by absolute paths. All that it makes has one time.
#[derive(Debug)]
pub struct Placer<'t> {
    /// The tree.
    pub tree: &'t mut Tree,
    /// The time of all that is made.
    pub time: Timestamp,
}

impl Placer<'_> {
    fn inode(&self, kind: Kind, access: Access) -> Inode {
        Inode {
            kind,
            mode: access.mode & 0o7777,
            uid: access.uid,
            gid: access.gid,
            mtime: self.time,
            xattrs: BTreeMap::new(),
        }
    }

    /// Puts a file at a path, in place of a file or link. Folders above it are made for user 0, mode 0755.
    ///
    /// # Errors
    ///
    /// A path through a file, a folder at the path, a circle of links.
    pub fn file(&mut self, path: &str, content: Content, access: Access) -> Result<InodeId, PlaceError> {
        let inode = self.inode(Kind::File(content), access);
        self.put(path, inode)
    }

    /// Puts a symbolic link at a path, in place of a file or link.
    ///
    /// # Errors
    ///
    /// As [`Placer::file`].
    pub fn link(&mut self, path: &str, target: &[u8]) -> Result<InodeId, PlaceError> {
        let inode = self.inode(Kind::Symlink(target.to_vec()), Access::root(0o777));
        self.put(path, inode)
    }

    /// Makes a folder, or gives the one that is there this owner and these bits.
    ///
    /// # Errors
    ///
    /// As [`Placer::file`]; a file at the path.
    pub fn folder(&mut self, path: &str, access: Access) -> Result<InodeId, PlaceError> {
        let found = self.folder_there(path, access)?;
        let inode = self.tree.get_mut(found);
        (inode.mode, inode.uid, inode.gid) = (access.mode & 0o7777, access.uid, access.gid);
        Ok(found)
    }

    /// Makes a folder where there is none. One that is there stays as it is.
    ///
    /// # Errors
    ///
    /// As [`Placer::folder`].
    pub fn folder_there(&mut self, path: &str, access: Access) -> Result<InodeId, PlaceError> {
        match resolve(self.tree, path.as_bytes()) {
            Ok(found) if matches!(self.tree.get(found.id).kind, Kind::Directory(_)) => Ok(found.id),
            Ok(_) => Err(PlaceError::IsFile { path: path.into() }),
            Err(Unresolved::NotFound) => {
                let inode = self.inode(Kind::Directory(BTreeMap::new()), access);
                self.put(path, inode)
            }
            Err(_) => Err(PlaceError::Circle { path: path.into() }),
        }
    }

    fn put(&mut self, path: &str, inode: Inode) -> Result<InodeId, PlaceError> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = if above.is_empty() {
            self.tree.root()
        } else {
            self.folder_there(above, Access::root(0o755)).map_err(|error| match error {
                PlaceError::IsFile { path: above } => PlaceError::NoFolder { path: path.into(), above },
                other => other,
            })?
        };
        if let Some(there) = self.tree.child(parent, name.as_bytes())
            && matches!(self.tree.get(there).kind, Kind::Directory(_))
        {
            return Err(PlaceError::IsFolder { path: path.into() });
        }
        let id = self.tree.add(inode);
        match &mut self.tree.get_mut(parent).kind {
            Kind::Directory(entries) => {
                entries.insert(name.as_bytes().to_vec(), id);
                Ok(id)
            }
            _ => Err(PlaceError::NoFolder { path: path.into(), above: above.into() }),
        }
    }
}

/// Makes a folder that no other names yet, of user 0 and mode 0755.
pub(super) fn new_folder(time: Timestamp) -> Inode {
    Inode {
        kind: Kind::Directory(BTreeMap::new()),
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: time,
        xattrs: BTreeMap::new(),
    }
}
