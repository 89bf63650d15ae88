//! The closure: the files that an appliance needs, out of all files of its packages.
//!
//! [`close`] walks from roots over needs. Roots are the commands of the declaration, its own files, the packages that
//! it names (by a policy: no documentation, no programs that nothing names), and patterns. Needs are those that files
//! state themselves (interpreters, libraries, links, `#!`, notes about `dlopen`), names of libraries in strings of
//! programs, and rules for needs that no file states. Every kept path has the reason that came first; reasons make
//! chains, and a chain is the answer to "why is this here".
//!
//! A need that is not met is an error, never a smaller image. Yet packages are full of scripts and plugins that
//! nobody runs, and their needs are in packages that nobody asked for. So only a file that something runs or links
//! must be sound, and only a script that something runs needs its interpreter; a library's own needs always count,
//! since a plugin that cannot be loaded is the fault that nobody sees until the day it matters.
//!
//! | file | job |
//! |---|---|
//! | `request`, `outcome`, `why` | question, answer, reasons |
//! | `walk` | the walk |
//! | `roots`, `declared` | roots, by declaration and policy |
//! | `libraries`, `script` | searches and first lines, as `ld.so` and the kernel have them |
//! | `rules` | rules and policy, from `rules/*.toml` |
//! | `lookup` | paths of a tree, through links |
//! | `certificates` | the bundle of certificates, which a package's script would have made |
//!
//! Facts that spare a rule: since glibc 2.34 `files` and `dns` of NSS are in libc itself; ICU's data are a library
//! that others link; libc names `libgcc_s.so.1` in a string.

pub mod certificates;
mod declared;
mod libraries;
pub mod lookup;
mod origins;
mod outcome;
mod request;
mod roots;
mod rules;
mod script;
mod walk;
mod why;

pub use self::{
    declared::{commands, named_packages},
    origins::{Origin, Origins, Package, PackageIndex},
    outcome::{Closure, ClosureError, Missing, Note, ProgramFault},
    request::{Command, PackageLookup, Policy, Request, Wanted},
    roots::close,
    rules::{Rule, Rules},
    why::{Edge, Reason, Why},
};
