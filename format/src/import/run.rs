//! An import from start to end.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::deduplicator::{Deduplicator, DeduplicatorParts};
use super::options::{ImportOptions, ImportReport, Progress};
use super::packer::Packer;
use super::pipeline::Pipeline;
use super::span_source::SpanSource;
use super::trees::{FinishedTrees, KnownPages, SpanTable, TreeBuilder, root_digest};
use crate::content::ContentHasher;
use crate::digest::{ImageId, ListId, object_digest};
use crate::error::{Result, StoreError};
use crate::heal::{self, Health};
use crate::image::{Image, SourceCursor};
use crate::index::{self, CommittedIndex, PendingIndex};
use crate::limits::{BLOCK_BITS, BLOCK_LEN, LEAF_BITS_MIN, LEAVES_MAX};
use crate::ondisk::manifest::{Geometry, ListUse, Manifest};
use crate::ondisk::record;
use crate::storage::ObjectName;
use crate::store::commit::{OnExisting, Publication};
use crate::store::journal::committed_lists;
use crate::store::merge::{Based, StagedList};
use crate::store::stage::{Move, Stage};
use crate::store::{Store, StoreInner, names};
use crate::write::{ObjectKind, WrittenList, write_whole};
use melv_block::SectorBits;
use melv_block::{Source, SourceKind};

/// The largest size in bytes for a stream; its leaves are laid out before its size is known.
const STREAM_SIZE_MAX: u64 = LEAVES_MAX << (LEAF_BITS_MIN + BLOCK_BITS);

impl Store {
    /// Imports a disk, on all threads of the current `rayon` pool.
    ///
    /// Atomic: after an error, or if the process or the machine dies, the store is unchanged. Memory: about 8
    /// MiB a thread, 60 MiB for the new blocks, and 0.9 bytes per block in the store. A store of 1 TiB takes
    /// 235 MiB.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for a name in use; [`StoreError::SizeMismatch`] and [`StoreError::ContentMismatch`] for a disk
    /// that differs from the options; [`BlockError::Changed`](crate::BlockError::Changed) if a file was modified during the import;
    /// [`BlockError::NoSpace`](crate::BlockError::NoSpace); [`BlockError::Interrupted`](crate::BlockError::Interrupted); any error from reading the disk.
    pub fn import(&self, source: Source<'_>, options: &ImportOptions<'_>) -> Result<ImportReport> {
        options.check()?;
        let shared = &self.shared;
        if !options.replace && shared.storage.open(&options.name.object()).is_ok() {
            return Err(StoreError::Exists { what: "name", name: options.name.to_string() }.into());
        }
        let stage = Stage::begin(shared)?;
        let parent = options.parent.as_ref().map(|parent| self.image(parent)).transpose()?;
        let finished = run(self, &stage, source, parent.as_ref(), options)?;
        commit(stage, finished, options)
    }
}

/// Does all the work up to the commit.
fn run(
    store: &Store,
    stage: &Stage,
    source: Source<'_>,
    parent: Option<&Image>,
    options: &ImportOptions<'_>,
) -> Result<Finished> {
    let health = Arc::new(Health::new(&store.shared));
    let committed = open_index(&store.shared, &health, options)?;
    let (size, device) = match &source.kind {
        SourceKind::Device(device) => (Some(device.size()), Some(*device)),
        SourceKind::Spans(spans) => (Some(spans.size()), None),
        SourceKind::Stream(_) => (None, None),
    };
    let sectors = match &source.kind {
        SourceKind::Device(device) => device.sector_bits(),
        SourceKind::Spans(spans) => spans.sector_bits(),
        SourceKind::Stream(_) => SectorBits::default(),
    };
    let name = source.name.clone();
    size.map_or(Ok(()), |size| options.check_size(&name, size))?;
    let feed = SpanSource::new(source, options, STREAM_SIZE_MAX);
    let deduplicator = begin_deduplicator(stage, committed, parent, size, &health, options)?;
    let packer = Packer::new(stage, options.chunk_blocks);
    let (feed, deduplicator, packer) =
        Pipeline::new(options, device, size, feed, deduplicator, packer).run()?;
    let size_bytes = size.unwrap_or(feed.offset());
    if let Some(progress) = options.progress {
        progress(Progress { done_bytes: size_bytes, size_bytes: size });
    }

    let finished =
        finish(stage, deduplicator.into_parts(), packer, (size_bytes, sectors), parent, health, options)?;
    options.check_content(&name, finished.report.content)?;
    Ok(finished)
}

