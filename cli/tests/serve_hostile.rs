//! `melv serve` while its store is damaged, removed or changed, and the benefit of its cache.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod common;
mod serving;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Bed, MELV, bed, disk, noise};
use melv_nbd::wire::{command, reply};
use melv_testing::nbd::SOON;
use serving::*;

const MIB: usize = 1 << 20;
const EIO: u32 = 5;

fn serve_json(bed: &Bed) -> Served {
    start(bed.command(MELV).args(["--json", "serve", "--socket", SOCKET]))
}

/// Returns the largest file of a store, which is a pack.
fn pack(folder: &Path) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else {
                files.push((path.metadata().unwrap().len(), path))
            }
        }
    }
    files.into_iter().max().unwrap().1
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Counts the descriptors of files that have been deleted.
fn deleted_files(pid: u32) -> usize {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    links
        .filter(|link| {
            link.to_string_lossy().contains("store/") && link.to_string_lossy().ends_with("(deleted)")
        })
        .count()
}

#[test]
fn damage_while_served_is_an_error_of_its_chunk_alone() {
    let bed = bed();
    let data = noise(5, 4 * MIB);
    bed.write("disk.raw", &data);
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    let mut served = serve_json(&bed);
    let mut client = reading(&bed, "web");
    let path = pack(&bed.store());
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // Write in place, since the server has this file open.
    std::os::unix::fs::FileExt::write_all_at(
        &std::fs::OpenOptions::new().write(true).open(&path).unwrap(),
        &bytes[middle..=middle],
        middle as u64,
    )
    .unwrap();
    let mut bad = Vec::new();
    for at in (0..4 * MIB).step_by(4096) {
        let answer = client.read(at as u64, 4096);
        match answer.errno() {
            0 => assert!(answer.bytes() == data[at..at + 4096]),
            errno => {
                assert_eq!((errno, answer.error_at()), (EIO, Some(at as u64)));
                bad.push(at);
            }
        }
    }
    // The damage affects one chunk, and all of it.
    assert!(!bad.is_empty() && bad.len() * 4096 <= MIB, "{} blocks", bad.len());
    assert!(bad.windows(2).all(|pair| pair[1] == pair[0] + 4096), "{bad:?}");
    // The error of a long read has the offset of the damage.
    assert_eq!(client.read(0, 4 * MIB as u64).error_at(), Some(bad[0] as u64));
    let logged = served.line("a read failed");
    assert!(logged.contains(&format!("store={:?}", bed.store())), "{logged}");
    // An import of a single disk of noise makes a single list, in order.
    let chunk = format!(", chunk {} ", bad[0] / (32 << 10));
    for part in ["web", &format!("offset={}", bad[0]), "len=4096", &file_name(&path), &chunk] {
        assert!(logged.contains(part), "{part}: {logged}");
    }
    let stats = served.stats();
    assert!(
        stats["verification_failures"].as_u64() >= Some(1) && stats["errors"].as_u64() >= Some(1),
        "{stats}"
    );
    served.terminate();
}

#[test]
fn store_removed_while_served_harms_nobody() {
    let bed = two_images();
    let mut served = serve_json(&bed);
    let (mut client, end) = (reading(&bed, "web:1"), disk().len());
    std::fs::remove_dir_all(bed.store()).unwrap();
    for at in (0..end).step_by(65536) {
        let len = (end - at).min(65536);
        let answer = client.read(at as u64, len as u64);
        match answer.errno() {
            0 => assert!(answer.bytes() == disk()[at..at + len]),
            errno => assert_eq!(errno, EIO),
        }
    }
    assert_ne!(kind_of_go(&bed, "web:2"), reply::ACK);
    assert!(names(&bed).is_empty());
    served.line("cannot list the images");
    assert!(served.stats()["requests"].as_u64() > Some(0));
    served.terminate();
}

