//! Forged bundles: changed anywhere, with every recomputable digest recomputed.

use std::sync::OnceLock;

use melv::digest::ImageId;
use melv::ondisk::bundle::Object;
use melv::{
    BlockDevice, Bundle, Cache, Error, ErrorKind, Images, LoadOptions, MemoryStorage, Store, StoreErrors,
    StoreOptions, VerifyOptions,
};

use crate::input::Input;
use melv_testing::hostile::forge::{Site, sites};
use melv_testing::hostile::model::{Sound, open, read, sound};

/// The limit on a bundle's length: larger ones cost more than they find.
const BUNDLE_LEN_MAX: usize = 64 << 10;
/// The number of changes of each sort, plus one.
const CHANGES_MAX: u8 = 5;

struct Forgeable {
    sound: Sound,
    sites: Vec<Site>,
}

fn forgeables() -> &'static [Forgeable] {
    static ALL: OnceLock<Vec<Forgeable>> = OnceLock::new();
    ALL.get_or_init(|| {
        let small = sound().into_iter().filter(|sound| sound.bytes.len() <= BUNDLE_LEN_MAX);
        small.map(|sound| Forgeable { sites: sites(&sound.model), sound }).collect()
    })
}

/// Returns the number of bundles that the first byte of an input selects from.
#[must_use]
pub fn count() -> usize {
    forgeables().len()
}

/// Changes a bundle of the vectors, then opens, reads, verifies and loads it.
///
/// Input: a bundle; then changes of structures, of the table, and of the file. The promises: errors are
/// typed. An image with its original id reads its original bytes. If `verify` finds nothing, everything can
/// be read. A loaded image reads in the store as in the bundle.
pub fn bundle(data: &[u8]) {
    let mut input = Input(data);
    let all = forgeables();
    let forgeable = &all[input.below(all.len())];
    let sound = &forgeable.sound;
    let bytes = forged(forgeable, &mut input);
    let store = match open(bytes, sound.base.as_ref()) {
        Ok(store) => store,
        Err(error) => return assert_typed(&error),
    };
    let all_read = read_all(&store, sound);
    let options = VerifyOptions { full: true, ..Default::default() };
    let is_clean = match store.verify(&[], &options) {
        Ok(report) => report.damaged.is_empty(),
        Err(error) => {
            assert_typed(&error);
            false
        }
    };
    assert!(all_read || !is_clean, "verify finds nothing wrong");
    load(&store, sound, is_clean);
}

fn forged(forgeable: &Forgeable, input: &mut Input<'_>) -> Vec<u8> {
    let Forgeable { sound, sites } = forgeable;
    let mut model = sound.model.clone();
    let counts = input.u8();
    // Change bytes of structures. Recompute every dependent digest, now and then also in between.
    for _ in 0..counts % CHANGES_MAX {
        let site = &sites[input.below(sites.len())];
        let object = model.table.objects[site.object].clone();
        let at = input.below(site.len.clamp(1, 1 << 16) as usize) as u64;
        let choice = input.u8();
        model.scatter(&object, site.at + at, input.bytes(1 + usize::from(choice % 8)));
        if (choice / 8).is_multiple_of(8) {
            model.put_right(&sound.model, sites);
        }
    }
    if counts / CHANGES_MAX % 8 != 7 {
        model.put_right(&sound.model, sites);
    }
    // Change entries of the table, within its encoding.
    let objects = &mut model.table.objects;
    for _ in 0..input.u8() % CHANGES_MAX {
        let (one, other) = (input.below(objects.len()), input.below(objects.len()));
        match input.u8() % 6 {
            0 => objects.swap(one, other),
            1 => objects[one].id = objects[other].id,
            2 => objects[one].pieces = objects[other].pieces.clone(),
            _ => change_object(&mut objects[one], input),
        }
    }
    let mut bytes = model.bytes();
    // Change bytes of the file, with nothing recomputed.
    while !input.is_empty() {
        let at = input.u32() as usize % bytes.len();
        bytes[at] ^= input.u8();
    }
    bytes
}

fn change_object(object: &mut Object, input: &mut Input<'_>) {
    if object.pieces.is_empty() {
        return;
    }
    let number = input.below(object.pieces.len());
    let choice = input.u8();
    let small = i64::from(input.u8() as i8);
    let change = |value: u64| match choice / 8 % 3 {
        0 => value.wrapping_add_signed(small),
        1 => value.wrapping_add_signed(small * 4096),
        _ => value ^ 1 << (small as u64 % 64),
    };
    let piece = &mut object.pieces[number];
    match choice % 8 {
        0 => piece.at = change(piece.at),
        1 => piece.offset = change(piece.offset),
        2 => piece.len = change(piece.len),
        3 => object.len = change(object.len),
        4 => object.id.0[choice as usize % 32] ^= small as u8,
        5 => drop(object.pieces.remove(number)),
        6 => {
            let again = *piece;
            object.pieces.push(again);
        }
        _ => object.pieces.clear(),
    }
}

/// Asserts that an error describes a fault of the bundle, not a failure of the system.
fn assert_typed(error: &Error) {
    let is_typed = error.is_damage()
        || error.is_not_found()
        || matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Invalid | ErrorKind::Limit);
    assert!(is_typed, "not typed: {error:?}");
}

/// Whether all images can be read; those with a known id must read their original bytes.
fn read_all(store: &Images, sound: &Sound) -> bool {
    let images = match store.image_refs() {
        Ok(images) => images,
        Err(error) => {
            assert_typed(&error);
            return false;
        }
    };
    let mut all = true;
    for reference in &images {
        match store.image(reference).and_then(|image| Ok((image.id(), read(&image)?))) {
            Ok((id, bytes)) => assert_known(sound, id, &bytes),
            Err(error) => {
                assert_typed(&error);
                all = false;
            }
        }
    }
    all
}

fn assert_known(sound: &Sound, id: ImageId, bytes: &[u8]) {
    let is_right = sound.disks.get(&id).is_none_or(|disk| disk == bytes);
    assert!(is_right, "image {id} reads other bytes than it always did");
}

fn load(bundle: &Bundle, sound: &Sound, was_clean: bool) {
    let storage = MemoryStorage::new();
    let options = StoreOptions { cache: Cache::new(1 << 20), ..StoreOptions::default() };
    let store = Store::create(storage, options).expect("a store in memory");
    let name = Some("forged".parse().expect("a name"));
    let report = match store.load(bundle, &LoadOptions { name, ..LoadOptions::default() }) {
        Ok(report) => report,
        Err(error) => return assert_typed(&error),
    };
    for loaded in &report.images {
        let reference = melv::ImageRef::Id(loaded.image);
        let image = store.image(&reference).expect("an image that was loaded");
        if image.size() > 64 << 20 {
            continue;
        }
        let bytes = read(&image).expect("an image that was loaded");
        assert_known(sound, loaded.image, &bytes);
    }
    let options = VerifyOptions { full: true, ..Default::default() };
    let verified = store.verify(&[], &options).expect("verify");
    // A forger may get spans and content id wrong in an image of his own: they locate no bytes and are
    // checked only on demand. Everything right in the bundle is right in the store.
    assert!(verified.damaged.is_empty() || !was_clean, "loaded with success: {:?}", verified.damaged);
}
