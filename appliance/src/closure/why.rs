//! Reasons that a file is kept, and chains of them.

use std::fmt;

use super::lookup::{file_name, shown};

/// The reason that a path is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A command of the declaration runs it; the text names it, as `the service nginx`.
    Command(String),
    /// Its package is named in the declaration.
    Named(String),
    /// Its package has the source of one that is named.
    SameSource {
        /// Its package.
        package: String,
        /// The package that is named.
        named: String,
    },
    /// The declaration puts it there.
    Declared,
    /// The image below has it, and is kept whole.
    Image,
    /// Its package is kept whole.
    WholePackage(String),
    /// A pattern of the declaration keeps it.
    Keep(String),
    /// It is the licence of a package of which files are kept.
    Licence(String),
    /// A kept file needs it.
    Needed {
        /// The way.
        edge: Edge,
        /// The kept file.
        by: Vec<u8>,
    },
    /// A rule keeps it beside a kept file.
    Rule {
        /// Name of the rule.
        rule: String,
        /// The kept file that the rule looks for.
        by: Vec<u8>,
    },
    /// It is the folder of a kept file.
    Folder(Vec<u8>),
}

/// The way in which one file needs another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// `PT_INTERP`.
    Interpreter,
    /// `DT_NEEDED`.
    Library,
    /// `#!`.
    Script,
    /// The program that `env` of a `#!` line looks for.
    Environment,
    /// The target of a link.
    Link,
    /// A note about `dlopen`.
    Dlopen,
    /// The name of a library in a string.
    String,
}

impl Edge {
    fn text(self) -> &'static str {
        match self {
            Self::Interpreter => "interpreter of",
            Self::Library => "needed by",
            Self::Script => "`#!` of",
            Self::Environment => "`#!` by env of",
            Self::Link => "target of the link",
            Self::Dlopen => "opened by",
            Self::String => "named in",
        }
    }
}

impl Reason {
    /// Returns the kept file that this reason leads to.
    #[must_use]
    pub fn by(&self) -> Option<&[u8]> {
        match self {
            Self::Needed { by, .. } | Self::Rule { by, .. } | Self::Folder(by) => Some(by),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |path: &[u8]| shown(file_name(path));
        match self {
            Self::Command(by) => write!(f, "run by {by}"),
            Self::Named(package) => write!(f, "kept because {package} is named"),
            Self::SameSource { package, named } => {
                write!(f, "kept because {package} has the source of {named}, which is named")
            }
            Self::Declared => f.write_str("declared"),
            Self::Image => f.write_str("in the image below"),
            Self::WholePackage(package) => write!(f, "kept because {package} is kept whole"),
            Self::Keep(pattern) => write!(f, "kept by the pattern {pattern}"),
            Self::Licence(package) => write!(f, "licence of {package}"),
            Self::Needed { edge, by } => write!(f, "{} {}", edge.text(), name(by)),
            Self::Rule { rule, by } => write!(f, "kept by the rule {rule} for {}", name(by)),
            Self::Folder(of) => write!(f, "folder of {}", name(of)),
        }
    }
}

/// The chain of reasons for a path: from it to a root. Its text is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// The path that is asked about.
    pub path: Vec<u8>,
    /// Reasons, each about the file that the one before named. The last one names no file.
    pub reasons: Vec<Reason>,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(file_name(&self.path)))?;
        for reason in &self.reasons {
            write!(f, ": {reason}")?;
        }
        Ok(())
    }
}
