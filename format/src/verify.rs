//! The truth about a store: everything is looked at, nothing is changed, and what is damaged is
//! told as ranges of the images that it hurts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::prelude::*;

use crate::content::{ContentHasher, span_digest};
use crate::device::BlockDevice;
use crate::digest::{Digest, Hasher, block_digest};
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::image::Image;
use crate::index::Digests;
use crate::limits::{BLOCK_LEN, SPAN_BLOCKS, TABLE_PAGE_RECORDS};
use crate::ondisk::header::HEADER_LEN;
use crate::ondisk::map_leaf::MapLeaf;
use crate::ondisk::pack;
use crate::storage::ReadAt;
use crate::store::list::List;
use crate::store::record::check_page_file_head;
use crate::store::{Shared, Store, VerifyMode, names, read_range};

/// How thoroughly to look.
#[derive(Default)]
pub struct VerifyOptions<'a> {
    /// Also decode every frame against its chunk id and compute every content id.
    pub full: bool,
    /// Called with how many chunks and pages were done.
    pub progress: Option<&'a (dyn Fn(u64) + Sync)>,
    /// Set from outside to stop.
    pub cancel: Option<&'a AtomicBool>,
}

impl std::fmt::Debug for VerifyOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyOptions").field("full", &self.full).finish_non_exhaustive()
    }
}

/// Something that is not as it must be.
#[derive(Debug)]
pub struct Damage {
    /// The image that it hurts; none for an object that no image looked at needs.
    pub image: Option<Digest>,
    /// First byte of the image's disk that is hurt.
    pub start: u64,
    /// Bytes; zero where the disk's size cannot be known.
    pub len: u64,
    /// What is wrong, and where.
    pub error: Error,
}

/// What was looked at and what was found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Images looked at.
    pub images: u64,
    /// Chunks looked at.
    pub chunks: u64,
    /// What is damaged.
    pub damaged: Vec<Damage>,
}

/// The chunks of a list that cannot be read, with one reason.
#[derive(Default)]
struct BadChunks {
    chunks: BTreeSet<u64>,
    reason: String,
    error: Option<Arc<Error>>,
}

struct Verifier<'a> {
    store: &'a Store,
    options: &'a VerifyOptions<'a>,
    report: VerifyReport,
    lists: BTreeMap<Digest, Option<Arc<List>>>,
    bad: BTreeMap<Digest, BadChunks>,
    steps: AtomicU64,
}

impl Store {
    /// Looks at these images, or at everything in the store where none are given.
    ///
    /// # Errors
    /// [`Error::Interrupted`], or when the storage cannot even list its objects. Damage is no
    /// error here: it is what is reported.
    pub fn verify(&self, images: &[Digest], options: &VerifyOptions<'_>) -> Result<VerifyReport> {
        let mut verifier = Verifier {
            store: self,
            options,
            report: VerifyReport::default(),
            lists: BTreeMap::new(),
            bad: BTreeMap::new(),
            steps: AtomicU64::new(0),
        };
        let everything = images.is_empty();
        let images = if everything { verifier.all_images()? } else { images.to_vec() };
        let opened = verifier.open_images(&images)?;
        if everything {
            verifier.all_lists()?;
            verifier.objects(names::PACKS, check_pack)?;
            verifier.objects(names::PAGES, check_page_file)?;
        }
        verifier.check_lists()?;
        if everything {
            verifier.unused_lists(&opened);
        }
        for image in &opened {
            verifier.image_extents(image)?;
            if options.full {
                verifier.content(image)?;
            }
        }
        Ok(verifier.report)
    }
}

