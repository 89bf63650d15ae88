//! Texts: journals of commits, and names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use melv::digest::object_digest;
use melv::fuzzing;
use melv::ondisk::reference::is_name;
use melv::{Digest, ImageRef, ImportOptions, MemoryStorage, RefName, Source, Store, StoreOptions};

use crate::input::Input;

/// The mark for an object's id in a journal: `$` and a number.
const IDS: u8 = b'$';

/// A store with two images, and its objects by number.
struct Fixture {
    contents: BTreeMap<String, Vec<u8>>,
    names: Vec<String>,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let storage = MemoryStorage::new();
        let store = Store::create(storage.clone(), StoreOptions::default()).expect("a store");
        for (name, byte) in [("one", 1u8), ("two", 2)] {
            let disk: Vec<u8> = (0..3 * 4096u32).map(|at| (at / 4096) as u8 * 16 + byte).collect();
            let options = ImportOptions::named(name.parse().expect("a name"));
            store.import(Source::stream(&disk[..], name), &options).expect("an import");
        }
        let contents = storage.contents();
        let names = contents.keys().filter(|name| !name.starts_with("index/")).cloned().collect();
        Fixture { contents, names }
    })
}

/// Checks journals: a valid one has one encoding, and undoing a commit changes only the objects it names.
///
/// The input is the text without its digest. `$` and a byte stand for the name of an object of a store, `%`
/// and a byte for the digest of its bytes.
pub fn journal(data: &[u8]) {
    let fixture = fixture();
    let mut text = Vec::new();
    let mut input = Input(data);
    while !input.is_empty() {
        match input.u8() {
            IDS => text.extend_from_slice(fixture.names[input.below(fixture.names.len())].as_bytes()),
            b'%' => {
                let name = &fixture.names[input.below(fixture.names.len())];
                text.extend_from_slice(object_digest(&fixture.contents[name]).to_string().as_bytes());
            }
            byte => text.push(byte),
        }
    }
    let sealed = [&text[..], object_digest(&text).to_string().as_bytes()].concat();
    for bytes in [data, &sealed] {
        let again = fuzzing::journal(bytes);
        assert_eq!(again.as_deref().and_then(fuzzing::journal), again, "two texts of one journal");
    }
    if fuzzing::journal(&sealed).is_none() {
        return;
    }
    let text = String::from_utf8(text).expect("a journal that is believed is text");
    undo(&text, sealed, fixture);
}

fn undo(text: &str, sealed: Vec<u8>, fixture: &Fixture) {
    let storage = MemoryStorage::new();
    fixture.contents.iter().for_each(|(name, bytes)| storage.put(name, bytes.clone()));
    storage.put("tmp/0/journal", sealed);
    storage.put("tmp/0/old-0", b"what it was".to_vec());
    let store = Store::open(storage.clone(), StoreOptions::default()).expect("the store's header is whole");
    // A writer first undoes a dead writer's commit; its own work may fail.
    let _ = store.tag(&"two".parse().expect("a name"), &"three".parse().expect("a name"), true);
    let named: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    let after = storage.contents();
    for (name, bytes) in &fixture.contents {
        let is_free = name.starts_with("index/") || named.contains(name.as_str());
        assert!(is_free || after.get(name) == Some(bytes), "{name} was not named in\n{text}");
    }
    for name in after.keys().filter(|name| !fixture.contents.contains_key(*name)) {
        let is_expected = name == "refs/three/latest" || named.contains(name.as_str());
        assert!(is_expected || name.starts_with("tmp/") || name.starts_with("index/"), "{name} came");
    }
}

/// Checks names of images: an accepted name is written as it is read, and has its own object.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(name) = text.parse::<RefName>() {
        round_trip(&name);
        assert!(is_name(name.name()) && is_name(name.tag()));
        let written = name.to_string();
        assert!(written == text || written == format!("{text}:latest"));
    }
    if let Some(name) = RefName::from_stem(&text) {
        round_trip(&name);
    }
    if let Some(name) = fuzzing::reference_of_object(&text) {
        assert_eq!(fuzzing::object_of_reference(&name), text);
    }
    match text.parse::<ImageRef>() {
        Ok(ImageRef::Name(name)) => round_trip(&name),
        Ok(ImageRef::Id(id)) => assert_eq!(text.parse::<ImageRef>().ok(), Some(ImageRef::Id(id))),
        _ => {}
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
}

fn round_trip(name: &RefName) {
    assert_eq!(name.to_string().parse::<RefName>().ok().as_ref(), Some(name));
    let object = fuzzing::object_of_reference(name);
    assert_eq!(fuzzing::reference_of_object(&object).as_ref(), Some(name));
    assert!(object.starts_with("refs/") && !object.contains("..") && object.split('/').count() == 3);
}
