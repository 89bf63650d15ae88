//! Damage is healed or reported. Importing a disk or loading a bundle again restores its damaged parts for
//! every image that uses them. No call reports damaged data as sound.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

#[path = "heal/place.rs"]
mod place;
#[path = "heal/rounds.rs"]
mod rounds;

use melv::digest::ChunkId;
use melv::{
    BlockError, Bundle, BundleOptions, ImageRef, ImportOptions, LoadOptions, Result, ResultExt, SaveOptions,
    Source, Store, StoreError, StoreErrors, StoreOptions, VerifyOptions,
};
use melv_testing::{
    Rng, VecDisk, full, import, name, noise, on_threads, options, random_disk, read_all, text,
};
use place::{Harm, Place};

const KIB: usize = 1 << 10;

fn read(store: &Store, image: &str) -> Result<Vec<u8>> {
    read_all(&store.image(&image.parse()?)?)
}

fn bring(store: &Store, disk: &[u8], options: &ImportOptions<'_>) -> Result<melv::ImportReport> {
    store.import(Source::device(&VecDisk(disk.to_vec())), options)
}

fn saved(store: &Store, names: &[&str]) -> Vec<u8> {
    let refs: Vec<ImageRef> = names.iter().map(|name| name.parse().unwrap()).collect();
    let mut bytes = Vec::new();
    store.save(&refs, &mut bytes, &SaveOptions::default()).unwrap();
    bytes
}

fn load(store: &Store, bundle: &[u8], replace: bool) -> Result<melv::LoadReport> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bundle).unwrap();
    let bundle = Bundle::open(file.path(), BundleOptions::default()).unwrap();
    store.load(&bundle, &LoadOptions { replace, ..LoadOptions::default() })
}

/// Panics with the findings of a full verify.
fn assert_sound(store: &Store, what: &str) {
    let report = store.verify(&[], &full()).unwrap();
    assert!(report.damaged.is_empty(), "{what}: {:?}", report.damaged);
}

/// Makes 128 chunks of noise.
fn plain_disk() -> Vec<u8> {
    (0..64 * 16).flat_map(noise).collect()
}

#[test]
fn a_pack_that_was_changed_by_hand_is_noticed_by_the_next_import_of_the_disk() {
    let place = Place::new();
    let disk = plain_disk();
    import(&place.open(), &disk, &options("d"));
    let pack = place.only("packs");
    place.write_at(&pack, 100_000, b"UUUU");
    assert!(read(&place.open(), "d").is_err());
    let report = import(&place.open(), &disk, &options("again"));
    assert!(report.new_bytes > 0 && report.new_bytes < 4 * 65536, "{}", report.new_bytes);
    for image in ["again", "d"] {
        assert!(read(&place.open(), image).unwrap() == disk, "{image}");
    }
    assert_sound(&place.open(), "after one import");
}

#[test]
fn without_an_index_the_damage_is_found_again_and_healed() {
    for level in [3, 9] {
        let place = Place::new();
        let disk = plain_disk();
        import(&place.open(), &disk, &options("d"));
        place.write_at(&place.only("packs"), 100_000, b"UUUU");
        place.remove_index();
        import(&place.open(), &disk, &ImportOptions { level, ..options("again") });
        for image in ["again", "d"] {
            assert!(read(&place.open(), image).unwrap() == disk, "{image} at level {level}");
        }
        assert_sound(&place.open(), "without an index");
    }
}

#[test]
fn a_pack_that_was_moved_away_is_brought_again() {
    let place = Place::new();
    let disk = plain_disk();
    import(&place.open(), &disk, &options("d"));
    place.harm(&place.only("packs"), Harm::Removed, &mut Rng::new(1));
    import(&place.open(), &disk, &options("again"));
    assert!(read(&place.open(), "d").unwrap() == disk);
    assert_sound(&place.open(), "moved away");
}

