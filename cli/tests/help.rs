//! The help: every example in it runs. Also the completion scripts and manual pages made from it.

mod common;

use common::{Bed, bed, disk, later_disk};

const COMMANDS: [&str; 18] = [
    "import",
    "ls",
    "inspect",
    "map",
    "digest",
    "export",
    "compare",
    "save",
    "load",
    "tag",
    "rm",
    "serve",
    "mount",
    "umount",
    "df",
    "verify",
    "completions",
    "man",
];

/// Commands that run until they are ended; `serve.rs` and `mount.rs` test their examples.
const RUN_ON: [&str; 3] = ["serve", "mount", "umount"];

/// Prepares the inputs of the examples: disks, two images in a store, a bundle of one, and its disk as a
/// VMDK.
fn prepared() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.write("new.raw", &later_disk());
    bed.melv(&["import", "new.raw", "--name", "base"]).exits(0);
    bed.melv(&["import", "disk.raw", "--name", "web", "--parent", "base"]).exits(0);
    bed.melv(&["save", "web", "web.melv"]).exits(0);
    bed.sh("gzip -k disk.raw").exits(0);
    bed.melv(&["export", "web", "disk.vmdk", "--format", "vmdk"]).exits(0);
    bed.melv(&["export", "web", "stream.vmdk", "--format", "vmdk-stream"]).exits(0);
    bed
}

#[test]
fn every_example_of_every_command_runs() {
    let ready = prepared();
    for command in COMMANDS {
        let help = ready.melv(&[command, "--help"]).exits(0).stdout();
        let examples: Vec<_> = help.lines().filter_map(|line| line.strip_prefix("  $ ")).collect();
        assert!(examples.iter().any(|example| example.starts_with("melv ")), "{command} has no example");
        if RUN_ON.contains(&command) {
            continue;
        }
        for example in examples {
            // Each example runs in a fresh folder, unaffected by the others.
            let fresh = bed();
            fresh.sh(&format!("cp -r {}/. .", ready.path(".").display())).exits(0);
            fresh.sh(example).exits(0);
        }
    }
}

#[test]
fn help_is_wrapped_to_the_terminal_and_broken_nowhere_else() {
    let bed = bed();
    for (command, columns) in
        COMMANDS.iter().flat_map(|command| [50, 80, 100].map(|columns| (command, columns)))
    {
        let help = bed.sh(&format!("COLUMNS={columns} melv {command} --help")).exits(0).stdout();
        let explanation = help.split_once("Examples:").map_or("", |(_, after)| after);
        for two in explanation.lines().collect::<Vec<_>>().windows(2) {
            let (line, next) = (two[0], two[1]);
            let is_text = |line: &str| !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':');
            // A word of an example may be wider than the terminal.
            assert!(!is_text(line) || line.len() <= columns, "{command} at {columns}: {line}");
            // The next word must not fit in this line.
            if is_text(line) && is_text(next) {
                let word = next.split(' ').next().unwrap();
                assert!(line.len() + 1 + word.len() > columns, "{command} at {columns}: {line}\n{next}");
            }
        }
    }
}

#[test]
fn the_main_help_names_the_exit_codes() {
    let help = bed().sh("COLUMNS=100 melv --help").exits(0).stdout().replace('\n', " ");
    for code in
        ["0 done", "2 usage", "4 damage", "10 no store", "13 not found", "14 unsupported", "130 interrupted"]
    {
        assert!(help.contains(code), "{help}");
    }
}

#[test]
fn the_short_help_fits_a_screen_and_names_every_command() {
    let help = bed().melv(&["-h"]).exits(0).stdout();
    for command in COMMANDS {
        assert!(help.contains(command), "{command}");
    }
    assert!(help.lines().count() <= 40, "{help}");
    let long = bed().melv(&["--help"]).exits(0).stdout();
    assert!(
        ["130 interrupted", "--trust-owner", "--break-locks"].iter().all(|word| long.contains(word)),
        "{long}"
    );
    assert!(help.lines().all(|line| line.len() <= 100), "{help}");
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    let bed = prepared();
    let before = bed.melv(&["--json", "--store", "store", "--threads", "1", "ls"]).exits(0).stdout();
    let after = bed.melv(&["ls", "--json", "--store", "store", "--threads", "1"]).exits(0).stdout();
    assert_eq!(before, after);
}

#[test]
fn the_store_is_found_by_option_then_environment_then_home() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.sh("melv import disk.raw -q --store one && test -e one/melv.store").exits(0);
    bed.sh("MELV_STORE=two melv import disk.raw -q && test -e two/melv.store").exits(0);
    let empty = "MELV_STORE= XDG_DATA_HOME=$PWD/data melv import disk.raw -q && test -e data/melv/melv.store";
    bed.sh(empty).exits(0);
    bed.sh("unset MELV_STORE; HOME=$PWD melv import disk.raw -q && test -e .local/share/melv/melv.store")
        .exits(0);
    bed.sh("unset MELV_STORE HOME XDG_DATA_HOME; melv ls").exits(2).says("--store");
}

#[test]
fn quiet_is_quiet_and_plain_progress_is_lines() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    let ran = bed.melv(&["import", "disk.raw", "-q", "--progress", "plain"]).exits(0);
    assert_eq!((ran.stdout(), ran.stderr()), (String::new(), String::new()));
    let ran = bed.melv(&["export", "disk", "out.raw", "--progress", "plain"]).exits(0).says("100 %");
    assert!(!ran.stderr().contains('\r') && !ran.stderr().contains('\x1b'));
    bed.write("zeros.raw", &[0; 1 << 20]);
    bed.melv(&["import", "zeros.raw", "--progress", "plain"]).exits(0).says("100 %");
    let ran = bed.melv(&["verify", "--progress", "none"]).exits(0);
    assert_eq!(ran.stderr(), "");
}

#[test]
fn colours_are_only_where_they_are_wanted() {
    let bed = bed();
    assert!(!bed.melv(&["ls"]).exits(10).stderr().contains('\x1b'));
    bed.melv(&["ls", "--color", "always"]).exits(10).says("\x1b[");
    assert!(!bed.melv(&["ls", "--color=never"]).exits(10).stderr().contains('\x1b'));
}

#[test]
fn completions_and_manual_pages_are_made() {
    let bed = bed();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(bed.melv(&["completions", shell]).exits(0).stdout().contains("import"), "{shell}");
    }
    bed.melv(&["man", "new/man1"]).exits(0);
    for page in ["melv", "melv-import", "melv-save", "melv-load", "melv-verify"] {
        assert!(bed.path(&format!("new/man1/{page}.1")).exists(), "{page}");
    }
}
