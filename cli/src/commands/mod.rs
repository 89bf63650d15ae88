//! The commands, one module each: options, help, and implementation. The modules `inspect_*` are parts of
//! `inspect`.

pub mod build;
pub mod compare;
pub mod df;
pub mod digest;
pub mod export;
pub mod import;
pub mod inspect;
mod inspect_appliance;
mod inspect_bundle;
mod inspect_file;
mod inspect_image;
pub mod load;
pub mod ls;
pub mod map;
pub mod mount;
pub mod rm;
pub mod save;
pub mod serve;
pub mod tag;
pub mod tooling;
pub mod umount;
pub mod verify;
