//! An image of a bundle, as far as a list shows it.

use melv::{ContentId, ImageId, ImageRef, Images, RefName};
use serde_json::{Value, json};

/// The maximum number of an image's names in one line.
const NAMES_SHOWN: usize = 3;

/// An image in a bundle.
#[derive(Debug, Clone)]
pub struct BundledImage {
    /// The image id.
    pub image: ImageId,
    /// The content id.
    pub content: ContentId,
    /// The size of the disk, in bytes.
    pub size: u64,
    /// The names of the image in the bundle.
    pub names: Vec<RefName>,
}

impl BundledImage {
    /// Returns all images of a bundle: first those with names, in the order of their names.
    pub fn all(images: &Images) -> melv::Result<Vec<Self>> {
        let mut found: Vec<Self> = Vec::new();
        for reference in images.image_refs()? {
            let id = images.resolve(&reference)?;
            let name = if let ImageRef::Name(name) = reference { Some(name) } else { None };
            if let Some(known) = found.iter_mut().find(|known| known.image == id) {
                known.names.extend(name);
                continue;
            }
            let image = images.image_by_id(id)?;
            let geometry = image.manifest().geometry;
            found.push(Self {
                image: id,
                content: image.manifest().content,
                size: geometry.size_bytes,
                names: name.into_iter().collect(),
            });
        }
        Ok(found)
    }

    /// Returns the image as JSON.
    pub fn json(&self) -> Value {
        json!({
            "image": self.image.to_string(),
            "content": self.content.to_string(),
            "names": self.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "size": self.size,
        })
    }

    /// Returns the names as text for people.
    pub fn names(&self) -> String {
        names_text(&self.names)
    }
}

/// Formats names for people, at most `NAMES_SHOWN` of them.
pub fn names_text(names: &[impl ToString]) -> String {
    if names.is_empty() {
        return "(no name)".into();
    }
    let shown: Vec<_> = names.iter().take(NAMES_SHOWN).map(ToString::to_string).collect();
    let more = if names.len() > NAMES_SHOWN { " …" } else { "" };
    format!("{}{more}", shown.join(" "))
}
