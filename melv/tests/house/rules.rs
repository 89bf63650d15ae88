//! The tables of the house, and the rules that one file can break.

use super::source::{Source, functions, names};

/// The crates, by folder, and the crates of the house that each may depend on.
pub const CRATES: &[(&str, &[&str])] = &[
    ("block", &[]),
    ("format", &["melv-block"]),
    ("disks", &["melv-block"]),
    ("serve", &["melv-block", "melv-format"]),
    ("melv", &["melv-block", "melv-disks", "melv-format"]),
    ("nbd", &["melv-block", "melv-serve"]),
    ("fuse", &["melv-block", "melv-serve"]),
    ("appliance/init", &[]),
    ("appliance", &["melv-block", "melv-init"]),
    ("cli", &["melv", "melv-appliance", "melv-fuse", "melv-nbd", "melv-serve"]),
    // Nobody but tests, benches and fuzz targets may name it.
    ("testing", &["melv-block", "melv-disks", "melv-format", "melv-nbd", "melv-serve"]),
    ("benches", &["melv", "melv-fuse", "melv-serve"]),
];

/// Files (by how their path in `src` begins) and the words that their code may not contain.
pub const MAY_NOT_NAME: &[(&[&str], &[&str])] = &[
    // Pure: bytes to values. No file, no policy.
    (
        &[
            "format/ondisk/",
            "format/codec/",
            "format/digest/",
            "format/content.rs",
            "format/limits.rs",
            "format/fault.rs",
            "format/guard.rs",
            "format/map.rs",
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
            "crate::verify",
            "crate::usage",
            "crate::compare",
            "crate::cache",
            "rustix",
            "rayon",
            "tracing",
        ],
    ),
    (&["format/ondisk/"], &["std::io", "zstd::", "crate::error"]),
    (&["format/digest/", "format/limits.rs"], &["crate::ondisk", "crate::codec"]),
    (&["format/codec/"], &["crate::ondisk", "crate::digest"]),
    (
        &["format/storage/"],
        &[
            "crate::store",
            "crate::ondisk",
            "crate::codec",
            "crate::digest",
            "crate::image",
            "crate::index",
            "crate::import",
            "crate::verify",
            "crate::usage",
            "crate::error",
            "crate::cache",
        ],
    ),
    (
        &["format/cache/"],
        &["crate::storage", "crate::store", "crate::image", "crate::index", "crate::import"],
    ),
    (
        &["format/store/"],
        &["crate::image", "crate::import", "crate::index", "crate::verify", "crate::usage", "crate::compare"],
    ),
    (
        &["format/write/"],
        &[
            "crate::storage",
            "crate::store",
            "crate::cache",
            "crate::image",
            "crate::index",
            "crate::heal",
            "crate::import",
            "crate::bundle",
            "crate::verify",
            "crate::usage",
            "rayon",
            "std::fs",
        ],
    ),
    (&["format/index/"], &["crate::image", "crate::import", "crate::verify", "crate::usage"]),
    (&["format/image/"], &["crate::import", "crate::index", "crate::verify", "crate::usage"]),
    (&["format/heal/"], &["crate::image", "crate::import", "crate::bundle", "crate::verify", "crate::usage"]),
    (
        &[
            "format/store/",
            "format/storage/",
            "format/image/",
            "format/index/",
            "format/ondisk/",
            "format/cache/",
        ],
        &["crate::heal"],
    ),
    (&["format/import/"], &["crate::verify", "crate::usage"]),
    (&["format/bundle/"], &["crate::import", "crate::index", "crate::verify", "crate::usage"]),
    (
        &["format/store/", "format/storage/", "format/image/", "format/index/", "format/ondisk/"],
        &["crate::bundle"],
    ),
    (&["format/verify", "format/usage"], &["crate::import"]),
    // A foreign format: its bytes are read without files.
    (
        &["disks/vmdk/layout/", "disks/plain_name.rs", "disks/warning.rs"],
        &["std::fs", "std::io", "Error", "RawFile", "BlockDevice", "rustix", "rayon"],
    ),
    (
        &["block/container/"],
        &["std::fs", "std::io", "crate::error", "crate::raw_file", "crate::device", "rustix"],
    ),
    // A declaration, a lock, an ELF file and the structures of a disk are bytes to values.
    (
        &[
            "appliance/declaration/",
            "appliance/elf/",
            "appliance/lock/",
            "appliance/record/",
            "appliance/sbom/",
            "appliance/tree.rs",
        ],
        &["std::fs", "crate::build", "crate::sources", "crate::fetch", "crate::apt"],
    ),
    (
        &["appliance/closure/", "appliance/image/"],
        &["crate::build", "crate::fetch", "crate::apt", "crate::disk"],
    ),
    (
        &["appliance/erofs/", "appliance/fat/", "appliance/gpt/"],
        &["crate::declaration", "crate::closure", "crate::image", "crate::build", "std::fs"],
    ),
    (&["appliance/sources/"], &["crate::declaration", "crate::closure", "crate::image", "crate::build"]),
    (&[""], &["async ", "tokio"]),
];

