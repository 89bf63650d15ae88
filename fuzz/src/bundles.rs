//! Bundles that a forger made: changed anywhere, with every digest put right that can be.

use std::sync::OnceLock;

use melv::ondisk::bundle::Object;
use melv::{
    BlockDevice, Cache, Digest, Error, LoadOptions, MemoryStorage, Store, StoreOptions, VerifyOptions,
};

use crate::hostile::forge::{Site, sites};
use crate::hostile::model::{Sound, open, read, sound};
use crate::input::Input;

/// Larger ones cost more than they find.
const BUNDLE_LEN_MAX: usize = 64 << 10;
const CHANGES_MAX: usize = 6;

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

/// How many bundles the first byte of an input chooses from.
#[must_use]
pub fn count() -> usize {
    forgeables().len()
}

/// A bundle of the vectors, changed: opened, read, verified and loaded.
///
/// Input: which bundle; then changes, each a kind and what it needs. What is promised: errors are typed; an image
/// that has its id reads the bytes that it always read; where `verify` finds nothing, all can be read; what was
/// loaded with success reads in the store as it did in the bundle.
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
    match store.verify(&[], &options) {
        Ok(report) => assert!(all_read || !report.damaged.is_empty(), "verify finds nothing wrong"),
        Err(error) => assert_typed(&error),
    }
    load(&store, sound);
}

fn forged(forgeable: &Forgeable, input: &mut Input<'_>) -> Vec<u8> {
    let Forgeable { sound, sites } = forgeable;
    let mut model = sound.model.clone();
    let mut plain = Vec::new();
    for _ in 0..CHANGES_MAX {
        if input.is_empty() {
            break;
        }
        match input.u8() % 8 {
            // Bytes of a structure.
            0..=3 => {
                let site = &sites[input.below(sites.len())];
                let object = model.table.objects[site.object].clone();
                let at = input.below(site.len.clamp(1, 1 << 16) as usize) as u64;
                let len = 1 + input.below(8);
                model.scatter(&object, site.at + at, input.bytes(len));
            }
            // An entry of the table, as a table can say it.
            4 => {
                let number = input.below(model.table.objects.len());
                change_object(&mut model.table.objects[number], input);
            }
            5 => {
                let count = model.table.objects.len();
                let (one, other) = (input.below(count), input.below(count));
                match input.u8() % 3 {
                    0 => model.table.objects.swap(one, other),
                    1 => model.table.objects[one].id = model.table.objects[other].id,
                    _ => {
                        let moved = model.table.objects[other].pieces.clone();
                        model.table.objects[one].pieces = moved;
                    }
                }
            }
            6 => model.put_right(&sound.model, sites),
            // Bytes of the file, with nothing put right.
            _ => plain.push((input.u32(), input.u8())),
        }
    }
    if input.u8() % 8 != 7 {
        model.put_right(&sound.model, sites);
    }
    let mut bytes = model.bytes();
    for (at, change) in plain {
        let at = at as usize % bytes.len();
        bytes[at] ^= change;
    }
    bytes
}

fn change_object(object: &mut Object, input: &mut Input<'_>) {
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

/// An error says what is wrong with the bundle, as opposed to a refusal of the system.
fn assert_typed(error: &Error) {
    let is_typed = error.is_damage()
        || error.is_not_found()
        || matches!(
            error,
            Error::Unsupported { .. }
                | Error::BaseMissing { .. }
                | Error::Invalid { .. }
                | Error::Limit { .. }
        );
    assert!(is_typed, "not typed: {error:?}");
}

/// Whether all images can be read; those with an id that is known must read what they always read.
fn read_all(store: &Store, sound: &Sound) -> bool {
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

fn assert_known(sound: &Sound, id: Digest, bytes: &[u8]) {
    let is_right = sound.disks.get(&id).is_none_or(|disk| disk == bytes);
    assert!(is_right, "image {id} reads other bytes than it always did");
}

fn load(bundle: &Store, sound: &Sound) {
    let storage = MemoryStorage::new();
    let options = StoreOptions { cache: Cache::new(1 << 20), ..StoreOptions::default() };
    let store = Store::create(storage, options).expect("a store in memory");
    let report = match store.load(bundle, &LoadOptions::default()) {
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
    assert!(verified.damaged.is_empty(), "loaded with success: {:?}", verified.damaged);
}
