//! The way from the root to the folder of an entry, through links of the tree.

use crate::{
    sources::limits::{DEPTH, LINK_HOPS, PATH_BYTES, PATH_STEPS},
    tree::{InodeId, Kind},
};

use super::{
    error::InsertFault,
    inserter::{Attributes, Inserter},
    merged,
    names::{self, NameFault},
};

/// A folder and the names that lead to it, links excluded.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    folders: Vec<(Vec<u8>, InodeId)>,
    /// Bytes of the path.
    bytes: usize,
}

impl Place {
    /// Returns the folder.
    pub(super) fn folder(&self, inserter: &Inserter) -> InodeId {
        self.folders.last().map_or(inserter.tree.root(), |(_, id)| *id)
    }

    /// Whether it is the root.
    pub(super) fn is_root(&self) -> bool {
        self.folders.is_empty()
    }

    /// Whether it is `/usr`.
    pub(super) fn is_usr(&self) -> bool {
        matches!(&self.folders[..], [(name, _)] if name == b"usr")
    }

    /// Returns the names that lead to it.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.folders.iter().map(|(name, _)| name.as_slice())
    }

    /// Returns the absolute path of an entry.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        names::absolute(self.names().chain([name]))
    }

    /// Checks that a name fits behind the path.
    pub(super) fn check(&self, name: &[u8]) -> Result<(), NameFault> {
        let bytes = self.bytes + name.len() + 1;
        if bytes > PATH_BYTES {
            return Err(NameFault::Long(bytes));
        }
        if self.folders.len() >= DEPTH { Err(NameFault::Deep) } else { Ok(()) }
    }

    fn enter(&mut self, name: Vec<u8>, id: InodeId) -> Result<(), NameFault> {
        self.check(&name)?;
        self.bytes += name.len() + 1;
        self.folders.push((name, id));
        Ok(())
    }

    fn leave(&mut self) {
        if let Some((name, _)) = self.folders.pop() {
            self.bytes -= name.len() + 1;
        }
    }

    fn restart(&mut self) {
        *self = Self::default();
    }
}

impl Inserter {
    /// Walks to a folder. What is not there is made with `make`; without it, `None` is returned.
    ///
    /// Links are followed within the tree, as a kernel would whose root it is: `..` of the root is the root.
    pub(super) fn walk(&mut self, names: &[&[u8]], make: bool) -> Result<Option<Place>, InsertFault> {
        let mut place = Place::default();
        let mut ahead: Vec<Vec<u8>> = names.iter().rev().map(|name| name.to_vec()).collect();
        let (mut hops, mut steps) = (0, 0);
        while let Some(name) = ahead.pop() {
            steps += 1;
            if steps > PATH_STEPS {
                return Err(InsertFault::Links);
            }
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    place.leave();
                    continue;
                }
                _ => {}
            }
            if place.is_root() && merged::is_merged(&name) {
                if make {
                    self.make_merged_link(&name)?;
                }
                ahead.extend([name, b"usr".to_vec()]);
                hops += 1;
            } else if let Some(target) = self.step(&mut place, name, make)? {
                let Some(target) = target else { return Ok(None) };
                hops += 1;
                if target.starts_with(b"/") {
                    place.restart();
                }
                ahead.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
            }
            if hops > LINK_HOPS {
                return Err(InsertFault::Links);
            }
        }
        Ok(Some(place))
    }

    /// Enters one name. Returns the target of a link that is to be followed instead, or nothing where nothing is.
    fn step(
        &mut self,
        place: &mut Place,
        name: Vec<u8>,
        make: bool,
    ) -> Result<Option<Option<Vec<u8>>>, InsertFault> {
        let folder = place.folder(self);
        let Some(id) = self.tree.child(folder, &name) else {
            if !make {
                return Ok(Some(None));
            }
            place.check(&name)?;
            let id = self.make_folder(place, &name, Attributes::implied(0o755), true)?;
            place.enter(name, id)?;
            return Ok(None);
        };
        match &self.tree.get(id).kind {
            Kind::Directory(_) => place.enter(name, id)?,
            Kind::File(_) => return Err(InsertFault::FileParent(place.path_of(&name))),
            Kind::Symlink(target) => return Ok(Some(Some(target.clone()))),
        }
        Ok(None)
    }

    /// Makes a folder, and the link of the root to it where one belongs.
    pub(super) fn make_folder(
        &mut self,
        place: &Place,
        name: &[u8],
        attributes: Attributes,
        implied: bool,
    ) -> Result<InodeId, InsertFault> {
        self.make_link_to(place, name)?;
        self.put_new(place.folder(self), name, Kind::Directory(Default::default()), attributes, implied)
    }

    /// Makes the link of the root to this entry, where one belongs.
    pub(super) fn make_link_to(&mut self, place: &Place, name: &[u8]) -> Result<(), InsertFault> {
        if place.is_usr() && merged::is_merged(name) { self.make_merged_link(name) } else { Ok(()) }
    }

    /// Makes a link of the root to a folder of `/usr`, unless it is there.
    pub(super) fn make_merged_link(&mut self, name: &[u8]) -> Result<(), InsertFault> {
        let root = self.tree.root();
        if self.tree.child(root, name).is_none() {
            let target = [b"usr/", name].concat();
            self.put_new(root, name, Kind::Symlink(target), Attributes::implied(0o777), true)?;
        }
        Ok(())
    }
}
