//! ELF files: real ones against `readelf`, made ones, damaged ones.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::{collections::BTreeSet, fs, process::Command};

use melv_appliance::elf::{Elf, ElfFault, MAX_NEEDED, Priority, library_names, parse};
use support::{Random, fetch};

const NEEDED: u64 = 1;
const STRTAB: u64 = 5;
const SONAME: u64 = 14;
const RPATH: u64 = 15;
const RUNPATH: u64 = 29;

/// A library with an interpreter, a dynamic section and a note.
fn library(entries: &[(u64, &str)], note: &str) -> Vec<u8> {
    let mut strings = vec![0];
    let mut dynamic: Vec<u64> = Vec::new();
    for (tag, text) in entries {
        dynamic.extend([*tag, strings.len() as u64]);
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
    }
    let headers = 64 + 56 * 4;
    let interpreter = b"/lib64/ld.so\0\0\0\0";
    let mut description = note.as_bytes().to_vec();
    description.push(0);
    let mut notes: Vec<u8> = Vec::new();
    for word in [4, description.len() as u32, 0x407c_0c0a] {
        notes.extend(word.to_le_bytes());
    }
    notes.extend(b"FDO\0");
    notes.extend(&description);
    notes.resize(notes.len().next_multiple_of(8), 0);
    let at_strings = headers + interpreter.len() + notes.len();
    dynamic.extend([STRTAB, 0x1000 + at_strings as u64, 0, 0]);
    strings.resize(strings.len().next_multiple_of(8), 0);
    let at_dynamic = at_strings + strings.len();
    let total = at_dynamic + dynamic.len() * 8;
    let mut bytes = vec![0; 64];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    bytes[16..20].copy_from_slice(&[3, 0, 62, 0]);
    bytes[20] = 1;
    bytes[32] = 64;
    bytes[52] = 64;
    bytes[54] = 56;
    bytes[56] = 4;
    for (kind, at, len, align) in [
        (1_u32, 0, total, 4096),
        (3, headers, interpreter.len(), 1),
        (4, headers + interpreter.len(), notes.len(), 4),
        (2, at_dynamic, dynamic.len() * 8, 8),
    ] {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(4_u32.to_le_bytes());
        for field in [at, 0x1000 + at, 0x1000 + at, len, len, align] {
            bytes.extend((field as u64).to_le_bytes());
        }
    }
    bytes.extend(interpreter);
    bytes.extend(notes);
    bytes.extend(strings);
    bytes.extend(dynamic.iter().flat_map(|word| word.to_le_bytes()));
    bytes
}

const NOTE: &str =
    r#"[{"feature":"lz4","description":"x","priority":"suggested","soname":["liblz4.so.1","liblz4.so"]}]"#;

#[test]
fn needs_of_a_library_are_read() {
    let bytes = library(
        &[
            (NEEDED, "liba.so.1"),
            (SONAME, "me.so"),
            (NEEDED, "libb.so"),
            (RPATH, "/r"),
            (RUNPATH, "$ORIGIN/x:/y"),
        ],
        NOTE,
    );
    let found = parse(&bytes).unwrap();
    assert_eq!(found.needed, [&b"liba.so.1"[..], b"libb.so"]);
    assert_eq!(found.interpreter, Some(&b"/lib64/ld.so"[..]));
    assert_eq!(
        (found.soname, found.rpath, found.runpath),
        (Some(&b"me.so"[..]), Some(&b"/r"[..]), Some(&b"$ORIGIN/x:/y"[..]))
    );
    assert_eq!(found.dlopen.len(), 1);
    assert_eq!(
        (found.dlopen[0].priority, found.dlopen[0].soname[1].as_str()),
        (Priority::Suggested, "liblz4.so")
    );
    assert!(parse(&library(&[], "[{\"soname\":3}]")).unwrap().dlopen.is_empty());
}

#[test]
fn ten_thousand_needs_are_refused_and_the_most_that_are_allowed_are_read() {
    let names: Vec<String> = (0..10_000).map(|at| format!("lib{at}.so")).collect();
    let entries: Vec<(u64, &str)> = names.iter().map(|name| (NEEDED, name.as_str())).collect();
    assert_eq!(
        parse(&library(&entries, "")),
        Err(ElfFault::TooMany { thing: "needed libraries", limit: MAX_NEEDED })
    );
    assert_eq!(parse(&library(&entries[..MAX_NEEDED], "")).unwrap().needed.len(), MAX_NEEDED);
}

