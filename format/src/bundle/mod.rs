//! Images as one file: [`Store::save`](crate::Store::save) writes a bundle, and
//! [`Store::load`](crate::Store::load) reads it into a store. The store module reads bundles in place:
//! see [`Store::open_bundle`](crate::Store::open_bundle).
//!
//! ```text
//! head | frames, pages of ids and places | span pages, map pages | roots, heads, records | table
//!      '------ as the chunks come ------'                         '--------- the tail ---------'
//! ```
//!
//! | module | idea |
//! |---|---|
//! | `save` | selects images and blocks, and their order |
//! | `chunks` | frames into packs, their places into locators |
//! | `pages` | map and span pages into one page file, and the records |
//! | `writer` | one forward pass, the head last |
//! | `sink` | the file or block device that receives a bundle |
//! | `load` | loads the missing parts of a bundle's images, all or nothing |
//! | `known_chunks` | chunks that the store already has |
//! | `load_frames` | frames into packs of the store |
//! | `load_pages` | pages and records into the store |

mod chunks;
mod known_chunks;
mod load;
mod load_frames;
mod load_pages;
mod pages;
mod save;
mod sink;
mod writer;

pub use load::{LoadOptions, LoadReport, LoadedImage};
pub use save::{SaveOptions, SaveReport};
pub use sink::BundleSink;
