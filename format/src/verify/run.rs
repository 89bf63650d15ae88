//! Selects images and objects; checks records and their trees.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::content::ContentHasher;
use crate::digest::{ImageId, ListId};
use crate::error::{Error, ErrorKind, Result, StoreError};
use crate::fault::RuleViolation;
use crate::image::Image;
use crate::index::Digests;
use crate::index::Stamp;
use crate::limits::BLOCK_LEN;
use crate::ondisk::map_leaf::MapLeaf;
use crate::storage::ReadAt;
use crate::store::InStore;
use crate::store::{Images, Store, StoreInner, names, scrub};
use melv_block::BlockDevice;

use super::bad_chunks::BadChunks;
use super::content::for_each_span_page;
use super::damaged::Objects;
use super::objects::check_pack;
use super::ranges::Told;
use super::report::{VerifyOptions, VerifyReport};
use super::verifier::Verifier;

impl Store {
    /// Checks the given images, or everything in the store if `images` is empty. Notes the damage in the
    /// store's index, for the next writer.
    ///
    /// # Errors
    /// [`BlockError::Interrupted`](crate::BlockError::Interrupted), or if the storage cannot even list its objects. Damage is not an error
    /// here, but part of the report.
    pub fn verify(&self, images: &[ImageId], options: &VerifyOptions<'_>) -> Result<VerifyReport> {
        verify(self, Some(&self.shared), images, options)
    }
}

impl Images {
    /// Checks the given images, or everything if `images` is empty. Writes nothing; [`Store::verify`] also
    /// notes the damage.
    ///
    /// # Errors
    /// As [`Store::verify`].
    pub fn verify(&self, images: &[ImageId], options: &VerifyOptions<'_>) -> Result<VerifyReport> {
        verify(self, None, images, options)
    }
}

fn verify(
    images: &Images,
    store: Option<&Arc<StoreInner>>,
    ids: &[ImageId],
    options: &VerifyOptions<'_>,
) -> Result<VerifyReport> {
    // Drop cached lists: another process may have added blocks to lists held in part.
    images.reader().lists.forget_all();
    let mut verifier = Verifier {
        images,
        store,
        options,
        report: VerifyReport::default(),
        lists: BTreeMap::new(),
        bad: BTreeMap::new(),
        lacking: BTreeMap::new(),
        told: Told::default(),
        objects: Objects::default(),
        steps: AtomicU64::new(0),
        sound: Vec::new(),
    };
    let everything = ids.is_empty();
    let ids = if everything { verifier.all_images()? } else { ids.to_vec() };
    let opened = verifier.open_images(&ids, everything)?;
    if everything {
        verifier.all_lists()?;
        verifier.objects(names::PACKS, check_pack)?;
        verifier.objects(names::PAGES, scrub::check_page_file)?;
    }
    verifier.check_lists()?;
    if everything {
        verifier.unused_lists(&opened);
    }
    let mut digests = options.full.then(|| Digests::new(images.reader()));
    for image in &opened {
        verifier.image_extents(image)?;
        if let Some(digests) = &mut digests {
            verifier.content(image, digests)?;
        }
    }
    verifier.note(everything);
    verifier.report.objects = verifier.objects.finish();
    Ok(verifier.report)
}

