//! Import from a command and with expectations: the disk is stored only if the command succeeds, and only if
//! it is the expected one.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

mod common;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Bed, MELV, bed, disk, later_disk, noise};

fn one_image() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.write("new.raw", &later_disk());
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    bed
}

fn files(bed: &Bed) -> Vec<String> {
    let ran =
        bed.sh("cd store && find . -type f -not -path './index/*' -exec sha256sum {} + | sort").exits(0);
    ran.stdout().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn what_a_command_writes_is_the_disk() {
    let bed = one_image();
    bed.sh("melv import --from-command --name web --replace -- cat new.raw").exits(0);
    bed.melv(&["compare", "web", "new.raw"]).exits(0);
    // Standard error of the command passes through, and it inherits standard input.
    let ran =
        bed.sh("melv import --from-command --name in -- sh -c 'echo hello >&2; cat' <disk.raw").exits(0);
    ran.says("hello");
    bed.melv(&["compare", "in", "disk.raw"]).exits(0);
    let json = bed.json(&["import", "--from-command", "--name", "j", "--", "cat", "disk.raw"]);
    assert_eq!((&json["new_bytes"], &json["size"]), (&0.into(), &disk().len().into()));
    // Options after the command belong to the command.
    bed.sh("melv import --from-command --name h -- head --bytes=1M new.raw").exits(0);
    assert_eq!(bed.json(&["inspect", "h"])["size"], 1 << 20);
}

#[test]
fn exit_1_a_command_that_fails_and_nothing_is_changed() {
    let bed = one_image();
    bed.write("big.raw", &noise(7, 9 << 20));
    let before = files(&bed);
    let cases = [
        ("cat new.raw; exit 3", "exit status 3"),
        ("cat big.raw; exit 255", "exit status 255"),
        ("exit 4", "exit status 4"),
        ("cat new.raw; kill -9 $$", "signal 9"),
        ("head -c 1000 new.raw; kill -TERM $$", "signal 15"),
        // The output ends before the command does.
        ("cat new.raw; exec >&-; sleep 0.3; exit 3", "exit status 3"),
        // The odd size is a consequence of the failure.
        ("head -c 700 new.raw; exit 9", "exit status 9"),
    ];
    for (line, how) in cases {
        for options in ["", "--pad", "--format raw", "--size 64M", "-q", "--threads 1"] {
            let line = format!("melv import --from-command --name web --replace {options} -- sh -c '{line}'");
            bed.sh(&line).exits(1).says(how).says("nothing was stored");
            assert_eq!(files(&bed), before, "{line}");
        }
    }
    bed.melv(&["compare", "web", "disk.raw"]).exits(0);
    bed.sh("melv import --from-command --name no -- sh -c 'cat new.raw; false' --json").exits(1);
    bed.melv(&["inspect", "no"]).exits(13);
}

#[test]
fn a_command_that_cannot_be_run_is_named() {
    let bed = one_image();
    bed.melv(&["import", "--from-command", "--name", "x", "--", "./no-such-command", "arg"])
        .exits(1)
        .says("./no-such-command")
        .says("without a shell");
    bed.write("plain", b"text");
    bed.melv(&["import", "--from-command", "--name", "x", "--", "./plain"]).exits(1).says("./plain");
    // The hint works.
    bed.sh("melv import --from-command --name x -- sh -c 'cat new.raw | cat'").exits(0);
}

#[test]
fn exit_2_lines_that_make_no_sense() {
    let bed = one_image();
    for line in [
        "melv import --from-command --name x",
        "melv import --from-command --name x --",
        "melv import --from-command -- cat disk.raw",
        "melv import --from-command disk.raw --name x -- cat disk.raw",
        "melv import --name x -- cat disk.raw",
        "melv import disk.raw --name x -- cat",
    ] {
        bed.sh(line).exits(2);
    }
    // A file whose name starts with a dash.
    bed.sh("cp disk.raw -- -odd.raw && melv import --name odd -- -odd.raw").exits(0);
}

#[test]
fn formats_are_told_as_from_any_pipe() {
    let bed = one_image();
    bed.melv(&["export", "web", "s.vmdk", "--format", "vmdk-stream"]).exits(0);
    for options in ["", "--format vmdk", "--format VMDK"] {
        bed.sh(&format!("melv import --from-command --name v --replace {options} -- cat s.vmdk")).exits(0);
        bed.melv(&["compare", "v", "disk.raw"]).exits(0);
    }
    bed.sh("gzip -c disk.raw >disk.gz").exits(0);
    bed.sh("melv import --from-command --name g -- cat disk.gz").exits(14).says("gzip");
    bed.sh("melv import --from-command --name g -- gunzip -c disk.gz").exits(0);
    // If a stream is cut off because the command died, the command is to blame.
    bed.sh("melv import --from-command --name w -- sh -c 'head -c 70000 s.vmdk; exit 5'")
        .exits(1)
        .says("status 5");
    bed.sh("melv import --from-command --name w -- head -c 70000 s.vmdk").exits(4).says("cut off");
}

/// Whether a process with these arguments runs; each test uses its own ones.
fn runs(arguments: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").trim() == arguments
    })
}

