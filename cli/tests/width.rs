//! The width of output: nothing is wider than the terminal, and piped output is complete.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod common;

use common::{Bed, bed, disk, later_disk, noise};
use melv::{ImportOptions, Source, Store, StoreOptions};
use unicode_width::UnicodeWidthStr;

const LONG: &str = "a-web-server-of-mine-with-a-rather-long-name:with-a-tag-that-is-long-too";

/// Images with long names, files with wide characters, and bundles of one and of two images.
fn prepared() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.write("new.raw", &later_disk());
    bed.write("磁盘磁盘磁盘磁盘磁盘磁盘磁盘磁盘磁盘磁盘.raw", &disk());
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    bed.melv(&["import", "new.raw", "--name", LONG, "--parent", "web"]).exits(0);
    for tag in ["1", "2", "a-second-name-that-is-long", "a-third-name-that-is-long"] {
        bed.melv(&["tag", "web", &format!("web:{tag}")]).exits(0);
    }
    bed.melv(&["save", "web", "a-bundle-with-quite-a-long-name-of-its-own.melv"]).exits(0);
    bed.melv(&["save", "web", LONG, "two.melv"]).exits(0);
    bed.melv(&["export", "web", "disk.vmdk", "--format", "vmdk"]).exits(0);
    bed.write("foreign.qcow2", &[b"QFI\xfb\0\0\0\x03".to_vec(), vec![0; 504]].concat());
    bed
}

const LINES: [&str; 14] = [
    "melv ls",
    "melv inspect web",
    "melv inspect web --all",
    "melv inspect a-web-server-of-mine-with-a-rather-long-name:with-a-tag-that-is-long-too",
    "melv inspect a-bundle-with-quite-a-long-name-of-its-own.melv",
    "melv inspect two.melv",
    "melv inspect ./disk.raw",
    "melv inspect ./disk.vmdk",
    "melv inspect ./foreign.qcow2",
    "melv inspect ./磁盘磁盘磁盘磁盘磁盘磁盘磁盘磁盘磁盘磁盘.raw",
    "melv map web",
    "melv df",
    "melv verify",
    "melv save web again.melv --force",
];

#[track_caller]
fn fits(text: &str, columns: usize, line: &str) {
    assert!(!text.trim().is_empty(), "{line} prints nothing");
    for found in text.lines() {
        assert!(found.width() <= columns, "{line} at {columns}: {} columns:\n{found}", found.width());
    }
}

#[test]
fn nothing_is_wider_than_columns_says() {
    let bed = prepared();
    for columns in [40, 60, 80, 200] {
        for line in LINES {
            let ran = bed.sh(&format!("COLUMNS={columns} {line}")).exits(0);
            fits(&ran.stdout(), columns, line);
        }
    }
}

#[test]
fn nothing_is_wider_than_the_terminal() {
    let bed = prepared();
    for columns in [40, 60, 80, 200] {
        for line in LINES {
            // A larger COLUMNS, left over from another terminal, has no effect.
            let text = bed.on_terminal(columns, &format!("COLUMNS=300 {line} --progress none"));
            fits(&text, columns, line);
        }
        let text = bed.on_terminal(columns, "melv export two.melv out.raw");
        let table: String = text
            .lines()
            .filter(|line| line.contains('@') && !line.contains("hint"))
            .map(|line| format!("{line}\n"))
            .collect();
        fits(&table, columns, "the images of a bundle to choose among");
    }
}

#[test]
fn damage_is_told_within_the_terminal() {
    let bed = prepared();
    let packs = std::fs::read_dir(bed.store().join("packs")).unwrap();
    packs.for_each(|pack| std::fs::remove_file(pack.unwrap().path()).unwrap());
    for columns in [40, 80] {
        let ran = bed.sh(&format!("COLUMNS={columns} melv verify")).exits(4);
        fits(&ran.stdout(), columns, "melv verify");
    }
}

#[test]
fn what_is_piped_is_whole() {
    let bed = prepared();
    let listed = bed.melv(&["ls"]).exits(0).stdout();
    assert!(listed.contains(LONG), "{listed}");
    let created = listed.lines().nth(1).unwrap().split_whitespace().last().unwrap();
    assert!(created.len() == 20 && created.ends_with('Z'), "{created}");
    let inspected = bed.melv(&["inspect", LONG]).exits(0).stdout();
    let json = bed.json(&["inspect", LONG]);
    for field in ["image", "content", "parent"] {
        assert!(inspected.contains(json[field].as_str().unwrap()), "{inspected}");
    }
    assert!(bed.melv(&["inspect", "two.melv"]).exits(0).stdout().contains(json["content"].as_str().unwrap()));
    assert!(!bed.melv(&["df"]).exits(0).stdout().contains('…'));
    bed.melv(&["export", "two.melv", "x"]).exits(2).says(json["image"].as_str().unwrap());
    // Nor is it shortened if COLUMNS gives enough room.
    let wide = bed.sh("COLUMNS=200 melv ls").exits(0).stdout();
    assert_eq!(wide, listed);
}

