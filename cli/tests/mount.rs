//! `melv mount` and `melv umount`: the daemon, its end, refusals.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{Bed, MELV, bed, disk, later_disk, noise, send_signal};
use serde_json::Value;

/// Two images in a store and an empty folder. If nothing can be mounted, prints the reason.
fn prepared() -> Option<Bed> {
    let bed = bed();
    std::fs::create_dir(bed.path("mnt")).unwrap();
    bed.write("disk.raw", &disk());
    bed.write("new.raw", &later_disk());
    bed.melv(&["import", "disk.raw", "--name", "web:1"]).exits(0);
    bed.melv(&["import", "new.raw", "--name", "web:2"]).exits(0);
    let ran = bed.melv(&["mount", "mnt"]);
    if !ran.output.status.success()
        && (ran.stderr().contains("/dev/fuse") || ran.stderr().contains("fusermount3"))
    {
        println!("skipped, since nothing can be mounted here: {}", ran.stderr());
        return None;
    }
    ran.exits(0);
    bed.melv(&["umount", "mnt"]).exits(0);
    Some(bed)
}

/// Unmounts the leftovers of a failed test.
struct Unmount<'a>(&'a Bed);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = self.0.command("umount").args(["-l", "mnt"]).stderr(Stdio::null()).status();
    }
}

fn is_running(process: &Value) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

fn kill(process: &Value, signal: &str) {
    send_signal(u32::try_from(process.as_u64().unwrap()).unwrap(), signal);
}

#[track_caller]
fn soon(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(5), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn images_are_files_until_they_are_unmounted() {
    let Some(bed) = prepared() else { return };
    let _end = Unmount(&bed);
    let json = bed.json(&["mount", "mnt"]);
    assert_eq!(json["mountpoint"], bed.path("mnt").canonicalize().unwrap().to_str().unwrap());
    assert!(is_running(&json["pid"]));
    assert!(bed.read("mnt/web/1.raw") == disk());
    assert!(bed.read("mnt/web/2.raw") == later_disk());
    bed.sh(
        "cmp disk.raw mnt/web/1.raw && cp --sparse=always mnt/web/1.raw copy.raw && cmp disk.raw copy.raw",
    )
    .exits(0);
    // New images appear by themselves.
    bed.melv(&["import", "new.raw", "--name", "db"]).exits(0);
    assert!(bed.read("mnt/db/latest.raw") == later_disk());
    bed.melv(&["rm", "db"]).exits(0);
    assert!(!bed.path("mnt/db/latest.raw").exists());
    let ended = bed.json(&["umount", "mnt"]);
    assert_eq!(ended["mountpoint"], json["mountpoint"]);
    assert!(!is_running(&json["pid"]), "umount waits for the end");
    assert_eq!(std::fs::read_dir(bed.path("mnt")).unwrap().count(), 0);
}

#[test]
fn chosen_images_and_bundles_are_mounted_alone() {
    let Some(bed) = prepared() else { return };
    let _end = Unmount(&bed);
    bed.melv(&["mount", "mnt", "web:1"]).exits(0);
    assert_eq!(bed.sh("find mnt -type f").exits(0).stdout(), "mnt/web/1.raw\n");
    bed.melv(&["umount", "mnt"]).exits(0);
    bed.melv(&["save", "web:1", "web:2", "both.melv"]).exits(0);
    std::fs::remove_dir_all(bed.store()).unwrap();
    bed.melv(&["mount", "mnt", "both.melv"]).exits(0);
    assert!(bed.read("mnt/web/1.raw") == disk() && bed.read("mnt/web/2.raw") == later_disk());
    bed.melv(&["umount", "mnt"]).exits(0);
    bed.melv(&["mount", "mnt", "both.melv#web:2", "--cache", "1M", "--threads", "1"]).exits(0);
    assert_eq!(bed.sh("find mnt -type f").exits(0).stdout(), "mnt/web/2.raw\n");
    assert!(bed.read("mnt/web/2.raw") == later_disk());
    bed.melv(&["umount", "mnt"]).exits(0);
}

#[test]
fn the_daemon_keeps_nothing_that_it_inherited() {
    let Some(bed) = prepared() else { return };
    let _end = Unmount(&bed);
    let (mut reader, writer) = std::io::pipe().unwrap();
    // Standard output and error are pipes, and the shell passes one more descriptor, number 9.
    let mut command = bed.command("sh");
    command.args(["-c", "exec 9>&1; exec melv mount mnt"]);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    let begun = Instant::now();
    assert!(child.wait().unwrap().success());
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20), "the pipe was held open");
    assert!(said.contains("mounted at"), "{said}");
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.contains(bed.path("mnt").to_str().unwrap())).unwrap();
    assert!(line.contains(" - fuse.melv melv:"), "{line}");
    let process = line.split("melv:").nth(1).unwrap().split(' ').next().unwrap();
    let proc = format!("/proc/{process}");
    assert_eq!(std::fs::read_link(format!("{proc}/cwd")).unwrap().to_str(), Some("/"));
    for stream in ["fd/0", "fd/1"] {
        assert_eq!(std::fs::read_link(format!("{proc}/{stream}")).unwrap().to_str(), Some("/dev/null"));
    }
    // No terminal can end the daemon.
    let stat = std::fs::read_to_string(format!("{proc}/stat")).unwrap();
    let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap();
    assert_eq!(session, process, "it leads a session of its own");
    bed.melv(&["umount", "mnt"]).exits(0);
}

