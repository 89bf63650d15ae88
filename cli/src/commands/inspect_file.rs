//! The output of `melv inspect` for a file: a VMDK, a raw disk, or a foreign format.

use std::path::Path;

use melv::RawFile;
use melv::vmdk::{Access, Extent, Outline, VmdkDisk};
use melv::{BlockDevice, Container, DiskError, Error, ErrorKind, ForeignDisk};
use serde_json::{Value, json};

use crate::cause::chain;
use crate::disk::{GATE, print_warnings};
use crate::failure::Failure;
use crate::input_file::metadata;
use crate::session::Session;
use crate::stdout::facts;
use crate::units::{exact, human};

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

fn describe_vmdk(path: &Path, session: &Session<'_>) -> Result<(Value, String), Failure> {
    let name = path.display().to_string();
    let file_bytes = metadata(path)?.len();
    let disk = match VmdkDisk::open(path, GATE) {
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
        "warnings": print_warnings(disk.warnings(), session),
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
    Ok((json, facts(&lines)))
}

/// Describes a VMDK that cannot be read, from its descriptor, with the reason.
fn describe_unread(path: &Path, error: &Error) -> Result<(Value, String), Failure> {
    let name = path.display().to_string();
    let outline = Outline::read(path)?;
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
    Ok((json, facts(&lines)))
}

/// Describes a file in one of ESX's own formats, which record their size.
fn describe_esx(path: &Path, foreign: Container) -> Result<(Value, String), Failure> {
    let name = path.display().to_string();
    let size = Outline::read(path)?.size_bytes;
    let json = json!({
        "file": name, "format": foreign.token(), "size": size, "file_bytes": metadata(path)?.len(),
        "chain": [name],
    });
    let format = format!("{}, which this version of melv does not read", foreign.name());
    let mut lines = vec![("file", name), ("format", format)];
    lines.extend(size.map(|size| ("size", exact(size))));
    Ok((json, facts(&lines)))
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
    Ok((json, facts(&lines)))
}
