//! Entries of archives to a tree.
//!
//! A tree takes an entry by rules, and never by what the host's files are: a path is names, a link is text, and a
//! link on the way is followed within the tree, at most 40 times. [`names`], [`merged`] and the first half of
//! [`whiteout`] are pure. [`inserter`] has the state and its bounds, [`walk`] the way to a folder, [`place`] the
//! decision where two entries meet:
//!
//! | meets | layers, root tars | packages |
//! |---|---|---|
//! | folder, folder | children stay, attributes are the later ones | the same |
//! | folder, link to a folder | the later one | the link or folder that was there stays, as `dpkg` has it |
//! | file or link, file or link | the later one | the later one if equal or allowed, else an error |
//! | any other two | the later one | an error |
//!
//! `/usr` is merged in every tree: entries of `/bin` lie in `/usr/bin`, and `/bin` is a link. An image from before
//! the merge has links between the two places of one file, which would lead to themselves, and relative links that
//! would lead elsewhere: the former go, the latter are put right.
//!
//! All that an archive makes the tree hold is counted. A whiteout removes names, not inodes, so that a replaced file
//! still counts: an archive cannot make the tree work without end.

mod error;
mod inserter;
mod merged;
mod names;
mod place;
mod walk;
mod whiteout;

pub use error::{InsertError, InsertFault};
pub(crate) use inserter::{Attributes, Inserter, Node, Rules};
pub use inserter::{Replaces, Report};
pub use names::NameFault;
