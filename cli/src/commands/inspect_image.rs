//! The output of `melv inspect` for an image.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use melv::image::Lineage;
use melv::limits::BLOCK_LEN;
use melv::ondisk::manifest::ListUse;
use melv::{BlockDevice, Image, ImageId};
use serde_json::{Value, json};

use crate::bundled_image::names_text;
use crate::cause::chain;
use crate::commands::inspect_appliance;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::log::note;
use crate::opened_image::OpenedImage;
use crate::order::natural;
use crate::stdout;
use crate::store_path::failure_in_store;
use crate::units::{exact, human};

/// The maximum number of lines about one image without `--all`.
const LINES_MAX: usize = 20;
/// The maximum number of names, which may take several lines.
const NAMES_MAX: usize = 6;
/// The maximum number of ancestors.
const ANCESTORS_MAX: usize = 3;
/// The minimum number of images that share data with it.
const SHARED_MIN: usize = 3;

/// Describes an image, as JSON and as text. The exit code tells of damage elsewhere, which hides the images that
/// share data with it.
pub fn describe(found: &OpenedImage, all: bool) -> Result<(Value, String, Exit), Failure> {
    let facts = found.in_bundle(Facts::of(found))?;
    let appliance = inspect_appliance::record(&found.image)?;
    let exit = if facts.sharing.is_some() { Exit::Done } else { Exit::Damage };
    let mut json = facts.json(&found.image);
    let mut lines = facts.lines(&found.image, all);
    if let Some(record) = &appliance {
        json["appliance"] = inspect_appliance::json(record);
        lines.splice(lines.len().min(3)..lines.len().min(3), inspect_appliance::lines(record, all));
    }
    Ok((json, stdout::facts(&lines), exit))
}

/// An image with some of the same blocks, and the number of bytes both have.
struct Shared {
    image: ImageId,
    names: Vec<String>,
    bytes: u64,
}

/// The facts about an image beyond its manifest.
struct Facts {
    chunk_bytes: Option<u64>,
    level: Option<u64>,
    data_bytes: u64,
    parent: Option<String>,
    names: Vec<String>,
    /// The ancestors in the store, nearest first.
    lineage: Vec<String>,
    /// The other images, ordered by shared bytes, most first; `None` if damage elsewhere prevents counting.
    sharing: Option<Vec<Shared>>,
}

impl Facts {
    fn of(found: &OpenedImage) -> melv::Result<Self> {
        let (store, image) = (&found.images, &found.image);
        let manifest = image.manifest();
        let number = |key: &str| manifest.metadata.get(key)?.parse().ok();
        let mut names: BTreeMap<ImageId, Vec<String>> = BTreeMap::new();
        let mut references = store.names()?;
        references.sort_by(|(one, _), (other, _)| natural(one, other));
        for (name, named) in references {
            if let Ok(named) = named {
                names.entry(named.image).or_default().push(name.to_string());
            }
        }
        let names_of = |id: &ImageId| names.get(id).cloned().unwrap_or_default();
        let sharing = match store.sharing(image) {
            Ok(others) => {
                let shared = others.iter().map(|other| Shared {
                    image: other.image,
                    names: names_of(&other.image),
                    bytes: other.bytes,
                });
                let mut shared: Vec<_> = shared.collect();
                shared.sort_by_key(|other| (Reverse(other.bytes), other.image));
                Some(shared)
            }
            Err(error) => {
                let failure = failure_in_store(Failure::of_bundle(found.bundle.as_deref(), error));
                note(&format!("melv: cannot compute the data shared with other images: {}", chain(&failure)));
                None
            }
        };
        let ancestors = Lineage::of(store, image)?;
        Ok(Self {
            chunk_bytes: number("melv.chunk-bytes"),
            level: number("melv.level"),
            data_bytes: manifest.data_blocks * BLOCK_LEN as u64,
            parent: (!manifest.parent.is_zero()).then(|| manifest.parent.to_string()),
            names: names_of(&image.id()),
            lineage: ancestors.images().iter().skip(1).map(|image| image.id().to_string()).collect(),
            sharing,
        })
    }

