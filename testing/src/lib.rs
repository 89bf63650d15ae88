//! # melv-testing
//!
//! One set of helpers for the tests, benches and fuzz targets of all crates.
//!
//! | module | holds |
//! |---|---|
//! | [`random`] | the one random number generator, and bytes made from seeds |
//! | [`disks`] | disks in memory and disks made from seeds |
//! | [`stores`] | stores in memory, and assertions about them |
//! | [`contract`] | the promises of a storage back end, as one function |
//! | [`faulty`], [`watched`] | a storage that fails, and one that logs and hooks every operation |
//! | `machine` | machines that lose power (feature `model`) |
//! | [`structures`], [`seal`] | promises of the decoders for any bytes; digests recomputed, as by a forger |
//! | [`hostile`] | bundles taken apart and forged |
//! | `vmdk` | VMDKs made, and written ones checked, without the library (feature `vmdk`) |
//! | `nbd` | a client that violates the protocol, and a checker of conversations (feature `nbd`) |
//!
//! A helper panics where a test cannot go on. The unit tests inside `melv-format` and the crates below it
//! cannot use this crate: it would bring a second copy of their types.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::new_without_default,
    reason = "these are helpers of tests"
)]

pub mod contract;
pub mod disks;
pub mod faulty;
pub mod hostile;
#[cfg(feature = "model")]
pub mod machine;
#[cfg(feature = "nbd")]
pub mod nbd;
pub mod random;
pub mod seal;
pub mod stores;
pub mod structures;
#[cfg(feature = "vmdk")]
pub mod vmdk;
pub mod watched;

pub use contract::check_contract;
pub use disks::{SeedDisk, Seen, VecDisk, random_disk};
pub use faulty::{FaultMode, FaultyStorage, Operation};
pub use random::{BLOCK, Rng, noise, places, text};
pub use stores::{
    after_kill, assert_clean, assert_equal, assert_image, assert_same_objects, blocks_of_pack, but_refs,
    committed, full, image, import, name, object, objects, on_threads, options, put_all, read_all, store_in,
};
pub use watched::{Op, Watched};
