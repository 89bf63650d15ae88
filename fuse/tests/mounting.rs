//! Mounting and unmounting.

mod common;

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use common::{BLOCK, bed, noise};
use melv_fuse::{Error, MountOptions, Mounted, check};
use melv_serve::Catalog;

#[test]
fn only_an_empty_folder_is_mounted_at() {
    let bed = bed();
    assert!(matches!(check(&bed.path("no")), Err(Error::Missing { .. })));
    assert!(matches!(check(&bed.path("no/no")), Err(Error::Missing { .. })));
    std::fs::write(bed.path("file"), b"").expect("written");
    assert!(matches!(check(&bed.path("file")), Err(Error::NotFolder { .. })));
    assert!(matches!(check(&bed.path("store")), Err(Error::NotEmpty { .. })));
    assert_eq!(
        check(&bed.path("mnt")).expect("it is empty"),
        bed.path("mnt").canonicalize().expect("a path")
    );
}

#[test]
fn nothing_is_mounted_twice_at_one_folder() {
    let bed = bed();
    bed.import("web", &noise(1, BLOCK));
    let Some(live) = bed.mount() else { return };
    let catalog = Arc::new(Catalog::all(bed.store()));
    let again = Mounted::new(catalog, &live.dir, &MountOptions::default());
    assert!(matches!(again, Err(Error::Mounted { .. })), "{again:?}");
    live.end();
    bed.mount().expect("again").end();
}

#[test]
fn of_several_at_once_one_mounts() {
    let bed = bed();
    let won: Vec<_> = std::thread::scope(|scope| {
        let try_it = || {
            let catalog = Arc::new(Catalog::all(bed.store()));
            let mounted = Mounted::new(catalog, &bed.path("mnt"), &MountOptions::default())?;
            let unmounter = mounted.unmounter();
            Ok((std::thread::spawn(move || mounted.run()), unmounter))
        };
        let all: Vec<_> = (0..8).map(|_| scope.spawn(try_it)).collect();
        all.into_iter().map(|one| one.join().expect("no panic")).collect()
    });
    if won.iter().any(|one| matches!(one, Err(Error::NoDevice { .. } | Error::Helper { .. }))) {
        println!("skipped, since nothing can be mounted here");
        return;
    }
    assert_eq!(won.iter().filter(|one| one.is_ok()).count(), 1);
    assert!(won.iter().all(|one| matches!(one, Ok(_) | Err(Error::Mounted { .. }))), "{won:?}");
    for (thread, unmounter) in won.into_iter().flatten() {
        unmounter.unmount().expect("an unmount");
        thread.join().expect("no panic").expect("a clean end");
    }
    check(&bed.path("mnt")).expect("nothing is left");
}

#[test]
fn what_is_dropped_before_it_serves_is_unmounted() {
    let bed = bed();
    let catalog = Arc::new(Catalog::all(bed.store()));
    match Mounted::new(catalog, &bed.path("mnt"), &MountOptions::default()) {
        Ok(mounted) => drop(mounted),
        Err(error) => println!("skipped, since nothing can be mounted here: {error}"),
    }
    check(&bed.path("mnt")).expect("nothing is left");
}

#[test]
fn what_is_in_use_is_not_unmounted_but_may_leave_the_tree() {
    let bed = bed();
    bed.import("web", &noise(1, 1000 * BLOCK));
    let Some(live) = bed.mount() else { return };
    let file = live.file("web/latest.raw");
    assert!(matches!(live.unmounter.unmount(), Err(Error::Busy { .. })));
    live.unmounter.unmount_lazily().expect("an unmount");
    assert_eq!(live.names(""), [""; 0]);
    let mut found = vec![0; BLOCK];
    file.read_exact_at(&mut found, 900 * BLOCK as u64).expect("a read");
    assert!(found == noise(1, 1000 * BLOCK)[900 * BLOCK..][..BLOCK]);
    drop(file);
    // Dropping `live` waits for the end.
}

#[test]
fn what_melv_has_not_mounted_it_does_not_unmount() {
    for dir in ["/proc", "/tmp", "/"] {
        assert!(matches!(melv_fuse::umount(Path::new(dir)), Err(Error::NotMounted { .. })), "{dir}");
    }
    assert!(matches!(melv_fuse::umount(Path::new("/no/such")), Err(Error::Missing { .. })));
}
