//! The list of images that `docker save` writes, `manifest.json`.
//!
//! Layout: Docker's image specification 1.2, "Combined Image JSON + Filesystem Changeset Format". Since version 25,
//! Docker writes an OCI layout beside it, in the same archive, and the list names its blobs.

use serde::Deserialize;

use crate::sources::digest::Digest;

use super::{
    blobs::{self, Blobs},
    error::OciError,
    name::matches,
    plan::{Layer, Plan},
    section::Section,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// Finds the image, and the parts of it.
pub(super) fn plan(blobs: &Blobs, list: Section, wanted: Option<&str>) -> Result<Plan, OciError> {
    let images: Vec<Saved> = blobs::json("manifest.json", list, None)?;
    let tags = |image: &Saved| image.repo_tags.clone().unwrap_or_default();
    let names = || images.iter().flat_map(tags).collect();
    let found = images.iter().filter(|image| match wanted {
        Some(wanted) => tags(image).iter().any(|tag| matches(tag, wanted)),
        None => true,
    });
    let mut found: Vec<&Saved> = found.collect();
    found.dedup_by(|one, other| one.config == other.config);
    let image = match (&found[..], wanted) {
        ([image], _) => *image,
        ([], Some(wanted)) => return Err(OciError::NoImage { wanted: wanted.to_owned(), names: names() }),
        ([], None) => return Err(OciError::NoList),
        _ => return Err(OciError::Several { names: names() }),
    };
    let config = blobs::json(&image.config, blobs.get(&image.config)?, digest_in_name(&image.config))?;
    let layers = image.layers.as_deref().unwrap_or_default().iter();
    let layers = layers.map(|name| {
        let digest = name.strip_prefix("blobs/sha256/").and_then(Digest::from_hex);
        Ok(Layer { name: name.clone(), section: blobs.get(name)?, digest })
    });
    Ok(Plan { config, layers: layers.collect::<Result<_, OciError>>()? })
}

/// Returns the digest by which a configuration is named: `HEX.json`, or a blob of the layout.
fn digest_in_name(name: &str) -> Option<Digest> {
    Digest::from_hex(name.strip_prefix("blobs/sha256/").or_else(|| name.strip_suffix(".json"))?)
}
