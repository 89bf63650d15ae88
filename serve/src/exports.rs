//! Disks by name as front ends see them, whatever the disks are.

use std::fmt::{self, Debug, Display};
use std::sync::Arc;

use melv_block::{BlockDevice, Result};
use melv_format::ImageId;
use melv_format::limits::BLOCK_LEN;

use super::catalog::{Catalog, CatalogEntry};
use super::disk::ServedDisk;

/// The identity of a disk. A name that moves to another disk gets another identity, so whatever a client keeps
/// about an identity stays valid.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExportId(Arc<str>);

impl ExportId {
    /// Creates an identity of this text.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }
}

impl Display for ExportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&ImageId> for ExportId {
    fn from(image: &ImageId) -> Self {
        Self::new(image.to_string())
    }
}

/// A disk under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportEntry {
    /// The name without its tag.
    pub name: String,
    /// The tag.
    pub tag: String,
    /// The identity of the disk.
    pub id: ExportId,
    /// The time the name was given, in seconds since 1970 UTC, if known.
    pub created_seconds: Option<u64>,
    /// A description for people.
    pub description: String,
}

impl ExportEntry {
    /// Creates an entry without a time and a description.
    pub fn new(name: impl Into<String>, tag: impl Into<String>, id: ExportId) -> Self {
        let (name, tag, description) = (name.into(), tag.into(), String::new());
        Self { name, tag, id, created_seconds: None, description }
    }

    /// Returns the name that identifies exactly this entry: `NAME:TAG`, or `NAME` if the tag is empty.
    #[must_use]
    pub fn full_name(&self) -> String {
        if self.tag.is_empty() { self.name.clone() } else { format!("{}:{}", self.name, self.tag) }
    }
}

/// Information about a disk that is not open.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportInfo {
    /// The disk and its name.
    pub entry: ExportEntry,
    /// The content id, if the content is known by one.
    pub content: Option<String>,
    /// The size of the disk, in bytes.
    pub size_bytes: u64,
    /// The size of its data without zero blocks, in bytes.
    pub data_bytes: u64,
}

impl ExportInfo {
    /// Creates the information about a disk without a content id.
    #[must_use]
    pub fn new(entry: ExportEntry, size_bytes: u64, data_bytes: u64) -> Self {
        Self { entry, content: None, size_bytes, data_bytes }
    }
}

/// An open disk, as one client sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Export {
    /// The name of exactly this disk.
    pub name: String,
    /// The identity of the disk.
    pub id: ExportId,
    /// A description for people.
    pub description: String,
    /// The disk, which is held until the client leaves.
    pub disk: Arc<dyn BlockDevice>,
    /// The preferred length and alignment of requests, in bytes: a power of two, at least 512.
    pub preferred_len: u32,
}

impl Export {
    /// Creates an export of `disk`, to be read in pieces of 4096 bytes, without a description.
    pub fn new(name: impl Into<String>, id: ExportId, disk: Arc<dyn BlockDevice>) -> Self {
        Self { name: name.into(), id, description: String::new(), disk, preferred_len: BLOCK_LEN as u32 }
    }
}

/// A source of disks by name; its content may change at any time.
///
/// All disks are read-only so far. The structs that this trait returns are not exhaustive, so that an export may
/// come with the right to write.
pub trait Exports: Send + Sync + Debug {
    /// Returns all entries in ascending order of names.
    ///
    /// # Errors
    /// If the names cannot be listed.
    fn list(&self) -> Result<Vec<ExportEntry>>;

    /// Returns the entries called `name`, with any tag.
    ///
    /// # Errors
    /// If the names cannot be listed.
    fn list_of(&self, name: &str) -> Result<Vec<ExportEntry>> {
        Ok(self.list()?.into_iter().filter(|entry| entry.name == name).collect())
    }

    /// Returns a tag of `name`: `known` if it is one. It should cost one lookup, however many names there are.
    ///
    /// # Errors
    /// If the names cannot be listed.
    fn tag_of(&self, name: &str, known: Option<&str>) -> Result<Option<String>> {
        let entries = self.list_of(name)?;
        let is_known = |entry: &&ExportEntry| Some(entry.tag.as_str()) == known;
        let entry = entries.iter().find(is_known).or(entries.first());
        Ok(entry.map(|entry| entry.tag.clone()))
    }

    /// Returns information about the disk called `name`, without opening it; `None` if there is none.
    ///
    /// # Errors
    /// If the disk cannot be looked up.
    fn info(&self, name: &str) -> Result<Option<ExportInfo>>;

    /// Opens the disk called `name`; the empty name may be a default. Returns `None` if there is none.
    ///
    /// # Errors
    /// If the disk cannot be opened.
    fn open(&self, name: &str) -> Result<Option<Export>>;

    /// Returns a disk that is already open, even if its names have changed.
    fn opened(&self, id: &ExportId) -> Option<Export>;
}

impl From<CatalogEntry> for ExportEntry {
    fn from(entry: CatalogEntry) -> Self {
        let CatalogEntry { name, tag, image, created_seconds } = entry;
        let description = format!("image {image}");
        Self { name, tag, id: ExportId::from(&image), created_seconds, description }
    }
}

impl Export {
    fn of(disk: Arc<ServedDisk>) -> Self {
        let sector_len = disk.sector_bits().logical_bytes();
        let mut description = format!("image {}, content {}", disk.image_id(), disk.content_id());
        if sector_len != 512 {
            description.push_str(&format!(", sectors of {sector_len} bytes"));
        }
        // The lower bound is the largest sector size of any disk.
        let preferred_len = disk.chunk_len().next_power_of_two().clamp(4096, 1 << 20);
        let id = ExportId::from(&disk.image_id());
        Self { name: disk.name(), id, description, preferred_len, disk }
    }
}

/// Returns `None` for a name that does not exist.
fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

impl Exports for Catalog {
    fn list(&self) -> Result<Vec<ExportEntry>> {
        Ok(Self::list(self)?.into_iter().map(Into::into).collect())
    }

    fn list_of(&self, name: &str) -> Result<Vec<ExportEntry>> {
        Ok(Self::list_of(self, name)?.into_iter().map(Into::into).collect())
    }

    fn tag_of(&self, name: &str, known: Option<&str>) -> Result<Option<String>> {
        Self::tag_of(self, name, known)
    }

    fn info(&self, name: &str) -> Result<Option<ExportInfo>> {
        let Some((entry, image)) = found(self.image(name))? else { return Ok(None) };
        let manifest = image.manifest();
        let data_bytes = manifest.data_blocks * BLOCK_LEN as u64;
        let content = Some(manifest.content.to_string());
        Ok(Some(ExportInfo { entry: entry.into(), content, size_bytes: image.size(), data_bytes }))
    }

    fn open(&self, name: &str) -> Result<Option<Export>> {
        Ok(found(Self::open(self, name))?.map(Export::of))
    }

    fn opened(&self, id: &ExportId) -> Option<Export> {
        let image: ImageId = id.0.parse().ok()?;
        Self::opened(self, &image).map(Export::of)
    }
}
