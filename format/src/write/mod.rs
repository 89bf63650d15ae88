//! The writers of data objects: packs, page files, lists and locators, each once, for every destination.
//!
//! A store and a bundle hold the same objects and lay them out differently. A store has a file for each; its
//! head comes first and its root last. A bundle is a single stream: an object lies in pieces between those of
//! others, and heads and roots lie together near the end, where one read finds them. The writers know the
//! objects alone. They hand each piece with its offset in the object to a [`Sink`], which knows the layout:
//!
//! ```text
//! import, load, merge, heal --.                         .--> Stage          files of a store
//!                              >-- writers --> Sink --<
//! save -----------------------'                         '--> BundleWriter   pieces of one file
//! ```
//!
//! Two differences show in the objects themselves, so a sink states them as constants. A store closes packs
//! early, so that finished ones reach the disk while the next is written. A bundle leaves out pages of tables
//! that none of its frames needs.
//!
//! The order of calls decides the layout of a bundle. A table hands over a full page only when the next record
//! follows, so the page lies behind the frame of that record.
//!
//! | module | content |
//! |---|---|
//! | `sink` | the destination |
//! | `frame` | a chunk as a frame: compressed, or raw if that is shorter |
//! | `pack` | frames into packs; a frame's place while the pack's id is not known |
//! | `page` | map and span pages into a page file, and their places in records |
//! | `table` | the records of lists and locators, in pages |
//! | `locator` | the frames of a list's chunks |
//! | `list` | a list from chunk ids, or from the pages of another copy |

mod frame;
mod list;
mod locator;
mod pack;
mod page;
mod sink;
mod table;

pub(crate) use frame::{encode_partial, encode_whole};
pub(crate) use list::{ListCopier, ListWriter, WrittenList, copy_list};
pub(crate) use locator::LocatorWriter;
pub(crate) use pack::{LocatedFrame, PackWriter};
pub(crate) use page::{PageWriter, PlacedPage, number_files};
pub(crate) use sink::{ObjectKind, Sink, write_whole};
