//! Failures to read an image.

use std::{io, path::PathBuf};

use crate::sources::{Compression, Digest, TarError, UnpackError, shown};

/// Failure to read an image.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// The archive or folder cannot be opened.
    #[error("{} cannot be opened", path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file of the folder cannot be opened; a link is one of the reasons.
    #[error("the file {} of the image's folder cannot be opened without following links", shown(name.as_bytes()))]
    OpenBlob {
        /// Its path in the folder.
        name: String,
        /// The reason.
        source: io::Error,
    },
    /// A file of the folder is a folder, device or pipe.
    #[error("{} in the image's folder is no file", shown(.0.as_bytes()))]
    NoFile(String),
    /// The archive is compressed as a whole, so that no part of it can be read by its position.
    #[error("the archive is compressed as a whole with {0}")]
    Compressed(Compression),
    /// The archive is damaged.
    #[error("the archive")]
    Archive(#[source] TarError),
    /// The archive has too many entries.
    #[error("the archive has more than {0} entries")]
    Entries(usize),
    /// There is no list of images.
    #[error("neither manifest.json nor index.json is there")]
    NoList,
    /// A file that another names is not there.
    #[error("{} is not there, or no whole file", shown(.0.as_bytes()))]
    Missing(String),
    /// A document is too long.
    #[error("{} has {len} bytes, and {limit} are the most", shown(name.as_bytes()))]
    TooLarge {
        /// Its name.
        name: String,
        /// Its length.
        len: u64,
        /// The most bytes.
        limit: u64,
    },
    /// A file cannot be read.
    #[error("{} cannot be read", shown(name.as_bytes()))]
    Read {
        /// Its name.
        name: String,
        /// The reason.
        source: io::Error,
    },
    /// A document is no JSON, or has not the fields that it needs.
    #[error("{} is not the document that it should be", shown(name.as_bytes()))]
    Json {
        /// Its name.
        name: String,
        /// The reason.
        source: serde_json::Error,
    },
    /// A document has a version that is not read here.
    #[error("{} has the schema version {found}, and 2 is supported", shown(name.as_bytes()))]
    Schema {
        /// Its name.
        name: String,
        /// The version.
        found: u64,
    },
    /// A digest is not `sha256:` and 64 hexadecimal digits.
    #[error("the digest {} is not sha256", shown(.0.as_bytes()))]
    DigestForm(String),
    /// A file has another digest than the one by which it is named.
    #[error("{} has the digest {found}, and {expected} was expected", shown(name.as_bytes()))]
    Digest {
        /// Its name.
        name: String,
        /// The digest by which it is named.
        expected: Digest,
        /// The digest of its bytes.
        found: Digest,
    },
    /// A file has another length than the document tells that names it.
    #[error("{} has {found} bytes, and {expected} were expected", shown(name.as_bytes()))]
    Size {
        /// Its name.
        name: String,
        /// The length by the document.
        expected: u64,
        /// Its length.
        found: u64,
    },
    /// A kind of document or layer that is not read here.
    #[error("the media type {} is not supported", shown(.0.as_bytes()))]
    MediaType(String),
    /// Lists of images lie in each other too deep.
    #[error("lists of images lie in each other deeper than {0}")]
    Nested(usize),
    /// No image is for this kind of machine.
    #[error("the image is for {}, and linux/amd64 is supported", found.join(", "))]
    Platform {
        /// The kinds of machine that it is for.
        found: Vec<String>,
    },
    /// There are several images, and no name tells them apart.
    #[error("there are several images: {}", names.join(", "))]
    Several {
        /// Their names.
        names: Vec<String>,
    },
    /// No image has the name.
    #[error("no image has the name {}; there are: {}", shown(wanted.as_bytes()), names.join(", "))]
    NoImage {
        /// The name.
        wanted: String,
        /// The names that are there.
        names: Vec<String>,
    },
    /// An image has too many layers.
    #[error("the image has {found} layers, and {limit} are the most")]
    Layers {
        /// Their number.
        found: usize,
        /// The most.
        limit: usize,
    },
    /// The configuration tells of more or fewer layers.
    #[error("the image has {layers} layers, and its configuration has digests for {diff_ids}")]
    DiffIds {
        /// Layers.
        layers: usize,
        /// Digests.
        diff_ids: usize,
    },
    /// The configuration has a value that cannot be.
    #[error("the configuration has {} in {field}, which cannot be", shown(value.as_bytes()))]
    Config {
        /// Name of the field.
        field: &'static str,
        /// The value.
        value: String,
    },
    /// A layer cannot be unpacked.
    #[error("layer {number}, {}", shown(name.as_bytes()))]
    Layer {
        /// Its number, from 1.
        number: usize,
        /// Its name.
        name: String,
        /// The reason.
        source: UnpackError,
    },
}
