//! Entries at their places: what meets what, and which of the two stays.

use std::collections::BTreeMap;

use crate::{
    contents::Contents,
    tree::{Content, InodeId, Kind},
};

use super::{
    error::{InsertError, InsertFault},
    inserter::{Archive, Attributes, Inserter, Node, Rules},
    merged,
    names::{self, NameFault},
    walk::Place,
    whiteout,
};

/// Longest target of a symbolic link: a path and its NUL in `PATH_MAX`.
const TARGET_BYTES: usize = 4095;

/// Bytes of each of two files that are held at once to compare them.
const COMPARED_BYTES: usize = 64 << 10;

impl Inserter {
    /// Inserts an entry. Returns its absolute path in the tree, links excluded, unless it left no trace.
    pub fn insert(
        &mut self,
        path: &[u8],
        attributes: Attributes,
        node: Node,
        contents: &dyn Contents,
    ) -> Result<Option<Vec<u8>>, InsertError> {
        let placed = self.try_insert(path, attributes, node, contents);
        placed.map_err(|fault| InsertError { path: path.to_vec(), fault })
    }

    fn try_insert(
        &mut self,
        path: &[u8],
        attributes: Attributes,
        node: Node,
        contents: &dyn Contents,
    ) -> Result<Option<Vec<u8>>, InsertFault> {
        if path.starts_with(b"/") && matches!(self.rules(), Rules::Package(_)) {
            return Err(NameFault::Absolute.into());
        }
        let parts = names::split(path)?;
        if *self.rules() == Rules::Layer && self.whiteout(&parts)? {
            return Ok(None);
        }
        let Some((name, folders)) = parts.split_last() else {
            if node != Node::Directory {
                return Err(InsertFault::FixedFolder);
            }
            self.report.entries += 1;
            self.take_attributes(self.tree.root(), attributes)?;
            return Ok(None);
        };
        let node = match node {
            Node::Symlink(target) => match self.link_target(&parts, target)? {
                Some(target) => Node::Symlink(target),
                None => return Ok(None),
            },
            node => node,
        };
        let Some(mut place) = self.walk(folders, true)? else { return Err(InsertFault::Links) };
        let mut node = node;
        if place.is_root() && merged::is_merged(name) {
            self.make_merged_link(name)?;
            if let Some(moved) = self.merged_folder(name, &attributes, node)? {
                node = moved;
            } else {
                return Ok(None);
            }
            place = self.walk(&[b"usr"], true)?.ok_or(InsertFault::Links)?;
        }
        place.check(name)?;
        let placed = self.place(&place, name, attributes, node, contents)?;
        self.report.entries += 1;
        Ok(placed.then(|| place.path_of(name)))
    }

    /// Checks the target of a link, and puts it right where the merged `/usr` moved the link.
    fn link_target(&mut self, parts: &[&[u8]], target: Vec<u8>) -> Result<Option<Vec<u8>>, InsertFault> {
        if target.is_empty() || target.len() > TARGET_BYTES || target.contains(&0) {
            return Err(InsertFault::Target(target.len()));
        }
        if parts.len() < 2 {
            return Ok(Some(target));
        }
        match merged::target(parts, &target) {
            merged::Target::Unchanged => Ok(Some(target)),
            merged::Target::Moved(target) if target.len() <= TARGET_BYTES => Ok(Some(target)),
            merged::Target::Moved(target) => Err(InsertFault::Target(target.len())),
            merged::Target::Itself => {
                self.report.merged_links += 1;
                Ok(None)
            }
        }
    }

