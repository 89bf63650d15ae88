//! Faults of a declaration, each with its place in the file.

use thiserror::Error;

/// A fault of a declaration: the place in the file, the key, the broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {}{rule}", key_prefix(.key))]
pub struct DeclarationError {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// Path of the key, as `service[0].ready.http`; entries of a list are counted from 0. Empty for the whole file.
    pub key: String,
    /// The broken rule.
    pub rule: Rule,
}

impl DeclarationError {
    /// Whether the declaration is sound and asks for something that melv does not support.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self.rule, Rule::Unsupported { .. })
    }
}

fn key_prefix(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

/// A rule of declarations that a file breaks.
#[allow(missing_docs, reason = "the message beside each field names it")]
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rule {
    /// The file is not UTF-8.
    #[error("the file is not UTF-8")]
    Encoding,
    /// The file is longer than a declaration may be.
    #[error("the file has {found} bytes; at most {limit} are allowed")]
    TooLong { found: usize, limit: usize },
    /// The file is not TOML. The text is the parser's.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// A key that has no meaning here.
    #[error("unknown key{}", nearest_key(.nearest))]
    UnknownKey { nearest: Option<&'static str> },
    /// A key that must be there.
    #[error("the key `{0}` is missing")]
    Missing(&'static str),
    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    Type { expected: &'static str, found: &'static str },
    /// A value outside its range or form.
    #[error("expected {expected}, found {found}")]
    Value { expected: &'static str, found: String },
    /// A value with a meaning that melv does not support.
    #[error("{thing} {found} is not supported; supported are {supported}")]
    Unsupported { thing: &'static str, found: String, supported: &'static str },
    /// Two declarations of one thing.
    #[error("{thing} {name} is declared twice; the first is on line {first_line}")]
    Twice { thing: &'static str, name: String, first_line: usize },
    /// A name that nothing declares.
    #[error("no {thing} has the name {name}{}", nearest_name(.nearest))]
    Undeclared { thing: &'static str, name: String, nearest: Option<String> },
    /// Two keys of which only one may be there.
    #[error("`{key}` and `{other}` exclude each other")]
    Exclusive { key: &'static str, other: &'static str },
    /// A key that has a meaning only beside another value.
    #[error("`{key}` has a meaning only with {with}")]
    OnlyWith { key: &'static str, with: &'static str },
    /// A path below a file or link of the declaration.
    #[error("{path} lies below {above}, which is declared as a {kind} on line {line}")]
    Below { path: String, above: String, kind: &'static str, line: usize },
    /// A path on a file system that is made anew at every start.
    #[error("{0} lies on a file system that is empty at every start")]
    Volatile(String),
    /// Services that wait for one another.
    #[error("the services {0} wait for one another")]
    Circle(String),
    /// More entries than allowed.
    #[error("at most {limit} entries are allowed, found {found}")]
    TooMany { found: usize, limit: usize },
}

fn nearest_key(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; the nearest known key is `{key}`"))
}

fn nearest_name(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!("; the nearest is {name}"))
}

/// A place in the file: the byte and the path of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) offset: usize,
    pub(super) key: String,
}

impl Spot {
    pub(super) fn fault(&self, rule: Rule) -> Fault {
        Fault { spot: self.clone(), rule }
    }
}

/// A broken rule at a byte, before lines are counted.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) spot: Spot,
    pub(super) rule: Rule,
}

impl Fault {
    /// Counts line and column in `text`, the file that the fault is of.
    pub(super) fn locate(self, text: &str) -> DeclarationError {
        let (line, column) = line_and_column(text, self.spot.offset);
        DeclarationError { line, column, key: self.spot.key, rule: self.rule }
    }
}

/// Counts the line and the column in characters of a byte. A byte within a character counts as its first one.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (line, before[start..].chars().count() + 1)
}

/// Shows a found text in quotes, escaped, cut after 60 characters.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// Returns the candidate most like `name`, if one is alike enough to be meant.
pub(super) fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let name: String = name.chars().take(64).collect();
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let likeness = strsim::jaro_winkler(&name.to_lowercase(), candidate);
        if likeness > best.map_or(0.75, |(value, _)| value) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}
