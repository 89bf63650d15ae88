//! Refusals, with their exit codes and messages.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod common;

use std::time::{Duration, Instant};

use common::{Bed, bed, disk, later_disk};

fn one_image() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.write("new.raw", &later_disk());
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    bed
}

#[test]
fn exit_1_a_taken_name_or_file_unless_told_to_replace() {
    let bed = one_image();
    bed.melv(&["import", "new.raw", "--name", "web"]).exits(1).says("web:latest").says("--replace");
    bed.melv(&["compare", "web", "disk.raw"]).exits(0);
    bed.melv(&["tag", "web", "web:latest"]).exits(1).says("--replace");
    bed.melv(&["import", "new.raw", "--name", "web", "--replace"]).exits(0);
    bed.melv(&["compare", "web", "new.raw"]).exits(0);

    bed.write("out.raw", b"precious");
    bed.melv(&["export", "web", "out.raw"]).exits(1).says("out.raw").says("--force");
    assert_eq!(bed.read("out.raw"), b"precious");
    bed.melv(&["export", "web", "out.raw", "--force"]).exits(0);
    assert!(bed.read("out.raw") == later_disk());
}

#[test]
fn exit_2_a_command_line_that_makes_no_sense() {
    let bed = one_image();
    let refused: [&[&str]; 20] = [
        &[],
        &["frobnicate"],
        &["import"],
        &["import", "-"],
        &["import", "disk.raw", "--level", "0"],
        &["import", "disk.raw", "--level", "20"],
        &["import", "disk.raw", "--chunk", "5000"],
        &["import", "disk.raw", "--chunk", "12K"],
        &["import", "disk.raw", "--chunk", "8M"],
        &["import", "disk.raw", "--chunk", "32KB"],
        &["import", "disk.raw", "--format", "wav"],
        &["export", "web", "out.raw", "--format", "wav"],
        &["ls", "--threads", "0"],
        &["import", "disk.raw", "--format", "vmdk-stream"],
        &["import", "-", "--name", "x", "--format", "bundle"],
        &["digest", "-", "--format", "bundle"],
        &["export", "web", "out.melv", "--format", "bundle"],
        &["save", "web"],
        &["save", "web.melv"],
        &["save", "web", "-"],
    ];
    for arguments in refused {
        assert!(!bed.melv(arguments).exits(2).stderr().is_empty(), "{arguments:?}");
    }
    bed.melv(&["import", "-"]).exits(2).says("--name");
    bed.write("___", &disk());
    bed.melv(&["import", "___"]).exits(2).says("--name");
}

#[test]
fn exit_2_names_outside_the_alphabet() {
    let bed = one_image();
    let long = "a".repeat(300);
    for name in ["..", ".", "Web", "web:", ":tag", "a b", "a..b", "../web", "web/1", "-web", "ä", "", &long]
    {
        let import = format!("--name={name}");
        bed.melv(&["import", "disk.raw", &import]).exits(2).says("lower-case");
        bed.melv(&["tag", "web", "--", name]).exits(2);
        bed.melv(&["rm", "--", name]).exits(2);
    }
    assert_eq!(bed.json(&["ls"])["images"].as_array().unwrap().len(), 1);
    bed.melv(&["tag", "web", &"a".repeat(255)]).exits(0);
}

#[test]
fn exit_4_damage_and_what_is_sound_is_listed_all_the_same() {
    let bed = one_image();
    bed.melv(&["tag", "web", "other"]).exits(0);
    std::fs::write(bed.store().join("refs/web/latest"), b"rubbish").unwrap();
    let ran = bed.melv(&["ls", "--json"]).exits(4).says("web:latest");
    let json = ran.json();
    let names: Vec<_> = json["images"].as_array().unwrap().iter().map(|image| &image["name"]).collect();
    assert_eq!(names, ["other:latest", "web:latest"]);
    // The sound parts of an image are still reported.
    let sound = bed.melv(&["inspect", "other", "--json"]).exits(4).says("refs/web/latest").json();
    assert_eq!((&sound["names"][0], &sound["sharing"]), (&"other:latest".into(), &serde_json::Value::Null));
    bed.melv(&["export", "web", "out.raw"]).exits(4).says("refs/web/latest").says("melv verify");
    assert!(!bed.path("out.raw").exists());
    // A damaged name can be removed like any other.
    bed.melv(&["rm", "web"]).exits(0);
    bed.melv(&["ls"]).exits(0);
}

