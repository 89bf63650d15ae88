//! Packages and images into one tree, with the origin of each path.

use std::{collections::BTreeMap, fs::File, io::BufReader, path::Path};

use crate::{
    closure::{Origin, Origins, Package as ClosurePackage, PackageIndex},
    sources::{Image, Limits, Package, Replaces, Spool, Unpacker},
    tree::{InodeId, Kind, Timestamp, Tree},
};

use super::BuildError;

/// Archives in a tree.
#[derive(Debug)]
pub(super) struct Archives {
    unpacker: Unpacker,
    origins: Origins,
    paragraphs: BTreeMap<String, Vec<u8>>,
    indexes: BTreeMap<String, PackageIndex>,
    left_out: u64,
}

/// A tree with the origins of its paths.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) tree: Tree,
    pub(super) spool: Spool,
    pub(super) origins: Origins,
    /// Control paragraphs by package.
    pub(super) paragraphs: BTreeMap<String, Vec<u8>>,
    /// Inodes that no archive has.
    pub(super) implied: Vec<InodeId>,
    /// Number of each package, by name.
    pub(super) indexes: BTreeMap<String, PackageIndex>,
    /// Devices and named pipes that were left out.
    pub(super) left_out: u64,
}

impl Archives {
    pub(super) fn new(temporary: &Path) -> Result<Self, BuildError> {
        let unpacker = Unpacker::new(temporary, Limits::default())?;
        Ok(Self {
            unpacker,
            origins: Origins::default(),
            paragraphs: BTreeMap::new(),
            indexes: BTreeMap::new(),
            left_out: 0,
        })
    }

    /// Adds a package. `name` is told in errors.
    pub(super) fn package(&mut self, name: &str, file: File) -> Result<String, BuildError> {
        let reader = BufReader::with_capacity(1 << 18, file);
        let package = self
            .unpacker
            .add_package(reader, Replaces::default())
            .map_err(|source| BuildError::Package { name: name.into(), source: source.into() })?;
        let Package { control, paragraph, paths, report, .. } = package;
        let index = self
            .origins
            .add_package(ClosurePackage { name: control.package.clone(), source: control.source });
        for path in &paths {
            // Folders are everybody's; the first one that has it counts, and none of them matters.
            self.origins.record(path, Origin::Package(index));
        }
        self.left_out += report.devices + report.fifos;
        self.indexes.insert(control.package.clone(), index);
        self.paragraphs.insert(control.package.clone(), paragraph);
        Ok(control.package)
    }

    /// Adds an image of another origin as the lowest layer.
    pub(super) fn image(&mut self, path: &str, host: &Path) -> Result<Image, BuildError> {
        let image = self
            .unpacker
            .add_image(host, None)
            .map_err(|source| BuildError::Image { path: path.into(), source: source.into() })?;
        self.record_image();
        Ok(image)
    }

    /// Adds a root file system as the lowest layer.
    pub(super) fn root(&mut self, path: &str, file: File) -> Result<(), BuildError> {
        let report = self
            .unpacker
            .add_root(BufReader::with_capacity(1 << 18, file))
            .map_err(|source| BuildError::Root { path: path.into(), source: source.into() })?;
        self.left_out += report.devices + report.fifos;
        self.record_image();
        Ok(())
    }

    /// Records all paths that are there as those of the image.
    fn record_image(&mut self) {
        for path in paths(self.unpacker.tree()) {
            self.origins.record(&path, Origin::Image);
        }
    }

    pub(super) fn finish(self) -> Sources {
        let unpacked = self.unpacker.finish();
        Sources {
            tree: unpacked.tree,
            spool: unpacked.spool,
            origins: self.origins,
            paragraphs: self.paragraphs,
            implied: unpacked.implied,
            indexes: self.indexes,
            left_out: self.left_out,
        }
    }
}

impl Sources {
    /// Returns the newest time of all inodes that an archive has; none where there is none.
    pub(super) fn newest(&self) -> Option<i64> {
        let mut left = vec![self.tree.root()];
        let mut newest = None;
        while let Some(id) = left.pop() {
            let inode = self.tree.get(id);
            if self.implied.binary_search(&id).is_err() && id != self.tree.root() {
                newest = newest.max(Some(inode.mtime.seconds));
            }
            if let Kind::Directory(entries) = &inode.kind {
                left.extend(entries.values());
            }
        }
        newest
    }

    /// Gives all inodes that no archive has a time.
    pub(super) fn stamp(&mut self, time: Timestamp) {
        let root = self.tree.root();
        for id in self.implied.iter().copied().chain([root]) {
            self.tree.get_mut(id).mtime = time;
        }
    }
}

/// Returns all paths of a tree.
fn paths(tree: &Tree) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut left = vec![(Vec::new(), tree.root())];
    while let Some((folder, id)) = left.pop() {
        let Kind::Directory(entries) = &tree.get(id).kind else { continue };
        for (name, child) in entries {
            let path = [folder.as_slice(), b"/", name].concat();
            left.push((path.clone(), *child));
            all.push(path);
        }
    }
    all
}
