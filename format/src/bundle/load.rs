//! What a store lacks of a bundle's images, all or nothing.
//!
//! Ids are kept: records, lists and chunks are those of the bundle. A chunk that the store has, in the
//! same list or in another, is not stored again; of one that it has in part, the rest is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use super::chunks::{BATCH, check_cancel};
use super::known_chunks::{KnownChunks, Lacking, WINDOW};
use super::load_pages::StagedPages;
use crate::device::BlockDevice;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{BlockSet, ChunkBlocks, Image, ListBlocks};
use crate::limits::{BLOCK_LEN, TABLE_PAGE_RECORDS};
use crate::store::commit::Publication;
use crate::store::list::List;
use crate::store::list_writer::{LocatedFrame, LocatorWriter, write_list};
use crate::store::merge::StagedList;
use crate::store::pack_writer::PackWriter;
use crate::store::stage::Stage;
use crate::store::{ImageRef, RefName, Store, names};

/// How often a load begins anew because another writer changed the same lists.
const TRIES: u32 = 8;

/// How to load.
#[derive(Default)]
pub struct LoadOptions<'a> {
    /// Which images; all where none are given.
    pub images: Vec<ImageRef>,
    /// The name for an image that the bundle has no name for; of several, each gets its id as tag.
    pub name: Option<RefName>,
    /// Take names from other images that have them.
    pub replace: bool,
    /// Called with the bytes of blocks looked at so far, and of all.
    pub progress: Option<&'a (dyn Fn(u64, u64) + Sync)>,
    /// Set from outside to stop; nothing is stored then.
    pub cancel: Option<&'a AtomicBool>,
}

impl std::fmt::Debug for LoadOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadOptions")
            .field("images", &self.images)
            .field("name", &self.name)
            .field("replace", &self.replace)
            .finish_non_exhaustive()
    }
}

/// An image that is in the store now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedImage {
    /// The image id.
    pub image: Digest,
    /// The content id.
    pub content: Digest,
    /// Bytes of its disk.
    pub size_bytes: u64,
    /// The names that it was given.
    pub names: Vec<RefName>,
}

/// What a load did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReport {
    /// The images, in ascending order of ids.
    pub images: Vec<LoadedImage>,
    /// Bytes by which the store's files grew.
    pub stored_bytes: u64,
}

impl Store {
    /// Takes images out of a bundle (or out of any other open store) into this store, on all threads
    /// of the current `rayon` pool. Every frame is checked against its chunk id.
    ///
    /// All or nothing, as an import is. Memory: 16 bytes for each extent of the images.
    ///
    /// # Errors
    /// [`Error::Exists`] for a name in use by another image; damage of the bundle; [`Error::NoSpace`];
    /// [`Error::Interrupted`].
    pub fn load(&self, bundle: &Self, options: &LoadOptions<'_>) -> Result<LoadReport> {
        let mut tries = 1;
        loop {
            match Load::new(self, bundle, options)?.run() {
                Err(Error::Conflict { .. }) if tries < TRIES => tries += 1,
                done => return done,
            }
        }
    }
}

/// One try.
struct Load<'a> {
    store: &'a Store,
    bundle: &'a Store,
    options: &'a LoadOptions<'a>,
    stage: Stage,
    images: Vec<Image>,
    loaded: Vec<LoadedImage>,
}

impl<'a> Load<'a> {
    fn new(store: &'a Store, bundle: &'a Store, options: &'a LoadOptions<'a>) -> Result<Self> {
        let stage = Stage::begin(&store.shared)?;
        let ids: BTreeSet<Digest> = if options.images.is_empty() {
            bundle.shared.image_ids()?.into_iter().collect()
        } else {
            options.images.iter().map(|image| bundle.resolve(image)).collect::<Result<_>>()?
        };
        let images = ids.iter().map(|id| bundle.image(&ImageRef::Id(*id))).collect::<Result<Vec<_>>>()?;
        let loaded = names_of(bundle, &images, options)?;
        Ok(Self { store, bundle, options, stage, images, loaded })
    }

