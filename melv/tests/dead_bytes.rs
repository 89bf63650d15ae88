//! `dead_bytes` matches a count made from the specification alone. Every frame, page, list, locator and
//! record is checked individually, without the code that accounts for a store's space.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::str::FromStr;

use melv::digest::{ImageId, ListId, PackId, PageFileId};
use melv::limits::TABLE_PAGE_RECORDS;
use melv::ondisk::frame::{Frame, Presence, has};
use melv::ondisk::header::{HEADER_LEN, Kind};
use melv::ondisk::list::ListShape;
use melv::ondisk::locator::{self, FramePlace, LocatorRoot};
use melv::ondisk::manifest::Manifest;
use melv::ondisk::map_leaf::MapLeaf;
use melv::ondisk::record::{HEAD_LEN, Places, RecordHead};
use melv::ondisk::reference::Reference;
use melv::ondisk::{digest_table, pack};
use melv::storage::BytesObject;
use melv::{
    Bundle, BundleOptions, Codec, ErrorKind, ImageRef, ImportOptions, LoadOptions, MemoryStorage,
    SaveOptions, Source, Store, StoreError, StoreOptions,
};
use melv_testing::{Rng, VecDisk, assert_clean, noise, random_disk, store_in};

/// A frame: its pack and its offset there.
type FrameAt = (PackId, u64);

/// A store's files, and the parts that are needed.
struct Count {
    files: BTreeMap<String, Vec<u8>>,
    needed: BTreeSet<String>,
    /// Blocks of lists that named images use.
    blocks: BTreeMap<ListId, (ListShape, BTreeSet<u64>)>,
    pages: BTreeSet<(PageFileId, u64, u64)>,
    frames: BTreeSet<FrameAt>,
    seen: Seen,
}

/// Cases that a round must contain to be meaningful.
#[derive(Default, Clone, Copy)]
struct Seen {
    /// Chunks in several frames, some needed and some not.
    split: usize,
    /// Frames placed by several lists, not all of them needed.
    placed_twice: usize,
    /// Packs and page files that are needed in part.
    mixed: usize,
    dead: u64,
}

fn id_of<I: FromStr<Err: Debug>>(name: &str) -> I {
    name.rsplit('/').next().unwrap().parse().unwrap()
}

/// Decodes a stored page to the bytes of its digest.
fn page(stored: &[u8]) -> Vec<u8> {
    const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    if !stored.starts_with(&ZSTD) {
        return stored.to_vec();
    }
    let descriptor = stored[4];
    let is_single = descriptor & 0x20 != 0;
    assert_eq!(descriptor & 3, 0, "no dictionary");
    let at = if is_single { 5 } else { 6 };
    let number =
        |len: usize| stored[at..at + len].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let len = match (descriptor >> 6, is_single) {
        (0, true) => number(1),
        (1, _) => number(2) + 256,
        (2, _) => number(4),
        (3, _) => number(8),
        _ => panic!("no length"),
    };
    let mut plain = vec![0; len];
    Codec::Zstd.decode(stored, &mut plain).unwrap();
    plain
}

impl Count {
    fn of(storage: &MemoryStorage) -> Self {
        let mut count = Self {
            files: storage.contents(),
            needed: BTreeSet::new(),
            blocks: BTreeMap::new(),
            pages: BTreeSet::new(),
            frames: BTreeSet::new(),
            seen: Seen::default(),
        };
        let references: Vec<_> = count
            .files
            .iter()
            .filter(|(name, _)| name.starts_with("refs/"))
            .map(|(name, bytes)| {
                let parts: Vec<_> = name.split('/').collect();
                Reference::decode(bytes, &format!("{}:{}", parts[1], parts[2])).unwrap().image
            })
            .collect();
        references.iter().for_each(|image| count.image(image));
        count.all_frames();
        count
    }

    fn folder(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        let is_in = |name: &String| name.split('/').next() == Some(folder);
        self.files
            .iter()
            .filter(|(name, _)| is_in(name))
            .map(|(name, bytes)| (name.clone(), bytes.clone()))
            .collect()
    }

