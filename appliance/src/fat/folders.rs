//! Folders, made of the paths of files.

use std::collections::BTreeMap;

use super::entry;
use super::error::FatError;
use super::file::File;
use super::name;

/// An entry of a folder: an index of a folder or of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Child {
    Folder(usize),
    File(usize),
}

/// A folder: its entries by folded name, so that two names differ in more than case.
#[derive(Debug, Default)]
pub(super) struct Folder<'a> {
    entries: BTreeMap<String, (&'a str, Child)>,
    /// Index of the folder that holds it; the root's is its own.
    pub(super) parent: usize,
}

impl<'a> Folder<'a> {
    /// Returns names and entries in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Child)> {
        self.entries.values().copied()
    }

    /// Returns the number of entries on the disk, without `.` and `..`.
    pub(super) fn count(&self) -> u64 {
        self.entries().map(|(name, _)| entry::count(name)).sum()
    }
}

/// Makes the folders that `files`, ordered by path, lie in. The root is the first.
pub(super) fn make<'a>(files: &[File<'a>]) -> Result<Vec<Folder<'a>>, FatError> {
    let mut folders = vec![Folder::default()];
    for (index, file) in files.iter().enumerate() {
        let mut parts = file.path.split('/').peekable();
        let mut at = 0;
        while let Some(part) = parts.next() {
            if !name::is_valid(part) {
                return Err(FatError::InvalidName { path: file.path.to_owned(), name: part.to_owned() });
            }
            let is_file = parts.peek().is_none();
            let next = folders.len();
            let new = if is_file { Child::File(index) } else { Child::Folder(next) };
            let found = folders[at].entries.entry(name::folded(part)).or_insert((part, new));
            match (found.1, is_file) {
                (child, true) if child == new => {}
                (_, true) => return Err(FatError::Duplicate { path: file.path.to_owned() }),
                (Child::File(_), false) => return Err(FatError::NotAFolder { path: file.path.to_owned() }),
                // Two spellings of one folder would make the name depend on the order.
                (Child::Folder(_), false) if found.0 != part => {
                    return Err(FatError::Duplicate { path: file.path.to_owned() });
                }
                (Child::Folder(folder), false) => {
                    if folder == next {
                        folders.push(Folder { entries: BTreeMap::new(), parent: at });
                    }
                    at = folder;
                }
            }
        }
    }
    Ok(folders)
}
