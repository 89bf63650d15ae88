//! Whiteouts of layers: entries that remove.
//!
//! Layout: OCI Image Specification 1.1, `layer.md`, "Whiteouts". A whiteout stands for the layers below its own,
//! wherever in its layer it lies.

use crate::tree::{InodeId, Kind};

use super::{error::InsertFault, inserter::Inserter, merged};

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Names that AUFS keeps for itself; no layer means files by them.
const PRIVATE: &[u8] = b".wh..wh.";

/// A whiteout in its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whiteout<'a> {
    /// All that lower layers have in the folder.
    All,
    /// One name.
    One(&'a [u8]),
    /// Nothing.
    Nothing,
}

/// The parts of a folder, and the meaning of a whiteout in it.
type InFolder<'a, 'b> = (&'a [&'b [u8]], Whiteout<'b>);

/// Tells whether a path is a whiteout: the folder, and its meaning.
pub(super) fn of<'a, 'b>(parts: &'a [&'b [u8]]) -> Result<Option<InFolder<'a, 'b>>, InsertFault> {
    let Some((name, folders)) = parts.split_last() else { return Ok(None) };
    if folders.iter().any(|folder| folder.starts_with(PRIVATE)) {
        return Ok(Some((folders, Whiteout::Nothing)));
    }
    if folders.iter().any(|folder| folder.starts_with(PREFIX)) {
        return Err(InsertFault::Whiteout);
    }
    let found = match name.strip_prefix(PREFIX) {
        None => return Ok(None),
        Some(_) if *name == OPAQUE => Whiteout::All,
        Some(_) if name.starts_with(PRIVATE) => Whiteout::Nothing,
        Some(b"" | b"." | b"..") => return Err(InsertFault::Whiteout),
        Some(name) => Whiteout::One(name),
    };
    // `/bin` is there in every tree. Of `/usr/bin`, nobody knows which files an older layer had in `/bin`.
    let fixed = match (folders, found) {
        ([], Whiteout::One(name)) => merged::is_merged(name),
        ([folder], Whiteout::All) => merged::is_merged(folder),
        _ => false,
    };
    if fixed { Err(InsertFault::Whiteout) } else { Ok(Some((folders, found))) }
}

impl Inserter {
    /// Removes what lower layers have.
    pub(super) fn apply_whiteout(
        &mut self,
        folders: &[&[u8]],
        found: Whiteout<'_>,
    ) -> Result<(), InsertFault> {
        if found == Whiteout::Nothing {
            return Ok(());
        }
        let Some(place) = self.walk(folders, false)? else {
            self.report.idle_whiteouts += 1;
            return Ok(());
        };
        let folder = place.folder(self);
        match found {
            Whiteout::All => self.clear(folder),
            Whiteout::One(name) => match self.tree.child(folder, name) {
                Some(_) if place.is_root() && merged::is_merged(name) => return Err(InsertFault::Whiteout),
                Some(id) if self.clear_one(id) => self.remove_name(folder, name),
                Some(_) => {}
                None => self.report.idle_whiteouts += 1,
            },
            Whiteout::Nothing => {}
        }
        Ok(())
    }

    /// Removes from a folder all but the entries of the layer at hand, and the links of the root to `usr/`.
    ///
    /// The recursion is as deep as the tree, whose depth has a bound.
    fn clear(&mut self, folder: InodeId) {
        // A second time it would find nothing, and look at as many entries.
        if !self.opaque.insert(folder.0) {
            return;
        }
        let Kind::Directory(entries) = &self.tree.get(folder).kind else { return };
        let entries: Vec<(Vec<u8>, InodeId)> = entries.iter().map(|(name, id)| (name.clone(), *id)).collect();
        for (name, id) in entries {
            let fixed = folder == self.tree.root() && merged::is_merged(&name);
            if !fixed && self.clear_one(id) {
                self.remove_name(folder, &name);
            }
        }
    }

    /// Removes the lower layers' part of an entry. Returns whether nothing of it is left.
    fn clear_one(&mut self, id: InodeId) -> bool {
        if matches!(self.tree.get(id).kind, Kind::Directory(_)) {
            self.clear(id);
        }
        let empty = match &self.tree.get(id).kind {
            Kind::Directory(entries) => entries.is_empty(),
            Kind::File(_) | Kind::Symlink(_) => true,
        };
        empty && !self.is_current(id)
    }
}
