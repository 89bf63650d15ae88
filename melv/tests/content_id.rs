//! The content id matches the design, recomputed here from its text alone.

use melv::{ImportOptions, MemoryStorage, Source, content_of};
use melv_testing::{BLOCK, VecDisk, import, name, options, random_disk, read_all, store_in};

/// Computes the content id by its whole definition, naively.
fn content_id(disk: &[u8]) -> String {
    fn absorb(hasher: &mut blake3::Hasher, items: impl Iterator<Item = Option<[u8; 32]>>) {
        let mut zeros = 0u64;
        // A final pseudo-digest flushes the last run of zeros and is not absorbed itself.
        for item in items.map(|item| item.map(Some)).chain([Some(None)]) {
            let Some(digest) = item else {
                zeros += 1;
                continue;
            };
            if zeros > 0 {
                hasher.update(&[0]).update(&std::mem::take(&mut zeros).to_le_bytes());
            }
            if let Some(digest) = digest {
                hasher.update(&[1]).update(&digest);
            }
        }
    }
    let some = |bytes: &[u8], hasher: &blake3::Hasher| {
        bytes.iter().any(|&byte| byte != 0).then(|| *hasher.finalize().as_bytes())
    };
    let block =
        |bytes: &[u8]| some(bytes, blake3::Hasher::new().update(bytes).update(&vec![0; 4096 - bytes.len()]));
    let span = |bytes: &[u8]| {
        let mut hasher = blake3::Hasher::new_derive_key("melv 2026 span v1");
        absorb(&mut hasher, bytes.chunks(4096).map(block));
        some(bytes, &hasher)
    };
    let mut hasher = blake3::Hasher::new_derive_key("melv 2026 content v1");
    hasher.update(&(disk.len() as u64).to_le_bytes());
    absorb(&mut hasher, disk.chunks(256 * 4096).map(span));
    hasher.finalize().to_hex().to_string()
}

fn by_library(disk: &[u8]) -> String {
    content_of(&VecDisk(disk.to_vec()), None, None).expect("content id").to_string()
}

#[test]
fn digest_import_and_thirty_independent_lines_agree() {
    const MIB: usize = 1 << 20;
    let sizes =
        [0, 512, 3584, 4096, 4608, MIB - 512, MIB, MIB + 512, 2 * MIB - 4096, 3 * MIB + 4608, 5 * MIB];
    for (seed, size) in (0..).zip(sizes) {
        let disk = random_disk(seed, size);
        let expected = content_id(&disk);
        assert_eq!(by_library(&disk), expected, "digest, {size} bytes");

        let store = store_in(&MemoryStorage::new());
        let by_device = import(&store, &disk, &options("device"));
        assert_eq!(by_device.content.to_string(), expected, "import by device, {size} bytes");
        let other = ImportOptions { level: 9, chunk_blocks: 32, ..options("stream") };
        let by_stream = store.import(Source::stream(&disk[..], "pipe"), &other).expect("import");
        assert_eq!(by_stream.content.to_string(), expected, "import by stream, {size} bytes");

        let image = store.image(&"device".parse().expect("a name")).expect("image");
        assert_eq!(image.manifest().content.to_string(), expected);
        assert_eq!(content_of(&image, None, None).expect("content").to_string(), expected, "of the image");
        assert_eq!(content_id(&read_all(&image).expect("read")), expected);
        assert_eq!(store.resolve(&"stream".parse().expect("a name")).expect("id"), by_stream.image);
        assert_eq!(by_stream.name, name("stream"));
    }
}

#[test]
fn zeros_written_and_zeros_left_out_are_the_same_disk() {
    let mut disk = random_disk(5, 3 << 20);
    disk[(1 << 20)..(2 << 20)].fill(0);
    // The stream cannot report holes; the device does.
    let store = store_in(&MemoryStorage::new());
    let stream = store.import(Source::stream(&disk[..], "pipe"), &options("a")).expect("import");
    assert_eq!(import(&store, &disk, &options("b")).content, stream.content);
    assert_eq!(stream.content.to_string(), content_id(&disk));
}

#[test]
fn one_flipped_byte_gives_another_id() {
    let disk = random_disk(11, (2 << 20) + 512);
    let good = by_library(&disk);
    for at in [0, 1, 4095, 4096, 65537, (1 << 20) - 1, 1 << 20, (2 << 20) + 511] {
        for bit in [0x01, 0x80] {
            let mut flipped = disk.clone();
            flipped[at] ^= bit;
            let found = by_library(&flipped);
            assert_ne!(found, good, "byte {at}");
            assert_eq!(found, content_id(&flipped), "byte {at}");
        }
    }
}

#[test]
fn moved_zeros_and_another_size_give_another_id() {
    let block = vec![7u8; BLOCK];
    let place = |at: usize, size: usize| {
        let mut disk = vec![0; size];
        disk[at..at + BLOCK].copy_from_slice(&block);
        disk
    };
    const MIB: usize = 1 << 20;
    let disks = [
        place(0, 4 * MIB),
        place(BLOCK, 4 * MIB),
        place(MIB, 4 * MIB),
        place(2 * MIB, 4 * MIB),
        place(4 * MIB - BLOCK, 4 * MIB),
        place(0, 4 * MIB + 512),
        place(0, 3 * MIB),
        vec![0; 4 * MIB],
        vec![0; 3 * MIB],
    ];
    let ids: Vec<_> = disks.iter().map(|disk| by_library(disk)).collect();
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(*id, content_id(&disks[number]));
        assert!(!ids[..number].contains(id), "disk {number} has the id of another");
    }
}

#[test]
fn three_small_disks_have_the_ids_that_they_always_had() {
    let counting: Vec<u8> = (0..512u32).map(|byte| (byte % 251) as u8).collect();
    let mut spread = vec![0; (1 << 20) + 4096];
    spread[8192] = 1;
    spread[1 << 20] = 2;
    let known = [
        (Vec::new(), "1962eae44c78b31991ae688c2e059fcf6fb5076ce27dd3d8775b76874fb0e418"),
        (counting, "9f0132c2a71ea6ef5d2bb3b5353f44b4ac822fd108eb736b109d755fcbdc5ab7"),
        (spread, "ff323f4bf80d1c0e4ab1c48eb9c9fa1a3bf6e2db04a637256d60d9d3dbd194fa"),
    ];
    for (disk, id) in known {
        assert_eq!(by_library(&disk), id, "{} bytes", disk.len());
    }
}
