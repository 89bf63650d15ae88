//! Checks the table of rules in the crate's docs: each rule must name an existing test.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeSet;
use std::path::Path;

const RULES_MIN: usize = 40;

/// Returns the names of the tests in this folder.
fn tests() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = files.filter(|path| path.is_file()).map(|path| std::fs::read_to_string(path).unwrap());
    let names = |text: String| -> Vec<String> {
        let behind = text.split("#[test]\nfn ").skip(1);
        behind.map(|rest| rest.split('(').next().unwrap().to_owned()).collect()
    };
    texts.flat_map(names).collect()
}

/// Returns the rules and the names of their tests.
fn table() -> Vec<(String, String)> {
    let docs = include_str!("../src/lib.rs");
    let (_, table) = docs.split_once("//! | rule | test |\n//! |---|---|\n").unwrap();
    let rows = table.lines().map_while(|line| line.strip_prefix("//! | "));
    let row = |row: &str| {
        let (rule, test) = row.trim_end_matches(" |").rsplit_once(" | ").unwrap();
        (rule.to_owned(), test.trim_matches('`').to_owned())
    };
    rows.map(row).collect()
}

#[test]
fn each_rule_has_its_test() {
    let (table, tests) = (table(), tests());
    assert!(table.len() >= RULES_MIN, "{} rules", table.len());
    let without: Vec<_> = table.iter().filter(|(_, test)| !tests.contains(test)).collect();
    assert!(without.is_empty(), "no such test: {without:#?}");
    let rules: BTreeSet<_> = table.iter().map(|(rule, _)| rule).collect();
    assert_eq!(rules.len(), table.len(), "a rule is there twice");
}
