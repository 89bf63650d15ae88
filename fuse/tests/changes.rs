//! Changes of the store while its images are mounted.

mod common;

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use common::{BLOCK, bed, noise, read_direct};

/// The documented delay.
const SOON: Duration = Duration::from_secs(1);

/// Waits until the condition holds, which must be soon.
#[track_caller]
fn soon(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < SOON, "{what}: not within {SOON:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn new_images_appear_and_removed_ones_go() {
    let bed = bed();
    bed.import("web:1", &noise(1, BLOCK));
    let Some(live) = bed.mount() else { return };
    assert_eq!(live.names(""), ["web"]);
    assert_eq!(live.names("web"), ["1.raw"]);
    // Look up the names before they exist, which must not be remembered.
    assert!(!live.dir.join("db").exists() && !live.dir.join("web/2.raw").exists());
    bed.import("web:2", &noise(2, BLOCK));
    bed.import("db", &noise(3, BLOCK));
    soon("a new tag is listed", || live.names("web") == ["1.raw", "2.raw"]);
    soon("a new name is listed", || live.names("") == ["db", "web"]);
    assert_eq!(std::fs::read(live.dir.join("db/latest.raw")).expect("a file"), noise(3, BLOCK));
    bed.store().untag(&"web:2".parse().expect("a name")).expect("removed");
    // The name of a file is looked up each time.
    assert!(!live.dir.join("web/2.raw").exists());
    bed.store().untag(&"db".parse().expect("a name")).expect("removed");
    soon("a removed name is not listed", || live.names("") == ["web"]);
    soon("nor is its folder there", || !live.dir.join("db").exists());
    live.end();
}

#[test]
fn a_name_that_goes_to_another_image_shows_it_at_once() {
    let bed = bed();
    bed.import("web", &noise(1, 3 * BLOCK));
    let Some(live) = bed.mount() else { return };
    let path = live.dir.join("web/latest.raw");
    let old = File::open(&path).expect("a file");
    let number = old.metadata().expect("attributes").ino();
    assert!(std::fs::read(&path).expect("a read") == noise(1, 3 * BLOCK));
    for seed in 2..20 {
        let new = noise(seed, seed as usize * BLOCK);
        bed.replace("web", &new);
        assert_eq!(std::fs::metadata(&path).expect("attributes").len(), new.len() as u64);
        assert!(std::fs::read(&path).expect("a read") == new, "image {seed}");
        assert_ne!(std::fs::metadata(&path).expect("attributes").ino(), number);
    }
    // The first image can still be read through its open file, from memory or from the store.
    let mut found = vec![0; 3 * BLOCK];
    old.read_exact_at(&mut found, 0).expect("a read");
    assert!(found == noise(1, 3 * BLOCK));
    assert_eq!(old.metadata().expect("attributes").len(), 3 * BLOCK as u64);
}

#[test]
fn a_name_that_changes_all_the_time_can_always_be_opened() {
    let bed = bed();
    bed.import("a", &noise(1, BLOCK));
    bed.import("b", &noise(2, 2 * BLOCK));
    bed.import("web", &noise(1, BLOCK));
    let Some(live) = bed.mount() else { return };
    let store = bed.store();
    std::thread::scope(|scope| {
        let changing = scope.spawn(move || {
            let name = "web".parse().expect("a name");
            for round in 0..300 {
                let from = if round % 2 == 0 { "b" } else { "a" };
                store.tag(&from.parse().expect("a name"), &name, true).expect("a tag");
            }
        });
        while !changing.is_finished() {
            let found = std::fs::read(live.dir.join("web/latest.raw")).expect("a read");
            assert!(found == noise(1, BLOCK) || found == noise(2, 2 * BLOCK));
        }
    });
}

#[test]
fn what_was_read_stays_in_the_page_cache_when_it_is_opened_again() {
    let bed = bed();
    bed.import("web", &noise(1, 256 * BLOCK));
    let catalog = melv_serve::Catalog::all(bed.store());
    let counters = catalog.counters().clone();
    let Some(live) = bed.mount_catalog(catalog) else { return };
    let path = live.dir.join("web/latest.raw");
    assert!(std::fs::read(&path).expect("a read") == noise(1, 256 * BLOCK));
    let read = counters.counts().bytes;
    assert!(read >= 256 * BLOCK as u64);
    for _ in 0..10 {
        assert!(std::fs::read(&path).expect("a read") == noise(1, 256 * BLOCK));
    }
    assert_eq!(counters.counts().bytes, read);
}

fn remove_all(dir: &Path) {
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
            .expect("removed");
    }
}

#[test]
fn an_open_file_outlives_its_name_and_even_the_store() {
    let bed = bed();
    let disk = noise(1, 2000 * BLOCK);
    bed.import("web", &disk);
    bed.import("db", &noise(2, 100 * BLOCK));
    let Some(live) = bed.mount() else { return };
    let web = live.direct("web/latest.raw");
    read_direct(&web, 0, BLOCK).expect("a read");
    bed.store().untag(&"web".parse().expect("a name")).expect("removed");
    assert!(read_direct(&web, 0, disk.len()).expect("a read") == disk);
    // Simulate the removal of all objects.
    remove_all(&bed.path("store"));
    assert!(read_direct(&web, 0, disk.len()).expect("a read") == disk);
    for gone in ["web/latest.raw", "db/latest.raw"] {
        let error = File::open(live.dir.join(gone)).expect_err(gone);
        let errno = error.raw_os_error().unwrap_or_default();
        let stale = rustix::io::Errno::STALE.raw_os_error();
        assert!(error.kind() == ErrorKind::NotFound || errno == stale || errno == 5, "{error}");
    }
    // The mount still works, and ends normally.
    assert!(rustix::fs::statvfs(&live.dir).is_ok());
    drop(web);
    live.end();
}
