//! A bundle forger: changes anything, then recomputes every digest it can.

use std::ops::Range;

use melv_format::Digest;
use melv_format::digest::{ChunkId, object_digest, page_digest};
use melv_format::ondisk::bundle::{Object, ObjectKind};
use melv_format::ondisk::locator::{self, FramePlace, LocatorRoot};
use melv_format::ondisk::record::{HEAD_LEN, PagePlace, Places, RecordHead};

use super::model::Model;
use crate::random::Rng;

/// A structure in an object of a bundle.
#[derive(Debug, Clone)]
pub struct Site {
    pub what: What,
    /// The object's number in the sound table.
    pub object: usize,
    pub at: u64,
    pub len: u64,
}

/// The kind of a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    ListPage,
    ListRoot,
    /// Map leaf or span page.
    Page,
    /// Map root or span root.
    Root,
    Manifest,
    RecordHead,
    Places,
    LocatorPage,
    LocatorRoot,
    Frame,
    PackIndex,
}

/// Returns all structures of a sound bundle, in dependency order of their digests.
pub fn sites(model: &Model) -> Vec<Site> {
    let mut sites = Vec::new();
    for (number, object) in model.table.objects.iter().enumerate() {
        let mut add = |what, at, len| sites.push(Site { what, object: number, at, len });
        match object.kind {
            ObjectKind::Record => record_sites(model, object, &mut add),
            ObjectKind::List => list_sites(model, object, &mut add),
            ObjectKind::Locator => locator_sites(model, object, &mut add),
            ObjectKind::Pack => add(What::PackIndex, object.len - 76, 76),
            ObjectKind::PageFile => {}
        }
    }
    sites.extend(pages(model));
    sites.extend(frames(model).into_iter().map(|frame| frame.site));
    sites.sort_by_key(|site| site.what);
    sites
}

fn record_parts(model: &Model, object: &Object) -> Option<(RecordHead, Places)> {
    let bytes = model.gather(object, 0, object.len)?;
    let head = RecordHead::decode(&bytes, object.len).ok()?;
    let places = bytes.get(head.places_offset() as usize..head.map_root_offset() as usize)?;
    let places = Places::decode(places, &bytes, &head, true).ok()?;
    Some((head, places))
}

fn record_sites(model: &Model, object: &Object, add: &mut impl FnMut(What, u64, u64)) {
    let (head, _) = record_parts(model, object).expect("a sound record");
    add(What::RecordHead, 0, HEAD_LEN);
    add(What::Manifest, HEAD_LEN, u64::from(head.manifest_len));
    for (what, at, len) in [
        (What::Places, head.places_offset(), head.places_len()),
        (What::Root, head.map_root_offset(), u64::from(head.map_root_len)),
        (What::Root, head.span_root_offset(), u64::from(head.span_root_len)),
    ] {
        if len > 0 {
            add(what, at, len);
        }
    }
}

/// Returns the leaves and span pages that the bundle has.
fn pages(model: &Model) -> Vec<Site> {
    let mut sites = Vec::new();
    for object in model.table.objects.iter().filter(|object| object.kind == ObjectKind::Record) {
        let (_, places) = record_parts(model, object).expect("a sound record");
        for place in places.map.iter().chain(&places.span).filter(|place| **place != PagePlace::OF_BASE) {
            let file = model.table.find(ObjectKind::PageFile, &places.files[place.file as usize].digest());
            let (object, len) = (file.expect("its page file"), u64::from(place.len));
            sites.push(Site { what: What::Page, object, at: place.offset, len });
        }
    }
    sites
}

/// Returns the range of a table's root, from the length in the file's last eight bytes.
fn root_range(model: &Model, object: &Object) -> Option<Range<u64>> {
    let end = object.len.checked_sub(8)?;
    let len = u64::from_le_bytes(model.gather(object, end, 8)?.try_into().ok()?);
    Some(end.checked_sub(len)?..end)
}

