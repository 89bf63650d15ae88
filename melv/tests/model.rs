//! A store checked against plain vectors: every import reads back, shares exactly and adds up.

use melv::for_each_run;
use melv::{
    BlockDevice, BlockError, Comparison, ExportOptions, Image, ImageId, ImportOptions, MemoryStorage,
    ResultExt, RunKind, Source, Store, StoreError, StoreOptions, compare, export, export_stream,
};
use melv_testing::{
    BLOCK, Rng, SeedDisk, Seen, VecDisk, assert_clean, assert_equal, assert_image, image, import, noise,
    options, random_disk, read_all, store_in, text,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(2026),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Yields sizes at and beside every edge: nothing, a sector, blocks, spans, and any number of sectors.
fn sizes() -> impl Strategy<Value = usize> {
    const MIB: usize = 1 << 20;
    prop_oneof![
        1 => prop::sample::select(vec![0, 512, 3584, 4096, 4608, 8192]),
        2 => prop::sample::select(vec![MIB - 4096, MIB - 512, MIB, MIB + 512, MIB + 4096, 2 * MIB + 512]),
        4 => (0..3 * MIB / 512).prop_map(|sectors| sectors * 512),
    ]
}

fn chunk_sizes() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![1, 2, 8, 16, 1024])
}

/// Checks random reads, the map and both exports of `image` against `disk`.
fn assert_is(image: &Image, disk: &[u8], seed: u64) {
    assert_eq!(image.size(), disk.len() as u64);
    assert_equal(&read_all(image).expect("read"), disk, "the whole disk");
    let mut rng = Rng::new(seed);
    for _ in 0..40 {
        let offset = rng.below(disk.len() as u64 + 1) as usize;
        let most = [1, 512, BLOCK as u64, 70_000, disk.len() as u64][rng.below(5) as usize];
        let len = rng.below(most + 1) as usize;
        let mut out = vec![0x5a; len.min(disk.len() - offset)];
        image.read_at(offset as u64, &mut out).expect("read");
        assert_equal(&out, &disk[offset..offset + out.len()], &format!("read of {len} at {offset}"));
    }
    for (offset, len) in [(disk.len() as u64, 1), (0, disk.len() + 1), (u64::MAX, 1), (u64::MAX - 4, 512)] {
        let outside = image.read_at(offset, &mut vec![0; len]);
        assert!(
            matches!(outside.detail(), Some(BlockError::OutOfRange { .. })),
            "{offset}+{len}: {outside:?}"
        );
    }
    assert_map(image, disk);

    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("disk.raw");
    assert_eq!(export(image, &path, &ExportOptions::default()).expect("export"), disk.len() as u64);
    assert_equal(&std::fs::read(&path).expect("exported"), disk, "export");
    assert!(matches!(
        export(image, &path, &ExportOptions::default()).detail(),
        Some(BlockError::FileExists { .. })
    ));
    let mut streamed = Vec::new();
    export_stream(image, &mut streamed, "vec", &ExportOptions::default()).expect("stream");
    assert_equal(&streamed, disk, "stream");
    assert_eq!(compare(image, &VecDisk(disk.to_vec()), None).expect("compare"), Comparison::Same);
    if !disk.is_empty() {
        let at = rng.below(disk.len() as u64);
        let mut other = disk.to_vec();
        other[at as usize] ^= 4;
        let found = compare(image, &VecDisk(other), None).expect("compare");
        assert_eq!(found, Comparison::Differ { offset: at });
    }
}

/// Checks that the map reports zero blocks as zeros and others as data, and covers the disk in runs.
fn assert_map(image: &Image, disk: &[u8]) {
    let mut end = 0;
    let mut last = None;
    for_each_run(image, |start, run| {
        assert_eq!(start, end, "runs follow each other");
        assert!(run.len > 0 && last != Some(run.kind), "runs are maximal");
        (end, last) = (start + run.len, Some(run.kind));
        for block in disk[start as usize..end as usize].chunks(BLOCK) {
            let zero = block.iter().all(|&byte| byte == 0);
            assert_eq!(run.kind == RunKind::Zero, zero, "run at {start}");
        }
        Ok(())
    })
    .expect("map");
    assert_eq!(end, disk.len() as u64);
}

