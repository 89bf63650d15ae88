//! Standard input: its format is detected from its content, as for a file.

mod common;

use common::{Bed, bed, disk, later_disk, noise};

/// A store with one image, and files in formats other than raw.
fn prepared() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.write("new.raw", &later_disk());
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    bed.melv(&["export", "web", "stream.vmdk", "--format", "vmdk-stream"]).exits(0);
    bed.melv(&["export", "web", "sparse.vmdk", "--format", "vmdk"]).exits(0);
    bed.melv(&["save", "web", "web.melv"]).exits(0);
    bed
}

/// A disk of whole spans followed by a footer, so that only the end reveals the format.
fn with_footer(mark: &[u8], spans: usize) -> Vec<u8> {
    let mut footer = vec![0; 512];
    footer[..mark.len()].copy_from_slice(mark);
    [noise(4, spans << 20), footer].concat()
}

fn foreign(bed: &Bed) -> Vec<(String, &'static str)> {
    let mut files = Vec::new();
    let mut add = |name: &str, bytes: &[u8], format: &'static str| {
        bed.write(name, bytes);
        files.push((name.to_owned(), format));
    };
    let padded = |mark: &[u8]| [mark, &noise(5, 70_000 - mark.len())].concat();
    let at = |offset: usize, mark: &[u8]| [&vec![b'x'; offset], mark, &noise(6, 5000)].concat();
    add("d.qcow2", &padded(b"QFI\xfb\0\0\0\x03"), "qcow2");
    add("d.qcow", &padded(b"QFI\xfb\0\0\0\x01"), "qcow");
    add("dynamic.vhd", &padded(b"conectix\0\0\0\x02"), "VHD");
    add("d.vhdx", &padded(b"vhdxfile"), "VHDX");
    add("d.vdi", &at(0x40, b"\x7f\x10\xda\xbe"), "VDI");
    add("d.lz4", &padded(b"\x04\x22\x4d\x18\x64\x40\xa7"), "lz4");
    add("d.7z", &padded(b"7z\xbc\xaf\x27\x1c\0\x04"), "7");
    add("d.e01", &padded(b"EVF\x09\x0d\x0a\xff\0\x01"), "E");
    add("small.vhd", &with_footer(b"conectix", 0), "VHD");
    add("fixed.vhd", &with_footer(b"conectix", 3), "VHD");
    add("large.vhd", &with_footer(b"conectix", 9), "VHD");
    add("d.dmg", &with_footer(b"koly\0\0\0\x04\0\0\x02\0", 2), "dmg");
    for (name, line, format) in [
        ("d.gz", "gzip -c disk.raw >d.gz", "gzip"),
        ("d.tar", "tar cf d.tar disk.raw", "tar"),
        ("d.ova", "tar --format=ustar -cf d.ova stream.vmdk", "tar"),
    ] {
        bed.sh(line).exits(0);
        files.push((name.to_owned(), format));
    }
    files
}

#[test]
fn exit_14_containers_from_a_pipe_as_from_a_file_and_nothing_is_stored() {
    let bed = prepared();
    let before = bed.json(&["df"]);
    for (file, format) in foreign(&bed) {
        let by_path = bed.melv(&["import", &file, "--name", "x"]).exits(14).says(format);
        let hint = by_path.stderr().lines().last().unwrap().to_owned();
        for options in ["", "--pad", "-q", "--json", "--replace --threads 1"] {
            let ran = bed.sh(&format!("cat {file} | melv import - --name web {options}"));
            let code =
                if options == "--replace --threads 1" { 14 } else { ran.output.status.code().unwrap() };
            let ran = ran.exits(code);
            if options.contains("--replace") {
                ran.says(format);
            } else {
                assert!([1, 14].contains(&code), "{file}: a taken name or the format");
            }
            let ran =
                bed.sh(&format!("cat {file} | melv import - --name x {options}")).exits(14).says(format);
            assert!(!ran.stderr().contains("--pad adds"), "{file}");
            assert!(options == "--json" || ran.stderr().contains(&hint), "{file}: {}", ran.stderr());
        }
        bed.sh(&format!("melv import - --name x <{file}")).exits(14);
        bed.sh(&format!("melv import --from-command --name x -- cat {file}")).exits(14).says(format);
        bed.sh(&format!("cat {file} | melv digest -")).exits(14).says(format);
        bed.sh(&format!("cat {file} | melv digest - --pad")).exits(14).says(format);
        bed.sh(&format!("cat {file} | melv compare web -")).exits(14).says(format);
        assert_eq!(bed.json(&["df"]), before, "{file}");
    }
    bed.melv(&["compare", "web", "disk.raw"]).exits(0);
}

#[test]
fn format_raw_insists() {
    let bed = prepared();
    for (number, (file, _)) in foreign(&bed).iter().enumerate() {
        let name = format!("n{number}");
        let pipe = format!("cat {file} | melv import - --name {name} --format raw --pad");
        assert!(bed.sh(&pipe).exits(0).stderr().is_empty());
        bed.melv(&["compare", &name, file, "--format", "raw"])
            .exits(if bed.read(file).len().is_multiple_of(512) { 0 } else { 5 });
        let content = bed.json(&["digest", file, "--format", "raw", "--pad"])["content"].clone();
        let ran = bed.sh(&format!("cat {file} | melv digest - --format raw --pad --json")).exits(0);
        assert_eq!(ran.json()["content"], content);
        assert_eq!(bed.json(&["inspect", &name])["content"], content);
    }
}

