//! # The fuzz targets
//!
//! Each target is a function of arbitrary bytes that panics if a promise is broken. libFuzzer calls it with
//! inputs guided by coverage (`fuzz/run`, `make fuzz`). `tests/replay.rs` calls it with the kept inputs: the
//! corpus, and every input that once found a bug.
//!
//! | module | targets | promises |
//! |---|---|---|
//! | [`structures`] | `objects` `manifest` `record` `map_leaf` | one encoding each; lookups match a walk |
//! | [`places`] | `tables` `frames` `bundle_table` `segment` | accepted values lie inside their bounds |
//! | [`bundles`] | `bundle` | an image with its id reads its bytes or is refused; a loaded image reads |
//! | [`stores`] | `store_ops` `index` | the store is a map of names to disks; the index is a cache |
//! | [`words`] | `journal` `names` | a journal undoes only the objects it names; names survive |
//! | [`vmdk`] | `vmdk_text` `vmdk_sparse` `vmdk_stream` | reads agree with each other; file and pipe agree |
//! | [`nbd`] | `nbd_handshake` `nbd_requests` | the server sends nothing that the protocol forbids |
//!
//! The runner bounds memory (`-malloc_limit_mb`, `-rss_limit_mb`) and time (`-timeout`). Checksums and
//! digests are recomputed (`melv_testing::seal`), never skipped in the product. A target is stateless.

#![forbid(unsafe_code)]

pub mod bundles;
mod input;
pub mod nbd;
pub mod places;
pub mod stores;
pub mod structures;
pub mod vmdk;
pub mod words;

pub use bundles::bundle;
pub use nbd::{nbd_handshake, nbd_requests};
pub use places::{bundle_table, frames, segment, tables};
pub use stores::{index, store_ops};
pub use structures::{manifest, map_leaf, objects, record};
pub use vmdk::{vmdk_sparse, vmdk_stream, vmdk_text};
pub use words::{journal, names};

/// A target and its name.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name in `bin/NAME.rs`, `corpus/NAME` and `found/NAME-…`.
    pub name: &'static str,
    /// The function.
    pub call: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident)*) => {
        /// All targets.
        pub const TARGETS: &[Target] = &[$(Target { name: stringify!($name), call: $name }),*];
    };
}

targets! {
    objects manifest record map_leaf
    tables frames bundle_table segment
    bundle
    store_ops index
    journal names
    vmdk_text vmdk_sparse vmdk_stream
    nbd_handshake nbd_requests
}
