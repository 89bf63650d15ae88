//! Faults of a configuration.

use std::fmt;

/// A rule that a configuration breaks, and the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line, from 1; 0 where the fault is of a value and not of a text.
    pub line: usize,
    /// The rule.
    pub rule: Rule,
}

/// A rule that a configuration breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// The first line is not `melv-init 1`.
    Version(String),
    /// The text is longer than the limit, or has more of something.
    TooMany {
        /// The thing counted.
        thing: &'static str,
        /// The most that is allowed.
        limit: usize,
    },
    /// The line `end` is not the last one.
    End,
    /// A word is not written as the format says.
    Word,
    /// The key is not known here.
    Key(String),
    /// A key or a name is there twice.
    Twice(String),
    /// A line has too few or too many words.
    Words(String),
    /// A block lacks a line.
    Missing(&'static str),
    /// A value is none that its key allows.
    Value {
        /// The thing.
        thing: &'static str,
        /// The value found.
        found: String,
    },
    /// A name that nothing has.
    Unknown {
        /// The kind of thing.
        thing: &'static str,
        /// The name.
        name: String,
    },
    /// Services that depend on one another in a circle; one of them.
    Circle(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        match &self.rule {
            Rule::Version(found) => write!(f, "expected \"melv-init 1\", found \"{found}\""),
            Rule::TooMany { thing, limit } => write!(f, "more than {limit} {thing}"),
            Rule::End => f.write_str("the line \"end\" is not the last one"),
            Rule::Word => f.write_str("a word is not written as the format says"),
            Rule::Key(key) => write!(f, "unknown key \"{key}\""),
            Rule::Twice(name) => write!(f, "\"{name}\" is there twice"),
            Rule::Words(key) => write!(f, "wrong number of words after \"{key}\""),
            Rule::Missing(key) => write!(f, "no line \"{key}\""),
            Rule::Value { thing, found } => write!(f, "\"{found}\" is no {thing}"),
            Rule::Unknown { thing, name } => write!(f, "no {thing} is named \"{name}\""),
            Rule::Circle(name) => write!(f, "service \"{name}\" depends on itself"),
        }
    }
}

impl std::error::Error for Fault {}

/// Makes a [`Rule::Value`].
pub(super) fn value(thing: &'static str, found: &str) -> Rule {
    // A hostile value must not make a message of megabytes.
    Rule::Value { thing, found: found.chars().take(80).collect() }
}
