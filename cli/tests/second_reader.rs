//! Bundles of real file systems, read by the second reader, which was written from the specification alone.
//! It must find the same images, content ids and bytes.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the interpreter of the reader's environment, which `make test` creates.
fn python() -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(project.join("spec/reader/setup")).output().expect("spec/reader/setup runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim())
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    String::from_utf8(output.stdout).expect("text")
}

/// Creates an ext4 file system with the files of a folder of this machine.
fn file_system(path: &Path, from: &str, size: &str) {
    let mut make = Command::new("mkfs.ext4");
    make.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    run(make.args(["-q", "-F", "-d", from]).arg(path).arg(size));
}

#[test]
fn bundles_of_real_file_systems_are_read_by_who_never_saw_this_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let melv = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_melv"));
        run(command.current_dir(folder.path()).env("MELV_STORE", at("store")).arg("-q").args(args))
    };
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/reader/melv-reader");
    let python = python();
    let read = |args: &[&str]| run(Command::new(&python).arg(&reader).args(args).current_dir(folder.path()));
    file_system(&at("one.raw"), "/usr/include/linux", "48M");
    file_system(&at("two.raw"), "/usr/include/linux/netfilter", "24M");
    let mut ids = Vec::new();
    for disk in ["one", "two"] {
        let imported = melv(&["--json", "import", &format!("{disk}.raw")]);
        let imported: serde_json::Value = serde_json::from_str(&imported).expect("JSON");
        ids.push(imported["content"].as_str().expect("an id").to_owned());
    }
    melv(&["save", "one", "two", "both.melv"]);
    melv(&["save", "two", "apart.melv"]);
    melv(&["save", "two", "without.melv", "--without", "one"]);
    let listed = read(&["list", "both.melv"]);
    assert!(ids.iter().all(|id| listed.contains(id)), "{listed}");
    read(&["verify", "both.melv"]);
    read(&["verify", "store"]);
    let same = |disk: &str| {
        let (expected, found) = (std::fs::read(at(&format!("{disk}.raw"))), std::fs::read(at("out.raw")));
        assert!(expected.expect("the disk") == found.expect("the export"), "{disk} differs");
        std::fs::remove_file(at("out.raw")).expect("removed");
    };
    read(&["export", "both.melv", "--image", "one", "out.raw"]);
    same("one");
    read(&["export", "apart.melv", "out.raw"]);
    same("two");
    read(&["export", "without.melv", "--base", "store", "out.raw"]);
    same("two");
    let alone = Command::new(&python)
        .arg(&reader)
        .args(["export", "without.melv", "out.raw"])
        .current_dir(folder.path())
        .output();
    assert_eq!(alone.expect("it runs").status.code(), Some(4), "without its base it is refused");
}
