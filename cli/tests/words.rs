//! User input: help in all forms, command names of other tools, sizes and formats in any case.

mod common;

use common::{Bed, bed, disk, noise};

fn one_image() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    bed
}

#[test]
fn help_of_a_command_is_its_help() {
    let bed = bed();
    for command in ["import", "ls", "export", "save", "serve", "verify"] {
        let help = bed.melv(&["help", command]).exits(0).stdout();
        assert_eq!(help, bed.melv(&[command, "--help"]).exits(0).stdout());
    }
    assert_eq!(bed.melv(&["help"]).exits(0).stdout(), bed.melv(&["--help"]).exits(0).stdout());
    bed.melv(&["help", "frobnicate"]).exits(2);
}

#[test]
fn commands_of_other_tools_are_answered_with_ours() {
    let bed = bed();
    for (tried, meant) in [
        ("list", "ls"),
        ("info", "inspect"),
        ("images", "ls"),
        ("rmi", "rm"),
        ("remove", "rm"),
        ("delete", "rm"),
        ("convert", "export"),
        ("check", "verify"),
        ("diff", "compare"),
        ("unmount", "umount"),
        ("LIST", "ls"),
    ] {
        bed.melv(&[tried]).exits(2).says(&format!("'{meant}'"));
        bed.melv(&[tried, "web", "--json"]).exits(2).says(meant);
    }
    // Typing errors still get a suggestion.
    bed.melv(&["exprot"]).exits(2).says("'export'");
}

#[test]
fn sizes_and_formats_are_read_in_any_case() {
    let bed = one_image();
    bed.melv(&["import", "disk.raw", "--name", "k", "--chunk", "64k"]).exits(0);
    assert_eq!(bed.json(&["inspect", "k"])["chunk_bytes"], 65536);
    bed.melv(&["import", "disk.raw", "--name", "r", "--format", "RAW"]).exits(0);
    bed.melv(&["export", "web", "d.vmdk", "--format", "VMDK"]).exits(0);
    bed.melv(&["import", "d.vmdk", "--name", "v", "--format", "Vmdk"]).exits(0);
    bed.melv(&["digest", "d.vmdk", "--format", "VMDK"]).exits(0);
    bed.melv(&["compare", "web", "d.vmdk", "--format", "VMDK"]).exits(0);
    bed.melv(&["import", "d.vmdk", "--name", "q", "--format", "QCOW2"]).exits(14).says("qcow2");
}

#[test]
fn digest_takes_an_image_where_no_file_is_called_so() {
    let bed = one_image();
    let content = bed.json(&["digest", "disk.raw"])["content"].clone();
    assert_eq!(bed.json(&["digest", "web"])["content"], content);
    assert_eq!(bed.json(&["digest", "web:latest"])["content"], content);
    let id = bed.json(&["inspect", "web"])["image"].as_str().unwrap().to_owned();
    assert_eq!(bed.json(&["digest", &format!("@{id}")])["content"], content);
    // A file takes precedence.
    bed.write("web", &noise(1, 4096));
    assert_ne!(bed.json(&["digest", "web"])["content"], content);
    bed.melv(&["digest", "nope"]).exits(13).says("nope");
    bed.melv(&["--store", "none", "digest", "nope"]).exits(13).says("nope");
}

#[test]
fn digest_escapes_names_as_sha256sum_does() {
    let bed = one_image();
    for name in ["a\nb.raw", "a\\b.raw", "plain.raw", "t\tab.raw"] {
        bed.write(name, &disk());
        let ours = bed.melv(&["digest", name]).exits(0).stdout();
        let theirs = bed.command("sha256sum").arg(name).output().unwrap().stdout;
        let theirs = String::from_utf8(theirs).unwrap();
        let (ours_at, theirs_at) = (ours.find("  ").unwrap(), theirs.find("  ").unwrap());
        assert_eq!(ours[ours_at..], theirs[theirs_at..], "{name:?}");
        assert_eq!(ours.starts_with('\\'), theirs.starts_with('\\'), "{name:?}");
        assert_eq!(ours.lines().count(), 1);
    }
}
