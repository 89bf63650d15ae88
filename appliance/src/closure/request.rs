//! The question: a tree, its origins, the roots and the policy.

use crate::{contents::Contents, declaration::Pattern, tree::Tree};

use super::{origins::Origins, rules::Rules};

/// A program that the declaration runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Absolute path.
    pub path: Vec<u8>,
    /// The one that runs it, as `the service nginx`.
    pub by: String,
}

/// Choice of the files.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Whether packages are kept whole, but for documentation and the like.
    pub whole_packages: bool,
    /// Whether an image of another origin is reduced to the files that something needs.
    pub shrink_image: bool,
    /// Whether programs of named packages are kept that nothing names.
    pub all_programs: bool,
    /// Whether copyright files are kept.
    pub licences: bool,
    /// Kept whoever needs them; a folder with everything below it.
    pub keep: Vec<Pattern>,
    /// Left out.
    pub drop: Vec<Pattern>,
    /// Absolute paths whose setuid and setgid bits stay.
    pub suid: Vec<Vec<u8>>,
}

/// A file that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// An absolute path.
    Path(&'a [u8]),
    /// The file name of a library.
    Library(&'a [u8]),
}

/// Finds the package of the suite that has a file.
pub trait PackageLookup {
    /// Returns the name of a package that has the file, if it is known.
    fn holder(&self, wanted: Wanted<'_>) -> Option<String>;
}

/// Knows nothing: for builds from a lock, without the lists of the suite.
impl PackageLookup for () {
    fn holder(&self, _wanted: Wanted<'_>) -> Option<String> {
        None
    }
}

/// The question to [`super::close`].
#[expect(missing_debug_implementations, reason = "it holds traits that read files")]
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// All files that there are.
    pub tree: &'a Tree,
    /// Their contents.
    pub contents: &'a dyn Contents,
    /// Their origins.
    pub origins: &'a Origins,
    /// Programs that run.
    pub commands: &'a [Command],
    /// Names of packages that the declaration names.
    pub named: &'a [String],
    /// Choice of the files.
    pub policy: &'a Policy,
    /// Needs that no file states.
    pub rules: &'a Rules,
    /// The suite's packages, for the text of errors.
    pub packages: &'a dyn PackageLookup,
}
