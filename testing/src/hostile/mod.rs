//! Bundles taken apart, and forged.
#![allow(missing_docs, missing_debug_implementations, reason = "a bundle's parts have the format's names")]

pub mod forge;
pub mod model;
