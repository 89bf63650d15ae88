//! What a store lacks of a bundle's images, all or nothing.
//!
//! Ids are kept: records, lists and chunks are those of the bundle. A chunk that the store has, in the
//! same list or in another, is not stored again; of one that it has in part, the rest is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::chunks::check_cancel;
use super::known_chunks::{KnownChunks, WINDOW};
use super::load_frames::FrameWriter;
use super::load_pages::StagedPages;
use crate::digest::Digest;
use crate::error::{BlockError, Error, ErrorKind, Result, StoreError};
use crate::heal::{self, Health};
use crate::image::{BlockSet, ChunkBlocks, Image, ListBlocks};
use crate::limits::{BLOCK_LEN, LEVEL_DEFAULT, TABLE_PAGE_RECORDS};
use crate::ondisk::list::ListShape;
use crate::store::commit::{Naming, Publication};
use crate::store::journal::recover;
use crate::store::list_writer::{LocatorWriter, write_list};
use crate::store::merge::{OwnList, StagedList};
use crate::store::record::Record;
use crate::store::stage::Stage;
use crate::store::{ImageRef, RefName, Shared, Store, names};
use melv_block::BlockDevice;

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
    /// All or nothing, as an import is. Memory: 16 bytes for each extent of the images, or 1.25 bits for
    /// each block where that is less; 80 bytes for each of the first quarter million chunks; and 16 MiB.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for a name in use by another image; damage of the bundle; [`BlockError::NoSpace`];
    /// [`BlockError::Interrupted`].
    pub fn load(&self, bundle: &Self, options: &LoadOptions<'_>) -> Result<LoadReport> {
        let (mut tries, mut hurt) = (1, BTreeSet::new());
        loop {
            match Load::new(self, bundle, options, &hurt).and_then(Load::run) {
                Err(error) if error.kind() == ErrorKind::Conflict && tries < TRIES => tries += 1,
                Err(error) => match list_of(&error) {
                    // A list of this store is damaged, and may be made again by what else there is of it; else
                    // nothing of it is built on.
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

/// The list whose tables, or whose locator's, an error says are damaged.
fn list_of(error: &Error) -> Option<Digest> {
    let Some(StoreError::Corrupt { object, .. }) = error.detail() else { return None };
    let is_table = [names::LISTS, names::LOCATORS].iter().any(|folder| object.starts_with(folder));
    names::digest_of(object).filter(|_| is_table)
}

/// Locators that wait for the ids of the packs being written; each takes some memory.
const WAITING_MAX: usize = 128;

/// One try.
struct Load<'a> {
    store: &'a Store,
    bundle: &'a Store,
    options: &'a LoadOptions<'a>,
    stage: Stage,
    images: Vec<Image>,
    loaded: Vec<LoadedImage>,
    /// What the images are made of, and what the store has of those lists.
    blocks: BlockSet,
    seen: Seen,
    health: Arc<Health>,
}

/// The store as it was committed when the try began: what it held then it holds at the end, too.
struct Seen {
    lists: HashMap<Digest, OwnList>,
    /// Images that are not there whole.
    new: BTreeSet<Digest>,
    references: Vec<(RefName, Digest)>,
}

impl<'a> Load<'a> {
    /// Of lists in `hurt`, nothing that the store has is built on unread.
    fn new(
        store: &'a Store,
        bundle: &'a Store,
        options: &'a LoadOptions<'a>,
        hurt: &BTreeSet<Digest>,
    ) -> Result<Self> {
        let stage = Stage::begin(&store.shared)?;
        let ids: BTreeSet<Digest> = if options.images.is_empty() {
            bundle.shared.image_ids()?.into_iter().collect()
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
        let naming = if self.options.replace { Naming::Replace } else { Naming::Same };
        // New records need a name, be it one that they have already: names are what a commit is known by.
        let references = if new.is_empty() { self.seen.references.clone() } else { all_names(&self.loaded) };
        let mut publication = Publication { references, naming, ..Publication::default() };
        self.chunks(&mut publication)?;
        let files = StagedPages::new(&self.stage, self.donors(&new)?).write(&new, &mut publication)?;
        publication.needs = needs(&new, &publication, &files);
        if !publication.lists.is_empty() && publication.references.is_empty() {
            publication.references = all_names(&self.loaded);
        }
        self.stage.sync_all()?;
        check_cancel(self.options.cancel)?;
        let nothing = publication.references.is_empty() && new.is_empty();
        let mut stored_bytes = if nothing { 0 } else { self.stage.commit_then(&publication, |_| ())? };
        let shared = &self.store.shared;
        heal::remember(shared, &publication.objects);
        stored_bytes += heal::after_commit(shared, &self.health, LEVEL_DEFAULT).stored_bytes;
        Ok(LoadReport { images: self.loaded, stored_bytes })
    }

    /// Images of the store whose pages the new ones may have too: bases and parents.
    fn donors(&self, new: &[Image]) -> Result<Vec<Image>> {
        let bases = self.bundle.shared.bases().map(|(_, records)| records).unwrap_or_default();
        let ids: BTreeSet<Digest> =
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

    /// Stages all blocks of the images that the store lacks.
    fn chunks(&self, publication: &mut Publication) -> Result<()> {
        let all: u64 = self.blocks.lists().map(|(_, list)| list.blocks()).sum();
        let known = KnownChunks::open(&self.store.shared, &self.health)?;
        let mut frames = FrameWriter::new(&self.stage, &self.bundle.shared);
        let mut waiting = Vec::new();
        let mut done = 0;
        for ((id, list), number) in self.blocks.lists().zip(0..) {
            waiting.extend(self.list(id, list, number, &known, &mut frames, &mut |blocks| {
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

    /// Ends the packs, and with them the locators that name them.
    fn finish_locators(
        &self,
        frames: &mut FrameWriter<'_>,
        waiting: &mut Vec<(LocatorWriter, StagedList)>,
        publication: &mut Publication,
    ) -> Result<()> {
        let pack_ids = frames.finish_packs(&mut publication.objects)?;
        for (writer, staged) in waiting.drain(..) {
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
        frames: &mut FrameWriter<'_>,
        done: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<Option<(LocatorWriter, StagedList)>> {
        let from = self.bundle.shared.list(id, Some(blocks.shape))?;
        // The shape is the list's own from here on, not what a manifest says.
        let (root, shape) = (from.root_bytes()?, from.root()?.shape);
        let own = self.seen.lists.get(id);
        let over = own.map(|own| own.locator.digest);
        let (list, locator) = (format!("list-{number}"), format!("locator-{number}"));
        let mut writer: Option<LocatorWriter> = None;
        let mut pages = BTreeSet::new();
        let mut chunks = blocks.chunks().peekable();
        while chunks.peek().is_some() {
            let window: Vec<_> = chunks.by_ref().take(WINDOW).collect();
            for batch in known.lacking(&window, own, &from)?.chunks(frames.batch(&blocks.shape)) {
                let writer = match &mut writer {
                    Some(writer) => writer,
                    none => none.insert(LocatorWriter::begin(
                        &self.stage,
                        locator.clone(),
                        Some(blocks.shape.chunks()),
                    )?),
                };
                for ((chunk, _), frame) in batch.iter().zip(frames.write(&from, batch)?) {
                    writer.skip(&self.stage, chunk - writer.position())?;
                    writer.chunk(&self.stage, &[frame])?;
                    pages.insert(chunk / TABLE_PAGE_RECORDS);
                }
                check_cancel(self.options.cancel)?;
            }
            done(window.iter().map(ChunkBlocks::count).sum())?;
        }
        let Some(mut writer) = writer else { return Ok(None) };
        writer.skip(&self.stage, blocks.shape.chunks() - writer.position())?;
        writer.flush(&self.stage)?;
        let page = |page: u64| pages.contains(&page).then(|| from.page(page)).transpose();
        write_list(&self.stage, &list, &shape, &root, page)?;
        let (list, locator) = (self.stage.staged(&list), self.stage.staged(&locator));
        let suspects = self.health.suspects_of(id);
        Ok(Some((writer, StagedList { id: *id, list, locator, over: Some(over), suspects })))
    }
}

impl Seen {
    /// Looks at the store. Lists and records are looked at without its lock, for that may take long: what a
    /// living writer publishes just now and takes back again, the commit finds out.
    fn look(
        store: &Store,
        blocks: &BlockSet,
        loaded: &[LoadedImage],
        replace: bool,
        health: &Health,
        hurt: &BTreeSet<Digest>,
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
            match Record::check(shared, image.image) {
                Ok(()) => {}
                Err(error) if error.is_transient() => return Err(error),
                Err(_) => {
                    new.insert(image.image);
                    // So that damaged page files that it leaves behind are known.
                    let own = Record::open(shared, image.image);
                    let files = own.map(|own| own.places.files).unwrap_or_default();
                    files.iter().try_for_each(|file| health.page_file(file).map(|_| ()))?;
                }
            }
        }
        let _lock = shared.lock()?;
        recover(shared)?;
        let mut references = Vec::new();
        for image in loaded {
            let record = names::object(names::MANIFESTS, &image.image);
            if shared.storage.open(&record).is_err() {
                new.insert(image.image);
            }
            for name in &image.names {
                match shared.reference(name) {
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

/// A list as the store has it. One that is damaged is made again first, if that can be: what is brought of
/// it may be less than there was.
fn own_list(shared: &Arc<Shared>, id: &Digest, shape: ListShape) -> Result<Option<OwnList>> {
    let found = OwnList::find(shared, id, None)?;
    let is_there = || {
        let folders = [names::LISTS, names::LOCATORS];
        folders.iter().any(|folder| shared.storage.open(&names::object(folder, id)).is_ok())
    };
    if found.is_some() || !is_there() {
        return Ok(found);
    }
    heal::tables(shared, [*id])?;
    OwnList::find(shared, id, Some(shape))
}

fn all_names(loaded: &[LoadedImage]) -> Vec<(RefName, Digest)> {
    loaded.iter().flat_map(|image| image.names.iter().map(|name| (name.clone(), image.image))).collect()
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

/// The images, with the names that they are to get: each name once.
fn names_of(bundle: &Store, images: &[Image], options: &LoadOptions<'_>) -> Result<Vec<LoadedImage>> {
    let mut names: BTreeMap<Digest, Vec<RefName>> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (name, named) in bundle.references()? {
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
                let expected = "a name for it: the bundle has none";
                return Err(BlockError::Invalid { what: "image", found: format!("@{id}"), expected }.into());
            }
        };
        let (content, size_bytes) = (image.manifest().content, image.size());
        loaded.push(LoadedImage { image: id, content, size_bytes, names: own });
    }
    Ok(loaded)
}
