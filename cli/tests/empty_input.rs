//! Empty inputs: they are refused and change nothing.

mod common;

use common::{Bed, bed, disk};

fn one_image() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    bed
}

/// The state that a refused import must not change.
fn state(bed: &Bed) -> (serde_json::Value, serde_json::Value, u64) {
    (bed.json(&["ls"]), bed.json(&["df"]), common::file_bytes(&bed.store(), "index"))
}

const OPTIONS: [&str; 6] =
    ["", "--replace", "--replace --pad", "--replace --format raw", "--replace --format vmdk", "--pad"];

#[test]
fn exit_2_no_bytes_from_standard_input_and_the_name_keeps_its_image() {
    let bed = one_image();
    bed.write("empty", b"");
    let before = state(&bed);
    for options in OPTIONS {
        for line in [
            format!("false | melv import - --name web {options}"),
            format!("true | melv import - --name web {options} -q"),
            format!("melv import - --name web {options} <&-"),
            format!("melv import - --name web {options} </dev/null"),
            format!("melv import - --name web {options} <empty"),
        ] {
            bed.sh(&line).exits(2).says("is empty; nothing was changed").says("--from-command");
            assert_eq!(state(&bed), before, "{line}");
        }
    }
    bed.melv(&["compare", "web", "disk.raw"]).exits(0);
}

#[test]
fn exit_2_empty_files_and_devices() {
    let bed = one_image();
    bed.write("empty.raw", b"");
    bed.write("empty.vmdk", b"");
    bed.write("empty.melv", b"");
    let before = state(&bed);
    for options in OPTIONS {
        for file in ["empty.raw", "empty.vmdk", "empty.melv"] {
            bed.sh(&format!("melv import {file} --name web {options}")).exits(2).says(file).says("empty");
        }
        bed.sh(&format!("melv import /dev/null --name web {options}")).exits(2);
        assert_eq!(state(&bed), before, "{options}");
    }
    let looped = bed.sh("PATH=$PATH:/sbin:/usr/sbin losetup --find --show empty.raw");
    if looped.output.status.success() {
        let device = looped.stdout().trim().to_owned();
        let ran = OPTIONS.map(|options| bed.sh(&format!("melv import {device} --name web {options}")));
        bed.sh(&format!("PATH=$PATH:/sbin:/usr/sbin losetup -d {device}")).exits(0);
        ran.into_iter().for_each(|ran| drop(ran.exits(2).says("empty")));
    } else {
        println!("skipped: no loop device: {}", looped.stderr());
    }
    assert_eq!(state(&bed), before);
}

#[test]
fn an_empty_input_makes_no_store() {
    let bed = bed();
    bed.write("empty.raw", b"");
    bed.sh("false | melv import - --name web").exits(2);
    bed.melv(&["import", "empty.raw"]).exits(2);
    bed.sh("melv import --from-command --name web -- true").exits(2).says("is empty; nothing was changed");
    assert!(!bed.store().exists());
}

#[test]
fn one_byte_is_enough() {
    let bed = bed();
    bed.sh("printf x | melv import - --name x --pad").exits(0);
    assert_eq!(bed.json(&["inspect", "x"])["size"], 512);
    // An image without bytes has a content id nevertheless.
    bed.sh("true | melv digest - && melv digest /dev/stdin </dev/null; test $? = 2").exits(0);
}

#[test]
fn an_image_of_no_bytes_stays_valid_and_is_handled_like_any_other() {
    let bed = bed();
    common::import_empty(&bed);
    assert_eq!(bed.json(&["inspect", "empty"])["size"], 0);
    bed.melv(&["verify", "--full"]).exits(0);
    assert_eq!(bed.json(&["export", "empty", "out.raw"])["bytes"], 0);
    bed.melv(&["compare", "empty", "out.raw"]).exits(0);
    bed.sh("melv compare empty - </dev/null").exits(0);
    let content = bed.json(&["inspect", "empty"])["content"].clone();
    assert_eq!(bed.json(&["digest", "out.raw"])["content"], content);
    assert_eq!(bed.sh("true | melv digest - --json").exits(0).json()["content"], content);
    bed.melv(&["save", "empty", "empty.melv"]).exits(0);
    bed.melv(&["load", "empty.melv", "--store", "other"]).exits(0);
    bed.melv(&["--store", "other", "verify", "--full"]).exits(0);
    // An empty disk is not imported from any source.
    bed.melv(&["import", "empty.melv", "--name", "again"]).exits(2).says("empty.melv");
}
