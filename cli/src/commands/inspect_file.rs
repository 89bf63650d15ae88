//! The output of `melv inspect` for a file: a bundle, a VMDK, a raw disk, or a foreign format.

use std::path::Path;

use melv::RawFile;
use melv::digest::object_digest;
use melv::fault::Fault;
use melv::ondisk::bundle::{HEAD_LEN, Head, Table};
use melv::vmdk::{self, Access, Extent};
use melv::{BlockDevice, Container, Digest, DiskError, Error, ErrorKind, StoreError};
use serde_json::{Value, json};

use crate::bundled_image::BundledImage;
use crate::cause::chain;
use crate::disk::say_warnings;
use crate::failure::Failure;
use crate::input_file::metadata;
use crate::report::table;
use crate::session::Session;
use crate::units::{exact, human};
use crate::width;

/// Describes a file that is not a bundle, as JSON and as text.
pub fn describe(path: &Path, session: &Session<'_>) -> Result<(Value, String), Failure> {
    metadata(path)?;
    let file = RawFile::open(path, true)?;
    match file.container()? {
        Some(Container::VmdkSparse | Container::VmdkDescriptor) => describe_vmdk(path, session),
        Some(foreign) if foreign.is_vmdk() => describe_esx(path, foreign),
        foreign => describe_other(path, &file, foreign),
    }
}

/// The label and the value of a line.
pub type Line = (&'static str, String);

/// Formats lines as text that fits the terminal.
pub fn lines_text(lines: &[Line]) -> String {
    width::facts(lines, width::of_stdout())
}

fn describe_vmdk(path: &Path, session: &Session<'_>) -> Result<(Value, String), Failure> {
    let name = path.display().to_string();
    let file_bytes = metadata(path)?.len();
    let disk = match vmdk::Disk::open(path) {
        Err(error) if error.kind() == ErrorKind::Unsupported => return describe_unread(path, &error),
        opened => opened?,
    };
    let json = json!({
        "file": name,
        "format": "vmdk",
        "create_type": disk.create_type(),
        "size": disk.size(),
        "sector_size": disk.sector_bits().logical_bytes(),
        "file_bytes": file_bytes,
        "parent": null,
        "chain": [name],
        "extents": disk.extents().iter().map(extent_json).collect::<Vec<_>>(),
        "warnings": say_warnings(disk.warnings(), session),
    });
    let mut lines = vec![
        ("file", name),
        ("format", format!("VMDK, {}", disk.create_type())),
        ("size", exact(disk.size())),
    ];
    if disk.sector_bits().logical_bytes() != 512 {
        lines.push(("sectors", exact(disk.sector_bits().logical_bytes())));
    }
    let labels = std::iter::once("extents").chain(std::iter::repeat(""));
    lines.extend(labels.zip(disk.extents()).map(|(label, extent)| (label, extent_text(extent))));
    Ok((json, lines_text(&lines)))
}

/// Describes a VMDK that cannot be read, from its descriptor, with the reason.
fn describe_unread(path: &Path, error: &Error) -> Result<(Value, String), Failure> {
    let name = path.display().to_string();
    let outline = vmdk::Outline::read(path)?;
    let parent = match error.detail() {
        Some(DiskError::Difference { parent, .. }) => Some(parent.as_ref()),
        _ => outline.parent.as_ref(),
    };
    let json = json!({
        "file": name,
        "format": "vmdk",
        "create_type": outline.create_type,
        "size": outline.size_bytes,
        "file_bytes": metadata(path)?.len(),
        "chain": [name],
        "parent": parent.map(|parent| json!({
            "file": parent.file, "cid": parent.cid, "uuid": parent.uuid, "other": parent.other,
            "missing": true,
        })),
        "extents": outline.extents.iter().map(extent_json).collect::<Vec<_>>(),
        "unsupported": chain(error),
    });
    let format = outline.create_type.map_or("VMDK".into(), |create_type| format!("VMDK, {create_type}"));
    let mut lines = vec![("file", name), ("format", format)];
    lines.extend(outline.size_bytes.map(|size| ("size", exact(size))));
    lines.extend(parent.map(|parent| ("parent", format!("{parent}, which is missing"))));
    lines.push(("not read", chain(error)));
    Ok((json, lines_text(&lines)))
}

/// Describes a file in one of ESX's own formats, which record their size.
fn describe_esx(path: &Path, foreign: Container) -> Result<(Value, String), Failure> {
    let name = path.display().to_string();
    let size = vmdk::Outline::read(path)?.size_bytes;
    let json = json!({
        "file": name, "format": foreign.token(), "size": size, "file_bytes": metadata(path)?.len(),
        "chain": [name],
    });
    let format = format!("{}, which this version of melv does not read", foreign.name());
    let mut lines = vec![("file", name), ("format", format)];
    lines.extend(size.map(|size| ("size", exact(size))));
    Ok((json, lines_text(&lines)))
}

fn access_word(access: Access) -> &'static str {
    match access {
        Access::ReadWrite => "RW",
        Access::ReadOnly => "RDONLY",
        Access::None => "NOACCESS",
    }
}

fn extent_json(extent: &Extent) -> Value {
    json!({
        "access": access_word(extent.access),
        "type": extent.kind.word(),
        "size": extent.sectors * 512,
        "file": extent.name,
        "offset": extent.offset_sectors * 512,
    })
}

fn extent_text(extent: &Extent) -> String {
    let mut text = format!("{} {}", extent.kind.word(), human(extent.sectors * 512));
    if let Some(name) = &extent.name {
        text.push_str(&format!(" {name:?}"));
    }
    if extent.offset_sectors > 0 {
        text.push_str(&format!(" from byte {}", extent.offset_sectors * 512));
    }
    text
}

fn describe_other(
    path: &Path,
    disk: &RawFile,
    foreign: Option<Container>,
) -> Result<(Value, String), Failure> {
    let file_bytes = metadata(path)?.len();
    // The size of the file is the size of the disk only for raw.
    let size =
        if foreign.is_some() { None } else { Some(if file_bytes > 0 { file_bytes } else { disk.size() }) };
    let (token, format) = foreign.map_or(("raw", "raw"), |format| (format.token(), format.name()));
    let name = path.display().to_string();
    let json = json!({
        "file": name, "format": token, "size": size, "file_bytes": file_bytes, "chain": [name],
    });
    let lines = match size {
        Some(size) => [("file", name), ("format", format.into()), ("size", exact(size))],
        None => {
            let format = format!("{format}, which this version of melv does not read");
            [("file", name), ("format", format), ("bytes", exact(file_bytes))]
        }
    };
    Ok((json, lines_text(&lines)))
}

/// The facts about a bundle beyond its images.
pub struct BundleFacts {
    name: String,
    bytes: u64,
    bases: Vec<Digest>,
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
            return Err(corrupt(head.table_offset)(Fault::PageDigest { expected, found }));
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
        lines_text(&lines)
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
