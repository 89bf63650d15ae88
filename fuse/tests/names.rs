//! The cost of names: looking up one name costs the same, however many names there are.

mod common;

use std::process::Command;

use common::{BLOCK, Bed, Live, bed, noise};
use melv::{FileStorage, Store, StoreOptions};
use melv_serve::Catalog;
use melv_testing::{FaultyStorage, Operation};

/// Mounts a store with this number of names, and counts the operations on it.
fn mounted(names: usize) -> Option<(Bed, Live, FaultyStorage<FileStorage>)> {
    let bed = bed();
    bed.import("web", &noise(1, BLOCK));
    let store = bed.store();
    for number in 1..names {
        let name = if number % 2 == 0 { format!("name-{number}") } else { format!("many:v{number}") };
        let name = name.parse().expect("a name");
        store.tag(&"web".parse().expect("a name"), &name, false).expect("a tag");
    }
    let counting = FaultyStorage::counting(FileStorage::new(bed.path("store")), Operation::All);
    let store = Store::open(counting.clone(), StoreOptions::default()).expect("the store");
    let live = bed.mount_catalog(Catalog::all(store))?;
    // As `melv mount` does before it reports success.
    rustix::fs::statvfs(&live.dir).expect("statvfs");
    Some((bed, live, counting))
}

#[test]
fn to_look_at_a_file_costs_the_same_however_many_names_there_are() {
    let mut costs = Vec::new();
    for names in [4, 400] {
        let Some((bed, live, counting)) = mounted(names) else { return };
        let cost = |work: &dyn Fn()| {
            let before = counting.operations();
            work();
            counting.operations() - before
        };
        // Look up old names, a new one, and missing ones.
        bed.store()
            .tag(&"web".parse().expect("a name"), &"new".parse().expect("a name"), false)
            .expect("a tag");
        let stat = |path: &str, is_there: bool| {
            let found = std::fs::metadata(live.dir.join(path)).is_ok();
            assert_eq!(found, is_there, "{path}");
        };
        costs.push([
            cost(&|| stat("web/latest.raw", true)),
            cost(&|| stat("many/v1.raw", true)),
            cost(&|| stat("name-2/latest.raw", true)),
            cost(&|| stat("new/latest.raw", true)),
            cost(&|| stat("web/missing.raw", false)),
            cost(&|| stat("missing", false)),
            cost(&|| stat("missing/latest.raw", false)),
            cost(&|| {
                assert_eq!(std::fs::read(live.dir.join("web/latest.raw")).expect("a read"), noise(1, BLOCK))
            }),
            cost(&|| assert_eq!(live.names("web"), ["latest.raw"])),
        ]);
        live.end();
    }
    assert_eq!(costs[0], costs[1]);
    assert!(costs[0].iter().all(|cost| *cost <= 24), "{costs:?}");
    let [web, many, name, new, missing, folder, below, ..] = costs[0];
    assert!([web, many, name].iter().all(|cost| *cost <= 6), "{costs:?}");
    assert!(new <= 6 && missing <= 3 && folder <= 2 && below <= 2, "{costs:?}");
}

#[test]
fn to_walk_over_all_files_reads_all_names_once_and_each_folder_once() {
    let Some((_bed, live, counting)) = mounted(400) else { return };
    std::thread::sleep(std::time::Duration::from_millis(600));
    let before = counting.operations();
    let listed = Command::new("ls").arg("-R").arg(&live.dir).output().expect("ls");
    let cost = counting.operations() - before;
    let listed = String::from_utf8_lossy(&listed.stdout).matches(".raw").count();
    assert_eq!(listed, 400);
    // Two operations for each name in the listing of all. For a folder, a check that it exists, its listing,
    // and two operations for each name in it.
    let folders = 400 / 2 + 1;
    assert!(cost <= 2 * (2 * 400) + folders * 4, "{cost}");
    live.end();
}

#[test]
fn a_folder_that_was_known_by_a_tag_stays_as_long_as_it_has_another() {
    let bed = bed();
    bed.import("web:1", &noise(1, BLOCK));
    bed.import("web:2", &noise(2, BLOCK));
    let Some(live) = bed.mount() else { return };
    assert_eq!(live.names(""), ["web"]);
    for gone in ["web:1", "web:2"] {
        assert!(live.dir.join("web").is_dir());
        bed.store().untag(&gone.parse().expect("a name")).expect("removed");
        // Wait longer than the kernel caches the existence of a folder.
        std::thread::sleep(std::time::Duration::from_millis(700));
    }
    assert!(!live.dir.join("web").exists());
    bed.import("web:3", &noise(3, BLOCK));
    assert_eq!(std::fs::read(live.dir.join("web/3.raw")).expect("a read"), noise(3, BLOCK));
    live.end();
}
