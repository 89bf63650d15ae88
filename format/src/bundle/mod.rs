//! Images as one file: [`Images::save`](crate::Images::save) writes a bundle, and
//! [`Store::load`](crate::Store::load) reads it into a store. The store module reads bundles in place:
//! see [`Bundle::open`](crate::Bundle::open).
//!
//! ```text
//! head | frames, pages of ids and places | span pages, map pages | roots, heads, records | table
//!      '------ as the chunks come ------'                         '--------- the tail ---------'
//! ```
//!
//! | module | idea |
//! |---|---|
//! | `save` | selects images and blocks, and their order |
//! | `chunks` | the chunks of lists as frames and places |
//! | `frames` | each whole frame once, for `save` and `load`; their batches |
//! | `pages` | map and span pages into one page file, and the records, for `save` and `load` |
//! | `writer` | where the writers of `write` put a bundle's objects: one forward pass, the head last |
//! | `sink` | the file or block device that receives a bundle |
//! | `load` | loads the missing parts of a bundle's images, all or nothing |
//! | `known_chunks` | chunks that the store already has |

mod chunks;
mod frames;
mod known_chunks;
mod load;
mod pages;
mod save;
mod sink;
mod writer;

pub use load::{LoadOptions, LoadReport, LoadedImage};
pub use save::{SaveOptions, SaveReport};
pub use sink::BundleSink;
