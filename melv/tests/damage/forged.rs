//! Objects forged with sound checksums: damage that only deeper checks find, and objects of later versions.

use super::*;

/// A list of several chunks with its locator and its one pack, taken apart.
struct Parts {
    contents: Contents,
    disk: Vec<u8>,
    list: String,
    locator: String,
    pack: String,
    ids: Vec<ChunkId>,
    root: LocatorRoot,
    records: Vec<FramePlace>,
}

fn only(contents: &Contents, folder: &str) -> String {
    let mut names = contents.keys().filter(|name| name.starts_with(folder));
    let (name, more) = (names.next().expect(folder).clone(), names.next());
    assert_eq!(more, None);
    name
}

impl Parts {
    fn new() -> Self {
        let storage = MemoryStorage::new();
        let disk: Vec<u8> = (0..16).flat_map(melv_testing::noise).collect();
        import(&store_in(&storage), &disk, &ImportOptions { chunk_blocks: 4, ..options("disk") });
        let contents = storage.contents();
        let [list, locator, pack] = ["lists/", "locators/", "packs/"].map(|folder| only(&contents, folder));
        let ids: Vec<_> = contents[&list]
            .chunks(32)
            .take(4)
            .map(|id| ChunkId::from_bytes(id.try_into().expect("32 bytes")))
            .collect();
        let bytes = &contents[&locator];
        let (pages, root) = bytes.split_at(4 * locator::RECORD_LEN);
        let root = LocatorRoot::decode(&root[..root.len() - 8]).expect("a root");
        assert_eq!((root.chunks, root.records), (4, 4));
        let records = (0..4).map(|n| FramePlace::decode(pages, n, &root).expect("a record")).collect();
        Self { contents, disk, list, locator, pack, ids, root, records }
    }

    fn frame(&self, chunk: usize) -> &[u8] {
        let place = &self.records[chunk];
        &self.contents[&self.pack][place.offset as usize..][..place.len as usize]
    }

    /// Makes a store with these frames, each with the guard for its chunk's id, and recomputes everything
    /// above them.
    fn with_frames(&self, frames: &[Vec<u8>]) -> MemoryStorage {
        let mut bytes = pack::encode_head();
        let (mut packed, mut places) = (Vec::new(), Vec::new());
        for (frame, id) in frames.iter().zip(&self.ids) {
            let (len, guard) = (frame.len() as u32, guard(id, frame));
            let partial = frame.get(2) == Some(&1);
            places.push(FramePlace { pack: 0, offset: bytes.len() as u32, len, partial, next: 0, guard });
            packed.push(FrameRecord { key: id.prefix(), len, guard });
            bytes.extend_from_slice(frame);
        }
        let (tail, id) = pack::encode_tail(&packed);
        bytes.extend(tail);
        let mut contents = self.contents.clone();
        contents.remove(&self.pack);
        contents.insert(format!("packs/{id}"), bytes);
        self.with_records(contents, &places, id)
    }

    fn with_records(&self, mut contents: Contents, places: &[FramePlace], pack: PackId) -> MemoryStorage {
        let mut bytes = Vec::new();
        places.iter().for_each(|place| place.encode(&mut bytes));
        let root = LocatorRoot {
            in_part: places.iter().any(|place| place.partial || place.next != 0),
            records: places.len() as u64,
            packs: vec![pack],
            pages: vec![page_digest(&bytes)],
            ..self.root.clone()
        };
        let root = root.encode();
        bytes.extend_from_slice(&root);
        bytes.extend_from_slice(&(root.len() as u64).to_le_bytes());
        contents.insert(self.locator.clone(), bytes);
        put_all(&contents)
    }

    fn frames(&self) -> Vec<Vec<u8>> {
        (0..4).map(|chunk| self.frame(chunk).to_vec()).collect()
    }

    fn pack_id(&self) -> PackId {
        self.root.packs[0]
    }
}

fn guard(id: &ChunkId, frame: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(frame, id.prefix())
}

fn raw_frame(plain: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0], plain].concat()
}

fn open(storage: &MemoryStorage, verify: VerifyMode) -> Store {
    Store::open(storage.clone(), StoreOptions { verify, ..StoreOptions::default() }).expect("store")
}

fn read_block(store: &Store, block: u64) -> melv::Result<Vec<u8>> {
    let mut bytes = vec![0; BLOCK];
    store.image(&"disk".parse().expect("a name"))?.read_at(block * BLOCK as u64, &mut bytes)?;
    Ok(bytes)
}

#[test]
fn the_forgers_tools_make_what_the_library_makes() {
    let parts = Parts::new();
    let again = parts.with_frames(&parts.frames());
    assert_same_objects(&again.contents(), &parts.contents, "nothing forged");
    let root = &parts.contents[&parts.list][4 * 32..];
    let root = ListRoot::decode(&root[..root.len() - 8]).expect("a list");
    assert_eq!((root.shape.chunk_blocks, root.shape.blocks), (4, 16));
}

