//! Places of folders and files.

use super::CLUSTER_BYTES;
use super::error::FatError;
use super::file::File;
use super::folders::{self, Child, Folder};
use super::geometry::{ENTRY_BYTES, FIRST_CLUSTER, Geometry, ROOT_ENTRIES};
use super::name::{self, ShortName};
use super::time::FatTime;
use crate::contents;
use crate::tree::{Content, Timestamp};

/// Entries of a folder at most.
const FOLDER_ENTRIES: u64 = 65_536;

/// Fields of the volume that no file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The size in bytes: 17 to 256 MiB, whole MiB.
    pub size_bytes: u64,
    /// The serial number.
    pub id: u32,
    /// The label: 1 to 11 of `A` to `Z`, `0` to `9`, `_`, `-` and inner spaces.
    pub label: String,
    /// The time of all files and folders, in UTC; the nearest one from 1980 to 2107.
    pub time: Timestamp,
    /// The number of sectors of 512 bytes before the volume, on its disk.
    pub first_sector: u32,
}

/// Consecutive clusters; the first is 0 where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Clusters {
    pub(super) first: u16,
    pub(super) count: u16,
}

/// A volume with all places decided, ready to be written any number of times.
#[derive(Debug)]
pub struct Plan<'a> {
    pub(super) geometry: Geometry,
    pub(super) id: u32,
    pub(super) label: ShortName,
    pub(super) time: FatTime,
    pub(super) first_sector: u32,
    /// By path.
    pub(super) files: Vec<File<'a>>,
    pub(super) file_clusters: Vec<Clusters>,
    pub(super) folders: Vec<Folder<'a>>,
    pub(super) folder_clusters: Vec<Clusters>,
    /// Short names of each folder's entries.
    pub(super) short_names: Vec<Vec<ShortName>>,
    used: u64,
}

impl<'a> Plan<'a> {
    /// Checks `files` and places them, in the order of their paths.
    ///
    /// # Errors
    ///
    /// Fails where the volume has no room for a name, a folder or a file: see [`FatError`].
    pub fn new(volume: &Volume, files: &[File<'a>]) -> Result<Self, FatError> {
        let geometry = Geometry::new(volume.size_bytes)?;
        let label = encode_label(&volume.label)?;
        let mut files = files.to_vec();
        files.sort_by_key(|file| file.path);
        let folders = folders::make(&files)?;
        let root_entries = folders[0].count() + 1;
        if root_entries > ROOT_ENTRIES {
            return Err(FatError::RootFull { entries: root_entries });
        }
        let mut used = 0;
        let folder_clusters = place_folders(&folders, geometry.clusters, &mut used)?;
        let file_clusters = place_files(&files, geometry.clusters, &mut used)?;
        let names = |folder: &Folder<'a>| -> Vec<&str> { folder.entries().map(|(name, _)| name).collect() };
        let short_names: Result<_, _> =
            folders.iter().map(|folder| name::short_names(&names(folder))).collect();
        Ok(Self {
            geometry,
            id: volume.id,
            label,
            time: volume.time.into(),
            first_sector: volume.first_sector,
            files,
            file_clusters,
            folders,
            folder_clusters,
            short_names: short_names?,
            used,
        })
    }

    /// Returns the size of the volume in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.geometry.cluster_offset(FIRST_CLUSTER + self.geometry.clusters)
    }

    /// Returns the free bytes, all at the end of the volume.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        (self.geometry.clusters - self.used) * CLUSTER_BYTES
    }

    /// Returns the byte of the volume at which the content of the file `path` starts, a multiple of
    /// [`CLUSTER_BYTES`]. None where there is no such file, or an empty one.
    #[must_use]
    pub fn offset_bytes(&self, path: &str) -> Option<u64> {
        let index = self.files.binary_search_by_key(&path, |file| file.path).ok()?;
        let clusters = self.file_clusters[index];
        (clusters.count > 0).then(|| self.geometry.cluster_offset(clusters.first.into()))
    }

    /// Returns the clusters of an entry.
    pub(super) fn clusters(&self, child: Child) -> Clusters {
        match child {
            Child::Folder(folder) => self.folder_clusters[folder],
            Child::File(file) => self.file_clusters[file],
        }
    }
}

/// Takes `bytes` bytes of clusters. The bounds on a volume keep all numbers in 16 bits.
fn take(bytes: u64, clusters: u64, used: &mut u64, path: &str) -> Result<Clusters, FatError> {
    let count = bytes.div_ceil(CLUSTER_BYTES);
    if count == 0 {
        return Ok(Clusters::default());
    }
    let needed = used.saturating_add(count);
    if needed > clusters {
        return Err(FatError::NoSpace { path: path.to_owned(), needed, clusters });
    }
    let first = (*used + FIRST_CLUSTER) as u16;
    *used = needed;
    Ok(Clusters { first, count: count as u16 })
}

fn place_folders(folders: &[Folder<'_>], clusters: u64, used: &mut u64) -> Result<Vec<Clusters>, FatError> {
    // The root has an area of its own.
    let mut places = vec![Clusters::default()];
    for folder in &folders[1..] {
        let entries = folder.count() + 2;
        if entries > FOLDER_ENTRIES {
            return Err(FatError::FolderFull { entries });
        }
        places.push(take(entries * ENTRY_BYTES, clusters, used, "")?);
    }
    Ok(places)
}

fn place_files(files: &[File<'_>], clusters: u64, used: &mut u64) -> Result<Vec<Clusters>, FatError> {
    let place = |file: &File<'_>| {
        if let Content::Spooled { offset, len } = *file.content
            && !contents::is_addressable(file.content)
        {
            return Err(FatError::InvalidRange { path: file.path.to_owned(), offset, length: len });
        }
        take(file.content.len(), clusters, used, file.path)
    };
    files.iter().map(place).collect()
}

fn encode_label(label: &str) -> Result<ShortName, FatError> {
    let letter = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_- ".contains(&byte);
    let trimmed = label.trim_matches(' ');
    let whole = trimmed.len() == label.len() && (1..=11).contains(&label.len());
    if !whole || !label.bytes().all(letter) {
        return Err(FatError::InvalidLabel { label: label.to_owned() });
    }
    let mut padded = [b' '; 11];
    padded[..label.len()].copy_from_slice(label.as_bytes());
    Ok(padded)
}