fn stored(store: &Store) -> u64 {
    store.usage().expect("space").stored_bytes
}

proptest! {
    #![proptest_config(config(20))]

    #[test]
    fn any_disk_reads_back_and_adds_up(
        seed: u64, size in sizes(), chunk_blocks in chunk_sizes(), level in 1..=6i32, stream: bool,
    ) {
        let disk = random_disk(seed, size);
        let store = store_in(&MemoryStorage::new());
        let before = stored(&store);
        let options = ImportOptions { level, chunk_blocks, ..options("web") };
        let report = if stream {
            store.import(Source::stream(&disk[..], "pipe"), &options).expect("import")
        } else {
            import(&store, &disk, &options)
        };
        let (data, new) = Seen::default().add(&disk);
        prop_assert_eq!((report.data_bytes, report.new_bytes), (data, new));
        prop_assert_eq!(report.size_bytes, size as u64);
        prop_assert_eq!(stored(&store) - before, report.stored_bytes);
        let space = store.usage().expect("space");
        prop_assert_eq!((space.images, space.logical_bytes), (1, size as u64));
        prop_assert_eq!((space.data_bytes, space.unique_bytes), (data, new));
        prop_assert_eq!(space.reclaimable_bytes, 0);
        let image = image(&store, "web");
        prop_assert_eq!(image.id(), report.image);
        assert_is(&image, &disk, seed);
        assert_clean(&store);
    }

    #[test]
    fn the_same_disk_again_brings_nothing(seed: u64, size in sizes(), chunk_blocks in chunk_sizes()) {
        let disk = random_disk(seed, size);
        let store = store_in(&MemoryStorage::new());
        let options = |text| ImportOptions { chunk_blocks, ..options(text) };
        let first = import(&store, &disk, &options("one"));
        let before = stored(&store);
        let second = import(&store, &disk, &options("two"));
        prop_assert_eq!(second.new_bytes, 0);
        prop_assert_eq!((second.image, second.content), (first.image, first.content));
        prop_assert_eq!(stored(&store) - before, second.stored_bytes);
        // As a stream, with another chunk size and level: still nothing but metadata.
        let other = ImportOptions { level: 1, chunk_blocks: 4, ..ImportOptions::named("three".parse().expect("name")) };
        let third = store.import(Source::stream(&disk[..], "pipe"), &other).expect("import");
        prop_assert_eq!((third.new_bytes, third.content), (0, first.content));
        assert_image(&store, "three", &disk);
        assert_clean(&store);
    }

    #[test]
    fn disks_share_every_block_wherever_it_lies(seed: u64, disks in 2..5usize, chunk_blocks in chunk_sizes()) {
        let store = store_in(&MemoryStorage::new());
        let mut seen = Seen::default();
        let mut rng = Rng::new(seed);
        let mut all: Vec<Vec<u8>> = Vec::new();
        for number in 0..disks {
            // Pieces of earlier disks at other places, with new ones between.
            let mut disk = Vec::new();
            for _ in 0..rng.below(12) {
                match all.get(rng.below(disks as u64) as usize) {
                    Some(other) => {
                        let blocks = (other.len() / BLOCK) as u64;
                        let first = rng.below(blocks + 1);
                        let count = rng.below(blocks - first + 1);
                        disk.extend_from_slice(&other[first as usize * BLOCK..(first + count) as usize * BLOCK]);
                    }
                    None => disk.extend(random_disk(rng.next(), rng.below(200) as usize * BLOCK)),
                }
            }
            disk.truncate(4 << 20);
            disk.extend(random_disk(rng.next(), rng.below(20) as usize * 512));
            let text = format!("disk-{number}");
            let before = stored(&store);
            let report = import(&store, &disk, &ImportOptions { chunk_blocks, ..options(&text) });
            prop_assert_eq!((report.data_bytes, report.new_bytes), seen.add(&disk), "disk {}", number);
            prop_assert_eq!(stored(&store) - before, report.stored_bytes);
            all.push(disk);
        }
        for (number, disk) in all.iter().enumerate() {
            assert_image(&store, &format!("disk-{number}"), disk);
        }
        assert_clean(&store);
    }

    #[test]
    fn generations_change_nothing_before_them(seed: u64, generations in 2..7usize, chunk_blocks in chunk_sizes()) {
        let storage = MemoryStorage::new();
        let store = store_in(&storage);
        let mut seen = Seen::default();
        let mut rng = Rng::new(seed);
        let mut disk = random_disk(seed, (1 + rng.below(2 << 11)) as usize * 512);
        let mut all = Vec::new();
        for number in 0..generations {
            let text = format!("gen:{number}");
            let parent = (number > 0).then(|| format!("gen:{}", number - 1).parse().expect("a reference"));
            let report = import(&store, &disk, &ImportOptions { parent, chunk_blocks, ..options(&text) });
            prop_assert_eq!((report.data_bytes, report.new_bytes), seen.add(&disk), "generation {}", number);
            let image = image(&store, &text);
            let expected = all.last().map(|(_, id)| *id).unwrap_or_default();
            prop_assert_eq!(image.manifest().parent, expected);
            all.push((disk.clone(), report.image));
            edit(&mut disk, &mut rng);
        }
        // A handle with an empty cache.
        let store = Store::open(storage, StoreOptions::default()).expect("store");
        for (number, (disk, id)) in all.iter().enumerate() {
            assert_image(&store, &format!("gen:{number}"), disk);
            assert_is(&store.image_by_id(*id).expect("image"), disk, seed);
        }
        assert_clean(&store);
    }
}

