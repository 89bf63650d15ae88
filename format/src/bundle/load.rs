//! Loads images of a bundle into a store, all or nothing.
//!
//! Ids are kept: records, lists and chunks keep their ids from the bundle. A chunk that the store has, in
//! the same list or in another, is not stored again. Of a chunk held in part, only the missing blocks are
//! stored.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use super::frames::{FrameWriter, batch_chunks, check_cancel};
use super::known_chunks::{KnownChunks, Lacking, WINDOW};
use super::pages::{PageCopier, write_record};
use crate::digest::{ContentId, ImageId, ListId, PageFileId};
use crate::error::{BlockError, Error, ErrorKind, Result, StoreError};
use crate::heal::{self, Health};
use crate::image::{BlockSet, ChunkBlocks, Image, ListBlocks};
use crate::limits::{BLOCK_LEN, LEVEL_DEFAULT, TABLE_PAGE_RECORDS};
use crate::ondisk::list::ListShape;
use crate::ondisk::record::PagePlace;
use crate::storage::ObjectName;
use crate::store::commit::{OnExisting, Publication};
use crate::store::journal::recover;
use crate::store::list::List;
use crate::store::merge::{Based, OwnList, StagedList};
use crate::store::record::Tree;
use crate::store::runs::Runs;
use crate::store::stage::Stage;
use crate::store::{Bundle, ImageRef, RefName, Store, StoreInner, VerifyMode, names};
use crate::write::{LocatedFrame, LocatorWriter, PlacedPage, copy_list};
use melv_block::BlockDevice;

/// The maximum number of attempts if other writers change the same lists.
const TRIES: u32 = 8;

/// Options of [`Store::load`].
#[derive(Default)]
pub struct LoadOptions<'a> {
    /// The images to load; all images if empty.
    pub images: Vec<ImageRef>,
    /// The name for an image without a name in the bundle. If there are several, each gets its id as tag.
    pub name: Option<RefName>,
    /// Whether to take names away from other images that have them.
    pub replace: bool,
    /// Called with the bytes of blocks examined so far, and the total.
    pub progress: Option<&'a (dyn Fn(u64, u64) + Sync)>,
    /// Set from outside to cancel; nothing is stored then.
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

/// An image that the store now has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedImage {
    /// The image id.
    pub image: ImageId,
    /// The content id.
    pub content: ContentId,
    /// The size of its disk, in bytes.
    pub size_bytes: u64,
    /// The names given to it.
    pub names: Vec<RefName>,
}

/// The result of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReport {
    /// The images, in ascending order of ids.
    pub images: Vec<LoadedImage>,
    /// The growth of the store's files, in bytes.
    pub stored_bytes: u64,
}

impl Store {
    /// Loads images from a bundle (or from any other open store) into this store, on all threads of the
    /// current `rayon` pool. Checks every frame against its chunk id.
    ///
    /// Stores all or nothing, as an import does. Memory: 16 bytes for each extent of the images, or 1.25
    /// bits for each block if that is less. Another 80 bytes for each of the first quarter million chunks,
    /// and 16 MiB.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for a name in use by another image; damage in the bundle; [`BlockError::NoSpace`];
    /// [`BlockError::Interrupted`].
    pub fn load(&self, bundle: &Bundle, options: &LoadOptions<'_>) -> Result<LoadReport> {
        let (mut tries, mut hurt) = (1, BTreeSet::new());
        loop {
            match Load::new(self, bundle, options, &hurt).and_then(Load::run) {
                Err(error) if error.kind() == ErrorKind::Conflict && tries < TRIES => tries += 1,
                Err(error) => match list_of(&error) {
                    // A list of this store is damaged. Retry if it could be rebuilt, or else once without
                    // trusting its chunks.
                    Some(list) if heal::tables(&self.shared, [list])?.is_empty() && !hurt.insert(list) => {
                        return Err(error);
                    }
                    Some(_) => {}
                    None => return Err(error),
                },
                done => return done,
            }
        }
    }
}