fn table_sites(
    object: &Object,
    root: Range<u64>,
    page_len: u64,
    what: (What, What),
    add: &mut impl FnMut(What, u64, u64),
) {
    for at in (0..root.start).step_by(page_len as usize) {
        // Some pages are absent.
        if object.piece_at(at).is_some() {
            add(what.0, at, page_len.min(root.start - at));
        }
    }
    add(what.1, root.start, root.end - root.start);
}

fn list_sites(model: &Model, object: &Object, add: &mut impl FnMut(What, u64, u64)) {
    let root = root_range(model, object).expect("a sound list");
    table_sites(object, root, 32 << 10, (What::ListPage, What::ListRoot), add);
}

fn locator_sites(model: &Model, object: &Object, add: &mut impl FnMut(What, u64, u64)) {
    let root = root_range(model, object).expect("a sound locator");
    table_sites(object, root, 24 << 10, (What::LocatorPage, What::LocatorRoot), add);
}

/// A frame, and the place of its record.
struct Framed {
    site: Site,
    /// The number of the locator; `record_at` is the record's offset in it.
    locator: usize,
    record_at: u64,
    chunk: ChunkId,
}

/// Returns the frames in the locators whose chunk ids are known here.
fn frames(model: &Model) -> Vec<Framed> {
    let table = &model.table;
    let locators = table.objects.iter().enumerate().filter(|(_, object)| object.kind == ObjectKind::Locator);
    locators.filter_map(|(number, object)| frames_of(model, number, object)).flatten().collect()
}

fn frames_of(model: &Model, number: usize, object: &Object) -> Option<Vec<Framed>> {
    let range = root_range(model, object)?;
    let root = LocatorRoot::decode(&model.gather(object, range.start, range.end - range.start)?).ok()?;
    let list = &model.table.objects[model.table.find(ObjectKind::List, &object.id)?];
    let mut found = Vec::new();
    for chunk in 0..root.chunks.min(4096) {
        let Some(id) = model.gather(list, chunk * 32, 32) else { continue };
        let id = ChunkId::from_bytes(id.try_into().ok()?);
        let mut record = chunk;
        for _ in 0..4 {
            let record_at = record * locator::RECORD_LEN as u64;
            let Some(bytes) = model.gather(object, record_at, 24) else { break };
            let page = [vec![0; (record % 1024) as usize * 24], bytes].concat();
            let Ok(place) = FramePlace::decode(&page, record, &root) else { break };
            let pack = root.packs.get(place.pack as usize);
            let Some(pack) = pack.and_then(|pack| model.table.find(ObjectKind::Pack, &pack.digest())) else {
                break;
            };
            let (at, len) = (u64::from(place.offset), u64::from(place.len));
            let site = Site { what: What::Frame, object: pack, at, len };
            found.push(Framed { site, locator: number, record_at, chunk: id });
            record = u64::from(place.next);
            if record == 0 {
                break;
            }
        }
    }
    Some(found)
}

impl Model {
    fn site(&self, site: &Site) -> Option<Vec<u8>> {
        self.gather(self.table.objects.get(site.object)?, site.at, site.len)
    }

    /// Recomputes every digest that depends on the changes since `sound`. The objects must not have moved.
    pub fn put_right(&mut self, sound: &Self, sites: &[Site]) {
        let named: Vec<_> = self
            .table
            .names
            .iter()
            .map(|(_, image)| self.table.images().nth(*image as usize).map(|image| image.digest()))
            .collect();
        let mut renamed: Vec<(Digest, Digest)> = Vec::new();
        for site in sites {
            let (Some(old), Some(new)) = (sound.site(site), self.site(site)) else { continue };
            let digest: fn(&[u8]) -> Digest = match site.what {
                What::ListPage => page_digest,
                What::ListRoot | What::Page | What::Root | What::Manifest => object_digest,
                _ => break,
            };
            if old != new {
                self.replace(digest(&old), digest(&new));
                renamed.push((digest(&old), digest(&new)));
            }
        }
        self.guards();
        let objects = self.table.objects.clone();
        for object in &objects {
            match object.kind {
                ObjectKind::Locator => drop(self.seal_locator(object)),
                ObjectKind::Record => drop(self.seal_record(object)),
                _ => {}
            }
        }
        self.table.objects.sort_by_key(|object| (object.kind, object.id));
        for ((_, number), image) in self.table.names.iter_mut().zip(named) {
            let now = image
                .map(|image| renamed.iter().find(|(old, _)| *old == image).map_or(image, |(_, new)| *new));
            let found = now.and_then(|now| self.table.objects.iter().position(|object| object.id == now));
            *number = found.map_or(*number, |found| found as u32);
        }
    }

