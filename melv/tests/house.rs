//! The house keeps its shape: which crate may know which, which room of a crate may know which, no circle of
//! files anywhere, where each outside crate is named, and the length of files and functions. The tables are
//! those of CONTRIBUTING.md; a planted call upwards fails.

#[path = "house/graph.rs"]
mod graph;
#[path = "house/rules.rs"]
mod rules;
#[path = "house/source.rs"]
mod source;

use std::collections::BTreeSet;

use rules::{CRATES, FILE_LINES_MAX, FUNCTION_LINES_MAX, MAY_NOT_NAME, ONLY_IN, broken_rules};
use source::{Source, functions, names, root, sources};

/// The sources of all crates; paths begin with the crate's folder.
fn all_sources() -> Vec<Source> {
    let of_crate = |(folder, _): &(&'static str, &[&str])| {
        let folder = *folder;
        let found = sources(&root().join(folder).join("src"));
        found.into_iter().map(move |source| Source { path: format!("{folder}/{}", source.path), ..source })
    };
    CRATES.iter().flat_map(of_crate).collect()
}

#[test]
fn crates_know_the_crates_below_them_alone() {
    for (folder, allowed) in CRATES {
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        let dependencies = manifest.split("[dependencies]").nth(1).expect("dependencies");
        let dependencies = dependencies.split("\n[").next().expect("a section");
        let named = dependencies.lines().filter(|line| line.starts_with("melv"));
        let named: BTreeSet<&str> = named.filter_map(|line| line.split(['.', ' ', '=']).next()).collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert_eq!(named, allowed, "{folder}/Cargo.toml");
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let of_crate = |(folder, _): &(&str, &[&str])| {
        let circles = graph::circles(&graph::arrows(&sources(&root().join(folder).join("src"))));
        circles.into_iter().map(|circle| format!("{folder}: {circle:?}")).collect::<Vec<_>>()
    };
    let circles: Vec<_> = CRATES.iter().flat_map(of_crate).collect();
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn every_file_keeps_to_its_place() {
    let sources = all_sources();
    assert!(sources.len() > 250, "{} files", sources.len());
    let broken: Vec<_> = sources.iter().flat_map(broken_rules).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_row_of_the_tables_is_about_files_that_exist() {
    let sources = all_sources();
    let files = MAY_NOT_NAME.iter().flat_map(|(files, _)| files.iter());
    for file in files.chain(ONLY_IN.iter().flat_map(|(_, files)| files.iter())) {
        assert!(sources.iter().any(|source| source.path.starts_with(file)), "{file}");
    }
    // A word that none of its files names makes a stale row.
    for (word, files) in ONLY_IN {
        let is_named = |source: &Source| {
            files.iter().any(|file| source.path.starts_with(file)) && names(&source.code, word)
        };
        assert!(sources.iter().any(is_named), "{word} in {files:?}");
    }
}

#[test]
fn a_planted_call_upwards_is_found() {
    let planted = [
        ("format/ondisk/manifest.rs", "use crate::store::Store;"),
        ("format/ondisk/list.rs", "    let file = std::fs::read(path)?;"),
        ("format/ondisk/pack.rs", "use std::io;"),
        ("format/codec/zstd.rs", "use crate::{digest::Digest, fault::RuleViolation};"),
        ("format/storage/memory.rs", "use crate::store::names;"),
        ("format/storage/file.rs", "let file = std::fs::File::open(path)?;"),
        ("format/store/refs.rs", "fn up() { crate::image::Image::open(); }"),
        (
            "format/store/list.rs",
            "use crate::{\n    cache::Cache,\n    index::{CommittedIndex, Digests},\n};",
        ),
        ("format/store/open.rs", "use super::super::image::Image;"),
        ("format/image/read.rs", "use crate::import::ImportOptions;"),
        ("format/index/log.rs", "use crate::image::Image;"),
        ("format/index/health.rs", "use crate::heal;"),
        ("format/write/pack.rs", "use crate::store::stage::Stage;"),
        ("format/cache/mod.rs", "use crate::store::Shared;"),
        ("format/store/frames.rs", "let digest = blake3::hash(bytes);"),
        ("format/import/packer.rs", "let made = ::zstd::bulk::compress(bytes, 3);"),
        ("format/ondisk/frame.rs", "use byteorder::LittleEndian;"),
        ("format/store/frames.rs", "use twox_hash::XxHash3_64;"),
        ("format/image/read.rs", "use quick_cache::sync::Cache;"),
        ("format/import/run.rs", "use std::fs::File;"),
        ("format/import/trees.rs", "let now = SystemTime::now();"),
        ("disks/vmdk/layout/tables.rs", "use melv_block::RawFile;"),
        ("disks/vmdk/read/disk.rs", "let file = std::fs::File::open(path)?;"),
        ("disks/vmdk/layout/descriptor.rs", "use encoding_rs::UTF_8;"),
        ("format/image/walk.rs", "let raw = unsafe { *pointer };"),
        ("cli/hint.rs", "match error { BlockError::Io { operation: \"lock\", .. } => 1 }"),
        ("cli/exit.rs", "if error.to_string().contains(\"lock\") {}"),
    ];
    for (path, line) in planted {
        let source = |line: &str| Source::new(path, format!("//! A room.\n\nuse std::sync::Arc;\n{line}\n"));
        assert_eq!(broken_rules(&source("")), Vec::<String>::new(), "{path}");
        assert!(!broken_rules(&source(line)).is_empty(), "{path}: {line}: nobody noticed");
    }
}

#[test]
fn text_that_only_looks_like_a_call_upwards_is_not_taken_for_one() {
    let innocent = [
        ("format/ondisk/manifest.rs", "//! See [`crate::store`], which uses std::fs.\n/// And crate::image."),
        ("format/ondisk/list.rs", "let text = \"crate::store and std::io\"; // crate::image"),
        ("format/store/open.rs", "use crate::storage::{LocalFolder, ObjectSource, ObjectStore, Scratch};"),
        ("format/storage/mod.rs", "let quote = '\"'; let fine = 1; // crate::store"),
        (
            "format/image/read.rs",
            "use crate::store::names;\n\n#[cfg(test)]\nmod tests {\n    use crate::import::X;\n}",
        ),
        ("format/store/frames.rs", "let x = my_blake3::hash();"),
    ];
    for (path, text) in innocent {
        assert_eq!(broken_rules(&Source::new(path, text.into())), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn a_planted_circle_is_found_through_a_reexport() {
    let of = |files: &[(&str, &str)]| {
        let files: Vec<_> = files.iter().map(|(path, text)| Source::new(path, (*text).into())).collect();
        graph::circles(&graph::arrows(&files)).len()
    };
    let lib = ("lib.rs", "mod store;\nmod image;\npub use store::Store;");
    let room =
        ("store/mod.rs", "mod open;\nmod refs;\npub use open::Store;\npub(crate) use refs::{names, Refs};");
    let image = ("image.rs", "use crate::store::Store;");
    let refs = ("store/refs.rs", "use std::io;\npub struct Refs;");
    assert_eq!(of(&[lib, room, image, refs, ("store/open.rs", "use super::Refs;")]), 0);
    let up = ("store/refs.rs", "use super::{Store, other};");
    assert_eq!(of(&[lib, room, image, up, ("store/open.rs", "fn f() { super::names(); }")]), 1);
    let far = ("store/refs.rs", "use crate::{\n    image::{Image},\n};");
    assert_eq!(of(&[lib, room, image, far, ("store/open.rs", "use super::refs::Refs;")]), 1);
}

#[test]
fn a_long_function_and_a_long_file_are_found() {
    let broken = |text: &str| broken_rules(&Source::new("format/store/open.rs", text.into()));
    let body = "        step();\n".repeat(FUNCTION_LINES_MAX - 2);
    let long =
        format!("impl Room {{\n    pub(crate) fn long(\n        &self,\n    ) -> u8 {{\n{body}    }}\n}}\n");
    assert_eq!(broken(&long).len(), 1);
    assert!(broken(&long)[0].contains("fn long has 72 lines"), "{:?}", broken(&long));
    assert_eq!(broken(&long.replacen("        step();\n", "", 3)), Vec::<String>::new());
    assert_eq!(broken(&"step();\n".repeat(FILE_LINES_MAX + 1)).len(), 1);
    let short = "fn one() -> u8 { 1 }\ntrait T {\n    fn two(&self);\n    fn three(&self) {\n    }\n}\n";
    let found: Vec<_> = functions(short).into_iter().map(|(name, lines)| format!("{name} {lines}")).collect();
    assert_eq!(found, ["one 1", "two 1", "three 2"]);
}
