//! The promises of bundles: their contents, reads identical to those of their images, and the result of
//! loading.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use melv::digest::{ImageId, block_digest};
use melv::limits::BLOCK_LEN;
use melv::storage::ReadAt;
use melv::{
    BlockDevice, BlockError, Bundle, BundleOptions, Image, ImageRef, Images, ImportOptions, LoadOptions,
    MemoryStorage, ObjectSource, ObjectStore, ResultExt, SaveOptions, Source, Store, StoreError,
    StoreOptions, VerifyOptions,
};

/// Makes a disk with one block per seed; seed zero makes a zero block.
fn disk(seeds: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut disk = Vec::new();
    for seed in seeds {
        let mut block = vec![0; BLOCK_LEN];
        if seed != 0 {
            // Half noise, half zeros: compresses, but not to nothing.
            let noise = (0..BLOCK_LEN as u64 / 64)
                .flat_map(|part| *block_digest(&(seed << 16 | part).to_le_bytes()).as_bytes());
            block.iter_mut().zip(noise).for_each(|(byte, noise)| *byte = noise);
        }
        disk.extend(block);
    }
    disk
}

fn import(store: &Store, name: &str, bytes: &[u8]) -> ImageId {
    let options = ImportOptions::named(name.parse().unwrap());
    store.import(Source::stream(bytes, name), &options).unwrap().image
}

fn store() -> (MemoryStorage, Store) {
    let storage = MemoryStorage::new();
    (storage.clone(), Store::create(storage, StoreOptions::default()).unwrap())
}

fn refs(names: &[&str]) -> Vec<ImageRef> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn save(store: &Images, names: &[&str], without: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let options = SaveOptions { without: refs(without), ..SaveOptions::default() };
    let report = store.save(&refs(names), &mut bytes, &options).unwrap();
    assert_eq!(report.bytes, bytes.len() as u64);
    bytes
}

/// A bundle that counts its range reads.
#[derive(Debug, Clone, Default)]
struct Ranges {
    bytes: Arc<Vec<u8>>,
    requests: Arc<AtomicU64>,
    read: Arc<AtomicU64>,
    asked: Arc<Mutex<Vec<(u64, usize)>>>,
}

impl Ranges {
    fn of(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(bytes), ..Self::default() }
    }

    fn take(&self) -> (u64, u64) {
        (self.requests.swap(0, Ordering::SeqCst), self.read.swap(0, Ordering::SeqCst))
    }
}

