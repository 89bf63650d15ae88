//! The building of an appliance, from a declaration to a disk.
//!
//! ```text
//! declaration -> question -> lock -> files -> tree -> closure -> image -> disk
//!                            apt     fetch    sources                     erofs, fat, gpt, boot
//! ```
//!
//! [`Builder::plan`] goes as far as the tree of the image, [`Plan::write`] lays it out. Between them a caller can ask
//! why a file is there, or what the appliance holds.
//!
//! Equal locks and declarations make equal disks: nothing here asks for the time of day, the machine's name or the
//! order of a folder. What is made here has the lock's epoch as its time; identities of the disk derive from the
//! digest of its root.
//!
//! | file | job |
//! |---|---|
//! | `question` | the packages that a declaration needs, and whether a lock answers them |
//! | `inputs` | the lock: read, resolved anew, or changed in part; the files behind it |
//! | `unpack` | packages and images into one tree, with the origin of each path |
//! | `kernel` | the kernel and its initrd |
//! | `boot_loader` | the programs and files that start a disk |
//! | `image_config` | facts that a container image tells, as a declaration |
//! | `plan` | the files of the image |
//! | `write` | the disk |
//! | `summary` | what people are told |
//! | `options`, `error` | the caller's choices, and failures by the next step of the caller |

mod boot_loader;
mod builder;
mod error;
mod image_config;
mod inputs;
mod kernel;
mod options;
mod plan;
mod question;
mod summary;
mod unpack;
mod write;

pub use self::{
    builder::Builder,
    error::BuildError,
    kernel::{ForeignKernel, FoundKernel, KernelFiles},
    options::{LockMode, Options, Phase},
    plan::Plan,
    summary::{LargeFile, Summary},
    write::Disk,
};