#[test]
fn a_stream_vmdk_is_read_without_being_named() {
    let bed = prepared();
    let content = bed.json(&["digest", "disk.raw"])["content"].clone();
    let ran = bed.sh("cat stream.vmdk | melv import - --name s --json").exits(0);
    assert_eq!((&ran.json()["content"], &ran.json()["new_bytes"]), (&content, &0.into()));
    assert_eq!(bed.sh("cat stream.vmdk | melv digest - --json").exits(0).json()["content"], content);
    bed.sh("cat stream.vmdk | melv compare web -").exits(0);
    bed.sh("cat stream.vmdk | melv compare new.raw -").exits(5).says("");
    // Other VMDKs keep their parts or their tables elsewhere.
    for file in ["sparse.vmdk", "text.vmdk"] {
        bed.write("text.vmdk", b"# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 8 FLAT \"flat.raw\" 0\n");
        bed.sh(&format!("cat {file} | melv import - --name v")).exits(14);
        bed.sh(&format!("cat {file} | melv digest -")).exits(14);
    }
}

#[test]
fn a_bundle_does_not_come_from_a_pipe() {
    let bed = prepared();
    for line in ["melv import - --name b", "melv digest -", "melv compare web -"] {
        bed.sh(&format!("cat web.melv | {line}")).exits(14).says("bundle");
    }
    bed.sh("cat web.melv | melv load -").exits(2).says("write it to a file first");
    bed.sh("cat web.melv | melv import - --name b --format bundle").exits(2).says("write it to a file first");
}

#[test]
fn raw_disks_come_whole_whatever_their_length() {
    let bed = bed();
    for len in
        [512, 1024, 65_024, 65_536, 66_048, 1 << 20, (1 << 20) + 512, 3 << 20, (8 << 20) + 512, 17 << 20]
    {
        bed.write("d.raw", &noise(len as u64, len));
        let content = bed.json(&["import", "d.raw", "--name", "d", "--replace"])["content"].clone();
        for threads in ["1", "3"] {
            let line = format!("cat d.raw | melv import - --name p --replace --json --threads {threads}");
            assert_eq!(bed.sh(&line).exits(0).json()["content"], content, "{len}");
            let line = format!("cat d.raw | melv digest - --json --threads {threads}");
            assert_eq!(bed.sh(&line).exits(0).json()["content"], content, "{len}");
            bed.sh(&format!("cat d.raw | melv compare d - --threads {threads}")).exits(0);
        }
    }
    // The bytes arrive one at a time.
    bed.sh("head -c 3000 d.raw >small.raw; dd if=small.raw bs=1 status=none | melv import - --name s --pad")
        .exits(0);
    bed.melv(&["compare", "s", "small.raw"]).exits(5).says("");
    let padded = [bed.read("small.raw"), vec![0; 72]].concat();
    bed.write("padded.raw", &padded);
    bed.melv(&["compare", "s", "padded.raw"]).exits(0);
}

#[test]
fn every_warning_of_an_import_is_in_json_also_where_nothing_is_said() {
    let bed = prepared();
    for (file, line) in [
        ("sparse.vmdk", "melv import odd.vmdk"),
        ("stream.vmdk", "melv import odd.vmdk"),
        ("stream.vmdk", "cat odd.vmdk | melv import -"),
        ("stream.vmdk", "melv import --from-command"),
    ] {
        // An unclean shutdown of the disk is worth a warning, but no reason to refuse it.
        let mut bytes = bed.read(file);
        bytes[72] = 1;
        bed.write("odd.vmdk", &bytes);
        let command = if line.ends_with("command") { " -- cat odd.vmdk" } else { "" };
        let import =
            |options: &str| bed.sh(&format!("{line} --name odd --replace {options}{command}")).exits(0);
        let told = |ran: &common::Ran| ran.json()["warnings"].to_string();
        import("").says("closed cleanly");
        let ran = import("--json");
        assert!(told(&ran).contains("closed cleanly"), "{line}: {}", ran.stdout());
        let ran = import("--json -q");
        assert!(told(&ran).contains("closed cleanly") && ran.stderr().is_empty(), "{line}: {}", ran.stdout());
        assert_eq!(import("-q").stderr(), "");
    }
    // Warnings about the store are included, too.
    bed.sh("for log in store/index/*/* store/index/*; do test -f $log && echo rubbish >$log; done; true")
        .exits(0);
    let ran = bed.sh("melv import new.raw --json -q").exits(0);
    assert!(ran.json()["warnings"].to_string().contains("index"), "{}", ran.stdout());
    assert_eq!(ran.stderr(), "");
}

#[test]
fn exit_2_a_terminal_is_not_waited_for() {
    let bed = prepared();
    if !bed.sh("command -v script >/dev/null").output.status.success() {
        println!("skipped: there is no `script` to make a terminal");
        return;
    }
    for line in ["melv import - --name t", "melv digest -", "melv load -", "melv compare web -"] {
        let ran = bed.sh(&format!("timeout 20 script -qec '{line}' /dev/null </dev/null"));
        let code = ran.output.status.code();
        assert_eq!(code, Some(2), "{line}: {}{}", ran.stdout(), ran.stderr());
        assert!(ran.stdout().contains("terminal"), "{line}: {}", ran.stdout());
    }
}
