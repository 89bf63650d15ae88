//! Damage: damaged data cannot be read, but all other data can.

mod common;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Result;
use std::os::unix::fs::FileExt;

use common::{BLOCK, Bed, bed, noise, read_direct};
use melv::BlockDevice;

const BLOCKS: usize = 2048;

/// A store with a damaged pack, its disk, and the blocks that cannot be read.
fn damaged() -> (Bed, Vec<u8>, BTreeSet<usize>) {
    let bed = bed();
    let disk = noise(1, BLOCKS * BLOCK);
    bed.import("web", &disk);
    let pack = std::fs::read_dir(bed.path("store/packs")).expect("packs").next().expect("a pack");
    let pack = File::options().write(true).open(pack.expect("a pack").path()).expect("a pack");
    for at in [1 << 20, 5 << 20] {
        pack.write_all_at(b"damaged", at).expect("written");
    }
    let image = bed.store().image(&"web".parse().expect("a name")).expect("an image");
    let is_hurt = |block: &usize| image.read_at((block * BLOCK) as u64, &mut [0; BLOCK]).is_err();
    let hurt: BTreeSet<_> = (0..BLOCKS).filter(is_hurt).collect();
    assert!((2..=32).contains(&hurt.len()), "{hurt:?}");
    (bed, disk, hurt)
}

/// Reads single blocks in the order given: each must be right, or fail if it is damaged.
fn judge(
    disk: &[u8],
    hurt: &BTreeSet<usize>,
    blocks: impl Iterator<Item = usize>,
    read: impl Fn(u64) -> Result<Vec<u8>>,
) {
    for block in blocks {
        match read((block * BLOCK) as u64) {
            Ok(found) => {
                assert!(!hurt.contains(&block), "block {block} is hurt");
                assert!(found == disk[block * BLOCK..][..BLOCK], "block {block}");
            }
            Err(error) => {
                assert!(hurt.contains(&block), "block {block} is sound: {error}");
                assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
            }
        }
    }
}

fn read_buffered(file: &File) -> impl Fn(u64) -> Result<Vec<u8>> {
    move |at| {
        let mut found = vec![0; BLOCK];
        file.read_exact_at(&mut found, at).map(|()| found)
    }
}

#[test]
fn direct_reads_fail_for_what_is_damaged_alone() {
    let (bed, disk, hurt) = damaged();
    let Some(live) = bed.mount() else { return };
    let file = live.direct("web/latest.raw");
    judge(&disk, &hurt, 0..BLOCKS, |at| read_direct(&file, at, BLOCK));
    // Long reads fail if they contain damaged blocks.
    for start in (0..BLOCKS).step_by(64) {
        let is_sound = hurt.range(start..start + 64).next().is_none();
        let found = read_direct(&file, (start * BLOCK) as u64, 64 * BLOCK);
        assert_eq!(found.is_ok(), is_sound, "from block {start}");
    }
    drop(file);
    live.end();
}

#[test]
fn buffered_reads_fail_for_what_is_damaged_alone_whatever_is_read_ahead() {
    let (bed, disk, hurt) = damaged();
    for order in ["up", "down", "long first", "beside first"] {
        let Some(live) = bed.mount() else { return };
        let file = live.file("web/latest.raw");
        let read = read_buffered(&file);
        match order {
            "up" => judge(&disk, &hurt, 0..BLOCKS, read),
            "down" => judge(&disk, &hurt, (0..BLOCKS).rev(), read),
            "long first" => {
                // The data before the damage is returned, as for any file on a bad disk.
                let first = hurt.first().expect("it is hurt") * BLOCK;
                let mut found = vec![0; disk.len()];
                let mut at = 0;
                while at < disk.len() {
                    match file.read_at(&mut found[at..], at as u64) {
                        Ok(len) => at += len,
                        Err(_) => break,
                    }
                }
                assert_eq!(at, first);
                assert!(found[..at] == disk[..at]);
                judge(&disk, &hurt, 0..BLOCKS, read);
            }
            _ => {
                let beside = hurt.iter().flat_map(|block| [block.saturating_sub(1), block + 1]);
                judge(&disk, &hurt, beside.collect::<Vec<_>>().into_iter(), read);
            }
        }
        assert_eq!(file.metadata().expect("attributes").len(), disk.len() as u64);
        drop(file);
        live.end();
    }
}

#[test]
fn a_damaged_name_or_manifest_is_an_error_and_all_else_goes_on() {
    let bed = bed();
    bed.import("web:1", &noise(1, BLOCK));
    bed.import("web:2", &noise(3, BLOCK));
    bed.import("db", &noise(2, BLOCK));
    let Some(live) = bed.mount() else { return };
    std::fs::write(bed.path("store/refs/web/1"), b"damaged").expect("written");
    let error = File::open(live.dir.join("web/1.raw")).expect_err("it is damaged");
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    assert!(std::fs::read(live.dir.join("web/2.raw")).expect("a read") == noise(3, BLOCK));
    assert!(std::fs::read(live.dir.join("db/latest.raw")).expect("a read") == noise(2, BLOCK));
    for manifest in std::fs::read_dir(bed.path("store/manifests")).expect("manifests") {
        let manifest = manifest.expect("an entry").path();
        if manifest.is_dir() {
            continue;
        }
        std::fs::write(manifest, b"damaged").expect("written");
    }
    let error = File::open(live.dir.join("db/latest.raw")).expect_err("it is damaged");
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    live.end();
}