#[test]
fn a_frame_of_other_content_is_found_by_its_chunk_id() {
    let parts = Parts::new();
    let mut frames = parts.frames();
    let forged: Vec<u8> = (100..104).flat_map(melv_testing::noise).collect();
    frames[2] = raw_frame(&forged);
    let storage = parts.with_frames(&frames);
    // An attacker with write access to a store can forge data checked by the guard alone.
    assert_equal(
        &read_block(&open(&storage, VerifyMode::Guard), 8).expect("read"),
        &forged[..BLOCK],
        "guard",
    );
    // The full mode and a full verify detect the forgery.
    let store = open(&storage, VerifyMode::Full);
    for block in 0..16 {
        match read_block(&store, block) {
            Ok(bytes) => assert_equal(&bytes, &parts.disk[block as usize * BLOCK..][..BLOCK], "full"),
            Err(error) => {
                let Some(StoreError::DigestMismatch { what, expected, .. }) = error.detail() else {
                    panic!("block {block}: {error:?}")
                };
                assert!((8..12).contains(&block), "{what}");
                assert_eq!(*expected, parts.ids[2].digest());
                assert!(what.contains("chunk 2") && what.contains("packs/"), "{what}");
            }
        }
        assert_eq!(read_block(&store, block).is_err(), (8..12).contains(&block));
    }
    let whole = store.image(&"disk".parse().expect("a name")).expect("image");
    assert!(whole.read_at(0, &mut vec![0; 16 * BLOCK]).is_err());
    let report = store.verify(&[], &full()).expect("verify");
    let ranges: Vec<_> = report.damaged.iter().map(|damage| (damage.start, damage.len)).collect();
    assert_eq!(ranges, [(8 * BLOCK as u64, 4 * BLOCK as u64)], "{:#?}", report.damaged);
}

#[test]
fn swapped_places_never_yield_another_frame() {
    let parts = Parts::new();
    for (one, other) in [(0, 1), (1, 3), (2, 0)] {
        let mut places = parts.records.clone();
        places.swap(one, other);
        let storage = parts.with_records(parts.contents.clone(), &places, parts.pack_id());
        for verify in [VerifyMode::Guard, VerifyMode::Full] {
            let store = open(&storage, verify);
            for chunk in [one, other] {
                let found = read_block(&store, chunk as u64 * 4);
                let Some(StoreError::Corrupt { fault: RuleViolation::FrameGuard { .. }, chunk: of, .. }) =
                    found.detail()
                else {
                    panic!("chunk {chunk}: {found:?}")
                };
                assert_eq!(*of, Some(chunk as u64));
            }
        }
    }
}

#[test]
fn places_that_lead_astray_are_errors() {
    let parts = Parts::new();
    let place = parts.records[1];
    let astray = [
        FramePlace::NONE,
        FramePlace { pack: 7, ..place },
        FramePlace { offset: u32::MAX, ..place },
        FramePlace { offset: place.offset + 1, ..place },
        FramePlace { len: u32::MAX, ..place },
        FramePlace { len: 0, ..place },
        FramePlace { len: place.len - 1, ..place },
        FramePlace { next: 1, ..place },
        FramePlace { next: 3, ..place },
        FramePlace { next: 4, ..place },
        FramePlace { next: u32::MAX, ..place },
        FramePlace { guard: !place.guard, ..place },
    ];
    for bad in astray {
        let mut places = parts.records.clone();
        places[1] = bad;
        let storage = parts.with_records(parts.contents.clone(), &places, parts.pack_id());
        let found = read_block(&open(&storage, VerifyMode::Guard), 4);
        assert!(matches!(&found, Err(error) if error.is_damage()), "{bad:?}: {found:?}");
        assert_eq!(read_block(&open(&storage, VerifyMode::Guard), 8).ok(), {
            Some(parts.disk[8 * BLOCK..9 * BLOCK].to_vec())
        });
        let report = open(&storage, VerifyMode::Guard).verify(&[], &full()).expect("verify");
        assert!(!report.damaged.is_empty(), "{bad:?}");
    }
}

