//! Objects of a later minor version, with header bits that this version does not know and may ignore. They
//! are kept unchanged, since their ids and digests cover every byte.

use std::collections::BTreeSet;

use melv::digest::ListId;
use melv::ondisk::bundle::ObjectKind;
use melv::{
    ImageId, ImageRef, Images, LoadOptions, MemoryStorage, SaveOptions, Store, StoreOptions, VerifyOptions,
};
use melv_testing::hostile::forge::{What, sites};
use melv_testing::hostile::model::{Model, Sound, open, read, sound};

/// The offsets of minor version and ignore mask in a header.
const MINOR_AT: u64 = 9;
const IGNORE_AT: u64 = 16;

/// Rewrites the bundle as by a later version: marks every object of this kind and recomputes all digests.
fn later(sound: &Sound, what: What) -> Vec<u8> {
    let mut model = sound.model.clone();
    let sites = sites(&sound.model);
    for site in sites.iter().filter(|site| site.what == what) {
        let object = model.table.objects[site.object].clone();
        model.scatter(&object, site.at + MINOR_AT, &[7]);
        model.scatter(&object, site.at + IGNORE_AT, &[0, 0, 1, 0]);
    }
    model.put_right(&sound.model, &sites);
    model.bytes()
}

/// Checks that both have the same images, and that these read the same.
fn assert_same(found: &Images, expected: &Images, what: &str) {
    let ids = |store: &Images| -> BTreeSet<ImageId> {
        let images = store.image_refs().expect("the images");
        images.iter().map(|image| store.image(image).expect(what).id()).collect()
    };
    let all = ids(expected);
    assert!(!all.is_empty() && ids(found) == all, "{what}");
    for id in all {
        let image = |store: &Images| read(&store.image(&ImageRef::Id(id)).expect(what)).expect(what);
        assert!(image(found) == image(expected), "{what}");
    }
    let verified = found.verify(&[], &VerifyOptions { full: true, ..Default::default() }).expect(what);
    assert!(verified.damaged.is_empty(), "{what}: {:?}", verified.damaged);
}

fn lists(bytes: &[u8]) -> Vec<ListId> {
    let table = Model::of(bytes).table;
    table
        .objects
        .iter()
        .filter(|object| object.kind == ObjectKind::List)
        .map(|object| ListId::new(object.id))
        .collect()
}

#[test]
fn what_a_later_minor_version_wrote_is_loaded_and_saved_as_it_is() {
    // Objects left to a base are not in the bundle.
    for sound in sound().iter().filter(|sound| sound.base.is_none()) {
        for what in [What::Manifest, What::Root, What::ListRoot] {
            let text = format!("{what:?} of {}", sound.name);
            let bytes = later(sound, what);
            let bundle = open(bytes.clone(), None).expect(&text);
            let store = Store::create(MemoryStorage::new(), StoreOptions::default()).expect("a store");
            let options = LoadOptions { name: Some("it".parse().expect("a name")), ..LoadOptions::default() };
            store.load(&bundle, &options).expect(&text);
            assert_same(&store, &bundle, &text);
            let mut saved = Vec::new();
            let images = store.image_refs().expect("the images");
            store.save(&images, &mut saved, &SaveOptions::default()).expect(&text);
            assert_same(&open(saved.clone(), None).expect(&text), &bundle, &text);
            assert_eq!(lists(&saved), lists(&bytes), "{text}");
        }
    }
}