/// Changes a disk as a running guest does.
fn edit(disk: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..1 + rng.below(8) {
        let len = disk.len() as u64;
        let at = rng.below(len + 1) as usize;
        let some = (rng.below(40 * BLOCK as u64) as usize).min(disk.len() - at);
        match rng.below(6) {
            0 => rng.fill(&mut disk[at..at + some]),
            1 => disk[at..at + some].fill(0),
            2 => disk.copy_within(at..at + some, rng.below(len - some as u64 + 1) as usize),
            // Whole blocks moved to other whole blocks.
            3 => {
                let from = at / BLOCK * BLOCK;
                let some = some.min(disk.len() - from) / BLOCK * BLOCK;
                let to = rng.below((disk.len() - some) as u64 / BLOCK as u64 + 1) as usize * BLOCK;
                disk.copy_within(from..from + some, to);
            }
            4 => disk.extend(random_disk(rng.next(), rng.below(64) as usize * 512)),
            _ => disk.truncate(disk.len() - rng.below(8) as usize * 512 % (disk.len() + 1)),
        }
    }
}

#[test]
fn disks_of_several_leaves_read_back_at_every_border() {
    const LEAF: u64 = 1 << 16;
    // More than three leaves, the third all zeros, the last short.
    let mut disk = SeedDisk { size: (3 * LEAF + 77) * BLOCK as u64 - 3584, ..Default::default() };
    disk.write(0, 3, 1);
    disk.write(LEAF - 5, 10, 100); // across the first border
    disk.write(2 * LEAF - 1, 1, 200);
    disk.write(3 * LEAF, 2, 100); // shared with the run across the border
    disk.write(3 * LEAF + 70, 7, 300); // to the very end
    let store = store_in(&MemoryStorage::new());
    let report = store.import(Source::device(&disk), &options("large")).expect("import");
    assert_eq!(report.data_bytes, 23 * BLOCK as u64);
    // The disk's last block is cut, so it differs from its seed's block.
    assert_eq!(report.new_bytes, 21 * BLOCK as u64);
    let image = image(&store, "large");
    assert_eq!(image.manifest().geometry.leaves(), 4);
    assert_eq!(compare(&image, &disk, None).expect("compare"), Comparison::Same);
    for border in [LEAF, 2 * LEAF, 3 * LEAF] {
        let offset = (border - 20) * BLOCK as u64 + 100;
        let (mut found, mut expected) = (vec![1; 40 * BLOCK], vec![2; 40 * BLOCK]);
        image.read_at(offset, &mut found).expect("read");
        disk.read_at(offset, &mut expected).expect("read");
        assert_equal(&found, &expected, "across a border");
    }
    let mut runs = Vec::new();
    for_each_run(&image, |start, run| {
        runs.push((start / BLOCK as u64, run.kind == RunKind::Data));
        Ok(())
    })
    .expect("map");
    let expected = [
        (0, true),
        (3, false),
        (LEAF - 5, true),
        (LEAF + 5, false),
        (2 * LEAF - 1, true),
        (2 * LEAF, false),
        (3 * LEAF, true),
        (3 * LEAF + 2, false),
        (3 * LEAF + 70, true),
    ];
    assert_eq!(runs, expected);
    assert_clean(&store);

    // A later version that changes one leaf shares the others' pages.
    let mut later = disk.clone();
    later.write(LEAF + 3, 1, 999);
    let parent = Some("large".parse().expect("a reference"));
    let report =
        store.import(Source::device(&later), &ImportOptions { parent, ..options("later") }).expect("import");
    assert_eq!(report.new_bytes, BLOCK as u64);
    assert_eq!(compare(&self::image(&store, "later"), &later, None).expect("compare"), Comparison::Same);
    assert_eq!(compare(&self::image(&store, "large"), &disk, None).expect("compare"), Comparison::Same);
    assert_clean(&store);
}

