//! Finds files next to a disk's file that refer to it: a descriptor that lists it as an extent, or
//! a snapshot of the disk. A user who takes such a file alone silently loses data, although the
//! file itself is sound.

use std::path::Path;

use super::files::Folder;
use super::limits::{BESIDE_FILES_MAX, BESIDE_LEN_MAX};
use super::outline::Outline;
use super::warning::{Oddity, Warning};

/// Returns warnings if a VMDK in the same folder uses the disk file at `path`, of any format, as an
/// extent or as its parent. The check is advisory and skips unreadable files. It reads the first 64
/// KiB of at most 256 files whose names end in `.vmdk`, and opens no file that they name.
#[must_use]
pub fn neighbours(path: &Path) -> Vec<Warning> {
    let Ok((folder, name)) = Folder::with_name(path) else {
        return Vec::new();
    };
    let own = folder.find(&name).and_then(|file| Outline::of_file(&file, BESIDE_LEN_MAX)).unwrap_or_default();
    let is_candidate = |other: &String| *other != name && other.to_ascii_lowercase().ends_with(".vmdk");
    let listed = folder.names().unwrap_or_default();
    // Likely descriptors come first, in case there are too many files.
    let (mut near, far): (Vec<_>, Vec<_>) =
        listed.into_iter().filter(is_candidate).partition(|other| is_stem_of(other, &name));
    near.extend(far);
    let object = path.display().to_string();
    near.truncate(BESIDE_FILES_MAX);
    let told = near.into_iter().filter_map(|other| {
        let outline = Outline::of_file(&folder.find(&other).ok()?, BESIDE_LEN_MAX).ok()?;
        let oddity = oddity(&own, &name, outline, other)?;
        Some(Warning { object: object.clone(), oddity })
    });
    told.collect()
}

/// Whether `name` starts with `other` minus its extension: `web.vmdk` and `web-f001.vmdk`.
fn is_stem_of(other: &str, name: &str) -> bool {
    other.rsplit_once('.').is_some_and(|(stem, _)| name.starts_with(stem))
}

/// Returns a warning if the file `other` names the file `name` as its parent or as an extent.
fn oddity(own: &Outline, name: &str, outline: Outline, other: String) -> Option<Oddity> {
    if let Some(parent) = &outline.parent {
        let last = |path: &str| path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        let by_name = parent.file.as_deref().map(last).is_some_and(|file| file == name);
        let cid = own.ids.0.filter(|cid| ![0, u32::MAX].contains(cid)).map(|cid| format!("{cid:08x}"));
        let by_cid = cid.is_some() && parent.cid == cid;
        let by_uuid = own.ids.1.is_some() && parent.uuid == own.ids.1;
        if by_name || by_cid || by_uuid {
            return Some(Oddity::Child { name: other });
        }
    }
    let names_it = |extent: &super::Extent| extent.name.as_deref() == Some(name);
    outline.extents.iter().any(names_it).then_some(Oddity::Piece { name: other })
}