#[test]
fn exit_4_files_that_the_store_has_lost() {
    for folder in ["packs", "lists", "locators", "pages"] {
        let bed = one_image();
        std::fs::remove_dir_all(bed.store().join(folder)).unwrap();
        bed.melv(&["export", "web", "out.raw"]).exits(4).says(folder).says("melv verify");
        bed.melv(&["verify"]).exits(4);
        assert!(!bed.path("out.raw").exists());
    }
    // The index, however, is only a cache.
    let bed = one_image();
    std::fs::remove_dir_all(bed.store().join("index")).unwrap();
    assert_eq!(bed.json(&["import", "new.raw"])["new_bytes"], 8192);
    bed.melv(&["verify", "--full"]).exits(0);
}

#[test]
fn exit_5_disks_that_differ() {
    let bed = one_image();
    bed.melv(&["compare", "web", "new.raw"]).exits(5);
    // The exit code is the same if standard output is closed.
    bed.sh("melv compare web new.raw >&-; test $? = 5").exits(0);
}

#[test]
fn exit_10_no_store_and_none_is_made() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.melv(&["ls", "--store", ""]).exits(2);
    let commands: [&[&str]; 9] = [
        &["ls"],
        &["df"],
        &["verify"],
        &["inspect", "web"],
        &["map", "web"],
        &["export", "web", "out.raw"],
        &["compare", "web", "disk.raw"],
        &["tag", "web", "b"],
        &["rm", "web"],
    ];
    for arguments in commands {
        bed.melv(arguments).exits(10).says("store").says("--store");
        assert!(!bed.store().exists(), "{arguments:?}");
    }
    // A failed import does not create a store, either.
    bed.melv(&["import", "missing.raw"]).exits(13);
    bed.melv(&["import", "disk.raw", "--name", ".."]).exits(2);
    assert!(!bed.store().exists());
}

#[test]
fn a_folder_of_other_things_is_not_made_a_store() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    let ran = bed.melv(&["import", "disk.raw", "--store", "."]).exits(10);
    let folder = bed.path(".").canonicalize().unwrap();
    ran.says(&format!("{} holds other files, such as disk.raw,", folder.display())).says("--store DIR");
    bed.melv(&["import", "disk.raw", "--store", "empty"]).exits(0);
}

#[test]
fn exit_10_a_file_at_the_place_of_the_store() {
    let bed = one_image();
    let path = bed.path("disk.raw").canonicalize().unwrap();
    let wanted = format!("{} is a file, not a store", path.display());
    let commands: [&[&str]; 5] =
        [&["ls"], &["df"], &["import", "new.raw"], &["tag", "a", "b"], &["export", "web", "out.raw"]];
    for arguments in commands {
        let ran = bed.melv(&[arguments, &["--store", "disk.raw"]].concat());
        ran.exits(10).says(&wanted).says("--store DIR or $MELV_STORE");
    }
    bed.sh("MELV_STORE=disk.raw melv ls").exits(10).says(&wanted);
    bed.melv(&["ls", "--store", "/dev/null"]).exits(10).says("/dev/null is neither a folder nor a file");
    bed.melv(&["ls", "--store", "disk.raw/sub"]).exits(1).says("disk.raw/sub/melv.store: Not a directory");
    assert!(bed.read("disk.raw") == disk(), "nothing was written to it");
}