/// A verify finds and records rot that leaves length and modification time unchanged.
#[test]
fn rot_that_a_verify_found_is_decoded_before_it_is_shared_with_and_healed() {
    let place = Place::new();
    let disk = plain_disk();
    import(&place.open(), &disk, &options("d"));
    let pack = place.only("packs");
    place.rot(&pack, 100_000);
    // The damage is still undetectable.
    assert_eq!(import(&place.open(), &disk, &options("blind")).new_bytes, 0);
    let report = place.open().verify(&[], &full()).unwrap();
    assert!(!report.damaged.is_empty());
    assert!(place.has("index/damaged"));
    let report = import(&place.open(), &disk, &options("again"));
    assert_eq!(report.new_bytes, 32768, "one chunk");
    for image in ["again", "blind", "d"] {
        assert!(read(&place.open(), image).unwrap() == disk, "{image}");
    }
    assert!(!place.has("index/damaged"), "the note went when it was whole");
    assert_sound(&place.open(), "rot");
}

#[test]
fn shared_chunks_are_decoded_when_that_is_asked_for() {
    let place = Place::new();
    let disk = plain_disk();
    import(&place.open(), &disk, &options("d"));
    place.rot(&place.only("packs"), 100_000);
    let check = ImportOptions { check_shared: true, ..options("again") };
    assert_eq!(import(&place.open(), &disk, &check).new_bytes, 32768);
    for image in ["again", "d"] {
        assert!(read(&place.open(), image).unwrap() == disk, "{image}");
    }
}

#[test]
fn a_note_about_what_is_whole_costs_a_look_and_goes() {
    let place = Place::new();
    let disk = plain_disk();
    import(&place.open(), &disk, &options("d"));
    let pack = place.only("packs");
    let good = place.bytes(&pack);
    place.rot(&pack, 100_000);
    place.open().verify(&[], &full()).unwrap();
    // A backup restores the pack.
    place.put(&pack, &good);
    assert_eq!(import(&place.open(), &disk, &options("again")).new_bytes, 0);
    assert!(!place.has("index/damaged"));
}

#[test]
fn a_damaged_object_is_not_kept_because_its_name_exists() {
    let disk = plain_disk();
    for harm in [Harm::Cut, Harm::Flipped, Harm::Emptied] {
        let place = Place::new();
        import(&place.open(), &disk, &options("d"));
        for folder in ["lists", "locators", "manifests", "refs", "index"] {
            std::fs::remove_dir_all(place.path(folder)).unwrap();
        }
        let mut rng = Rng::new(7);
        place.harm(&place.only("packs"), harm, &mut rng);
        place.harm(&place.only("pages"), harm, &mut rng);
        import(&place.open(), &disk, &options("d"));
        assert!(read(&place.open(), "d").unwrap() == disk, "{harm:?}");
        assert_sound(&place.open(), &format!("{harm:?}"));
    }
}

#[test]
fn a_bundle_heals_what_an_import_cannot() {
    for (folder, harm) in ["packs", "lists", "locators", "pages", "manifests"]
        .into_iter()
        .flat_map(|f| Harm::ALL.map(|h| (f, h)))
    {
        let place = Place::new();
        let disk = random_disk(3, 700 * KIB);
        import(&place.open(), &disk, &options("d"));
        let bundle = saved(&place.open(), &["d"]);
        place.harm(&place.only(folder), harm, &mut Rng::new(5));
        place.remove_index();
        load(&place.open(), &bundle, true).unwrap();
        assert!(read(&place.open(), "d").unwrap() == disk, "{folder} {harm:?}");
        assert_sound(&place.open(), &format!("{folder} {harm:?}"));
    }
}

