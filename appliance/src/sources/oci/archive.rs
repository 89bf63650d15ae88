//! The entries of an archive that holds images: their names and places, not their bytes.

use std::{collections::BTreeMap, fs::File, sync::Arc};

use crate::sources::{
    compression::Compression,
    limits::ARCHIVE_ENTRIES,
    tar::{EntryKind, Reader},
};

use super::{error::OciError, section::Section};

/// Longest name that an image's file has; digests and layers have 80 bytes.
const NAME_BYTES: usize = 512;

/// Links from one entry to another that are followed: `docker save` once wrote one where layers were equal.
const LINK_HOPS: usize = 8;

#[derive(Debug)]
enum Item {
    Content { offset: u64, len: u64 },
    Link(Vec<u8>),
}

/// An archive by its names.
#[derive(Debug)]
pub(super) struct Archive {
    file: Arc<File>,
    items: BTreeMap<Vec<u8>, Item>,
}

impl Archive {
    /// Reads the headers. Contents are passed over by position.
    pub(super) fn open(file: File) -> Result<Self, OciError> {
        let unreadable = |source| OciError::Read { name: "the archive".to_owned(), source };
        let len = file.metadata().map_err(unreadable)?.len();
        let file = Arc::new(file);
        let mut start = Section::new(Arc::clone(&file), 0, len.min(6));
        let mut mark = Vec::new();
        std::io::Read::read_to_end(&mut start, &mut mark).map_err(unreadable)?;
        match Compression::of(&mark) {
            Ok(Compression::Plain) => {}
            Ok(compression) => return Err(OciError::Compressed(compression)),
            Err(error) => {
                return Err(unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, error)));
            }
        }
        let mut reader = Reader::new(Section::new(Arc::clone(&file), 0, len));
        let mut items = BTreeMap::new();
        while let Some(entry) = reader.next_entry().map_err(OciError::Archive)? {
            if entry.number > ARCHIVE_ENTRIES as u64 {
                return Err(OciError::Entries(ARCHIVE_ENTRIES));
            }
            let content = Item::Content { offset: reader.position(), len: reader.content_left() };
            reader.pass_content(|section, count| Ok(section.pass(count))).map_err(OciError::Archive)?;
            let name = follow(b"", &entry.path);
            let item = match entry.kind {
                EntryKind::File { ranges: None, .. } => content,
                EntryKind::Symlink(target) => Item::Link(follow(folder_of(&name), &target)),
                EntryKind::HardLink(target) => Item::Link(follow(b"", &target)),
                _ => continue,
            };
            // A name that no document can have, or a target that leads to none, is not held.
            let target = if let Item::Link(target) = &item { target.len() } else { 0 };
            if name.len() <= NAME_BYTES && target <= NAME_BYTES {
                items.insert(name, item);
            }
        }
        Ok(Self { file, items })
    }

    /// Finds an entry by its name.
    pub(super) fn find(&self, name: &str) -> Option<Section> {
        let mut name = follow(b"", name.as_bytes());
        for _ in 0..=LINK_HOPS {
            match self.items.get(&name)? {
                Item::Content { offset, len } => {
                    return Some(Section::new(Arc::clone(&self.file), *offset, *len));
                }
                Item::Link(target) => name.clone_from(target),
            }
        }
        None
    }
}

fn folder_of(name: &[u8]) -> &[u8] {
    name.iter().rposition(|byte| *byte == b'/').map_or(b"", |slash| &name[..slash])
}

/// Follows a path by its text from a folder of the archive. It names an entry, never a file of the host.
fn follow(folder: &[u8], path: &[u8]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = folder.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            _ => names.push(name),
        }
    }
    names.join(&b'/')
}