    /// Takes an entry for one of the root's folders below `usr/`. Returns what is to be placed there, if anything.
    fn merged_folder(
        &mut self,
        name: &[u8],
        attributes: &Attributes,
        node: Node,
    ) -> Result<Option<Node>, InsertFault> {
        let target = match node {
            Node::Directory => return Ok(Some(node)),
            Node::Symlink(target) => target,
            Node::File(_) | Node::HardLink(_) => return Err(InsertFault::FixedFolder),
        };
        if merged::target(&[name], &target) == merged::Target::Itself || target == name {
            if let Some(link) = self.tree.child(self.tree.root(), name) {
                self.take_attributes(link, attributes.clone())?;
            }
            self.report.entries += 1;
            return Ok(None);
        }
        // `lib64` may lead to `usr/lib`: then so does `usr/lib64`, as long as nothing lies there.
        let target = if target.starts_with(b"/") { target } else { [b"/", target.as_slice()].concat() };
        if let Some(place) = self.walk(&[b"usr"], false)?
            && let Some(id) = self.tree.child(place.folder(self), name)
            && let Kind::Directory(entries) = &self.tree.get(id).kind
        {
            if !entries.is_empty() {
                return Err(InsertFault::FixedLink(target));
            }
            self.remove_name(place.folder(self), name);
        }
        Ok(Some(Node::Symlink(target)))
    }

    /// Places an entry in a folder. Returns whether the tree has it now.
    fn place(
        &mut self,
        place: &Place,
        name: &[u8],
        attributes: Attributes,
        node: Node,
        contents: &dyn Contents,
    ) -> Result<bool, InsertFault> {
        let folder = place.folder(self);
        let linked = match &node {
            Node::HardLink(target) => Some(self.hard_link_target(target)?),
            _ => None,
        };
        let existing = self.tree.child(folder, name);
        if let Some(existing) = existing {
            if matches!(self.tree.get(existing).kind, Kind::Directory(_)) && node == Node::Directory {
                self.report.duplicates += u64::from(self.is_current_entry(existing));
                self.take_attributes(existing, attributes)?;
                return Ok(true);
            }
            if self.is_current_entry(existing) && !self.is_folder(existing) {
                self.report.duplicates += 1;
            } else if matches!(self.rules(), Rules::Package(_))
                && !self.package_replaces(place, name, existing, &node, linked, contents)?
            {
                self.report.kept += 1;
                return Ok(false);
            }
        }
        match (node, linked) {
            (_, Some(target)) => self.put_name(folder, name, target)?,
            (Node::Directory, _) => {
                self.make_folder(place, name, attributes, false)?;
            }
            (Node::File(content), _) => {
                self.put_new(folder, name, Kind::File(content), attributes, false)?;
            }
            (Node::Symlink(target), _) => {
                self.make_link_to(place, name)?;
                self.put_new(folder, name, Kind::Symlink(target), attributes, false)?;
            }
            // Its target was found above.
            (Node::HardLink(_), None) => {}
        }
        Ok(true)
    }

    fn is_folder(&self, id: InodeId) -> bool {
        matches!(self.tree.get(id).kind, Kind::Directory(_))
    }

    /// Finds the target of a hard link: a file or a symbolic link of the tree.
    fn hard_link_target(&mut self, target: &[u8]) -> Result<InodeId, InsertFault> {
        let named = |fault| InsertFault::LinkName { target: target.to_vec(), fault };
        if target.starts_with(b"/") && matches!(self.rules(), Rules::Package(_)) {
            return Err(named(NameFault::Absolute));
        }
        let parts = names::split(target).map_err(named)?;
        let Some((name, folders)) = parts.split_last() else {
            return Err(InsertFault::FolderTarget(target.to_vec()));
        };
        let place = self.walk(folders, false)?;
        let found = place.and_then(|place| self.tree.child(place.folder(self), name));
        let found = found.ok_or_else(|| InsertFault::NoTarget(target.to_vec()))?;
        if self.is_folder(found) { Err(InsertFault::FolderTarget(target.to_vec())) } else { Ok(found) }
    }