#[test]
fn an_interrupt_ends_the_command_and_all_that_it_began() {
    let bed = one_image();
    let before = files(&bed);
    for (round, twice) in [(1, false), (2, true)] {
        // A unique sleep time, by which the test recognizes its processes.
        let name = format!("987{round}.{}", std::process::id());
        let line = format!("cat new.raw; trap '' TERM; sleep {name} & sleep {name}; wait");
        let mut import = bed.command(MELV);
        import.args(["import", "--from-command", "--name", "web", "--replace", "--", "sh", "-c", &line]);
        let mut import = import.stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while !runs(&format!("sleep {name}")) && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let pid = import.id();
        for _ in 0..if twice { 2 } else { 1 } {
            Command::new("sh").args(["-c", &format!("kill -INT {pid}")]).status().unwrap();
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(import.wait().unwrap().code(), Some(130));
        let begun = Instant::now();
        while runs(&format!("sleep {name}")) && begun.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(!runs(&format!("sleep {name}")), "round {round}");
        // The next import clears the files left after the second signal, as after any killed process.
        if !twice {
            assert_eq!(files(&bed), before);
        }
    }
    bed.melv(&["compare", "web", "disk.raw"]).exits(0);
    bed.melv(&["verify", "--full"]).exits(0);
}

#[test]
fn a_refusal_of_melv_ends_the_command_too() {
    let bed = one_image();
    let name = format!("9876.{}", std::process::id());
    let line = format!("cat disk.gz; sleep {name}");
    bed.sh("gzip -c disk.raw | head -c 80000 >disk.gz").exits(0);
    let begun = Instant::now();
    bed.melv(&["import", "--from-command", "--name", "x", "--", "sh", "-c", &line]).exits(14);
    bed.melv(&["import", "--from-command", "--name", "web", "--", "sh", "-c", &line]).exits(14);
    assert!(begun.elapsed() < Duration::from_secs(60) && !runs(&format!("sleep {name}")));
}

#[test]
fn size_holds_files_pipes_and_commands_against_a_number() {
    let bed = one_image();
    let len = disk().len();
    let before = files(&bed);
    for size in [len - 1, len + 1, len - 512, len + 512, 1, 2 * len, 512] {
        for line in [
            format!("melv import disk.raw --name web --replace --size {size}"),
            format!("melv import - --name web --replace --size {size} <new.raw"),
            format!("melv import - --name web --replace --pad --size {size} <new.raw"),
            format!("melv import --from-command --name web --replace --size {size} -- cat new.raw"),
        ] {
            bed.sh(&line).exits(1).says(&size.to_string()).says("nothing was stored");
            assert_eq!(files(&bed), before, "{line}");
        }
    }
    bed.melv(&["import", "disk.raw", "--name", "a", "--size", &len.to_string()]).exits(0);
    bed.sh(&format!("melv import - --name b --size {len} <new.raw")).exits(0);
    bed.sh(&format!("melv import --from-command --name c --size {len} -- cat new.raw")).exits(0);
    // The size counts the input without padding.
    bed.write("odd.raw", &disk()[..70_000]);
    bed.melv(&["import", "odd.raw", "--name", "o1", "--pad", "--size", "70000"]).exits(0);
    bed.sh("melv import - --name o2 --pad --size 70000 <odd.raw").exits(0);
    bed.sh("melv import - --name o3 --pad --size 70144 <odd.raw").exits(1).says("70000");
    bed.sh("melv import odd.raw --name o3 --pad --size 70144").exits(1).says("70000");
    // A whole number of spans, whose end shows only in the next read.
    bed.write("span.raw", &noise(8, 2 << 20));
    bed.sh("melv import - --name s --size 2M <span.raw").exits(0);
    bed.sh("melv import - --name t --size 1m <span.raw").exits(1).says("more than the expected");
    bed.sh("melv import - --name t --size 3MiB <span.raw").exits(1).says("2097152");
}

#[test]
fn exit_17_another_content_than_expected_and_nothing_is_changed() {
    let bed = one_image();
    let content = bed.json(&["digest", "disk.raw"])["content"].as_str().unwrap().to_owned();
    let other = bed.json(&["digest", "new.raw"])["content"].as_str().unwrap().to_owned();
    bed.melv(&["export", "web", "s.vmdk", "--format", "vmdk-stream"]).exits(0);
    bed.melv(&["export", "web", "d.vmdk", "--format", "vmdk"]).exits(0);
    let before = files(&bed);
    for input in
        ["disk.raw", "d.vmdk", "s.vmdk", "- <disk.raw", "- <s.vmdk", "--from-command -- cat disk.raw"]
    {
        let import = |expect: &str| {
            let (input, command) = input
                .split_once(" --")
                .map_or((input, String::new()), |(input, command)| (input, format!(" --{command}")));
            format!("melv import --name web --replace --expect {expect} {input}{command}")
        };
        // The store already has all the data, but it is checked nevertheless.
        bed.sh(&import(&other)).exits(17).says(&other).says(&content).says("nothing was stored");
        assert_eq!(files(&bed), before, "{input}");
    }
    bed.sh(&format!("melv import - --name n --expect {other} <disk.raw")).exits(17);
    bed.melv(&["inspect", "n"]).exits(13);
    bed.sh(&format!("melv import - --name n --expect {content} <s.vmdk")).exits(0);
    bed.melv(&["import", "new.raw", "--name", "m", "--expect", &other]).exits(0);
    for bad in ["", "12", &content.to_uppercase(), &content[1..], "@"] {
        bed.melv(&["import", "disk.raw", "--name", "q", "--expect", bad]).exits(2);
    }
}

#[test]
fn a_command_that_wants_the_terminal_is_told_of_and_does_not_hang() {
    let bed = one_image();
    if !bed.sh("command -v script >/dev/null").output.status.success() {
        println!("skipped: there is no `script` to make a terminal");
        return;
    }
    let line = "melv import --from-command --name tty -- sh -c \"read x </dev/tty; cat disk.raw\"";
    let ran = bed.sh(&format!("timeout 20 script -qec '{line}' /dev/null </dev/null"));
    assert_eq!(ran.output.status.code(), Some(1), "{}", ran.stdout());
    assert!(ran.stdout().contains("cannot read from the terminal"), "{}", ran.stdout());
    bed.melv(&["inspect", "tty"]).exits(13);
}
