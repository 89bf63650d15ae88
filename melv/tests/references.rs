//! Names and short ids: the images they refer to, and since when.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use melv::{
    FileStorage, ImageRef, ImportOptions, MemoryStorage, ObjectStore, RefName, ResultExt, Scratch, Source,
    Store, StoreError, StoreOptions,
};
use melv_testing::object;

fn store_in(storage: MemoryStorage) -> Store {
    Store::create(storage, StoreOptions::default()).unwrap()
}

/// Imports a disk of `size` zeros and returns its id.
fn import(store: &Store, name: &str, size: usize) -> String {
    let options = ImportOptions::named(name.parse().unwrap());
    store.import(Source::stream(vec![0; size].as_slice(), "zeros"), &options).unwrap().image.to_string()
}

fn reference(text: &str) -> ImageRef {
    text.parse().unwrap()
}

/// Makes objects with the names of images whose ids begin with `digits`.
fn add_twins(storage: &MemoryStorage, digits: &str, count: usize) {
    for number in 0..count {
        let id = format!("{digits}{number:0>width$}", width = 64 - digits.len());
        storage.create(&object("twin")).unwrap().sync().unwrap();
        storage.publish(&[(object("twin"), object(&format!("manifests/{id}")))]).unwrap();
    }
}

#[test]
fn the_first_digits_of_an_id_stand_for_its_image_with_and_without_the_sign() {
    let store = store_in(MemoryStorage::new());
    let (one, other) = (import(&store, "one", 512), import(&store, "other", 1024));
    for (id, len) in [(&one, 6), (&one, 12), (&other, 63), (&other, 64)] {
        let digits = &id[..len];
        for text in [format!("@{digits}"), digits.to_owned()] {
            assert_eq!(store.resolve(&reference(&text)).unwrap().to_string(), *id, "{text}");
        }
    }
    let missing = store.resolve(&reference("@0123456789ab")).unwrap_err();
    assert_eq!(missing.to_string(), "image @0123456789ab is not in this store");
    assert!(matches!(missing.detail(), Some(StoreError::NotFound { .. })));
}

#[test]
fn a_name_is_never_taken_for_an_id_that_it_looks_like() {
    let store = store_in(MemoryStorage::new());
    let one = import(&store, "one", 512);
    let other = import(&store, &one[..8], 1024);
    assert_eq!(store.resolve(&reference(&one[..8])).unwrap().to_string(), other);
    assert_eq!(store.resolve(&reference(&format!("@{}", &one[..8]))).unwrap().to_string(), one);
    // With a tag, the text is never an id.
    assert!(store.resolve(&reference(&format!("{}:1", &one[..7]))).is_err());
}

#[test]
fn digits_of_many_images_name_the_first_few_and_count_all() {
    let storage = MemoryStorage::new();
    let store = store_in(storage.clone());
    let id = import(&store, "one", 512);
    store.tag(&reference("one"), &"more:1".parse().unwrap(), false).unwrap();
    let digits = &id[..10];
    add_twins(&storage, digits, 1);
    let found = store.resolve(&reference(&format!("@{digits}")));
    let Some(StoreError::Ambiguous { prefix, count, candidates }) = found.detail() else {
        panic!("two images begin so");
    };
    assert_eq!((prefix.as_str(), *count, candidates.len()), (digits, 2, 2));
    assert!(candidates[0].image < candidates[1].image);
    let named = candidates.iter().find(|candidate| candidate.image.to_string() == id).unwrap();
    assert_eq!(named.names, ["more:1", "one:latest"]);
    add_twins(&storage, &id[..8], 50);
    let found = store.resolve(&reference(&id[..8]));
    assert!(
        matches!(found.detail(), Some(StoreError::Ambiguous { count: 52, candidates, .. }) if candidates.len() == 16),
        "{found:?}"
    );
}

#[test]
fn a_tag_has_the_time_of_the_name_that_it_was_made_from() {
    let store = store_in(MemoryStorage::new());
    let id = import(&store, "one", 512);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let name = |text: &str| text.parse::<RefName>().unwrap();
    store.tag(&reference("one"), &name("by-name"), false).unwrap();
    store.tag(&reference(&format!("@{id}")), &name("by-id"), false).unwrap();
    store.tag(&reference(&id[..6]), &name("by-digits"), false).unwrap();
    let times = || {
        let references = store.names().unwrap().into_iter();
        references.map(|(_, named)| named.unwrap().created_seconds).collect::<Vec<_>>()
    };
    assert!(times().iter().all(|time| *time == times()[0]), "{:?}", times());
    // An unnamed image takes the time of its next name.
    let before = times()[0];
    for held in ["one", "by-name", "by-id", "by-digits"] {
        store.untag(&name(held)).unwrap();
    }
    store.tag(&reference(&format!("@{id}")), &name("again"), false).unwrap();
    assert!(times()[0] > before);
}

#[test]
fn no_store_is_made_among_other_things() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), b"precious").unwrap();
    let created = Store::create_folder(folder.path(), StoreOptions::default());
    assert!(
        matches!(created.detail(), Some(StoreError::NoStore { path }) if path.contains("thesis.txt")),
        "{created:?}"
    );
    let created = Store::create(FileStorage::new(folder.path()), StoreOptions::default());
    assert!(matches!(created.detail(), Some(StoreError::NoStore { .. })), "{created:?}");
    assert!(!folder.path().join("melv.store").exists());
}
