//! Names to packages, by Debian's own resolver.
//!
//! A resolver of our own would differ from Debian's where it matters: alternatives, virtual packages, conflicts. So
//! `apt-get` is asked, with `install --print-uris`, which solves and prints, and installs nothing. It runs as the user
//! that builds, with a configuration that leads each of its paths into a folder of the cache: an empty list of
//! installed packages, its own lists, its own sources with the keys inside. Of the machine's configuration it gets the
//! proxies, and nothing else. Apt verifies signatures; this room never trusts a list that apt has not accepted.
//!
//! Apt tells all failures with one exit code. The messages between apt and its methods have numbers and fields; these
//! decide the kind of an error, never apt's prose, which changes by version and language.
//!
//! The lists stay in the cache, so that a second question takes a second. An update has a lock of its own; apt inherits
//! it as its standard input, so that it ends with apt even where this process is killed. Apt itself replaces a list
//! only by one that it has verified.
//!
//! | file | job |
//! |---|---|
//! | `question` | question, options and answer |
//! | `sources`, `armour`, `config` | the texts that apt reads |
//! | `uris`, `methods`, `targets`, `stanzas`, `package`, `release` | the texts that apt writes and verifies, parsed |
//! | `state` | the folder and its lock |
//! | `run` | a program with a time limit |
//! | `resolver` | the question put to apt |
//! | `unknown` | names that no archive has |
//! | `contents` | the package that has a file, for errors |
//! | `error` | failures by the next step of the caller |

mod armour;
mod config;
mod contents;
mod error;
mod list_file;
pub(crate) mod methods;
pub(crate) mod package;
mod question;
pub(crate) mod release;
mod resolver;
mod run;
mod sources;
pub(crate) mod stanzas;
mod state;
pub(crate) mod targets;
mod unknown;
pub(crate) mod uris;

pub(crate) use contents::Search;
pub use contents::SuiteContents;
pub use error::{AptError, Unknown};
pub use question::{Answer, Options, Programs, Question, Repository, Selection};
pub use resolver::Resolver;