    /// Adds the record of an image, its pages, its lists and its blocks.
    fn image(&mut self, image: &ImageId) {
        let name = format!("manifests/{image}");
        let record = self.files[&name].clone();
        self.needed.insert(name);
        let head = RecordHead::decode(&record, record.len() as u64).unwrap();
        let slice = |from: u64, to: u64| &record[from as usize..to as usize];
        let manifest = Manifest::decode(slice(HEAD_LEN, head.places_offset())).unwrap();
        let places =
            Places::decode(slice(head.places_offset(), head.map_root_offset()), &record, &head, false);
        let places = places.unwrap();
        for place in places.map.iter().chain(&places.span) {
            self.pages.insert((places.files[place.file as usize], place.offset, u64::from(place.len)));
        }
        for list in &manifest.lists {
            self.needed.insert(format!("lists/{}", list.id));
            self.needed.insert(format!("locators/{}", list.id));
            self.blocks.entry(list.id).or_insert_with(|| (list.shape, BTreeSet::new()));
        }
        if head.map_root_len == 0 {
            return;
        }
        let geometry = manifest.geometry;
        let root = slice(head.map_root_offset(), head.span_root_offset());
        let root = digest_table::decode(Kind::MapRoot, root, geometry.leaves()).unwrap();
        assert_eq!(root.len(), places.map.len());
        for place in &places.map {
            let file = &self.files[&format!("pages/{}", places.files[place.file as usize])];
            let stored = &file[place.offset as usize..][..place.len as usize];
            let leaf = MapLeaf::decode(&page(stored), geometry.leaf_blocks()).unwrap();
            for extent in &leaf.extents {
                let (_, blocks) = self.blocks.get_mut(&leaf.lists[extent.list as usize]).unwrap();
                blocks.extend(extent.source..extent.source + extent.blocks);
            }
        }
    }

    /// Adds the frames that hold needed blocks, by every locator.
    fn all_frames(&mut self) {
        let mut placed: BTreeMap<FrameAt, (usize, usize)> = BTreeMap::new();
        for (name, bytes) in self.folder("locators") {
            let root_len = u64::from_le_bytes(*bytes.last_chunk().unwrap()) as usize;
            let root_end = bytes.len() - locator::TRAILER_LEN as usize;
            let root = LocatorRoot::decode(&bytes[root_end - root_len..root_end]).unwrap();
            let record = |number: u64| {
                let start = (number / TABLE_PAGE_RECORDS * TABLE_PAGE_RECORDS) as usize * locator::RECORD_LEN;
                FramePlace::decode(&bytes[start..root_end - root_len], number, &root).unwrap()
            };
            let used = self.blocks.get(&id_of(&name)).cloned();
            for chunk in 0..root.chunks {
                let (mut number, mut needed, mut idle) = (chunk, 0, 0);
                loop {
                    let place = record(number);
                    if place.is_absent() {
                        break;
                    }
                    let at = (root.packs[place.pack as usize], u64::from(place.offset));
                    let is_needed = used.as_ref().is_some_and(|used| self.holds_any(at, &place, chunk, used));
                    let counts = placed.entry(at).or_default();
                    counts.0 += 1;
                    if is_needed {
                        counts.1 += 1;
                        needed += 1;
                        self.frames.insert(at);
                    } else {
                        idle += 1;
                    }
                    number = u64::from(place.next);
                    if number == 0 {
                        break;
                    }
                }
                self.seen.split += usize::from(needed > 0 && idle > 0);
            }
        }
        self.seen.placed_twice += placed.values().filter(|(all, needed)| 0 < *needed && needed < all).count();
    }

    /// Whether the frame at a place holds a needed block of a chunk.
    fn holds_any(
        &self,
        at: FrameAt,
        place: &FramePlace,
        chunk: u64,
        (shape, used): &(ListShape, BTreeSet<u64>),
    ) -> bool {
        let first = chunk * u64::from(shape.chunk_blocks);
        let stored = &self.files[&format!("packs/{}", at.0)][at.1 as usize..][..place.len as usize];
        let frame = Frame::decode(stored, shape.blocks_of(chunk)).unwrap();
        (0..shape.blocks_of(chunk)).any(|block| {
            let is_held = match &frame.presence {
                Presence::Whole => true,
                Presence::Partial { mask, .. } => has(mask, block),
            };
            is_held && used.contains(&(first + u64::from(block)))
        })
    }

