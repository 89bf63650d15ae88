//! Promises of the installation of syslinux. Oracles: `syslinux`, `mtools`, `fsck.fat`, `faketime`.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

#[path = "boot_support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use melv_appliance::boot::{BootError, FREE_BYTES, Files, InstallFault, Patch, Programs, install};
use melv_appliance::fat;
use melv_appliance::tree::Content;
use support::{fetch, host, noise, run, script, volume, with_files};

/// Writes the volume of `files` to `path`, with patches.
fn write(path: &Path, volume: &fat::Volume, files: &Files<'_>, patches: &[Patch]) {
    let files = files.as_fat();
    let plan = fat::Plan::new(volume, &files).unwrap();
    let mut file = File::create(path).unwrap();
    plan.write(&Vec::new(), &mut file).unwrap();
    file.flush().unwrap();
    for patch in patches {
        file.write_all_at(&patch.bytes, patch.offset_bytes).unwrap();
    }
}

fn installed(programs: &Programs<'_>) -> Vec<Patch> {
    let folder = tempfile::tempdir().unwrap();
    let kernel = noise(5_000_000, 1);
    let patches = with_files(&kernel, None, |files| install(&volume(18), files, programs, folder.path()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the temporary folder is empty again");
    patches.unwrap()
}

#[test]
fn a_patched_volume_is_sound_and_its_files_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    for (mib, kernel, initrd) in
        [(18, 5_000_001, Some(700_000)), (17, 1, None), (64, 40_000_000, Some(1 << 20))]
    {
        let (kernel, initrd) = (noise(kernel, 1), initrd.map(|length| noise(length, 2)));
        let path = folder.path().join("volume");
        with_files(&kernel, initrd.as_ref(), |files| {
            let patches = install(&volume(mib), files, &host(), folder.path()).unwrap();
            write(&path, &volume(mib), files, &patches);
        });
        let shown = run("fsck.fat", ["-n", "-v", path.to_str().unwrap()]);
        assert!(!shown.contains("differ") && !shown.contains("Dirty"), "{shown}");
        for (name, content) in [("::melv/vmlinuz", Some(&kernel)), ("::melv/initrd", initrd.as_ref())] {
            let Some(Content::Bytes(bytes)) = content else { continue };
            let copy = folder.path().join("copy");
            run("mcopy", ["-n", "-o", "-i", path.to_str().unwrap(), name, copy.to_str().unwrap()]);
            assert!(fs::read(copy).unwrap() == *bytes, "{name}");
        }
        let shown = run("mattrib", ["-i", path.to_str().unwrap(), "::ldlinux.sys", "::ldlinux.c32"]);
        assert_eq!(shown.matches("SHR").count(), 2, "{shown}");
    }
}

#[test]
fn patches_are_those_of_an_installation_on_the_full_volume() {
    let folder = tempfile::tempdir().unwrap();
    let [path, direct] = ["patched", "direct"].map(|name| folder.path().join(name));
    let kernel = noise(5_000_000, 1);
    with_files(&kernel, None, |files| {
        let patches = install(&volume(18), files, &host(), folder.path()).unwrap();
        write(&path, &volume(18), files, &patches);
        write(&direct, &volume(18), files, &[]);
    });
    run(
        "env",
        ["SOURCE_DATE_EPOCH=1700000000", "TZ=UTC0", "syslinux", "--install", direct.to_str().unwrap()],
    );
    let [patched, direct] = [path, direct].map(|path| fs::read(path).unwrap());
    assert_eq!(patched.len(), direct.len());
    let differs = patched.iter().zip(&direct).filter(|(ours, theirs)| ours != theirs).count();
    // Of each of the two entries: hundredths, which our own entries have as zero, and nothing else may differ.
    assert!(differs <= 2, "{differs} bytes differ");
}

#[test]
#[ignore = "needs packages of Debian: make check-appliances"]
fn patches_are_equal_on_another_day_in_another_zone() {
    let folder = tempfile::tempdir().unwrap();
    let expected = installed(&host());
    assert_eq!(expected, installed(&host()));
    for (number, day, zone) in
        [(1, "1999-12-31 23:59:58", "Asia/Tokyo"), (2, "2037-02-03 04:05:06", "XXX+11")]
    {
        // The child's environment is empty, so the day comes by the programs themselves.
        let faked = |name: &str, program: &str| {
            let text = format!("export TZ={zone}\nexec /usr/bin/faketime -f '{day}' {program} \"$@\"");
            script(folder.path(), &format!("{name}{number}"), &text)
        };
        let syslinux = faked("syslinux", "/usr/bin/syslinux");
        // mtools acts by the name that it is called by.
        let mtools = faked("mtools", "/usr/bin/$(/usr/bin/basename \"$0\")");
        let programs = Programs { syslinux: &syslinux, mtools: &mtools, libraries: None };
        assert_eq!(expected, installed(&programs), "{day}");
    }
}

#[test]
#[ignore = "needs packages of Debian: make check-appliances"]
fn programs_of_other_suites_run_with_their_own_libraries() {
    let expected = installed(&host());
    for suite in ["bookworm", "trixie"] {
        let data = fetch(suite, "syslinux", &["syslinux", "mtools", "libc6"]);
        let programs = [data("syslinux").join("usr/bin/syslinux"), data("mtools").join("usr/bin/mtools")];
        let [syslinux, mtools] = &programs;
        let libraries =
            ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|path| data("libc6").join(path));
        let libraries = libraries.iter().find(|path| path.join("ld-linux-x86-64.so.2").exists());
        let patches =
            installed(&Programs { syslinux, mtools, libraries: libraries.map(|path| path.as_path()) });
        assert_eq!(
            patches,
            installed(&Programs { syslinux, mtools, libraries: libraries.map(|path| path.as_path()) })
        );
        assert_eq!(patches == expected, suite == "bookworm", "the machine's own syslinux is bookworm's");
    }
}