#[test]
fn frames_outside_the_profile_are_refused_before_they_are_decoded() {
    let parts = Parts::new();
    let plain = &parts.disk[4 * BLOCK..8 * BLOCK];
    let zstd = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).expect("zstd");
    let with_head = |payload: Vec<u8>| [&[1, 0, 0, 0], &payload[..]].concat();
    let good = zstd(plain);
    let bomb = zstd(&vec![0; 64 << 20]);
    let skippable = [&0x184d_2a50u32.to_le_bytes()[..], &4u32.to_le_bytes(), b"skip"].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("head only", vec![1, 0, 0, 0]),
        ("raw, short", raw_frame(&plain[1..])),
        ("raw, long", raw_frame(&[plain, &[0]].concat())),
        ("codec 2", [&[2, 0, 0, 0], plain].concat()),
        ("transform", [&[0, 1, 0, 0], plain].concat()),
        ("flag", [&[0, 0, 2, 0], plain].concat()),
        ("reserved", [&[0, 0, 0, 1], plain].concat()),
        ("another length", with_head(zstd(&plain[BLOCK..]))),
        ("a bomb", with_head(bomb)),
        ("cut", with_head(good[..good.len() - 1].to_vec())),
        ("two frames", with_head([&good[..], &good].concat())),
        ("a skippable frame after", with_head([&good[..], &skippable].concat())),
        ("a skippable frame before", with_head([&skippable[..], &good].concat())),
        ("noise", with_head(melv_testing::noise(1))),
        ("an empty mask", [&[0, 0, 1, 0, 0][..], plain].concat()),
        ("a full mask", [&[0, 0, 1, 0, 15][..], plain].concat()),
        ("a mask too wide", [&[0, 0, 1, 0, 0x11][..], &[0; 64], plain].concat()),
    ];
    for (what, frame) in cases {
        let mut frames = parts.frames();
        frames[1] = frame;
        let storage = parts.with_frames(&frames);
        let found = read_block(&open(&storage, VerifyMode::Guard), 4);
        match (found.detail(), found.detail()) {
            (Some(StoreError::Corrupt { object, fault, .. }), _) => {
                assert!(object.starts_with("packs/") && !fault.is_unsupported(), "{what}: {found:?}")
            }
            (_, Some(BlockError::Unsupported { object, .. })) => {
                assert!(["codec 2", "transform"].contains(&what) && object.starts_with("packs/"), "{what}")
            }
            _ => panic!("{what}: {found:?}"),
        }
        let report = open(&storage, VerifyMode::Guard).verify(&[], &full()).expect("verify");
        assert_eq!(report.damaged.len(), 1, "{what}: {:#?}", report.damaged);
        assert_eq!((report.damaged[0].start, report.damaged[0].len), (4 * BLOCK as u64, 4 * BLOCK as u64));
    }
}

/// Tests two partial frames that together hold a chunk, as in a store that has loaded two bundles.
#[test]
fn partial_frames_give_the_blocks_that_they_hold_and_no_others() {
    let parts = Parts::new();
    let block = |n: usize| &parts.disk[n * BLOCK..(n + 1) * BLOCK];
    let digest = |n: usize| melv::digest::block_digest(block(n));
    let partial = |mask: u8| {
        let mut frame = Vec::new();
        let absent: Vec<_> = (0..4).filter(|n| mask >> n & 1 == 0).map(|n| digest(4 + n)).collect();
        let raw = Frame::decode(&[0, 0, 0, 0], 4).expect("a head").codec;
        frame::encode_partial_head(raw, &[mask], &absent, &mut frame);
        (0..4).filter(|n| mask >> n & 1 == 1).for_each(|n| frame.extend_from_slice(block(4 + n)));
        frame
    };
    // One frame: blocks 0 and 2 of the chunk.
    let mut frames = parts.frames();
    frames[1] = partial(0b0101);
    let storage = parts.with_frames(&frames);
    for verify in [VerifyMode::Guard, VerifyMode::Full] {
        let store = open(&storage, verify);
        for n in 0..4 {
            let found = read_block(&store, 4 + n as u64);
            if n % 2 == 0 {
                assert_equal(&found.expect("held"), block(4 + n), "held");
            } else {
                assert!(matches!(&found, Err(error) if error.is_damage()), "{found:?}");
            }
        }
    }
    // A second frame, linked from the first, completes the chunk.
    let second = partial(0b1010);
    let mut bytes = pack::encode_head();
    let (mut packed, mut places) = (Vec::new(), Vec::new());
    for (n, frame) in frames.iter().chain([&second]).enumerate() {
        let id = parts.ids[if n == 4 { 1 } else { n }];
        let (len, guard) = (frame.len() as u32, guard(&id, frame));
        let next = if n == 1 { 4 } else { 0 };
        let partial = frame.get(2) == Some(&1);
        places.push(FramePlace { pack: 0, offset: bytes.len() as u32, len, partial, next, guard });
        packed.push(FrameRecord { key: id.prefix(), len, guard });
        bytes.extend_from_slice(frame);
    }
    let (tail, id) = pack::encode_tail(&packed);
    bytes.extend(tail);
    let mut contents = parts.contents.clone();
    contents.insert(format!("packs/{id}"), bytes);
    contents.remove(&parts.pack);
    let storage = parts.with_records(contents, &places, id);
    for verify in [VerifyMode::Guard, VerifyMode::Full] {
        assert_image(&open(&storage, verify), "disk", &parts.disk);
    }
    let report = open(&storage, VerifyMode::Guard).verify(&[], &full()).expect("verify");
    assert!(report.damaged.is_empty(), "{:#?}", report.damaged);
    // The chunk id also covers the digests of absent blocks.
    let mut wrong = partial(0b0101);
    wrong[6] ^= 1;
    frames[1] = wrong;
    let found = read_block(&open(&parts.with_frames(&frames), VerifyMode::Full), 4);
    assert!(matches!(found.detail(), Some(StoreError::DigestMismatch { .. })), "{found:?}");
}