#[test]
fn image_removed_while_served_is_there_until_its_last_client_leaves() {
    let bed = two_images();
    bed.melv(&["import", "disk.raw", "--name", "stays"]).exits(0);
    bed.write("own.raw", &noise(9, 2 * MIB));
    bed.melv(&["import", "own.raw", "--name", "goes"]).exits(0);
    let served = serve_json(&bed);
    let (mut one, mut two) = (reading(&bed, "goes"), reading(&bed, "goes"));
    bed.melv(&["rm", "goes"]).exits(0);
    assert_eq!(kind_of_go(&bed, "goes"), reply::ERR_UNKNOWN);
    assert_eq!(names(&bed), ["stays:latest", "web:1", "web:2"]);
    assert!(contents(&mut one, 2 * MIB) == noise(9, 2 * MIB));
    one.ask(command::DISC, 0, 0, 0);
    one.is_closed();
    assert!(contents(&mut two, 2 * MIB) == noise(9, 2 * MIB));
    two.ask(command::DISC, 0, 0, 0);
    two.is_closed();
    let begun = Instant::now();
    while deleted_files(served.pid()) > 0 {
        assert!(begun.elapsed() < SOON, "{} files are held", deleted_files(served.pid()));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(contents(&mut reading(&bed, "stays"), disk().len()) == disk());
}

#[test]
fn image_replaced_while_served_is_the_old_one_for_who_reads_it() {
    let bed = two_images();
    let _served = serve_json(&bed);
    let mut old = reading(&bed, "web:1");
    bed.melv(&["rm", "web:1"]).exits(0);
    bed.write("own.raw", &noise(9, 8192));
    bed.melv(&["import", "own.raw", "--name", "web:1"]).exits(0);
    assert!(contents(&mut old, disk().len()) == disk());
    assert!(contents(&mut reading(&bed, "web:1"), 8192) == noise(9, 8192));
}

#[test]
fn ten_exports_of_one_base_decode_each_shared_chunk_once() {
    let bed = bed();
    let base = noise(11, 6 * MIB);
    bed.write("base.raw", &base);
    bed.melv(&["import", "base.raw", "--name", "base"]).exits(0);
    for number in 0..10 {
        let mut disk = base.clone();
        let at = 4 * MIB + number * 8192;
        disk[at..at + 4096].copy_from_slice(&noise(100 + number as u64, 4096));
        bed.write("disk.raw", &disk);
        bed.melv(&["import", "disk.raw", "--name", &format!("vm:{number}"), "--parent", "base"]).exits(0);
    }
    let mut served = serve_json(&bed);
    let mut clients: Vec<_> = (0..10).map(|number| reading(&bed, &format!("vm:{number}"))).collect();
    let mut decodes = Vec::new();
    for client in &mut clients {
        for at in (0..3 * MIB).step_by(MIB) {
            assert!(client.read(at as u64, MIB as u64).bytes() == base[at..at + MIB]);
        }
        decodes.push(served.stats()["decodes"].as_u64().unwrap());
    }
    println!("decodes after each of ten exports: {decodes:?}");
    assert!(decodes[0] > 0 && decodes.iter().all(|count| *count == decodes[0]), "{decodes:?}");
}

#[test]
fn ten_clients_at_once_decode_each_shared_chunk_once() {
    let bed = bed();
    let base = noise(12, 4 * MIB);
    bed.write("base.raw", &base);
    bed.melv(&["import", "base.raw", "--name", "base"]).exits(0);
    let mut served = serve_json(&bed);
    reading(&bed, "base").read(0, 512);
    let alone = served.stats();
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let mut client = reading(&bed, "base");
            std::thread::spawn(move || contents(&mut client, 4 * MIB))
        })
        .collect();
    for client in clients {
        assert!(client.join().unwrap() == base);
    }
    let stats = served.stats();
    let decoded = stats["decoded_bytes"].as_u64().unwrap();
    println!("{alone}\n{stats}");
    assert!(decoded <= 4 * MIB as u64, "{decoded} bytes decoded");
}