#[test]
fn odd_sizes_are_refused_and_padded_on_request() {
    let store = store_in(&MemoryStorage::new());
    for len in [1, 511, 513, 5000] {
        let disk = random_disk(len as u64, len);
        let refused = store.import(Source::stream(&disk[..], "pipe"), &options("odd"));
        assert!(matches!(refused.detail(), Some(BlockError::OddSize { .. })), "{refused:?}");
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("odd.raw");
        std::fs::write(&path, &disk).expect("file");
        let refused = melv::RawFile::open(&path, false).map(|_| ());
        assert!(matches!(refused.detail(), Some(BlockError::OddSize { .. })), "{refused:?}");

        let mut padded = disk.clone();
        padded.resize(len.next_multiple_of(512), 0);
        let text = format!("padded-{len}");
        let pad = ImportOptions { pad: true, ..options(&text) };
        store.import(Source::stream(&disk[..], "pipe"), &pad).expect("import");
        assert_image(&store, &text, &padded);
        let file = melv::RawFile::open(&path, true).expect("file");
        let again = ImportOptions { replace: true, ..options(&text) };
        let report = store.import(Source::device(&file), &again).expect("import");
        assert_eq!(report.size_bytes, padded.len() as u64);
        assert_image(&store, &text, &padded);
    }
    assert!(store.image(&"odd".parse().expect("a name")).is_err(), "a refused import leaves nothing");
}

#[test]
fn a_sparse_file_and_a_full_one_are_the_same_image() {
    use std::io::{Seek, SeekFrom, Write};
    let mut disk = vec![0; 9 << 20];
    disk[5000..5000 + BLOCK].copy_from_slice(&noise(1));
    disk[7 << 20..][..BLOCK].copy_from_slice(&text(2));
    let folder = tempfile::tempdir().expect("folder");
    let (sparse, whole) = (folder.path().join("sparse"), folder.path().join("whole"));
    std::fs::write(&whole, &disk).expect("file");
    let mut file = std::fs::File::create(&sparse).expect("file");
    file.set_len(disk.len() as u64).expect("size");
    for at in [5000, 7 << 20] {
        file.seek(SeekFrom::Start(at)).expect("seek");
        file.write_all(&disk[at as usize..][..BLOCK]).expect("write");
    }
    let store = store_in(&MemoryStorage::new());
    let reports = [&sparse, &whole].map(|path| {
        let file = melv::RawFile::open(path, false).expect("open");
        let options = ImportOptions { replace: true, ..options("disk") };
        let report = store.import(Source::device(&file), &options).expect("import");
        file.check_unchanged().expect("unchanged");
        report
    });
    assert_eq!(reports[0].image, reports[1].image);
    assert_image(&store, "disk", &disk);
}

