//! The sources of the workspace as text, without comments, tests and the content of quotes.

use std::path::{Path, PathBuf};

/// A source file.
pub struct Source {
    /// The path below the crate's `src`.
    pub path: String,
    pub text: String,
    /// The code alone: see [`code`].
    pub code: String,
}

impl Source {
    pub fn new(path: &str, text: String) -> Self {
        Self { path: path.into(), code: code(&text), text }
    }
}

/// The code of a file: no comments, no tests, and empty quotes.
pub fn code(text: &str) -> String {
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

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The sources below a folder, in order.
pub fn sources(folder: &Path) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(folder, &mut paths);
    paths.sort();
    let source = |path: &PathBuf| {
        let name = path.strip_prefix(folder).expect("below the folder").display().to_string();
        Source::new(&name, std::fs::read_to_string(path).expect("text"))
    };
    paths.iter().map(source).collect()
}

/// Whether `code` names `word` as a whole path part: `crate::store` is not `crate::storage`, nor
/// is `codec::zstd` the crate `::zstd`.
pub fn names(code: &str, word: &str) -> bool {
    let is_part = |char: char| char.is_alphanumeric() || char == '_';
    let ends_in_part = word.ends_with(is_part);
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !(before.is_some_and(is_part) || ends_in_part && after.is_some_and(is_part))
    })
}

/// Functions and their lines, signature and braces included: they end at a brace as far in as they
/// began, which rustfmt sees to.
pub fn functions(text: &str) -> Vec<(String, usize)> {
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
