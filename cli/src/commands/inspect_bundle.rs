//! The output of `melv inspect` for a bundle: the file, and the images in it.

use std::path::Path;

use melv::digest::object_digest;
use melv::fault::RuleViolation;
use melv::ondisk::bundle::{HEAD_LEN, Head, Table};
use melv::{BlockDevice, ImageId, RawFile, StoreError};
use serde_json::{Value, json};

use crate::bundled_image::BundledImage;
use crate::failure::Failure;
use crate::stdout::{facts, table};
use crate::units::{exact, human};

/// The facts about a bundle beyond its images.
pub struct BundleFacts {
    name: String,
    bytes: u64,
    bases: Vec<ImageId>,
}

impl BundleFacts {
    /// Reads the facts of the bundle at `path`, which was opened before.
    pub fn of(path: &Path) -> Result<Self, Failure> {
        let file = RawFile::open(path, true)?;
        let name = path.display().to_string();
        let corrupt = |offset| {
            let name = name.clone();
            move |fault| Failure::from(StoreError::corrupt(name, offset, fault))
        };
        let mut bytes = vec![0; HEAD_LEN.min(file.size()) as usize];
        file.read_at(0, &mut bytes)?;
        let head = Head::decode(&bytes).map_err(corrupt(0))?;
        head.check_len(file.size(), false).map_err(corrupt(0))?;
        let mut bytes = vec![0; head.table_len as usize];
        file.read_at(head.table_offset, &mut bytes)?;
        let found = object_digest(&bytes);
        if found != head.table_digest {
            let (expected, found) = (head.table_digest.to_string(), found.to_string());
            return Err(corrupt(head.table_offset)(RuleViolation::PageDigest { expected, found }));
        }
        let table = Table::decode(&bytes, head.table_offset).map_err(corrupt(head.table_offset))?;
        Ok(Self { name, bytes: head.len, bases: table.bases })
    }

    /// Returns the facts as JSON.
    pub fn json(&self) -> Value {
        let bases: Vec<_> = self.bases.iter().map(ToString::to_string).collect();
        json!({ "file": self.name, "format": "bundle", "file_bytes": self.bytes, "bases": bases })
    }

    /// Returns the facts as lines of text.
    pub fn text(&self) -> String {
        let mut lines =
            vec![("file", self.name.clone()), ("format", "melv bundle".into()), ("bytes", exact(self.bytes))];
        let labels = std::iter::once("without").chain(std::iter::repeat(""));
        lines.extend(labels.zip(&self.bases).map(|(label, base)| (label, base.to_string())));
        facts(&lines)
    }
}

/// Formats the images of a bundle as a table.
pub fn table_of(images: &[BundledImage]) -> String {
    let mut rows = vec![["NAME", "IMAGE", "CONTENT", "SIZE"].map(String::from).to_vec()];
    rows.extend(
        images.iter().map(|image| {
            vec![image.names(), image.image.short(), image.content.to_string(), human(image.size)]
        }),
    );
    table(&rows, &[3])
}
