//! One tree and one spool, and the archives that fill them.

use std::{fs::File, io::Read, path::Path};

use crate::tree::{InodeId, Tree};

use super::{
    compression::Decoder,
    deb::{self, DebError, Package},
    insert::{Inserter, Replaces, Report, Rules},
    limits::Limits,
    oci::{self, Image, OciError},
    spool::{Spool, SpoolError},
    tar::TarError,
    unpack::{self, UnpackError},
};

/// Unpacks archives into one tree. After a failure the tree holds a part of the archive: it is to be thrown away.
#[derive(Debug)]
pub struct Unpacker {
    inserter: Inserter,
    spool: Spool,
    limits: Limits,
}

/// The result of all archives.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unpacked {
    /// The files.
    pub tree: Tree,
    /// Their contents.
    pub spool: Spool,
    /// Inodes that no archive has: parents that it left out, links of the merged `/usr`. Owner 0, time 0.
    pub implied: Vec<InodeId>,
}

impl Unpacker {
    /// Makes an empty tree, whose contents go to one file without a name in `folder`.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Create`].
    pub fn new(folder: &Path, limits: Limits) -> Result<Self, SpoolError> {
        let spool = Spool::new(folder, limits.content_bytes)?;
        Ok(Self { inserter: Inserter::new(limits), spool, limits })
    }

    /// Adds a Debian package. Its bytes come once; their digest is the caller's matter.
    ///
    /// A file that another package has must be equal, unless one of the two packages says in `Replaces` that it may
    /// differ, or `replaces` does for this one.
    ///
    /// # Errors
    ///
    /// [`DebError`].
    pub fn add_package(&mut self, mut package: impl Read, replaces: Replaces) -> Result<Package, DebError> {
        deb::read(&mut package, replaces, &self.limits, &mut self.spool, &mut self.inserter)
    }

    /// Adds a tar of a root file system: plain, gzip, xz or zstd.
    ///
    /// # Errors
    ///
    /// [`UnpackError`].
    pub fn add_root(&mut self, tar: impl Read) -> Result<Report, UnpackError> {
        self.inserter.begin("the root file system", Rules::Root);
        let stream = Decoder::new(tar, self.limits.archive_bytes).map_err(|source| TarError::Read {
            entry: 0,
            offset: 0,
            source,
        })?;
        unpack::unpack(stream, &mut self.spool, &mut self.inserter, None)?;
        Ok(self.inserter.report_mut().clone())
    }

    /// Adds the layers of an image: of a folder with an OCI layout, of a tar of one, or of what `docker save` writes.
    ///
    /// `name` is needed where there are several images.
    ///
    /// # Errors
    ///
    /// [`OciError`].
    pub fn add_image(&mut self, path: &Path, name: Option<&str>) -> Result<Image, OciError> {
        let blobs = oci::Blobs::open(path)?;
        oci::read(&blobs, name, &self.limits, &mut self.spool, &mut self.inserter)
    }

    /// Adds the layers of an image of an archive that is open.
    ///
    /// # Errors
    ///
    /// [`OciError`].
    pub fn add_image_file(&mut self, archive: File, name: Option<&str>) -> Result<Image, OciError> {
        let blobs = oci::Blobs::archive(archive)?;
        oci::read(&blobs, name, &self.limits, &mut self.spool, &mut self.inserter)
    }

    /// Returns the tree as far as it is.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        self.inserter.tree()
    }

    /// Ends the unpacking.
    #[must_use]
    pub fn finish(self) -> Unpacked {
        let (tree, implied) = self.inserter.finish();
        Unpacked { tree, spool: self.spool, implied }
    }
}
