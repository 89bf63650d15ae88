//! One call reads chunks whose frames are adjacent. The result equals that of separate reads, also with
//! damage among them, from bundles, and from stores with only some of the blocks.

use melv::{
    BlockDevice, Bundle, BundleOptions, Image, Images, LoadOptions, LocalFolder, MemoryStorage, SaveOptions,
    Store, StoreErrors, StoreOptions, VerifyMode,
};
use melv_testing::{BLOCK, Rng, Watched, assert_equal, image, import, options, store_in};

const MIB: usize = 1 << 20;
/// Bytes of a chunk of the default length.
const CHUNK: usize = 8 * BLOCK;

/// Makes blocks that zstd reduces to about half; zeros for seed 0.
fn blocks(seeds: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let block = |seed| match seed {
        0 => vec![0; BLOCK],
        seed => [&melv_testing::noise(seed)[..BLOCK / 2], &[7; BLOCK / 2]].concat(),
    };
    seeds.into_iter().flat_map(block).collect()
}

fn open(storage: impl LocalFolder + 'static, verify: VerifyMode) -> Store {
    Store::open(storage, StoreOptions { verify, ..Default::default() }).expect("store")
}

/// Reads in requests of 1 MiB, in order and then at random, and compares with the disk.
fn check_large_reads(image: &Image, disk: &[u8], what: &str) {
    let mut out = vec![0x77; MIB];
    for (number, expected) in disk.chunks(MIB).enumerate() {
        let out = &mut out[..expected.len()];
        image.read_at((number * MIB) as u64, out).expect(what);
        assert_equal(out, expected, &format!("{what}: MiB {number}"));
    }
    let mut rng = Rng::new(disk.len() as u64);
    for round in 0..20 {
        let at = rng.below((disk.len() - MIB) as u64) as usize;
        // Cached chunks then interrupt runs.
        image.read_at(rng.below((disk.len() - BLOCK) as u64), &mut out[..BLOCK]).expect(what);
        image.read_at(at as u64, &mut out).expect(what);
        assert_equal(&out, &disk[at..at + MIB], &format!("{what}: round {round}, byte {at}"));
    }
}

/// Returns the place of the frame of the chunk at `at` of the image "disk": object, offset, length.
fn frame_of(storage: &MemoryStorage, at: usize) -> (String, u64, u64) {
    let watched = Watched::new(storage.clone());
    let image = image(&open(watched.clone(), VerifyMode::Guard), "disk");
    image.read_at(at as u64, &mut [0; BLOCK]).expect("read");
    watched.take_reads().pop().expect("the frame is read last")
}

#[test]
fn damage_among_neighbours_is_the_damaged_chunks_alone() {
    let storage = MemoryStorage::new();
    let disk = blocks(1..=1024);
    import(&store_in(&storage), &disk, &options("disk"));
    // The first, a middle and the last chunk of one call, and of a request.
    for damaged in [32, 33, 40, 47, 63] {
        let (pack, offset, len) = frame_of(&storage, damaged * CHUNK);
        let sound = storage.contents()[&pack].clone();
        let mut bytes = sound.clone();
        bytes[(offset + len / 2) as usize] ^= 0x10;
        storage.put(&pack, bytes);
        for verify in [VerifyMode::Guard, VerifyMode::Full] {
            let what = format!("chunk {damaged}, {verify:?}");
            // A new handle for each, so that nothing is cached.
            let fresh = || image(&open(storage.clone(), verify), "disk");
            let mut out = vec![0; MIB];
            let alone = fresh().read_at((damaged * CHUNK) as u64, &mut out[..BLOCK]).expect_err(&what);
            let whole = fresh().read_at((damaged * CHUNK) as u64, &mut out[..CHUNK]).expect_err(&what);
            let among = fresh().read_at(MIB as u64, &mut out).expect_err(&what);
            assert_eq!(format!("{among:?}"), format!("{alone:?}"), "{what}");
            assert_eq!(format!("{whole:?}"), format!("{alone:?}"), "{what}");
            assert!(
                among.is_damage() && format!("{among:?}").contains(&format!("{offset}")),
                "{what}: {among:?}"
            );

            let image = fresh();
            image.read_at(MIB as u64, &mut out).expect_err(&what);
            // All chunks but the damaged one read: block by block, in large pieces around it, and elsewhere.
            for chunk in 32..64 {
                let at = chunk * CHUNK + chunk % 8 * BLOCK;
                match image.read_at(at as u64, &mut out[..BLOCK]) {
                    Ok(()) => assert_equal(&out[..BLOCK], &disk[at..at + BLOCK], &what),
                    Err(error) => assert_eq!((chunk, format!("{error:?}")), (damaged, format!("{alone:?}"))),
                }
            }
            let image = fresh();
            for (start, end) in [(MIB, damaged * CHUNK), ((damaged + 1) * CHUNK, 2 * MIB), (0, MIB)] {
                image.read_at(start as u64, &mut out[..end - start]).expect(&what);
                assert_equal(&out[..end - start], &disk[start..end], &what);
            }
        }
        storage.put(&pack, sound);
    }
    check_large_reads(&image(&open(storage, VerifyMode::Full), "disk"), &disk, "whole again");
}

