//! Bundles: save, load, reading in place, refusals.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod common;

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{Bed, bed, disk, later_disk, noise};
use serde_json::Value;

/// A store with a base and a later version of it, and bundles of the later version, of both, and of the
/// difference.
fn bundled() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.write("new.raw", &later_disk());
    bed.melv(&["import", "disk.raw", "--name", "base"]).exits(0);
    bed.melv(&["import", "new.raw", "--name", "web:2", "--parent", "base"]).exits(0);
    bed.melv(&["save", "web:2", "web.melv"]).exits(0);
    bed.melv(&["save", "base", "web:2", "both.melv"]).exits(0);
    bed.melv(&["save", "web:2", "--without", "base", "patch.melv"]).exits(0);
    bed
}

/// The same bundles, without the store.
fn far_away() -> Bed {
    let bed = bundled();
    std::fs::remove_dir_all(bed.store()).unwrap();
    bed
}

fn names(images: &Value) -> Vec<String> {
    let names = images.as_array().unwrap().iter().flat_map(|image| image["names"].as_array().unwrap());
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn save_tells_what_it_saved() {
    let bed = bundled();
    let json = bed.json(&["save", "web:2", "base", "out.melv"]);
    assert_eq!(json["bytes"], bed.read("out.melv").len());
    let mut found = names(&json["images"]);
    found.sort();
    assert_eq!(found, ["base:latest", "web:2"]);
    for image in json["images"].as_array().unwrap() {
        let known = bed.json(&["inspect", &format!("@{}", image["image"].as_str().unwrap())]);
        assert_eq!((&image["content"], &image["size"]), (&known["content"], &known["size"]));
    }
    // Equal images make equal bytes in any order of names, and also when saved from a bundle.
    assert!(bed.read("out.melv") == bed.read("both.melv"));
    bed.melv(&["save", "both.melv", "copy.melv"]).exits(0);
    assert!(bed.read("copy.melv") == bed.read("both.melv"));
    bed.melv(&["save", "both.melv#web:2", "one.melv", "-q"]).exits(0);
    assert!(bed.read("one.melv") == bed.read("web.melv"));
    // The difference is small.
    assert!(bed.read("patch.melv").len() * 10 < bed.read("web.melv").len());
}

#[test]
fn save_replaces_only_what_it_is_told_to() {
    let bed = bundled();
    bed.write("out.melv", b"precious");
    bed.melv(&["save", "base", "out.melv"]).exits(1).says("out.melv").says("--force");
    assert_eq!(bed.read("out.melv"), b"precious");
    bed.melv(&["save", "base", "--force", "out.melv"]).exits(0);
    bed.melv(&["compare", "out.melv", "disk.raw"]).exits(0);
    // The bundle that is read can be replaced, too.
    bed.melv(&["save", "both.melv#base", "both.melv", "--force"]).exits(0);
    bed.melv(&["compare", "both.melv", "disk.raw"]).exits(0);
}

#[test]
fn save_refuses_what_it_cannot_save() {
    let bed = bundled();
    bed.melv(&["save", "base", "web:2"]).exits(2).says("web:2").says("FILE.melv");
    bed.melv(&["save", "out.melv"]).exits(2).says("no image");
    bed.melv(&["save", "base", "-"]).exits(2).says("pipe");
    bed.melv(&["save", "base", "web.melv#web:2", "out.melv"]).exits(2).says("one bundle").says("the store");
    bed.melv(&["save", "web.melv", "both.melv", "out.melv"]).exits(2).says("web.melv").says("both.melv");
    bed.melv(&["save", "base", "out.melv", "--without", "base"]).exits(2).says("base");
    bed.melv(&["save", "nope", "out.melv"]).exits(13).says("nope");
    bed.melv(&["save", "base", "out.melv", "--without", "nope"]).exits(13).says("nope");
    bed.melv(&["save", "base", "no/such/out.melv"]).exits(1).says("out.melv");
    assert!(!bed.path("out.melv").exists());
}

#[test]
fn load_keeps_ids_and_names_and_is_done_once() {
    let bed = bundled();
    let other = |arguments: &[&str]| bed.json(&[&["--store", "other"], arguments].concat());
    let loaded = other(&["load", "both.melv"]);
    assert_eq!(names(&loaded["images"]).len(), 2);
    assert_eq!(loaded["bytes"], loaded["stored_bytes"]);
    assert!(loaded["bytes"].as_u64().unwrap() > 0);
    for name in ["base", "web:2"] {
        let (here, there) = (bed.json(&["inspect", name]), other(&["inspect", name]));
        assert_eq!((&here["image"], &here["content"]), (&there["image"], &there["content"]));
    }
    let before = other(&["df"]);
    let again = other(&["load", "both.melv"]);
    assert_eq!((&again["bytes"], &again["images"]), (&0.into(), &loaded["images"]));
    assert_eq!(other(&["df"]), before);
    assert_eq!(other(&["verify", "--full"])["ok"], true);
    bed.melv(&["--store", "other", "compare", "web:2", "new.raw"]).exits(0);
}

#[test]
fn load_counts_the_bytes_by_which_the_store_grew() {
    let bed = bundled();
    let df = || bed.json(&["df", "--store", "other"])["stored_bytes"].as_u64().unwrap();
    let load = |file: &str| bed.json(&["load", file, "--store", "other"])["bytes"].as_u64().unwrap();
    let first = load("both.melv#base");
    assert!(df() >= first);
    let before = df();
    assert_eq!(load("both.melv"), df() - before);
    assert!(df() - before < first / 10);
}

#[test]
fn load_takes_one_image_and_names_the_nameless() {
    let bed = far_away();
    let json = bed.json(&["load", "both.melv#base"]);
    assert_eq!(names(&json["images"]), ["base:latest"]);
    let id = json["images"][0]["image"].as_str().unwrap().to_owned();
    bed.melv(&["save", &format!("@{id}"), "No Name.melv"]).exits(0);
    assert_eq!(bed.json(&["inspect", "No Name.melv", "--store", "none"])["names"], Value::Array(Vec::new()));
    assert_eq!(names(&bed.json(&["load", "No Name.melv"])["images"]), ["no-name:latest"]);
    assert_eq!(bed.json(&["inspect", "no-name"])["image"], id);
    // A name of another image is not taken without --replace.
    bed.melv(&["import", "disk.raw", "--name", "web:2"]).exits(0);
    bed.melv(&["load", "both.melv"]).exits(1).says("web:2").says("--replace");
    bed.melv(&["load", "both.melv", "--replace"]).exits(0);
    bed.melv(&["compare", "web:2", "new.raw"]).exits(0);
}

#[test]
fn every_command_that_reads_takes_a_bundle_and_needs_no_store() {
    let bed = far_away();
    let id = bed.json(&["inspect", "web.melv"])["image"].as_str().unwrap().to_owned();
    let content = bed.json(&["digest", "new.raw"])["content"].clone();
    let by_id = format!("both.melv#@{id}");
    let by_prefix = format!("both.melv#{}", &id[..8]);
    for reference in ["web.melv", "./web.melv", "web.melv#web:2", "both.melv#web:2", &by_id, &by_prefix] {
        bed.melv(&["export", reference, "out.raw", "--force"]).exits(0);
        assert!(bed.read("out.raw") == later_disk(), "{reference}");
        bed.melv(&["compare", reference, "new.raw"]).exits(0);
        bed.melv(&["compare", reference, "disk.raw"]).exits(5);
        assert_eq!(bed.json(&["inspect", reference])["content"], content);
        assert_eq!(bed.json(&["digest", reference])["content"], content);
        assert!(!bed.json(&["map", reference])["extents"].as_array().unwrap().is_empty());
        assert_eq!(bed.json(&["verify", reference, "--full"])["ok"], true);
    }
    let ran = bed.sh("melv export web.melv - | cmp - new.raw").exits(0);
    assert_eq!(ran.stderr(), "");
    bed.melv(&["compare", "both.melv#base", "both.melv#web:2"]).exits(5);
    bed.melv(&["compare", "web.melv", "both.melv#web:2"]).exits(0);
    assert_eq!(bed.json(&["verify", "both.melv", "web.melv", "--full"])["images"], 3);
    assert!(!bed.store().exists());
}

#[test]
fn where_one_image_is_wanted_and_there_are_several_they_are_listed() {
    let bed = far_away();
    for arguments in [
        &["export", "both.melv", "out.raw"][..],
        &["map", "both.melv"],
        &["digest", "both.melv"],
        &["import", "both.melv"],
        &["compare", "both.melv", "disk.raw"],
        &["compare", "web.melv", "both.melv"],
    ] {
        bed.melv(arguments).exits(2).says("2 images").says("base:latest").says("web:2").says("#");
    }
    let ran = bed.melv(&["export", "both.melv", "out.raw", "--json"]).exits(2);
    let json: Value = serde_json::from_str(&ran.stderr()).unwrap();
    assert_eq!(
        (names(&json["images"]), &json["code"]),
        (vec!["base:latest".into(), "web:2".into()], &2.into())
    );
    assert!(json["images"][0]["image"].is_string() && json["images"][0]["size"].is_number());
    assert!(!bed.path("out.raw").exists() && !bed.store().exists());
    for absent in ["both.melv#nope", "both.melv#web:3", &format!("both.melv#@{}", "0".repeat(64))] {
        bed.melv(&["export", absent, "out.raw"]).exits(13).says("both.melv").says("inspect");
        bed.melv(&["load", absent]).exits(13);
        bed.melv(&["verify", absent]).exits(13);
        bed.melv(&["digest", absent]).exits(13);
    }
    for bad in ["both.melv#", "both.melv#@12", "both.melv#A B"] {
        bed.melv(&["export", bad, "out.raw"]).exits(2);
    }
    bed.melv(&["inspect", "none.melv"]).exits(13).says("none.melv");
    bed.melv(&["load", "none.melv"]).exits(13).says("none.melv");
    bed.melv(&["load", "disk.raw"]).exits(14).says("disk.raw").says("import");
    bed.sh("mkdir folder.melv && mkfifo pipe.melv").exits(0);
    bed.melv(&["inspect", "folder.melv"]).exits(2).says("folder.melv");
    bed.melv(&["export", "pipe.melv", "out.raw"]).exits(2).says("pipe.melv");
}

#[test]
fn inspect_tells_what_a_bundle_is() {
    let bed = bundled();
    let json = bed.json(&["inspect", "both.melv"]);
    assert_eq!((&json["format"], &json["file"]), (&"bundle".into(), &"both.melv".into()));
    assert_eq!(json["file_bytes"], bed.read("both.melv").len());
    assert_eq!((json["images"].as_array().unwrap().len(), &json["bases"]), (2, &Value::Array(Vec::new())));
    let text = bed.melv(&["inspect", "both.melv"]).exits(0).stdout();
    assert!(text.contains("base:latest") && text.contains("web:2") && text.contains("CONTENT"), "{text}");
    let one = bed.json(&["inspect", "patch.melv"]);
    let (base, web) = (bed.json(&["inspect", "base"]), bed.json(&["inspect", "web:2"]));
    assert_eq!((&one["bundle"]["bases"][0], &one["image"]), (&base["image"], &web["image"]));
    assert_eq!(one["names"], web["names"]);
    // A file argument is recognized as a bundle by its content, whatever its name.
    std::fs::rename(bed.path("web.melv"), bed.path("web")).unwrap();
    assert_eq!(bed.json(&["inspect", "./web"])["image"], web["image"]);
    assert_eq!(bed.json(&["digest", "web"])["content"], web["content"]);
    assert_eq!(bed.json(&["load", "web"])["bytes"], 0);
}

#[test]
fn what_was_saved_without_a_base_needs_it() {
    let bed = bundled();
    bed.melv(&["compare", "patch.melv", "new.raw"]).exits(0);
    assert_eq!(bed.json(&["verify", "patch.melv", "--full"])["ok"], true);
    let base = bed.json(&["inspect", "base"])["image"].as_str().unwrap().to_owned();
    for arguments in [
        &["export", "patch.melv", "out.raw"][..],
        &["inspect", "patch.melv"],
        &["map", "patch.melv#web:2"],
        &["digest", "patch.melv"],
        &["compare", "patch.melv", "new.raw"],
        &["verify", "patch.melv"],
        &["save", "patch.melv", "out.melv"],
        &["import", "patch.melv"],
        &["load", "patch.melv"],
    ] {
        let elsewhere = [&["--store", "elsewhere"], arguments].concat();
        bed.melv(&elsewhere).exits(13).says("patch.melv").says(&base).says("melv load");
        assert!(!bed.path("elsewhere").exists(), "{arguments:?}");
    }
    // Equal content with another image id is not the base.
    bed.melv(&["--store", "elsewhere", "import", "disk.raw", "--chunk", "64K"]).exits(0);
    bed.melv(&["--store", "elsewhere", "inspect", "patch.melv"]).exits(13).says(&base);
    bed.melv(&["--store", "elsewhere", "load", "both.melv#base"]).exits(0);
    bed.melv(&["--store", "elsewhere", "compare", "patch.melv", "new.raw"]).exits(0);
    let loaded = bed.json(&["--store", "elsewhere", "load", "patch.melv"]);
    assert!(loaded["bytes"].as_u64().unwrap() < 20_000, "{loaded}");
    bed.melv(&["--store", "elsewhere", "compare", "web:2", "new.raw"]).exits(0);
    bed.melv(&["--store", "elsewhere", "verify", "--full"]).exits(0);
    // A bundle without a base opens even if the store cannot be read.
    std::fs::write(bed.store().join("melv.store"), b"rubbish").unwrap();
    bed.melv(&["compare", "web.melv", "./new.raw"]).exits(0);
    bed.melv(&["compare", "patch.melv", "./new.raw"]).exits(4).says("melv.store");
}

#[test]
fn a_bundle_is_never_changed() {
    let bed = bundled();
    let before = bed.read("web.melv");
    bed.melv(&["tag", "web.melv", "x"]).exits(1).says("web.melv").says("melv load");
    bed.melv(&["tag", "web.melv#web:2", "x"]).exits(1).says("melv load");
    bed.melv(&["import", "new.raw", "--name", "y", "--parent", "web.melv"]).exits(2).says("melv load");
    bed.melv(&["rm", "web.melv"]).exits(13);
    assert!(bed.read("web.melv") == before);
}

#[test]
fn an_imported_bundle_shares_again_and_keeps_its_content() {
    let bed = bundled();
    let web = bed.json(&["inspect", "web:2"]);
    let json = bed.json(&["import", "both.melv#web:2", "--name", "again"]);
    assert_eq!((&json["content"], &json["new_bytes"]), (&web["content"], &0.into()));
    // The default name is the one in the bundle, or else one made from the file's.
    bed.melv(&["import", "both.melv#web:2"]).exits(1).says("web:2");
    assert_eq!(bed.json(&["import", "web.melv"])["name"], "web:latest");
    assert_eq!(bed.json(&["import", "both.melv#web:2", "--store", "new"])["name"], "web:2");
    // In the raw format, it is just a file.
    let raw = bed.json(&["import", "web.melv", "--format", "raw", "--pad", "--name", "raw"]);
    assert_eq!(raw["size"].as_u64().unwrap(), (bed.read("web.melv").len() as u64).next_multiple_of(512));
    bed.melv(&["import", "disk.raw", "--format", "bundle", "--name", "no"]).exits(14).says("disk.raw");
}

#[test]
fn exit_4_bundles_that_were_cut_or_forged() {
    let bed = far_away();
    let whole = bed.read("web.melv");
    for len in [0, 7, 100, 511, 512, 4096, whole.len() / 2, whole.len() - 1] {
        bed.write("bad.melv", &whole[..len]);
        for arguments in
            [&["export", "bad.melv", "out.raw"][..], &["load", "bad.melv"], &["verify", "bad.melv"]]
        {
            bed.melv(arguments).exits(4).says("bad.melv").says("hint");
        }
    }
    bed.write("bad.melv", &[&whole[..], b"more"].concat());
    bed.melv(&["digest", "bad.melv"]).exits(4).says("bad.melv");
    for (at, arguments) in [
        (20, &["inspect", "bad.melv"][..]),
        (whole.len() - 100, &["inspect", "bad.melv"]),
        (200_000, &["export", "bad.melv", "out.raw"]),
        (200_000, &["digest", "bad.melv"]),
        (200_000, &["compare", "bad.melv", "new.raw"]),
        (200_000, &["import", "bad.melv"]),
        (200_000, &["load", "bad.melv"]),
        (200_000, &["save", "bad.melv", "out.melv"]),
        (200_000, &["verify", "bad.melv", "--full"]),
    ] {
        let mut bad = whole.clone();
        bad[at] ^= 1;
        bed.write("bad.melv", &bad);
        let ran = bed.melv(arguments).exits(4);
        let said = if arguments[0] == "verify" { ran.stdout() } else { ran.stderr() };
        assert!(said.contains("bad.melv"), "{arguments:?}: {said}");
    }
    let json = bed.melv(&["verify", "bad.melv", "--full", "--json"]).exits(4).json();
    assert_eq!((&json["ok"], &json["damaged"][0]["file"]), (&false.into(), &"bad.melv".into()));
    assert!(json["damaged"][0]["image"].is_string() && json["damaged"][0]["length"].as_u64() > Some(0));
    assert!(!bed.path("out.raw").exists() && !bed.path("out.melv").exists());
    if bed.store().exists() {
        assert_eq!(bed.json(&["ls"])["images"], Value::Array(Vec::new()));
    }
}

/// Returns the names of `out.melv` and its unfinished versions, as far as they exist.
fn outs(bed: &Bed) -> Vec<String> {
    let files = std::fs::read_dir(bed.path(".")).unwrap().map(|entry| entry.unwrap().file_name());
    files
        .map(|name| name.into_string().unwrap())
        .filter(|name| name == "out.melv" || name.ends_with(".part"))
        .collect()
}

/// Starts to save a large image, and waits until the output file exists.
fn begin_save(bed: &Bed) -> Child {
    let mut command = bed.command(common::MELV);
    command.args(["save", "big", "out.melv"]).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let begun = Instant::now();
    while outs(bed).is_empty() && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_micros(200));
    }
    child
}

