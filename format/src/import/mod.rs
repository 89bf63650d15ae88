//! Import: turns any disk into an image in the store.
//!
//! ```text
//! feed       which spans hold data, in order; holes are never read        one at a time
//! hash       read a span, test for zeros, digest its blocks               all threads
//! sequence   look blocks up; new ones fill chunks; extents and spans      in order, one at a time
//! compress   a chunk becomes a frame                                      all threads
//! pack       frames into packs, ids into lists                            in order, one at a time
//! finish     leaves, span pages, manifest; then the commit; then the index
//! ```
//!
//! Each thread takes the next available work of any stage, later stages first. The two ordered stages decide
//! independently of thread timing, so the output is the same for any number of threads. The number of spans
//! and chunks in flight is bounded, and so is memory.
//!
//! | module | content |
//! |---|---|
//! | `options` | the options and the report of an import |
//! | `span_source` | the disk as spans with data |
//! | `pipeline` | the threads and their order of work |
//! | `deduplicator` | the decision for each block: shared or new |
//! | `chunk_bytes` | a chunk's bytes, usually a slice of the span they were read with |
//! | `packer` | frames to packs and lists |
//! | `trees` | the two trees: leaves, span pages, roots |
//! | `run` | an import from start to end: stage, pipeline, manifest, commit, index |

mod chunk_bytes;
mod deduplicator;
mod options;
mod packer;
mod pipeline;
mod run;
mod span_source;
mod trees;

pub use options::{ImportOptions, ImportReport, Progress};
