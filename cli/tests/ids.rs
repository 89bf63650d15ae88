//! Image ids: every command that takes an image accepts an id as printed.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod common;

use common::{Bed, Ran, bed, disk, later_disk};
use serde_json::Value;

/// A store with one image, imported from `disk.raw`, and its id as printed by `import`.
fn one_image() -> (Bed, String) {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.write("new.raw", &later_disk());
    let id = printed(&bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0));
    (bed, id)
}

/// Returns the first id in the output of a command.
#[track_caller]
fn printed(ran: &Ran) -> String {
    let text = ran.stdout();
    let word = text.split_whitespace().find(|word| word.starts_with('@'));
    word.unwrap_or_else(|| panic!("no id in {text}")).to_owned()
}

#[test]
fn every_command_takes_an_id_as_it_was_printed() {
    let (bed, id) = one_image();
    assert_eq!(id.len(), 13);
    for of in [&id, &id[..7], &id[1..]] {
        assert!(bed.json(&["inspect", of])["image"].as_str().unwrap().starts_with(&id[1..]));
        bed.melv(&["map", of]).exits(0);
        bed.melv(&["export", of, "out.raw", "--force"]).exits(0);
        assert!(bed.read("out.raw") == disk());
        bed.melv(&["compare", of, "disk.raw"]).exits(0);
        bed.melv(&["compare", "web", of]).exits(0);
        bed.melv(&["verify", of, "--full"]).exits(0);
        assert_eq!(printed(&bed.melv(&["tag", of, "more", "--replace"]).exits(0)), id);
        bed.melv(&["import", "new.raw", "--name", "child", "--replace", "--parent", of]).exits(0);
        let parent = bed.json(&["inspect", "child"])["parent"].clone();
        assert!(parent.as_str().unwrap().starts_with(&id[1..]));
        assert_eq!(printed(&bed.melv(&["save", of, "one.melv", "--force"]).exits(0)), id);
        bed.melv(&["save", "child", "patch.melv", "--force", "--without", of]).exits(0);
        let run = r#"test "$(nbdinfo --size "$uri")" = "$(stat -c %s disk.raw)""#;
        bed.melv(&["serve", of, "--run", run]).exits(0);
    }
}

#[test]
fn an_image_of_a_bundle_is_meant_by_its_printed_id_too() {
    let (bed, id) = one_image();
    bed.melv(&["import", "new.raw", "--name", "new"]).exits(0);
    bed.melv(&["save", "web", "new", "both.melv"]).exits(0);
    let of = format!("both.melv#{id}");
    assert_eq!(bed.json(&["inspect", &of])["names"][0], "web:latest");
    bed.melv(&["compare", &of, "web"]).exits(0);
    bed.melv(&["import", &of, "--name", "again"]).exits(0);
    assert_eq!(printed(&bed.melv(&["load", &of, "--store", "other"]).exits(0)), id);
    bed.melv(&["save", &of, "one.melv"]).exits(0);
    bed.melv(&["verify", &of]).exits(0);
    bed.melv(&["export", "both.melv#@abcdef", "x"]).exits(13).says("both.melv holds no image @abcdef");
}

#[test]
fn an_id_is_mounted_as_a_folder_of_its_own() {
    let (bed, id) = one_image();
    if !bed.can_mount() {
        return;
    }
    std::fs::create_dir(bed.path("mnt")).unwrap();
    let line =
        format!("melv mount mnt {id} && cmp disk.raw mnt/{id}*/latest.raw; e=$?; melv umount mnt; exit $e");
    bed.sh(&line).exits(0);
}

#[test]
fn a_short_id_of_several_images_is_refused_and_lists_them() {
    let (bed, id) = one_image();
    // A second image whose id starts with the same digits: a file name is enough to be listed.
    let twin = format!("{}{}", &id[1..11], "0".repeat(54));
    std::fs::write(bed.store().join("manifests").join(&twin), b"").unwrap();
    for of in [&id[..11], &id[1..8]] {
        let ran = bed.melv(&["export", of, "out.raw"]).exits(2).says("the ids of 2 images begin with it");
        let said = ran.says("web:latest").says("(no name)").says(&format!("@{twin}")).stderr();
        assert!(said.contains("give more digits"), "{said}");
        let ran = bed.melv(&["inspect", of, "--json"]).exits(2);
        let json: Value = serde_json::from_str(&ran.stderr()).unwrap();
        let images = json["images"].as_array().unwrap();
        assert_eq!((images.len(), &images[0]["image"]), (2, &Value::from(twin.clone())));
        assert_eq!(images[1]["names"][0], "web:latest");
    }
    bed.melv(&["export", &id, "out.raw"]).exits(0);
}

#[test]
fn an_exact_name_wins_over_an_id_without_its_sign() {
    let (bed, id) = one_image();
    bed.melv(&["import", "new.raw", "--name", &id[1..]]).exits(0);
    bed.melv(&["compare", &id[1..], "new.raw"]).exits(0);
    bed.melv(&["compare", &id, "disk.raw"]).exits(0);
}

#[test]
fn what_is_no_id_or_nobodys_is_refused_with_the_reason() {
    let (bed, id) = one_image();
    for bad in ["@", "@abcde", "@ABCDEF012345", "@web", "@0123456789abcdefg"] {
        for arguments in
            [&["inspect", bad][..], &["export", bad, "x"], &["tag", bad, "x"], &["compare", bad, "x"]]
        {
            bed.melv(arguments).exits(2).says("or its first 6 or more");
        }
    }
    bed.melv(&["inspect", "@abcdef012345"]).exits(13).says("image @abcdef012345 is not in this store");
    // An id is not accepted as a name.
    bed.melv(&["rm", &id]).exits(2).says("not an image id, which begins with @");
    bed.melv(&["tag", "web", &id]).exits(2).says("not an image id, which begins with @");
    bed.melv(&["import", "new.raw", "--name", &id]).exits(2).says("not an image id, which begins with @");
}