    fn run(self) -> Result<LoadReport> {
        let references = self.references()?;
        let new = self.new_images()?;
        let mut publication = Publication { references, ..Publication::default() };
        self.chunks(&new, &mut publication)?;
        let files = StagedPages::new(&self.stage, self.donors(&new)?).write(&new, &mut publication)?;
        publication.needs = needs(&new, &publication, &files);
        self.stage.sync_all()?;
        check_cancel(self.options.cancel)?;
        let stored_bytes = if publication.references.is_empty() && new.is_empty() {
            0
        } else {
            self.stage.commit_then(&publication, true, |_| ())?
        };
        Ok(LoadReport { images: self.loaded, stored_bytes })
    }

    /// The names to be given: those that are not so already.
    fn references(&self) -> Result<Vec<(RefName, Digest)>> {
        let mut references = Vec::new();
        for image in &self.loaded {
            for name in &image.names {
                match self.store.shared.reference(name) {
                    Ok(found) if found.image == image.image => continue,
                    Ok(_) if !self.options.replace => {
                        return Err(Error::Exists { what: "name", name: name.to_string() });
                    }
                    Err(error) if !error.is_not_found() && !self.options.replace => return Err(error),
                    _ => references.push((name.clone(), image.image)),
                }
            }
        }
        Ok(references)
    }

    /// The images that the store does not have.
    fn new_images(&self) -> Result<Vec<Image>> {
        let mut new = Vec::new();
        for image in &self.images {
            match self.store.image_by_id(image.id()) {
                Ok(_) => {}
                Err(error) if error.may_pass() => return Err(error),
                Err(_) => new.push(image.clone()),
            }
        }
        Ok(new)
    }

