//! # The fuzz targets
//!
//! Each target is one function from any bytes to nothing: it panics where a promise is broken. libFuzzer calls it
//! with bytes that it makes up by what they reach (`fuzz/run`, `make fuzz`), `tests/replay.rs` with those that are
//! kept: the corpus, and every input that once found something.
//!
//! | module | targets | promises |
//! |---|---|---|
//! | [`structures`] | `objects` `manifest` `record` `map_leaf` | one encoding of each value; look-ups agree with a walk |
//! | [`places`] | `tables` `frames` `bundle_table` `segment` | what is accepted lies inside its bounds |
//! | [`bundles`] | `bundle` | an image that has its id reads its bytes, or is refused; what loads reads |
//! | [`stores`] | `store_ops` `index` | the store does as a map of names to disks does; the index is a cache |
//! | [`words`] | `journal` `names` | a journal takes back what it names and nothing else; names survive |
//! | [`vmdk`] | `vmdk_text` `vmdk_sparse` `vmdk_stream` | reads agree with each other; file and pipe agree |
//! | [`nbd`] | `nbd_handshake` `nbd_requests` | nothing is said that the protocol forbids |
//!
//! Memory is bounded by the runner (`-malloc_limit_mb`, `-rss_limit_mb`), time by `-timeout`. Checksums and digests
//! are put right here ([`seal`]), never skipped in the product. A target keeps nothing from one input to the next.

#![forbid(unsafe_code)]

// The server's tests and the bundle's tests have the models that are needed here.
#[path = "../../nbd/tests/common/mod.rs"]
mod common;

#[path = "."]
mod talk {
    //! A client of the protocol, and what it must be told.

    #[path = "../../nbd/tests/talk/bench.rs"]
    pub mod bench;
    #[path = "../../nbd/tests/talk/model.rs"]
    pub mod model;
    #[path = "../../nbd/tests/talk/replies.rs"]
    pub mod replies;
    #[path = "../../nbd/tests/talk/script.rs"]
    pub mod script;
}

#[path = "."]
mod hostile {
    //! Bundles taken apart, and forged.
    #![allow(dead_code, reason = "the tests of bundles use all of it")]
    #![allow(clippy::expect_used, reason = "a vector that is not sound is a failure")]

    #[path = "../../melv/tests/hostile/forge.rs"]
    pub mod forge;
    #[path = "../../melv/tests/hostile/model.rs"]
    pub mod model;
}

pub mod bundles;
mod input;
pub mod nbd;
pub mod places;
pub mod seal;
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

/// A target, by its name.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As in `bin/NAME.rs`, `corpus/NAME` and `found/NAME-what`.
    pub name: &'static str,
    /// The function.
    pub call: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident)*) => {
        /// All of them.
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