/// Returns the list whose table or locator the error reports as damaged.
fn list_of(error: &Error) -> Option<ListId> {
    let Some(StoreError::Corrupt { object, .. }) = error.detail() else { return None };
    let is_table = [names::LISTS, names::LOCATORS].iter().any(|folder| object.starts_with(folder));
    names::id_of(object).filter(|_| is_table)
}

/// The maximum number of locators that wait for pack ids; each takes some memory.
const WAITING_MAX: usize = 128;

/// A staged list whose locator waits for pack ids.
struct WaitingList<'a> {
    locator: LocatorWriter<'a, Stage>,
    id: ListId,
    /// The staged name.
    list: ObjectName,
    based: Based,
    suspects: Arc<Runs>,
}

/// One attempt.
struct Load<'a> {
    store: &'a Store,
    bundle: &'a Bundle,
    options: &'a LoadOptions<'a>,
    stage: Stage,
    images: Vec<Image>,
    loaded: Vec<LoadedImage>,
    /// The blocks of the images, and the store's state of their lists.
    blocks: BlockSet,
    seen: Seen,
    health: Arc<Health>,
}

/// The committed store at the start of the attempt. Its contents are still there at the end.
struct Seen {
    lists: HashMap<ListId, OwnList>,
    /// Images that the store does not have whole.
    new: BTreeSet<ImageId>,
    references: Vec<(RefName, ImageId)>,
}

impl<'a> Load<'a> {
    /// Prepares an attempt. Chunks of lists in `hurt` are reused only after they were read and checked.
    fn new(
        store: &'a Store,
        bundle: &'a Bundle,
        options: &'a LoadOptions<'a>,
        hurt: &BTreeSet<ListId>,
    ) -> Result<Self> {
        let stage = Stage::begin(&store.shared)?;
        let ids: BTreeSet<ImageId> = if options.images.is_empty() {
            bundle.reader().image_ids()?.into_iter().collect()
        } else {
            options.images.iter().map(|image| bundle.resolve(image)).collect::<Result<_>>()?
        };
        let images = ids.iter().map(|id| bundle.image(&ImageRef::Id(*id))).collect::<Result<Vec<_>>>()?;
        let loaded = names_of(bundle, &images, options)?;
        let blocks = BlockSet::of(&images)?;
        let health = Arc::new(Health::new(&store.shared));
        let seen = Seen::look(store, &blocks, &loaded, options.replace, &health, hurt)?;
        Ok(Self { store, bundle, options, stage, images, loaded, blocks, seen, health })
    }

    fn run(self) -> Result<LoadReport> {
        let new: Vec<_> =
            self.images.iter().filter(|image| self.seen.new.contains(&image.id())).cloned().collect();
        let on_existing = if self.options.replace { OnExisting::Replace } else { OnExisting::KeepIfSame };
        // New records need a name, even one they already have: a commit is recognized by its names.
        let references = if new.is_empty() { self.seen.references.clone() } else { all_names(&self.loaded) };
        let mut publication = Publication { references, on_existing, ..Publication::default() };
        self.chunks(&mut publication)?;
        let files = self.pages(&new, &mut publication)?;
        publication.needs = needs(&new, &publication, &files);
        if !publication.lists.is_empty() && publication.references.is_empty() {
            publication.references = all_names(&self.loaded);
        }
        self.stage.sync_all()?;
        check_cancel(self.options.cancel)?;
        let nothing = publication.references.is_empty() && new.is_empty();
        let mut stored_bytes = if nothing { 0 } else { self.stage.commit(&publication, |_| ())? };
        let shared = &self.store.shared;
        heal::remember(shared, &publication.objects);
        stored_bytes += heal::after_commit(shared, &self.health, LEVEL_DEFAULT).stored_bytes;
        Ok(LoadReport { images: self.loaded, stored_bytes })
    }

