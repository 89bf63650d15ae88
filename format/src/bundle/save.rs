//! Saves images as a bundle: selects the images and blocks, and their order.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::chunks::ChunkWriter;
use super::frames::check_cancel;
use super::pages::{PageCopier, write_record};
use super::sink::{BundleSink, FileSink};
use super::writer::BundleWriter;
use crate::digest::ImageId;
use crate::error::{BlockError, Result};
use crate::image::{BlockSet, Image};
use crate::limits::{BLOCK_LEN, BUNDLE_BASES_MAX, BUNDLE_NAMES_MAX};
use crate::store::record::Tree;
use crate::store::{ImageRef, Images, RefName};
use crate::write::PlacedPage;
use melv_block::Target;

/// Options of [`Images::save`].
#[derive(Default)]
pub struct SaveOptions<'a> {
    /// Images that every reader of the bundle already has. Their contents are left out.
    pub without: Vec<ImageRef>,
    /// Called with the bytes of blocks done so far, and the total to write.
    pub progress: Option<&'a (dyn Fn(u64, u64) + Sync)>,
    /// Set from outside to cancel.
    pub cancel: Option<&'a AtomicBool>,
}

impl std::fmt::Debug for SaveOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SaveOptions").field("without", &self.without).finish_non_exhaustive()
    }
}

/// The result of a save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveReport {
    /// The images in ascending order of ids, each with the names saved for it.
    pub images: Vec<(ImageId, Vec<RefName>)>,
    /// The length of the bundle, in bytes.
    pub bytes: u64,
}

impl Images {
    /// Writes images and all objects they need to `sink` as one bundle, reading on all threads of the
    /// current `rayon` pool. An image given by name keeps that name in the bundle. Equal images from
    /// equal stores give equal bytes.
    ///
    /// Memory: 16 bytes for each extent of the images and 20 for each frame of a pack of 4 GiB. A disk of
    /// 100 GiB needs about 20 MiB.
    ///
    /// # Errors
    /// [`StoreError::NotFound`](crate::StoreError::NotFound) for an image; damage in the data read; errors of the sink. On error the bytes
    /// already written form no bundle.
    pub fn save(
        &self,
        images: &[ImageRef],
        sink: &mut dyn BundleSink,
        options: &SaveOptions<'_>,
    ) -> Result<SaveReport> {
        let mut names: Vec<(RefName, ImageId)> = Vec::new();
        let mut ids = Vec::new();
        for reference in images {
            let id = self.resolve(reference)?;
            ids.push(id);
            if let ImageRef::Name(name) = reference
                && self.reader().reference(name).is_ok_and(|found| found.image == id)
            {
                names.push((name.clone(), id));
            }
        }
        if ids.is_empty() {
            let expected = "at least one image";
            return Err(BlockError::Invalid { what: "number of images", found: "0".into(), expected }.into());
        }
        if names.len() as u64 > BUNDLE_NAMES_MAX {
            let found = names.len() as u64;
            return Err(BlockError::Limit { what: "names of a bundle", found, max: BUNDLE_NAMES_MAX }.into());
        }
        // Drop cached lists: another process may have added blocks to lists held in part.
        self.reader().lists.forget_all();
        let images = self.open_all(ids)?;
        let without = options.without.iter().map(|base| self.resolve(base)).collect::<Result<Vec<_>>>()?;
        let bases = self.open_all(without)?;
        check_bases(&images, &bases)?;
        let mut blocks = BlockSet::of(&images)?;
        blocks.subtract(&BlockSet::of(&bases)?);
        let writer = BundleWriter::new(sink);
        self.write_chunks(&blocks, &writer, options)?;
        write_pages(&images, &bases, &writer)?;
        let texts = names.iter().map(|(name, id)| (name.to_string(), *id)).collect();
        let bytes = writer.finish(bases.iter().map(Image::id).collect(), texts)?;
        let names_of = |image: &Image| {
            let mut of: Vec<_> =
                names.iter().filter(|name| name.1 == image.id()).map(|name| name.0.clone()).collect();
            of.sort_unstable();
            of.dedup();
            (image.id(), of)
        };
        Ok(SaveReport { images: images.iter().map(names_of).collect(), bytes })
    }

    /// Writes a bundle to the file or block device `path`: see [`Images::save`]. A file gets its name only
    /// when complete, and a device holds no bundle before then. Both are synced on return.
    ///
    /// # Errors
    /// As [`Images::save`]; [`StoreError::Exists`](crate::StoreError::Exists) for an existing file, unless `force` is set;
    /// [`BlockError::NoSpace`].
    pub fn save_file(
        &self,
        images: &[ImageRef],
        path: &Path,
        force: bool,
        options: &SaveOptions<'_>,
    ) -> Result<SaveReport> {
        let target = Target::find(path, "a file or a block device")?;
        target.write(force, |out| self.save(images, &mut FileSink::begin(out)?, options))
    }

    /// Opens images, each once, in ascending order of ids.
    fn open_all(&self, mut ids: Vec<ImageId>) -> Result<Vec<Image>> {
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(|id| self.image(&ImageRef::Id(id))).collect()
    }

    fn write_chunks(
        &self,
        blocks: &BlockSet,
        writer: &BundleWriter<'_>,
        options: &SaveOptions<'_>,
    ) -> Result<()> {
        let all: u64 = blocks.lists().map(|(_, list)| list.blocks()).sum();
        let mut written = 0;
        let mut done = |blocks: u64| {
            check_cancel(options.cancel)?;
            written += blocks;
            if let Some(progress) = options.progress {
                progress(written * BLOCK_LEN as u64, all * BLOCK_LEN as u64);
            }
            Ok(())
        };
        let mut chunks = ChunkWriter::new(writer, self.reader());
        for (id, list) in blocks.lists() {
            chunks.list(id, list, &mut done)?;
        }
        chunks.finish()
    }
}

/// Writes the pages of all images, span pages first, then map pages, which readers need first; then the tail
/// and the records.
fn write_pages(images: &[Image], bases: &[Image], writer: &BundleWriter<'_>) -> Result<()> {
    let mut pages = PageCopier::new(writer, bases, |_, _| PlacedPage::OfBase);
    let span = images.iter().map(|image| pages.tree(image, Tree::Span)).collect::<Result<Vec<_>>>()?;
    writer.mark_tail();
    let map = images.iter().map(|image| pages.tree(image, Tree::Map)).collect::<Result<Vec<_>>>()?;
    let file = pages.finish()?.map(|(id, ())| id);
    writer.mark_tail();
    writer.write_tail()?;
    images
        .iter()
        .zip(map.iter().zip(&span))
        .try_for_each(|(image, (map, span))| write_record(writer, image, map, span, file))
}

fn check_bases(images: &[Image], bases: &[Image]) -> Result<()> {
    if let Some(image) = images.iter().find(|image| bases.iter().any(|base| base.id() == image.id())) {
        let expected = "an image that is not saved itself";
        return Err(BlockError::Invalid { what: "base", found: format!("@{}", image.id()), expected }.into());
    }
    match bases.len() as u64 {
        found if found > BUNDLE_BASES_MAX => {
            Err(BlockError::Limit { what: "bases of a bundle", found, max: BUNDLE_BASES_MAX }.into())
        }
        _ => Ok(()),
    }
}