impl ReadAt for Ranges {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.read.fetch_add(buf.len() as u64, Ordering::SeqCst);
        self.asked.lock().unwrap().push((offset, buf.len()));
        let range = offset as usize..offset as usize + buf.len();
        buf.copy_from_slice(self.bytes.get(range).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fn open_with(bytes: &[u8], base: Option<impl Into<Images>>) -> melv::Result<Bundle> {
    let options = BundleOptions { base: base.map(Into::into), ..BundleOptions::default() };
    Bundle::open_reader(Ranges::of(bytes.to_vec()), "test.melv", options)
}

fn open(bytes: &[u8]) -> Bundle {
    open_with(bytes, None::<Store>).unwrap()
}

fn bytes_of(image: &Image) -> Vec<u8> {
    let mut bytes = vec![0; image.size() as usize];
    image.read_at(0, &mut bytes).unwrap();
    bytes
}

fn read(store: &Images, name: &str) -> Vec<u8> {
    bytes_of(&store.image(&name.parse().unwrap()).unwrap())
}

fn assert_sound(store: &Images) {
    let report = store.verify(&[], &VerifyOptions { full: true, ..VerifyOptions::default() }).unwrap();
    assert!(report.damaged.is_empty(), "{:?}", report.damaged);
    let report = store.verify(&[], &VerifyOptions::default()).unwrap();
    assert!(report.damaged.is_empty(), "{:?}", report.damaged);
}

/// Makes a store with a base, and a disk that shares every third block of it, moved.
fn apart() -> (Store, Vec<u8>, Vec<u8>) {
    let (_, store) = store();
    let base = disk((1..=600).chain([0; 40]).chain(700..800));
    let other = disk((1..=600).step_by(3).chain([0; 7]).chain(2000..2100));
    import(&store, "base", &base);
    import(&store, "apart", &other);
    (store, base, other)
}

#[test]
fn a_bundle_reads_as_its_images_do_and_keeps_their_ids_and_names() {
    let (store, base, other) = apart();
    let bytes = save(&store, &["base", "apart"], &[]);
    let bundle = open(&bytes);
    assert_sound(&bundle);
    for (name, disk) in [("base", base), ("apart", other)] {
        assert_eq!(read(&bundle, name), disk);
        let (one, two) = (bundle.image(&name.parse().unwrap()), store.image(&name.parse().unwrap()));
        assert_eq!(one.unwrap().id(), two.unwrap().id());
    }
    assert_eq!(bundle.names().unwrap().len(), 2);
}

#[test]
fn a_bundle_of_one_disk_holds_no_block_that_the_disk_does_not() {
    let (store, _, other) = apart();
    let bytes = save(&store, &["apart"], &[]);
    let bundle = open(&bytes);
    assert_eq!(read(&bundle, "apart"), other);
    assert_sound(&bundle);
    let own: BTreeSet<_> = other.chunks(BLOCK_LEN).map(block_digest).collect();
    let space = bundle.usage().unwrap();
    let zero = block_digest(&[0; BLOCK_LEN]);
    assert_eq!(space.unique_bytes as usize, (own.len() - usize::from(own.contains(&zero))) * BLOCK_LEN);
    // Check the bytes themselves: decode every frame, ignoring the locators.
    let mut held = BTreeSet::new();
    for object in bundle.source().list("packs").unwrap() {
        held.extend(melv_testing::blocks_of_pack(bundle.source().as_ref(), &object.name));
    }
    assert!(held.is_subset(&own), "blocks of the base are in the bundle");
    assert!(own.iter().filter(|digest| **digest != zero).all(|digest| held.contains(digest)));
}

#[test]
fn equal_stores_give_equal_bundles_whatever_the_order_and_the_threads() {
    let (one, two) = (apart().0, apart().0);
    let bytes = save(&one, &["base", "apart"], &[]);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    assert!(pool.install(|| save(&two, &["apart", "base:latest", "base"], &[])) == bytes);
    assert!(save(&open(&bytes), &["base", "apart"], &[]) == bytes, "a bundle of a bundle is the bundle");
}

#[test]
fn a_bundle_without_its_base_needs_that_very_image() {
    let (store, _, other) = apart();
    let bytes = save(&store, &["apart"], &["base"]);
    assert!(bytes.len() < save(&store, &["apart"], &[]).len());
    let base = store.image(&"base".parse().unwrap()).unwrap().id();
    assert!(
        matches!(open_with(&bytes, None::<Store>).detail(), Some(StoreError::BaseMissing { base: found, .. }) if *found == base)
    );
    let bundle = open_with(&bytes, Some(store.clone())).unwrap();
    assert_eq!(read(&bundle, "apart"), other);
    assert_sound(&bundle);
    // The same content under another image id does not do.
    let twin = crate::store().1;
    let options = ImportOptions { level: 7, ..ImportOptions::named("base".parse().unwrap()) };
    let disk = read(&store, "base");
    twin.import(Source::stream(&disk[..], "base"), &options).unwrap();
    assert!(matches!(open_with(&bytes, Some(twin)).detail(), Some(StoreError::BaseMissing { .. })));
}

#[test]
fn opening_takes_two_requests_and_the_first_block_three_more_at_most() {
    let (_, store) = store();
    let image = disk((1..=12_000).chain([0; 70_000]).chain(1..=3000));
    import(&store, "wide", &image);
    let ranges = Ranges::of(save(&store, &["wide"], &[]));
    let bundle = Bundle::open_reader(ranges.clone(), "wide.melv", BundleOptions::default()).unwrap();
    let wide = bundle.image(&"wide".parse().unwrap()).unwrap();
    let (requests, read) = ranges.take();
    assert!(requests <= 3 && read <= 1 << 20, "{requests} requests, {read} bytes");
    let mut block = vec![0; BLOCK_LEN];
    wide.read_at(5 * BLOCK_LEN as u64, &mut block).unwrap();
    assert_eq!(block, image[5 * BLOCK_LEN..6 * BLOCK_LEN]);
    let (requests, _) = ranges.take();
    assert!(requests <= 3, "{requests} requests");
    assert!(bytes_of(&wide) == image);
}

#[test]
fn loading_keeps_ids_shares_chunks_and_stores_nothing_twice() {
    let (source, base, other) = apart();
    let (_, target) = store();
    let load = |bytes: &[u8]| target.load(&open(bytes), &LoadOptions::default()).unwrap();
    let first = load(&save(&source, &["apart"], &[]));
    assert_eq!(first.images.len(), 1);
    assert_eq!(read(&target, "apart"), other);
    assert_sound(&target);
    // The base brings the rest of the lists: frames are added to lists held in part.
    let second = load(&save(&source, &["base"], &[]));
    assert_eq!((read(&target, "apart"), read(&target, "base")), (other, base));
    assert_sound(&target);
    assert!(first.stored_bytes > 0 && second.stored_bytes > 0);
    assert_eq!(load(&save(&source, &["base", "apart"], &[])).stored_bytes, 0, "all of it is here");
    for name in ["base", "apart"] {
        let id = |store: &Images| store.image(&name.parse().unwrap()).unwrap().id();
        assert_eq!(id(&source), id(&target));
    }
    // Each distinct block is held once.
    assert_eq!(target.usage().unwrap().unique_bytes, source.usage().unwrap().unique_bytes);
}

#[test]
fn loading_shares_whole_chunks_of_other_lists() {
    let (_, one) = store();
    import(&one, "disk", &disk(1..=512));
    let (_, two) = store();
    // Another list: the same chunks after a different beginning.
    import(&two, "longer", &disk((9001..=9008).chain(1..=512)));
    let bundle = open(&save(&one, &["disk"], &[]));
    let report = two.load(&bundle, &LoadOptions::default()).unwrap();
    assert!(report.stored_bytes < 20_000, "{} bytes for places and pages", report.stored_bytes);
    assert_eq!(read(&two, "disk"), disk(1..=512));
    assert_sound(&two);
}

#[test]
fn a_bundle_without_its_base_is_loaded_beside_it() {
    let (source, base, other) = apart();
    let (_, target) = store();
    target.load(&open(&save(&source, &["base"], &[])), &LoadOptions::default()).unwrap();
    let small = open_with(&save(&source, &["apart"], &["base"]), Some(target.clone())).unwrap();
    target.load(&small, &LoadOptions::default()).unwrap();
    assert_eq!((read(&target, "apart"), read(&target, "base")), (other, base));
    assert_sound(&target);
}

#[test]
fn imports_share_with_what_is_held_in_part_and_with_nothing_else() {
    let (source, base, other) = apart();
    let (_, target) = store();
    target.load(&open(&save(&source, &["apart"], &[])), &LoadOptions::default()).unwrap();
    let report = target
        .import(Source::stream(&base[..], "base"), &ImportOptions::named("base".parse().unwrap()))
        .unwrap();
    let have: BTreeSet<_> = other.chunks(BLOCK_LEN).map(block_digest).collect();
    let new: BTreeSet<_> =
        base.chunks(BLOCK_LEN).map(block_digest).filter(|digest| !have.contains(digest)).collect();
    assert_eq!(report.new_bytes as usize, new.len() * BLOCK_LEN);
    assert_eq!((read(&target, "apart"), read(&target, "base")), (other, base.clone()));
    assert_sound(&target);
    // Once the lists are whole, all of their blocks can be shared.
    target
        .load(&open(&save(&source, &["base"], &[])), &LoadOptions { replace: true, ..LoadOptions::default() })
        .unwrap();
    let again =
        target.import(Source::stream(&base[..], "base"), &ImportOptions::named("again".parse().unwrap()));
    assert_eq!(again.unwrap().new_bytes, 0);
    assert_sound(&target);
}

#[test]
fn importing_an_image_of_a_bundle_keeps_its_content_id() {
    let (source, ..) = apart();
    let bundle = open(&save(&source, &["apart"], &[]));
    let (_, target) = store();
    import(&target, "base", &read(&source, "base"));
    let image = bundle.image(&"apart".parse().unwrap()).unwrap();
    let report =
        target.import(Source::device(&image), &ImportOptions::named("apart".parse().unwrap())).unwrap();
    assert_eq!(report.content, image.manifest().content);
    assert_eq!(report.new_bytes, 100 * BLOCK_LEN as u64, "the rest is the base's");
}

#[test]
fn names_in_use_are_not_taken_unless_asked() {
    let (source, ..) = apart();
    let (_, target) = store();
    import(&target, "apart", &disk(1..=3));
    let bundle = open(&save(&source, &["apart"], &[]));
    let refused = target.load(&bundle, &LoadOptions::default());
    assert!(matches!(refused.detail(), Some(StoreError::Exists { .. })), "{refused:?}");
    target.load(&bundle, &LoadOptions { replace: true, ..LoadOptions::default() }).unwrap();
    assert_eq!(read(&target, "apart"), read(&source, "apart"));
    // An image without a name gets the given one.
    let id = source.image(&"apart".parse().unwrap()).unwrap().id();
    let nameless = open(&save(&source, &[&format!("@{id}")], &[]));
    assert!(matches!(
        store().1.load(&nameless, &LoadOptions::default()).detail(),
        Some(BlockError::Invalid { .. })
    ));
    let named = LoadOptions { name: Some("given".parse().unwrap()), ..LoadOptions::default() };
    let (_, third) = store();
    third.load(&nameless, &named).unwrap();
    assert_eq!(read(&third, "given"), read(&source, "apart"));
}

#[test]
fn a_bundle_that_was_broken_off_is_none() {
    let (source, ..) = apart();
    let bytes = save(&source, &["apart"], &[]);
    for len in [0, 1, 31, 511, 512, 513, bytes.len() / 2, bytes.len() - 1] {
        assert!(open_with(&bytes[..len], None::<Store>).is_err(), "{len} bytes of it");
    }
    let mut unfinished = bytes.clone();
    unfinished[..512].fill(0);
    assert!(open_with(&unfinished, None::<Store>).is_err());
    let mut longer = bytes;
    longer.push(0);
    assert!(open_with(&longer, None::<Store>).is_err());
}

#[test]
fn an_empty_disk_and_a_disk_of_zeros_travel() {
    let (_, source) = store();
    import(&source, "nothing", &[]);
    import(&source, "zeros", &vec![0; 1 << 20]);
    let bundle = open(&save(&source, &["nothing", "zeros"], &[]));
    assert_eq!((read(&bundle, "nothing"), read(&bundle, "zeros")), (vec![], vec![0; 1 << 20]));
    assert_sound(&bundle);
    let (_, target) = store();
    target.load(&bundle, &LoadOptions::default()).unwrap();
    assert_eq!(read(&target, "zeros"), vec![0; 1 << 20]);
}

#[test]
fn an_import_that_brings_a_list_whole_completes_what_a_load_brought_meanwhile() {
    let (source, base, other) = apart();
    let bundle = open(&save(&source, &["apart"], &[]));
    let (_, target) = store();
    let load = || target.load(&bundle, &LoadOptions::default()).map(drop);
    let options =
        ImportOptions { before_commit: Some(&load), ..ImportOptions::named("base".parse().unwrap()) };
    target.import(Source::stream(&base[..], "base"), &options).unwrap();
    assert_eq!((read(&target, "apart"), read(&target, "base")), (other, base));
    assert_sound(&target);
}

#[test]
fn two_loads_at_once_both_arrive() {
    let (source, base, other) = apart();
    let (whole, part) = (open(&save(&source, &["base"], &[])), open(&save(&source, &["apart"], &[])));
    for (first, second) in [(&whole, &part), (&part, &whole)] {
        let (_, target) = store();
        let begun = AtomicU64::new(0);
        // Once, in the middle of the first load.
        let progress = |_, _| {
            if begun.fetch_add(1, Ordering::SeqCst) == 0 {
                target.load(second, &LoadOptions::default()).unwrap();
            }
        };
        let options = LoadOptions { progress: Some(&progress), ..LoadOptions::default() };
        target.load(first, &options).unwrap();
        assert_eq!((read(&target, "apart"), read(&target, "base")), (other.clone(), base.clone()));
        assert_sound(&target);
    }
}

#[test]
fn images_opened_before_a_load_read_on_and_see_what_it_adds() {
    let (source, base, other) = apart();
    let (storage, target) = store();
    target.load(&open(&save(&source, &["apart"], &[])), &LoadOptions::default()).unwrap();
    // Another process's view of the same store, with its lists and locators in memory.
    let elsewhere = Store::open(storage, StoreOptions::default()).unwrap();
    let apart = elsewhere.image(&"apart".parse().unwrap()).unwrap();
    assert_eq!(bytes_of(&apart), other);
    target.load(&open(&save(&source, &["base"], &[])), &LoadOptions::default()).unwrap();
    assert_eq!(bytes_of(&apart), other);
    assert_eq!(read(&elsewhere, "base"), base);
}

#[test]
fn a_store_that_was_loaded_makes_the_same_bundles() {
    let (source, ..) = apart();
    let (_, target) = store();
    let both = save(&source, &["base", "apart"], &[]);
    target.load(&open(&both), &LoadOptions::default()).unwrap();
    assert!(save(&target, &["base", "apart"], &[]) == both);
}

#[test]
fn a_bundle_may_build_on_a_bundle() {
    let (source, _, other) = apart();
    let base = open(&save(&source, &["base"], &[]));
    let small = open_with(&save(&source, &["apart"], &["base"]), Some(base)).unwrap();
    assert_eq!(read(&small, "apart"), other);
    assert_sound(&small);
    // It can also be saved whole again, or loaded into a store without the base.
    let whole = open(&save(&small, &["apart"], &[]));
    assert_eq!(read(&whole, "apart"), other);
    let (_, target) = store();
    target.load(&small, &LoadOptions::default()).unwrap();
    assert_eq!(read(&target, "apart"), other);
    assert_sound(&target);
}

#[test]
fn a_name_that_was_given_meanwhile_is_not_taken() {
    let (source, ..) = apart();
    let bundle = open(&save(&source, &["apart"], &[]));
    let (_, target) = store();
    let begun = AtomicU64::new(0);
    let progress = |_, _| {
        if begun.fetch_add(1, Ordering::SeqCst) == 0 {
            import(&target, "apart", &disk(1..=3));
        }
    };
    let options = LoadOptions { progress: Some(&progress), ..LoadOptions::default() };
    let refused = target.load(&bundle, &options);
    assert!(matches!(refused.detail(), Some(StoreError::Exists { .. })), "{refused:?}");
    assert_eq!(read(&target, "apart"), disk(1..=3));
}

#[test]
fn two_images_never_get_one_name() {
    let (source, base, other) = apart();
    let id = source.image(&"apart".parse().unwrap()).unwrap().id();
    let bundle = open(&save(&source, &["base", &format!("@{id}")], &[]));
    let (_, target) = store();
    let named = LoadOptions { name: Some("base".parse().unwrap()), ..LoadOptions::default() };
    target.load(&bundle, &named).unwrap();
    assert_eq!((read(&target, "base"), read(&target, &format!("base:{id}"))), (base, other));
}

#[test]
fn a_load_brings_back_what_was_lost_and_leaves_what_was_not() {
    let (source, base, other) = apart();
    let (storage, target) = store();
    target.load(&open(&save(&source, &["apart"], &[])), &LoadOptions::default()).unwrap();
    let kept: BTreeSet<_> = storage.list("packs").unwrap().into_iter().map(|object| object.name).collect();
    let both = open(&save(&source, &["base", "apart"], &[]));
    target.load(&both, &LoadOptions::default()).unwrap();
    let packs = storage.list("packs").unwrap().into_iter().map(|object| object.name);
    let lost: Vec<_> = packs.filter(|name| !kept.contains(name)).collect();
    assert!(!lost.is_empty());
    storage.remove(&lost).unwrap();
    let target = Store::open(storage, StoreOptions::default()).unwrap();
    let report = target.load(&both, &LoadOptions::default()).unwrap();
    assert!(report.stored_bytes > 0);
    assert_eq!((read(&target, "base"), read(&target, "apart")), (base, other));
    assert_sound(&target);
}
