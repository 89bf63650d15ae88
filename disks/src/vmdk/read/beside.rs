//! Finds files next to a disk's file that refer to it: a descriptor that lists it as an extent, or
//! a snapshot of the disk. A user who takes such a file alone silently loses data, although the
//! file itself is sound.

use std::path::Path;

use crate::gate::Gate;
use crate::gated_folder::GatedFolder;
use crate::vmdk::layout::extent::Extent;
use crate::vmdk::layout::limits::{BESIDE_FILES_MAX, BESIDE_LEN_MAX};
use crate::vmdk::read::files::ExtentFile;
use crate::vmdk::read::outline::Outline;
use crate::warning::{Oddity, Warning};

/// Returns warnings if a VMDK in the same folder uses the disk file at `path`, of any format, as an
/// extent or as its parent. The check is advisory and skips unreadable files. It reads the first 64
/// KiB of at most 256 files whose names end in `.vmdk`, and opens no file that they name. With
/// [`Gate::Nothing`] it looks at no file, and there are no warnings.
#[must_use]
pub fn neighbours(path: &Path, gate: Gate) -> Vec<Warning> {
    if gate == Gate::Nothing {
        return Vec::new();
    }
    let Ok(folder) = GatedFolder::of(path, gate) else {
        return Vec::new();
    };
    let name = folder.file_name().to_owned();
    let outline =
        |name: &str| Outline::of_file(&ExtentFile::of_open(folder.open(name).ok()?.0), BESIDE_LEN_MAX).ok();
    let own = outline(&name).unwrap_or_default();
    let is_candidate = |other: &String| *other != name && other.to_ascii_lowercase().ends_with(".vmdk");
    let listed = folder.names().unwrap_or_default();
    // Likely descriptors come first, in case there are too many files.
    let (mut near, far): (Vec<_>, Vec<_>) =
        listed.into_iter().filter(is_candidate).partition(|other| is_stem_of(other, &name));
    near.extend(far);
    let object = path.display().to_string();
    near.truncate(BESIDE_FILES_MAX);
    let told = near.into_iter().filter_map(|other| {
        let oddity = oddity(&own, &name, outline(&other)?, other)?;
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
    let names_it = |extent: &Extent| extent.name.as_deref() == Some(name);
    outline.extents.iter().any(names_it).then_some(Oddity::Piece { name: other })
}