impl Verifier<'_> {
    fn shared(&self) -> &Arc<Shared> {
        &self.store.shared
    }

    fn step(&self) -> Result<()> {
        if self.options.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
            return Err(Error::Interrupted);
        }
        let steps = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(progress) = self.options.progress {
            progress(steps);
        }
        Ok(())
    }

    fn damaged(&mut self, image: Option<Digest>, start: u64, len: u64, error: Error) {
        self.report.damaged.push(Damage { image, start, len, error });
    }

    /// For what is mostly the consequence of damage told of already.
    fn damaged_unless_told(&mut self, image: Digest, start: u64, len: u64, error: Error) {
        let told = |damage: &Damage| {
            damage.image == Some(image) && damage.start < start + len && start < damage.start + damage.len
        };
        if !self.report.damaged.iter().any(told) {
            self.damaged(Some(image), start, len, error);
        }
    }

    /// Every image that has a name or a manifest; names that cannot be read are damage.
    fn all_images(&mut self) -> Result<Vec<Digest>> {
        let mut images: BTreeSet<_> = self.shared().image_ids()?.into_iter().collect();
        for (_, named) in self.store.references()? {
            match named {
                Ok(named) => drop(images.insert(named.image)),
                Err(error) => self.damaged(None, 0, 0, error),
            }
        }
        Ok(images.into_iter().collect())
    }

    /// Opens images and checks their trees; those whose record is sound are given.
    fn open_images(&mut self, ids: &[Digest]) -> Result<Vec<Image>> {
        let mut opened = Vec::new();
        for id in ids {
            self.step()?;
            self.report.images += 1;
            match self.store.image_by_id(*id) {
                Ok(image) => {
                    self.trees(&image)?;
                    opened.push(image);
                }
                Err(error) => self.damaged(Some(*id), 0, 0, error),
            }
        }
        Ok(opened)
    }

    /// Every page of both trees, and what they must add up to.
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
            let fault = Fault::DataBlocks { found: image.manifest().data_blocks, blocks: data_blocks };
            self.damaged(Some(id), 0, size, Error::corrupt(image.name(), 0, fault));
        }
        self.content_of_spans(image)
    }

    /// The span pages must give the manifest's content id.
    fn content_of_spans(&mut self, image: &Image) -> Result<()> {
        let (id, size) = (image.id(), image.size());
        let spans = match image.record.span_root() {
            Ok(root) => spans_of(image, &root),
            Err(error) => Err(error),
        };
        match spans {
            Ok(spans) => {
                let geometry = image.manifest().geometry;
                let found = ContentHasher::of_spans(size, geometry.spans(), spans);
                if found != image.manifest().content {
                    let (expected, found) = (image.manifest().content.to_string(), found.to_string());
                    let fault = Fault::ContentId { expected, found };
                    self.damaged(Some(id), 0, size, Error::corrupt(image.name(), 0, fault));
                }
            }
            Err(error) => self.damaged(Some(id), 0, size, error),
        }
        Ok(())
    }

    fn open_list(
        &mut self,
        id: &Digest,
        shape: Option<crate::ondisk::list::ListShape>,
        image: Option<&Image>,
    ) {
        if self.lists.contains_key(id) {
            return;
        }
        let opened = self.shared().list(id, shape).and_then(|list| list.root().map(|_| ()).map(|()| list));
        let opened = match opened {
            Ok(list) => Some(list),
            Err(error) => {
                // An image that uses it will be told by its extents; else it is told here.
                if image.is_none() {
                    self.damaged(None, 0, 0, error);
                } else {
                    let reason = text_of(&error);
                    self.bad.insert(
                        *id,
                        BadChunks { reason, error: Some(Arc::new(error)), ..Default::default() },
                    );
                }
                None
            }
        };
        self.lists.insert(*id, opened);
    }

    fn all_lists(&mut self) -> Result<()> {
        let listed = self.shared().storage.list(names::LISTS);
        for object in listed.map_err(|error| Error::io("list", names::LISTS, error))? {
            if let Some(id) = names::digest_of(&object.name) {
                self.open_list(&id, None, None);
            }
        }
        Ok(())
    }

    /// Every object of a folder, apart from what images need of it.
    fn objects(&mut self, folder: &'static str, check: fn(&Shared, &str) -> Result<()>) -> Result<()> {
        let listed = self.shared().storage.list(folder);
        for object in listed.map_err(|error| Error::io("list", folder, error))? {
            self.step()?;
            if let Err(error) = check(self.shared(), &object.name) {
                self.damaged(None, 0, 0, error);
            }
        }
        Ok(())
    }

    /// Every page of ids and places, every place; in full mode every frame.
    fn check_lists(&mut self) -> Result<()> {
        let lists: Vec<_> = self.lists.values().flatten().cloned().collect();
        for list in lists {
            let pages = list.shape.pages();
            for page in 0..pages {
                let first = page * TABLE_PAGE_RECORDS;
                let chunks = first..(first + TABLE_PAGE_RECORDS).min(list.shape.chunks());
                self.report.chunks += chunks.end - chunks.start;
                let checked: Vec<_> =
                    chunks.into_par_iter().map(|chunk| (chunk, self.check_chunk(&list, chunk))).collect();
                for (chunk, result) in checked {
                    match result {
                        Ok(()) => {}
                        Err(Error::Interrupted) => return Err(Error::Interrupted),
                        Err(error) => self.bad_chunk(&list.id, chunk, error),
                    }
                }
            }
        }
        Ok(())
    }

    fn bad_chunk(&mut self, list: &Digest, chunk: u64, error: Error) {
        let bad = self.bad.entry(*list).or_default();
        bad.chunks.insert(chunk);
        if bad.error.is_none() {
            bad.reason = text_of(&error);
            bad.error = Some(Arc::new(error));
        }
    }

    fn check_chunk(&self, list: &List, chunk: u64) -> Result<()> {
        self.step()?;
        if self.options.full {
            let id = list.chunk_id(chunk)?;
            self.shared().load_chunk(list, chunk, &id, VerifyMode::Full).map(drop)
        } else {
            list.chunk_id(chunk)?;
            let locator = list.locator()?;
            list.places(&locator, chunk)?.iter().try_for_each(|(place, id)| {
                let name = names::object(names::PACKS, id);
                let pack = self.shared().open_checked(&name, pack::FRAMES_OFFSET, pack::decode_head)?;
                let (end, max) = (u64::from(place.offset) + u64::from(place.len), pack.len());
                if end <= max {
                    Ok(())
                } else {
                    Err(Error::corrupt(name, end, Fault::FramePlace { end, max }))
                }
            })
        }
    }

    /// Tells of bad chunks in lists that no image uses: nobody reads them, but imports share them.
    fn unused_lists(&mut self, images: &[Image]) {
        let used: BTreeSet<_> =
            images.iter().flat_map(|image| image.manifest().lists.iter().map(|list| list.id)).collect();
        let unused: Vec<_> = self.bad.iter().filter(|(id, _)| !used.contains(*id)).collect();
        let told: Vec<_> = unused.into_iter().map(|(id, bad)| unreadable(id, bad.reason.clone())).collect();
        for error in told {
            self.damaged(None, 0, 0, error);
        }
    }

    /// Tells what bad chunks mean for an image.
    fn image_extents(&mut self, image: &Image) -> Result<()> {
        if self.bad.is_empty() {
            return Ok(());
        }
        let size = image.size();
        let mut hurt: Vec<(u64, u64, Digest)> = Vec::new();
        for leaf in 0..image.manifest().geometry.leaves() {
            // A leaf that cannot be read was told of already.
            let _ = image.for_each_piece(leaf, |piece| {
                if let Some((list, source)) = piece.source
                    && let Some(bad) = self.bad.get(&list)
                {
                    let shape = image.record.list_shape(&list)?;
                    bad.ranges(source, piece.blocks, u64::from(shape.chunk_blocks), |first, blocks| {
                        let start = (piece.start + first - source) * BLOCK_LEN as u64;
                        hurt.push((start, (blocks * BLOCK_LEN as u64).min(size - start), list));
                    });
                }
                Ok(())
            });
        }
        hurt.dedup_by(|next, last| {
            let joins = last.0 + last.1 == next.0 && last.2 == next.2;
            if joins {
                last.1 += next.1;
            }
            joins
        });
        for (start, len, list) in hurt {
            let reason = self.bad.get(&list).map(|bad| bad.reason.clone()).unwrap_or_default();
            self.damaged(Some(image.id()), start, len, unreadable(&list, reason));
        }
        Ok(())
    }

    /// Computes every span digest from the blocks' digests, which their chunk ids prove.
    fn content(&mut self, image: &Image) -> Result<()> {
        let spans = match image.record.span_root().and_then(|root| spans_of(image, &root)) {
            Ok(spans) => spans,
            Err(error) => {
                self.damaged_unless_told(image.id(), 0, image.size(), error);
                return Ok(());
            }
        };
        let expected: BTreeMap<u64, Digest> = spans.into_iter().collect();
        let mut digests = Digests::new(self.shared());
        let leaf_spans = image.manifest().geometry.leaf_blocks() / SPAN_BLOCKS;
        for leaf in 0..image.manifest().geometry.leaves() {
            self.step()?;
            let range = leaf * leaf_spans..(leaf + 1) * leaf_spans;
            let found = match image.slot_of(leaf).map(|_| leaf_span_digests(image, leaf, &mut digests)) {
                None if expected.range(range.clone()).next().is_none() => continue,
                None => BTreeMap::new(),
                Some(Ok(found)) => found,
                Some(Err(error)) => {
                    let leaf_len = leaf_spans * SPAN_BLOCKS * BLOCK_LEN as u64;
                    let start = leaf * leaf_len;
                    self.damaged_unless_told(image.id(), start, leaf_len.min(image.size() - start), error);
                    continue;
                }
            };
            let wrong = range.filter(|span| expected.get(span) != found.get(span)).collect::<Vec<_>>();
            for span in wrong {
                let start = span * SPAN_BLOCKS * BLOCK_LEN as u64;
                let text = |digest: Option<&Digest>| digest.map_or("zeros".into(), Digest::to_string);
                let fault =
                    Fault::ContentId { expected: text(expected.get(&span)), found: text(found.get(&span)) };
                let len = (SPAN_BLOCKS * BLOCK_LEN as u64).min(image.size() - start);
                self.damaged(Some(image.id()), start, len, Error::corrupt(image.name(), start, fault));
            }
        }
        Ok(())
    }
}