#[test]
fn what_goes_wrong_in_the_store_names_the_store() {
    let bed = one_image();
    let store = bed.store().canonicalize().unwrap().display().to_string();
    let once = |ran: common::Ran, object: &str| {
        let said = ran.says(&format!("{store}/{object}")).stderr();
        let first = said.lines().find(|line| line.starts_with("melv: ")).unwrap();
        assert_eq!(first.matches(&store).count(), 1, "{first}");
    };
    bed.write("big.raw", &common::noise(5, 8 << 20));
    once(bed.sh("trap '' XFSZ; ulimit -f 2048; exec melv import big.raw").exits(15), "tmp/");
    let lock = std::fs::File::options().write(true).open(bed.store().join("lock")).unwrap();
    lock.lock().unwrap();
    once(bed.melv(&["tag", "web", "b", "--wait", "0"]).exits(11), "lock is locked");
    lock.unlock().unwrap();
    for (object, line) in [("melv.store", "melv ls"), ("refs/web/latest", "melv export web x")] {
        bed.sh(&format!("chmod 0 store/{object}")).exits(0);
        once(
            bed.without_override(line)
                .exits(1)
                .says("Permission denied")
                .says("check its owner and its mode"),
            object,
        );
        bed.sh(&format!("chmod 644 store/{object}")).exits(0);
    }
    // The message names the absolute path, however the command line names the store.
    bed.sh("rm -r store/packs").exits(0);
    once(bed.melv(&["export", "web", "x", "--store", "./store"]).exits(4), "packs/");
}

