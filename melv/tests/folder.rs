//! A store in a folder: links in it are not followed, and the handle refers to the folder, not its name.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use melv::storage::{FileStorage, NotObjectName, ObjectName};
use melv::{
    BlockDevice, Error, ImportOptions, ObjectSource, ObjectStore, Result, ResultExt, Scratch, Source, Store,
    StoreError, StoreOptions,
};
use melv_testing::object;

fn disk(seed: u8) -> Vec<u8> {
    (0..64u32 << 10).map(|at| (at / 4096) as u8 ^ seed).collect()
}

fn import(store: &Store, seed: u8, name: &str) -> Result<()> {
    let options = ImportOptions { replace: true, ..ImportOptions::named(name.parse()?) };
    store.import(Source::stream(&disk(seed)[..], name), &options).map(drop)
}

fn read(store: &Store, name: &str) -> Result<Vec<u8>> {
    let image = store.image(&name.parse()?)?;
    let mut bytes = vec![0; image.size() as usize];
    image.read_at(0, &mut bytes)?;
    Ok(bytes)
}

fn create(path: &Path) -> Store {
    Store::create_folder(path, StoreOptions::default()).unwrap()
}

fn text(error: &Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

/// Moves a part of a store away, and puts a link in its place.
fn link_away(store: &Path, part: &str, elsewhere: &Path) {
    let target = elsewhere.join(part.replace('/', "-"));
    std::fs::rename(store.join(part), &target).unwrap();
    symlink(target, store.join(part)).unwrap();
}

#[test]
fn a_name_that_is_a_link_leads_no_reader_out_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("store");
    let store = create(&place);
    import(&store, 1, "web").unwrap();
    symlink("/etc", place.join("refs/etc")).unwrap();
    let error = store.image(&"etc:hostname".parse().unwrap()).unwrap_err();
    assert!(text(&error).contains("refs/etc is a symbolic link"), "{}", text(&error));
    let names: Vec<_> = store.names().unwrap().into_iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["web:latest"]);
}

#[test]
fn each_part_of_a_store_that_is_a_link_is_named_and_not_followed() {
    for part in
        ["packs", "lists", "locators", "manifests", "refs", "refs/web", "refs/web/latest", "melv.store"]
    {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("store");
        import(&create(&place), 1, "web").unwrap();
        link_away(&place, part, folder.path());
        let opened = Store::open_folder(&place, StoreOptions::default());
        let error = opened.and_then(|store| read(&store, "web")).unwrap_err();
        assert!(text(&error).contains(&format!("{part} is a symbolic link")), "{part}: {}", text(&error));
    }
}

#[test]
fn no_writer_writes_or_removes_through_a_link() {
    for part in ["tmp", "packs", "pages", "lists", "locators", "manifests", "refs", "refs/web"] {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("store");
        import(&create(&place), 1, "web").unwrap();
        std::fs::create_dir_all(place.join(part)).unwrap();
        link_away(&place, part, folder.path());
        let target = folder.path().join(part.replace('/', "-"));
        let listed = || {
            let mut names: Vec<_> =
                std::fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = listed();
        if let Ok(store) = Store::open_folder(&place, StoreOptions::default()) {
            let _ = import(&store, 2, "web");
            let _ = import(&store, 3, "other");
            let _ = store.untag(&"web".parse().unwrap());
        }
        assert_eq!(listed(), before, "{part}");
    }
}

#[test]
fn names_that_lead_upwards_are_none() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    std::fs::create_dir_all(folder.path().join("store/packs")).unwrap();
    let storage = FileStorage::new(folder.path().join("store"));
    for name in ["../secret", "packs/../../secret", "/etc/passwd", "packs/./x", "packs//x", ""] {
        assert_eq!(name.parse::<ObjectName>(), Err(NotObjectName), "{name:?}");
        if !name.is_empty() {
            assert_eq!(storage.list(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
        }
    }
    assert!(folder.path().join("secret").exists());
}

#[test]
fn the_folder_itself_may_be_a_link() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("real")).unwrap();
    symlink("real", folder.path().join("link")).unwrap();
    import(&create(&folder.path().join("link")), 1, "web").unwrap();
    let store = Store::open_folder(folder.path().join("real"), StoreOptions::default()).unwrap();
    assert_eq!(read(&store, "web").unwrap(), disk(1));
}

#[test]
fn a_store_that_is_renamed_meanwhile_stays_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let store = create(&old);
    import(&store, 1, "web").unwrap();
    std::fs::rename(&old, &new).unwrap();
    // Another store takes the name.
    import(&create(&old), 9, "web").unwrap();
    assert_eq!(read(&store, "web").unwrap(), disk(1));
    import(&store, 2, "more").unwrap();
    store.tag(&"more".parse().unwrap(), &"tag".parse().unwrap(), false).unwrap();
    store.untag(&"web".parse().unwrap()).unwrap();
    let moved = Store::open_folder(&new, StoreOptions::default()).unwrap();
    assert_eq!(read(&moved, "tag").unwrap(), disk(2));
    assert!(matches!(read(&moved, "web").detail(), Some(StoreError::NotFound { .. })));
    let other = Store::open_folder(&old, StoreOptions::default()).unwrap();
    assert_eq!(read(&other, "web").unwrap(), disk(9));
}

#[test]
fn a_folder_that_was_removed_and_made_again_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("store");
    let storage = FileStorage::new(&place);
    storage.create(&object("one/a")).unwrap();
    std::fs::remove_dir_all(&place).unwrap();
    storage.create(&object("two/b")).unwrap();
    assert!(place.join("two/b").is_file());
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::create_dir_all(place.join("three")).unwrap();
    std::fs::write(place.join("three/c"), "c").unwrap();
    assert_eq!(storage.list("").unwrap()[0].name, object("three/c"));
}

/// Tests the modification stamp, which exposes changes behind the store's back.
#[test]
fn an_object_tells_when_it_last_changed() {
    let folder = tempfile::tempdir().unwrap();
    let storage = FileStorage::new(folder.path());
    let made = storage.create(&object("one")).unwrap();
    made.append(b"one").unwrap();
    storage.publish(&[(object("one"), object("two"))]).unwrap();
    let stamp = |name| storage.open(&object(name)).unwrap().modified_nanos().unwrap();
    let before = stamp("two");
    assert_eq!(before, stamp("two"), "nothing changed");
    let file = std::fs::File::options().write(true).open(folder.path().join("two")).unwrap();
    file.set_modified(
        std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(1_234_567_890_123_456_789),
    )
    .unwrap();
    assert_eq!(stamp("two"), 1_234_567_890_123_456_789);
}