#[test]
fn what_cannot_be_mounted_says_why_and_leaves_nothing() {
    let Some(bed) = prepared() else { return };
    let _end = Unmount(&bed);
    bed.melv(&["mount", "no"]).exits(13).says("there is no folder");
    bed.melv(&["mount", "disk.raw"]).exits(1).says("not a folder");
    bed.sh("mkdir full && touch full/x").exits(0);
    bed.melv(&["mount", "full"]).exits(1).says("not empty").says("hint:");
    // Refusals by the daemon are reported, too.
    bed.melv(&["mount", "mnt", "other"]).exits(13).says("other");
    bed.melv(&["mount", "mnt", "--store", "nowhere"]).exits(10).says("nowhere");
    bed.melv(&["mount", "mnt", "web:1", "--all"]).exits(2);
    let ran = bed.melv(&["--json", "mount", "mnt", "other"]).exits(13);
    let told: Value = serde_json::from_str(ran.stderr().trim()).unwrap();
    assert_eq!(told["code"], 13);
    assert_eq!(ran.stdout(), "");
    bed.melv(&["umount", "mnt"]).exits(1).says("mounted nothing");
    bed.melv(&["mount", "mnt"]).exits(0);
    bed.melv(&["mount", "mnt"]).exits(1).says("already").says("umount");
    bed.melv(&["umount", "mnt"]).exits(0);
}

#[test]
fn umount_ends_only_what_melv_has_mounted_and_nobody_uses() {
    let Some(bed) = prepared() else { return };
    let _end = Unmount(&bed);
    bed.melv(&["umount", "/proc"]).exits(1).says("mounted nothing");
    bed.melv(&["umount", "no"]).exits(13);
    let json = bed.json(&["mount", "mnt"]);
    let file = File::open(bed.path("mnt/web/1.raw")).unwrap();
    bed.melv(&["umount", "mnt"]).exits(1).says("in use").says("hint:");
    assert!(is_running(&json["pid"]));
    assert!(bed.read("mnt/web/1.raw") == disk());
    drop(file);
    bed.melv(&["umount", "mnt"]).exits(0);
}

#[test]
fn signals_unmount() {
    let Some(bed) = prepared() else { return };
    let _end = Unmount(&bed);
    for signal in ["-TERM", "-INT", "-HUP"] {
        let json = bed.json(&["mount", "mnt"]);
        kill(&json["pid"], signal);
        soon("the daemon ends", || !is_running(&json["pid"]));
        assert!(!bed.path("mnt/web").exists(), "{signal}");
    }
}

#[test]
fn a_signal_lets_open_files_be_read_to_their_end_and_a_second_one_does_not() {
    let Some(bed) = prepared() else { return };
    let _end = Unmount(&bed);
    let json = bed.json(&["mount", "mnt"]);
    let file = File::open(bed.path("mnt/web/1.raw")).unwrap();
    kill(&json["pid"], "-TERM");
    soon("it leaves the tree", || !bed.path("mnt/web").exists());
    let mut found = vec![0; 4096];
    file.read_exact_at(&mut found, 8192).unwrap();
    assert!(found == disk()[8192..12288]);
    assert!(is_running(&json["pid"]));
    drop(file);
    soon("the daemon ends", || !is_running(&json["pid"]));
    let json = bed.json(&["mount", "mnt"]);
    let file = File::open(bed.path("mnt/web/1.raw")).unwrap();
    kill(&json["pid"], "-TERM");
    soon("it leaves the tree", || !bed.path("mnt/web").exists());
    kill(&json["pid"], "-TERM");
    soon("the daemon ends", || !is_running(&json["pid"]));
    assert!(file.read_exact_at(&mut found, 8192).is_err());
}