/// Changes a byte in the middle of a file.
fn damage(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn packs(bed: &Bed) -> Vec<std::path::PathBuf> {
    let packs = std::fs::read_dir(bed.store().join("packs")).unwrap();
    packs.map(|pack| pack.unwrap().path()).collect()
}

#[test]
fn of_two_that_are_compared_the_one_that_is_damaged_is_named() {
    let bed = one_image();
    // A pack in the bundle combines frames of two packs, so store and bundle have no pack in common.
    bed.melv(&["import", "new.raw", "--name", "new"]).exits(0);
    bed.melv(&["save", "new", "good.melv"]).exits(0);
    bed.write("bad.melv", &bed.read("good.melv"));
    damage(&bed.path("bad.melv"));
    for two in [["bad.melv", "new"], ["new", "bad.melv"], ["bad.melv", "new.raw"]] {
        let ran = bed.melv(&["compare", two[0], two[1]]).exits(4).says("bad.melv: packs/");
        assert!(!ran.stderr().contains("store"), "{}", ran.stderr());
    }
    // If both have the damaged object, both are named.
    bed.melv(&["compare", "good.melv", "bad.melv"]).exits(4).says("good.melv or bad.melv: packs/");
    packs(&bed).iter().for_each(|pack| damage(pack));
    for two in [["good.melv", "new"], ["new", "good.melv"], ["new", "new.raw"]] {
        let ran = bed.melv(&["compare", two[0], two[1]]).exits(4).says("/store/packs/");
        assert!(!ran.stderr().contains("good.melv: "), "{}", ran.stderr());
    }
}

#[test]
fn what_goes_wrong_in_another_file_does_not_name_the_store() {
    let bed = one_image();
    bed.melv(&["save", "web", "web.melv"]).exits(0);
    bed.write("lock", &disk());
    bed.sh("chmod 0 lock").exits(0);
    let ran = bed.without_override("melv import lock --name x").exits(1).says(" lock: Permission denied");
    assert!(!ran.stderr().contains("store"), "{}", ran.stderr());
    let mut bytes = bed.read("web.melv");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bed.write("web.melv", &bytes);
    let ran = bed.melv(&["export", "web.melv", "x"]).exits(4).says("web.melv: ");
    assert!(!ran.stderr().contains("/store/"), "{}", ran.stderr());
}

#[test]
fn exit_11_a_lock_that_another_holds() {
    let bed = one_image();
    let lock = std::fs::File::options().write(true).open(bed.store().join("lock")).unwrap();
    lock.lock().unwrap();
    bed.melv(&["tag", "web", "b", "--wait", "0"]).exits(11).says("lock").says("--wait");
    let begun = Instant::now();
    bed.melv(&["--wait", "1", "import", "new.raw"]).exits(11);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    // Readers need no lock.
    bed.melv(&["export", "web", "out.raw", "--wait", "0"]).exits(0);
    lock.unlock().unwrap();
    bed.melv(&["tag", "web", "b", "--wait", "0"]).exits(0);
}

#[test]
fn exit_13_what_is_not_there() {
    let bed = one_image();
    let absent = format!("@{}", "0".repeat(64));
    for reference in ["nope", "web:2", "012345", &absent] {
        for arguments in [
            &["export", reference, "out.raw"][..],
            &["map", reference],
            &["inspect", reference],
            &["compare", reference, "disk.raw"],
            &["compare", "web", reference],
            &["verify", reference],
            &["tag", reference, "b"],
            &["import", "new.raw", "--parent", reference],
        ] {
            bed.melv(arguments).exits(13);
        }
    }
    bed.melv(&["rm", "nope"]).exits(13).says("nope:latest").says("melv ls");
    bed.melv(&["rm", "web", "nope"]).exits(13);
    bed.melv(&["ls"]).exits(0);
    assert_eq!(bed.json(&["ls"])["images"].as_array().unwrap().len(), 1, "all names are removed, or none");
    for arguments in [["import", "no/such.raw"], ["digest", "missing.raw"], ["inspect", "./missing.raw"]] {
        bed.melv(&arguments).exits(13).says(arguments[1]);
    }
}

#[test]
fn exit_14_formats_that_are_not_built() {
    let bed = one_image();
    for format in ["qcow2", "vhd", "vhdx", "vdi", "ova", "qed"] {
        bed.melv(&["import", "disk.raw", "--format", format]).exits(14).says(format).says("qemu-img");
        bed.melv(&["digest", "disk.raw", "--format", format]).exits(14).says(format);
        bed.melv(&["compare", "web", "disk.raw", "--format", format]).exits(14).says(format);
        if format != "ova" {
            bed.melv(&["export", "web", "out.raw", "--format", format]).exits(14).says(format);
        }
    }
    bed.sh("tar cf disk.ova disk.raw").exits(0);
    bed.melv(&["import", "disk.ova"]).exits(14).says("tar xf");
}

#[test]
fn exit_15_no_space_and_the_store_is_as_it_was() {
    let bed = one_image();
    bed.write("big.raw", &common::noise(5, 8 << 20));
    let before = bed.json(&["df"]);
    // A limit on file sizes simulates a full disk: both make the write fail.
    bed.sh("trap '' XFSZ; ulimit -f 2048; exec melv import big.raw").exits(15).says("space");
    assert_eq!(bed.json(&["df"]), before);
    bed.sh("trap '' XFSZ; ulimit -f 512; exec melv export web out.raw").exits(15).says("out.raw");
    assert!(!bed.path("out.raw").exists());
    bed.sh("melv ls >/dev/full").exits(15).says("standard output");
    bed.sh("melv export web - >/dev/full").exits(15).says("standard output");
    bed.melv(&["verify", "--full"]).exits(0);
}

#[test]
fn files_that_are_no_disks_are_refused_without_hanging() {
    let bed = one_image();
    bed.sh("mkfifo pipe").exits(0);
    bed.melv(&["import", "pipe"]).exits(2).says("give -");
    bed.melv(&["import", "."]).exits(2);
    bed.melv(&["import", "/dev/null"]).exits(2);
    for out in ["pipe", ".", "/dev/null"] {
        bed.melv(&["export", "web", out, "--force"]).exits(2).says("regular file");
    }
}

#[test]
fn failures_are_json_where_json_is_wanted() {
    let bed = one_image();
    let cases: [(&[&str], i32); 3] = [(&["export", "nope", "x"], 13), (&["frob"], 2), (&["import", "-"], 2)];
    for (arguments, code) in cases {
        let ran = bed.melv(&[arguments, &["--json"]].concat()).exits(code);
        assert!(ran.stdout().is_empty());
        let json: serde_json::Value = serde_json::from_str(&ran.stderr()).unwrap();
        assert_eq!(json["code"], code);
        assert!(!json["error"].as_str().unwrap().is_empty());
    }
}
