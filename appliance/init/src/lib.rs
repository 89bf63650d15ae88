//! The configuration of melv's init, for the builder that writes it.
//!
//! The init itself is the program beside this library (`main.rs`). It has no dependencies, so that one command of the
//! compiler makes it; both compile the same files.

pub mod config;
