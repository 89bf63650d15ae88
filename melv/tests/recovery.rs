//! Writers after others failed, lied or died.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

use std::io::ErrorKind;
use std::path::Path;

use melv_testing::machine::{Contents, Machine};

use melv::digest::object_digest;
use melv::ondisk::reference::Reference;
use melv::{
    BlockDevice, BlockError, Cache, FileStorage, ImageId, ImportOptions, MemoryStorage, ObjectStore, Result,
    ResultExt, Source, Store, StoreError, StoreOptions, VerifyOptions,
};
use melv_testing::{FaultMode, FaultyStorage, Operation, object, objects};

melv_testing::on_every_machine!(
    a_commit_is_not_taken_back_because_its_reference_could_not_be_read,
    importing_a_disk_again_puts_back_what_was_lost_of_it,
    importing_a_disk_again_puts_back_roots_that_were_damaged,
    importing_a_disk_again_puts_back_what_was_cut,
    importing_a_disk_again_puts_back_what_was_flipped,
    a_name_that_leads_nowhere_is_damage_and_an_unknown_id_is_not,
);

const DISK_LEN: usize = 1 << 20;

/// Makes a disk of distinct blocks.
fn disk(seed: u64) -> Vec<u8> {
    (0..DISK_LEN as u64 / 8)
        .flat_map(|word| (word + (seed << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect()
}

fn import(store: &Store, bytes: &[u8], name: &str) -> Result<ImageId> {
    let options = ImportOptions { replace: true, ..ImportOptions::named(name.parse()?) };
    store.import(Source::stream(bytes, name), &options).map(|report| report.image)
}

fn read(store: &Store, name: &str) -> Result<Vec<u8>> {
    let image = store.image(&name.parse()?)?;
    let mut bytes = vec![0; DISK_LEN];
    image.read_at(0, &mut bytes)?;
    Ok(bytes)
}

fn store_in(storage: &impl Machine) -> Store {
    Store::create(storage.clone(), StoreOptions::default()).unwrap()
}

fn names_in(storage: &impl Machine, folder: &str) -> Vec<String> {
    storage.list(folder).unwrap().into_iter().map(|object| object.name.into()).collect()
}

/// Leaves the journal of a writer that died after writing its reference and before removing its journal.
fn leave_journal(storage: &impl Machine, reference: &str, objects: &[String]) {
    let record = storage.contents()[reference].clone();
    let mut text = format!("reference {reference} {}\n", object_digest(&record));
    objects.iter().for_each(|object| text.push_str(&format!("new {object}\n")));
    text.push_str(&object_digest(text.as_bytes()).to_string());
    storage.put("tmp/0/journal", text.into_bytes());
}

fn objects_of_image(storage: &impl Machine) -> Vec<String> {
    ["packs", "lists", "locators", "pages", "manifests"]
        .iter()
        .flat_map(|folder| names_in(storage, folder))
        .collect()
}

fn a_commit_is_not_taken_back_because_its_reference_could_not_be_read<M: Machine>() {
    let storage = M::with(&Contents::new());
    import(&store_in(&storage), &disk(1), "web").unwrap();
    leave_journal(&storage, "refs/web/latest", &objects_of_image(&storage));
    for fail_at in 0..12 {
        let crashed = storage.power_loss(1);
        let faulty =
            FaultyStorage::new(crashed.clone(), Operation::Reads, fail_at, FaultMode::Once, ErrorKind::Other);
        let store = Store::open(faulty, StoreOptions::default());
        let _ = store.and_then(|store| store.tag(&"web".parse()?, &"other".parse()?, false));
        assert_eq!(read(&store_in(&crashed), "web").unwrap(), disk(1), "read {fail_at} fails");
    }
}

#[test]
fn a_forged_journal_removes_nothing_but_what_commits_publish() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    let place = folder.path().join("store");
    let store = Store::create_folder(&place, StoreOptions::default()).unwrap();
    import(&store, &disk(1), "web").unwrap();
    for name in ["../victim", &victim.display().to_string(), "packs/../../victim", "melv.store"] {
        let mut text = format!("reference refs/none/latest {}\nnew {name}\n", "0".repeat(64));
        text.push_str(&object_digest(text.as_bytes()).to_string());
        std::fs::create_dir_all(place.join("tmp/7")).unwrap();
        std::fs::write(place.join("tmp/7/journal"), text).unwrap();
        import(&store, &disk(2), "other").unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious", "{name}");
        assert_eq!(read(&store, "web").unwrap(), disk(1), "{name}");
    }
}

#[test]
fn a_linked_folder_leads_no_writer_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("backups");
    std::fs::create_dir_all(elsewhere.join("2024")).unwrap();
    std::fs::write(elsewhere.join("2024/all.tar"), "precious").unwrap();
    let place = folder.path().join("store");
    let store = Store::create_folder(&place, StoreOptions::default()).unwrap();
    std::fs::remove_dir_all(place.join("tmp")).ok();
    std::os::unix::fs::symlink(&elsewhere, place.join("tmp")).unwrap();
    assert!(matches!(import(&store, &disk(1), "web").detail(), Some(BlockError::Io { .. })));
    assert_eq!(std::fs::read_to_string(elsewhere.join("2024/all.tar")).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(elsewhere.join("2024")).unwrap().count(), 1);
}

#[test]
fn a_folder_that_holds_other_things_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.tex"), "precious").unwrap();
    let refused = Store::create_folder(folder.path(), StoreOptions::default());
    assert!(
        matches!(refused.detail(), Some(StoreError::NoStore { path }) if path.contains("thesis.tex")),
        "{refused:?}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Damages every object of `folder` with `harm`, imports the same disk again, and reads it.
fn heals<M: Machine>(folder: &str, harm: impl Fn(&M, &str)) {
    let storage = M::with(&Contents::new());
    import(&store_in(&storage), &disk(1), "web").unwrap();
    for name in names_in(&storage, folder) {
        harm(&storage, &name);
    }
    let store = store_in(&storage);
    assert!(read(&store, "web").is_err(), "{folder} is needed");
    import(&store, &disk(1), "again").unwrap();
    let store = store_in(&storage);
    assert_eq!(read(&store, "again").unwrap(), disk(1), "{folder}");
    let report = store.verify(&[], &VerifyOptions { full: true, ..Default::default() }).unwrap();
    assert!(report.damaged.is_empty(), "{folder}: {:?}", report.damaged);
}

fn importing_a_disk_again_puts_back_what_was_lost_of_it<M: Machine>() {
    for folder in ["packs", "lists", "locators", "pages", "manifests"] {
        heals::<M>(folder, |storage, name| storage.remove(&[object(name)]).unwrap());
    }
}

fn importing_a_disk_again_puts_back_roots_that_were_damaged<M: Machine>() {
    for folder in ["lists", "locators", "manifests"] {
        heals::<M>(folder, |storage, name| {
            let mut bytes = storage.contents()[name].clone();
            // A list or locator ends in its root; a manifest lies at the front of its record.
            let at = if name.starts_with("manifests") { 120 } else { bytes.len() - 40 };
            bytes[at] ^= 1;
            storage.put(name, bytes);
        });
    }
}

fn importing_a_disk_again_puts_back_what_was_cut<M: Machine>() {
    for folder in ["packs", "lists", "locators", "pages", "manifests"] {
        for part in [0, 1, 2, 3] {
            heals::<M>(folder, |storage, name| {
                let mut bytes = storage.contents()[name].clone();
                bytes.truncate(bytes.len() * part / 4);
                storage.put(name, bytes);
            });
        }
    }
}

/// A back end in memory has no modification times: without the index, everything is decoded.
fn importing_a_disk_again_puts_back_what_was_flipped<M: Machine>() {
    for folder in ["packs", "lists", "locators", "pages", "manifests"] {
        heals::<M>(folder, |storage, name| {
            let mut bytes = storage.contents()[name].clone();
            // The leaf is the last page.
            let at = if name.starts_with("pages") { bytes.len() - 8 } else { bytes.len() / 2 };
            bytes[at] ^= 1;
            storage.put(name, bytes);
            storage.remove(&objects(names_in(storage, "index"))).unwrap();
        });
    }
}

fn a_name_that_leads_nowhere_is_damage_and_an_unknown_id_is_not<M: Machine>() {
    let storage = M::with(&Contents::new());
    let store = store_in(&storage);
    let image = import(&store, &disk(1), "web").unwrap();
    let lost = ImageId::new(object_digest(b"nobody"));
    let record = Reference { name: "gone:latest".into(), image: lost, created_seconds: 0 };
    storage.put("refs/gone/latest", record.encode());
    assert!(matches!(store.image(&"gone".parse().unwrap()).detail(), Some(StoreError::Corrupt { .. })));
    assert!(matches!(
        store.image(&format!("@{lost}").parse().unwrap()).detail(),
        Some(StoreError::NotFound { .. })
    ));
    assert!(store.image(&format!("@{image}").parse().unwrap()).is_ok());
}

#[test]
fn one_cache_never_hands_a_stores_guarded_chunks_to_another() {
    let cache = Cache::new(16 << 20);
    let options = || StoreOptions { cache: cache.clone(), ..Default::default() };
    let (one, other) = (MemoryStorage::new(), MemoryStorage::new());
    import(&store_in(&one), &disk(1), "web").unwrap();
    import(&store_in(&other), &disk(1), "web").unwrap();
    let read_block = |store: &Store| {
        let image = store.image(&"web".parse()?)?;
        image.read_at(4096, &mut [0; 4096])
    };
    read_block(&Store::open(one, options()).unwrap()).unwrap();
    // The second store has lost its frames: a chunk cached under the first store's guard is not its own.
    for pack in names_in(&other, "packs") {
        other.remove(&[object(&pack)]).unwrap();
    }
    assert!(read_block(&Store::open(other, options()).unwrap()).is_err());
}

#[test]
fn a_relative_folder_of_one_part_holds_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let here = std::env::current_dir().unwrap();
    let relative = Path::new(folder.path()).strip_prefix("/").unwrap();
    let up: std::path::PathBuf = here.components().skip(1).map(|_| "..").collect();
    let storage = FileStorage::new(up.join(relative).join("one"));
    import(&Store::create(storage, StoreOptions::default()).unwrap(), &disk(1), "web").unwrap();
    assert!(folder.path().join("one/melv.store").is_file());
}