/// Opens the index over the committed lists. Damaged lists are repaired if possible; otherwise their blocks
/// are stored again.
fn open_index(
    shared: &Arc<StoreInner>,
    health: &Arc<Health>,
    options: &ImportOptions<'_>,
) -> Result<CommittedIndex> {
    let mut index = CommittedIndex::open(shared, &committed_lists(shared)?, health)?;
    if !index.unopened().is_empty() {
        let damaged: Vec<_> = index.unopened().iter().map(|(id, _)| *id).collect();
        let healed = heal::tables(shared, damaged)?;
        if !healed.is_empty() {
            tracing::warn!(lists = healed.len(), "damaged chunk lists were rebuilt");
            index = CommittedIndex::open(shared, &committed_lists(shared)?, health)?;
        }
        index.unopened().iter().for_each(|(id, error)| health.add_tables(id, error));
    }
    if options.check_shared {
        index.decode_all();
    }
    Ok(index)
}

fn begin_deduplicator<'a>(
    stage: &'a Stage,
    committed: CommittedIndex,
    parent: Option<&Image>,
    size: Option<u64>,
    health: &Health,
    options: &ImportOptions<'_>,
) -> Result<Deduplicator<'a>> {
    let geometry = Geometry::of_size(size.unwrap_or(STREAM_SIZE_MAX));
    geometry.check().map_err(|fault| StoreError::corrupt("the disk", 0, fault))?;
    let known = parent.map(|parent| KnownPages::of(parent, health)).transpose()?.unwrap_or_default();
    let trees = TreeBuilder::new(
        stage,
        geometry.leaf_blocks(),
        known,
        committed.lists().map(|list| list.id).collect(),
    );
    let content = size.map(|size| ContentHasher::new(size, geometry.spans()));
    let spans = SpanTable::new(geometry.leaf_blocks(), content);
    let cursor = parent.cloned().map(SourceCursor::new);
    Ok(Deduplicator::new(committed, PendingIndex::new(stage), cursor, options.chunk_blocks, trees, spans))
}

/// An import that is fully written but not yet published.
struct Finished {
    publication: Publication,
    report: ImportReport,
    health: Arc<Health>,
    /// The input for the index: lists, staged logs, staged segment.
    index: Option<(Vec<ListId>, Vec<ObjectName>, ObjectName)>,
}

fn finish(
    stage: &Stage,
    parts: DeduplicatorParts<'_>,
    packer: Packer<'_>,
    (size_bytes, sectors): (u64, SectorBits),
    parent: Option<&Image>,
    health: Arc<Health>,
    options: &ImportOptions<'_>,
) -> Result<Finished> {
    let (new_lists, mut moves) = packer.finish()?;
    let geometry = Geometry {
        logical_bits: sectors.logical,
        physical_bits: sectors.physical,
        ..Geometry::of_size(size_bytes)
    };
    let mut trees = parts.trees;
    let content = parts.spans.finish(&mut trees, size_bytes, geometry.spans())?;
    let uses: Vec<ListUse> = parts
        .lists
        .iter()
        .map(|list| ListUse { id: list.id, shape: list.shape })
        .chain(new_lists.iter().map(|list| ListUse { id: list.id, shape: list.shape }))
        .collect();
    let new_ids: Vec<ListId> = new_lists.iter().map(|list| list.id).collect();
    let used = trees.finish_leaves(&new_ids)?;
    let lists = used.into_iter().filter_map(|number| uses.get(number as usize).copied());
    let lists: BTreeMap<ListId, ListUse> = lists.map(|list| (list.id, list)).collect();
    let trees = trees.finish(&mut moves)?;
    let manifest = Manifest {
        geometry,
        data_blocks: parts.data_blocks,
        content,
        map_root: root_digest(&trees.map_root),
        span_root: root_digest(&trees.span_root),
        parent: parent.map(Image::id).unwrap_or_default(),
        lists: lists.into_values().collect(),
        metadata: metadata(options),
    };
    let (image, record) = write_record(stage, &manifest, &trees)?;
    let index = parts.pending.finish(&new_ids)?.map(|(logs, segment)| (new_ids, logs, segment));
    let report = ImportReport {
        image,
        content,
        name: options.name.clone(),
        size_bytes,
        data_bytes: parts.data_blocks * BLOCK_LEN as u64,
        new_bytes: parts.new_blocks * BLOCK_LEN as u64,
        stored_bytes: 0,
    };
    let lists = new_lists.into_iter().map(|written| staged(written, &health));
    let mut publication = Publication {
        created_seconds: None,
        objects: moves,
        lists: lists.collect(),
        records: vec![record],
        references: vec![(options.name.clone(), image)],
        on_existing: OnExisting::replacing(options.replace),
        needs: Vec::new(),
    };
    publication.needs = needs(&manifest, &trees, &publication);
    Ok(Finished { publication, report, health, index })
}