impl BadChunks {
    /// Calls `each` with the parts of blocks `source..source + blocks` that lie in bad chunks.
    fn ranges(&self, source: u64, blocks: u64, chunk_blocks: u64, mut each: impl FnMut(u64, u64)) {
        let end = source + blocks;
        if self.chunks.is_empty() {
            return each(source, blocks); // the whole list is bad
        }
        for chunk in self.chunks.range(source / chunk_blocks..=(end - 1) / chunk_blocks) {
            let first = (chunk * chunk_blocks).max(source);
            each(first, ((chunk + 1) * chunk_blocks).min(end) - first);
        }
    }
}

/// Chunks of a list cannot be read, for this reason.
fn unreadable(list: &Digest, reason: String) -> Error {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidData, reason);
    Error::Io { operation: "read chunks of", object: names::object(names::LISTS, list), source }
}

/// Every extent must lie in a list that the manifest names.
fn check_sources(image: &Image, leaf: &MapLeaf) -> Result<()> {
    for extent in &leaf.extents {
        let list = leaf.lists.get(extent.list as usize).copied().unwrap_or_default();
        let max = image.record.list_shape(&list)?.blocks;
        let block = extent.source + extent.blocks;
        if block > max {
            return Err(Error::corrupt(image.name(), 0, Fault::ExtentRange { block, max }));
        }
    }
    Ok(())
}

