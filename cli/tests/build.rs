//! `melv build` before and beside the archive: declarations, locks, exit codes. The builds themselves need a mirror of
//! Debian: see `make check-appliances`.

mod common;

use common::{Bed, bed};

/// A bed whose cache is its own, and whose mirror is one that nobody serves.
fn offline(bed: &Bed, arguments: &str) -> common::Ran {
    bed.sh(&format!("XDG_CACHE_HOME=$PWD/cache exec melv {arguments}"))
}

#[test]
fn each_example_is_printed_and_read_again() {
    let bed = bed();
    for name in ["nginx", "postgresql", "nethack", "redis", "site", "binary", "oci"] {
        let printed = bed.melv(&["build", "--example", name]).exits(0);
        bed.write("example.toml", printed.stdout().as_bytes());
        // Nothing is in the cache: the declaration was read, and the next step was refused.
        offline(&bed, "build example.toml --offline").exits(13).says("must not be asked");
    }
    bed.melv(&["build", "--example", "none"]).exits(2).says("nginx, postgresql");
}

#[test]
fn faults_of_a_declaration_name_the_line_the_column_and_the_nearest_key() {
    let bed = bed();
    let tried = [
        ("suite = \"bookworm\"\npackage = []\n", 2, "bad.toml:line 2, column 1"),
        ("suite = \"bookworm\"\npackage = []\n", 2, "packages"),
        ("suite = \"sid\"\n", 14, "sid"),
        ("suite = \"noble\"\n", 14, "noble"),
        ("suite = ", 2, "line 1"),
        ("\u{0}", 2, "line 1"),
    ];
    for (text, code, says) in tried {
        bed.write("bad.toml", text.as_bytes());
        bed.melv(&["build", "bad.toml"]).exits(code).says(says);
    }
    bed.melv(&["build", "none.toml"]).exits(13).says("none.toml");
    bed.melv(&["build"]).exits(2).says("FILE.toml");
}

#[test]
fn a_lock_that_must_be_there_is_not_made() {
    let bed = bed();
    bed.write("nginx.toml", bed.melv(&["build", "--example", "nginx"]).stdout().as_bytes());
    offline(&bed, "build nginx.toml --locked").exits(13).says("there is no lock").says("without --locked");
    bed.write("nginx.lock", b"version = 9\n");
    offline(&bed, "build nginx.toml --locked").exits(14).says("nginx.lock");
    bed.write("nginx.lock", b"version = 1\nhello = 1\n");
    offline(&bed, "build nginx.toml --locked").exits(2).says("nginx.lock");
    assert!(!bed.store().exists(), "a build that fails makes no store");
}

#[test]
fn a_name_that_is_taken_is_told_before_the_work() {
    let bed = bed();
    bed.write("disk.raw", &common::noise(1, 1 << 20));
    bed.melv(&["import", "disk.raw", "--name", "nginx"]).exits(0);
    bed.write("nginx.toml", bed.melv(&["build", "--example", "nginx"]).stdout().as_bytes());
    offline(&bed, "build nginx.toml --offline").exits(1).says("nginx:latest").says("--replace");
}

#[test]
fn a_disk_of_any_image_becomes_a_machine() {
    let bed = bed();
    bed.write("disk.raw", &common::noise(1, 1 << 20));
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    bed.melv(&["export", "web", "web.ova", "--firmware", "bios", "--hardware", "13"]).exits(0);
    bed.sh("tar xf web.ova && grep -q vmx-13 web.ovf && qemu-img convert -O raw web-disk1.vmdk back.raw")
        .exits(0);
    bed.melv(&["compare", "web", "back.raw"]).exits(0);
    bed.melv(&["export", "web", "web.ova"]).exits(1);
    bed.melv(&["export", "web", "-", "--format", "ova"]).exits(0);
    bed.melv(&["export", "web", "web.vmx"]).exits(0);
    bed.melv(&["compare", "web", "web.vmdk"]).exits(0);
    bed.melv(&["export", "web", "web.raw", "--hardware", "13"]).exits(2).says("ova and vmx");
    bed.melv(&["export", "web", "x.ova", "--hardware", "99"]).exits(2).says("hardware");
    bed.melv(&["export", "web", "x.ova", "--firmware", "efi"]).exits(2).says("uefi or bios");
}
