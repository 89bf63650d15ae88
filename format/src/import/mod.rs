//! Into the store: any disk becomes an image.
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
//! Every thread takes whatever stage has work next, the later stages first; the two that run in
//! order hand out the same decisions whatever the threads do, so the output is the same on any
//! number of them. Spans and chunks in flight are bounded, and with them memory.
//!
//! | module | idea |
//! |---|---|
//! | `options` | what to import, how; what came of it |
//! | `feed` | the disk as spans with data |
//! | `pipeline` | the threads and what they take next |
//! | `sequencer` | shared or new? |
//! | `plain` | a chunk's bytes, mostly where they were read |
//! | `packer` | frames to packs and lists |
//! | `finish` | the two trees: leaves, span pages, roots |
//! | `run` | one import from beginning to end: stage, pipeline, manifest, commit, index |

mod feed;
mod finish;
mod options;
mod packer;
mod pipeline;
mod plain;
mod run;
mod sequencer;

pub use options::{ImportOptions, ImportReport, Progress};
