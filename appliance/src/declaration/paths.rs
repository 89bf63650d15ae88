//! Paths of the image, paths beside the declaration, and patterns of paths.

use std::fmt;

use globset::{GlobBuilder, GlobMatcher};

use super::fault::{Rule, quoted};

/// Longest path in bytes: `PATH_MAX` of Linux without its NUL.
const MAX_PATH: usize = 4095;
/// Longest name of a file in bytes: `NAME_MAX` of Linux.
const MAX_NAME: usize = 255;

/// An absolute path of the image: no empty part, no `.`, no `..`, no NUL, no slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AbsolutePath(String);

impl AbsolutePath {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Rule> {
        let fault = |expected| Rule::Value { expected, found: quoted(text) };
        let Some(rest) = text.strip_prefix('/') else {
            return Err(fault("an absolute path"));
        };
        let good = |part: &str| !part.is_empty() && part != "." && part != ".." && part.len() <= MAX_NAME;
        if text.len() > MAX_PATH || text.contains('\0') || !rest.split('/').all(good) {
            return Err(fault("an absolute path without `.`, `..`, empty or overlong parts"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether the path lies below `folder`, or is it.
    #[must_use]
    pub fn is_within(&self, folder: &str) -> bool {
        self.0.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Returns the folders above, the nearest first, without the root.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.0.rmatch_indices('/').map(|(at, _)| &self.0[..at]).filter(|path| !path.is_empty())
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path on the machine that builds, as it was written: relative to the folder of the declaration, or absolute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourcePath(String);

impl SourcePath {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text alone keeps the path beside the declaration: relative, and without `..`.
    #[must_use]
    pub fn is_beside(&self) -> bool {
        !self.0.starts_with('/') && self.0.split('/').all(|part| part != "..")
    }

    pub(super) fn parse(text: &str) -> Result<Self, Rule> {
        if text.is_empty() || text.len() > MAX_PATH || text.contains('\0') {
            return Err(Rule::Value { expected: "a path of this machine", found: quoted(text) });
        }
        Ok(Self(text.to_owned()))
    }
}

/// A pattern of paths of the image: `*` and `?` within a name, `**` over folders, `[...]`, `{a,b}`.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    matcher: GlobMatcher,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// Reads a pattern: it begins with `/` or `**/`.
    ///
    /// # Errors
    ///
    /// A text that is not a pattern.
    pub fn parse(text: &str) -> Result<Self, Rule> {
        let fault = || Rule::Value {
            expected: "a pattern of absolute paths, that begins with `/` or `**/`",
            found: quoted(text),
        };
        let anchored = text.starts_with('/') || text.starts_with("**/");
        if !anchored || text.len() > MAX_PATH || text.contains('\0') {
            return Err(fault());
        }
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
        Ok(Self { text: text.to_owned(), matcher: glob.map_err(|_| fault())?.compile_matcher() })
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether an absolute path fits.
    #[must_use]
    pub fn fits(&self, path: &[u8]) -> bool {
        // Linux paths are bytes; globset wants a path of the system, which are bytes on Unix.
        self.matcher.is_match(path_of(path))
    }
}

/// Shows bytes as a path of the system. Bytes that are not UTF-8 become U+FFFD: patterns are texts.
fn path_of(path: &[u8]) -> std::borrow::Cow<'_, std::path::Path> {
    match std::str::from_utf8(path) {
        Ok(text) => std::path::Path::new(text).into(),
        Err(_) => std::path::PathBuf::from(String::from_utf8_lossy(path).into_owned()).into(),
    }
}
