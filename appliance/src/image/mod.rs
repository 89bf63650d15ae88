//! The tree of the image: packages, an image of another origin and the declaration's own files, reduced to those that
//! something needs, with the files that every appliance has.
//!
//! | file | job |
//! |---|---|
//! | `declared` | files, folders and links that the declaration names |
//! | `select` | the kept files alone |
//! | `system` | files that every appliance has |
//! | `users` | users and groups, by name and number |
//! | `init_config` | the declaration in the words of the init |
//! | `place` | inodes put at absolute paths |
//!
//! All that is made here has one time, which the caller gives: equal inputs make equal trees.

pub mod declared;
mod init_config;
mod place;
mod select;
pub mod system;
mod users;

pub use self::{
    declared::{DeclaredError, SourceFolders},
    init_config::{InitConfigError, init_config},
    place::{Access, PlaceError, Placer},
    select::select,
    system::SystemFiles,
    users::{GROUP, PASSWD, UnknownOwner, Users},
};
