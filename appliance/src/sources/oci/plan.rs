//! The parts of one image, found and not yet read.

use crate::sources::digest::Digest;

use super::{config::Document, section::Section};

/// A configuration, and layers in their order.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: Document,
    pub(super) layers: Vec<Layer>,
}

/// A layer.
#[derive(Debug)]
pub(super) struct Layer {
    /// Name of its file.
    pub(super) name: String,
    /// Its bytes.
    pub(super) section: Section,
    /// The digest of these bytes, where the file is named by it.
    pub(super) digest: Option<Digest>,
}