#[test]
fn other_machines_and_other_files_have_faults_of_their_own() {
    let change = |at: usize, value: u8| {
        let mut bytes = library(&[(NEEDED, "x.so")], "");
        bytes[at] = value;
        parse(&bytes).err()
    };
    assert_eq!(parse(b"#!/bin/sh").err(), Some(ElfFault::NoElf));
    assert_eq!(parse(b"").err(), Some(ElfFault::NoElf));
    for (at, value) in [(4, 1), (5, 2), (18, 183), (16, 1), (16, 4)] {
        assert!(matches!(change(at, value), Some(ElfFault::Foreign { .. })), "{at}");
    }
    for (at, value) in [(33, 0xff), (54, 7)] {
        assert_eq!(change(at, value), Some(ElfFault::Damaged("table of program headers")), "{at}");
    }
}

#[test]
#[ignore = "needs packages of Debian: make check-appliances"]
fn needs_of_real_libraries_are_those_that_readelf_reads() {
    let mut count = 0;
    for folder in fetch("bookworm", "nginx", &["nginx", "libc-bin", "ncurses-base"]) {
        let files = Command::new("find").arg(folder.join("data")).args(["-type", "f"]).output().unwrap();
        for path in String::from_utf8(files.stdout).unwrap().lines() {
            let bytes = fs::read(path).unwrap();
            let Ok(found) = parse(&bytes) else { continue };
            let output = Command::new("readelf").args(["-dW", path]).env("LC_ALL", "C").output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let field = |tag: &str| -> Vec<String> {
                let lines = text.lines().filter(|line| line.contains(tag));
                lines.map(|line| line.rsplit_once('[').unwrap().1.trim_end_matches(']').to_owned()).collect()
            };
            let shown = |name: &&[u8]| String::from_utf8_lossy(name).into_owned();
            assert_eq!(found.needed.iter().map(shown).collect::<Vec<_>>(), field("(NEEDED)"), "{path}");
            assert_eq!(found.soname.iter().map(shown).collect::<Vec<_>>(), field("(SONAME)"), "{path}");
            assert_eq!(found.runpath.iter().map(shown).collect::<Vec<_>>(), field("(RUNPATH)"), "{path}");
            count += 1;
        }
    }
    assert!(count > 60, "{count}");
}

#[test]
fn names_of_libraries_are_found_as_words() {
    let known = ["libgcc_s.so.1", "liba++.so", "b.so"];
    let find = |text: &str| {
        let known = |word: &[u8]| known.iter().map(|name| name.as_bytes()).find(|name| *name == word);
        library_names(text.as_bytes(), known)
            .into_iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(find("\0libgcc_s.so.1\0"), ["libgcc_s.so.1"]);
    assert_eq!(find("cannot open libgcc_s.so.1. Stop /x/liba++.so"), ["liba++.so", "libgcc_s.so.1"]);
    assert_eq!(find("b.so"), ["b.so"]);
    assert!(find("lb.so xlibgcc_s.so.1 libgcc_s.so.12 .so so").is_empty());
    assert!(find(&".so".repeat(100_000)).is_empty());
}

/// Body of a fuzz target: any bytes are a value or a fault.
fn any_elf(bytes: &[u8]) {
    let known: BTreeSet<&[u8]> = [&b"liba.so.1"[..]].into();
    let _ = library_names(bytes, |name| known.get(name).copied());
    if let Ok(Elf { needed, .. }) = parse(bytes) {
        assert!(needed.len() <= MAX_NEEDED);
    }
}

#[test]
fn damaged_files_are_a_value_or_a_fault() {
    let mut random = Random(0x656c_6631);
    let whole = library(&[(NEEDED, "liba.so.1"), (SONAME, "me"), (RUNPATH, "$ORIGIN")], NOTE);
    for _ in 0..100_000 {
        let mut bytes = whole.clone();
        let all = bytes.len();
        random.mutate(&mut bytes, all);
        any_elf(&bytes);
    }
}
