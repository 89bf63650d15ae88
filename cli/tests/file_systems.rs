//! File systems without folder syncs or locks. A library loaded before the C library fakes the results of the
//! system calls.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod common;

use std::path::PathBuf;

use common::{Bed, MELV, Ran, bed, noise};

/// Makes `fsync` of folders fail with error number `$FOLDER_SYNC`, and `flock` with `$FLOCK`, if they are
/// set. Records each faked call in `$ANSWERED`.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
static int answer(const char *code) {
    int noted = open(getenv("ANSWERED"), O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (write(noted, "x", 1) != 1) abort();
    close(noted);
    errno = atoi(code);
    return -1;
}
int fsync(int fd) {
    static int (*real)(int);
    struct stat stat;
    const char *code = getenv("FOLDER_SYNC");
    if (code && !fstat(fd, &stat) && S_ISDIR(stat.st_mode)) return answer(code);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return real(fd);
}
int flock(int fd, int operation) {
    static int (*real)(int, int);
    const char *code = getenv("FLOCK");
    if (code) return answer(code);
    if (!real) real = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
    return real(fd, operation);
}
"#;

/// A test bed with the preloaded library.
struct Lacking {
    bed: Bed,
    shim: PathBuf,
}

impl Lacking {
    fn new() -> Self {
        let bed = bed();
        let source = bed.write("shim.c", SHIM.as_bytes());
        let shim = bed.path("shim.so");
        let mut cc = bed.command("cc");
        cc.args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(source).arg("-ldl");
        assert!(cc.status().unwrap().success(), "the C compiler that builds zstd");
        bed.write("d.raw", &noise(1, 1 << 20));
        Self { bed, shim }
    }

    /// Runs the command with the calls of `variable` failing with error number `code`; at least one must
    /// occur.
    #[track_caller]
    fn melv(&self, variable: &str, code: i32, arguments: &[&str], exit: i32) -> Ran {
        let answered = self.bed.path("answered");
        let _ = std::fs::remove_file(&answered);
        let mut command = self.bed.command(MELV);
        command.env("LD_PRELOAD", &self.shim).env("ANSWERED", &answered).env(variable, code.to_string());
        let output = command.args(arguments).output().unwrap();
        let ran = Ran::new(format!("{arguments:?} with {variable}={code}"), output).exits(exit);
        assert!(answered.exists(), "{arguments:?} with {variable}={code}: no such call");
        ran
    }
}

#[test]
fn where_folders_cannot_be_synced_everything_works_and_it_is_said_once() {
    for code in [22, 95, 38, 25] {
        let lacking = Lacking::new();
        let melv = |arguments: &[&str]| lacking.melv("FOLDER_SYNC", code, arguments, 0);
        let said = melv(&["--store", "new", "import", "d.raw"]).stderr();
        assert_eq!(said.matches("cannot sync folders").count(), 1, "{said}");
        melv(&["import", "d.raw"]);
        melv(&["tag", "d", "other"]);
        melv(&["export", "d", "o.raw"]);
        assert!(lacking.bed.read("o.raw") == lacking.bed.read("d.raw"));
        melv(&["save", "d", "o.melv"]);
        melv(&["--store", "third", "load", "o.melv"]);
        melv(&["rm", "d"]);
        lacking.bed.melv(&["compare", "other", "d.raw"]).exits(0);
        lacking.bed.melv(&["verify", "--full"]).exits(0);
    }
}

#[test]
fn where_a_folder_cannot_be_synced_since_the_medium_fails_the_work_fails() {
    let lacking = Lacking::new();
    lacking.bed.melv(&["import", "d.raw"]).exits(0);
    let failed = |arguments: &[&str]| lacking.melv("FOLDER_SYNC", 5, arguments, 1).stderr();
    for arguments in
        [&["import", "d.raw", "--name", "new"][..], &["tag", "d", "other"], &["export", "d", "o.raw"]]
    {
        let said = failed(arguments);
        assert!(said.contains("Input/output error"), "{said}");
    }
    let names = lacking.bed.melv(&["ls"]).exits(0).stdout();
    assert!(!names.contains("new") && !names.contains("other"), "{names}");
    let said = failed(&["rm", "d"]);
    assert!(said.contains("may not survive a power failure") && said.contains("`melv ls`"), "{said}");
}

#[test]
fn where_there_are_no_locks_the_error_says_so_and_what_to_do() {
    let lacking = Lacking::new();
    lacking.bed.melv(&["import", "d.raw"]).exits(0);
    for code in [37, 95, 38] {
        for arguments in [&["import", "d.raw", "--name", "new"][..], &["tag", "d", "x"], &["rm", "d"]] {
            let said = lacking.melv("FLOCK", code, arguments, 1).stderr();
            assert!(
                said.contains("no locks") && said.contains(&lacking.bed.store().display().to_string()),
                "{said}"
            );
            assert!(said.contains("--store DIR"), "{said}");
        }
    }
    let mut command = lacking.bed.command(MELV);
    command.env("LD_PRELOAD", &lacking.shim).env("ANSWERED", "/dev/null").env("FLOCK", "38");
    let read = Ran::new("compare".into(), command.args(["compare", "d", "d.raw"]).output().unwrap());
    read.exits(0);
}

#[test]
fn what_a_writer_of_another_machine_began_stays_until_locks_are_broken() {
    let bed = bed();
    bed.write("d.raw", &noise(1, 1 << 20));
    bed.melv(&["import", "d.raw"]).exits(0);
    let stage = bed.store().join("tmp/0");
    let begin = || {
        std::fs::create_dir_all(&stage).unwrap();
        let mark = format!("melv writer\nmachine {}\nboot {}\n", "a".repeat(64), "b".repeat(64));
        std::fs::write(stage.join("lock"), mark).unwrap();
        std::fs::write(stage.join("pack-0"), "frames").unwrap();
    };
    begin();
    let said = bed.melv(&["tag", "d", "other"]).exits(0).stderr();
    // On a machine without an id, only the lock counts.
    let has_id = std::fs::read_to_string("/etc/machine-id").is_ok_and(|id| id.trim().len() == 32);
    assert_eq!(stage.join("pack-0").exists(), has_id, "{said}");
    assert_eq!(said.contains("--break-locks"), has_id, "{said}");
    begin();
    bed.melv(&["--break-locks", "tag", "d", "third"]).exits(0);
    assert!(!stage.exists());
}