    fn json(&self, image: &Image) -> Value {
        let manifest = image.manifest();
        let list = |list: &ListUse| {
            json!({
                "list": list.id.to_string(),
                "chunk_bytes": u64::from(list.shape.chunk_blocks) * BLOCK_LEN as u64,
                "bytes": list.shape.blocks * BLOCK_LEN as u64,
            })
        };
        let other = |other: &Shared| json!({ "image": other.image.to_string(), "names": other.names, "bytes": other.bytes });
        json!({
            "image": image.id().to_string(),
            "content": manifest.content.to_string(),
            "size": image.size(),
            "parent": self.parent,
            "chunk_bytes": self.chunk_bytes,
            "level": self.level,
            "map_bytes": image.map_bytes(),
            "sector_size": image.sector_bits().logical_bytes(),
            "data_bytes": self.data_bytes,
            "names": self.names,
            "lineage": self.lineage,
            "lists": manifest.lists.iter().map(list).collect::<Vec<_>>(),
            "sharing": self.sharing.as_ref().map(|others| others.iter().map(other).collect::<Vec<_>>()),
            "metadata": manifest.metadata,
        })
    }

    fn lines(&self, image: &Image, all: bool) -> Vec<(&'static str, String)> {
        let unknown = || "unknown".to_owned();
        let names = first(&self.names, NAMES_MAX, all).join(" ");
        let mut lines = vec![
            ("names", if self.names.is_empty() { "none".into() } else { names }),
            ("size", exact(image.size())),
            ("data", exact(self.data_bytes)),
            ("image", image.id().to_string()),
            ("content", image.manifest().content.to_string()),
            ("map", exact(image.map_bytes())),
            ("chunks", self.chunk_bytes.map_or_else(unknown, human)),
            ("level", self.level.map_or_else(unknown, |level| level.to_string())),
            ("lists", image.manifest().lists.len().to_string()),
            ("parent", self.parent.clone().unwrap_or_else(|| "none".into())),
        ];
        let sectors = image.sector_bits().logical_bytes();
        if sectors != 512 {
            lines.insert(4, ("sectors", exact(sectors)));
        }
        if self.parent.is_some() && self.lineage.is_empty() {
            lines.push(("", "which is not here".into()));
        }
        let older = self.lineage.get(1..).unwrap_or_default();
        lines.extend(first(older, ANCESTORS_MAX, all).into_iter().map(|ancestor| ("", ancestor)));
        lines.extend(self.shares(LINES_MAX.saturating_sub(lines.len()), all));
        lines
    }

    /// Returns the lines about sharing images: at most `room`, but at least `SHARED_MIN` of them and a count.
    fn shares(&self, room: usize, all: bool) -> Vec<(&'static str, String)> {
        let others = self.sharing.iter().flatten().filter(|other| other.bytes > 0);
        let others: Vec<_> = others.map(|other| (human(other.bytes), other)).collect();
        let width = others.iter().map(|(size, _)| size.len()).max().unwrap_or(0);
        let line = |(size, other): &(String, &Shared)| {
            let names =
                if all && !other.names.is_empty() { other.names.join(" ") } else { names_text(&other.names) };
            format!("{size:>width$}  @{}  {names}", other.image.short())
        };
        let lines: Vec<_> = others.iter().map(line).collect();
        let shown = if lines.len() <= room { room } else { room.saturating_sub(1).max(SHARED_MIN) };
        let labels = std::iter::once("shares").chain(std::iter::repeat(""));
        labels.zip(first(&lines, shown, all)).collect()
    }
}

/// Returns the first `max` texts and the number of further ones, or all texts.
fn first(texts: &[String], max: usize, all: bool) -> Vec<String> {
    if all || texts.len() <= max {
        return texts.to_vec();
    }
    let mut shown = texts[..max].to_vec();
    shown.push(format!("and {} more (--all lists them)", texts.len() - max));
    shown
}
