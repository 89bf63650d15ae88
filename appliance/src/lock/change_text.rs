//! Differences of two locks, as people read them.

use std::fmt;

use super::changes::{Change, Difference, Role};

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files => "package",
            Self::Boot => "boot loader",
            Self::Kernel => "kernel",
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(version) => write!(f, "added, {version}"),
            Self::Removed(version) => write!(f, "removed, {version}"),
            Self::Raised(old, new) => write!(f, "{old} -> {new}"),
            Self::Lowered(old, new) => write!(f, "{old} -> {new}, an earlier version"),
            Self::Replaced(version) => write!(f, "{version}, another file of the same version"),
            Self::Moved(version) => write!(f, "{version}, at another place"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recipe(old, new) => write!(f, "recipe {old} -> {new}"),
            Self::Suite(old, new) => write!(f, "suite {old} -> {new}"),
            Self::Date(old, new) => write!(f, "archive of {old} -> {new}"),
            Self::Epoch(old, new) => write!(f, "epoch {old} -> {new}"),
            Self::Request => f.write_str("the declaration asks for other packages"),
            Self::Archive(name, None, Some(new)) => write!(f, "archive {name} added, {new}"),
            Self::Archive(name, Some(old), None) => write!(f, "archive {name} removed, {old}"),
            Self::Archive(name, ..) => write!(f, "archive {name} at another address"),
            Self::Package(role, name, difference) => write!(f, "{role} {name} {difference}"),
            Self::Kernel(..) => f.write_str("another kernel"),
            Self::File(path) => write!(f, "{path} changed"),
            Self::Image(path) => write!(f, "image {path} changed"),
        }
    }
}
