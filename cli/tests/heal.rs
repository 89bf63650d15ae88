//! Repair of a damaged store: importing the disk again, or loading a bundle, heals the damage and reports it
//! once.

mod common;

use common::{Bed, bed, noise};

/// A store with one image of noise, its disk, and a bundle of it.
fn scene() -> Bed {
    let bed = bed();
    let disk = noise(9, 4 << 20);
    bed.write("d.raw", &disk);
    bed.melv(&["import", "d.raw", "-q"]).exits(0);
    bed.melv(&["save", "d", "good.melv", "-q"]).exits(0);
    bed
}

fn damage(bed: &Bed) {
    bed.sh("P=$(find store/packs -type f) && printf UUUU | dd of=$P bs=1 seek=100000 conv=notrunc status=none && touch -d '+3 seconds' $P")
        .exits(0);
}

#[test]
fn a_disk_imported_again_heals_a_pack_that_was_changed() {
    let bed = scene();
    damage(&bed);
    bed.melv(&["compare", "d", "d.raw"]).exits(4);
    bed.melv(&["import", "d.raw", "--name", "again"]).exits(0);
    for image in ["again", "d"] {
        bed.melv(&["compare", image, "d.raw"]).exits(0);
    }
    bed.melv(&["verify", "--full"]).exits(0);
}

#[test]
fn a_disk_imported_again_heals_without_an_index_and_at_another_level() {
    let bed = scene();
    damage(&bed);
    bed.sh("rm -rf store/index").exits(0);
    bed.melv(&["import", "d.raw", "--name", "again", "--level", "9"]).exits(0);
    for image in ["again", "d"] {
        bed.melv(&["compare", image, "d.raw"]).exits(0);
    }
    bed.melv(&["verify", "--full"]).exits(0);
}

#[test]
fn a_pack_that_is_gone_is_told_of_once_and_stored_again() {
    let bed = scene();
    bed.sh("mv store/packs/* .").exits(0);
    let ran = bed.melv(&["import", "d.raw", "--name", "again"]).exits(0);
    let told: Vec<_> = ran.stderr().lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("stored again"), "{told:?}");
    bed.melv(&["compare", "d", "d.raw"]).exits(0);
}

#[test]
fn a_bundle_that_is_loaded_again_heals_and_rot_that_verify_found_is_looked_at() {
    let bed = scene();
    // Rot leaves the modification time unchanged.
    bed.sh("P=$(find store/packs -type f) && touch -r $P stamp && printf UUUU | dd of=$P bs=1 seek=100000 conv=notrunc status=none && touch -r stamp $P")
        .exits(0);
    bed.melv(&["verify", "--full"]).exits(4);
    bed.melv(&["load", "good.melv"]).exits(0);
    bed.melv(&["compare", "d", "d.raw"]).exits(0);
    bed.melv(&["verify", "--full"]).exits(0);
}

#[test]
fn shared_chunks_are_checked_when_that_is_asked_for() {
    let bed = scene();
    bed.sh("P=$(find store/packs -type f) && touch -r $P stamp && printf UUUU | dd of=$P bs=1 seek=100000 conv=notrunc status=none && touch -r stamp $P")
        .exits(0);
    bed.melv(&["import", "d.raw", "--name", "again", "--check-shared"]).exits(0);
    for image in ["again", "d"] {
        bed.melv(&["compare", image, "d.raw"]).exits(0);
    }
}

#[test]
fn another_users_store_is_written_only_by_who_says_so() {
    let bed = scene();
    if !bed.sh("chown 12345 store/melv.store").output.status.success() {
        eprintln!("only root can give a file to another user: not tested");
        return;
    }
    bed.melv(&["compare", "d", "d.raw"]).exits(0);
    bed.melv(&["import", "d.raw", "--name", "again"]).exits(1).says("--trust-owner");
    bed.melv(&["import", "d.raw", "--name", "again", "--trust-owner"]).exits(0);
}