#[test]
fn a_disk_that_shrinks_or_changes_under_an_import_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("disk");
    let disk = random_disk(3, 4 << 20);
    let store = store_in(&MemoryStorage::new());
    let before = stored(&store);

    std::fs::write(&path, &disk).expect("file");
    let file = melv::RawFile::open(&path, false).expect("open");
    std::fs::File::options().write(true).open(&path).expect("open").set_len(1 << 20).expect("shrink");
    let check = || file.check_unchanged();
    let shrunk = ImportOptions { before_commit: Some(&check), ..options("shrunk") };
    let refused = store.import(Source::device(&file), &shrunk);
    assert!(matches!(refused.detail(), Some(BlockError::Changed { .. })), "{refused:?}");

    std::fs::write(&path, &disk).expect("file");
    let file = melv::RawFile::open(&path, false).expect("open");
    let scribble = || {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::options().write(true).open(&path).expect("open");
        file.write_all_at(b"changed", 12345).expect("write");
    };
    let check = || {
        scribble();
        file.check_unchanged()
    };
    let options = ImportOptions { before_commit: Some(&check), ..options("changed") };
    let refused = store.import(Source::device(&file), &options);
    assert!(matches!(refused.detail(), Some(BlockError::Changed { .. })), "{refused:?}");
    assert_eq!(stored(&store), before, "nothing is left of either");
    assert!(store.names().expect("references").is_empty());
}

#[test]
fn names_are_refused_replaced_and_shortened_as_the_contract_says() {
    let store = store_in(&MemoryStorage::new());
    let (one, two) = (random_disk(1, 1 << 20), random_disk(2, 1 << 20));
    let first = import(&store, &one, &options("web"));
    let taken = store.import(Source::device(&VecDisk(two.clone())), &options("web"));
    assert!(matches!(taken.detail(), Some(StoreError::Exists { .. })), "{taken:?}");
    assert_image(&store, "web", &one);
    import(&store, &two, &ImportOptions { replace: true, ..options("web") });
    assert_image(&store, "web", &two);
    assert_image(&store, &format!("@{}", first.image), &one);
    assert_image(&store, &first.image.to_string()[..6], &one);
    let missing = store.resolve(&"ffffffffffff".parse().expect("a name"));
    assert!(matches!(missing.detail(), Some(StoreError::NotFound { .. })), "{missing:?}");

    let tag = |text: &str, replace| {
        store.tag(&format!("@{}", first.image).parse().expect("id"), &melv_testing::name(text), replace)
    };
    tag("old:v1", false).expect("tag");
    assert!(matches!(tag("web", false).detail(), Some(StoreError::Exists { .. })));
    assert_image(&store, "web", &two);
    tag("web", true).expect("tag");
    assert_image(&store, "web", &one);
    assert_image(&store, "old:v1", &one);
    store.untag(&melv_testing::name("web")).expect("remove");
    assert!(matches!(store.untag(&melv_testing::name("web")).detail(), Some(StoreError::NotFound { .. })));
    assert_image(&store, "old:v1", &one);
    let nothing = ImageId::from_bytes([7; 32]);
    let missing = store.tag(&melv::ImageRef::Id(nothing), &melv_testing::name("none"), false);
    assert!(matches!(missing.detail(), Some(StoreError::NotFound { .. })), "{missing:?}");
    for bad in ["../web", "web\0", "Web", "a/b", "", &"w".repeat(300), "a:b:c", "web:", "-web"] {
        assert!(bad.parse::<melv::RefName>().is_err(), "{bad:?}");
    }
    assert_eq!(store.names().expect("references").len(), 1);
    assert_clean(&store);
}
