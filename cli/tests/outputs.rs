//! Output to files, links, pipes and terminals.

mod common;

use std::os::unix::fs::MetadataExt;

use common::{Bed, bed, disk, later_disk, noise};

fn one_image() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.write("new.raw", &later_disk());
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    bed
}

#[test]
fn a_link_that_leads_to_nothing_leads_to_the_new_file() {
    let bed = one_image();
    bed.sh("mkdir big && ln -s big/disk.img link && ln -s link second && ln -s big/web.melv link.melv")
        .exits(0);
    for link in ["link", "second"] {
        bed.melv(&["export", "web", link]).exits(1).says(link).says("--force");
        assert!(!bed.path("big/disk.img").exists());
        bed.melv(&["export", "web", link, "--force"]).exits(0);
        assert!(bed.path(link).is_symlink() && bed.read("big/disk.img") == disk(), "{link}");
        // Now the link leads to a file.
        bed.melv(&["export", "web", link, "--force", "--format", "vmdk"]).exits(0);
        assert!(bed.path(link).is_symlink());
        bed.sh("rm big/disk.img").exits(0);
    }
    bed.melv(&["save", "web", "link.melv"]).exits(1);
    bed.melv(&["save", "web", "link.melv", "--force"]).exits(0);
    assert!(bed.path("link.melv").is_symlink() && bed.path("big/web.melv").exists());
    // If the link leads to a missing folder or into a loop, nothing is created or replaced.
    bed.sh("ln -s gone/disk.img nowhere && ln -s turn around && ln -s around turn").exits(0);
    for link in ["nowhere", "around"] {
        bed.melv(&["export", "web", link, "--force"]).exits(1).says(link);
        assert!(bed.path(link).is_symlink());
    }
}

#[test]
fn holes_stay_holes_where_standard_output_is_a_new_file() {
    let bed = bed();
    let size: u64 = 3 << 30;
    let file = std::fs::File::create(bed.path("big.raw")).unwrap();
    file.set_len(size).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &noise(1, 100_000), 1 << 30).unwrap();
    bed.melv(&["import", "big.raw"]).exits(0);
    bed.sh("melv export big - >out.raw").exits(0);
    let out = bed.path("out.raw").metadata().unwrap();
    assert_eq!(out.len(), size);
    assert!(out.blocks() * 512 < 4 << 20, "{} blocks", out.blocks());
    bed.melv(&["compare", "big", "out.raw"]).exits(0);
    // Later output to the same file follows the disk, and earlier content stays.
    bed.write("disk.raw", &disk());
    bed.melv(&["import", "disk.raw"]).exits(0);
    bed.sh("{ melv export disk -; printf end; } >two").exits(0);
    assert!(bed.read("two") == [&disk()[..], b"end"].concat());
    bed.sh("{ printf begin; melv export disk -; } >three").exits(0);
    assert!(bed.read("three") == [b"begin", &disk()[..]].concat());
    bed.sh("printf begin >four; melv export disk - >>four; : >five; melv export disk - >>five").exits(0);
    assert!(bed.read("four") == [b"begin", &disk()[..]].concat() && bed.read("five") == disk());
    bed.write("six", &noise(3, 9 << 20));
    bed.sh("melv export disk - 1<>six").exits(0);
    assert!(bed.read("six") == [&disk()[..], &noise(3, 9 << 20)[disk().len()..]].concat());
    bed.sh("melv export disk - | cat >seven").exits(0);
    assert!(bed.read("seven") == disk());
}

#[test]
fn images_are_listed_in_the_order_in_which_they_were_given() {
    let bed = one_image();
    bed.melv(&["import", "new.raw", "--name", "apart"]).exits(0);
    let names = |json: serde_json::Value| -> Vec<String> {
        let images = json["images"].as_array().unwrap();
        images.iter().map(|image| image["names"][0].as_str().unwrap().to_owned()).collect()
    };
    for order in [["web", "apart"], ["apart", "web"]] {
        let saved = bed.json(&["save", order[0], order[1], "both.melv", "--force"]);
        assert_eq!(names(saved), order.map(|name| format!("{name}:latest")));
        let text = bed.melv(&["save", order[0], order[1], "both.melv", "--force"]).exits(0).stdout();
        assert!(text.find(order[0]) < text.find(order[1]), "{text}");
    }
    // A bundle lists the images by name.
    let loaded = bed.json(&["load", "both.melv", "--store", "other"]);
    assert_eq!(names(loaded), ["apart:latest", "web:latest"]);
}

#[test]
fn plain_progress_says_once_that_all_is_done() {
    let bed = one_image();
    for command in [
        "export web out.raw --force",
        "import new.raw --replace",
        "digest disk.raw",
        "save web o.melv --force",
    ] {
        let said = bed.sh(&format!("melv {command} --progress plain")).exits(0).stderr();
        assert_eq!(said.matches("100 %").count(), 1, "{command}: {said}");
    }
}

#[test]
fn a_dumb_terminal_gets_no_colours() {
    let bed = one_image();
    if !bed.sh("command -v script >/dev/null").output.status.success() {
        println!("skipped: there is no `script` to make a terminal");
        return;
    }
    let coloured = |term: &str| {
        let ran = bed.sh(&format!("TERM={term} script -qec 'melv inspect nope' /dev/null </dev/null"));
        ran.stdout().contains('\x1b')
    };
    assert!(coloured("xterm") && !coloured("dumb"));
}