    /// Decides between an entry of a package and what the tree has: whether the entry takes its place.
    fn package_replaces(
        &mut self,
        place: &Place,
        name: &[u8],
        existing: InodeId,
        node: &Node,
        linked: Option<InodeId>,
        contents: &dyn Contents,
    ) -> Result<bool, InsertFault> {
        let old = self.tree.get(existing).kind.clone_without_entries();
        match (node, &old) {
            // `dpkg` never turns a folder into a link, nor a link to a folder into a folder.
            (Node::Symlink(_), Kind::Directory(_)) => return Ok(false),
            (Node::Directory, Kind::Symlink(_)) if self.leads_to_folder(place, name)? => return Ok(false),
            _ => {}
        }
        if !matches!(old, Kind::Directory(_)) && *node != Node::Directory {
            if let Some(first) = self.replacing(existing) {
                return Ok(!first);
            }
            let new = match (node, linked) {
                (_, Some(id)) if id == existing => return Ok(true),
                (_, Some(id)) => self.tree.get(id).kind.clone_without_entries(),
                (Node::File(content), _) => Kind::File(content.clone()),
                (Node::Symlink(target), _) => Kind::Symlink(target.clone()),
                _ => Kind::Directory(BTreeMap::new()),
            };
            if self.is_equal(&old, &new, contents)? {
                return Ok(true);
            }
        }
        let second = &self.current_archive().label;
        Err(InsertFault::Conflict {
            first: self.archive(self.owner(existing)).label.clone(),
            first_kind: kind_name(&old),
            second: second.clone(),
            second_kind: match node {
                Node::Directory => "folders",
                Node::File(_) | Node::HardLink(_) => "files",
                Node::Symlink(_) => "links",
            },
        })
    }

    /// Whether one package may replace the other's files: `Some(true)` when the first one's stay.
    fn replacing(&self, existing: InodeId) -> Option<bool> {
        let may = |one: &Archive, other: &Archive| matches!(&one.rules, Rules::Package(replaces) if replaces.all || replaces.names.contains(&other.label));
        let (first, second) = (self.archive(self.owner(existing)), self.current_archive());
        if may(second, first) {
            Some(false)
        } else if may(first, second) {
            Some(true)
        } else {
            None
        }
    }

    /// Whether the link leads to a folder of the tree.
    fn leads_to_folder(&mut self, place: &Place, name: &[u8]) -> Result<bool, InsertFault> {
        let names: Vec<Vec<u8>> = place.names().chain([name]).map(<[u8]>::to_vec).collect();
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        match self.walk(&names, false) {
            Ok(found) => Ok(found.is_some()),
            Err(InsertFault::FileParent(_) | InsertFault::Links) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    fn is_equal(&mut self, old: &Kind, new: &Kind, contents: &dyn Contents) -> Result<bool, InsertFault> {
        match (old, new) {
            (Kind::Symlink(old), Kind::Symlink(new)) => Ok(old == new),
            (Kind::File(old), Kind::File(new)) if old.len() == new.len() => {
                self.charge_comparison(old.len())?;
                equal_contents(old, new, contents).map_err(InsertFault::Compare)
            }
            _ => Ok(false),
        }
    }

    /// Applies a whiteout. Returns whether the entry is one.
    fn whiteout(&mut self, parts: &[&[u8]]) -> Result<bool, InsertFault> {
        let Some((folders, found)) = whiteout::of(parts)? else { return Ok(false) };
        self.apply_whiteout(folders, found)?;
        Ok(true)
    }
}

impl Kind {
    /// Copies a kind; of a folder, only that it is one.
    fn clone_without_entries(&self) -> Self {
        match self {
            Self::Directory(_) => Self::Directory(BTreeMap::new()),
            other => other.clone(),
        }
    }
}

fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Directory(_) => "folders",
        Kind::File(_) => "files",
        Kind::Symlink(_) => "links",
    }
}

/// Compares two contents of one length.
fn equal_contents(one: &Content, other: &Content, contents: &dyn Contents) -> std::io::Result<bool> {
    let len = one.len();
    let mut buffers = (Vec::new(), Vec::new());
    let mut done = 0;
    while done < len {
        let step = (len - done).min(COMPARED_BYTES as u64);
        buffers.0.resize(step as usize, 0);
        buffers.1.resize(step as usize, 0);
        read_range(one, done, &mut buffers.0, contents)?;
        read_range(other, done, &mut buffers.1, contents)?;
        if buffers.0 != buffers.1 {
            return Ok(false);
        }
        done += step;
    }
    Ok(true)
}

/// Fills a buffer from within a content.
fn read_range(content: &Content, at: u64, buffer: &mut [u8], contents: &dyn Contents) -> std::io::Result<()> {
    match content {
        Content::Spooled { offset, .. } => contents.read_at(offset.saturating_add(at), buffer),
        Content::Bytes(bytes) => bytes.read_at(at, buffer),
        Content::Zeros { .. } => {
            buffer.fill(0);
            Ok(())
        }
    }
}