#[test]
fn a_terminal_is_told_how_long_ago_an_image_came() {
    let bed = prepared();
    let listed = bed.on_terminal(120, "melv ls");
    assert!(listed.contains("just now") || listed.contains("min ago"), "{listed}");
    assert!(listed.contains(LONG), "{listed}");
    // The terminal may not report a width.
    fits(&bed.on_terminal(0, "melv ls"), 80, "melv ls");
    // JSON does not depend on the terminal.
    let json = bed.on_terminal(40, "melv ls --json");
    assert_eq!(json.trim(), bed.melv(&["ls", "--json"]).exits(0).stdout().trim());
}

#[test]
fn numbers_in_names_are_listed_in_their_order() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.melv(&["import", "disk.raw", "--name", "vm-10"]).exits(0);
    for name in ["vm-9", "vm-100", "vm-1:10", "vm-1:9"] {
        bed.melv(&["tag", "vm-10", name]).exits(0);
    }
    let ordered = ["vm-1:9", "vm-1:10", "vm-9:latest", "vm-10:latest", "vm-100:latest"];
    let images = bed.json(&["ls"])["images"].as_array().unwrap().clone();
    let names: Vec<_> = images.iter().map(|image| image["name"].as_str().unwrap()).collect();
    assert_eq!(names, ordered);
    let text = bed.melv(&["ls"]).exits(0).stdout();
    let names: Vec<_> = text.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ordered);
}

/// A store with `count` versions of one disk, each the parent of the next; `img-N` is the first with N more
/// blocks changed.
fn with_many(count: usize) -> Bed {
    let bed = bed();
    let store = Store::create_folder(bed.store(), StoreOptions::default()).unwrap();
    let mut disk = noise(1, 256 * 4096);
    for number in 0..count {
        disk[number * 4096..][..4096].copy_from_slice(&noise(100 + number as u64, 4096));
        let mut options = ImportOptions::named(format!("img-{number}").parse().unwrap());
        options.parent = number.checked_sub(1).map(|parent| format!("img-{parent}").parse().unwrap());
        store.import(Source::stream(disk.as_slice(), "disk"), &options).unwrap();
    }
    // One more image has nothing in common with them.
    let other = noise(9, 4096);
    let options = ImportOptions::named("other".parse().unwrap());
    store.import(Source::stream(other.as_slice(), "other"), &options).unwrap();
    for number in 0..50 {
        store.tag(&"img-5".parse().unwrap(), &format!("img-5:{number}").parse().unwrap(), false).unwrap();
    }
    bed
}

#[test]
fn an_image_among_many_is_told_in_twenty_lines() {
    let bed = with_many(60);
    for name in ["img-0", "img-5", "img-30", "img-59"] {
        let text = bed.melv(&["inspect", name]).exits(0).stdout();
        assert!(text.lines().count() <= 20, "{text}");
        assert!(!text.contains("0 B") && !text.contains("bytes bytes"), "{text}");
        // The most similar image comes first, and the sizes are aligned.
        let shares: Vec<_> = text.lines().skip_while(|line| !line.starts_with("shares")).collect();
        let likest = if name == "img-0" { "img-1" } else { "img-" };
        assert!(shares[0].contains(likest), "{text}");
        let at = |line: &str| line.find('@');
        let images = shares.iter().filter(|line| line.contains('@') && !line.contains("hint"));
        assert!(
            images.clone().count() >= 3 && images.clone().all(|line| at(line) == at(shares[0])),
            "{text}"
        );
        assert!(text.contains("more (--all lists them)"), "{text}");
        let all = bed.melv(&["inspect", name, "--all"]).exits(0).stdout();
        assert!(all.lines().filter(|line| line.contains("iB  @")).count() == 59, "{all}");
        assert!(!all.contains("--all") && !all.contains("other:latest"), "{all}");
    }
    let sharing = bed.json(&["inspect", "img-30"])["sharing"].as_array().unwrap().clone();
    assert!(sharing.is_sorted_by_key(|other| std::cmp::Reverse(other["bytes"].as_u64().unwrap())));
}
