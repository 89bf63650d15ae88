//! Tailored kernels: Linux from Debian's source, with nothing that an appliance has no use for.
//!
//! The configuration begins as Linux's `tinyconfig`, which has next to nothing. Lines of ours, with their reasons in
//! `fragments/`, and lines of the declaration are merged into it; `olddefconfig` makes it whole. Linux drops in silence
//! each line whose needs are not met. So every line must stand in the final configuration, or the build fails and
//! names it. New mitigations of a later source are on by their own defaults, as `tinyconfig` knows them not.
//!
//! The bytes of a kernel follow from the source, the lines and the versions of compiler, binutils and packer. User,
//! machine, day, folder and environment have no part in them. A kernel is kept in the cache by a digest of these
//! inputs, and with the folder's help two builders at once build once.
//!
//! Linux's makefiles are the only foreign code that runs. The source's digest is checked before, as it stands in a
//! lock; configuration lines cannot hold a word of make's language nor the path of a file.
//!
//! | file | job |
//! |---|---|
//! | `build` | the steps, and all that is asked of the system |
//! | `scratch` | the folder of a build, and those that killed builds left |
//! | `source` | the package to a folder |
//! | `tools` | programs and their versions |
//! | `process` | a program that ends with this one |
//! | `cache` | the digest of all inputs, and kernels by it |
//! | `setting`, `fragments`, `version` | a line, our lines, the version that they are for; pure |
//! | `config`, `kconfig` | lines merged and checked; needs and choices of symbols; pure |
//! | `progress` | the state of a build, pure |
//! | `error` | failures by the next step of the caller |

mod build;
mod cache;
mod config;
mod error;
mod fragments;
mod kconfig;
mod process;
mod progress;
mod scratch;
mod setting;
mod source;
#[cfg(test)]
mod testing;
mod tools;
mod version;

pub use self::{
    build::{Request, TailoredKernel, build},
    error::{EntryFault, Fallen, SourceError, TailoredError, Tool},
    progress::Progress,
    setting::{Setting, SettingFault},
    version::Version,
};
