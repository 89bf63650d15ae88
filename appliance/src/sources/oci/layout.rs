//! Indexes and manifests of an OCI layout.
//!
//! Layout: OCI Image Specification 1.1, `image-layout.md`, `image-index.md`, `manifest.md`; Docker's media types of
//! schema 2, which mean the same.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};

use crate::sources::digest::Digest;

use super::{
    blobs::{self, Blobs},
    error::OciError,
    name::matches,
    plan::{Layer, Plan},
    section::Section,
};

/// Lists within lists: an index per image, in an index of images.
const NESTED: usize = 4;

/// Manifests in all lists of one image together.
const MANIFESTS: usize = 4096;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u64,
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u64,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

impl Descriptor {
    fn names(&self) -> impl Iterator<Item = &str> {
        let keys = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
        let annotations = self.annotations.as_ref();
        keys.into_iter().filter_map(move |key| annotations?.get(key).map(String::as_str))
    }

    /// Whether it describes a statement about an image, as Docker's builder adds them, rather than an image.
    fn is_statement(&self) -> bool {
        let annotations = self.annotations.as_ref();
        annotations.is_some_and(|annotations| annotations.contains_key("vnd.docker.reference.type"))
    }

    fn is_index(&self) -> Result<bool, OciError> {
        match self.media_type.as_str() {
            "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json" => Ok(true),
            "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json" => Ok(false),
            _ => Err(OciError::MediaType(self.media_type.clone())),
        }
    }

    /// Reads the document that it describes.
    fn document<T: DeserializeOwned>(&self, blobs: &Blobs) -> Result<T, OciError> {
        let digest = blobs::digest(&self.digest)?;
        let (name, section) = blobs.blob(digest, self.size)?;
        blobs::json(&name, section, Some(digest))
    }
}

/// Finds the image, and the parts of it.
pub(super) fn plan(blobs: &Blobs, list: Section, wanted: Option<&str>) -> Result<Plan, OciError> {
    let index: Index = blobs::json("index.json", list, None)?;
    check_schema("index.json", index.schema_version)?;
    let names =
        || index.manifests.iter().filter_map(|image| image.names().next().map(str::to_owned)).collect();
    let is_wanted =
        |image: &Descriptor| wanted.is_none_or(|wanted| image.names().any(|name| matches(name, wanted)));
    let found: Vec<Descriptor> = index.manifests.iter().filter(|image| is_wanted(image)).cloned().collect();
    if let (true, Some(wanted)) = (found.is_empty(), wanted) {
        return Err(OciError::NoImage { wanted: wanted.to_owned(), names: names() });
    }
    let mut search = Search::default();
    search.look(blobs, found, 0)?;
    let mut images: Vec<Descriptor> = search.images.into_values().collect();
    match (images.pop(), images.is_empty()) {
        (Some(image), true) => manifest(blobs, &image),
        (None, _) if search.others.is_empty() => Err(OciError::NoList),
        (None, _) => Err(OciError::Platform { found: search.others }),
        (Some(_), false) => Err(OciError::Several { names: names() }),
    }
}

/// Manifests for this kind of machine by their digests, and the kinds that others are for.
#[derive(Debug, Default)]
struct Search {
    images: BTreeMap<String, Descriptor>,
    others: Vec<String>,
    seen: usize,
}

impl Search {
    fn look(&mut self, blobs: &Blobs, list: Vec<Descriptor>, depth: usize) -> Result<(), OciError> {
        if depth > NESTED {
            return Err(OciError::Nested(NESTED));
        }
        for image in list {
            self.seen += 1;
            if self.seen > MANIFESTS {
                return Err(OciError::Entries(MANIFESTS));
            }
            if image.is_statement() {
                continue;
            }
            if image.is_index()? {
                let index: Index = image.document(blobs)?;
                check_schema(&image.digest, index.schema_version)?;
                self.look(blobs, index.manifests, depth + 1)?;
                continue;
            }
            match &image.platform {
                Some(Platform { architecture, os }) if architecture != "amd64" || os != "linux" => {
                    self.others.push(format!("{}/{}", text(os), text(architecture)));
                }
                _ => {
                    self.images.insert(image.digest.clone(), image);
                }
            }
        }
        Ok(())
    }
}

fn text(value: &str) -> String {
    crate::sources::shown(value.as_bytes())
}

fn check_schema(name: &str, found: u64) -> Result<(), OciError> {
    if found == 2 { Ok(()) } else { Err(OciError::Schema { name: name.to_owned(), found }) }
}

/// Finds the parts of the image of a manifest.
fn manifest(blobs: &Blobs, image: &Descriptor) -> Result<Plan, OciError> {
    let manifest: Manifest = image.document(blobs)?;
    check_schema(&image.digest, manifest.schema_version)?;
    match manifest.config.media_type.as_str() {
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json" => {}
        other => return Err(OciError::MediaType(other.to_owned())),
    }
    let config = manifest.config.document(blobs)?;
    let layers = manifest.layers.iter().map(|layer| {
        if !is_layer(&layer.media_type) {
            return Err(OciError::MediaType(layer.media_type.clone()));
        }
        let digest: Digest = blobs::digest(&layer.digest)?;
        let (name, section) = blobs.blob(digest, layer.size)?;
        Ok(Layer { name, section, digest: Some(digest) })
    });
    Ok(Plan { config, layers: layers.collect::<Result<_, _>>()? })
}

/// Whether a layer is a tar. Its compression is told by its bytes.
fn is_layer(media_type: &str) -> bool {
    const KINDS: [&str; 4] = [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ];
    let rest = KINDS.iter().find_map(|kind| media_type.strip_prefix(kind));
    matches!(rest, Some("" | "+gzip" | "+zstd" | ".gzip" | ".zstd"))
}