#[test]
fn a_folder_of_any_name_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("a b:c;'\"$(d)\n\u{e9}");
    fs::create_dir(&odd).unwrap();
    let [syslinux, mtools] = ["syslinux", "mtools"].map(|name| odd.join(name));
    for (from, to) in [("/usr/bin/syslinux", &syslinux), ("/usr/bin/mtools", &mtools)] {
        fs::copy(from, to).unwrap();
    }
    let programs = Programs { syslinux: &syslinux, mtools: &mtools, libraries: None };
    let kernel = noise(1000, 1);
    let patches = with_files(&kernel, None, |files| install(&volume(18), files, &programs, &odd)).unwrap();
    let expected = with_files(&kernel, None, |files| install(&volume(18), files, &host(), folder.path()));
    assert_eq!(patches, expected.unwrap());
}

/// Installs with a script in place of syslinux.
fn lying(text: &str) -> BootError {
    let folder = tempfile::tempdir().unwrap();
    let syslinux = script(folder.path(), "syslinux", &format!("PATH=$PATH:/usr/bin:/bin\n{text}"));
    let programs = Programs { syslinux: &syslinux, ..host() };
    let kernel = noise(2_000_000, 1);
    with_files(&kernel, None, |files| {
        install(&volume(18), files, &programs, folder.path()).map(|patches| patches.len())
    })
    .unwrap_err()
}

fn fault(text: &str) -> InstallFault {
    match lying(text) {
        BootError::Unexpected { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

#[test]
fn a_syslinux_that_does_other_work_than_its_own_is_found_out() {
    const REAL: &str = "/usr/bin/syslinux --install volume\n";
    let poke = |offset: u64| format!("{REAL}printf X | dd of=volume bs=1 seek={offset} conv=notrunc 2>&1");
    assert!(matches!(fault("true"), InstallFault::NoEntry { name: "LDLINUX SYS" }));
    assert!(matches!(fault(&format!("{REAL}mdel -i volume ::ldlinux.c32")), InstallFault::NoEntry { .. }));
    // Where the volume is full it says that it was done, or dies of its pipe: that depends on which end is quicker.
    let full = format!("head -c 16600000 /dev/zero | mcopy -i volume - ::big\n{REAL}");
    let found = lying(&full);
    let is_empty = matches!(found, BootError::Unexpected { fault: InstallFault::EmptyFile { .. }, .. });
    assert!(is_empty || matches!(found, BootError::Failed { .. }), "{found}");
    assert!(matches!(fault(&format!("{REAL}truncate -s +1 volume")), InstallFault::Length { .. }));
    assert!(matches!(fault(&format!("{REAL}truncate -s 17M volume")), InstallFault::Length { .. }));
    // The serial number, the mark of a boot sector, a folder's own entry, the kernel.
    let folder = 10 * 4096;
    for offset in [39, 510, folder, folder + 4096 * 60, folder + 4096 * 200] {
        let found = fault(&poke(offset));
        assert!(matches!(found, InstallFault::Overwritten), "byte {offset}: {found}");
    }
    let much = format!("{REAL}yes | dd of=volume bs=1M seek=12 count=2 iflag=fullblock conv=notrunc 2>&1");
    assert!(matches!(fault(&much), InstallFault::TooMuch { .. }));
    let none = format!("{REAL}dd if=/dev/zero of=volume bs=512 count=1 conv=notrunc 2>&1");
    assert!(matches!(fault(&none), InstallFault::NoEntry { .. } | InstallFault::Overwritten));
    let wild = format!(
        "{REAL}printf '\\377\\377\\377\\377\\377\\377\\377\\377\\377\\377\\377\\377\\377' | dd of=volume bs=1 seek=11 conv=notrunc 2>&1"
    );
    assert!(matches!(lying(&wild), BootError::Unexpected { .. } | BootError::Temporary { .. }));
}

#[test]
fn a_failure_repeats_what_syslinux_said() {
    let found = lying("echo no room >&2; exit 1");
    assert!(matches!(&found, BootError::Failed { code: Some(1), said, .. } if said == "no room"), "{found}");
    // The real one, without its tools.
    let folder = tempfile::tempdir().unwrap();
    let programs = Programs { mtools: Path::new("/nowhere"), ..host() };
    let kernel = noise(2_000_000, 1);
    let found = with_files(&kernel, None, |files| install(&volume(18), files, &programs, folder.path()));
    let said = match found.map(|patches| patches.len()).unwrap_err() {
        BootError::Failed { said, .. } | BootError::Unexpected { said, .. } => said,
        other => panic!("{other}"),
    };
    assert!(said.contains("mcopy"), "{said:?}");
}

#[test]
fn a_volume_without_room_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = noise(17_650_000, 1);
    let found = with_files(&kernel, None, |files| install(&volume(17), files, &host(), folder.path()));
    assert!(matches!(found, Err(BootError::NoRoom { free, .. }) if free < FREE_BYTES));
}

#[test]
fn syslinux_sees_nothing_of_the_environment() {
    let BootError::Failed { said, .. } = lying("/usr/bin/env; exit 1") else { panic!("no failure") };
    let mut names: Vec<&str> =
        said.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LC_ALL", "PATH", "PWD", "TMPDIR"]);
}

#[test]
fn an_installation_takes_less_than_five_seconds() {
    let start = Instant::now();
    installed(&host());
    eprintln!("installation: {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(5));
}