/// Imports half of a damaged chunk, then the other half.
#[test]
fn what_several_bring_together_heals_a_chunk() {
    let place = Place::new();
    let disk: Vec<u8> = (0..64).flat_map(noise).collect();
    import(&place.open(), &disk, &options("d"));
    place.write_at(&place.only("packs"), 70_000, b"UUUU");
    // Blocks 16 to 23 are the chunk.
    import(&place.open(), &disk[..20 * 4096], &options("front"));
    assert!(read(&place.open(), "front").unwrap() == disk[..20 * 4096]);
    assert!(read(&place.open(), "d").is_err());
    import(&place.open(), &disk[18 * 4096..], &options("back"));
    for (image, expected) in [("d", &disk[..]), ("front", &disk[..20 * 4096]), ("back", &disk[18 * 4096..])] {
        assert!(read(&place.open(), image).unwrap() == expected, "{image}");
    }
    assert_sound(&place.open(), "several");
}

#[test]
fn what_is_lost_and_cannot_be_brought_fails_and_changes_nothing() {
    let place = Place::new();
    let base: Vec<u8> = (0..64).flat_map(noise).collect();
    let next = [&base[..], &noise(900)].concat();
    import(&place.open(), &base, &options("base"));
    import(&place.open(), &next, &options("next"));
    let refs = [("next".parse().unwrap())];
    let mut bytes = Vec::new();
    let without = SaveOptions { without: vec!["base".parse().unwrap()], ..SaveOptions::default() };
    place.open().save(&refs, &mut bytes, &without).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    place.open().untag(&name("next")).unwrap();
    for folder in ["manifests", "lists", "locators", "packs"] {
        let base = place.open().image(&"base".parse().unwrap()).unwrap();
        place.remove_but(folder, &base);
    }
    let packs = place.list("packs");
    assert_eq!(packs.len(), 1);
    place.write_at(&packs[0], 70_000, b"UUUU");
    let before = place.contents();
    let options = BundleOptions { base: Some(place.open().into()), ..BundleOptions::default() };
    let bundle = Bundle::open(file.path(), options).unwrap();
    let error = place.open().load(&bundle, &LoadOptions::default()).unwrap_err();
    assert!(error.is_damage(), "{error}");
    assert_eq!(place.contents(), before);
}

#[test]
fn a_damaged_page_file_of_the_parent_is_not_built_on() {
    let place = Place::new();
    let disk = plain_disk();
    import(&place.open(), &disk, &options("d"));
    place.harm(&place.only("pages"), Harm::Flipped, &mut Rng::new(2));
    let child = ImportOptions { parent: Some("d".parse().unwrap()), ..options("child") };
    import(&place.open(), &disk, &child);
    assert!(read(&place.open(), "child").unwrap() == disk);
}

/// A reader keeps its store open while another process heals it.
#[test]
fn who_reads_while_a_pack_is_healed_reads_the_healed_one() {
    for folder in ["packs", "pages", "locators", "lists"] {
        let place = Place::new();
        let disk = plain_disk();
        import(&place.open(), &disk, &options("d"));
        let bundle = saved(&place.open(), &["d"]);
        place.harm(&place.only(folder), Harm::Emptied, &mut Rng::new(11));
        let options = StoreOptions { cache: melv::Cache::new(1 << 20), ..StoreOptions::default() };
        let reader = Store::open_folder(place.root(), options).unwrap();
        let image = reader.image(&"d".parse().unwrap()).unwrap();
        assert!(read_all(&image).is_err(), "{folder}");
        load(&place.open(), &bundle, true).unwrap();
        assert!(read_all(&image).unwrap() == disk, "{folder}: the image that was open all along");
    }
}

#[test]
fn reading_goes_on_while_packs_are_damaged_and_healed() {
    let place = Place::new();
    let disk = plain_disk();
    import(&place.open(), &disk, &options("d"));
    let bundle = saved(&place.open(), &["d"]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let store = place.open();
            let image = store.image(&"d".parse().unwrap()).unwrap();
            let mut good = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                match read_all(&image) {
                    Ok(bytes) => {
                        assert!(bytes == disk, "never other bytes");
                        good += 1;
                    }
                    Err(error) => assert!(error.is_damage(), "{error}"),
                }
            }
            good
        });
        let mut rng = Rng::new(4);
        for _ in 0..8 {
            let packs = place.list("packs");
            place.harm(&packs[rng.below(packs.len() as u64) as usize], Harm::Flipped, &mut rng);
            load(&place.open(), &bundle, true).unwrap();
            assert!(read(&place.open(), "d").unwrap() == disk);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
}

