//! Names of images: they can be used later, and keep the time since when the image exists.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod common;

use std::time::Duration;

use common::{Bed, bed, disk, later_disk};
use melv::{Store, StoreOptions};

fn with_disks() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.write("new.raw", &later_disk());
    bed
}

/// Adds names to the image `web` that the command refuses but an older version allowed.
fn with_old_names(names: &[&str]) -> Bed {
    let bed = with_disks();
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    let store = Store::open_folder(bed.store(), StoreOptions::default()).unwrap();
    for name in names {
        store.tag(&"web".parse().unwrap(), &name.parse().unwrap(), false).unwrap();
    }
    bed
}

#[test]
fn a_name_that_would_be_taken_for_a_bundle_is_refused() {
    let bed = with_disks();
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    for name in ["x.melv", "x.melv:latest", "x.melv:1", "x:1.melv"] {
        for line in [
            &["import", "new.raw", "--name", name][..],
            &["import", "-", "--name", name],
            &["tag", "web", name],
            &["tag", "web", name, "--replace"],
        ] {
            bed.melv(line).exits(2).says(".melv is the path of a bundle");
        }
    }
    assert_eq!(bed.json(&["ls"])["images"].as_array().unwrap().len(), 1);
}

#[test]
fn a_name_made_of_a_file_can_be_used() {
    let cases = [
        ("x.melv.raw", "x"),
        ("y.MELV.melv.img", "y"),
        (".melv.raw", "melv"),
        ("Größe.raw", "grosse"),
        ("Ünïcødé Диск.raw", "unicode-disk"),
        ("磁盘.raw", "ci-pan"),
        ("two\nlines.raw", "two-lines"),
    ];
    let bed = bed();
    for (file, name) in cases {
        bed.write(file, &disk());
        assert_eq!(bed.json(&["import", file])["name"], format!("{name}:latest"), "{file}");
        bed.melv(&["inspect", name]).exits(0);
        bed.melv(&["export", name, "out.raw", "--force"]).exits(0);
        bed.melv(&["rm", name]).exits(0);
    }
    bed.write("___.raw", &disk());
    bed.melv(&["import", "___.raw"]).exits(2).says("--name");
}

#[test]
fn an_old_name_is_reachable_with_its_tag_and_can_be_removed() {
    let names = ["x.melv:latest", "x.melv:1", "y:1.melv"];
    let bed = with_old_names(&names);
    for name in names {
        bed.melv(&["inspect", name]).exits(0);
        bed.melv(&["map", name]).exits(0);
        bed.melv(&["verify", name]).exits(0);
        bed.melv(&["compare", name, "disk.raw"]).exits(0);
        bed.melv(&["export", name, "out.raw", "--force"]).exits(0);
        bed.melv(&["import", "new.raw", "--name", "child", "--replace", "--parent", name]).exits(0);
        bed.melv(&["tag", name, "good", "--replace"]).exits(0);
        // The name is kept in a bundle, and remains usable in another store.
        bed.melv(&["save", name, "out.melv", "--force"]).exits(0);
        bed.melv(&["load", "out.melv", "--store", "other"]).exits(0);
        bed.melv(&["inspect", name, "--store", "other"]).exits(0);
        bed.melv(&["export", &format!("out.melv#{name}"), "out.raw", "--force"]).exits(0);
        bed.melv(&["rm", name]).exits(0);
    }
    // Without its tag it is a path, and the error says so.
    bed.melv(&["inspect", "x.melv"]).exits(13).says("there is no file x.melv").says("NAME.melv:TAG");
}

#[test]
fn a_file_wins_over_an_old_name_that_looks_like_it() {
    let bed = with_old_names(&["y:1.melv"]);
    bed.melv(&["import", "new.raw", "--name", "new"]).exits(0);
    bed.melv(&["save", "new", "./y:1.melv"]).exits(0);
    bed.melv(&["compare", "y:1.melv", "new.raw"]).exits(0);
    bed.melv(&["rm", "y:1.melv"]).exits(0);
}

#[test]
fn an_import_out_of_a_bundle_does_not_go_on_under_an_old_name() {
    let bed = with_old_names(&["x.melv:latest"]);
    bed.melv(&["save", "x.melv:latest", "out.melv"]).exits(0);
    assert_eq!(bed.json(&["import", "out.melv#x.melv:latest"])["name"], "x:latest");
}

#[test]
fn a_new_name_says_since_when_the_image_is_there() {
    let bed = with_disks();
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    let created = |name: &str| {
        let images = bed.json(&["ls"])["images"].as_array().unwrap().clone();
        images.into_iter().find(|image| image["name"] == name).unwrap()["created"].clone()
    };
    let first = created("web:latest");
    std::thread::sleep(Duration::from_millis(1100));
    let id = format!("@{}", bed.json(&["inspect", "web"])["image"].as_str().unwrap());
    bed.melv(&["tag", "web", "web:stable"]).exits(0);
    bed.melv(&["tag", &id, "by-id"]).exits(0);
    bed.melv(&["tag", &id[..13], "by-short-id"]).exits(0);
    for name in ["web:stable", "by-id:latest", "by-short-id:latest"] {
        assert_eq!(created(name), first, "{name}");
    }
    // The time belongs to the image, even if the name pointed to another one before.
    bed.melv(&["import", "new.raw", "--name", "new"]).exits(0);
    assert_ne!(created("new:latest"), first);
    bed.melv(&["tag", "new", "web:stable", "--replace"]).exits(0);
    assert_eq!(created("web:stable"), created("new:latest"));
}