fn staged(written: WrittenList<Move>, health: &Health) -> StagedList {
    let WrittenList { id, shape, list: (list, _), locator: (locator, _) } = written;
    let mut suspects = health.suspects_of(&id);
    if health.tables().contains(&id) {
        Arc::make_mut(&mut suspects).add(0, shape.chunks());
    }
    StagedList { id, list, locator, based: Based::Anything, suspects }
}

/// Returns the names of the objects that the image needs and this import does not add.
fn needs(manifest: &Manifest, trees: &FinishedTrees, brought: &Publication) -> Vec<ObjectName> {
    let is_brought = |id: &ListId| brought.lists.iter().any(|list| list.id == *id);
    let lists = manifest
        .lists
        .iter()
        .filter(|list| !is_brought(&list.id))
        .flat_map(|list| names::list_and_locator(&list.id));
    let pages = trees.places.files.iter().map(names::page_file);
    let is_page_file = |name: &ObjectName| brought.objects.iter().any(|(_, to)| to == name);
    lists.chain(pages.filter(|name| !is_page_file(name))).collect()
}

/// Returns the caller's metadata, plus the settings that a later commit reuses.
fn metadata(options: &ImportOptions<'_>) -> BTreeMap<String, String> {
    let mut metadata = options.metadata.clone();
    metadata.insert("melv.level".into(), options.level.to_string());
    metadata.insert("melv.chunk-bytes".into(), (options.chunk_blocks as usize * BLOCK_LEN).to_string());
    metadata
}

/// Stages the record. Returns the image's id and the record.
fn write_record(stage: &Stage, manifest: &Manifest, trees: &FinishedTrees) -> Result<(ImageId, Move)> {
    let bytes = manifest.encode();
    // The manifest must be readable, so it passes the reader's checks first.
    Manifest::decode(&bytes).map_err(|fault| StoreError::corrupt("the new manifest", 0, fault))?;
    let record = record::encode(&bytes, &trees.places, &trees.map_root, &trees.span_root);
    let image = ImageId::new(object_digest(&bytes));
    Ok((image, write_whole(stage, ObjectKind::Record, &image.digest(), &record)?))
}

fn commit(stage: Stage, finished: Finished, options: &ImportOptions<'_>) -> Result<ImportReport> {
    stage.sync_all()?;
    if let Some(check) = options.before_commit {
        check()?;
    }
    options.check_cancel()?;
    let Finished { publication, mut report, health, index } = finished;
    let shared = stage.shared.clone();
    let entries = report.new_bytes / BLOCK_LEN as u64;
    report.stored_bytes = stage.commit(&publication, |stage| {
        if let Some((lists, logs, segment)) = index
            && let Err(error) = index::add_lists(stage, &lists, logs, segment, entries)
        {
            tracing::warn!(%error, "cannot update the block index; the next import will");
        }
    })?;
    heal::remember(&shared, &publication.objects);
    report.stored_bytes += heal::after_commit(&shared, &health, options.level).stored_bytes;
    Ok(report)
}