#[test]
fn what_a_killed_daemon_leaves_is_cleared_away() {
    let Some(bed) = prepared() else { return };
    let _end = Unmount(&bed);
    let json = bed.json(&["mount", "mnt"]);
    kill(&json["pid"], "-KILL");
    soon("the daemon ends", || !is_running(&json["pid"]));
    assert!(std::fs::read_dir(bed.path("mnt")).is_err());
    bed.melv(&["mount", "mnt"]).exits(1).says("gone").says("umount");
    bed.sh("ln -s mnt link").exits(0);
    bed.melv(&["umount", "link"]).exits(0);
    bed.melv(&["mount", "mnt"]).exits(0);
    bed.melv(&["umount", "mnt"]).exits(0);
}

/// Starts a mount in the foreground, and returns its first line on standard output.
fn begin(bed: &Bed, arguments: &[&str]) -> (Child, String) {
    let mut command = bed.command(MELV);
    let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

#[test]
fn in_the_foreground_it_stays_tells_and_unmounts() {
    let Some(bed) = prepared() else { return };
    let _end = Unmount(&bed);
    let (mut child, line) = begin(&bed, &["--json", "mount", "mnt", "--foreground"]);
    let json: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["pid"], child.id());
    assert!(bed.read("mnt/web/1.raw") == disk());
    kill(&json["pid"], "-USR1");
    let mut statistics = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut statistics).unwrap();
    let told: Value = serde_json::from_str(&statistics).unwrap();
    assert!(told["bytes"].as_u64() >= Some(disk().len() as u64), "{told}");
    kill(&json["pid"], "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!bed.path("mnt/web").exists());
}

#[test]
fn a_log_that_nobody_reads_hurts_nobody() {
    let Some(bed) = prepared() else { return };
    let _end = Unmount(&bed);
    bed.write("noise.raw", &noise(9, 4 << 20));
    bed.melv(&["import", "noise.raw", "--name", "noise"]).exits(0);
    bed.sh("for pack in store/packs/*; do size=$(stat -c %s $pack); [ $size -gt 4000000 ] && \
            printf damaged | dd of=$pack bs=1 seek=2000000 conv=notrunc status=none; done; true")
        .exits(0);
    let (mut child, _) = begin(&bed, &["mount", "mnt", "--foreground"]);
    drop(child.stderr.take());
    let found = |at: u64| {
        let mut block = vec![0; 4096];
        File::open(bed.path("mnt/noise/latest.raw")).unwrap().read_exact_at(&mut block, at).map(|()| block)
    };
    let failed = (0..1024).filter(|block| found(block * 4096).is_err()).count();
    assert!((1..=32).contains(&failed), "{failed}");
    // Every thread has met damage, but still answers.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(bed.read("mnt/web/1.raw") == disk()));
        }
    });
    kill(&Value::from(child.id()), "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_store_may_go_while_it_is_mounted() {
    let Some(bed) = prepared() else { return };
    let _end = Unmount(&bed);
    let json = bed.json(&["mount", "mnt"]);
    std::fs::remove_dir_all(bed.store()).unwrap();
    soon("listing is an error", || std::fs::read_dir(bed.path("mnt")).is_err());
    assert!(File::open(bed.path("mnt/web/1.raw")).is_err());
    assert!(is_running(&json["pid"]));
    bed.melv(&["umount", "mnt"]).exits(0);
    assert!(!is_running(&json["pid"]));
}

#[test]
fn folders_of_any_name_are_mounted_at() {
    let Some(bed) = prepared() else { return };
    let name = "a b\\040\tc\n'\"ü";
    std::fs::create_dir(bed.path(name)).unwrap();
    bed.melv(&["mount", name]).exits(0);
    assert!(bed.path(name).join("web/1.raw").exists());
    bed.melv(&["mount", name]).exits(1).says("already");
    bed.melv(&["umount", name]).exits(0);
    assert!(!bed.path(name).join("web").exists());
}