// ---- the future --------------------------------------------------------------------------

/// Recomputes the digest at the end of an object.
fn refix(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 32;
    let digest = object_digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&digest.0);
    bytes
}

#[test]
fn what_a_newer_melv_wrote_is_unsupported_and_not_damage() {
    let parts = Parts::new();
    let reference = only(&parts.contents, "refs/");
    let manifest = only(&parts.contents, "manifests/");
    // Offsets in the header: major version, digest algorithm, both ends of the refuse mask.
    for at in [8, 10, 12, 15] {
        for name in ["melv.store", &reference, &manifest] {
            let mut contents = parts.contents.clone();
            contents.get_mut(name).expect("object")[at] ^= 0x80;
            let storage = put_all(&contents);
            let found = Store::open(storage, StoreOptions::default())
                .and_then(|store| store.image(&"disk".parse().expect("a name")).map(drop));
            assert!(
                matches!(found.detail(), Some(BlockError::Unsupported { .. })),
                "{name} byte {at}: {found:?}"
            );
        }
        let mut contents = parts.contents.clone();
        let root_at = 4 * locator::RECORD_LEN;
        contents.get_mut(&parts.locator).expect("locator")[root_at + at] ^= 0x80;
        let found = read_block(&open(&put_all(&contents), VerifyMode::Guard), 0);
        assert!(
            matches!(found.detail(), Some(BlockError::Unsupported { .. })),
            "locator byte {at}: {found:?}"
        );
    }
    // The domain of keyed digests.
    let mut bytes = parts.contents["melv.store"].clone();
    bytes[40] = 1;
    let mut contents = parts.contents.clone();
    contents.insert("melv.store".into(), refix(bytes));
    let found = Store::open(put_all(&contents), StoreOptions::default()).map(drop);
    assert!(matches!(found.detail(), Some(BlockError::Unsupported { .. })), "{found:?}");
}

#[test]
fn a_store_for_newer_writers_is_read_and_not_written() {
    let parts = Parts::new();
    let mut bytes = parts.contents["melv.store"].clone();
    bytes[20] = 1; // the writer mask
    let mut contents = parts.contents.clone();
    contents.insert("melv.store".into(), refix(bytes));
    let storage = put_all(&contents);
    let store = open(&storage, VerifyMode::Guard);
    assert_image(&store, "disk", &parts.disk);
    let disk = melv_testing::VecDisk(random_disk(1, BLOCK));
    let tag = |store: &Store| {
        store.tag(&"disk".parse::<ImageRef>().expect("a name"), &melv_testing::name("tag"), false).map(drop)
    };
    let import = store.import(melv::Source::device(&disk), &options("new")).map(drop);
    for refused in [import, tag(&store), store.untag(&melv_testing::name("disk")).map(drop)] {
        assert!(matches!(refused.detail(), Some(BlockError::Unsupported { .. })), "{refused:?}");
    }
    assert_same_objects(&storage.contents(), &contents, "refused");
}

#[test]
fn minor_versions_and_ignorable_bits_are_read() {
    let parts = Parts::new();
    let mut contents = parts.contents.clone();
    let reference = only(&contents, "refs/");
    for name in ["melv.store", &reference] {
        let mut bytes = contents[name].clone();
        bytes[9] = 3; // the minor version
        bytes[17] = 0x40; // the ignore mask
        contents.insert(name.into(), refix(bytes));
    }
    assert_image(&store_in(&put_all(&contents)), "disk", &parts.disk);
}

#[test]
fn files_that_are_no_store_are_told_apart() {
    let storage = MemoryStorage::new();
    storage.put("notes.txt", b"mine".to_vec());
    let opened = Store::open(storage.clone(), StoreOptions::default()).map(drop);
    assert!(matches!(opened.detail(), Some(StoreError::NoStore { .. })), "{opened:?}");
    let made = Store::create(storage.clone(), StoreOptions::default()).map(drop);
    assert!(matches!(made.detail(), Some(StoreError::NoStore { .. })), "{made:?}");
    assert_eq!(storage.contents().len(), 1, "nothing was put beside it");
}
