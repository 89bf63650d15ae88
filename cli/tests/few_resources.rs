//! Limits on processes and memory: a command uses fewer threads, or fails with a message.

mod common;

use std::os::unix::process::ExitStatusExt;

use common::{Bed, MELV, Ran, bed, disk, noise};

/// The limits on address space, in kilobytes.
const MEMORY: [u32; 13] = [
    12_000, 20_000, 30_000, 40_000, 60_000, 80_000, 100_000, 150_000, 180_000, 200_000, 250_000, 300_000,
    600_000,
];

fn prepared() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &noise(1, 4 << 20));
    bed.write("new.raw", &[noise(2, 4 << 20), disk()].concat());
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    bed.melv(&["save", "web", "web.melv"]).exits(0);
    bed.melv(&["import", "new.raw", "--name", "new"]).exits(0);
    bed.melv(&["save", "new", "new.melv"]).exits(0);
    bed.melv(&["rm", "new"]).exits(0);
    bed
}

/// Commands to run under each limit.
const COMMANDS: [&str; 16] = [
    "import new.raw --store fresh",
    "import new.raw --replace --threads 8",
    "import new.raw --store fresh --chunk 4M --level 19",
    "export web out.raw --force",
    "export web out.vmdk --format vmdk-stream --force",
    "export web - --threads 4",
    "verify --full",
    "verify web.melv --full",
    "digest new.raw",
    "digest - <new.raw",
    "compare web disk.raw",
    "compare web - <disk.raw",
    "save web out.melv --force",
    "load new.melv --store fresh --threads 16",
    "serve web --run true",
    "ls",
];

/// Fails on a panic, on a signal, and on a failure without a message.
#[track_caller]
fn ends_well(ran: &Ran, what: &str) {
    let (status, said) = (ran.output.status, ran.stderr());
    assert!(matches!(status.code(), Some(0 | 1)), "{what}: {status}\n{said}");
    assert!(!said.contains("panicked") && !said.contains("memory allocation"), "{what}: {said}");
    assert!(status.success() || said.contains("melv: "), "{what}: {status}, without a word: {said}");
}

#[test]
fn little_memory_is_enough_or_an_error() {
    let bed = prepared();
    let mut done = 0;
    for kilobytes in MEMORY {
        for command in COMMANDS {
            let line =
                format!("rm -rf fresh; ulimit -c 0; ulimit -v {kilobytes}; exec melv {command} >/dev/null");
            let ran = bed.sh(&line);
            // The program itself must fit (24 MB of addresses in a build for tests), otherwise the shell or the kernel ends it before it starts.
            let is_begun = ran.output.status.code() != Some(127) && ran.output.status.signal().is_none();
            if kilobytes < 26_000 && !is_begun && ran.stderr().lines().count() <= 1 {
                continue;
            }
            ends_well(&ran, &format!("{kilobytes} kB: {command}"));
            done += i32::from(ran.output.status.success());
            assert!(
                kilobytes < 300_000 || command.contains("4M") || ran.output.status.success(),
                "{kilobytes} kB: {command}: {}",
                ran.stderr()
            );
        }
    }
    assert!(done > 0);
    bed.melv(&["verify", "--full"]).exits(0);
    bed.melv(&["compare", "web", "disk.raw"]).exits(0);
}

#[test]
fn too_little_memory_is_said_with_what_to_do() {
    let bed = prepared();
    let ran = bed.sh("ulimit -v 40000; exec melv import new.raw --store fresh --chunk 4M --level 19");
    ran.exits(1).says("out of memory").says("ulimit -v").says("--chunk");
    // The hint works.
    bed.sh("ulimit -v 80000; exec melv import new.raw --store fresh --threads 1").exits(0);
}

#[test]
fn few_processes_are_enough_or_an_error() {
    let bed = prepared();
    if !is_root() {
        println!("skipped: only root can become a user without processes of its own");
        return;
    }
    let melv = bed.path("melv");
    std::fs::copy(MELV, &melv).unwrap();
    bed.sh("chmod -R a+rwX . && chmod a+rx melv . && mkdir -p mnt && chmod 777 mnt").exits(0);
    // Use a user id without other processes, since the limit counts all processes of a user.
    let user = "--reuid=64321 --regid=64321 --clear-groups";
    bed.sh(&format!("setpriv {user} ./melv ls")).exits(0);
    for processes in [1, 2, 3, 4, 5, 6, 8] {
        for command in COMMANDS {
            let command = command.replace("--run true", "--stdio </dev/null");
            let line = format!(
                "rm -rf fresh; umask 0; exec prlimit --nproc={processes} setpriv {user} ./melv {command} >/dev/null"
            );
            let ran = bed.sh(&line);
            ends_well(&ran, &format!("{processes} processes: {command}"));
            if processes >= 4 {
                assert!(ran.output.status.success(), "{processes} processes: {command}: {}", ran.stderr());
            }
        }
        let mount = format!(
            "umask 0; exec prlimit --nproc={processes} setpriv {user} timeout 5 ./melv mount mnt web --foreground"
        );
        let said = bed.sh(&mount).stderr();
        bed.sh("umount -l mnt 2>/dev/null; true").exits(0);
        assert!(!said.contains("panicked"), "{processes} processes: {said}");
    }
    bed.melv(&["verify", "--full"]).exits(0);
}

fn is_root() -> bool {
    std::process::Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n")
}