    fn dead_bytes(&mut self) -> u64 {
        let mut dead = 0;
        for (name, bytes) in self.folder("packs") {
            let len = bytes.len() as u64;
            let tail = &bytes[bytes.len() - pack::TRAILER_LEN as usize..];
            let trailer = pack::decode_trailer(tail, len).unwrap();
            let index = &bytes[trailer.index_offset() as usize..][..trailer.index_len() as usize];
            let records =
                pack::decode_index(&bytes[..pack::FRAMES_OFFSET as usize], index, &trailer).unwrap();
            let (mut at, mut needed, mut idle) = (pack::FRAMES_OFFSET, 0, 0);
            for record in records {
                let sum = if self.frames.contains(&(id_of(&name), at)) { &mut needed } else { &mut idle };
                *sum += u64::from(record.len);
                at += u64::from(record.len);
            }
            self.seen.mixed += usize::from(needed > 0 && idle > 0);
            dead += if needed == 0 { len } else { idle };
        }
        for (name, bytes) in self.folder("pages") {
            let own = self.pages.iter().filter(|(file, ..)| *file == id_of(&name));
            let needed: u64 = own.map(|(.., len)| len).sum();
            let all = (bytes.len() - HEADER_LEN) as u64;
            self.seen.mixed += usize::from(needed > 0 && needed < all);
            dead += if needed == 0 { bytes.len() as u64 } else { all - needed };
        }
        for folder in ["manifests", "lists", "locators"] {
            let idle = self.folder(folder).into_iter().filter(|(name, _)| !self.needed.contains(name));
            dead += idle.map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        }
        self.seen.dead += dead;
        dead
    }
}

/// The store under test, and two others that supply bundles.
struct Scene {
    rng: Rng,
    storages: [MemoryStorage; 3],
    stores: [Store; 3],
    disks: Vec<Vec<u8>>,
    names: u64,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let storages: [MemoryStorage; 3] = Default::default();
        let stores = [0, 1, 2].map(|number: usize| store_in(&storages[number]));
        Self { rng: Rng::new(seed), storages, stores, disks: Vec::new(), names: 0 }
    }

    /// Makes a disk of pieces of earlier disks and new ones.
    fn disk(&mut self) -> Vec<u8> {
        let mut disk = Vec::new();
        for _ in 0..1 + self.rng.below(4) {
            let from =
                if self.disks.is_empty() { 0 } else { self.rng.below(self.disks.len() as u64) as usize };
            match (self.disks.get(from), self.rng.below(6)) {
                (Some(other), 4..=5) => {
                    // Take only some blocks of each chunk, so that frames in its bundles are partial.
                    let (first, step) = (self.rng.below(5) as usize, 2 + self.rng.below(4) as usize);
                    other.chunks_exact(4096).skip(first).step_by(step).for_each(|block| disk.extend(block));
                }
                (Some(other), 0..=1) if other.len() >= 8192 => {
                    let blocks = other.len() as u64 / 4096;
                    let first = self.rng.below(blocks);
                    let end = first + 1 + self.rng.below(blocks - first);
                    disk.extend_from_slice(&other[first as usize * 4096..end as usize * 4096]);
                }
                (_, 2) => {
                    let first = self.rng.next() >> 8;
                    (0..self.rng.below(40)).for_each(|number| disk.extend(noise(first + number)));
                }
                _ => disk.extend(random_disk(self.rng.next(), (self.rng.below(160) * 4096) as usize)),
            }
            let tail = disk.len().next_multiple_of(4096) - disk.len();
            disk.extend(vec![0; tail]);
        }
        self.disks.push(disk.clone());
        disk
    }

    /// Returns the name of an image in a store.
    fn a_name(&mut self, store: usize) -> Option<melv::RefName> {
        let names = self.stores[store].names().unwrap();
        let at = if names.is_empty() { 0 } else { self.rng.below(names.len() as u64) as usize };
        names.into_iter().nth(at).map(|(name, _)| name)
    }

    fn import(&mut self, store: usize) {
        let disk = match self.rng.below(3) {
            0 if !self.disks.is_empty() => {
                let at = self.rng.below(self.disks.len() as u64) as usize;
                self.disks[at].clone()
            }
            _ => self.disk(),
        };
        let taken = self.a_name(store).filter(|_| self.rng.below(4) == 0);
        self.names += 1;
        let name = taken.clone().unwrap_or_else(|| format!("disk-{}", self.names).parse().unwrap());
        let parent = self.a_name(store).filter(|_| self.rng.below(3) == 0).map(ImageRef::Name);
        let options = ImportOptions {
            chunk_blocks: [1, 4, 8, 64][self.rng.below(4) as usize],
            replace: taken.is_some(),
            parent,
            ..ImportOptions::named(name)
        };
        self.stores[store].import(Source::device(&VecDisk(disk)), &options).unwrap();
    }

    /// Loads a bundle of some images of another store into the one under test.
    fn load(&mut self) {
        let from = 1 + self.rng.below(2) as usize;
        let Some(name) = self.a_name(from) else { return };
        let other = self.a_name(from).filter(|other| *other != name && self.rng.below(2) == 0);
        let without = self.a_name(from).filter(|base| {
            let id = self.stores[from].named(base).unwrap().image;
            Some(base) != other.as_ref() && *base != name && self.stores[0].image_by_id(id).is_ok()
        });
        let images: Vec<_> = [Some(name), other].into_iter().flatten().map(ImageRef::Name).collect();
        let mut bytes = Vec::new();
        let save =
            SaveOptions { without: without.map(ImageRef::Name).into_iter().collect(), ..Default::default() };
        match self.stores[from].save(&images, &mut bytes, &save) {
            // Both images may be the base under other names.
            Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound) => return,
            saved => drop(saved.unwrap()),
        }
        let (base, options) = (Some(self.stores[0].clone().into()), StoreOptions::default());
        let bundle = Bundle::open_reader(
            BytesObject::from(bytes),
            "bundle.melv",
            BundleOptions { store: options, base },
        )
        .unwrap();
        self.names += 1;
        let load = LoadOptions { replace: self.rng.below(2) == 0, ..Default::default() };
        match self.stores[0].load(&bundle, &load) {
            Err(error) if matches!(error.detail(), Some(StoreError::Exists { .. })) => {}
            loaded => drop(loaded.unwrap()),
        }
    }

    fn step(&mut self) {
        match self.rng.below(10) {
            0..=1 => self.import(0),
            2..=3 => self.import(1),
            4 => self.import(2),
            5..=7 => self.load(),
            _ => {
                if let Some(name) = self.a_name(0) {
                    self.stores[0].untag(&name).unwrap();
                }
            }
        }
    }
}