#[test]
fn a_save_that_is_stopped_leaves_no_bundle() {
    let bed = bed();
    bed.write("big.raw", &noise(1, 48 << 20));
    bed.melv(&["import", "big.raw"]).exits(0);
    for (signal, code) in [("-KILL", None), ("-INT", Some(130)), ("-TERM", Some(130))] {
        let stopped = (0..10).any(|_| {
            let mut child = begin_save(&bed);
            bed.sh(&format!("kill {signal} {}", child.id()));
            let status = child.wait().unwrap();
            if status.success() {
                // The save ended before the signal.
                std::fs::remove_file(bed.path("out.melv")).unwrap();
                return false;
            }
            assert_eq!(status.code(), code, "{signal}: {status}");
            assert_eq!(status.signal().is_some(), code.is_none(), "{signal}: {status}");
            true
        });
        assert!(stopped, "{signal}: every save was done before it was stopped");
        assert!(!bed.path("out.melv").exists(), "{signal}");
        if code.is_some() {
            assert_eq!(outs(&bed), Vec::<String>::new(), "{signal}");
        }
        outs(&bed).iter().for_each(|part| std::fs::remove_file(bed.path(part)).unwrap());
    }
    bed.melv(&["save", "big", "out.melv"]).exits(0);
    bed.melv(&["compare", "out.melv", "big.raw"]).exits(0);
}

