//! `melv inspect`: what an image or a file is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use melv::image::Lineage;
use melv::limits::BLOCK_LEN;
use melv::ondisk::manifest::ListUse;
use melv::source::RawFile;
use melv::{BlockDevice, Digest, Image, Store};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, chain};
use crate::operand::Operand;
use crate::report::{human, note};
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  $ melv inspect web
  $ melv inspect ./disk.raw --json";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Image of the store, else a file
    #[arg(value_name = "REF|FILE")]
    what: String,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let (json, text, exit) = match Operand::find(&args.what, session.store())? {
        Operand::Image(image) => {
            let facts = Facts::of(&session.store()?, &image)?;
            let exit = if facts.sharing.is_some() { Exit::Done } else { Exit::Damage };
            (facts.json(&image), facts.text(&image), exit)
        }
        Operand::File(path) => {
            let (json, text) = describe_file(&path)?;
            (json, text, Exit::Done)
        }
    };
    session.out().data(&json, &text)?;
    Ok(exit)
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
        if self.parent.is_some() && self.lineage.is_empty() {
            lines.push(("", "which is not in this store".into()));
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

fn describe_file(path: &Path) -> Result<(Value, String), Failure> {
    let file = PathBuf::from(path);
    let file_bytes = crate::operand::metadata(&file)?.len();
    let disk = RawFile::open(path, true)?;
    let foreign = disk.foreign_format()?;
    // The file's size is the disk's only where the format is raw.
    let size =
        if foreign.is_some() { None } else { Some(if file_bytes > 0 { file_bytes } else { disk.size() }) };
    let format = foreign.unwrap_or("raw");
    let token = format.split(' ').next().unwrap_or(format).to_lowercase();
    let name = path.display().to_string();
    let json = json!({ "file": name, "format": token, "size": size, "file_bytes": file_bytes });
    let text = match size {
        Some(size) => {
            format!("file      {name}\nformat    {format}\nsize      {} ({size} bytes)\n", human(size))
        }
        None => format!(
            "file      {name}\nformat    {format}, which this version of melv does not read\nfile size {} ({file_bytes} bytes)\n",
            human(file_bytes)
        ),
    };
    Ok((json, text))
}