/// The result of a full verify of a sound store is recorded: the next import need not read shared packs.
#[test]
fn an_unknown_pack_is_read_once() {
    let place = Place::new();
    let disk = plain_disk();
    import(&place.open(), &disk, &options("d"));
    std::fs::remove_dir_all(place.path("index/stamps")).unwrap();
    let (one, two) = (place.watched(), place.watched());
    assert_eq!(import(&one.0, &disk, &options("one")).new_bytes, 0);
    assert_eq!(import(&two.0, &disk, &options("two")).new_bytes, 0);
    let read = |watched: &place::WatchedPlace| -> u64 {
        let reads = watched.1.take_reads();
        reads.iter().filter(|(name, ..)| name.starts_with("packs")).map(|(.., len)| len).sum()
    };
    assert!(read(&one) >= disk.len() as u64);
    assert!(read(&two) < 1000, "head and trailer");
}

#[test]
fn errors_of_the_medium_are_no_damage() {
    use melv_testing::{FaultMode, FaultyStorage, Operation};
    let place = Place::new();
    let disk = plain_disk();
    import(&place.open(), &disk, &options("d"));
    std::fs::remove_dir_all(place.path("index/stamps")).unwrap();
    let before = place.contents();
    let storage = FaultyStorage::new(
        place.storage(),
        Operation::Reads,
        40,
        FaultMode::Forever,
        std::io::ErrorKind::Other,
    );
    let store = Store::open(storage, StoreOptions::default()).unwrap();
    let error = bring(&store, &disk, &options("again")).unwrap_err();
    assert!(matches!(error.detail(), Some(BlockError::Io { .. })), "{error}");
    let after = place.contents();
    let packs = |contents: &std::collections::BTreeMap<String, Vec<u8>>| {
        contents
            .iter()
            .filter(|(name, _)| !name.starts_with("index/"))
            .map(|(n, b)| (n.clone(), b.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(packs(&before), packs(&after));
}

#[test]
fn whoever_dies_while_healing_takes_nothing_with_it() {
    use melv_testing::{FaultMode, FaultyStorage, Operation};
    let (disk, other) = (plain_disk(), random_disk(8, 300 * KIB));
    let scene = Place::new();
    import(&scene.open(), &disk, &options("d"));
    import(&scene.open(), &[&disk[..100 * KIB], &other].concat(), &options("e"));
    let bundle = saved(&scene.open(), &["d", "e"]);
    let first = scene.list("packs").into_iter().max_by_key(|pack| scene.bytes(pack).len()).unwrap();
    scene.write_at(&first, 1_000_000, &[7; 300_000]);
    for by_bundle in [false, true] {
        let mut died = 0;
        loop {
            let place = scene.copy();
            let storage = FaultyStorage::new(
                place.storage(),
                Operation::Writes,
                died,
                FaultMode::Forever,
                std::io::ErrorKind::Other,
            );
            let store = Store::open(storage, StoreOptions::default()).unwrap();
            let done = if by_bundle {
                load(&store, &bundle, true).map(|_| ())
            } else {
                bring(&store, &disk, &options("again")).map(|_| ())
            };
            drop(store);
            let what = format!("write {died}, by bundle {by_bundle}");
            assert!(read(&place.open(), "e").unwrap().starts_with(&disk[..100 * KIB]), "{what}");
            let healed = read(&place.open(), "d");
            assert!(healed.is_err() || healed.unwrap() == disk, "{what}: never other bytes");
            // The next import completes the healing.
            import(&place.open(), &disk, &options("next"));
            assert!(read(&place.open(), "d").unwrap() == disk, "{what}");
            assert_sound(&place.open(), &what);
            if done.is_ok() && read(&place.open(), "d").is_ok() && died > 60 {
                break;
            }
            died += if died < 12 { 1 } else { 5 };
            assert!(died < 400, "{what}");
        }
        assert!(died > 20);
    }
}

#[test]
fn what_was_healed_is_not_read_again_nor_told_again() {
    let place = Place::new();
    let disk = plain_disk();
    import(&place.open(), &disk, &options("d"));
    place.write_at(&place.only("packs"), 100_000, b"UUUU");
    import(&place.open(), &disk, &options("again"));
    assert!(!place.has("index/damaged"));
    let (store, watched) = place.watched();
    assert_eq!(import(&store, &disk, &options("third")).new_bytes, 0);
    let reads = watched.take_reads();
    let read: u64 = reads.iter().filter(|(name, ..)| name.starts_with("packs")).map(|(.., len)| len).sum();
    assert!(read < 1000, "heads and trailers alone, not {read} bytes");
}

/// A store of another user is read with ids checked, and written only with `trust_owner`.
#[test]
fn a_store_of_another_user_is_only_read() {
    if !rustix_is_root() {
        eprintln!("only root can give a file to another user: not tested");
        return;
    }
    let place = Place::new();
    let disk = plain_disk();
    import(&place.open(), &disk, &options("d"));
    std::os::unix::fs::chown(place.path("melv.store"), Some(12345), None).unwrap();
    let store = place.open();
    assert!(read(&store, "d").unwrap() == disk);
    let error = bring(&store, &disk, &options("again")).unwrap_err();
    assert!(matches!(error.detail(), Some(StoreError::ForeignOwner { owner: 12345, .. })), "{error}");
    // A frame forged under its guard is not served.
    forge_frame(&place);
    assert!(matches!(
        read(&place.open(), "d").detail(),
        Some(StoreError::DigestMismatch { .. } | StoreError::Corrupt { .. })
    ));
    let trusting = StoreOptions { trust_owner: true, ..StoreOptions::default() };
    let store = Store::open_folder(place.root(), trusting).unwrap();
    assert!(read(&store, "d").unwrap() != disk, "the guard alone lets the forger through");
    bring(&store, &disk[..4096], &options("again")).unwrap();
    // All users trust root's stores.
    std::os::unix::fs::chown(place.path("melv.store"), Some(0), None).unwrap();
    bring(&place.open(), &disk[..8192], &options("third")).unwrap();
}

fn rustix_is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Changes a block of the first frame, and its guard in the locator.
fn forge_frame(place: &Place) {
    use melv::digest::{object_digest, page_digest};
    let (locator, pack) = (place.only("locators"), place.only("packs"));
    let list = place.bytes(&place.only("lists"));
    let (mut bytes, mut frames) = (place.bytes(&locator), place.bytes(&pack));
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (offset, len) = (word(&bytes, 4) as usize, (word(&bytes, 8) & 0xff_ffff) as usize);
    frames[offset + 4 + 17] ^= 1;
    let id = ChunkId::from_bytes(list[..32].try_into().unwrap());
    let guard = xxhash_rust::xxh3::xxh3_64_with_seed(
        &frames[offset..offset + len],
        u64::from_le_bytes(id.as_bytes()[..8].try_into().unwrap()),
    );
    bytes[16..24].copy_from_slice(&guard.to_le_bytes());
    let root_len = u64::from_le_bytes(bytes[bytes.len() - 8..].try_into().unwrap()) as usize;
    let root = bytes.len() - 8 - root_len;
    let page = page_digest(&bytes[..root]);
    let end = bytes.len() - 8;
    bytes[end - 64..end - 32].copy_from_slice(&page.0);
    let checksum = object_digest(&bytes[root..end - 32]);
    bytes[end - 32..end].copy_from_slice(&checksum.0);
    place.put(&locator, &bytes);
    place.put(&pack, &frames);
}
