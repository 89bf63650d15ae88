//! Names of libraries in the strings of a file.

use std::collections::BTreeSet;

/// Longest name of a file in bytes: `NAME_MAX` of Linux.
const MAX_NAME: usize = 255;

/// Finds names that `known` has among the words of a file, in their order, each once.
///
/// A word is letters, digits and `_+-.`, as long as it gets; dots at its end are a sentence's. Only words with `.so`
/// are asked for. A program that calls `dlopen` with a constant has the name of the library as such a word.
pub fn library_names<'k>(bytes: &[u8], known: impl Fn(&[u8]) -> Option<&'k [u8]>) -> BTreeSet<&'k [u8]> {
    let mut found = BTreeSet::new();
    // `.so` is rare; words are looked for around it alone.
    let mut position = 0;
    while let Some(at) = find(&bytes[position..]) {
        let hit = position + at;
        let before =
            bytes[position..hit].iter().rev().take(MAX_NAME).take_while(|byte| is_word(**byte)).count();
        let after = bytes[hit..].iter().take(MAX_NAME).take_while(|byte| is_word(**byte)).count();
        let word = &bytes[hit - before..hit + after];
        let end = word.iter().rposition(|byte| *byte != b'.').map_or(0, |last| last + 1);
        if let Some(name) = known(&word[..end]) {
            found.insert(name);
        }
        // The whole word was looked at, and it has at least the three bytes of the hit.
        position = hit + after.max(3);
    }
    found
}

fn find(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    while let Some(at) = bytes[start..].iter().position(|byte| *byte == b'.') {
        let hit = start + at;
        if bytes[hit..].starts_with(b".so") {
            return Some(hit);
        }
        start = hit + 1;
    }
    None
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte)
}