impl Verifier<'_> {
    /// Returns every image that has a name or a manifest. Reports unreadable names as damage.
    fn all_images(&mut self) -> Result<Vec<ImageId>> {
        let mut images: BTreeSet<_> = self.reader().image_ids()?.into_iter().collect();
        for (_, named) in self.images.names()? {
            match named {
                Ok(named) => drop(images.insert(named.image)),
                Err(error) => self.damaged(None, 0, 0, error),
            }
        }
        Ok(images.into_iter().collect())
    }

    /// Opens images and checks their trees. Returns those with a sound record.
    fn open_images(&mut self, ids: &[ImageId], everything: bool) -> Result<Vec<Image>> {
        let mut opened = Vec::new();
        for id in ids {
            self.step()?;
            self.report.images += 1;
            match self.images.image_by_id(*id) {
                Ok(image) => {
                    self.trees(&image)?;
                    opened.push(image);
                }
                // The image was removed after the names were read, or never existed.
                Err(error) if error.is_not_found() && everything && !self.is_named(id)? => {
                    self.report.images -= 1
                }
                Err(error) => self.damaged(Some(*id), 0, 0, error),
            }
        }
        Ok(opened)
    }

    /// Whether a reference points to an image now.
    fn is_named(&self, id: &ImageId) -> Result<bool> {
        let references = self.images.names()?;
        Ok(references.iter().any(|(_, named)| named.as_ref().is_ok_and(|named| named.image == *id)))
    }

    /// Checks every page of both trees, and their totals.
    fn trees(&mut self, image: &Image) -> Result<()> {
        let (id, size) = (image.id(), image.size());
        for list in &image.manifest().lists {
            self.open_list(&list.id, Some(list.shape), Some(image));
        }
        let geometry = image.manifest().geometry;
        let leaf_len = geometry.leaf_blocks() * BLOCK_LEN as u64;
        let mut data_blocks = 0;
        let mut whole = true;
        for (slot, entry) in image.record.map_root.iter().enumerate() {
            self.step()?;
            let start = u64::from(entry.index) * leaf_len;
            match image.record.leaf(slot) {
                Ok(leaf) => {
                    let leaf = &leaf.leaf;
                    data_blocks += leaf.extents.iter().map(|extent| extent.blocks).sum::<u64>();
                    if let Err(error) = check_sources(image, leaf) {
                        self.damaged(Some(id), start, leaf_len.min(size - start), error);
                    }
                }
                Err(error) => {
                    whole = false;
                    self.damaged(Some(id), start, leaf_len.min(size - start), error);
                }
            }
        }
        if whole && data_blocks != image.manifest().data_blocks {
            let fault =
                RuleViolation::DataBlocks { found: image.manifest().data_blocks, blocks: data_blocks };
            self.damaged(Some(id), 0, size, StoreError::corrupt(image.name(), 0, fault));
        }
        // In full mode, the check of the blocks' digests covers this.
        if self.options.full { Ok(()) } else { self.content_of_spans(image) }
    }

    /// Checks the span pages against the manifest's content id.
    fn content_of_spans(&mut self, image: &Image) -> Result<()> {
        let (id, size) = (image.id(), image.size());
        let mut hasher = ContentHasher::new(size, image.manifest().geometry.spans());
        let hashed = for_each_span_page(image, |base, page| {
            self.check_cancel()?;
            page.iter().for_each(|entry| hasher.span(base + u64::from(entry.index), &entry.digest));
            Ok(())
        });
        let found = hasher.finish();
        match hashed {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => self.damaged(Some(id), 0, size, error),
            Ok(()) => self.content_id(image, &found),
        }
        Ok(())
    }

    fn open_list(
        &mut self,
        id: &ListId,
        shape: Option<crate::ondisk::list::ListShape>,
        image: Option<&Image>,
    ) {
        if let Some(known) = self.lists.get(id).cloned() {
            // Another image, or the first one, may claim a different shape.
            if let (Some(list), Some(image)) = (known, image)
                && let Err(error) = list.check_shape(shape)
            {
                self.damaged(Some(image.id()), 0, image.size(), error);
            }
            return;
        }
        let opened = self.reader().list(id, shape).and_then(|list| list.root().map(|_| ()).map(|()| list));
        let opened = match opened {
            Ok(list) => Some(list),
            Err(error) => {
                // An image that uses the list reports this by its extents. Otherwise report it here.
                if image.is_none() {
                    self.damaged(None, 0, 0, error);
                } else {
                    self.objects.note_error(&error);
                    self.bad.insert(*id, BadChunks::whole_list(&error));
                }
                None
            }
        };
        self.lists.insert(*id, opened);
    }

    fn all_lists(&mut self) -> Result<()> {
        let listed = self.reader().source().list(names::LISTS);
        for object in listed.map_err(|error| Error::io("list", names::LISTS, error))? {
            if let Some(id) = names::id_of(&object.name) {
                self.open_list(&id, None, None);
            }
        }
        Ok(())
    }

    /// Checks every object of a folder, independently of the images that need it.
    fn objects(&mut self, folder: &'static str, check: fn(&dyn ReadAt, &str) -> Result<()>) -> Result<()> {
        let listed = self.reader().source().list(folder);
        for object in listed.map_err(|error| Error::io("list", folder, error))? {
            self.step()?;
            let opened = scrub::open_anew(self.reader().source().as_ref(), &object.name);
            let checked = opened.and_then(|opened| check(opened.as_ref(), &object.name).map(|()| opened));
            match checked {
                Ok(opened) => {
                    let stamp = Stamp::of(opened.as_ref());
                    self.sound.extend(names::digest_of(&object.name).zip(stamp));
                }
                // Removed after the folder was listed. If an object needs it, another check reports that.
                Err(error) if error.is_absent() => {}
                Err(error) => self.damaged(None, 0, 0, error),
            }
        }
        Ok(())
    }
}

/// Checks that every extent lies in a list that the manifest names.
fn check_sources(image: &Image, leaf: &MapLeaf) -> Result<()> {
    // Caches the lengths of lists: an image may have thousands, and a leaf tens of thousands of extents.
    let mut known = vec![None; leaf.lists.len()];
    for extent in &leaf.extents {
        let number = extent.list as usize;
        let max = match known.get(number).copied().flatten() {
            Some(max) => max,
            None => {
                let list = leaf.lists.get(number).copied().unwrap_or_default();
                let max = image.record.list_shape(&list)?.blocks;
                if let Some(known) = known.get_mut(number) {
                    *known = Some(max);
                }
                max
            }
        };
        let block = extent.source + extent.blocks;
        if block > max {
            return Err(StoreError::corrupt(image.name(), 0, RuleViolation::ExtentRange { block, max }));
        }
    }
    Ok(())
}
