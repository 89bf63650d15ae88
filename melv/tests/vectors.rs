//! The test vectors of `spec/vectors/`, as promises.
//!
//! The vectors are made here, byte for byte, and compared with the committed files, so that neither the
//! format nor the vectors can change unnoticed. `MELV_WRITE_VECTORS=1` writes them.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod vectors {
    //! The vectors, by the section of the specification that they test.

    pub mod build;
    pub mod bundle_tables;
    pub mod bundles;
    pub mod chunks;
    pub mod draft;
    pub mod frames;
    pub mod future;
    pub mod images;
    pub mod in_part;
    pub mod objects;
    pub mod parse;
    pub mod parts;
    pub mod stores;
    pub mod table;
    pub mod trees;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use vectors::table::{Expect, Vector, files, names};
use vectors::{bundle_tables, bundles, chunks, frames, future, in_part, objects, parse, stores, trees};

/// Rules that no vector can show, each with the reason.
const WITHOUT_VECTOR: &[(&str, &str)] =
    &[("decoded-length", "zstd's own decoder refuses a frame that makes less than it states: zstd-decode")];

fn all() -> Vec<Vector> {
    let parts = [
        objects::vectors(),
        trees::vectors(),
        chunks::vectors(),
        frames::vectors(),
        stores::vectors(),
        in_part::vectors(),
        bundle_tables::vectors(),
        bundles::vectors(),
        future::vectors(),
    ];
    parts.into_iter().flatten().collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/vectors")
}

/// Adds all files in a folder, if it exists.
fn committed(folder: &Path, name: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let part = entry.file_name().into_string().unwrap();
        let name = if name.is_empty() { part } else { format!("{name}/{part}") };
        if entry.path().is_dir() {
            committed(&entry.path(), &name, found);
        } else if name != "README.md" {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}

fn write(made: &BTreeMap<String, Vec<u8>>) {
    for part in ["valid", "invalid", "future"] {
        // The folder may not exist yet.
        let _ = fs::remove_dir_all(folder().join(part));
    }
    for (name, bytes) in made {
        let path = folder().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn the_committed_vectors_are_the_ones_made_here() {
    let made = files(&all());
    if std::env::var_os("MELV_WRITE_VECTORS").is_some() {
        write(&made);
    }
    let mut found = BTreeMap::new();
    committed(&folder(), "", &mut found);
    let (made_names, found_names): (BTreeSet<_>, BTreeSet<_>) =
        (made.keys().collect(), found.keys().collect());
    assert_eq!(made_names, found_names, "run with MELV_WRITE_VECTORS=1 and look at the difference");
    for (name, bytes) in &made {
        assert!(found.get(name) == Some(bytes), "{name} differs from the committed file");
    }
}

#[test]
fn every_vector_is_read_or_refused_as_the_index_says() {
    let mut wrong = Vec::new();
    for vector in all() {
        let found = parse::parse(&vector);
        match (&vector.expect, &found) {
            (Expect::Rule(rule), Err(found)) if rule == found => {}
            (Expect::Ok(values), Ok(found)) if values.iter().all(|value| found.contains(value)) => {}
            (expected, _) => wrong.push(format!("{}: expected {expected:?}, found {found:?}", vector.file)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Excludes pages and their places: another version of zstd may store them differently.
#[test]
fn an_import_makes_the_committed_store_but_for_how_pages_are_stored() {
    let comparable = |mut files: BTreeMap<String, Vec<u8>>| {
        files.retain(|name, _| !name.starts_with("pages/"));
        files
            .iter_mut()
            .filter(|(name, _)| name.starts_with("manifests/"))
            .for_each(|(_, bytes)| bytes.clear());
        files
    };
    assert_eq!(comparable(stores::import()), comparable(stores::imported_files()));
}

#[test]
fn no_two_vectors_have_one_name() {
    let all = all();
    assert_eq!(names(&all).len(), all.len());
}

#[test]
fn every_rule_has_a_vector() {
    let mut shown: BTreeSet<&str> = WITHOUT_VECTOR.iter().map(|(rule, _)| *rule).collect();
    for vector in all() {
        if let Expect::Rule(rule) = vector.expect {
            shown.insert(rule);
        }
    }
    let missing: Vec<_> = melv::fault::RULES.iter().filter(|rule| !shown.contains(*rule)).collect();
    assert!(missing.is_empty(), "rules without a vector: {missing:?}");
    let unknown: Vec<_> = shown.iter().filter(|rule| !melv::fault::RULES.contains(rule)).collect();
    assert!(unknown.is_empty(), "vectors of rules that are none: {unknown:?}");
}

#[test]
fn every_rule_is_in_the_specification() {
    let format = fs::read_to_string(folder().join("../format.md")).unwrap();
    let registry = fs::read_to_string(folder().join("../registry.md")).unwrap();
    let (body, table) = format.split_at(format.find("## Rules").unwrap());
    for rule in melv::fault::RULES {
        let quoted = format!("`{rule}`");
        assert!(body.contains(&quoted), "{rule} is applied nowhere in format.md");
        assert!(table.contains(&quoted), "{rule} is not in the table of rules");
        assert!(registry.contains(&quoted), "{rule} is not in registry.md");
    }
}
