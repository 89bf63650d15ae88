//! Images as one file: out of a store with [`Store::save`](crate::Store::save), back into one with
//! [`Store::load`](crate::Store::load). Reading a bundle in place is the store's matter: see
//! [`Store::open_bundle`](crate::Store::open_bundle).
//!
//! ```text
//! head | frames, pages of ids and places | span pages, map pages | roots, heads, records | table
//!      '------ as the chunks come ------'                         '--------- the tail ---------'
//! ```
//!
//! | module | idea |
//! |---|---|
//! | `save` | which images, which blocks, in which order |
//! | `chunks` | frames into packs, their places into locators |
//! | `pages` | map and span pages into one page file, records beside it |
//! | `writer` | one pass forward, the head last |
//! | `sink` | a file or block device that a bundle is written to |
//! | `load` | what a store lacks of a bundle's images, all or nothing |
//! | `known_chunks` | chunks that the store has already |
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