    /// Returns images of the store that may share pages with the new ones: bases and parents.
    fn donors(&self, new: &[Image]) -> Result<Vec<Image>> {
        let bases = self.bundle.reader().base_records().map_or(&[][..], |records| records);
        let ids: BTreeSet<ImageId> =
            bases.iter().map(|base| base.id).chain(new.iter().map(|image| image.manifest().parent)).collect();
        let mut donors = Vec::new();
        for id in ids.into_iter().filter(|id| !self.seen.new.contains(id)) {
            match self.store.image_by_id(id) {
                Ok(image) => {
                    let files = &image.record.places.files;
                    let sound = files.iter().map(|file| self.health.page_file(file));
                    if sound.collect::<Result<Vec<_>>>()?.iter().all(|is_sound| *is_sound) {
                        donors.push(image);
                    }
                }
                Err(error) if error.is_transient() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(donors)
    }

    /// Stages the pages that the store lacks, and the records. Returns the existing page files that they use.
    fn pages(&self, images: &[Image], publication: &mut Publication) -> Result<Vec<PageFileId>> {
        let donors = self.donors(images)?;
        let place_of = |donor: &Image, place: PagePlace| {
            let file = donor.record.places.files.get(place.file as usize);
            file.map_or(PlacedPage::New(place), |file| PlacedPage::Known(*file, place))
        };
        let mut pages = PageCopier::new(&self.stage, &donors, place_of);
        let mut placed = Vec::with_capacity(images.len());
        for image in images {
            placed.push((pages.tree(image, Tree::Map)?, pages.tree(image, Tree::Span)?));
        }
        let file = pages.finish()?;
        let new_file = file.as_ref().map(|(id, _)| *id);
        publication.objects.extend(file.map(|(_, moved)| moved));
        let mut used = Vec::new();
        for (image, (map, span)) in images.iter().zip(&placed) {
            for page in map.iter().chain(span) {
                if let PlacedPage::Known(file, _) = page
                    && !used.contains(file)
                {
                    used.push(*file);
                }
            }
            publication.records.push(write_record(&self.stage, image, map, span, new_file)?);
        }
        Ok(used)
    }

    /// Stages all blocks of the images that the store lacks.
    fn chunks(&self, publication: &mut Publication) -> Result<()> {
        let all: u64 = self.blocks.lists().map(|(_, list)| list.blocks()).sum();
        let known = KnownChunks::open(&self.store.shared, &self.health)?;
        let mut frames = FrameWriter::new(&self.stage);
        let mut waiting = Vec::new();
        let mut done = 0;
        for (id, list) in self.blocks.lists() {
            waiting.extend(self.list(id, list, &known, &mut frames, &mut |blocks| {
                done += blocks;
                if let Some(progress) = self.options.progress {
                    progress(done * BLOCK_LEN as u64, all * BLOCK_LEN as u64);
                }
                check_cancel(self.options.cancel)
            })?);
            if waiting.len() >= WAITING_MAX {
                self.finish_locators(&mut frames, &mut waiting, publication)?;
            }
        }
        self.finish_locators(&mut frames, &mut waiting, publication)
    }

    /// Finishes the packs, and then the locators that refer to them.
    fn finish_locators(
        &self,
        frames: &mut FrameWriter<'_, Stage>,
        waiting: &mut Vec<WaitingList<'_>>,
        publication: &mut Publication,
    ) -> Result<()> {
        let (pack_ids, packs) = frames.finish_packs()?;
        publication.objects.extend(packs);
        for WaitingList { locator, id, list, based, suspects } in waiting.drain(..) {
            let (locator, _) = locator.finish(&id, &pack_ids)?;
            publication.lists.push(StagedList { id, list, locator, based, suspects });
        }
        Ok(())
    }

    /// Returns the places of a batch of chunks of `list`. Chunks that the store lacks are read from the
    /// bundle, encoded on all threads, checked against their chunk ids, and written to a pack.
    fn frames(
        &self,
        list: &List,
        batch: &[(u64, Lacking)],
        frames: &mut FrameWriter<'_, Stage>,
    ) -> Result<Vec<LocatedFrame>> {
        let from = self.bundle.reader();
        let reframe = |(chunk, lacking): &(u64, Lacking)| match lacking {
            Lacking::Known(_) => Ok(None),
            Lacking::Wanted(mask) => from.reframe(list, *chunk, mask, VerifyMode::Full).map(Some),
        };
        let reframed: Vec<_> = batch.par_iter().map(reframe).collect::<Result<_>>()?;
        let mut located = Vec::with_capacity(batch.len());
        for ((_, lacking), portable) in batch.iter().zip(&reframed) {
            match (lacking, portable) {
                (Lacking::Known(frame), _) => located.push(*frame),
                (_, Some(portable)) => located.push(frames.frame(portable)?),
                (Lacking::Wanted(_), None) => unreachable!("a wanted frame was made"),
            }
        }
        Ok(located)
    }

    /// Stages the part of one list that the store lacks, if any.
    fn list(
        &self,
        id: &ListId,
        blocks: &ListBlocks,
        known: &KnownChunks,
        frames: &mut FrameWriter<'_, Stage>,
        done: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<Option<WaitingList<'_>>> {
        let from = self.bundle.reader().list(id, Some(blocks.shape))?;
        // From here on, use the list's own shape, not the manifest's claim.
        let (root, shape) = (from.root_bytes()?, from.root()?.shape);
        let own = self.seen.lists.get(id);
        let based = own.map_or(Based::Absent, |own| Based::On(own.locator.digest));
        let mut writer: Option<LocatorWriter<'_, Stage>> = None;
        let mut pages = BTreeSet::new();
        let mut chunks = blocks.chunks().peekable();
        while chunks.peek().is_some() {
            let window: Vec<_> = chunks.by_ref().take(WINDOW).collect();
            for batch in known.lacking(&window, own, &from)?.chunks(batch_chunks(&blocks.shape)) {
                let writer = match &mut writer {
                    Some(writer) => writer,
                    none => none.insert(LocatorWriter::begin(&self.stage, Some(blocks.shape.chunks()))?),
                };
                for ((chunk, _), frame) in batch.iter().zip(self.frames(&from, batch, frames)?) {
                    writer.skip_to(*chunk)?;
                    writer.chunk(&[frame])?;
                    pages.insert(chunk / TABLE_PAGE_RECORDS);
                }
                check_cancel(self.options.cancel)?;
            }
            done(window.iter().map(ChunkBlocks::count).sum())?;
        }
        let Some(mut writer) = writer else { return Ok(None) };
        writer.skip_to(blocks.shape.chunks())?;
        writer.flush()?;
        let page = |page: u64| pages.contains(&page).then(|| from.page(page)).transpose();
        let (list, _) = copy_list(&self.stage, id, &shape, &root, page)?;
        let suspects = self.health.suspects_of(id);
        Ok(Some(WaitingList { locator: writer, id: *id, list, based, suspects }))
    }
}

impl Seen {
    /// Inspects the store. Reads lists and records without the store's lock, since that may take long.
    /// The commit detects objects that a concurrent writer publishes now and then rolls back.
    fn look(
        store: &Store,
        blocks: &BlockSet,
        loaded: &[LoadedImage],
        replace: bool,
        health: &Health,
        hurt: &BTreeSet<ListId>,
    ) -> Result<Self> {
        let shared = &store.shared;
        let (mut lists, mut new) = (HashMap::new(), BTreeSet::new());
        for (id, list) in blocks.lists() {
            if let Some(own) = own_list(shared, id, list.shape)? {
                own.list.check_shape(Some(list.shape))?;
                if own.list.is_proved() && !hurt.contains(id) {
                    health.of_list(&own.list)?;
                } else {
                    health.add_all(&own.list);
                }
                lists.insert(*id, own);
            }
        }
        for image in loaded {
            match shared.reader.check_record(image.image) {
                Ok(()) => {}
                Err(error) if error.is_transient() => return Err(error),
                Err(_) => {
                    new.insert(image.image);
                    // Register damaged page files that the old record leaves behind.
                    let own = shared.reader.record(image.image);
                    let files = own.map(|own| own.places.files).unwrap_or_default();
                    files.iter().try_for_each(|file| health.page_file(file).map(|_| ()))?;
                }
            }
        }
        let _lock = shared.lock()?;
        recover(shared)?;
        let mut references = Vec::new();
        for image in loaded {
            let record = names::manifest(&image.image);
            if shared.storage.open(&record).is_err() {
                new.insert(image.image);
            }
            for name in &image.names {
                match shared.reader.reference(name) {
                    Ok(found) if found.image == image.image => continue,
                    Ok(_) if !replace => {
                        return Err(StoreError::Exists { what: "name", name: name.to_string() }.into());
                    }
                    Err(error) if !error.is_not_found() && !replace => return Err(error),
                    _ => references.push((name.clone(), image.image)),
                }
            }
        }
        Ok(Self { lists, new, references })
    }
}

/// Returns the store's own copy of a list. Rebuilds a damaged copy first if possible: the bundle may
/// bring less of the list than the store had.
fn own_list(shared: &Arc<StoreInner>, id: &ListId, shape: ListShape) -> Result<Option<OwnList>> {
    let found = OwnList::find(shared, id, None)?;
    let is_there = || names::list_and_locator(id).iter().any(|name| shared.storage.open(name).is_ok());
    if found.is_some() || !is_there() {
        return Ok(found);
    }
    heal::tables(shared, [*id])?;
    OwnList::find(shared, id, Some(shape))
}

fn all_names(loaded: &[LoadedImage]) -> Vec<(RefName, ImageId)> {
    loaded.iter().flat_map(|image| image.names.iter().map(|name| (name.clone(), image.image))).collect()
}

/// Returns the names of stored objects that the images need in addition to the loaded ones.
fn needs(images: &[Image], brought: &Publication, donors: &[PageFileId]) -> Vec<ObjectName> {
    let is_brought = |id: &ListId| brought.lists.iter().any(|list| list.id == *id);
    let lists: BTreeSet<ListId> =
        images.iter().flat_map(|image| image.manifest().lists.iter().map(|list| list.id)).collect();
    let lists = lists.iter().filter(|id| !is_brought(id));
    let lists = lists.flat_map(names::list_and_locator);
    lists.chain(donors.iter().map(names::page_file)).collect()
}

/// Returns the images with the names they are to get. Each name is used once.
fn names_of(bundle: &Bundle, images: &[Image], options: &LoadOptions<'_>) -> Result<Vec<LoadedImage>> {
    let mut names: BTreeMap<ImageId, Vec<RefName>> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (name, named) in bundle.names()? {
        taken.insert(name.clone());
        names.entry(named?.image).or_default().push(name);
    }
    let nameless = images.iter().filter(|image| !names.contains_key(&image.id())).count();
    let mut loaded = Vec::with_capacity(images.len());
    for image in images {
        let id = image.id();
        let own = match (names.remove(&id), &options.name) {
            (Some(own), _) => own,
            (None, Some(name)) if nameless == 1 && !taken.contains(name) => vec![name.clone()],
            (None, Some(name)) => vec![format!("{}:{id}", name.name()).parse()?],
            (None, None) => {
                let expected = "a name for it, since the bundle has none";
                return Err(BlockError::Invalid { what: "image", found: format!("@{id}"), expected }.into());
            }
        };
        let (content, size_bytes) = (image.manifest().content, image.size());
        loaded.push(LoadedImage { image: id, content, size_bytes, names: own });
    }
    Ok(loaded)
}