/// The error and its causes in one line.
fn text_of(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

fn spans_of(image: &Image, root: &[crate::ondisk::digest_table::Entry]) -> Result<Vec<(u64, Digest)>> {
    let leaf_spans = image.manifest().geometry.leaf_blocks() / SPAN_BLOCKS;
    let mut spans = Vec::new();
    for (slot, leaf) in root.iter().enumerate() {
        let page = image.record.span_page(root, slot)?;
        let base = u64::from(leaf.index) * leaf_spans;
        spans.extend(page.iter().map(|entry| (base + u64::from(entry.index), entry.digest)));
    }
    Ok(spans)
}

fn leaf_span_digests(image: &Image, leaf: u64, digests: &mut Digests) -> Result<BTreeMap<u64, Digest>> {
    let zero = block_digest(&[0; BLOCK_LEN]);
    let mut found = BTreeMap::new();
    let mut span: Vec<Option<Digest>> = Vec::with_capacity(SPAN_BLOCKS as usize);
    let mut number = leaf * image.manifest().geometry.leaf_blocks() / SPAN_BLOCKS;
    let mut end = |span: &mut Vec<Option<Digest>>, number: &mut u64| {
        if let Some(digest) = span_digest(span) {
            found.insert(*number, digest);
        }
        *number += 1;
        span.clear();
    };
    image.for_each_piece(leaf, |piece| {
        let mut block = 0;
        while block < piece.blocks {
            match piece.source {
                // Whole spans of zeros have no digest: they are passed over.
                None if span.is_empty() && piece.blocks - block >= SPAN_BLOCKS => {
                    let spans = (piece.blocks - block) / SPAN_BLOCKS;
                    number += spans;
                    block += spans * SPAN_BLOCKS;
                    continue;
                }
                None => span.push(None),
                // A zero block that somebody stored reads as zeros like any other.
                Some((list, source)) => {
                    span.push(Some(digests.of(&list, source + block)?).filter(|digest| *digest != zero));
                }
            }
            block += 1;
            if span.len() as u64 == SPAN_BLOCKS {
                end(&mut span, &mut number);
            }
        }
        Ok(())
    })?;
    if !span.is_empty() {
        end(&mut span, &mut number);
    }
    Ok(found)
}

/// Header and id of a page file. Its pages are checked by the images that place them; others may
/// lie between.
fn check_page_file(shared: &Shared, name: &str) -> Result<()> {
    let object = open_anew(shared, name)?;
    let head = read_range(object.as_ref(), name, 0, HEADER_LEN as u64)?;
    let corrupt = |fault| Error::corrupt(name, 0, fault);
    check_page_file_head(&head).map_err(corrupt)?;
    let mut hasher = Hasher::object();
    let mut offset = 0;
    while offset < object.len() {
        let piece = read_range(object.as_ref(), name, offset, (object.len() - offset).min(1 << 20))?;
        hasher.update(&piece);
        offset += piece.len() as u64;
    }
    check_name(name, &hasher.finish())
}

/// Whether an object has the id in its name.
fn check_name(name: &str, found: &Digest) -> Result<()> {
    if names::digest_of(name) == Some(*found) {
        return Ok(());
    }
    let expected = names::digest_of(name).map(|id| id.to_string()).unwrap_or_default();
    Err(Error::corrupt(name, 0, Fault::PageDigest { expected, found: found.to_string() }))
}

/// Opens an object beside those that are kept open, which all had their heads checked.
fn open_anew(shared: &Shared, name: &str) -> Result<Arc<dyn ReadAt>> {
    shared.storage.open(name).map_err(|error| Error::io("open", name, error))
}

fn check_pack(shared: &Shared, name: &str) -> Result<()> {
    let object = open_anew(shared, name)?;
    let len = object.len();
    let corrupt = |offset| move |fault| Error::corrupt(name, offset, fault);
    let head = read_range(object.as_ref(), name, 0, pack::FRAMES_OFFSET)?;
    pack::decode_head(&head).map_err(corrupt(0))?;
    let tail_len = pack::TRAILER_LEN.min(len);
    let tail = read_range(object.as_ref(), name, len - tail_len, tail_len)?;
    let trailer = pack::decode_trailer(&tail, len).map_err(corrupt(len - tail_len))?;
    let index = read_range(object.as_ref(), name, trailer.index_offset(), trailer.index_len())?;
    pack::decode_index(&head, &index, &trailer).map_err(corrupt(trailer.index_offset()))?;
    check_name(name, &trailer.id)
}