#[test]
fn dead_bytes_are_what_a_count_from_the_specification_finds() {
    let rounds = std::env::var("MELV_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let mut seen = Seen::default();
    for seed in 1..=rounds {
        let mut scene = Scene::new(seed);
        for step in 0..40 {
            scene.step();
            if step % 4 == 3 {
                let mut count = Count::of(&scene.storages[0]);
                let space = scene.stores[0].usage().unwrap();
                let expected = count.dead_bytes();
                assert_eq!(space.dead_bytes, expected, "MELV_ROUNDS: seed {seed}, step {step}");
                assert_eq!(space.reclaimable_bytes, space.dead_bytes);
                assert!(space.dead_bytes <= space.stored_bytes);
                seen.split += count.seen.split;
                seen.placed_twice += count.seen.placed_twice;
                seen.mixed += count.seen.mixed;
                seen.dead += count.seen.dead;
            }
        }
        assert_clean(&scene.stores[0]);
    }
    println!(
        "{rounds} stores: {} chunks whose frames are needed in part, {} frames placed by lists needed and not, {} \
         files needed in part, {} bytes dead",
        seen.split, seen.placed_twice, seen.mixed, seen.dead
    );
    assert!(seen.split > 0 && seen.placed_twice > 0 && seen.mixed > 0 && seen.dead > 0);
}

#[test]
fn with_the_last_name_gone_all_is_dead_but_the_header() {
    let storage = MemoryStorage::new();
    let store = store_in(&storage);
    let disk = random_disk(7, 1 << 20);
    for name in ["web", "other"] {
        store.import(Source::device(&VecDisk(disk.clone())), &melv_testing::options(name)).unwrap();
    }
    assert_eq!(store.usage().unwrap().dead_bytes, 0);
    store.untag(&melv_testing::name("web")).unwrap();
    assert_eq!(store.usage().unwrap().dead_bytes, 0);
    assert!(store.untag(&melv_testing::name("other")).unwrap().is_some());
    let space = store.usage().unwrap();
    let header = storage.contents()["melv.store"].len() as u64;
    assert_eq!(space.dead_bytes, space.stored_bytes - header);
}