    /// Images of the store whose pages the new ones may have too: bases and parents.
    fn donors(&self, new: &[Image]) -> Result<Vec<Image>> {
        let bases = self.bundle.shared.bases().map(|(_, records)| records).unwrap_or_default();
        let ids: BTreeSet<Digest> =
            bases.iter().map(|base| base.id).chain(new.iter().map(|image| image.manifest().parent)).collect();
        let mut donors = Vec::new();
        for id in ids {
            match self.store.image_by_id(id) {
                Ok(image) => donors.push(image),
                Err(error) if error.may_pass() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(donors)
    }

    /// Stages all blocks of the new images that the store lacks.
    fn chunks(&self, new: &[Image], publication: &mut Publication) -> Result<()> {
        let blocks = BlockSet::of(new)?;
        let all: u64 = blocks.lists().map(|(_, list)| list.blocks()).sum();
        let known = KnownChunks::open(&self.store.shared)?;
        let mut packs = PackWriter::new(&self.stage);
        let mut open = Vec::new();
        let mut done = 0;
        for ((id, list), number) in blocks.lists().zip(0..) {
            open.extend(self.list(id, list, number, &known, &mut packs, &mut |blocks| {
                done += blocks;
                if let Some(progress) = self.options.progress {
                    progress(done * BLOCK_LEN as u64, all * BLOCK_LEN as u64);
                }
                check_cancel(self.options.cancel)
            })?);
        }
        let (pack_ids, moves) = packs.finish()?;
        publication.objects.extend(moves);
        for (writer, staged) in open {
            writer.finish(&self.stage, staged.id, &pack_ids)?;
            publication.lists.push(staged);
        }
        Ok(())
    }

    /// Stages what the store lacks of one list, if anything.
    fn list(
        &self,
        id: &Digest,
        blocks: &ListBlocks,
        number: usize,
        known: &KnownChunks,
        packs: &mut PackWriter<'_>,
        done: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<Option<(LocatorWriter, StagedList)>> {
        let from = self.bundle.shared.list(id, Some(blocks.shape))?;
        let own = self.own_list(id)?;
        let over = own.as_ref().map(|own| own.locator().map(|locator| locator.digest)).transpose()?;
        let (list, locator) = (format!("list-{number}"), format!("locator-{number}"));
        let mut writer = LocatorWriter::begin(&self.stage, locator.clone(), Some(blocks.shape.chunks()))?;
        let mut pages = BTreeSet::new();
        let mut chunks = blocks.chunks().peekable();
        while chunks.peek().is_some() {
            let window: Vec<_> = chunks.by_ref().take(WINDOW).collect();
            for batch in known.lacking(&window, own.as_deref(), &from)?.chunks(BATCH) {
                let located = self.frames(&from, batch, packs)?;
                for ((chunk, _), frame) in batch.iter().zip(located) {
                    writer.skip(&self.stage, chunk - writer.position())?;
                    writer.chunk(&self.stage, &[frame])?;
                    pages.insert(chunk / TABLE_PAGE_RECORDS);
                }
                check_cancel(self.options.cancel)?;
            }
            done(window.iter().map(ChunkBlocks::count).sum())?;
        }
        if pages.is_empty() {
            return Ok(None);
        }
        writer.skip(&self.stage, blocks.shape.chunks() - writer.position())?;
        writer.flush(&self.stage)?;
        let page = |page: u64| pages.contains(&page).then(|| from.page(page)).transpose();
        write_list(&self.stage, &list, from.root()?, page)?;
        let (list, locator) = (self.stage.staged(&list), self.stage.staged(&locator));
        Ok(Some((writer, StagedList { id: *id, list, locator, over: Some(over) })))
    }

    /// Frames for a batch of chunks: those to be stored are made on all threads and written.
    fn frames(
        &self,
        from: &List,
        batch: &[(u64, Lacking)],
        packs: &mut PackWriter<'_>,
    ) -> Result<Vec<LocatedFrame>> {
        let carry = |(chunk, lacking): &(u64, Lacking)| match lacking {
            Lacking::Known(_) => Ok(None),
            Lacking::Wanted(mask) => self.bundle.shared.carry(from, *chunk, mask).map(Some),
        };
        let carried: Vec<_> = batch.par_iter().map(carry).collect::<Result<_>>()?;
        let mut located = Vec::with_capacity(batch.len());
        for ((_, lacking), carried) in batch.iter().zip(&carried) {
            match (lacking, carried) {
                (Lacking::Known(frame), _) => located.push(*frame),
                (_, Some(carried)) => {
                    let placed = packs.frame(&carried.id, &carried.frame)?;
                    located.push(LocatedFrame::new(&placed, carried.partial));
                }
                (Lacking::Wanted(_), None) => unreachable!("what is wanted was carried"),
            }
        }
        Ok(located)
    }

    /// The list as the store has it, if it does.
    fn own_list(&self, id: &Digest) -> Result<Option<Arc<List>>> {
        let shared = &self.store.shared;
        let name = names::object(names::LISTS, id);
        match shared.storage.open(&name) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("open", name, error)),
            Ok(_) => {
                // As it is now: another load may have added to it.
                shared.forget_list(id);
                let list = shared.list(id, None)?;
                list.check_reachable(shared)?;
                Ok(Some(list))
            }
        }
    }
}

/// What the images need of the store beyond what the load brings.
fn needs(images: &[Image], brought: &Publication, donors: &[Digest]) -> Vec<String> {
    let is_brought = |id: &Digest| brought.lists.iter().any(|list| list.id == *id);
    let lists: BTreeSet<Digest> =
        images.iter().flat_map(|image| image.manifest().lists.iter().map(|list| list.id)).collect();
    let lists = lists.iter().filter(|id| !is_brought(id));
    let lists = lists.flat_map(|id| [names::LISTS, names::LOCATORS].map(|folder| names::object(folder, id)));
    lists.chain(donors.iter().map(|file| names::object(names::PAGES, file))).collect()
}

/// The images, with the names that they are to get.
fn names_of(bundle: &Store, images: &[Image], options: &LoadOptions<'_>) -> Result<Vec<LoadedImage>> {
    let mut loaded: Vec<LoadedImage> = images
        .iter()
        .map(|image| LoadedImage {
            image: image.id(),
            content: image.manifest().content,
            size_bytes: image.size(),
            names: Vec::new(),
        })
        .collect();
    for (name, named) in bundle.references()? {
        let named = named?;
        if let Some(image) = loaded.iter_mut().find(|image| image.image == named.image) {
            image.names.push(name);
        }
    }
    let nameless = loaded.iter().filter(|image| image.names.is_empty()).count();
    for image in loaded.iter_mut().filter(|image| image.names.is_empty()) {
        let Some(name) = &options.name else {
            let expected = "a name for it: the bundle has none";
            return Err(Error::Invalid { what: "image", found: format!("@{}", image.image), expected });
        };
        image.names.push(match nameless {
            1 => name.clone(),
            _ => format!("{}:{}", name.name(), image.image.short()).parse()?,
        });
    }
    Ok(loaded)
}