#[test]
fn exit_15_no_space_for_a_bundle_leaves_nothing() {
    let bed = bundled();
    bed.sh("trap '' XFSZ; ulimit -f 300; exec melv save base out.melv").exits(15).says("out.melv");
    assert_eq!(outs(&bed), Vec::<String>::new());
    bed.sh("mkdir small").exits(0);
    let mounted = bed.sh("PATH=$PATH:/sbin:/usr/sbin mount -t tmpfs -o size=256k tmpfs small");
    if !mounted.output.status.success() {
        println!("skipped: a full file system cannot be mounted here: {}", mounted.stderr());
        return;
    }
    let ran = bed.melv(&["save", "base", "small/out.melv"]);
    let left = std::fs::read_dir(bed.path("small")).unwrap().count();
    bed.sh("PATH=$PATH:/sbin:/usr/sbin umount small").exits(0);
    ran.exits(15).says("small/out.melv").says("space");
    assert_eq!(left, 0);
}

/// A loop device over a file, detached on drop.
struct Loop(String);

impl Loop {
    fn over(bed: &Bed, file: &str) -> Option<Self> {
        let ran = bed.sh(&format!("PATH=$PATH:/sbin:/usr/sbin losetup --find --show {file}"));
        if !ran.output.status.success() {
            println!("skipped: no loop device: {}", ran.stderr());
            return None;
        }
        Some(Self(ran.stdout().trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let path = "/sbin:/usr/sbin:/bin:/usr/bin";
        let detached = std::process::Command::new("losetup").env("PATH", path).args(["-d", &self.0]).status();
        assert!(detached.is_ok_and(|status| status.success()), "{} stays", self.0);
    }
}

#[test]
fn a_block_device_holds_a_bundle() {
    let bed = bundled();
    let file = std::fs::File::create(bed.path("lun")).unwrap();
    file.set_len(8 << 20).unwrap();
    let Some(device) = Loop::over(&bed, "lun") else { return };
    let lun = device.0.as_str();
    // The device has no bundle yet.
    bed.melv(&["load", lun]).exits(14).says(lun);
    bed.melv(&["save", "base", "web:2", lun]).exits(0);
    let (one, two) = (format!("{lun}#base"), format!("{lun}#web:2"));
    bed.melv(&["export", lun, "out.raw"]).exits(2).says("2 images");
    for (reference, raw) in [(&one, "disk.raw"), (&two, "new.raw")] {
        bed.melv(&["compare", reference, raw]).exits(0);
        let content = bed.json(&["digest", raw])["content"].clone();
        assert_eq!(bed.json(&["digest", reference])["content"], content);
        assert_eq!(bed.json(&["inspect", reference])["content"], content);
        assert_eq!(bed.json(&["import", reference, "--name", "from-lun", "--replace"])["new_bytes"], 0);
    }
    assert_eq!(bed.json(&["verify", lun, "--full"])["images"], 2);
    assert_eq!(bed.json(&["--store", "other", "load", lun])["images"].as_array().unwrap().len(), 2);
    // A device is not overwritten while its bundle is read.
    bed.melv(&["save", &one, lun]).exits(2).says("while it is read");
    bed.melv(&["export", &one, lun]).exits(2).says("while it is read");
    // The device is too small for a larger bundle, and the attempt destroys the old one.
    bed.write("big.raw", &noise(9, 9 << 20));
    bed.melv(&["import", "big.raw"]).exits(0);
    bed.melv(&["save", "big", lun]).exits(1).says("melv bundle").says("--force");
    bed.melv(&["save", "big", lun, "--force"]).exits(15).says(lun);
    bed.melv(&["load", lun]).exits(14);
    assert_eq!(bed.path("lun").metadata().unwrap().size(), 8 << 20);
}
