//! The architecture: the layers each module may use, the files each crate may appear in, and the length of
//! functions and files. The table is the ladder of `lib.rs`; a planted upward call fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Files (by prefix of their path in `src`) and the words that their code may not contain.
const MAY_NOT_NAME: &[(&[&str], &[&str])] = &[
    // Pure: bytes to values. No file, no policy.
    (
        &[
            "ondisk/",
            "codec/",
            "digest/",
            "container.rs",
            "content.rs",
            "limits.rs",
            "fault.rs",
            "guard.rs",
            "map.rs",
        ],
        &[
            "std::fs",
            "std::io::Read",
            "std::io::Write",
            "crate::storage",
            "crate::store",
            "crate::image",
            "crate::index",
            "crate::import",
            "crate::export",
            "crate::verify",
            "crate::space",
            "crate::compare",
            "crate::source",
            "crate::cache",
            "crate::device",
            "rustix",
            "rayon",
            "tracing",
        ],
    ),
    (&["ondisk/"], &["std::io", "zstd::", "crate::error"]),
    // A foreign format: its bytes are interpreted without files and without the store.
    (
        &[
            "vmdk/descriptor.rs",
            "vmdk/encoding.rs",
            "vmdk/extent.rs",
            "vmdk/grain.rs",
            "vmdk/header.rs",
            "vmdk/layout.rs",
            "vmdk/limits.rs",
            "vmdk/marker.rs",
            "vmdk/parent.rs",
            "vmdk/probe.rs",
            "vmdk/stream_tables.rs",
            "vmdk/tables.rs",
            "vmdk/warning.rs",
        ],
        &["std::fs", "std::io", "crate::error", "crate::source", "crate::device", "rustix", "rayon"],
    ),
    (
        &["vmdk/"],
        &[
            "crate::store",
            "crate::storage",
            "crate::image",
            "crate::import",
            "crate::index",
            "crate::verify",
            "crate::space",
            "crate::ondisk",
            "crate::codec",
        ],
    ),
    (&["digest/", "limits.rs"], &["crate::ondisk", "crate::codec"]),
    (&["codec/"], &["crate::ondisk", "crate::digest"]),
    (
        &["storage/"],
        &[
            "crate::store",
            "crate::ondisk",
            "crate::codec",
            "crate::digest",
            "crate::image",
            "crate::index",
            "crate::import",
            "crate::export",
            "crate::verify",
            "crate::space",
            "crate::error",
            "crate::cache",
        ],
    ),
    (&["cache/"], &["crate::storage", "crate::store", "crate::image", "crate::index", "crate::import"]),
    (
        &["store/"],
        &[
            "crate::image",
            "crate::import",
            "crate::index",
            "crate::export",
            "crate::verify",
            "crate::space",
            "crate::compare",
            "crate::source",
            "crate::device",
        ],
    ),
    (
        &["index/"],
        &["crate::image", "crate::import", "crate::export", "crate::verify", "crate::space", "crate::source"],
    ),
    (
        &["image/"],
        &["crate::import", "crate::index", "crate::export", "crate::verify", "crate::space", "crate::source"],
    ),
    (
        &["heal/"],
        &[
            "crate::image",
            "crate::import",
            "crate::bundle",
            "crate::export",
            "crate::verify",
            "crate::space",
            "crate::source",
        ],
    ),
    (&["store/", "storage/", "image/", "index/", "ondisk/", "cache/"], &["crate::heal"]),
    // Front ends and tools see disks only through this.
    (&["device.rs"], &["crate::store", "crate::image", "crate::ondisk", "crate::index", "crate::import"]),
    (
        &["source.rs", "output.rs", "export.rs", "compare.rs", "signature.rs", "zeros.rs"],
        &["crate::store", "crate::storage", "crate::image", "crate::index", "crate::import", "crate::verify"],
    ),
    (&["import/"], &["crate::export", "crate::verify", "crate::space"]),
    (
        &["bundle/"],
        &["crate::import", "crate::index", "crate::export", "crate::verify", "crate::space", "crate::source"],
    ),
    (&["store/", "storage/", "image/", "index/", "ondisk/"], &["crate::bundle"]),
    (&["verify", "space"], &["crate::import", "crate::export", "crate::source"]),
    (&[""], &["unsafe ", "async ", "tokio"]),
];

