//! Interrupts, and closed outputs.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod common;

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{Bed, MELV, bed, disk, noise, send_signal};

/// Starts a command that reads a disk from a pipe, and sends it the first part.
fn begin(bed: &Bed, arguments: &[&str]) -> Child {
    let mut child = bed.command(MELV);
    let mut child = child.args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(&noise(1, 3 << 20)).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    child
}

fn send(child: &Child, signal: &str) {
    send_signal(child.id(), signal);
}

/// Returns the exit code, which must come soon, although standard input stays open.
#[track_caller]
fn code_within(child: &mut Child, seconds: u64) -> Option<i32> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    panic!("still running after {seconds} s");
}

#[test]
fn exit_130_an_interrupted_import_leaves_the_store_as_it_was() {
    for signal in ["-INT", "-TERM"] {
        let bed = bed();
        bed.write("disk.raw", &disk());
        bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
        let before = bed.json(&["df"]);
        let mut child = begin(&bed, &["import", "-", "--name", "other"]);
        send(&child, signal);
        assert_eq!(code_within(&mut child, 10), Some(130), "{signal}");
        assert_eq!(bed.json(&["df"]), before);
        assert_eq!(bed.json(&["ls"])["images"].as_array().unwrap().len(), 1);
        bed.melv(&["verify", "--full"]).exits(0);
    }
}

#[test]
fn exit_130_an_interrupted_digest() {
    let bed = bed();
    let mut child = begin(&bed, &["digest", "-"]);
    send(&child, "-INT");
    assert_eq!(code_within(&mut child, 10), Some(130));
}

#[test]
fn readers_that_have_had_enough_are_no_failure() {
    let bed = bed();
    bed.write("disk.raw", &noise(1, 8 << 20));
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    for command in ["ls", "ls --json", "df", "map web", "inspect web", "completions bash", "--help"] {
        // The reader is gone before the first byte is written.
        let ran = bed.sh(&format!("{{ sleep 0.1; melv {command}; echo $? >code; }} | true")).exits(0);
        assert_eq!(ran.stderr(), "", "{command}");
        assert_eq!(bed.read("code"), b"0\n", "{command}");
    }
    // A disk that was only partly read, however, is not exported.
    let ran = bed.sh("{ melv export web -; echo $? >code; } | head -c 100 >part").exits(0);
    assert_eq!(ran.stderr(), "");
    assert_eq!(bed.read("code"), b"1\n");
    assert!(bed.read("part") == noise(1, 100));
}