/// Words that the code of these files alone may contain.
pub const ONLY_IN: &[(&str, &[&str])] = &[
    (
        "blake3::",
        &[
            "format/digest/",
            "disks/vmdk/layout/stream_tables.rs",
            "appliance/disk/",
            "appliance/record/",
            "appliance/build/write.rs",
            "testing/",
            "benches/",
        ],
    ),
    ("::zstd", &["format/codec/", "appliance/kernel/", "benches/"]),
    ("zstd::bulk", &["format/codec/zstd.rs", "appliance/kernel/", "benches/"]),
    ("byteorder", &["format/ondisk/cursor.rs", "disks/vmdk/", "nbd/"]),
    ("twox_hash", &["format/guard.rs"]),
    ("self_cell", &["format/cache/"]),
    ("quick_cache", &["format/cache/", "format/index/committed.rs", "format/index/log.rs"]),
    (
        "std::fs",
        &[
            "block/local_file.rs",
            "block/output.rs",
            "block/raw_file.rs",
            "format/storage/real_fs.rs",
            "disks/gated_folder.rs",
            "disks/raw/write.rs",
            "nbd/",
            "fuse/",
            "appliance/",
            "cli/",
            "testing/",
            "benches/",
        ],
    ),
    ("encoding_rs", &["disks/vmdk/layout/encoding.rs"]),
    ("unicode_normalization", &["disks/gated_folder.rs"]),
    (
        "flate2",
        &["disks/vmdk/layout/grain.rs", "disks/vmdk/write/stream.rs", "appliance/", "testing/", "benches/"],
    ),
    (
        "SystemTime",
        &[
            "format/store/commit.rs",
            "block/",
            "serve/",
            "nbd/",
            "fuse/",
            "cli/",
            "benches/",
            // The age of lists and of files in a cache; the clock of a machine.
            "appliance/apt/state.rs",
            "appliance/fetch/cache.rs",
            "appliance/init/network/",
            // Files of a source get the time of its package.
            "appliance/kernel/tailored/source.rs",
        ],
    ),
    ("rustls", &["nbd/", "appliance/fetch/", "benches/"]),
    ("ureq", &["appliance/fetch/"]),
    ("toml::", &["appliance/declaration/", "appliance/lock/", "appliance/closure/rules.rs"]),
    ("object::", &["appliance/elf/", "appliance/kernel/modinfo.rs"]),
    ("unsafe ", &["appliance/init/sys/"]),
    ("fuser", &["fuse/", "benches/"]),
    ("clap", &["cli/"]),
];

/// The most lines of a file.
pub const FILE_LINES_MAX: usize = 600;
/// A function has fewer lines than this.
pub const FUNCTION_LINES_MAX: usize = 70;

/// `use crate::{store::x, image}` as if each were written out.
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

/// Decisions by the text of an error: a pattern with a literal operation or name, or a message searched.
fn decides_by_text(code: &str) -> bool {
    let dense: String = code.split_whitespace().collect();
    let is_pattern = |word: &str| {
        dense
            .match_indices(word)
            .any(|(at, _)| dense[at..].split('}').next().is_some_and(|end| end.ends_with("..")))
    };
    let searched = ["contains(", "starts_with(", "ends_with(", "eq("];
    is_pattern("operation:,")
        || is_pattern("what:,")
        || searched.iter().any(|way| dense.contains(&format!("error.to_string().{way}")))
}

/// The rules that one file breaks.
pub fn broken_rules(source: &Source) -> Vec<String> {
    let path = &source.path;
    let code = expand_imports(&source.code.replace("super::super::", "crate::"));
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
    if decides_by_text(&source.code) {
        broken.push(format!("{path} decides by the text of an error"));
    }
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        broken.push(format!("{path} has {lines} lines, more than {FILE_LINES_MAX}"));
    }
    for (name, lines) in functions(&source.text) {
        if lines >= FUNCTION_LINES_MAX {
            broken.push(format!("{path}: fn {name} has {lines} lines, not below {FUNCTION_LINES_MAX}"));
        }
    }
    broken
}