/// Words that only the code of these files may contain.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("blake3::", &["digest/"]),
    ("::zstd", &["codec/"]),
    ("zstd::bulk", &["codec/zstd.rs"]),
    ("byteorder", &["ondisk/cursor.rs"]),
    ("twox_hash", &["guard.rs"]),
    ("quick_cache", &["cache/", "index/committed.rs", "index/log.rs"]),
    (
        "std::fs",
        &["storage/real_fs.rs", "storage/medium.rs", "source.rs", "output.rs", "export.rs", "vmdk/files.rs"],
    ),
    (
        "rustix",
        &[
            "folder_sync.rs",
            "storage/real_fs.rs",
            "storage/medium.rs",
            "source.rs",
            "output.rs",
            "export.rs",
            "vmdk/files.rs",
        ],
    ),
    ("encoding_rs", &["vmdk/encoding.rs"]),
    ("unicode_normalization", &["vmdk/files.rs"]),
    ("flate2", &["vmdk/grain.rs", "vmdk/write_stream.rs"]),
    ("SystemTime", &["store/commit.rs"]),
];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Returns the code of a file, without comments, tests, and the content of quotes.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut code = String::new();
    for line in text.lines() {
        let mut quoted = false;
        let mut chars = line.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '\\' if quoted => drop(chars.next()),
                // A quoted quote is a character, not the beginning of a text.
                '\'' if !quoted && chars.peek() == Some(&'"') => drop(chars.next()),
                '"' => quoted = !quoted,
                '/' if !quoted && chars.peek() == Some(&'/') => break,
                char if !quoted => code.push(char),
                _ => {}
            }
        }
        code.push('\n');
    }
    code
}

/// Expands `use crate::{store::x, image}` as if each path were written out.
fn expand_imports(code: &str) -> String {
    let mut expanded = String::from(code);
    let joined = code.replace('\n', " ");
    for part in joined.split("crate::{").skip(1) {
        let mut depth = 0;
        let mut item = String::from("crate::");
        for char in part.chars() {
            match char {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expanded.push_str(&item);
                    expanded.push('\n');
                    item = String::from("crate::");
                    continue;
                }
                _ => {}
            }
            if !char.is_whitespace() {
                item.push(char);
            }
        }
        expanded.push_str(&item);
        expanded.push('\n');
    }
    expanded
}

/// Whether `code` names `word` as a whole path part: `crate::store` is not `crate::storage`, nor is
/// `codec::zstd` the crate `::zstd`.
fn names(code: &str, word: &str) -> bool {
    let is_part = |char: char| char.is_alphanumeric() || char == '_';
    let ends_in_part = word.ends_with(is_part);
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !(before.is_some_and(is_part) || ends_in_part && after.is_some_and(is_part))
    })
}

/// Returns the violations in one file.
fn broken_rules(path: &str, text: &str) -> Vec<String> {
    let code = expand_imports(&code(text).replace("super::super::", "crate::"));
    let mut broken = Vec::new();
    for (files, words) in MAY_NOT_NAME {
        if files.iter().any(|file| path.starts_with(file)) {
            let named = words.iter().filter(|word| names(&code, word));
            broken.extend(named.map(|word| format!("{path} names {word}, which lies above it")));
        }
    }
    for (word, files) in ONLY_IN {
        if !files.iter().any(|file| path.starts_with(file)) && names(&code, word) {
            broken.push(format!("{path} names {word}, which belongs to {files:?}"));
        }
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        broken.push(format!("{path} has {lines} lines, more than {FILE_LINES_MAX}"));
    }
    for (name, lines) in functions(text) {
        if lines >= FUNCTION_LINES_MAX {
            broken.push(format!("{path}: fn {name} has {lines} lines, not below {FUNCTION_LINES_MAX}"));
        }
    }
    broken
}

/// Returns functions and their lines, including signature and braces. A function ends at a brace with its own
/// indentation, which rustfmt ensures.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let Some(name) = line.trim_start().split("fn ").nth(1).filter(|_| is_function(line)) else {
            continue;
        };
        let name = name.split(['(', '<']).next().unwrap_or_default().to_owned();
        let is_end =
            |line: &&str| line.len() > indent && &line[indent..] == "}" && line[..indent].trim().is_empty();
        let is_short = |line: &str| line.trim_end().ends_with(';') || line.trim_end().ends_with('}');
        let len = match lines[at..].iter().position(is_end) {
            Some(end) if !is_short(line) => end + 1,
            _ => 1,
        };
        found.push((name, len));
    }
    found
}

fn is_function(line: &str) -> bool {
    let line = line.trim_start();
    let before = line.split("fn ").next().unwrap_or_default();
    line.contains("fn ")
        && before.split_whitespace().all(|word| word == "const" || word.starts_with("pub"))
        && !line.starts_with("//")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let relative = |path: &PathBuf| path.strip_prefix(&root).expect("below src").display().to_string();
    paths.iter().map(|path| (relative(path), std::fs::read_to_string(path).expect("text"))).collect()
}