fn save(store: &Images, name: &str, without: Option<&str>) -> Vec<u8> {
    let reference = |name: &str| name.parse().expect("a name");
    let options = SaveOptions { without: without.map(reference).into_iter().collect(), ..Default::default() };
    let mut bytes = Vec::new();
    store.save(&[reference(name)], &mut bytes, &options).expect("save");
    bytes
}

/// A bundle in memory.
#[derive(Debug)]
struct Bytes(Vec<u8>);

impl melv::storage::ReadAt for Bytes {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        let range = offset as usize..offset as usize + buf.len();
        buf.copy_from_slice(self.0.get(range).ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fn bundle(bytes: Vec<u8>, base: Option<Store>) -> Bundle {
    let options = BundleOptions { base: base.map(Images::from), ..Default::default() };
    Bundle::open_reader(Bytes(bytes), "test.melv", options).expect("a bundle")
}

#[test]
fn bundles_and_chunks_held_in_part_read_in_large_pieces_as_the_disk() {
    let storage = MemoryStorage::new();
    let source = store_in(&storage);
    let base = blocks((1..=1200).chain([0; 40]).chain(2001..=2300));
    // Runs of the base's chunks, whole and in part, and new blocks between them.
    let parts = (1..=400).chain((401..=700).step_by(3)).chain([0; 7]).chain(5001..=5150);
    let disk = blocks(parts.chain(705..=1200).chain((2001..=2300).step_by(2)));
    import(&source, &base, &options("base"));
    import(&source, &disk, &options("disk"));
    let read = |store: &Images, name: &str, expected: &[u8], what: &str| {
        check_large_reads(&image(store, name), expected, what);
    };
    read(&open(storage.clone(), VerifyMode::Full), "disk", &disk, "the store");

    let whole = save(&source, "disk", None);
    read(&bundle(whole.clone(), None), "disk", &disk, "a bundle");
    let less = save(&source, "disk", Some("base"));
    assert!(less.len() < whole.len());
    read(&bundle(less.clone(), Some(open(storage, VerifyMode::Guard))), "disk", &disk, "beside its base");

    // Loaded alone, the base's list is held in part; then the rest arrives.
    let held = MemoryStorage::new();
    let target = store_in(&held);
    target.load(&bundle(whole, None), &LoadOptions::default()).expect("load");
    let opened = open(held.clone(), VerifyMode::Guard);
    read(&opened, "disk", &disk, "held in part");
    let early = image(&opened, "disk");
    target.load(&bundle(save(&source, "base", None), None), &LoadOptions::default()).expect("load");
    check_large_reads(&early, &disk, "opened before the rest came");
    read(&open(held.clone(), VerifyMode::Full), "disk", &disk, "held in two parts");
    read(&open(held, VerifyMode::Full), "base", &base, "held in two parts");

    // Also from a store that got the base first, then the disk without it.
    let held = MemoryStorage::new();
    let target = store_in(&held);
    target.load(&bundle(save(&source, "base", None), None), &LoadOptions::default()).expect("load");
    target.load(&bundle(less, Some(target.clone())), &LoadOptions::default()).expect("load");
    read(&open(held, VerifyMode::Guard), "disk", &disk, "loaded beside its base");
}
