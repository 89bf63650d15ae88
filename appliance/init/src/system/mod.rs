//! The state of the machine before its first process: mounts, kernel settings, entropy, folders, secrets.

mod entropy;
mod files;
mod host;
mod mounts;
mod secrets;

pub use self::{
    entropy::seed,
    files::directories,
    host::{configure, panic_restarts},
    mounts::{bind_data, end, first, rest, root},
    secrets::secrets,
};