#[test]
fn every_file_keeps_to_its_place() {
    let sources = all_sources();
    assert!(sources.len() > 40, "{} files", sources.len());
    let broken: Vec<_> = sources.iter().flat_map(|(path, text)| broken_rules(path, text)).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_row_of_the_table_is_about_files_that_exist() {
    let sources = all_sources();
    let files = MAY_NOT_NAME.iter().flat_map(|(files, _)| files.iter());
    for file in files.chain(ONLY_IN.iter().flat_map(|(_, files)| files.iter())) {
        assert!(sources.keys().any(|path| path.starts_with(file)), "{file}");
    }
    // Each listed file must use its word: a row without a match is stale.
    for (word, files) in ONLY_IN {
        let named =
            |file: &&&str| sources.iter().any(|(path, text)| path.starts_with(**file) && names(text, word));
        assert!(files.iter().any(|file| named(&file)), "{word} in {files:?}");
    }
}

#[test]
fn a_planted_call_upwards_is_found() {
    let planted = [
        ("ondisk/manifest.rs", "use crate::store::Store;"),
        ("ondisk/list.rs", "    let file = std::fs::read(path)?;"),
        ("ondisk/pack.rs", "use std::io;"),
        ("codec/zstd.rs", "use crate::{digest::Digest, fault::Fault};"),
        ("storage/memory.rs", "use crate::store::names;"),
        ("storage/file.rs", "let file = std::fs::File::open(path)?;"),
        ("store/refs.rs", "fn up() { crate::image::Image::open(); }"),
        ("store/list.rs", "use crate::{\n    cache::Cache,\n    index::{CommittedIndex, Digests},\n};"),
        ("store/open.rs", "use super::super::image::Image;"),
        ("image/read.rs", "use crate::import::ImportOptions;"),
        ("index/log.rs", "use crate::image::Image;"),
        ("index/health.rs", "use crate::heal;"),
        ("device.rs", "use crate::ondisk::pack;"),
        ("cache/mod.rs", "use crate::store::Shared;"),
        ("store/frames.rs", "let digest = blake3::hash(bytes);"),
        ("import/packer.rs", "let made = ::zstd::bulk::compress(bytes, 3);"),
        ("ondisk/frame.rs", "use byteorder::LittleEndian;"),
        ("store/frames.rs", "use twox_hash::XxHash3_64;"),
        ("image/read.rs", "use quick_cache::sync::Cache;"),
        ("import/run.rs", "use std::fs::File;"),
        ("import/finish.rs", "let now = SystemTime::now();"),
        ("vmdk/tables.rs", "use crate::source::RawFile;"),
        ("vmdk/disk.rs", "let file = std::fs::File::open(path)?;"),
        ("vmdk/stream.rs", "use crate::import::ImportOptions;"),
        ("vmdk/descriptor.rs", "use encoding_rs::UTF_8;"),
        ("image/walk.rs", "let raw = unsafe { *pointer };"),
    ];
    for (path, line) in planted {
        let text = |line: &str| format!("//! A room.\n\nuse std::sync::Arc;\n{line}\n");
        assert_eq!(broken_rules(path, &text("")), Vec::<String>::new(), "{path}");
        assert!(!broken_rules(path, &text(line)).is_empty(), "{path}: {line}: nobody noticed");
    }
}

#[test]
fn what_only_looks_like_a_call_upwards_is_not_taken_for_one() {
    let innocent = [
        ("ondisk/manifest.rs", "//! See [`crate::store`], which uses std::fs.\n/// And crate::image."),
        ("ondisk/list.rs", "let text = \"crate::store and std::io\"; // crate::image"),
        ("store/open.rs", "use crate::storage::Storage;"),
        ("storage/mod.rs", "let quote = '\"'; let fine = 1; // crate::store"),
        (
            "image/read.rs",
            "use crate::store::names;\n\n#[cfg(test)]\nmod tests {\n    use crate::import::X;\n}",
        ),
        ("store/frames.rs", "let x = my_blake3::hash();"),
    ];
    for (path, text) in innocent {
        assert_eq!(broken_rules(path, text), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn a_long_function_and_a_long_file_are_found() {
    let body = "        step();\n".repeat(FUNCTION_LINES_MAX - 2);
    let long =
        format!("impl Room {{\n    pub(crate) fn long(\n        &self,\n    ) -> u8 {{\n{body}    }}\n}}\n");
    let broken = broken_rules("store/open.rs", &long);
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert!(broken[0].contains("fn long has 72 lines"), "{broken:?}");
    let fine = long.replacen("        step();\n", "", 3);
    assert_eq!(broken_rules("store/open.rs", &fine), Vec::<String>::new());
    let file = "step();\n".repeat(FILE_LINES_MAX + 1);
    assert_eq!(broken_rules("store/open.rs", &file).len(), 1);
    let short = "fn one() -> u8 { 1 }\ntrait T {\n    fn two(&self);\n    fn three(&self) {\n    }\n}\n";
    let found: Vec<_> = functions(short).into_iter().map(|(name, lines)| format!("{name} {lines}")).collect();
    assert_eq!(found, ["one 1", "two 1", "three 2"]);
}
