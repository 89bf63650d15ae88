//! `melv inspect`: what an image or a file is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use melv::image::Lineage;
use melv::limits::BLOCK_LEN;
use melv::ondisk::manifest::ListUse;
use melv::{BlockDevice, Digest, Image, Store};
use serde_json::{Value, json};

use super::inspect_file;
use crate::bundle_ref::{BundleRef, HeldImage};
use crate::exit::{Exit, Failure, chain};
use crate::operand::{Found, Operand};
use crate::report::{human, note};
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  $ melv inspect web
  $ melv inspect web.melv
  $ melv inspect ./disk.vmdk --json

Of a VMDK that is a difference to another disk, which is not read, the type, the size and the parent
are told; with --json as \"parent\": {\"file\", \"cid\", \"uuid\", \"other\"}, each null where it is not known.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Image of the store or of a bundle, else a bundle or any other file
    #[arg(value_name = "REF|FILE")]
    what: String,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let bundle = BundleRef::of_reference(&args.what)?.map_or_else(
        || match Operand::find(&args.what, session)? {
            Operand::Image(found) => Ok(What::Image(found)),
            Operand::File(path) => BundleRef::of_file(&path)
                .map(|bundle| bundle.map_or_else(|| What::File(path.clone()), What::Bundle)),
        },
        |bundle| Ok(What::Bundle(bundle)),
    )?;
    let (json, text, exit) = match bundle {
        What::Image(found) => describe_image(&found)?,
        What::Bundle(bundle) => describe_bundle(&bundle, session)?,
        What::File(path) => {
            let (json, text) = inspect_file::describe(&path, session)?;
            (json, text, Exit::Done)
        }
    };
    session.out().data(&json, &text)?;
    Ok(exit)
}

/// What is looked at.
enum What {
    Image(Box<Found>),
    Bundle(BundleRef),
    File(PathBuf),
}

fn describe_image(found: &Found) -> Result<(Value, String, Exit), Failure> {
    let facts = Facts::of(&found.store, &found.image).map_err(|failure| match failure {
        Failure::Melv(error) => Failure::of_bundle(found.bundle.as_deref(), error),
        other => other,
    })?;
    let exit = if facts.sharing.is_some() { Exit::Done } else { Exit::Damage };
    Ok((facts.json(&found.image), facts.text(&found.image), exit))
}

/// The image of a bundle that is named, or the only one, with the bundle; of several, what each is.
fn describe_bundle(bundle: &BundleRef, session: &Session<'_>) -> Result<(Value, String, Exit), Failure> {
    let store = bundle.open(session)?;
    let file = inspect_file::BundleFacts::of(&bundle.path)?;
    match bundle.image_of(store) {
        Ok(found) => {
            let (mut json, text, exit) = describe_image(&found)?;
            json["bundle"] = file.json();
            Ok((json, format!("{}{text}", file.text()), exit))
        }
        Err(Failure::SeveralImages { images, .. }) => {
            let mut json = file.json();
            json["images"] = images.iter().map(HeldImage::json).collect();
            Ok((json, format!("{}{}", file.text(), inspect_file::table_of(&images)), Exit::Done))
        }
        Err(failure) => Err(failure),
    }
}

/// What is to be told of an image beyond its manifest.
struct Facts {
    chunk_bytes: Option<u64>,
    level: Option<u64>,
    data_bytes: u64,
    parent: Option<String>,
    names: Vec<String>,
    /// Ancestors that are in the store, nearest first.
    lineage: Vec<String>,
    /// Other images: id, names, bytes that both hold; `None` where damage elsewhere hides it.
    sharing: Option<Vec<(Digest, Vec<String>, u64)>>,
}

impl Facts {
    fn of(store: &Store, image: &Image) -> Result<Self, Failure> {
        let manifest = image.manifest();
        let number = |key: &str| manifest.metadata.get(key)?.parse().ok();
        let mut names: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        for (name, named) in store.references()? {
            if let Ok(named) = named {
                names.entry(named.image).or_default().push(name.to_string());
            }
        }
        let names_of = |id: &Digest| names.get(id).cloned().unwrap_or_default();
        let sharing = match store.sharing(image) {
            Ok(others) => {
                Some(others.iter().map(|other| (other.image, names_of(&other.image), other.bytes)).collect())
            }
            Err(error) => {
                note(&format!("melv: what is shared with other images cannot be told: {}", chain(&error)));
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
        let other = |(id, names, bytes): &(Digest, Vec<String>, u64)| json!({ "image": id.to_string(), "names": names, "bytes": bytes });
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

    fn text(&self, image: &Image) -> String {
        let exact = |bytes: u64| format!("{} ({bytes} bytes)", human(bytes));
        let unknown = || "unknown".to_owned();
        let mut lines = vec![
            ("image", image.id().to_string()),
            ("content", image.manifest().content.to_string()),
            ("names", if self.names.is_empty() { "none".into() } else { self.names.join(" ") }),
            ("size", exact(image.size())),
            ("data", exact(self.data_bytes)),
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
        lines.extend(self.lineage.iter().skip(1).map(|ancestor| ("", ancestor.clone())));
        let others = self.sharing.iter().flatten();
        lines.extend(others.zip(std::iter::once("shares").chain(std::iter::repeat(""))).map(
            |((id, names, bytes), label)| {
                (label, format!("{} with {} @{}", human(*bytes), names.join(" "), id.short()))
            },
        ));
        lines.iter().map(|(label, value)| format!("{label:<8}  {value}\n")).collect()
    }
}