    fn replace(&mut self, old: Digest, new: Digest) {
        let mut at = 0;
        while let Some(found) = self.body[at..].windows(32).position(|bytes| bytes == old.0) {
            self.body[at + found..at + found + 32].copy_from_slice(&new.0);
            at += found + 32;
        }
        self.table.objects.iter_mut().filter(|object| object.id == old).for_each(|object| object.id = new);
    }

    /// Gives every frame the guard of its bytes.
    fn guards(&mut self) {
        for frame in frames(self) {
            let Some(stored) = self.site(&frame.site) else { continue };
            let guard = xxhash_rust::xxh3::xxh3_64_with_seed(&stored, frame.chunk.prefix());
            let locator = self.table.objects[frame.locator].clone();
            self.scatter(&locator, frame.record_at + 16, &guard.to_le_bytes());
        }
    }

    fn seal_locator(&mut self, object: &Object) -> Option<()> {
        let root = root_range(self, object)?;
        let mut bytes = self.gather(object, root.start, root.end - root.start)?;
        let pages = root.start.div_ceil(24 << 10);
        let digests = bytes.len().checked_sub(32 + 32 * pages as usize)?;
        for page in 0..pages {
            let at = page * (24 << 10);
            if let Some(page_bytes) = self.gather(object, at, (24 << 10).min(root.start - at)) {
                let digest_at = digests + 32 * page as usize;
                bytes[digest_at..digest_at + 32].copy_from_slice(&page_digest(&page_bytes).0);
            }
        }
        let end = bytes.len() - 32;
        let checksum = object_digest(&bytes[..end]);
        bytes[end..].copy_from_slice(&checksum.0);
        self.scatter(object, root.start, &bytes);
        Some(())
    }

    fn seal_record(&mut self, object: &Object) -> Option<()> {
        let bytes = self.gather(object, 0, object.len)?;
        let head = RecordHead::decode(&bytes, object.len).ok()?;
        let places = bytes.get(head.places_offset() as usize..head.map_root_offset() as usize)?;
        let checksum = object_digest(&[&bytes[..64], places].concat());
        self.scatter(object, 64, &checksum.0);
        Some(())
    }
}

/// Sets a field of one, four or eight bytes to an easily forgotten value.
pub fn set_field(bytes: &mut [u8], at: usize, width: usize, choice: u64, rng: &mut Rng) {
    let width = width.min(bytes.len() - at);
    let mut field = [0; 8];
    field[..width].copy_from_slice(&bytes[at..at + width]);
    let old = u64::from_le_bytes(field);
    let top = 1u64 << (8 * width - 1);
    let neighbour = if at >= width { bytes[at - width..].to_vec() } else { bytes.to_vec() };
    let new = match choice % CHOICES {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => old.wrapping_add(1),
        4 => old.wrapping_sub(1),
        5 => old ^ top,
        6 => top - 1,
        7 => bytes.len() as u64,
        8 => rng.next(),
        9 => old ^ (1 << rng.below(8 * width as u64)),
        _ => neighbour.first_chunk::<8>().map_or(2, |bytes| u64::from_le_bytes(*bytes)),
    };
    bytes[at..at + width].copy_from_slice(&new.to_le_bytes()[..width]);
}

/// The number of choices of [`set_field`].
pub const CHOICES: u64 = 11;
